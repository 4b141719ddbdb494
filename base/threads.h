/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MP_BASE_THREADS_H
#define MP_BASE_THREADS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether pieces of work, of so many nanoseconds of one core, are worth threads (`omp parallel if`): to wake
 * one that sleeps takes ten microseconds, and it is waited for at the end. A small case has a hundred loops
 * of less. */
static inline bool mp_worth_threads(int64_t pieces, int64_t nanoseconds_each) {
    return pieces * nanoseconds_each > 50000;
}

#endif
