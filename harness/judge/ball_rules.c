/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a span from the inputs to the output, for an engine that carries its balls (ref/engine.h). */
#include "harness/judge/span.h"

#include "ref/activation.h"
#include "ref/combine.h"

static void sums(void *ctx, mp_stage stage, double reach, mp_ball_sum_rule rules[2]) {
    mp_span_sum_rules(ctx, stage, reach, rules);
}

static void groups(void *ctx, mp_stage stage, int64_t first, int64_t rows, mp_quant_group *to) {
    mp_span_quant_groups(ctx, stage, first, rows, to);
}

mp_ball_rules mp_span_ball_rules(mp_span *span) {
    const mp_case *c = span->j->c;
    const mp_contract *contract = span->j->contract;
    const mp_dtype out = span->j->t[MP_OUT].dtype;
    return (mp_ball_rules){
        .ctx = span,
        .sums = sums,
        .groups = groups,
        .quant_x = mp_span_quant_rule(span, MP_QUANT_X),
        .quant_act = mp_span_quant_rule(span, MP_QUANT_ACT),
        .act = {mp_act_rule_of(c, contract), mp_act_rule_of(c, span->beside)},
        .nan = mp_nan_clamping_of(c, contract),
        .stored = {[MP_GATE_UP] = mp_span_gemm_store(span, MP_GATE_UP),
                   [MP_ACT] = mp_span_store_of(span, MP_ACT, mp_case_dtype(c, MP_CACHE2)),
                   [MP_DOWN] = mp_span_gemm_store(span, MP_DOWN)},
        .combine = {mp_combine_range_of(c, contract), mp_combine_range_of(c, span->beside)},
        .out = {mp_places_of(out), mp_store_rounds(contract, out)}};
}
