/* SPDX-License-Identifier: Apache-2.0 */
/* The hypotheses of how a GEMM sums over k, and the sums that each of them predicts. */
#ifndef MP_HARNESS_GEMM_SUMS_H
#define MP_HARNESS_GEMM_SUMS_H

#include "harness/infer/gemm_orders.h"
#include "harness/infer/infer_stage.h"

/* PARTS: `number` parts of ceil(k / number) terms, rounded up to a multiple of 16, whose sums are added to
 * zero in ascending order. PROMOTED: the same with parts of `number` terms. */
typedef enum mp_sum_parts { MP_SUM_WHOLE, MP_SUM_PARTS, MP_SUM_PROMOTED } mp_sum_parts;

typedef struct mp_sum_rule {
    char name[160], keys[320];
    bool named;                 /* a contract has words for it: keys */
    mp_contract contract;       /* what predicts the sum, or */
    const mp_gemm_order *order; /* what adds it in another order */
    bool float64, float64_steps;
    mp_sum_parts parts;
    int number;
} mp_sum_rule;

enum { MP_SUM_RULES_MAX = 128 };
typedef struct mp_sum_rules {
    mp_sum_rule rule[MP_SUM_RULES_MAX];
    int count;
} mp_sum_rules;

/* All that there are for the stage, gate_up or down, of the case. *rules starts zeroed. */
void mp_sum_rules_make(mp_sum_rules *rules, const mp_case *c, mp_stage stage);
/* Whether the rule says anything of its own of so many terms: where a part holds all of them it does not. */
bool mp_sum_is_its_own(const mp_sum_rule *rule, int64_t terms);

/* What the stage multiplies: 0 its rows, 1 its weights. */
mp_tensor_id mp_sum_operand(mp_stage stage, int which);
/* The stage's sums under the rule, before bias and router weight, from the run's own input of the stage: acc
 * [slots, n] of fp64 for rules in float64, else of fp32. MP_EMEMORY. */
mp_status mp_sum_compute(const mp_sum_rule *rule, const mp_infer_run *r, mp_stage stage, const mp_tensor *acc,
                         mp_error *err);

#endif
