/* SPDX-License-Identifier: Apache-2.0 */
/* What scaling does to sums of codes that no relative bound has: numbers leave float32's range between a sum
 * of codes and the scaled one, though that is within it. One source for CPU and GPU, as ref/measured.h. */
#ifndef MP_REF_SCALED_SUM_H
#define MP_REF_SCALED_SUM_H

#ifdef __CUDACC_RTC__ /* which has no files */
#define MP_SCALED __device__ __forceinline__
#define MP_NO_SCALE __longlong_as_double(0x7FF0000000000000ll) /* larger than any */
#else
#include <math.h>
#include <stdbool.h>
#define MP_SCALED static inline
#define MP_NO_SCALE ((double)INFINITY)
#endif

#define MP_FLOAT32_OVERFLOW 0x1.ffffffp127 /* what rounds to Inf in float32, and all beyond */

/* Of the scales of an element's blocks of k: sums and extremes of the magnitudes of a, of w, and of a*w. */
typedef struct mp_gemm_scales {
    double sum, sum_a, sum_w; /* sum: of a*w; zero without blocks */
    double most, most_a, most_w, least, least_a, least_w;
    bool infinite; /* or NaN: a scale is */
} mp_gemm_scales;

/* How a GEMM's sums of codes are scaled. */
typedef struct mp_scaling_steps {
    bool product, a_first, w_first; /* orders that the contract allows: of one that it names, it alone */
    double dot;                     /* an upper bound of a block's sum of codes */
    double parts;                   /* of a block that are scaled each */
} mp_scaling_steps;

MP_SCALED mp_gemm_scales mp_no_scales(void) {
    const mp_gemm_scales none = {0, 0, 0, 0, 0, 0, MP_NO_SCALE, MP_NO_SCALE, MP_NO_SCALE, false};
    return none;
}

/* Those of one more block. */
MP_SCALED void mp_add_scales(mp_gemm_scales *s, double scale_a, double scale_w) {
    const double a = fabs(scale_a), w = fabs(scale_w), product = a * w, largest = 0x1.fffffffffffffp1023;
    s->sum += product, s->sum_a += a, s->sum_w += w;
    s->most = fmax(s->most, product), s->most_a = fmax(s->most_a, a), s->most_w = fmax(s->most_w, w);
    s->least = fmin(s->least, product), s->least_a = fmin(s->least_a, a), s->least_w = fmin(s->least_w, w);
    if (!(a <= largest) || !(w <= largest)) s->infinite = true;
}

/* And the global scales, behind the last block. */
MP_SCALED void mp_scales_meet(mp_gemm_scales *s, double global_a, double global_w) {
    s->sum *= fabs(global_a * global_w);
}

/* The error that underflow adds to mp_scaled_gemm_bound. Where a sum times the one scale is below the normal
 * numbers, 2^-150 of it is lost, half of their distance, and the other scale multiplies that. Where the
 * product of the scales is, mp_scaled_gemm_bound has it. */
MP_SCALED double mp_lost_in_scaling(const mp_scaling_steps *steps, const mp_gemm_scales *s) {
    const double lost = steps->parts * 0x1p-150 * (1 + 0x1p-20); /* roundings of what follows */
    return lost * fmax(steps->a_first ? s->sum_w : 0, steps->w_first ? s->sum_a : 0);
}

/* Whether a step may overflow where the result need not; acc, mass: of the scaled terms. Nothing is known of
 * the result then. A block's sum of codes is at most `dot`; and times both scales at most the mass. Where all
 * terms have one sign and the sum is beyond float32 too, Inf is what is expected: but a product of scales
 * that is Inf may meet a sum of zero, and an Inf a scale of zero. */
MP_SCALED bool mp_may_overflow_in_scaling(const mp_scaling_steps *steps, const mp_gemm_scales *s, double acc,
                                          double mass) {
    const double most = MP_FLOAT32_OVERFLOW * (1 - 0x1p-10); /* roundings on the way */
    if (steps->product && s->most >= most) return true;
    if (fabs(acc) == mass && mass * (1 - 0x1p-10) >= MP_FLOAT32_OVERFLOW && s->least > 0) return false;
    return (steps->dot >= most && mass >= most * s->least) ||
           (steps->a_first && steps->dot * s->most_a >= most && mass >= most * s->least_w) ||
           (steps->w_first && steps->dot * s->most_w >= most && mass >= most * s->least_a);
}

#endif
