/* SPDX-License-Identifier: Apache-2.0 */
/* --dry-run: what would be judged, without judging it. */
#ifndef MP_CLI_DRY_RUN_H
#define MP_CLI_DRY_RUN_H

#include "moeparity/matrix.h"
#include "moeparity/settings.h"

/* Prints every case with its pairs, then the subject and the checks that would be asked for. MP_EINPUT for a
 * golden that cannot be read, or a subject that there is not. */
mp_status mp_cli_dry_run(const mp_matrix *matrix, const mp_settings *settings, mp_error *err);

#endif
