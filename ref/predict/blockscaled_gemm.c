/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/blockscaled_gemm.h"

#include "base/bits.h"
#include "cases/scheme.h"
#include "ref/predict/blockscaled.h"
#include "ref/predict/defined_gemm.h"
#include "ref/predict/scaling.h"

static bool input_of(mp_dtype dtype, mp_tc_input *input) {
    switch (dtype) {
    case MP_E4M3: *input = MP_TC_E4M3; return true;
    case MP_E5M2: *input = MP_TC_E5M2; return true;
    case MP_E2M1: *input = MP_TC_E2M1; return true;
    default: return false;
    }
}

/* The unit that takes these formats in steps of g->group terms, with the contract's parameters. */
static bool model_of(const mp_gemm_contract *g, mp_dtype a, mp_dtype w, mp_dtype scale, mp_bs_model *model) {
    const mp_bs_kind kind = g->group == 32 ? MP_BS_MXF8F6F4 : scale == MP_E4M3 ? MP_BS_NVF4 : MP_BS_MXF4;
    mp_tc_input x, y;
    if (!input_of(a, &x) || !input_of(w, &y) || !mp_bs_find(100, MP_TC_TCGEN05, kind, x, y, model))
        return false;
    model->fraction_bits = g->fraction_bits;
    model->zero_exponent = g->zero_exponent;
    return model->terms == g->group && (model->scale == MP_BS_UE4M3 ? MP_E4M3 : MP_UE8M0) == scale;
}

const char *mp_unpredictable_block_scaled(const mp_gemm_contract *g, const mp_case *c, int64_t K) {
    const mp_scheme *s = mp_scheme_of(c);
    mp_bs_model model;
    if (!mp_case_fits_block_scaled(c)) return "a block-scaled unit takes codes with their scales";
    if (!model_of(g, mp_quantiser_codes(s->quantiser), s->weight, s->weight_scale, &model))
        return "no block-scaled unit has such steps";
    if (g->k_order != MP_K_ASCENDING)
        return "block-scaled units are known to take k in ascending order alone";
    if (g->promotion) return "promotion is not predicted of block-scaled units";
    if (model.terms > model.block && K % model.terms != 0)
        return "what a unit makes of scales behind the last term is not known";
    if (s->global && g->scaling == MP_SCALING_ANY) return "how sums are scaled is not said";
    return NULL;
}

static float dot(const void *model, const mp_defined_row *a, const mp_defined_row *w, int64_t first,
                 int64_t end) {
    const mp_bs_model *m = model;
    const int64_t block = first / m->block;
    return mp_float_of_bits(
        mp_bs_dot(m, end - first, a->code + first, w->code + first, a->scale + block, w->scale + block, 0));
}

typedef struct global_scaling {
    const mp_gemm_problem *p;
    mp_scaling how;
} global_scaling;

/* All of k is one part. */
static void scale_by_globals(const void *ctx, const mp_tc_part *part) {
    const global_scaling *s = ctx;
    const mp_gemm_f32_tile *tile = part->tile;
    const int64_t w_row = tile->expert * s->p->w.codes->dim[1] + tile->n0;
    for (int64_t r = 0; r < tile->count; r++) {
        const float a = (float)mp_operand_global(&s->p->a, s->p->a_row[tile->slot[r]]);
        for (int64_t n = 0; n < tile->n; n++)
            part->sum[r * part->stride + n] = mp_scaled_sum(s->how, part->dot[r * part->stride + n], a,
                                                            (float)mp_operand_global(&s->p->w, w_row + n));
    }
}

mp_status mp_block_scaled_gemm(const mp_gemm_contract *g, const mp_gemm_problem *p,
                               const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                               mp_error *err) {
    const mp_dtype a = p->a.codes->dtype, w = p->w.codes->dtype;
    const int64_t K = p->w.codes->dim[2];
    mp_bs_model model;
    if (!p->a.scale || !p->w.scale || p->a.scale->dtype != p->w.scale->dtype ||
        !model_of(g, a, w, p->w.scale->dtype, &model) || (model.terms > model.block && K % model.terms != 0))
        return mp_fail(err, MP_EUNSUPPORTED,
                       "block-scaled unit: %lld terms of %s and %s with such scales in steps of %d are not "
                       "predicted",
                       (long long)K, mp_dtype_name(a), mp_dtype_name(w), g->group);
    const mp_definition unit = {
        .name = "block-scaled unit", .model = &model, .terms = model.terms, .block = model.block, .dot = dot};
    const global_scaling scaling = {.p = p, .how = g->scaling};
    const mp_tc_parts whole = {
        .terms = (K + model.terms - 1) / model.terms * model.terms, .add = scale_by_globals, .ctx = &scaling};
    const bool global = p->a.global || p->w.global;
    return mp_defined_gemm(&unit, global ? &whole : NULL, p, epilogue, out_row, out, err);
}
