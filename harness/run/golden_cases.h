/* SPDX-License-Identifier: Apache-2.0 */
/* What a golden file holds, asked of a worker. */
#ifndef MP_HARNESS_GOLDEN_CASES_H
#define MP_HARNESS_GOLDEN_CASES_H

#include "moeparity/status.h"
#include "moeparity/texts.h"

#include <stdbool.h>

/* The names of the cases that a golden file holds, added to *names (NULL: not asked for). A worker reads
 * them: libhdf5 may crash or hang on a file that was forged. check: every number of the file is read as well.
 * MP_EINPUT for a file that is missing, foreign, damaged, or that the worker crashed on; MP_EIO when it is
 * not read after timeout_seconds (0: MP_TIMEOUT_SECONDS). err must not be NULL. */
mp_status mp_suite_golden_cases(const char *path, bool check, double timeout_seconds,
                                const char *const *program, mp_texts *names, mp_error *err);

#endif
