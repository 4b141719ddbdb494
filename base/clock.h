/* SPDX-License-Identifier: Apache-2.0 */
/* Time for measurements and deadlines. */
#ifndef MP_BASE_CLOCK_H
#define MP_BASE_CLOCK_H

#include <time.h>

/* Seconds since some moment, monotonic. */
static inline double mp_seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
