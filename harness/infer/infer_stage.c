/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/infer_stage.h"

#include "cases/graph_tables.h"

#include <math.h>
#include <stdio.h>

bool mp_infer_sees(const mp_infer_run *r, mp_stage stage) {
    if (!mp_case_has_stage(r->c, stage)) return false;
    const mp_tensor_id out = mp_stage_output(r->c, stage);
    if (!r->t[out].data) return false;
    static const mp_tensor_id reads[MP_STAGE_COUNT] = {[MP_ALIGN] = MP_TOPK_IDS,
                                                       [MP_GATE_UP] = MP_X,
                                                       [MP_ACT] = MP_CACHE1,
                                                       [MP_DOWN] = MP_CACHE2,
                                                       [MP_COMBINE] = MP_CACHE3};
    if (r->c->mode == MP_MODE_INPLACE && stage == MP_GATE_UP) return true; /* x is the harness's own copy */
    return mp_as_read(r->t, reads[stage])->data != NULL;
}

int mp_store_value(mp_evidence *e, int question, int axis, mp_store store) {
    static const mp_evidence_value values[MP_STORE_COUNT] = {
        [MP_STORE_NEAREST] = {.name = "to nearest, ties to even", .keys = ""},
        [MP_STORE_CUT] = {.name = "towards zero"},
        [MP_STORE_AWAY] = {.name = "to nearest, ties away from zero"}};
    return mp_evidence_value_of(e, question, axis, values[store]);
}

/* Codes are sign and magnitude: the next smaller magnitude is the code before. */
static uint64_t store_one(mp_store store, mp_dtype dtype, double value) {
    const uint64_t code = mp_encode_code(dtype, value);
    if (store == MP_STORE_NEAREST || !isfinite(value)) return code;
    const double nearest = mp_decode_code(dtype, code);
    if (store == MP_STORE_CUT) return fabs(nearest) > fabs(value) ? code - 1 : code;
    const bool below = fabs(nearest) < fabs(value);
    const double above = below ? mp_decode_code(dtype, code + 1) : nearest;
    return below && fabs(above) - fabs(value) == fabs(value) - fabs(nearest) ? code + 1 : code;
}

void mp_store_row(mp_store store, mp_dtype dtype, int64_t n, const double *values, void *codes) {
    if (store == MP_STORE_NEAREST) {
        mp_encode_row(dtype, codes, 0, n, values);
        return;
    }
    for (int64_t i = 0; i < n; i++) mp_put_code(dtype, codes, i, store_one(store, dtype, values[i]));
}

void mp_store_row_f32(mp_store store, mp_dtype dtype, int64_t n, const float *values, void *codes) {
    if (store == MP_STORE_NEAREST) {
        mp_encode_row_f32(dtype, codes, 0, n, values);
        return;
    }
    for (int64_t i = 0; i < n; i++) mp_put_code(dtype, codes, i, store_one(store, dtype, (double)values[i]));
}

void mp_tally_row(mp_tally_rows *tally, int64_t row, const mp_tensor *got, int64_t got_row,
                  const void *expected) {
    const int64_t n = mp_tensor_row_length(got);
    const size_t size = mp_dtype_size(got->dtype);
    const char *at = (const char *)got->data + (size_t)(got_row * n) * size;
    const uint64_t magnitude = UINT64_MAX >> (65 - 8 * size),
                   inf = mp_encode_code(got->dtype, (double)INFINITY);
    tally->compared += n;
    if (memcmp(at, expected, (size_t)n * size) == 0) return;
    for (int64_t i = 0; i < n; i++) {
        uint64_t x = 0, y = 0;
        memcpy(&x, at + (size_t)i * size, size);
        memcpy(&y, (const char *)expected + (size_t)i * size, size);
        if (x == y || ((x & magnitude) > inf && (y & magnitude) > inf)) continue;
        if (tally->differing++ > 0) continue;
        tally->first_row = row;
        tally->first_column = i;
        tally->got = x;
        tally->expected = y;
    }
}

void mp_tally_take(const mp_infer_run *r, mp_stage stage, int question, const int value[MP_EVIDENCE_AXES],
                   const mp_tally_rows *tally) {
    char first[MP_CASE_TEXT_MAX + 2 * MP_WHERE_TEXT_MAX] = "";
    if (tally->differing > 0) {
        char place[MP_WHERE_TEXT_MAX], text[MP_CASE_TEXT_MAX];
        const mp_where where = mp_where_of(r->c, r->t, r->config, stage, stage);
        mp_place_text(&where, tally->first_row, tally->first_column, place);
        mp_case_text(r->c, text, sizeof text);
        snprintf(first, sizeof first, "%s: %.9g, predicted %.9g (%s)", place,
                 mp_decode_code(where.dtype, tally->got), mp_decode_code(where.dtype, tally->expected), text);
    }
    mp_hypothesis_count(r->evidence, mp_hypothesis_of(r->evidence, question, value), tally->compared,
                        tally->differing, first);
}

typedef struct wanted {
    const char *name;
    char *text;
} wanted;

static void take_field(void *ctx, const char *name, const char *value) {
    const wanted *w = ctx;
    if (strcmp(w->name, name) == 0) snprintf(w->text, 64, "%s", value);
}

const char *mp_contract_field(const mp_contract *contract, const char *name, char text[64]) {
    wanted w = {name, text};
    text[0] = '\0';
    mp_contract_fields(contract, take_field, &w);
    return text;
}
