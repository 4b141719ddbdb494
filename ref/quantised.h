/* SPDX-License-Identifier: Apache-2.0 */
/* How far what a quantiser makes of numbers may be from them, of numbers that are known within radii, too.
 * One source for CPU and GPU, as ref/measured.h. */
#ifndef MP_REF_QUANTISED_H
#define MP_REF_QUANTISED_H

#include "ref/ball.h"

/* ---- by a scale that is known ---- */

/* What many values have in common (mp_quant_spread_of). */
typedef struct mp_quant_spread {
    int unbounded;
    double step, off, most;        /* largest |1 - f * step|, and largest f, of 1/f where that divides */
    double last[2];                /* code upwards, and downwards */
    double halves, halves_of_code; /* half ulps of what is computed, and half distances of codes */
    mp_places computed, codes;
} mp_quant_spread;

/* mp_quant_error of one of them. */
MP_MEASURED double mp_quant_spread_at(const mp_quant_spread *s, double x) {
    const double a = fabs(x);
    if (!mp_is_finite(x) || s->unbounded) return mp_infinity64();
    if (s->step == 0) return a; /* whatever the code */
    const double reach = a * s->most, computed = s->halves * mp_half_place(&s->computed, reach) + 0x1p-126,
                 v = reach + computed, last = x < 0 ? s->last[1] : s->last[0], within = last > 0 ? last : 0,
                 rounded = s->halves_of_code * mp_half_place(&s->codes, v < within ? v : within);
    return (a * s->off + s->step * (computed + (rounded > v - last ? rounded : v - last))) * (1 + 0x1p-40);
}

/* ---- of balls ---- */

/* What is common to all that a stage quantises. */
typedef struct mp_quant_balls {
    mp_quant_spread spread; /* but for unbounded, step, off and most, which are a group's */
    double largest;         /* code */
    double lost;            /* the largest number that goes with a scale of zero */
    double made_most;       /* a scale that is made is no larger */
    int nan_stays;          /* a NaN keeps a code of its own */
    int nan_spreads;        /* those that share a scale with it are not spared */
    int beside;             /* as of mp_ball_store */
} mp_quant_balls;

/* Of numbers that share a scale. */
typedef struct mp_quant_group {
    double scale;           /* that is used, or where it is not known one that is no smaller; NaN: none is */
    double step, off, most; /* of the spread by a scale that is known, by the scheme's own quantiser */
    int known, unbounded;   /* it is; and of its spread */
} mp_quant_group;

/* The largest scale that numbers have of which none exceeds `amax`: twice the exact one covers powers of two
 * and roundings, 1/(448*512) the floors. On top of one that is given no more than the largest of its
 * format. */
MP_MEASURED double mp_quant_largest_scale(const mp_quant_balls *q, double amax) {
    const double made = mp_larger(2 * amax / q->largest, 1 / (448 * 512.0)) * (1 + 0x1p-21);
    return made < q->made_most ? made : q->made_most;
}

/* A number v within `sure` of x becomes code * step. The scale is one that the largest numbers within their
 * radii give, so at most that of the amax and the largest radius; the step's roundings, and what may be
 * clipped for them, are a few of the amax. Rounding v / step to a code costs half the distance of codes,
 * or all of it where the quantiser cuts. A scale that is given clips what it does not reach; one that is
 * made on top of it is 0 where it rounds to that, and `lost` is the largest number that goes with it. */
MP_MEASURED double mp_quant_spread_by_bound(const mp_quant_balls *q, double scale, double reach) {
    const double amax = scale * q->largest, steps = 0x1p-21 * amax,
                 code = 2 * scale * mp_half_place(&q->spread.codes, fmin(reach / scale, q->largest)),
                 clipped = fmax(reach - amax, 0) + fmin(reach, q->lost);
    return code + steps + clipped;
}

/* A number v within `sure` of x, quantised by the scheme's own quantiser with a scale that is known: its code
 * stands for one within mp_quant_error of v, which grows with |v|, and |v| <= reach = |x| + sure. */
MP_MEASURED double mp_quant_spread_by(const mp_quant_balls *q, const mp_quant_group *g, double reach) {
    if (!g->known) return mp_quant_spread_by_bound(q, g->scale, reach);
    mp_quant_spread s = q->spread;
    s.unbounded = g->unbounded;
    s.step = g->step;
    s.off = g->off;
    s.most = g->most;
    return mp_quant_spread_at(&s, reach);
}

/* What is known where a number is none, which most quantisers make a code like any other: nothing, but that
 * some keep a NaN. Whether those that share a scale with a NaN are spared depends on the quantiser; an Inf
 * spares none. */
MP_MEASURED int mp_quant_opens_all(const mp_quant_balls *q, double x) {
    return x != x ? q->nan_spreads : fabs(x) == mp_infinity64();
}

/* A number that shares a scale with others; open: of one of them mp_quant_opens_all. */
MP_MEASURED mp_ball mp_quantised_ball(const mp_quant_balls *q, const mp_quant_group *g, int open, mp_ball x) {
    const double by = mp_quant_spread_by(q, g, fabs(x.value) + x.sure);
    if (open || (!q->nan_stays && x.value != x.value)) {
        const mp_ball any = {q->beside ? x.value : 0, mp_infinity64(), mp_infinity64(), 0};
        return any;
    }
    x.det += q->beside && x.det < x.sure ? mp_quant_spread_by(q, g, fabs(x.value) + x.det) : by;
    x.sure += by;
    return x;
}

/* ---- of codes that were stored ---- */

/* What numbers that share a scale have in common. */
typedef struct mp_quant_seen {
    float amax; /* NaN left out */
    int odd;    /* one of them is not finite */
} mp_quant_seen;

/* A group beside its scale. */
typedef struct mp_quant_stored_group {
    double factor;          /* that its numbers are multiplied by, or divided by, in float32 */
    double step, off, most; /* of its spread */
    int plain;              /* the scale is right, and each number has one code */
} mp_quant_stored_group;

/* What all groups have in common. */
typedef struct mp_quant_codes_rule {
    mp_quant_spread spread; /* but for step, off and most */
    mp_stored stored;       /* of codes, which are plain as far as they are numbers */
    double largest;         /* code */
    int divides;            /* by the factor */
} mp_quant_codes_rule;

/* Of a row's codes, in units of its groups' steps. */
typedef struct mp_quant_figures {
    mp_row_figures row;
    long long saturated; /* codes that are the last of their format */
} mp_quant_figures;

#endif
