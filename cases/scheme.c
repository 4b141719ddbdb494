/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/scheme.h"

const mp_scheme mp_schemes[MP_QUANT_COUNT] = {
    [MP_QUANT_NONE] = {.name = "none"},
    [MP_QUANT_FP8_BLOCK] = {.name = "fp8-block",
                            .weight = MP_E4M3,
                            .weight_scale = MP_FP32,
                            .block_rows = 128,
                            .group = 128,
                            .enters = MP_SCALES_PER_TILE,
                            .quantises_activations = true,
                            .activation = MP_E4M3,
                            .activation_scale = MP_FP32,
                            .granularity = MP_PER_GROUP},
};

int64_t mp_case_group(const mp_case *c) {
    const int64_t own = mp_scheme_of(c)->group;
    return own != MP_WHOLE_AXIS && c->group > 0 ? c->group : own;
}

mp_tensor_id mp_scaled_tensor(mp_tensor_id scale) {
    static const mp_tensor_id scaled[][2] = {{MP_W1_SCALE, MP_W1},
                                             {MP_W2_SCALE, MP_W2},
                                             {MP_X_SCALE, MP_X_CODES},
                                             {MP_CACHE2_SCALE, MP_CACHE2_CODES}};
    for (size_t i = 0; i < sizeof scaled / sizeof *scaled; i++)
        if (scaled[i][0] == scale) return scaled[i][1];
    return MP_TENSOR_COUNT;
}

bool mp_tensor_has_codes(const mp_case *c, mp_tensor_id id) {
    return c->quant && (id == MP_W1 || id == MP_W2 || id == MP_X_CODES || id == MP_CACHE2_CODES);
}
