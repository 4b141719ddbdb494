/* SPDX-License-Identifier: Apache-2.0 */
/* What one tuned file changes of another: the ranges of M whose tiles differ. */
#ifndef MP_HARNESS_TUNE_CHANGES_H
#define MP_HARNESS_TUNE_CHANGES_H

#include "harness/tune/prove/target.h"

typedef struct mp_tune_change {
    int64_t first, last; /* of M; last is INT64_MAX where it has no end */
    mp_tile old_up, old_down, new_up, new_down;
} mp_tune_change;

/* Ascending; ranges that touch have other tiles. *changes is the caller's to free. MP_EMEMORY, and what
 * mp_tune_tiles says. */
mp_status mp_tune_changes(const mp_tune_target *old, const mp_tune_target *new, mp_tune_change **changes,
                          size_t *count, mp_error *err);

#endif
