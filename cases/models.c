/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes of published models: experts, topk, hidden size, intermediate size after the activation, and their
 * options. */
#include "cases/models.h"
#include "moeparity/matrix.h"

#include <stdio.h>
#include <string.h>

static const mp_model models[] = {
    {"Mixtral-8x7B", "E=8 topk=2 K=4096 N=14336"},
    {"Mixtral-8x22B", "E=8 topk=2 K=6144 N=16384"},
    {"Qwen1.5-MoE-A2.7B", "E=60 topk=4 K=2048 N=1408"},
    {"Qwen2-57B-A14B", "E=64 topk=8 K=3584 N=2560"},
    {"Qwen3-30B-A3B", "E=128 topk=8 K=2048 N=768"},
    {"Qwen3-235B-A22B", "E=128 topk=8 K=4096 N=1536"},
    {"DeepSeek-V2-Lite", "E=64 topk=6 K=2048 N=1408"},
    {"DeepSeek-V3", "E=256 topk=8 K=7168 N=2048 rsf=2.5"}, /* R1 has the same shape */
    {"DeepSeek-V3-TP8", "E=256 topk=8 K=7168 N=256 rsf=2.5"},
    {"GLM-4.5-Air", "E=128 topk=8 K=4096 N=1408"},
    {"Kimi-K2", "E=384 topk=8 K=7168 N=2048 rsf=2.827"},
    /* Clamped SwiGLU with alpha 1.702 and limit 7 (the defaults), gate and up rows alternating, bias on both
     * GEMMs. */
    {"GPT-OSS-120B", "E=128 topk=4 K=2880 N=2880 act=swiglu_oai interleaved=1 bias=1"},
    {"GPT-OSS-20B", "E=32 topk=4 K=2880 N=2880 act=swiglu_oai interleaved=1 bias=1"},
    {"Llama-4-Scout", "E=16 topk=1 K=5120 N=8192 apply_router_weight_on_input=1"},
};

const mp_model *mp_model_list(size_t *count) {
    *count = sizeof models / sizeof models[0];
    return models;
}

const mp_model *mp_model_find(const char *name) {
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (!strcmp(models[i].name, name)) return &models[i];
    }
    return NULL;
}

void mp_model_names(char text[MP_MODEL_NAMES_MAX]) {
    int used = 0;
    for (size_t i = 0; i < sizeof models / sizeof models[0] && used < MP_MODEL_NAMES_MAX; i++)
        used +=
            snprintf(text + used, (size_t)(MP_MODEL_NAMES_MAX - used), "%s%s", i ? ", " : "", models[i].name);
}
