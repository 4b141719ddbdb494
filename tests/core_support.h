/* SPDX-License-Identifier: Apache-2.0 */
/* One step of a tensor core on values, apart from ref/predict/tensorcore.c: groups of L products and the
 * accumulator, cut to integers in units of 2^(e_max - F). tests/test_sum_bounds.c holds it to vectors that
 * were measured on an H100. */
#ifndef MP_TESTS_CORE_SUPPORT_H
#define MP_TESTS_CORE_SUPPORT_H

#include "tests/ref_support.h"

#include <float.h>

typedef struct core {
    int group, fraction_bits;
} core;

static inline int exponent_of(double v, int emin) {
    const int e = ilogb(v); /* a subnormal counts with the exponent of the smallest normal number */
    return e < emin ? emin : e;
}

/* The value cut to 24 significant bits towards zero; float32's subnormals have fewer, its largest finite
 * value is followed by Inf.
 */
static inline double truncate_to_float(double v) {
    if (v == 0) return 0;
    const int lowest = exponent_of(v, -126) - 23;
    v = ldexp(trunc(ldexp(v, -lowest)), lowest);
    return fabs(v) > (double)FLT_MAX ? copysign(INFINITY, v) : v == 0 ? 0 : v;
}

/* Before it becomes a float32. */
static inline double core_sum(core h, mp_dtype dtype, const double *a, const double *b, int64_t n, double c) {
    const int emin = mp_dtype_format(dtype)->emin, zero = -133; /* measured exponent of a term that is zero */
    int e_max = c == 0 ? zero : exponent_of(c, -126);
    for (int64_t k = 0; k < h.group; k++) {
        const bool is_zero = k >= n || a[k] == 0 || b[k] == 0;
        const int e = is_zero ? zero : exponent_of(a[k], emin) + exponent_of(b[k], emin);
        if (e > e_max) e_max = e;
    }
    const int unit = e_max - h.fraction_bits;
    const double units = ldexp(1, -unit);
    double sum = trunc(c * units); /* integers below 2^32: exact in double */
    for (int64_t k = 0; k < n; k++) sum += trunc(a[k] * b[k] * units);
    return ldexp(sum, unit);
}

static inline double core_step(core h, mp_dtype dtype, const double *a, const double *b, int64_t n,
                               double c) {
    return truncate_to_float(core_sum(h, dtype, a, b, n, c));
}

#endif
