/* SPDX-License-Identifier: Apache-2.0 */
/* What a token of the final output comes to beside its float64 values. One source for CPU and GPU. */
#ifndef MP_REF_TOKEN_FIGURES_H
#define MP_REF_TOKEN_FIGURES_H

#include "ref/ball.h"

typedef struct mp_token_figures {
    double max_abs;        /* the largest |stored - value| */
    double error2, value2; /* sums of the squares of errors and of values */
    long long elements;    /* that were looked at */
    long long odd;         /* of them: errors that are no number, and numbers where none is right */
} mp_token_figures;

/* One more element. What is not finite in float64 must not be finite in the output, of whatever kind, and
 * counts in no sum. */
MP_MEASURED void mp_token_figures_add(mp_token_figures *f, double stored, double value) {
    const double error = fabs(stored - value);
    f->elements++;
    if (!mp_is_finite(value)) {
        f->odd += mp_is_finite(stored);
    } else if (!mp_is_finite(error)) {
        f->odd++;
    } else {
        f->max_abs = error > f->max_abs ? error : f->max_abs;
        f->error2 += error * error;
        f->value2 += value * value;
    }
}

MP_MEASURED void mp_token_figures_merge(mp_token_figures *f, const mp_token_figures *other) {
    f->max_abs = other->max_abs > f->max_abs ? other->max_abs : f->max_abs;
    f->error2 += other->error2;
    f->value2 += other->value2;
    f->elements += other->elements;
    f->odd += other->odd;
}

/* The same beside a bound: of elements that have a finite one. */
typedef struct mp_bound_figures {
    long long bounded, failed; /* those that were looked at, and are beyond it */
    long long worst;           /* element of the largest error/bound; negative: there is none yet */
    double max_ratio, worst_got, worst_value, worst_bound;
    double quant_bound; /* the largest radius by codes alone, of elements that have a finite one of these */
    double sure, det;   /* sums of the bounds, and of those radii */
} mp_bound_figures;

/* How an output is stored. */
typedef struct mp_bounded_store {
    mp_places places;
    int rounds;
} mp_bounded_store;

MP_MEASURED mp_bound_figures mp_no_bound_figures(void) {
    const mp_bound_figures none = {0, 0, -1, 0, 0, 0, 0, 0, 0, 0};
    return none;
}

/* One more element, in ascending order. What may be Inf has no bound. */
MP_MEASURED void mp_bound_figures_add(mp_bound_figures *f, const mp_bounded_store *s, long long element,
                                      double stored, const mp_ball *b) {
    const double v = fabs(b->value), error = fabs(stored - b->value),
                 half = s->rounds && mp_is_finite(v + b->sure) ? mp_half_place(&s->places, v + b->sure) : 0,
                 half_of_codes =
                     s->rounds && mp_is_finite(v + b->det) ? mp_half_place(&s->places, v + b->det) : 0,
                 bound = b->sure + half, ratio = error == 0 ? 0 : error / bound;
    if (v + b->det + half_of_codes <= s->places.most) {
        f->quant_bound = mp_larger(b->det, f->quant_bound);
        f->det += b->det;
    }
    if (!(v + b->sure + half <= s->places.most)) return;
    f->bounded++;
    f->failed += !(error <= bound);
    f->sure += bound;
    if (f->max_ratio != f->max_ratio || (f->worst >= 0 && ratio <= f->max_ratio)) return;
    f->max_ratio = ratio;
    f->worst = element;
    f->worst_got = stored;
    f->worst_value = b->value;
    f->worst_bound = bound;
}

MP_MEASURED int mp_is_worse(const mp_bound_figures *a, const mp_bound_figures *b) {
    const int a_is_nan = a->max_ratio != a->max_ratio, b_is_nan = b->max_ratio != b->max_ratio;
    if (a->worst < 0 || b->worst < 0) return b->worst < 0 && a->worst >= 0;
    if (a_is_nan != b_is_nan) return a_is_nan;
    if (a_is_nan || a->max_ratio == b->max_ratio) return a->worst < b->worst;
    return a->max_ratio > b->max_ratio;
}

/* Other elements, in any order. */
MP_MEASURED void mp_bound_figures_merge(mp_bound_figures *f, const mp_bound_figures *other) {
    const mp_bound_figures before = *f;
    if (mp_is_worse(other, f)) *f = *other;
    f->bounded = before.bounded + other->bounded;
    f->failed = before.failed + other->failed;
    f->quant_bound = mp_larger(before.quant_bound, other->quant_bound);
    f->sure = before.sure + other->sure;
    f->det = before.det + other->det;
}

#endif
