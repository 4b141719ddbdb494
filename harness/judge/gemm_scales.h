/* SPDX-License-Identifier: Apache-2.0 */
/* The scales of sums of codes, and what scaling does that no relative bound has: numbers leave float32's
 * range between a sum of codes and the scaled one, though that is within it. */
#ifndef MP_HARNESS_GEMM_SCALES_H
#define MP_HARNESS_GEMM_SCALES_H

#include "moeparity/contract.h"
#include "ref/gemm.h"

/* Of the scales of an element's blocks of k: sums and extremes of the magnitudes of a, of w, and of a*w. */
typedef struct mp_gemm_scales {
    double sum, sum_a, sum_w; /* sum: of a*w; zero without blocks */
    double most, most_a, most_w, least, least_a, least_w;
    bool infinite; /* or NaN: a scale is */
} mp_gemm_scales;

/* Of a row of a and n rows of w. block: terms of k that share scales; 0: there are none. */
void mp_gemm_scales_of(const mp_gemm_problem *p, int64_t block, int64_t a_row, int64_t w_row, int64_t n,
                       mp_gemm_scales *of);

/* How a GEMM's sums of codes are scaled. */
typedef struct mp_scaling_steps {
    bool product, a_first, w_first; /* orders that the contract allows: of one that it names, it alone */
    double dot;                     /* an upper bound of a block's sum of codes */
    double parts;                   /* of a block that are scaled each */
} mp_scaling_steps;
/* largest: an upper bound of the magnitudes of what is multiplied. Without blocks, and for units that scale
 * inside, nothing. */
mp_scaling_steps mp_scaling_steps_of(const mp_gemm_contract *contract, int64_t block, double largest);

/* The error that underflow adds to mp_scaled_gemm_bound. */
double mp_lost_in_scaling(const mp_scaling_steps *steps, const mp_gemm_scales *s);
/* Whether a step may overflow where the result need not; acc, mass: of the scaled terms. Nothing is known of
 * the result then. */
bool mp_may_overflow_in_scaling(const mp_scaling_steps *steps, const mp_gemm_scales *s, double acc,
                                double mass);

#endif
