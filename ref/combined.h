/* SPDX-License-Identifier: Apache-2.0 */
/* What is expected of a sum over topk and how far a subject may be from it. One source for CPU and GPU, of
 * float64 operations that are rounded one by one, so that both have the same bits (ref/measured.h). */
#ifndef MP_REF_COMBINED_H
#define MP_REF_COMBINED_H

#include "ref/ball.h"

/* ---- the sum ---- */

/* The sum and its magnitudes, unscaled, for one output element; `terms` slots were added. value + rest has
 * twice the digits of a float64, as if it were summed so (Ogita, Rump, Oishi, Accurate sum and dot product,
 * SIAM J. Sci. Comput. 26, 2005): it can judge fp64. Where value is not finite, rest means nothing. */
typedef struct mp_sum {
    double value, rest, mass;
    long long terms;
    double finite; /* the magnitudes of the terms that are finite, alone */
    double error;  /* sum of the terms' own errors: 0 where they are given */
    double shared; /* what is added to the scaled sum; 0 without shared=add */
} mp_sum;

/* a + b, and in *lost what its rounding lost: exactly, while nothing overflows (Knuth, TAOCP 2, 4.2.2). */
MP_MEASURED double mp_two_sum(double a, double b, double *lost) {
    const double sum = a + b, of_b = sum - a, of_a = sum - of_b;
    *lost = (a - of_a) + (b - of_b);
    return sum;
}

/* One more term, of which `lost` was lost when it was rounded. */
MP_MEASURED void mp_sum_add(mp_sum *sum, double term, double lost) {
    double rest;
    sum->value = mp_two_sum(sum->value, term, &rest);
    sum->rest += rest + lost;
    sum->mass += fabs(term);
    if (mp_is_finite(term)) sum->finite += fabs(term);
    sum->terms++;
}

/* One more term: a router weight, which is a float, times v. Of a float v the product is exact. */
MP_MEASURED void mp_sum_add_weighed(mp_sum *sum, double weight, double v) {
    const double term = weight * v;
    mp_sum_add(sum, term, (double)(float)v == v ? 0 : fma(weight, v, -term));
}

/* The sum as a float64. */
MP_MEASURED double mp_sum_value(const mp_sum *sum) {
    return mp_is_finite(sum->value) ? sum->value + sum->rest : sum->value;
}

/* rsf * sum + shared, rounded to float64 once. */
MP_MEASURED double mp_sum_scaled(const mp_sum *sum, double rsf) {
    const double product = rsf * sum->value;
    double lost, rest = rsf == 1 ? sum->rest : fma(rsf, sum->value, -product) + rsf * sum->rest;
    const double value = mp_two_sum(product, sum->shared, &lost);
    return mp_is_finite(value) ? value + (lost + rest) : value;
}

/* ---- the bound ---- */

/* n roundings in any order change a sum of magnitudes `mass` by at most gamma_n * mass (ref/bounds.c). */
MP_MEASURED double mp_gamma_of(double n, double u) {
    return n * u < 1 ? n * u / (1 - n * u) : 1.0 / 0.0;
}

/* A contract's combine, of a case. */
typedef struct mp_combine_rule {
    int weighs, shares;      /* terms are multiplied by router weights; a shared output is added */
    int rounds_before_scale; /* to dtype */
    int rounds_before_share; /* the same of the scaled sum */
    int narrow;              /* every step rounds to dtype */
    double rsf, step, u;     /* unit roundoffs of steps, and of additions */
    double lost;             /* of a term that is weighed, below the normal numbers */
    mp_places places;        /* of dtype */
} mp_combine_rule;

/* Terms that have errors of their own hand them on, and may be larger by them. terms-1 additions (the first,
 * to zero, is exact) in any order: gamma_(terms-1)(u) * mass, u = 2^-24, 2^-53 for fp64 tensors, or the unit
 * roundoff of dtype when every addition rounds to it. ROUND_THEN_SCALE adds an ulp of dtype at the sum:
 * subject and reference both round it, and near a tie to different sides. Scaling adds one rounding: of the
 * step, or of dtype where every step rounds to it. The reference's own value was rounded to float64: one more
 * 2^-53.
 *
 * A router weight adds one rounding of each term before it is added, if it is not fused with the addition: of
 * the step, or of dtype where every step rounds to it. Below the normal numbers that is half of the smallest
 * subnormal, absolutely.
 *
 * The shared output is one more term, unscaled, and one more addition; a contract that says ROUNDED has the
 * sum without it rounded to dtype before, by half an ulp, which the reference does not: so its bound holds
 * for a kernel that does not either. Errors of before go through the last addition: step * error.
 *
 * rsf 1 and shares 0: of the same sum before it is scaled, and before the shared output is added. */
MP_MEASURED double mp_combine_error(const mp_combine_rule *r, double rsf, int shares, const mp_sum *sum) {
    const double value = fabs(mp_sum_value(sum));
    const double additions = (sum->terms > 1 ? (double)(sum->terms - 1) : 0) + (shares ? 1 : 0);
    const double handed = sum->error + (r->weighs ? (double)sum->terms * r->lost : 0),
                 gamma = mp_gamma_of(additions + (r->weighs ? 1 : 0), r->u),
                 mass = sum->mass * (1 + (double)sum->terms * 0x1p-53); /* it was rounded itself */
    double error = handed + gamma * (mass + handed);
    if (r->rounds_before_scale) error += 2 * mp_half_place(&r->places, value + error);
    error *= rsf;
    if (rsf != 1.0) error += (r->narrow ? r->u : r->step) * (rsf * value + error) + 0x1p-150;
    error += 0x1p-53 * rsf * value;
    if (!shares) return error;
    if (r->rounds_before_share) error += mp_half_place(&r->places, rsf * value + error);
    return error + r->step * error + (mp_gamma_of(additions, r->u) + 0x1p-53) * fabs(sum->shared);
}

MP_MEASURED double mp_combine_error_of(const mp_combine_rule *r, const mp_sum *sum) {
    return mp_combine_error(r, fabs(r->rsf), r->shares, sum);
}

/* ---- ranges ---- */

/* In which a contract's sums are kept. */
typedef struct mp_combine_range {
    mp_combine_rule rule;
    int by_addition, before_scale; /* rounded to dtype: every sum, the whole before it is scaled */
    int scaled;
    double shared, step, dtype; /* from where on: a sum that the shared output is added to, float32, dtype */
} mp_combine_range;

/* Whether a sum that is not the last one may leave its range (mp_combine_may_overflow_inside). */
MP_MEASURED int mp_combine_leaves_range(const mp_combine_range *r, const mp_sum *sum) {
    const double value = fabs(mp_sum_value(sum)), rsf = fabs(r->rule.rsf);
    const int cancels = value < sum->mass;
    const double terms = r->by_addition ? fmax(1, rsf) : 1; /* they may be scaled first */
    /* What the shared output is added to: in dtype, or a float32. */
    if (r->rule.shares && mp_is_finite(value) &&
        rsf * value + mp_combine_error(&r->rule, rsf, 0, sum) >= r->shared)
        return 1;
    /* Inf among the terms, and the others may come to Inf of the other sign before it is added. */
    if (value == mp_infinity64()) return sum->finite >= (r->by_addition ? r->dtype : r->step);
    if (!cancels && !r->scaled) return 0;
    const double error = mp_combine_error(&r->rule, 1, 0, sum);
    return (cancels && (sum->mass + error) * terms >= (r->by_addition ? r->dtype : r->step)) ||
           (r->scaled && value + error >= (r->before_scale ? r->dtype : r->step));
}

/* ---- of balls ---- */

/* How far a sum may be off whose terms are known within sum->error. Where one that is not the last may
 * overflow, the value stands without a bound. */
MP_MEASURED double mp_combine_radius(const mp_combine_range *r, const mp_sum *sum) {
    return mp_combine_leaves_range(r, sum) ? mp_infinity64() : mp_combine_error_of(&r->rule, sum);
}

/* A sum of balls, beside a second contract: sum->error is of their `sure`, det the same of theirs. */
MP_MEASURED mp_ball mp_combined_ball(const mp_combine_range *r, const mp_combine_range *beside, mp_sum *sum,
                                     double det) {
    mp_ball ball = {mp_sum_scaled(sum, r->rule.rsf), mp_combine_radius(r, sum), 0, 0};
    sum->error = det;
    ball.det = mp_combine_radius(beside, sum);
    return ball;
}

#endif
