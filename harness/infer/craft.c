/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/craft.h"

#include "cases/numbering.h"
#include "ref/activation.h"

#include <math.h>

static void fill(const mp_tensor *t, double value) {
    for (int64_t i = 0; i < mp_tensor_count(t); i++) mp_encode(t->dtype, t->data, i, value);
}

static void route(const mp_case *c, mp_inputs *in) {
    int32_t *ids = in->t[MP_TOPK_IDS].data;
    float *weights = in->t[MP_TOPK_WEIGHTS].data;
    int32_t *numbered = in->t[MP_NUMBERED_IDS].data;
    for (int64_t i = 0; ids && i < mp_case_slots(c); i++) ids[i] = (int32_t)(i % c->topk);
    for (int64_t i = 0; numbered && i < mp_case_slots(c); i++)
        numbered[i] = mp_numbered_id(c, i, mp_global_expert(c, ids[i]));
    for (int64_t i = 0; weights && i < mp_case_slots(c); i++) weights[i] = 1;
}

void mp_craft_rows(const mp_case *c, mp_stage stage, mp_craft_value *value, const void *ctx, double weight,
                   mp_inputs *in) {
    const bool up = stage == MP_GATE_UP;
    const mp_tensor *rows = &in->t[up ? MP_X : MP_CACHE2];
    const int64_t n = mp_tensor_row_length(rows);
    route(c, in);
    for (int64_t m = 0; m < c->M; m++)
        for (int64_t k = 0; k < n; k++) mp_encode(rows->dtype, rows->data, m * n + k, value(ctx, m, k));
    fill(&in->t[up ? MP_W1 : MP_W2], weight);
    if (up && in->t[MP_W2].data) fill(&in->t[MP_W2], 0);
}

/* Its square, of either sign, is a float32 that 16 bits store as a zero: bf16 has no number below 2^-133,
 * fp16 none below 2^-24. */
static double tiny_factor(mp_dtype dtype) {
    return dtype == MP_FP16 ? 0x1p-20 : 0x1p-70;
}

/* A number that row `row` of w1 makes of an x of 1, tiny, 0, 0 ...: in column 0. A sum that begins with +0 is
 * -0 only where it is stored as that: of -tiny in column 1. */
static void set_weight(const mp_case *c, const mp_tensor *w1, int64_t row, double value, double tiny) {
    const bool minus_zero = value == 0 && signbit(value);
    mp_encode(w1->dtype, w1->data, row * c->K + minus_zero, minus_zero ? -tiny : value);
}

void mp_craft_pairs(const mp_case *c, const double (*pair)[2], int count, mp_inputs *in) {
    const mp_tensor *cache1 = &in->t[MP_CACHE1], *x = &in->t[MP_X], *w1 = &in->t[MP_W1];
    const bool alone = cache1->data != NULL;
    const int64_t rows = mp_case_w1_rows(c);
    const double tiny = tiny_factor(c->dtype);
    route(c, in);
    if (!alone) {
        fill(x, 0);
        fill(w1, 0);
        for (int64_t m = 0; m < c->M; m++) {
            mp_encode(x->dtype, x->data, m * c->K, 1);
            mp_encode(x->dtype, x->data, m * c->K + 1, tiny);
        }
    }
    for (int64_t m = 0; m < (alone ? c->M : 1); m++)
        for (int64_t n = 0; n < c->N; n++)
            for (int which = 0; which < (c->gated ? 2 : 1); which++) {
                const int64_t column = which ? mp_up_column(c, n) : mp_gate_column(c, n);
                const double value = pair[(m * c->N + n) % count][which];
                if (alone)
                    mp_encode(cache1->dtype, cache1->data, m * rows + column, value);
                else
                    set_weight(c, w1, column, value, tiny);
            }
}

/* Everything before the router weights is 1. */
static void make_ones(const mp_case *c, mp_inputs *in) {
    const mp_tensor *x = &in->t[MP_X], *w1 = &in->t[MP_W1], *w2 = &in->t[MP_W2];
    const int64_t rows = mp_case_w1_rows(c);
    fill(x, 0);
    fill(w1, 0);
    fill(w2, 0);
    for (int64_t m = 0; m < c->M; m++) mp_encode(x->dtype, x->data, m * c->K, 1);
    for (int64_t e = 0; e < c->E; e++) {
        for (int64_t i = 0; i < rows; i++) {
            const bool up = c->gated && (c->interleaved ? i % 2 == 1 : i >= c->N);
            mp_encode(w1->dtype, w1->data, (e * rows + i) * c->K, up ? 0x1p-5 : 0x1p5);
        }
        for (int64_t k = 0; k < c->K; k++)
            mp_encode(w2->dtype, w2->data, (e * c->K + k) * c->N, c->gated ? 1 : 0x1p-5);
    }
}

void mp_craft_slots(const mp_case *c, mp_craft_value *value, const void *ctx, mp_inputs *in) {
    const mp_tensor *cache3 = &in->t[MP_CACHE3];
    route(c, in);
    for (int64_t i = 0; cache3->data && i < mp_tensor_count(cache3); i++)
        mp_encode(cache3->dtype, cache3->data, i, value(ctx, i / (c->topk * c->K), i / c->K % c->topk));
    if (cache3->data) return;
    make_ones(c, in);
    float *weights = in->t[MP_TOPK_WEIGHTS].data;
    for (int64_t i = 0; i < mp_case_slots(c); i++) weights[i] = (float)value(ctx, i / c->topk, i % c->topk);
}

bool mp_crafted_slots_are_right(const mp_case *c, mp_craft_value *value, const void *ctx,
                                const mp_tensor *cache3) {
    for (int64_t i = 0; cache3->data && i < mp_tensor_count(cache3); i++)
        if (mp_decode(cache3->dtype, cache3->data, i) != value(ctx, i / (c->topk * c->K), i / c->K % c->topk))
            return false;
    return true;
}
