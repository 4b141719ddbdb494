/* SPDX-License-Identifier: Apache-2.0 */
/* Whole golden files: checked, compared, listed. */
#ifndef MP_GOLDEN_FILES_H
#define MP_GOLDEN_FILES_H

#include "moeparity/golden.h"

/* Compares the shape of every tensor with that of its case, then reads every number in the file, which is the
 * only way to see that one is damaged. MP_EINPUT with case and tensor. */
mp_status mp_golden_check(mp_golden *golden, mp_error *err);
/* Compares two files: the fill version, then case by case contract, config, block_size_m, the inputs (their
 * tensors where both files hold them, else their digests where both do) and the trace. Calls `report` with a
 * printable line for everything that differs or is missing on one side. *equal tells the outcome. Which
 * tensors are stored in full, and who recorded when, is no difference. */
mp_status mp_golden_diff(mp_golden *a, mp_golden *b, void (*report)(void *ctx, const char *line), void *ctx,
                         bool *equal, mp_error *err);
/* One line a case: name, tensors stored in full or as digests, bytes. */
mp_status mp_golden_list(mp_golden *golden, void (*report)(void *ctx, const char *line), void *ctx,
                         mp_error *err);

const char *mp_golden_library_version(void); /* "1.10.8" */

#endif
