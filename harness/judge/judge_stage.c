/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/judge_stage.h"

#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"
#include "harness/picture.h"
#include "harness/verdict_make.h"
#include "ref/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool mp_store_rounds(const mp_contract *contract, mp_dtype dtype) {
    return (dtype != MP_FP32 && dtype != MP_FP64) || contract->float64_steps;
}

mp_overflow mp_store_overflow(const mp_contract *contract, mp_dtype dtype) {
    if (dtype != MP_BF16 && dtype != MP_FP16 && dtype != MP_FP32 && dtype != MP_FP64)
        return MP_OVERFLOW_SATURATE; /* codes are held within their range */
    return dtype == MP_FP32 || dtype == MP_FP64 ? MP_OVERFLOW_INF : contract->overflow;
}

void mp_numbers_not_judged(mp_verdict *v, const char *why) {
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (MP_CHECKS_OF_NUMBERS >> i & 1) mp_check_not_judged(v, (mp_check)i, "%s", why);
}

void mp_stage_has_no_bound(const mp_judgement *j, mp_stage stage, const char *why) {
    char text[160];
    j->v->boundless = true;
    snprintf(text, sizeof text, "%s: no bound can be had of %s under this contract", mp_stage_name(stage),
             why);
    mp_numbers_not_judged(j->v, text);
}

mp_status mp_stage_judge_start(const mp_judgement *j, mp_stage first, mp_stage stage, mp_stage_judge *s,
                               mp_error *err) {
    const mp_tensor_id id = mp_stage_output(j->c, stage);
    *s = (mp_stage_judge){.j = j, .first = first, .stage = stage, .got = &j->t[id]};
    s->got_row = mp_tensors[id].rows == MP_ROWS_CACHE ? j->map.cache_row : NULL;
    s->rows = mp_stage_rows_are_slots(stage) ? mp_case_slots(j->c) : j->c->M;
    s->width = mp_tensor_row_length(s->got);
    s->rounded = mp_store_rounds(j->contract, s->got->dtype);
    s->where = mp_where_of(j->c, j->t, j->config, first, stage);
    if (j->in->ids_unknown) s->where.topk_ids = NULL;
    mp_status status = mp_stage_picture(j, &s->where, &s->picture, err);
    if (status == MP_OK) status = mp_pattern_start(&s->failures, s->rows, err);
    if (status != MP_OK) return status;
    mp_stage_judge_part(s, &s->measure);
    s->sums = calloc((size_t)(s->rows > 0 ? s->rows : 1) * 3, sizeof *s->sums);
    if (s->sums) return MP_OK;
    mp_stage_judge_drop(s);
    return mp_fail(err, MP_EMEMORY, "judge: no memory for sums of %lld rows", (long long)s->rows);
}

mp_status mp_stage_picture(const mp_judgement *j, const mp_where *where, mp_picture **picture,
                           mp_error *err) {
    mp_picture **own = &j->v->picture[where->stage];
    *picture = NULL;
    if (!j->v->pictured || where->rows == 0) return MP_OK;
    const bool slots = mp_stage_rows_are_slots(where->stage);
    mp_status status = MP_OK;
    if (!*own)
        status = mp_picture_create(where->rows, where->width, slots ? where->topk_ids : NULL, own, err);
    if (status != MP_OK) return status;
    if (where->tile) {
        (*own)->tile_rows = where->tile->block_size_m;
        (*own)->tile_columns = where->tile->block_size_n;
    }
    *picture = *own;
    return MP_OK;
}

void mp_stage_judge_part(mp_stage_judge *s, mp_measure *part) {
    mp_measure_start(part);
    part->picture = s->picture;
    part->failures = &s->failures;
    part->width = s->width;
    part->overflow = mp_store_overflow(s->j->contract, s->got->dtype);
}

void mp_stage_judge_add_sums(mp_stage_judge *s, int64_t row, const double sums[3]) {
    for (int i = 0; i < 3; i++) {
#pragma omp atomic
        s->sums[row * 3 + i] += sums[i];
    }
}

void mp_stage_judge_merge(mp_stage_judge *s, const mp_measure *part) {
#pragma omp critical(mp_judge_merge)
    mp_measure_merge(&s->measure, part);
}

mp_status mp_stage_judge_expect_all(const mp_stage_judge *s, const mp_gemm_problem *p, mp_error *err) {
    const int64_t seen = s->measure.f.compared + s->measure.open;
    const mp_engine *engine = s->j->engine;
    int64_t rows = 0;
    for (int64_t t = 0; t < p->slots; t++) rows += p->topk_ids[t] >= 0 && p->a_row[t] >= 0;
    if (seen == rows * p->w.codes->dim[1]) return MP_OK;
    return mp_fail(err, MP_EINTERNAL, "%s: %s has shown %lld of %lld elements", mp_stage_name(s->stage),
                   engine->name(engine), (long long)seen, (long long)(rows * p->w.codes->dim[1]));
}

bool mp_judgement_routes(const mp_judgement *j, int64_t first, int64_t count) {
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    for (int64_t slot = first; ids && slot < first + count; slot++)
        if (ids[slot] >= 0) return true;
    return !ids;
}

static bool is_all_zeros(const void *bytes, size_t count) {
    const unsigned char *b = bytes;
    return count == 0 || (b[0] == 0 && memcmp(b, b + 1, count - 1) == 0);
}

/* Most are zero bytes, +0 in every format, of which the figures are known. */
static void judge_zero_row(const mp_stage_judge *s, int64_t slot, int64_t row, mp_measure *part,
                           double sums[3]) {
    const mp_expectation zero = {.positive_zero = true};
    const mp_row_figures met = {.passed = s->width, .equal = s->width};
    if (!s->picture && is_all_zeros(mp_tensor_row(s->got, row), mp_tensor_row_bytes(s->got))) {
        mp_measure_figures(part, slot * s->width, &met);
        return;
    }
    for (int64_t k = 0; k < s->width; k++)
        mp_measure_element(part, s->got->dtype, s->got->data, row * s->width + k, slot * s->width + k, &zero,
                           s->j->poison, sums);
}

void mp_stage_judge_zero_rows(mp_stage_judge *s) {
    const int32_t *ids = s->j->t[MP_TOPK_IDS].data;
    if (!mp_stage_rows_are_slots(s->stage) || s->j->contract->filtered[s->stage] != MP_ROW_ZERO ||
        s->width == 0)
        return;
#pragma omp parallel
    {
        mp_measure part;
        mp_stage_judge_part(s, &part);
#pragma omp for schedule(static)
        for (int64_t t = 0; t < s->rows; t++) {
            const int64_t row = s->got_row ? s->got_row[t] : t;
            double sums[3] = {0, 0, 0};
            if (ids[t] >= 0 || row < 0) continue;
            judge_zero_row(s, t, row, &part, sums);
            mp_stage_judge_add_sums(s, t, sums);
        }
        mp_stage_judge_merge(s, &part);
    }
}

void mp_stage_judge_drop(mp_stage_judge *s) {
    free(s->sums);
    s->sums = NULL;
    mp_pattern_free(&s->failures);
}

static void place(const mp_stage_judge *s, int64_t index, char text[MP_WHERE_TEXT_MAX]) {
    mp_place_text(&s->where, index / s->width, index % s->width, text);
}

/* printf's sign of a NaN means nothing. */
static double unsigned_nan(double value) {
    return isnan(value) ? (double)NAN : value;
}

void mp_stage_judge_finish(mp_stage_judge *s) {
    mp_measure *m = &s->measure;
    mp_verdict *v = s->j->v;
    char where[MP_WHERE_TEXT_MAX], pattern[MP_WHERE_TEXT_MAX];
    m->f.judged = true;
    for (int level = 0; s->picture && level < MP_LEVELS; level++) {
        s->picture->count[MP_HISTOGRAM_RATIO][level] += m->ratio_count[level];
        s->picture->count[MP_HISTOGRAM_ULPS][level] += m->ulps_count[level];
    }
    mp_stage_set_shape(&m->f, s->j->c, s->rows, s->width);
    for (int i = (int)s->first; i <= (int)s->stage; i++) m->f.time_ns += s->j->trace->stage_ns[i];
    if (s->rows == 0) { /* no tokens: there is no number that could be wrong, and none that is right */
        mp_numbers_not_judged(v, "no tokens");
        v->stage[s->stage] = m->f;
        mp_stage_judge_drop(s);
        return;
    }
    int64_t bad_row = -1;
    for (int64_t r = 0; r < s->rows; r++) {
        const double error = sqrt(s->sums[r * 3]), bound = sqrt(s->sums[r * 3 + 1]),
                     value = sqrt(s->sums[r * 3 + 2]);
        const double relative = error == 0 ? 0 : error / value;
        if (isnan(relative) || relative > m->f.max_row_rms) m->f.max_row_rms = relative;
        if (!(error <= bound * (1 + 0x1p-40)) && bad_row < 0) bad_row = r; /* the sums themselves round */
    }
    if (m->f.failed > 0) {
        place(s, m->f.worst_index, where);
        mp_pattern_text(&s->where, &s->failures, pattern);
        mp_begins(v, s->first, s->stage, pattern);
        mp_check_fail(v, MP_CHECK_BOUND, "%s: %.9g instead of %.9g +- %.3g%s; %lld of %lld elements fail: %s",
                      where, unsigned_nan(m->f.worst_value), unsigned_nan(m->f.worst_expected),
                      m->f.worst_bound, isfinite(m->f.worst_bound) ? "" : " (no finite bound can be given)",
                      (long long)m->f.failed, (long long)m->f.compared, pattern);
    } else if (m->open > 0) {
        char note[160];
        snprintf(note, sizeof note, "%s: %lld of %lld elements %s", mp_stage_name(s->stage),
                 (long long)m->open, (long long)(m->open + m->f.compared),
                 s->open_because ? s->open_because : "may have overflowed on the way");
        mp_check_pass_partly(v, MP_CHECK_BOUND, note);
    } else {
        mp_check_pass(v, MP_CHECK_BOUND);
    }
    if (bad_row >= 0) {
        place(s, bad_row * s->width, where);
        mp_check_fail(v, MP_CHECK_RMS, "%s: the row's rms error %.3g exceeds its bound %.3g", where,
                      sqrt(s->sums[bad_row * 3]), sqrt(s->sums[bad_row * 3 + 1]));
    } else {
        mp_check_pass(v, MP_CHECK_RMS);
    }
    if (m->nan_failures > 0) {
        place(s, m->first_nan, where);
        mp_check_fail(v, MP_CHECK_NAN, "%s: %.9g instead of %.9g; %lld elements", where,
                      unsigned_nan(m->nan_got), unsigned_nan(m->nan_expected), (long long)m->nan_failures);
    } else {
        mp_check_pass(v, MP_CHECK_NAN);
    }
    if (m->poison_failures > 0) {
        place(s, m->first_poison, where);
        mp_check_fail(v, MP_CHECK_POISON, "%s: never written; %lld elements still hold the poison", where,
                      (long long)m->poison_failures);
    }
    v->stage[s->stage] = m->f;
    mp_stage_judge_drop(s);
}
