/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/scheme.h"

/* What schemes have in common: a scale for an expert, a row of it, a block of 128 x 128, or a row's group. */
#define PER_EXPERT .block_rows = MP_WHOLE_AXIS, .group = MP_WHOLE_AXIS
#define PER_CHANNEL .block_rows = 1, .group = MP_WHOLE_AXIS
#define PER_BLOCK .block_rows = 128, .group = 128
#define PER_ROW_GROUP(columns) .block_rows = 1, .group = columns
#define QUANTISES(by, per) .quantises_activations = true, .quantiser = by, .granularity = per

/* clang-format off */
const mp_scheme mp_schemes[MP_SCHEME_COUNT] = {
    [MP_SCHEME_NONE] = {.name = "none"},
    [MP_SCHEME_FP8_TENSOR] = {"fp8-tensor", MP_E4M3, MP_FP32, PER_EXPERT, .enters = MP_SCALES_AFTER,
        QUANTISES(MP_QUANT_FP8, MP_PER_TENSOR), .made = true},
    [MP_SCHEME_FP8_TENSOR_STATIC] = {"fp8-tensor-static", MP_E4M3, MP_FP32, PER_EXPERT,
        .enters = MP_SCALES_AFTER, QUANTISES(MP_QUANT_FP8_STATIC, MP_PER_TENSOR), .given = true},
    [MP_SCHEME_FP8_CHANNEL] = {"fp8-channel", MP_E4M3, MP_FP32, PER_CHANNEL, .enters = MP_SCALES_AFTER,
        QUANTISES(MP_QUANT_FP8, MP_PER_ROW), .made = true},
    [MP_SCHEME_FP8_BLOCK] = {"fp8-block", MP_E4M3, MP_FP32, PER_BLOCK, .enters = MP_SCALES_PER_TILE,
        QUANTISES(MP_QUANT_FP8, MP_PER_GROUP), .made = true},
    [MP_SCHEME_FP8_BLOCK_UE8M0] = {"fp8-block-ue8m0", MP_E4M3, MP_UE8M0, PER_BLOCK,
        .enters = MP_SCALES_PER_TILE, QUANTISES(MP_QUANT_FP8_UE8M0, MP_PER_GROUP), .made = true},
    [MP_SCHEME_INT8_CHANNEL] = {"int8-channel", MP_I8, MP_FP32, PER_CHANNEL, .enters = MP_SCALES_AFTER,
        QUANTISES(MP_QUANT_INT8, MP_PER_ROW), .made = true},
    [MP_SCHEME_INT8_BLOCK] = {"int8-block", MP_I8, MP_FP32, PER_BLOCK, .enters = MP_SCALES_PER_TILE,
        QUANTISES(MP_QUANT_INT8, MP_PER_GROUP), .made = true},
    [MP_SCHEME_INT8_W8A16] = {"int8-w8a16", MP_I8, MP_FP32, PER_CHANNEL, .enters = MP_SCALES_AFTER},
    [MP_SCHEME_INT8_W8A16_GROUP] = {"int8-w8a16-group", MP_U8, MP_OF_MODEL, PER_ROW_GROUP(128),
        .enters = MP_SCALES_BEFORE, .zero = 128},
    [MP_SCHEME_INT4_W4A16] = {"int4-w4a16", MP_U4, MP_OF_MODEL, PER_ROW_GROUP(128),
        .enters = MP_SCALES_BEFORE, .zero = 8},
    [MP_SCHEME_INT4_W4A16_ZP] = {"int4-w4a16-zp", MP_U4, MP_OF_MODEL, PER_ROW_GROUP(128),
        .enters = MP_SCALES_BEFORE, .zero = 8, .zeros = true},
    [MP_SCHEME_MXFP4] = {"mxfp4", MP_E2M1, MP_UE8M0, PER_ROW_GROUP(32), .enters = MP_SCALES_BEFORE},
    [MP_SCHEME_MXFP8] = {"mxfp8", MP_E4M3, MP_UE8M0, PER_ROW_GROUP(32), .enters = MP_SCALES_PER_TILE,
        QUANTISES(MP_QUANT_MXFP8, MP_PER_GROUP), .made = true},
    [MP_SCHEME_NVFP4] = {"nvfp4", MP_E2M1, MP_E4M3, PER_ROW_GROUP(16), .enters = MP_SCALES_BEFORE,
        .global = true, QUANTISES(MP_QUANT_NVFP4, MP_PER_GROUP), .made = true, .given = true},
    [MP_SCHEME_MXFP4_MXFP8] = {"mxfp4-mxfp8", MP_E2M1, MP_UE8M0, PER_ROW_GROUP(32),
        .enters = MP_SCALES_PER_TILE, QUANTISES(MP_QUANT_MXFP8, MP_PER_GROUP), .made = true},
};
/* clang-format on */

int64_t mp_case_group(const mp_case *c) {
    const int64_t own = mp_scheme_of(c)->group;
    return own != MP_WHOLE_AXIS && c->group > 0 ? c->group : own;
}

int64_t mp_case_scaled_terms(const mp_case *c, int64_t length) {
    const int64_t group = mp_case_group(c);
    if (!c->quant || mp_scheme_of(c)->enters == MP_SCALES_BEFORE) return 0;
    return group == MP_WHOLE_AXIS || group > length ? length : group;
}

mp_dtype mp_case_multiplied(const mp_case *c) {
    const mp_scheme *s = mp_scheme_of(c);
    return s->quantises_activations && s->enters != MP_SCALES_BEFORE ? mp_quantiser_codes(s->quantiser)
                                                                     : c->dtype;
}

bool mp_case_fits_block_scaled(const mp_case *c) {
    const mp_scheme *s = mp_scheme_of(c);
    if (!s->quantises_activations || s->granularity != MP_PER_GROUP || !s->made) return false;
    const mp_dtype a = mp_quantiser_codes(s->quantiser), w = s->weight, scale = s->weight_scale;
    const bool floats = (a == MP_E4M3 || a == MP_E2M1) && (w == MP_E4M3 || w == MP_E2M1),
               fp4 = a == MP_E2M1 && w == MP_E2M1;
    const int64_t group = mp_case_group(c);
    return mp_quantiser_scale(s->quantiser) == scale && floats &&
           ((scale == MP_UE8M0 && group % 32 == 0) || (scale == MP_E4M3 && fp4 && group % 16 == 0));
}

mp_dtype mp_scheme_dtype(const mp_case *c, mp_tensor_id id) {
    const mp_scheme *s = mp_scheme_of(c);
    mp_dtype dtype = MP_FP32;
    if (id == MP_W1 || id == MP_W2) dtype = s->weight;
    if (id == MP_W1_SCALE || id == MP_W2_SCALE) dtype = s->weight_scale;
    if (id == MP_W1_ZERO || id == MP_W2_ZERO) dtype = MP_U8;
    if (id == MP_X_CODES || id == MP_CACHE2_CODES) dtype = mp_quantiser_codes(s->quantiser);
    if (id == MP_X_SCALE || id == MP_CACHE2_SCALE) dtype = mp_quantiser_scale(s->quantiser);
    return dtype == MP_OF_MODEL ? c->dtype : dtype;
}

/* Of the weights [E, n, k]. */
static mp_tensor of_weights(const mp_case *c, mp_tensor_id id, int64_t n, int64_t k) {
    const mp_scheme *s = mp_scheme_of(c);
    const int64_t rows = mp_blocks_of(n, s->block_rows), columns = mp_blocks_of(k, mp_case_group(c));
    const bool zero = id == MP_W1_ZERO || id == MP_W2_ZERO, pairs = mp_dtype_is_packed(s->weight);
    if (id == MP_W1_GLOBAL_SCALE || id == MP_W2_GLOBAL_SCALE)
        return s->global ? mp_tensor_shape(MP_FP32, 2, c->E, id == MP_W1_GLOBAL_SCALE && c->gated ? 2 : 1, 1)
                         : (mp_tensor){0};
    if (!c->quant || (zero && !s->zeros)) return (mp_tensor){0};
    return mp_tensor_shape(mp_scheme_dtype(c, id), 3, c->E, zero && pairs ? rows / 2 : rows, columns);
}

/* Of the numbers [rows, k]. */
static mp_tensor of_activations(const mp_case *c, mp_tensor_id id, int64_t rows, int64_t k) {
    const mp_scheme *s = mp_scheme_of(c);
    const mp_dtype dtype = mp_scheme_dtype(c, id);
    const int64_t groups = s->granularity == MP_PER_GROUP ? mp_blocks_of(k, mp_case_group(c)) : 1;
    const mp_tensor none = {0};
    if (!s->quantises_activations) return none;
    if (id == MP_X_CODES || id == MP_CACHE2_CODES) return mp_tensor_shape(dtype, 2, rows, k, 1);
    if (id == MP_X_GIVEN_SCALE || id == MP_CACHE2_GIVEN_SCALE)
        return s->given ? mp_tensor_shape(dtype, 1, 1, 1, 1) : none;
    const bool of_all = id == MP_X_TENSOR_SCALE || id == MP_CACHE2_TENSOR_SCALE;
    if (!s->made || of_all != (s->granularity == MP_PER_TENSOR)) return none;
    return of_all ? mp_tensor_shape(dtype, 2, 1, 1, 1) : mp_tensor_shape(dtype, 2, rows, groups, 1);
}

mp_tensor mp_scheme_shape(const mp_case *c, mp_tensor_id id, int64_t cache_rows) {
    switch (mp_scaled_tensor(id)) {
    case MP_W1: return of_weights(c, id, mp_case_w1_rows(c), c->K);
    case MP_W2: return of_weights(c, id, c->K, c->N);
    case MP_X_CODES: return of_activations(c, id, c->M, c->K);
    case MP_CACHE2_CODES: return of_activations(c, id, cache_rows, c->N);
    default: break;
    }
    return id == MP_X_CODES ? of_activations(c, id, c->M, c->K) : of_activations(c, id, cache_rows, c->N);
}

mp_tensor_id mp_scaled_tensor(mp_tensor_id scale) {
    switch (scale) {
    case MP_W1_SCALE:
    case MP_W1_ZERO:
    case MP_W1_GLOBAL_SCALE: return MP_W1;
    case MP_W2_SCALE:
    case MP_W2_ZERO:
    case MP_W2_GLOBAL_SCALE: return MP_W2;
    case MP_X_SCALE:
    case MP_X_TENSOR_SCALE:
    case MP_X_GIVEN_SCALE: return MP_X_CODES;
    case MP_CACHE2_SCALE:
    case MP_CACHE2_TENSOR_SCALE:
    case MP_CACHE2_GIVEN_SCALE: return MP_CACHE2_CODES;
    default: return MP_TENSOR_COUNT;
    }
}

bool mp_tensor_has_codes(const mp_case *c, mp_tensor_id id) {
    return c->quant && (id == MP_W1 || id == MP_W2 || id == MP_X_CODES || id == MP_CACHE2_CODES);
}
