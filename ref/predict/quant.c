/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act in the arithmetic of a contract: our own quantisers in the float32 that the device
 * compiles too, those of others by their formulas, where each result is one number. */
#include "ref/quant.h"

#include "ref/predict/predict.h"
#include "ref/predict/quantise_f32.h"

#include <string.h>

/* Those whose results the formulas leave no choice. */
static bool is_exact(int quantiser) {
    static const mp_quantiser exact[] = {MP_QUANT_SGL_FP8_TENSOR,  MP_QUANT_SGL_FP8_STATIC,
                                         MP_QUANT_SGL_UE8M0_GROUP, MP_QUANT_VLLM_FP8_TENSOR,
                                         MP_QUANT_VLLM_FP8_STATIC, MP_QUANT_VLLM_FP8_TOKEN,
                                         MP_QUANT_VLLM_FP8_GROUP,  MP_QUANT_VLLM_INT8_STATIC,
                                         MP_QUANT_VLLM_INT8_TOKEN, MP_QUANT_VLLM_INT8_GROUP};
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        if ((int)exact[i] == quantiser) return true;
    return quantiser <= (int)MP_QUANT_NVFP4; /* our own */
}

static const char *unpredictable(const mp_contract *contract, const mp_case *c) {
    if (!mp_scheme_of(c)->quantises_activations) return NULL;
    if (contract->quantiser == MP_ANY_QUANTISER) return "who quantises is not said";
    return is_exact(contract->quantiser) ? NULL : "the quantiser divides approximately";
}

const char *mp_unpredictable_quant_x(const mp_contract *contract, const mp_case *c) {
    return unpredictable(contract, c);
}

const char *mp_unpredictable_quant_act(const mp_contract *contract, const mp_case *c) {
    return unpredictable(contract, c);
}

/* The code of the scale, and what numbers are divided by, or multiplied. */
typedef struct divisor {
    unsigned code;
    float value;
    bool inverse;
} divisor;

static divisor divisor_of(const mp_quantisation *q, float amax) {
    const float largest = (float)mp_dtype_format(mp_quantiser_codes(q->quantiser))->max_finite;
    switch (q->quantiser) {
    case MP_QUANT_FP8_UE8M0: {
        const unsigned byte = mp_quant_ue8m0_f32(mp_quant_scale_f32(amax, largest));
        return (divisor){byte, mp_quant_factor_f32(byte), true};
    }
    case MP_QUANT_MXFP8:
    case MP_QUANT_MXFP4: {
        const unsigned byte = mp_quant_ue8m0_f32(amax / largest);
        return (divisor){byte, mp_quant_factor_f32(byte), true};
    }
    case MP_QUANT_NVFP4: {
        const unsigned code = mp_quant_nvfp4_scale_f32(amax, q->given);
        return (divisor){code, mp_quant_e4m3_value_f32(code), false};
    }
    case MP_QUANT_FP8_STATIC: return (divisor){0, q->given, false};
    default: break;
    }
    const float scale = mp_quant_scale_f32(amax, largest);
    return (divisor){mp_float_bits(scale), scale, false};
}

static unsigned code_of(const mp_quantisation *q, const divisor *d, float x) {
    const float v = d->inverse ? x * d->value : x / d->value;
    switch (q->quantiser) {
    case MP_QUANT_INT8: return mp_quant_int8_f32(v);
    case MP_QUANT_MXFP4: return mp_quant_e2m1_f32(v);
    case MP_QUANT_NVFP4: return mp_quant_nvfp4_code_f32(x, d->value, q->given);
    default: return mp_quant_e4m3_f32(v);
    }
}

static void quantise(void *ctx, const mp_quant_pass *p, const mp_quant_span *s) {
    const divisor d = divisor_of(&p->q, s->unit->amax);
    const int64_t at = s->row * mp_tensor_row_length(p->codes) + s->first;
    (void)ctx;
    if (p->scale) {
#pragma omp critical(mp_quant_scale)
        mp_put_code(p->scale->dtype, p->scale->data, s->scale_at, d.code);
    }
    for (int64_t k = 0; k < s->n; k++)
        mp_put_code(p->codes->dtype, p->codes->data, at + k, code_of(&p->q, &d, s->x[k]));
}

static void zero_row(const mp_tensor *t, int64_t row) {
    memset(mp_tensor_row(t, row), 0, mp_tensor_row_bytes(t));
}

static mp_status quant_stage(const mp_prediction *self, const mp_stage_call *call, mp_stage stage,
                             mp_error *err) {
    const int quantiser = self->contract->quantiser;
    if (!is_exact(quantiser))
        return mp_fail(err, MP_EUNSUPPORTED, "an approximate quantiser is not predicted");
    const mp_quant_pass p = mp_quant_pass_of(call, stage, (mp_quantiser)quantiser);
    for (int64_t r = 0; r < p.rows && p.row && self->contract->filtered[stage] == MP_ROW_ZERO; r++) {
        if (p.topk_ids[r] >= 0 || p.row[r] < 0) continue;
        zero_row(p.codes, p.row[r]);
        if (p.scale && p.per != MP_PER_TENSOR) zero_row(p.scale, p.row[r]);
    }
    return quantiser <= (int)MP_QUANT_NVFP4 ? mp_quant_for_each(&p, quantise, NULL, err)
                                            : mp_quant_by_formula(&p, err);
}

mp_status mp_predict_stage_quant_x(void *self, const mp_stage_call *call, mp_error *err) {
    return quant_stage(self, call, MP_QUANT_X, err);
}

mp_status mp_predict_stage_quant_act(void *self, const mp_stage_call *call, mp_error *err) {
    return quant_stage(self, call, MP_QUANT_ACT, err);
}
