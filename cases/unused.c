/* SPDX-License-Identifier: Apache-2.0 */
/* data=unused: normal numbers, and NaN and Inf in all that no result may depend on. Which that is follows
 * from the ids:
 *
 *   w1, w2, b1, b2     experts that no slot goes to; scales and zero points of theirs
 *   topk_weights       filtered slots
 *   x                  tokens whose slots are all filtered
 *   lora_a1, lora_b1   factors of an adapter and an expert that no slot goes to; a2, b2 likewise
 *   cache1, cache2     rows of filtered slots, where one stage alone reads them; their codes and scales, and
 *                      those of the tokens
 *
 * Rows of filtered slots in cache3 are the zeros that down leaves there: combine sums them. A product with a
 * zero does not hide any of them: 0 * NaN and 0 * Inf are NaN. Formats without them have the largest code.
 */
#include "cases/fill.h"
#include "cases/graph_tables.h"
#include "cases/lora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows first .. first+count of dim[0]. */
static void spoil(const mp_tensor *t, int64_t first, int64_t count) {
    static const double values[3] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    const int64_t width = t->data && t->dim[0] > 0 ? mp_tensor_count(t) / t->dim[0] : 0;
    for (int64_t i = first * width; i < (first + count) * width; i++)
        mp_encode(t->dtype, t->data, i, values[i % 3]);
}

/* The same of numbers that multiply codes: none of them is 0, or small. */
static void spoil_scales(const mp_tensor *t, int64_t first, int64_t count) {
    const int64_t width = t->data && t->dim[0] > 0 ? mp_tensor_count(t) / t->dim[0] : 0;
    for (int64_t i = first * width; i < (first + count) * width; i++)
        if (t->dtype == MP_U8)
            ((uint8_t *)t->data)[i] = UINT8_MAX;
        else
            mp_encode(t->dtype, t->data, i, (double)NAN);
}

static void spoil_expert(mp_inputs *in, int64_t e) {
    static const mp_tensor_id numbers[] = {MP_W1, MP_W2, MP_B1, MP_B2},
                              scales[] = {MP_W1_SCALE, MP_W2_SCALE,        MP_W1_ZERO,
                                          MP_W2_ZERO,  MP_W1_GLOBAL_SCALE, MP_W2_GLOBAL_SCALE};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) spoil(&in->t[numbers[i]], e, 1);
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) spoil_scales(&in->t[scales[i]], e, 1);
}

static bool is_routed(const int32_t *ids, int64_t topk) {
    for (int64_t j = 0; j < topk; j++)
        if (ids[j] >= 0) return true;
    return false;
}

static mp_status spoil_factors(const mp_case *c, mp_inputs *in, mp_error *err) {
    static const mp_tensor_id factors[] = {MP_LORA_A1, MP_LORA_B1, MP_LORA_A2, MP_LORA_B2};
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    const int64_t most = c->lora_adapters * c->E;
    bool *used = malloc((size_t)most * sizeof *used);
    if (!used) return mp_fail(err, MP_EMEMORY, "no memory to mark %lld factors", (long long)most);
    for (size_t f = 0; f < sizeof factors / sizeof *factors; f++) {
        const int64_t experts = mp_lora_experts(c, factors[f]);
        memset(used, 0, (size_t)most * sizeof *used);
        for (int64_t t = 0; t < mp_case_slots(c); t++) {
            const int64_t l = mp_lora_of_slot(c, in->t, t);
            if (l >= 0) used[l * experts + (experts == 1 ? 0 : ids[t])] = true;
        }
        for (int64_t i = 0; i < c->lora_adapters * experts; i++)
            if (!used[i]) spoil(&in->t[factors[f]], i, 1);
    }
    free(used);
    return MP_OK;
}

mp_status mp_fill_unused(const mp_case *c, mp_inputs *in, mp_error *err) {
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    const int64_t slots = mp_case_slots(c);
    bool *used = calloc((size_t)c->E, sizeof *used);
    if (!used) return mp_fail(err, MP_EMEMORY, "no memory to mark %lld experts", (long long)c->E);
    for (int64_t t = 0; t < slots; t++)
        if (ids[t] >= 0) used[ids[t]] = true;
    for (int64_t e = 0; e < c->E; e++)
        if (!used[e]) spoil_expert(in, e);
    for (int64_t m = 0; m < c->M; m++) {
        if (is_routed(ids + m * c->topk, c->topk)) continue;
        spoil(&in->t[MP_X], m, 1);
        spoil(&in->t[MP_X_CODES], m, 1);
        spoil_scales(&in->t[MP_X_SCALE], m, 1);
    }
    for (int64_t t = 0; t < slots; t++) {
        float *weights = in->t[MP_TOPK_WEIGHTS].data;
        if (ids[t] >= 0) continue;
        if (weights) weights[t] = (float)NAN;
        spoil(&in->t[MP_CACHE1], t, 1);
        spoil(&in->t[MP_CACHE2], t, 1);
        spoil(&in->t[MP_CACHE2_CODES], t, 1);
        spoil_scales(&in->t[MP_CACHE2_SCALE], t, 1);
    }
    free(used);
    return mp_case_has_lora(c) ? spoil_factors(c, in, err) : MP_OK;
}
