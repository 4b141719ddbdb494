/* SPDX-License-Identifier: Apache-2.0 */
/* LoRA's shrink and expand accumulate as the other GEMMs do. What an expand has made is rounded to dtype,
 * or not, as the contract says, and added in float32, with one rounding to dtype. */
#include "ref/lora.h"

#include "base/threads.h"
#include "ref/predict/gemm.h"
#include "ref/predict/predict.h"

static const char *unpredictable_shrink(const mp_contract *contract, const mp_case *c) {
    return mp_unpredictable_gemm(&contract->shrink, mp_case_dtype(c, MP_LORA_A1));
}

static const char *unpredictable_expand(const mp_contract *contract, const mp_case *c) {
    const bool kept_in_float32 =
        contract->lora_input == MP_LORA_FLOAT32 && mp_case_dtype(c, MP_LORA_H1) != MP_FP32;
    if (kept_in_float32) return "an expand of float32 rows is bounded, not predicted";
    if (contract->lora_rows == MP_LORA_ROWS_ANY) return "rows without an adapter are kept, or +0 is added";
    if (contract->overflow == MP_OVERFLOW_SATURATE)
        return "what saturates before it is added is not predicted";
    return mp_unpredictable_gemm(&contract->expand, mp_case_dtype(c, MP_LORA_B1));
}

const char *mp_unpredictable_shrink_gate_up(const mp_contract *contract, const mp_case *c) {
    return unpredictable_shrink(contract, c);
}

const char *mp_unpredictable_expand_gate_up(const mp_contract *contract, const mp_case *c) {
    return unpredictable_expand(contract, c);
}

const char *mp_unpredictable_shrink_down(const mp_contract *contract, const mp_case *c) {
    return unpredictable_shrink(contract, c);
}

const char *mp_unpredictable_expand_down(const mp_contract *contract, const mp_case *c) {
    return unpredictable_expand(contract, c);
}

static mp_status shrink(const mp_prediction *self, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    mp_lora_gemm g;
    mp_status status = mp_lora_gemm_create(call, stage, &g, err);
    if (status == MP_OK)
        status = mp_predict_gemm(&self->contract->shrink, NULL, &g.problem, &g.epilogue, NULL, &g.out, err);
    mp_lora_gemm_free(&g);
    return status;
}

/* Row v: base + d, or + 0 where there is no adapter and the whole tensor is added. */
static void add_row(const mp_lora_gemm *g, const mp_tensor *d, int64_t v) {
    for (int64_t n = 0; n < g->width; n++) {
        const int64_t at = mp_lora_element(g, v, n);
        const float base = (float)mp_decode(g->base->dtype, g->base->data, at),
                    delta = (float)mp_decode(d->dtype, d->data, v * g->width + n);
        mp_encode_row_f32(g->out.dtype, g->out.data, at, 1, &(float){base + delta});
    }
}

static mp_status expand(const mp_prediction *self, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    const mp_contract *contract = self->contract;
    mp_lora_gemm g;
    mp_tensor d = {0};
    mp_status status = mp_lora_gemm_create(call, stage, &g, err);
    if (status != MP_OK) goto out;
    const mp_dtype stored = mp_case_dtype(call->c, mp_stages[stage].output),
                   dtype = contract->lora_add == MP_LORA_ADD_ROUNDED ? stored : MP_FP32;
    d = mp_tensor_shape(dtype, 2, g.problem.slots, g.width, 1);
    if ((status = mp_tensor_alloc(&d, 0, err)) != MP_OK) goto out;
    status = mp_predict_gemm(&contract->expand, NULL, &g.problem, &g.epilogue, NULL, &d, err);
    if (status != MP_OK) goto out;
    if (contract->lora_rows == MP_LORA_ROWS_KEPT) mp_lora_keep_rows(&g);
#pragma omp parallel for schedule(static) if (mp_worth_threads(g.problem.slots, g.width))
    for (int64_t v = 0; v < g.problem.slots; v++)
        if (g.problem.topk_ids[v] >= 0 || contract->lora_rows == MP_LORA_ROWS_PLUS_ZERO) add_row(&g, &d, v);
out:
    mp_tensor_free(&d);
    mp_lora_gemm_free(&g);
    return status;
}

mp_status mp_predict_stage_shrink_gate_up(void *self, const mp_stage_call *call, mp_error *err) {
    return shrink(self, call, MP_SHRINK_GATE_UP, err);
}

mp_status mp_predict_stage_expand_gate_up(void *self, const mp_stage_call *call, mp_error *err) {
    return expand(self, call, MP_EXPAND_GATE_UP, err);
}

mp_status mp_predict_stage_shrink_down(void *self, const mp_stage_call *call, mp_error *err) {
    return shrink(self, call, MP_SHRINK_DOWN, err);
}

mp_status mp_predict_stage_expand_down(void *self, const mp_stage_call *call, mp_error *err) {
    return expand(self, call, MP_EXPAND_DOWN, err);
}
