/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/sharper.h"

#include "cases/scheme.h"
#include "ref/activation.h"
#include "ref/bounds.h"
#include "ref/combine.h"

#include <string.h>

/* The bound of a stage's error before its last rounding, of operands and results of magnitude 1. */
static double bound_of(const mp_case *c, const mp_contract *contract, mp_stage stage) {
    const mp_sum sum = {.value = 1, .mass = 1, .terms = c->topk};
    switch (stage) {
    case MP_QUANT_X:
    case MP_QUANT_ACT: return 0x1p-22; /* the roundings of a code before its own */
    case MP_GATE_UP: return mp_gemm_bound(&contract->gate_up, mp_case_multiplied(c), c->K, 1).rel;
    case MP_ACT: return mp_activation_bound(c, contract, 1, 1);
    case MP_DOWN: return mp_gemm_bound(&contract->down, mp_case_multiplied(c), c->N, 1).rel;
    case MP_COMBINE: return mp_combine_bound(c, contract, sum);
    case MP_SHRINK_GATE_UP:
        return mp_gemm_bound(&contract->shrink, mp_case_dtype(c, MP_LORA_A1), c->K, 1).rel;
    case MP_SHRINK_DOWN: return mp_gemm_bound(&contract->shrink, mp_case_dtype(c, MP_LORA_A2), c->N, 1).rel;
    case MP_EXPAND_GATE_UP:
    case MP_EXPAND_DOWN:
        return mp_gemm_bound(&contract->expand, mp_case_dtype(c, MP_LORA_B1), c->lora_rank, 1).rel;
    case MP_ALIGN:
    case MP_STAGE_COUNT: break;
    }
    return 0;
}

#define LARGER "before the last rounding errors may be larger than under"

void mp_sharper_text(const mp_case *c, const mp_contract *contract, const mp_contract *sharp, mp_text *text) {
    mp_text list = {0};
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (!mp_case_has_stage(c, (mp_stage)s)) continue;
        const double wide = bound_of(c, contract, (mp_stage)s), narrow = bound_of(c, sharp, (mp_stage)s);
        if (!(wide > narrow)) continue;
        mp_text_add(&list, "%s%.2g times in %s", list.length ? ", " : "", wide / narrow,
                    mp_stage_name((mp_stage)s));
    }
    if (list.length)
        mp_text_add(text, "contract %s: " LARGER " %s, %s", contract->preset, sharp->preset,
                    mp_text_get(&list));
    mp_text_free(&list);
}

bool mp_sharper_told(const char *text) {
    return strstr(text, LARGER) != NULL;
}
