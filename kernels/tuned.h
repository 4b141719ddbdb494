/* SPDX-License-Identifier: Apache-2.0 */
/* One file of tuned configurations in the public JSON format: token counts, each with the tile that was found
 * fastest for it. */
#ifndef MP_KERNELS_TUNED_H
#define MP_KERNELS_TUNED_H

#include "moeparity/case.h"

typedef struct mp_tuned_entry {
    int64_t key; /* number of tokens */
    mp_tile tile;
    bool default_warps,
        default_stages;    /* num_warps, num_stages are absent: the compiler's defaults, 4 and 3 */
    int split_k, num_ctas; /* 1 where absent */
    bool use_tma;
} mp_tuned_entry;

typedef struct mp_tuned_file {
    mp_tuned_entry *entries; /* in the file's order */
    size_t count;            /* at least 1 */
    int64_t first, last;     /* smallest and largest key */
    char triton_version[32]; /* "" where the file does not say */
} mp_tuned_file;

/* Reads a file and checks all of it. It is read once per process as long as its path, size and time of
 * modification stay the same; *file lives as long as the process. May be called by several threads. MP_EIO
 * when it cannot be read; MP_EINPUT names file, key, field, value and what was expected. */
mp_status mp_tuned_load(const char *path, const mp_tuned_file **file, mp_error *err);

/* The entry whose key is nearest to num_tokens; of two equally near the one first in the file. */
const mp_tuned_entry *mp_tuned_nearest(const mp_tuned_file *file, int64_t num_tokens);

/* Of two keys, 0 < smaller < larger: the last M for which the smaller is the nearest, ties going to the
 * larger one where that is first in the file. */
int64_t mp_tuned_last_of_smaller(int64_t smaller, int64_t larger, bool larger_is_first);

#endif
