/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act in float32: amax, an IEEE division for the scale, one for each code. */
#include "ref/quant.h"

#include "ref/predict/predict.h"

#include <math.h>
#include <string.h>

const char *mp_unpredictable_quant_x(const mp_contract *contract, const mp_case *c) {
    (void)contract, (void)c;
    return NULL;
}

const char *mp_unpredictable_quant_act(const mp_contract *contract, const mp_case *c) {
    (void)contract, (void)c;
    return NULL;
}

static void quantise(const mp_quantisation *q, int64_t first, int64_t n, int64_t scale_at) {
    const float largest = (float)mp_dtype_format(q->codes->dtype)->max_finite;
    float amax = (float)MP_QUANT_SMALLEST;
    for (int64_t i = first; i < first + n; i++)
        amax = fmaxf(amax, fabsf((float)mp_decode(q->from->dtype, q->from->data, i)));
    const float scale = amax / largest;
    mp_encode(q->scale->dtype, q->scale->data, scale_at, (double)scale);
    for (int64_t i = first; i < first + n; i++) {
        const float v = (float)mp_decode(q->from->dtype, q->from->data, i) / scale,
                    held = v > largest    ? largest
                           : v < -largest ? -largest
                                          : v;
        mp_encode(q->codes->dtype, q->codes->data, i, (double)held);
    }
}

static mp_status quant_stage(const mp_prediction *self, const mp_stage_call *call, mp_stage stage) {
    const mp_quantisation q = mp_quantisation_of(call, stage);
    const int64_t width = q.from->dim[1], groups = q.scale->dim[1];
    const bool zero = self->contract->filtered[stage] == MP_ROW_ZERO;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < q.rows; r++) {
        const int64_t row = mp_quantised_row(&q, r);
        for (int64_t g = 0; g < groups && row >= 0; g++) {
            const int64_t rest = width - g * q.group;
            quantise(&q, row * width + g * q.group, rest < q.group ? rest : q.group, row * groups + g);
        }
        const int64_t filtered = row < 0 && q.row && zero ? q.row[r] : -1;
        if (filtered < 0) continue;
        memset(mp_tensor_row(q.codes, filtered), 0, (size_t)width * mp_dtype_size(q.codes->dtype));
        memset(mp_tensor_row(q.scale, filtered), 0, (size_t)groups * mp_dtype_size(q.scale->dtype));
    }
    return MP_OK;
}

mp_status mp_predict_stage_quant_x(void *self, const mp_stage_call *call, mp_error *err) {
    (void)err;
    return quant_stage(self, call, MP_QUANT_X);
}

mp_status mp_predict_stage_quant_act(void *self, const mp_stage_call *call, mp_error *err) {
    (void)err;
    return quant_stage(self, call, MP_QUANT_ACT);
}
