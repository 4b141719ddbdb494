/* SPDX-License-Identifier: Apache-2.0 */
/* What ran before on the same buffers. */
#include "cases/conditions/conditions.h"

static bool after_any(const mp_case *c, const mp_figures *f, const mp_case *before,
                      const mp_figures *earlier) {
    (void)c, (void)f, (void)before, (void)earlier;
    return true;
}

/* As many tokens with the same experts, and other adapters. */
static bool after_other_adapters(const mp_case *c, const mp_figures *f, const mp_case *before,
                                 const mp_figures *earlier) {
    (void)f, (void)earlier;
    return c->M > 1 && before->M == c->M && before->lora_routing != c->lora_routing;
}

static bool after_other_ids(const mp_case *c, const mp_figures *f, const mp_case *before,
                            const mp_figures *earlier) {
    (void)f, (void)earlier;
    return c->M > 1 && before->M == c->M && (before->seed != c->seed || before->routing != c->routing);
}

static bool after_more_blocks(const mp_case *c, const mp_figures *f, const mp_case *before,
                              const mp_figures *earlier) {
    return before->M == c->M && earlier->blocks > f->blocks;
}

static bool after_fewer_blocks(const mp_case *c, const mp_figures *f, const mp_case *before,
                               const mp_figures *earlier) {
    return before->M == c->M && earlier->blocks < f->blocks;
}

static bool after_more_tokens(const mp_case *c, const mp_figures *f, const mp_case *before,
                              const mp_figures *earlier) {
    (void)f, (void)earlier;
    return c->M > 0 && before->M > c->M;
}

static bool after_no_tokens(const mp_case *c, const mp_figures *f, const mp_case *before,
                            const mp_figures *earlier) {
    (void)f, (void)earlier;
    return c->M > 0 && before->M == 0;
}

static bool after_more_routed(const mp_case *c, const mp_figures *f, const mp_case *before,
                              const mp_figures *earlier) {
    return before->M == c->M && f->filtered > 0 && earlier->filtered < f->filtered;
}

static const mp_condition conditions[] = {
    {"after-other-ids", "it runs on the buffers of as many tokens with other ids", AFTER(after_other_ids)},
    {"after-more-blocks", "of as many tokens that made more blocks of 16", AFTER(after_more_blocks)},
    {"after-fewer-blocks", "of as many tokens that made fewer", AFTER(after_fewer_blocks)},
    {"after-more-tokens", "of more tokens", AFTER(after_more_tokens)},
    {"after-no-tokens", "of none", AFTER(after_no_tokens)},
    {"after-more-routed", "of as many tokens with fewer slots filtered", AFTER(after_more_routed)},
    {"after-align", "align alone, on those of more tokens", IF("scope=align"), AFTER(after_more_tokens)},
    {"after-fused-sum", "down adds into an output that another run has left", IF("fused_sum=1"),
     AFTER(after_any)},
    {"after-no-combine", "nothing is summed, on those of more tokens", IF("mode=no_combine"),
     AFTER(after_more_tokens)},
    {"after-inplace", "in place, on those of more tokens", IF("mode=inplace"), AFTER(after_more_tokens)},
    {"after-sorted", "in sorted layout, on those of more blocks", IF("layout=sorted"),
     AFTER(after_more_blocks)},
    {"after-masked", "in masked layout, on those of other counts", IF("layout=masked"),
     AFTER(after_other_ids)},
    {"after-other-adapters", "on those of as many tokens with other adapters", IF("lora_adapters>0"),
     AFTER(after_other_adapters)},
    {"after-quant", "codes are made on the buffers of other tokens", IF("quant!=none"), AFTER(after_any)},
};
const mp_condition_list mp_conditions_of_sequences = LIST_OF(conditions);
