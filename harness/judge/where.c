/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/where.h"

#include "cases/graph_tables.h"
#include "harness/picture.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mp_where mp_where_of(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], const mp_config *config,
                     mp_stage first, mp_stage stage) {
    const mp_tensor_id id = mp_stage_output(c, stage);
    const bool gemm = stage == MP_GATE_UP || stage == MP_DOWN;
    return (mp_where){.c = c,
                      .first = first,
                      .stage = stage,
                      .tensor = mp_tensor_name(id),
                      .dtype = t[id].dtype,
                      .rows = mp_stage_rows_are_slots(stage) ? mp_case_slots(c) : c->M,
                      .width = t[id].rank > 0 ? mp_tensor_row_length(&t[id]) : 0,
                      .topk_ids = t[MP_TOPK_IDS].data,
                      .sorted_ids = t[MP_SORTED_TOKEN_IDS].data ? &t[MP_SORTED_TOKEN_IDS] : NULL,
                      .tile = !gemm || !config      ? NULL
                              : stage == MP_GATE_UP ? &config->up
                                                    : &config->down};
}

/* The stage that writes a tensor, or MP_STAGE_COUNT. */
static int writer_of(const mp_case *c, mp_tensor_id id) {
    for (int s = MP_STAGE_COUNT - 1; s >= 0; s--) {
        if (!mp_case_has_stage(c, (mp_stage)s)) continue;
        if (mp_stage_output(c, (mp_stage)s) == id || mp_stages[s].writes & MP_IN_SET(id)) return s;
    }
    return MP_STAGE_COUNT;
}

/* The first stage that reads a tensor that no stage writes. */
static mp_stage reader_of(mp_tensor_id id) {
    int s = 0;
    while (s + 1 < MP_STAGE_COUNT) {
        for (int read = 0; read < MP_TENSOR_COUNT; read++)
            if (mp_stages[s].reads & MP_IN_SET(read) && mp_tensors[read].as_read == id) return (mp_stage)s;
        s++;
    }
    return (mp_stage)s;
}

mp_stage mp_where_stage_of(const mp_case *c, mp_tensor_id id) {
    const int writer = writer_of(c, id);
    return writer < MP_STAGE_COUNT ? (mp_stage)writer : reader_of(id);
}

mp_where mp_where_of_tensor(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], const mp_config *config,
                            mp_tensor_id id) {
    const int writer = writer_of(c, id);
    const mp_stage stage = mp_where_stage_of(c, id);
    mp_where where = mp_where_of(c, t, config, stage, stage);
    where.input = writer == MP_STAGE_COUNT;
    where.tensor = mp_tensor_name(id);
    where.dtype = t[id].dtype;
    where.width = mp_tensor_row_length(&t[id]);
    where.rows = mp_tensors[id].rows == MP_ROWS_CACHE ? mp_case_slots(c) : mp_tensor_rows(&t[id]);
    return where;
}

mp_stage mp_where_writer(const mp_where *w) {
    for (int s = 0; w->input && s < MP_STAGE_COUNT; s++)
        if (strcmp(mp_tensor_name(mp_stages[s].output), w->tensor) == 0) return (mp_stage)s;
    return w->input ? MP_ALIGN : w->stage; /* x is made by none */
}

static bool rows_are_slots(const mp_where *w) {
    return mp_stage_rows_are_slots(mp_where_writer(w));
}

bool mp_where_rows_are_slots(const mp_where *w) {
    return w->stage != MP_ALIGN && rows_are_slots(w);
}

/* Row blocks of one chunk. */
static int64_t blocks_of(const mp_where *w) {
    return w->sorted_ids->dim[1] / w->tile->block_size_m + 1;
}

/* The block of sorted_token_ids that a slot lies in, counted over all chunks; -1: not known. */
static int64_t block_of(const mp_where *w, int64_t slot) {
    if (!w->sorted_ids || !w->tile || w->tile->block_size_m < 1) return -1;
    const int64_t chunk_slots = mp_case_chunk_tokens(w->c, 0) * w->c->topk, chunk = slot / chunk_slots;
    const int64_t positions = w->sorted_ids->dim[1], blocks = blocks_of(w);
    const int32_t *sorted = mp_tensor_row(w->sorted_ids, chunk);
    for (int64_t p = 0; p < positions; p++)
        if (sorted[p] == slot - chunk * chunk_slots) return chunk * blocks + p / w->tile->block_size_m;
    return -1;
}

bool mp_where_blocks(const mp_where *w, int64_t *block, int64_t *blocks) {
    if (!w->sorted_ids || !w->tile || w->tile->block_size_m < 1 || !rows_are_slots(w)) return false;
    const int64_t slots = mp_case_slots(w->c), chunk_slots = mp_case_chunk_tokens(w->c, 0) * w->c->topk;
    *blocks = w->sorted_ids->dim[0] * blocks_of(w);
    for (int64_t s = 0; s < slots; s++) block[s] = -1;
    for (int64_t chunk = 0; chunk < w->sorted_ids->dim[0]; chunk++) {
        const int32_t *sorted = mp_tensor_row(w->sorted_ids, chunk);
        for (int64_t p = 0; p < w->sorted_ids->dim[1]; p++) {
            const int64_t slot = chunk * chunk_slots + sorted[p];
            if (sorted[p] >= 0 && sorted[p] < chunk_slots && slot < slots)
                block[slot] = chunk * blocks_of(w) + p / w->tile->block_size_m;
        }
    }
    return true;
}

static void stages_text(const mp_where *w, char text[64]) {
    if (w->first == w->stage)
        snprintf(text, 64, "%s%s", w->input ? "input of " : "", mp_stage_name(w->stage));
    else
        snprintf(text, 64, "%s..%s", mp_stage_name(w->first), mp_stage_name(w->stage));
}

void mp_place_text(const mp_where *w, int64_t row, int64_t column, char text[MP_WHERE_TEXT_MAX]) {
    const int64_t topk = w->c->topk;
    char stages[64], in_row[32] = "";
    stages_text(w, stages);
    if (w->stage == MP_ALIGN) {
        if (column >= 0) snprintf(in_row, sizeof in_row, "[%" PRId64 "]", column);
        snprintf(text, MP_WHERE_TEXT_MAX, "%s: %s%s of chunk %" PRId64, stages, w->tensor, in_row, row);
        return;
    }
    if (column >= 0) snprintf(in_row, sizeof in_row, " column %" PRId64, column);
    if (!rows_are_slots(w)) {
        snprintf(text, MP_WHERE_TEXT_MAX, "%s: token %" PRId64 "%s", stages, row, in_row);
        return;
    }
    int used = snprintf(text, MP_WHERE_TEXT_MAX, "%s: token %" PRId64 " slot %" PRId64 "%s", stages,
                        row / topk, row % topk, in_row);
    if (w->topk_ids)
        used += snprintf(text + used, MP_WHERE_TEXT_MAX - (size_t)used, ", expert %d", w->topk_ids[row]);
    const int64_t block = column < 0 ? -1 : block_of(w, row);
    if (block < 0) return;
    used += snprintf(text + used, MP_WHERE_TEXT_MAX - (size_t)used, ", tile %" PRId64 " x %" PRId64,
                     block % blocks_of(w), column / w->tile->block_size_n);
    if (w->sorted_ids->dim[0] > 1)
        snprintf(text + used, MP_WHERE_TEXT_MAX - (size_t)used, " of chunk %" PRId64, block / blocks_of(w));
}

/* ---- patterns ---- */

mp_status mp_pattern_start(mp_pattern *pattern, int64_t rows, mp_error *err) {
    *pattern = (mp_pattern){.low_column = INT64_MAX, .high_column = -1};
    pattern->rows = calloc((size_t)(rows > 0 ? rows : 1), 1);
    return pattern->rows ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory to mark %" PRId64 " rows", rows);
}

void mp_pattern_add(mp_pattern *pattern, int64_t row, int64_t column) {
#pragma omp critical(mp_pattern)
    {
        pattern->rows[row] = 1;
        pattern->count++;
        if (column >= 0 && column < pattern->low_column) pattern->low_column = column;
        if (column > pattern->high_column) pattern->high_column = column;
    }
}

void mp_pattern_free(mp_pattern *pattern) {
    free(pattern->rows);
    pattern->rows = NULL;
}

/* One value that all marked rows share, or -1; *of counts the rows that have it, marked or not. */
typedef int64_t row_property(const mp_where *w, int64_t row);

static int64_t expert_of(const mp_where *w, int64_t row) {
    return w->topk_ids && rows_are_slots(w) ? w->topk_ids[row] : -1;
}

static int64_t slot_of(const mp_where *w, int64_t row) {
    return rows_are_slots(w) && w->c->topk > 1 ? row % w->c->topk : -1;
}

static int64_t shared(const mp_where *w, const mp_pattern *p, row_property *property, int64_t *of) {
    int64_t value = -1;
    *of = 0;
    for (int64_t r = 0; r < w->rows; r++) {
        if (!p->rows[r]) continue;
        const int64_t here = property(w, r);
        if (here < 0 || (value >= 0 && here != value)) return -1;
        value = here;
    }
    for (int64_t r = 0; r < w->rows && value >= 0; r++) *of += property(w, r) == value;
    return value;
}

/* The one block that all marked rows lie in, or -1. */
static int64_t shared_block(const mp_where *w, const mp_pattern *p) {
    int64_t block = -1;
    for (int64_t r = 0; r < w->rows; r++) {
        if (!p->rows[r]) continue;
        const int64_t here = block_of(w, r);
        if (here < 0 || (block >= 0 && here != block)) return -1;
        block = here;
    }
    return block;
}

void mp_pattern_text(const mp_where *w, const mp_pattern *p, char text[MP_WHERE_TEXT_MAX]) {
    int64_t marked = 0, of = 0, first = -1, last = -1;
    for (int64_t r = 0; r < w->rows; r++) {
        if (!p->rows[r]) continue;
        marked++;
        if (first < 0) first = r;
        last = r;
    }
    const int64_t expert = shared(w, p, expert_of, &of), of_expert = of, slot = shared(w, p, slot_of, &of);
    const bool few = marked <= 4096; /* the search through the sorted order is not for whole tensors */
    const int64_t block = few && rows_are_slots(w) ? shared_block(w, p) : -1;
    size_t used = 0;
#define ADD(...) used += (size_t)snprintf(text + used, MP_WHERE_TEXT_MAX - used, __VA_ARGS__)
    if (w->stage == MP_ALIGN)
        ADD("%s", w->tensor);
    else if (marked == w->rows)
        ADD("every row");
    else if (marked == 1)
        ADD("one row");
    else if (expert >= 0)
        ADD("expert %" PRId64 " only, %" PRId64 " of its %" PRId64 " rows", expert, marked, of_expert);
    else if (slot >= 0)
        ADD("slot %" PRId64 " of its tokens only, %" PRId64 " of %" PRId64 " rows", slot, marked, of);
    else if (last - first + 1 == marked)
        ADD("%" PRId64 " rows in a run, %" PRId64 "..%" PRId64 " of %" PRId64, marked, first, last, w->rows);
    else
        ADD("%" PRId64 " of %" PRId64 " rows", marked, w->rows);
    if (block >= 0 && marked > 1) ADD(", one row block (%" PRId64 ")", block);
    if (p->high_column < 0) return;
    if (p->low_column == 0 && p->high_column == w->width - 1 && w->width > 1)
        ADD(", every column");
    else if (p->low_column == p->high_column)
        ADD(", column %" PRId64, p->low_column);
    else
        ADD(", columns %" PRId64 "..%" PRId64, p->low_column, p->high_column);
#undef ADD
}

/* ---- differences ---- */

/* Codes as integers in the order of the values they stand for, so that neighbours differ by one and both
 * zeros are 0. */
static int64_t ordered(mp_dtype dtype, uint64_t code) {
    if (mp_dtype_is_integer(dtype)) return (int64_t)mp_decode_code(dtype, code);
    if (!mp_dtype_format(dtype)->has_sign) return (int64_t)code;
    const uint64_t sign = UINT64_C(1) << (mp_dtype_bits(dtype) - 1);
    return code & sign ? -(int64_t)(code & ~sign) : (int64_t)code;
}

int64_t mp_ulps_between(mp_dtype dtype, uint64_t a, uint64_t b) {
    if (isnan(mp_decode_code(dtype, a)) || isnan(mp_decode_code(dtype, b))) return INT64_MAX;
    const int64_t x = ordered(dtype, a), y = ordered(dtype, b);
    const uint64_t d = x > y ? (uint64_t)x - (uint64_t)y : (uint64_t)y - (uint64_t)x;
    return d < INT64_MAX ? (int64_t)d : INT64_MAX - 1; /* fp64 codes of opposite sign may be further apart */
}

mp_status mp_difference_start(mp_difference *d, const mp_where *where, mp_error *err) {
    *d = (mp_difference){.where = where, .dtype = where->dtype, .first_row = -1};
    return mp_pattern_start(&d->pattern, where->rows, err);
}

static double value_of(mp_dtype dtype, uint64_t code) {
    const double value = mp_decode_code(dtype, code);
    return isnan(value) ? (double)NAN : value; /* printf's sign of a NaN means nothing */
}

void mp_difference_element(mp_difference *d, int64_t row, int64_t column, uint64_t got, uint64_t expected) {
    const double x = value_of(d->dtype, got), y = value_of(d->dtype, expected),
                 distance = x == y ? 0 : fabs(x - y);
    if (isnan(distance) || distance > d->max_abs) d->max_abs = distance;
    const int64_t ulps = mp_ulps_between(d->dtype, got, expected);
    if (ulps > d->max_ulps) d->max_ulps = ulps;
    if (d->picture && column >= 0) {
        const int level = mp_level(ulps == INT64_MAX ? (double)NAN : (double)ulps);
        d->picture->count[MP_HISTOGRAM_STEPS][level]++;
        mp_picture_mark(d->picture, MP_PICTURE_STEPS, row, column, level);
    }
    if (d->differing++ == 0) {
        d->first_row = row;
        d->first_column = column;
        d->first_got = got;
        d->first_expected = expected;
    }
    mp_pattern_add(&d->pattern, row, column);
}

void mp_difference_row(mp_difference *d, int64_t row, const mp_tensor *got, int64_t got_row,
                       const mp_tensor *expected, int64_t expected_row) {
    const int64_t width = d->where->width;
    const size_t bytes = mp_dtype_bytes(got->dtype, width);
    const char *a = (const char *)got->data + (size_t)got_row * bytes;
    const char *b = (const char *)expected->data + (size_t)expected_row * bytes;
    d->compared += width;
    if (d->picture) mp_picture_mark_row(d->picture, MP_PICTURE_STEPS, row);
    if (memcmp(a, b, bytes) == 0) return;
    for (int64_t i = 0; i < width; i++) {
        const uint64_t x = mp_code_at(got->dtype, a, i), y = mp_code_at(got->dtype, b, i);
        const bool zeros = d->any_zero && value_of(got->dtype, x) == 0 && value_of(got->dtype, y) == 0;
        if (x != y && !zeros) mp_difference_element(d, row, i, x, y);
    }
}

void mp_difference_text(const mp_difference *d, char text[MP_DIFFERENCE_TEXT_MAX]) {
    char place[MP_WHERE_TEXT_MAX], pattern[MP_WHERE_TEXT_MAX], distance[64] = "NaN on one side";
    const int digits = (mp_dtype_bits(d->dtype) + 3) / 4;
    mp_place_text(d->where, d->first_row, d->first_column, place);
    mp_pattern_text(d->where, &d->pattern, pattern);
    if (d->first_column < 0) {
        snprintf(text, MP_DIFFERENCE_TEXT_MAX, "%s: %s", place, pattern);
        return;
    }
    if (d->max_ulps != INT64_MAX)
        snprintf(distance, sizeof distance, "by at most %" PRId64 "%s", d->max_ulps,
                 mp_dtype_is_integer(d->dtype) ? "" : " ulp");
    snprintf(text, MP_DIFFERENCE_TEXT_MAX,
             "%s: %.9g (%0*" PRIX64 ") instead of %.9g (%0*" PRIX64 "); %" PRId64 " of %" PRId64
             " elements differ, %s: %s",
             place, value_of(d->dtype, d->first_got), digits, d->first_got,
             value_of(d->dtype, d->first_expected), digits, d->first_expected, d->differing, d->compared,
             distance, pattern);
}

void mp_difference_end(mp_difference *d) {
    mp_pattern_free(&d->pattern);
}
