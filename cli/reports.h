/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a line asks to be written about a run: --json, --junit, --summary. */
#ifndef MP_CLI_REPORTS_H
#define MP_CLI_REPORTS_H

#include "cli/args.h"
#include "moeparity/verdict.h"

/* No file that is written is one that is read, or another one that is written, and each can be written:
 * MP_EINPUT or MP_EIO else, before anything is run. `other`: what the command writes beside them; NULLs are
 * passed over. */
mp_status mp_cli_check_reports(const mp_args *args, const char *other, const char *const *read, size_t count,
                               mp_error *err);
/* Writes them, each whole or not at all. Under SOURCE_DATE_EPOCH durations are forgotten first, in *info and
 * in the verdicts: reports of equal results are then equal byte for byte. */
mp_status mp_cli_write_reports(const mp_args *args, mp_run_info *info, mp_verdict *verdicts, size_t count,
                               mp_error *err);

#endif
