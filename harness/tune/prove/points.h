/* SPDX-License-Identifier: Apache-2.0 */
/* The batch sizes at which a tuned file has to be proven. Its keys alone do not show it whole: a loader takes
 * the nearest key, so that each key serves a range of M, and the launch at the end of a range is another one
 * than that at the key. */
#ifndef MP_HARNESS_TUNE_POINTS_H
#define MP_HARNESS_TUNE_POINTS_H

#include "kernels/tuned.h"

/* Why an M is among them; bits, for one M may have several reasons. */
enum {
    MP_POINT_KEY = 1,    /* a key */
    MP_POINT_LAST = 2,   /* the last M before another key is nearer */
    MP_POINT_FIRST = 4,  /* the first M for which a key is the nearest */
    MP_POINT_BELOW = 8,  /* one token, below the smallest key */
    MP_POINT_ABOVE = 16, /* above the largest key */
    MP_POINT_TAIL = 32   /* no multiple of BLOCK_SIZE_M, where no other M of the key is */
};

typedef struct mp_point {
    int64_t M;
    const mp_tuned_entry *entry; /* of the first file: what serves M by mp_tuned_nearest */
    unsigned why;
} mp_point;

/* The range of M that an entry serves: between two keys the nearer, ties to the one first in the file.
 * *last is INT64_MAX for the largest key. */
void mp_point_range(const mp_tuned_file *file, const mp_tuned_entry *entry, int64_t *first, int64_t *last);

/* All points of `up`, ascending, and with `down` (or NULL) those at which the other table changes, too; each
 * M once. Those above `most` are left out, and counted in *left_out. *points is freed by the caller.
 * MP_EINPUT: more than MP_POINT_KEYS_MAX keys. */
enum { MP_POINT_KEYS_MAX = 1024 };
mp_status mp_points_of(const mp_tuned_file *up, const mp_tuned_file *down, int64_t most, mp_point **points,
                       size_t *count, size_t *left_out, mp_error *err);

/* "key", "first of its key", "key, last": which launch of a table this is. */
void mp_point_text(unsigned why, char text[96]);

#endif
