/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of an engine that carries balls through a pipeline whose activations are quantised: by which
 * rules each stage makes those of its output. Of two rules the first is the contract's, the second that of
 * the contract beside it, of which `det` is the radius. */
#ifndef MP_REF_BALL_RULES_H
#define MP_REF_BALL_RULES_H

#include "moeparity/case.h"
#include "ref/activated_ball.h"
#include "ref/combined.h"
#include "ref/quantised.h"
#include "ref/token_figures.h"

/* quant_x or quant_act. */
typedef struct mp_quant_stage_rule {
    mp_quant_balls balls;
    int64_t group; /* columns that share a scale; the last may be fewer */
} mp_quant_stage_rule;

typedef struct mp_ball_rules {
    void *ctx; /* of the two functions */
    /* Of sums of gate_up or down over a row of activations of which no finite one is larger than `reach`. */
    void (*sums)(void *ctx, mp_stage stage, double reach, mp_ball_sum_rule rules[2]);
    /* Of rows first .. first+rows of quant_x (tokens) or quant_act (slots): [rows, groups of a row]. */
    void (*groups)(void *ctx, mp_stage stage, int64_t first, int64_t rows, mp_quant_group *groups);
    mp_quant_stage_rule quant_x, quant_act;
    mp_act_rule act[2];
    mp_nan_clamping nan;
    mp_ball_store stored[MP_STAGE_COUNT]; /* of gate_up, act and down */
    mp_combine_range combine[2];
    mp_bounded_store out;
} mp_ball_rules;

#endif
