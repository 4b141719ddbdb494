/* SPDX-License-Identifier: Apache-2.0 */
/* Balls: a number in float64, and how far the subject's may be from it; what an epilogue and a store make of
 * them. One source for CPU and GPU, as ref/measured.h. What the radii are is told in
 * harness/judge/judge_span.c. */
#ifndef MP_REF_BALL_H
#define MP_REF_BALL_H

#include "ref/measured.h"

/* Radii that are not carried are zeros. */
typedef struct mp_ball {
    double value, sure, det, random;
} mp_ball;

MP_MEASURED double mp_infinity64(void) {
    return 1.0 / 0.0;
}

/* ---- a sum of a GEMM ---- */

/* What a contract says of sums whose terms are known within radii, and of the epilogue behind them. */
typedef struct mp_ball_sum_rule {
    double rel, abs; /* of the accumulation */
    double step;     /* unit roundoff of the epilogue */
    int open;        /* scaling may overflow on the way: nothing is known of any of them */
    int wide;        /* float32's range does not concern the sums */
    int plain;       /* there is no epilogue */
} mp_ball_sum_rule;

/* What the accumulation adds to the errors that the terms of a sum have handed on. */
MP_MEASURED double mp_ball_accumulated(const mp_ball_sum_rule *r, double mass, double handed) {
    return r->rel * (mass + handed) + r->abs;
}

/* Whether a float32 sum may leave its range on the way: a partial one, where terms cancel, or the whole
 * before the epilogue makes it smaller. Nothing is known of the result then. */
MP_MEASURED int mp_may_overflow_inside(int wide, int plain, double acc, double mass, double error) {
    if (wide || !(mass + error >= MP_FLOAT32_OVERFLOW) || mass == mp_infinity64()) return 0;
    return fabs(acc) < mass || (!plain && fabs(acc) + error >= MP_FLOAT32_OVERFLOW);
}

/* The sum's value behind the epilogue, and how far the subject's may be from it where its terms' errors come
 * to `handed`. */
MP_MEASURED double mp_ball_sum_radius(const mp_ball_sum_rule *r, const mp_epilogue_terms *terms, double acc,
                                      double mass, double handed, double *value) {
    const double accumulation = mp_ball_accumulated(r, mass, handed);
    double radius;
    mp_expect_behind(terms, r->step, acc, handed + accumulation, value, &radius);
    return r->open || mp_may_overflow_inside(r->wide, r->plain, acc, mass + handed, accumulation)
               ? mp_infinity64()
               : radius;
}

/* ---- a store ---- */

/* What is common to all elements that a stage stores. */
typedef struct mp_ball_store {
    int rounds, saturates;
    int beside; /* `det` is the radius under a second contract, of which the store is exact */
    double most, lambda;
    mp_places places;
} mp_ball_store;

/* The radii grow by the rounding, the value stays exact. */
MP_MEASURED mp_ball mp_ball_stored(const mp_ball_store *s, mp_ball ball) {
    if (s->saturates && fabs(ball.value) == mp_infinity64()) {
        ball.value = ball.value > 0 ? s->most : -s->most; /* or Inf: nothing is known */
        ball.sure = mp_infinity64();
    }
    const double reach = fabs(ball.value) + ball.sure,
                 half = s->rounds ? mp_half_place(&s->places, reach) : 0;
    ball.sure = reach + half > s->most ? mp_infinity64() : ball.sure + half;
    if (s->beside)
        ball.det = fabs(ball.value) + ball.det > s->most ? mp_infinity64() : ball.det;
    else
        ball.random = hypot(ball.random, s->lambda * half);
    return ball;
}

#endif
