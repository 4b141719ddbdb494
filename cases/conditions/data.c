/* SPDX-License-Identifier: Apache-2.0 */
/* Families of data, and the stages that they meet. */
#include "cases/conditions/conditions.h"

static bool has_stage(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return mp_case_has_stage(c, (mp_stage)n);
}

/* The family's rows in which the store of stage n overflows are there for that stage. */
static bool overflows(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->data == MP_OVERFLOW && f->routed > 0 && mp_case_has_stage(c, (mp_stage)n);
}

static bool unused_weights(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->data == MP_UNUSED && multiplies(c) && expert_unused(c, f, n);
}

static bool unused_tokens(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->data == MP_UNUSED && token_unrouted(c, f, n);
}

#define ACTS(act, form)                                                                                    \
    {act "-normal", "act=" act form " on normal numbers", IF("act=" act form " data=normal"),              \
     WHERE(has_stage, MP_ACT)},                                                                            \
        {act "-limits", "act=" act form " far outside, and with biases alone",                             \
         IF("act=" act form " data=limits"), WHERE(has_stage, MP_ACT)},                                    \
        {act "-special", "act=" act form " on zeros, subnormals, infinities and NaN",                      \
         IF("act=" act form " data=special"), WHERE(has_stage, MP_ACT)},                                   \
    {                                                                                                      \
        act "-overflow", "act=" act form " beyond the largest fp16", IF("act=" act form " data=overflow"), \
            WHERE(has_stage, MP_ACT)                                                                       \
    }

static const mp_condition conditions[] = {
    ACTS("silu", ""),
    ACTS("gelu", ""),
    ACTS("gelu_tanh", ""),
    ACTS("relu2", " gated=0"),
    ACTS("swiglu_oai", ""),
    ACTS("silu_clamp", ""),
    ACTS("clamp_silu", ""),
    {"silu-plain", "silu without up", IF("act=silu gated=0")},
    {"gelu-plain", "gelu without up", IF("act=gelu gated=0")},
    {"gate-exhaustive", "every gate of 16 bits", IF("data=exhaustive")},
    {"sums-exact", "integers whose sums are exact in any order", IF("data=integer"), WHERE(has_gemm, 0)},
    {"sums-cancelling", "products that nearly cancel each other", IF("data=wide"), WHERE(has_gemm, 0)},
    {"sums-of-one", "sums of one product", IF("data=onehot"), WHERE(has_gemm, 0)},
    {"gate_up-overflow", "gate and up beyond the largest fp16", WHERE(overflows, MP_GATE_UP)},
    {"act-overflow", "their product beyond the largest fp16", WHERE(overflows, MP_ACT)},
    {"down-overflow", "down beyond the largest fp16", WHERE(overflows, MP_DOWN)},
    {"combine-overflow", "the sum over topk beyond the largest fp16", WHERE(overflows, MP_COMBINE)},
    {"unused-weights", "NaN and Inf in the weights of an expert without slots", WHERE(unused_weights, 0)},
    {"unused-slots", "NaN in the router weights of filtered slots", WHERE(unused_slots, 0)},
    {"unused-tokens", "NaN and Inf in a token whose slots are all filtered", WHERE(unused_tokens, 0)},
    {"gpt-oss-limits", "GPT-OSS beyond its limit", IF("model=GPT-OSS* data=limits")},
};
const mp_condition_list mp_conditions_of_data = LIST_OF(conditions);
