/* SPDX-License-Identifier: Apache-2.0 */
/* The activation in the arithmetic of the contract: by the source that the CUDA kernels are compiled from
 * (ref/predict/activation_f32.h), or as published kernels compute it (ref/predict/activation_cuda.h).
 * act(gate) is rounded to dtype if the contract says so, and the product is rounded once. Gate and up are
 * those of cache1, or, where the contract has one kernel do both stages, what gate_up does not store. */
#include "base/clones.h"
#include "base/threads.h"
#include "ref/activation.h"
#include "ref/engine.h"
#include "ref/predict/activation_cuda.h"
#include "ref/predict/activation_f32.h"
#include "ref/predict/predict.h"
#include "ref/predict/special_unit_tables.h"

#include <stdlib.h>
#include <string.h>

const char *mp_unpredictable_act(const mp_contract *contract, const mp_case *c) {
    if (mp_case_has_lora(c) && mp_contract_fuses_act(contract, c))
        return "what LoRA adds in float32 is bounded, not predicted";
    if (contract->act_rounding == MP_ACT_ANY_ROUNDING) return "act(gate) may be rounded or not";
    if (contract->act_clamp_nan == MP_CLAMP_NAN_ANY && mp_act_clamps(c->act))
        return "a NaN may be clamped or kept";
    if (contract->act_rounding == MP_ACT_GATE_ROUNDED && contract->overflow == MP_OVERFLOW_SATURATE)
        return "a gate that saturates before the product is not predicted";
    if (mp_activation_cuda_is(contract->act_function)) {
        if (mp_case_dtype(c, MP_CACHE1) == MP_FP64) return "published kernels take no fp64";
        if (contract->act_rounding == MP_ACT_GATE_ROUNDED && c->gated &&
            mp_activation_cuda_product_first(contract->act_function, c->act))
            return "act(gate) is rounded, but has no value of its own";
        return mp_activation_cuda_unknown(contract->act_function, c->act);
    }
    if (contract->act_function != MP_ACT_IEEE) return "exp, tanh and erf are not IEEE operations";
    return NULL;
}

/* One row of cache1 -> one row of results; `a`: room for a row. */
typedef struct activation_row {
    const mp_act_bits *bits;
    const mp_special_unit *unit; /* NULL: not needed */
    mp_dtype dtype;              /* of the result */
} activation_row;

MP_CLONES_FMA static void activate_gates_f32(const mp_case *c, const float *in, float *a) {
    const float alpha = (float)c->alpha, limit = (float)c->limit;
    for (int64_t n = 0; n < c->N; n++)
        a[n] = mp_gate_f32((int)c->act, in[mp_gate_column(c, n)], alpha, limit);
}

/* The gate as the activation takes it. */
static float taken_gate(const mp_case *c, const float *in, int64_t n) {
    const float gate = in[mp_gate_column(c, n)];
    return c->act == MP_CLAMP_SILU || c->act == MP_SWIGLU_OAI ? mp_at_most(gate, (float)c->limit) : gate;
}

static float factor_of_up(const mp_act_bits *b, const float *in, int64_t n) {
    const mp_case *c = b->c;
    return mp_up_f32((int)c->act, in[mp_up_column(c, n)], (float)c->limit) + b->added;
}

static void activate_gates_cuda(const activation_row *r, const float *in, float *a) {
    const mp_case *c = r->bits->c;
    for (int64_t n = 0; n < c->N; n++) {
        a[n] = mp_activation_cuda(r->unit, r->bits->function, c->act, taken_gate(c, in, n), (float)c->alpha);
        if (c->act == MP_SILU_CLAMP) a[n] = mp_at_most(a[n], (float)c->limit);
    }
}

static void activate_row(const activation_row *r, const float *in, float *a) {
    const mp_act_bits *b = r->bits;
    const mp_case *c = b->c;
    if (c->gated && mp_activation_cuda_product_first(b->function, c->act)) {
        for (int64_t n = 0; n < c->N; n++)
            a[n] = mp_activation_cuda_gated(r->unit, b->function, c->act, taken_gate(c, in, n),
                                            (float)c->alpha, factor_of_up(b, in, n));
        return;
    }
    if (r->unit)
        activate_gates_cuda(r, in, a);
    else
        activate_gates_f32(c, in, a);
    for (int64_t n = 0; b->rounds_gate && n < c->N; n++) a[n] = (float)mp_round_to(r->dtype, (double)a[n]);
    const mp_act_function product = b->exact_product ? MP_ACT_IEEE : b->function;
    for (int64_t n = 0; c->gated && n < c->N; n++)
        a[n] = mp_activation_cuda_times(product, a[n], factor_of_up(b, in, n));
}

mp_status mp_predict_activated(const mp_act_bits *b, const mp_tensor *out, mp_error *err) {
    const mp_tensor *cache1 = b->cache1;
    const int64_t N = b->c->N, width = mp_tensor_row_length(cache1);
    activation_row r = {.bits = b, .dtype = out->dtype};
    bool failed = false;
    if (mp_activation_cuda_is(b->function)) {
        const mp_status status = mp_special_unit_sm90(&r.unit, err);
        if (status != MP_OK) return status;
    }
    mp_tensor_make_rows(cache1, b->row, b->slots);
#pragma omp parallel if (mp_worth_threads(b->slots, 2 * N))
    {
        float *in = malloc((size_t)(width + N) * sizeof *in);
        if (!in) {
#pragma omp atomic write
            failed = true;
        }
        float *result = in ? in + width : NULL;
#pragma omp for schedule(static)
        for (int64_t t = 0; t < b->slots; t++) {
            if (!in || b->topk_ids[t] < 0 || b->row[t] < 0) continue;
            mp_decode_row_f32(cache1->dtype, cache1->data, b->row[t] * width, width, in);
            for (int64_t i = 0; b->clamps_nan && i < width; i++) in[i] = (float)mp_clamped_nan((double)in[i]);
            activate_row(&r, in, result);
            mp_encode_row_f32(out->dtype, out->data, b->row[t] * N, N, result);
        }
        free(in);
    }
    return failed
               ? mp_fail(err, MP_EMEMORY, "activation: no memory for a row of %lld floats", (long long)width)
               : MP_OK;
}

static void zero_filtered(const mp_case *c, const int32_t *topk_ids, const int64_t *row,
                          const mp_tensor *cache2) {
    for (int64_t t = 0; t < mp_case_slots(c); t++)
        if (topk_ids[t] < 0 && row[t] >= 0)
            memset(mp_tensor_row(cache2, row[t]), 0, mp_tensor_row_bytes(cache2));
}

/* Gate and up as a kernel has them that does the activation too: in float32, as gate_up makes them; with LoRA
 * the sums of cache1, which is stored, and of what is added to it. To be freed by the caller, after an error
 * too. */
static mp_status gate_up_in_float32(void *self, const mp_stage_call *call, mp_tensor *gate_up,
                                    mp_error *err) {
    const mp_tensor *base = &call->t[MP_CACHE1];
    const bool adds = mp_case_has_lora(call->c);
    mp_tensor t[MP_TENSOR_COUNT], wide = {0};
    mp_stage_call in_float32 = *call;
    memcpy(t, call->t, sizeof t);
    *gate_up = mp_case_shape(call->c, MP_CACHE1, call->block_size_m);
    gate_up->dtype = MP_FP32;
    mp_status status = mp_tensor_alloc(gate_up, MP_POISON_A, err);
    if (status == MP_OK && adds) {
        wide = *gate_up;
        status = mp_tensor_alloc(&wide, 0, err);
    }
    if (status == MP_OK && adds)
        mp_decode_row_f32(base->dtype, base->data, 0, mp_tensor_count(base), wide.data);
    t[MP_CACHE1] = adds ? wide : *gate_up;
    if (adds) t[MP_CACHE1_HOOKED] = *gate_up;
    in_float32.t = t;
    if (status == MP_OK)
        status = adds ? mp_predict_stage_expand_gate_up(self, &in_float32, err)
                      : mp_predict_stage_gate_up(self, &in_float32, err);
    mp_tensor_free(&wide);
    return status;
}

/* Of cache1 as it is read; where the contract fuses both stages, another is to take its place. */
static mp_act_bits bits_of(const mp_contract *contract, const mp_stage_call *call) {
    const mp_case *c = call->c;
    const bool rounds = contract->act_rounding == MP_ACT_GATE_ROUNDED;
    return (mp_act_bits){.c = c,
                         .function = contract->act_function,
                         .rounds_gate = rounds,
                         .exact_product = rounds && !mp_contract_fuses_act(contract, c),
                         .clamps_nan = contract->act_clamp_nan == MP_CLAMP_NAN_LIMIT && mp_act_clamps(c->act),
                         .added = contract->act_up_plus_zero ? 0.0f : -0.0f,
                         .cache1 = mp_as_read(call->t, MP_CACHE1),
                         .topk_ids = call->t[MP_TOPK_IDS].data,
                         .row = call->map->cache_row,
                         .slots = mp_case_slots(c)};
}

mp_status mp_predict_stage_act(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_contract *contract = ((const mp_prediction *)self)->contract;
    const mp_tensor *cache2 = &call->t[MP_CACHE2];
    mp_act_bits b = bits_of(contract, call);
    if (contract->filtered[MP_ACT] == MP_ROW_ZERO) zero_filtered(b.c, b.topk_ids, b.row, cache2);
    if (!mp_contract_fuses_act(contract, b.c)) return mp_predict_activated(&b, cache2, err);
    mp_tensor gate_up = {0};
    mp_status status = gate_up_in_float32(self, call, &gate_up, err);
    b.cache1 = &gate_up;
    if (status == MP_OK) status = mp_predict_activated(&b, cache2, err);
    mp_tensor_free(&gate_up);
    return status;
}

mp_status mp_confirm_act_stage(const mp_engine *engine, const mp_contract *contract,
                               const mp_stage_call *call, bool *equal, mp_error *err) {
    const mp_act_bits b = bits_of(contract, call);
    if (!engine->confirm_act || mp_contract_fuses_act(contract, call->c))
        return mp_fail(err, MP_EUNSUPPORTED, "activations are not looked at by an engine");
    return engine->confirm_act(engine, &b, &call->t[MP_CACHE2], equal, err);
}
