/* SPDX-License-Identifier: Apache-2.0 */
/* What lies between and behind the sums of the float64 pipeline where activations are quantised: arguments of
 * balls.cu, and what it does to an element. The arithmetic is that of ref/quantised.h, ball.h,
 * activated_ball.h, combined.h and token_figures.h. Slots and tokens are those of a slab, rows in the order
 * of slots. */
#ifndef MP_OFFLOAD_DEVICE_BALLS_H
#define MP_OFFLOAD_DEVICE_BALLS_H

#include "offload/device/activation.h"
#include "offload/device/number.h"
#include "ref/activated_ball.h"
#include "ref/combined.h"
#include "ref/quantised.h"
#include "ref/token_figures.h"

enum { MP_BALL_THREADS = 256 };

/* Rows of `width` balls: values, behind them radii `sure`, and behind those radii `det`. */
typedef struct mp_ball_rows {
    MP_DEVICE_POINTER(double) value;
    long long numbers; /* of each part */
    long long width;
} mp_ball_rows;

MP_DEVICE_INLINE mp_ball mp_ball_read(const mp_ball_rows *b, long long i) {
    const double *at = (const double *)b->value + i;
    const mp_ball ball = {at[0], at[b->numbers], at[2 * b->numbers], 0};
    return ball;
}
MP_DEVICE_INLINE void mp_ball_write(const mp_ball_rows *b, long long i, mp_ball ball) {
    double *at = (double *)b->value + i;
    at[0] = ball.value;
    at[b->numbers] = ball.sure;
    at[2 * b->numbers] = ball.det;
}

/* ---- quant_x, quant_act ---- */

/* Balls `to` of `from`, or of x where there is one; they may be the same. A row that nobody reads, none of
 * whose slots goes to an expert, is zeros. */
typedef struct mp_quant_balls_params {
    MP_DEVICE_POINTER(const void) x;                /* [rows, width], or 0 */
    MP_DEVICE_POINTER(const int) topk_ids;          /* [rows, slots] */
    MP_DEVICE_POINTER(const mp_quant_group) groups; /* [rows, groups of a row] */
    MP_DEVICE_POINTER(unsigned long long)
    reach; /* [rows] bits of the largest |value| + sure that is
                                                       finite; zeros before */
    mp_ball_rows from, to;
    mp_number_format x_format;
    mp_quant_balls rule;
    long long rows, slots, group; /* group: columns */
} mp_quant_balls_params;

MP_DEVICE_INLINE mp_ball mp_ball_to_quantise(const mp_quant_balls_params *p, const void *x, long long i) {
    if (!x) return mp_ball_read(&p->from, i);
    const mp_ball exact = {mp_number_at(&p->x_format, x, i), 0, 0, 0};
    return exact;
}

MP_DEVICE_INLINE int mp_row_is_read(const mp_quant_balls_params *p, const int *ids, long long row) {
    for (long long s = row * p->slots; s < (row + 1) * p->slots; s++)
        if (ids[s] >= 0) return 1;
    return 0;
}

MP_DEVICE_INLINE long long mp_groups_of_row(const mp_quant_balls_params *p) {
    return (p->to.width + p->group - 1) / p->group;
}

/* What a group's balls have in common, in two passes over them: */
typedef struct mp_group_look {
    double amax;
    int open;
} mp_group_look;
MP_DEVICE_INLINE void mp_group_look_add(mp_group_look *look, const mp_quant_balls *rule, mp_ball x) {
    look->amax = mp_larger(fabs(x.value) + x.sure, look->amax);
    look->open |= mp_quant_opens_all(rule, x.value);
}
/* Returns the reach of the ball that it makes of one: 0 where that is not finite. */
MP_DEVICE_INLINE double mp_quantise_ball_at(const mp_quant_balls_params *p, mp_quant_group group,
                                            const mp_group_look *look, mp_ball x, long long i) {
    if (group.scale != group.scale) group.scale = mp_quant_largest_scale(&p->rule, look->amax);
    const mp_ball ball = mp_quantised_ball(&p->rule, &group, look->open, x);
    const double reach = fabs(ball.value) + ball.sure;
    mp_ball_write(&p->to, i, ball);
    return mp_is_finite(reach) ? reach : 0;
}

/* ---- gate_up, down ---- */

/* to[slot, n0 + j] of the sums of a piece: values, masses, and of the radii. */
typedef struct mp_sum_balls_params {
    MP_DEVICE_POINTER(const double) sums;     /* [4][rows, n], in the order of the sums */
    MP_DEVICE_POINTER(const long long) slots; /* [rows] slot of each */
    MP_DEVICE_POINTER(const int) topk_ids;    /* [slots] */
    MP_DEVICE_POINTER(const float) weights;   /* [slots], or 0 */
    MP_DEVICE_POINTER(const void) bias;       /* [E, width], or 0 */
    mp_ball_rows to;
    mp_number_format bias_format;
    MP_DEVICE_POINTER(const mp_ball_sum_rule) rules; /* [rows of activations, 2] */
    mp_ball_store store;
    long long rows, n, n0;
    long long slots_of_row; /* that multiply a row of activations */
} mp_sum_balls_params;

MP_DEVICE_INLINE void mp_sum_ball_at(const mp_sum_balls_params *p, const double *sums, const long long *slots,
                                     const int *ids, const float *weights, const void *bias,
                                     const mp_ball_sum_rule *rules, long long i) {
    const long long slot = slots[i / p->n], at = p->n0 + i % p->n, part = p->rows * p->n;
    const double acc = sums[i], mass = sums[part + i];
    mp_epilogue_terms terms = {bias != 0, weights != 0, 0, 0};
    if (bias) terms.bias = mp_number_at(&p->bias_format, bias, ids[slot] * p->to.width + at);
    if (weights) terms.weight = (double)weights[slot];
    const mp_ball_sum_rule *rule = rules + 2 * (slot / p->slots_of_row);
    mp_ball ball = {0, 0, 0, 0};
    ball.sure = mp_ball_sum_radius(&rule[0], &terms, acc, mass, sums[2 * part + i], &ball.value);
    ball.det = mp_ball_sum_radius(&rule[1], &terms, acc, mass, sums[3 * part + i], &ball.value);
    mp_ball_write(&p->to, slot * p->to.width + at, mp_ball_stored(&p->store, ball));
}

/* ---- act ---- */

/* Rows of filtered slots hold anything. */
typedef struct mp_act_balls_params {
    mp_ball_rows from, to;
    mp_act_rule rule, beside;
    mp_nan_clamping nan;
    mp_ball_store store;
    long long slots;
    long long step, up; /* columns of n: gate step * n, up that many behind it */
} mp_act_balls_params;

MP_DEVICE_INLINE void mp_act_ball_at(const mp_act_balls_params *p, long long i) {
    const mp_act_form *form = &p->rule.form;
    const long long gate_at = i / p->to.width * p->from.width + p->step * (i % p->to.width);
    mp_ball gate = mp_ball_read(&p->from, gate_at), up = {1, 0, 0, 0};
    if (form->gated) up = mp_ball_read(&p->from, gate_at + p->up);
    const int or_nan = mp_clamp_nans(p->nan, &gate.value, &up.value);
    const mp_act_point at = mp_act64_point(form, gate.value);
    const mp_ball ball = mp_activated_ball(&p->rule, &p->beside, &at, gate, up, or_nan);
    mp_ball_write(&p->to, i, mp_ball_stored(&p->store, ball));
}

/* ---- combine, and the output ---- */

/* What the final output of a token comes to, beside its values and within its bounds; without combine each
 * slot's row, of which those of filtered slots are zeros that have no bound. */
typedef struct mp_output_balls_params {
    mp_ball_rows rows;                           /* [slots] */
    MP_DEVICE_POINTER(const int) topk_ids;       /* [slots] */
    MP_DEVICE_POINTER(const float) weights;      /* [slots], or 0 */
    MP_DEVICE_POINTER(const void) shared;        /* [tokens, K], or 0 */
    MP_DEVICE_POINTER(const void) stored;        /* [tokens, K], or [tokens, topk, K] without combine */
    MP_DEVICE_POINTER(mp_token_figures) figures; /* [tokens] */
    MP_DEVICE_POINTER(mp_bound_figures) bounds;  /* [tokens] */
    mp_number_format shared_format, stored_format;
    mp_combine_range range, beside;
    mp_bounded_store store;
    long long tokens, topk;
    long long first; /* of the tokens, in shared and stored */
    int combines;
} mp_output_balls_params;

MP_DEVICE_INLINE long long mp_output_balls_width(const mp_output_balls_params *p) {
    return p->combines ? p->rows.width : p->topk * p->rows.width;
}

/* Element i of the token's output. */
MP_DEVICE_INLINE void mp_output_ball_at(const mp_output_balls_params *p, const int *ids, const float *weights,
                                        const void *shared, const void *stored, long long token, long long i,
                                        mp_token_figures *figures, mp_bound_figures *bounds) {
    const long long K = p->rows.width, at = (p->first + token) * mp_output_balls_width(p) + i;
    const double got = mp_number_at(&p->stored_format, stored, at);
    mp_ball ball = {0, 0, 0, 0};
    int is_bounded = 1;
    if (!p->combines) {
        const long long slot = token * p->topk + i / K;
        is_bounded = ids[slot] >= 0;
        if (is_bounded) ball = mp_ball_read(&p->rows, slot * K + i % K);
    } else {
        mp_sum sum = {0, 0, 0, 0, 0, 0, 0};
        double det = 0;
        if (shared) sum.shared = mp_number_at(&p->shared_format, shared, at);
        for (long long slot = token * p->topk; slot < (token + 1) * p->topk; slot++) {
            if (ids[slot] < 0) continue;
            const mp_ball term = mp_ball_read(&p->rows, slot * K + i);
            const double w = weights ? (double)weights[slot] : 1;
            mp_sum_add_weighed(&sum, w, term.value);
            sum.error += fabs(w) * term.sure;
            det += fabs(w) * term.det;
        }
        ball = mp_combined_ball(&p->range, &p->beside, &sum, det);
    }
    mp_token_figures_add(figures, got, ball.value);
    if (is_bounded) mp_bound_figures_add(bounds, &p->store, i, got, &ball);
}

#endif
