/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/quant.h"
#include "base/threads.h"

#include <math.h>
#include <stdlib.h>

mp_quant_pass mp_quant_pass_of(const mp_stage_call *call, mp_stage stage, mp_quantiser quantiser) {
    const mp_tensor *t = call->t;
    const mp_scheme *s = mp_scheme_of(call->c);
    const bool x = stage == MP_QUANT_X;
    const mp_tensor *from = x ? &t[MP_X] : mp_as_read(t, MP_CACHE2),
                    *given = &t[x ? MP_X_GIVEN_SCALE : MP_CACHE2_GIVEN_SCALE];
    return (mp_quant_pass){.from = from,
                           .codes = &t[x ? MP_X_CODES : MP_CACHE2_CODES],
                           .scale = s->made ? mp_codes_scale(call->c, t, stage) : NULL,
                           .rows = x ? call->c->M : mp_case_slots(call->c),
                           .row = x ? NULL : call->map->cache_row,
                           .topk_ids = x ? NULL : t[MP_TOPK_IDS].data,
                           .per = s->granularity,
                           .group = s->granularity == MP_PER_GROUP ? mp_case_group(call->c)
                                    : x                            ? call->c->K
                                                                   : call->c->N,
                           .q = {.quantiser = quantiser,
                                 .input = call->c->dtype,
                                 .given = s->given && given->data ? *(const float *)given->data : 0,
                                 .upper = INFINITY}}; /* of amax: no scheme gives one */
}

/* Of a scale that all rows share. */
mp_quant_unit mp_quant_unit_of_all(const mp_quant_pass *p) {
    enum { PIECE = 256 };
    const int64_t width = mp_tensor_row_length(p->from);
    mp_quant_unit all = mp_quant_unit_empty;
    if (p->per != MP_PER_TENSOR) return all;
    mp_tensor_make_rows(p->from, p->row, p->rows);
#pragma omp parallel if (mp_worth_threads(p->rows, width))
    {
        mp_quant_unit unit = mp_quant_unit_empty;
        float x[PIECE];
#pragma omp for schedule(static)
        for (int64_t r = 0; r < p->rows; r++) {
            const int64_t row = mp_quant_row(p, r);
            for (int64_t k = 0; k < width && row >= 0; k += PIECE) {
                const int64_t n = width - k < PIECE ? width - k : PIECE;
                mp_decode_row_f32(p->from->dtype, p->from->data, row * width + k, n, x);
                mp_quant_unit_add(&unit, x, n);
            }
        }
#pragma omp critical(mp_quant_unit)
        all = (mp_quant_unit){fmaxf(all.amax, unit.amax), fminf(all.min, unit.min), fmaxf(all.max, unit.max),
                              all.has_nan || unit.has_nan};
    }
    return all;
}

void mp_quant_share(const mp_quant_pass *p, mp_quant_seen *seen) {
    const int64_t groups = mp_quant_groups(p);
    mp_quant_seen all = {0};
    if (p->per != MP_PER_TENSOR) return;
    for (int64_t i = 0; i < p->rows * groups; i++) {
        if (mp_quant_row(p, i / groups) < 0) continue;
        all.amax = seen[i].amax > all.amax ? seen[i].amax : all.amax;
        all.odd |= seen[i].odd;
    }
    for (int64_t i = 0; i < p->rows * groups; i++) seen[i] = all;
}

mp_status mp_quant_places(const mp_quant_pass *p, int64_t **places, mp_error *err) {
    *places = malloc((size_t)(p->rows > 0 ? p->rows : 1) * sizeof **places);
    if (!*places) return mp_fail(err, MP_EMEMORY, "no memory for places of %lld rows", (long long)p->rows);
    for (int64_t r = 0; r < p->rows; r++) (*places)[r] = mp_quant_row(p, r);
    return MP_OK;
}

mp_quant_pass mp_quant_part(const mp_quant_pass *p, const int64_t *places, int64_t first) {
    enum { MOST_GROUPS = 1 << 22 };
    const int64_t groups = mp_quant_groups(p), rest = p->rows - first,
                  most = groups < MOST_GROUPS ? MOST_GROUPS / groups : 1;
    mp_quant_pass part = *p;
    part.rows = p->per == MP_PER_TENSOR || rest < most ? rest : most;
    part.row = places + first;
    part.topk_ids = NULL;
    return part;
}

void mp_quant_for_row(const mp_quant_pass *p, const mp_quant_unit *all, int64_t r, float *x,
                      mp_quant_visit *visit, void *ctx) {
    const int64_t width = mp_tensor_row_length(p->from), groups = mp_quant_groups(p),
                  row = mp_quant_row(p, r);
    const bool shared = p->per == MP_PER_TENSOR;
    mp_decode_row_f32(p->from->dtype, p->from->data, row * width, width, x);
    for (int64_t g = 0; g < groups; g++) {
        const int64_t first = g * p->group, n = width - first < p->group ? width - first : p->group;
        mp_quant_unit unit = mp_quant_unit_empty;
        mp_quant_unit_add(&unit, x + first, n);
        visit(ctx, p,
              &(mp_quant_span){.r = r,
                               .row = row,
                               .first = first,
                               .n = n,
                               .scale_at = mp_quant_scale_at(p, row, g),
                               .x = x + first,
                               .unit = shared ? all : &unit});
    }
}

mp_status mp_quant_for_each(const mp_quant_pass *p, mp_quant_visit *visit, void *ctx, mp_error *err) {
    const int64_t width = mp_tensor_row_length(p->from);
    mp_tensor_make_rows(p->from, p->row, p->rows);
    const mp_quant_unit all = mp_quant_unit_of_all(p);
    bool failed = false;
#pragma omp parallel if (mp_worth_threads(p->rows, 4 * width))
    {
        float *x = malloc((size_t)width * sizeof *x);
        if (!x) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (int64_t r = 0; r < p->rows; r++)
            if (x && mp_quant_row(p, r) >= 0) mp_quant_for_row(p, &all, r, x, visit, ctx);
        free(x);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "quantise: no memory for rows of %lld numbers", (long long)width)
                  : MP_OK;
}

void mp_quant_store_scale(const mp_quant_pass *p, const mp_quant_span *s, double scale) {
    if (p->per != MP_PER_TENSOR) {
        mp_encode(p->scale->dtype, p->scale->data, s->scale_at, scale);
        return;
    }
#pragma omp critical(mp_quant_scale) /* each span writes the same */
    mp_encode(p->scale->dtype, p->scale->data, s->scale_at, scale);
}

static void quantise(void *ctx, const mp_quant_pass *p, const mp_quant_span *s) {
    enum { PIECE = 256 };
    (void)ctx;
    const double made = mp_quant_scales(&p->q, s->unit).low;
    double scale = (double)p->q.given;
    if (p->scale) {
        mp_quant_store_scale(p, s, made);
        scale = mp_round_to(p->scale->dtype, made);
    }
    const mp_quant_range factor = mp_quant_factors(&p->q, s->unit, scale);
    const int64_t at = s->row * mp_tensor_row_length(p->codes) + s->first;
    uint8_t low[PIECE], high[PIECE];
    for (int64_t k = 0; k < s->n; k += PIECE) {
        const int64_t here = s->n - k < PIECE ? s->n - k : PIECE;
        mp_quant_codes(&p->q, s->unit, factor, 0, s->x + k, here, low, high);
        for (int64_t i = 0; i < here; i++) mp_put_code(p->codes->dtype, p->codes->data, at + k + i, low[i]);
    }
}

static mp_status quant_stage(const mp_stage_call *call, mp_stage stage, mp_error *err) {
    const mp_quant_pass p = mp_quant_pass_of(call, stage, mp_scheme_of(call->c)->quantiser);
    return mp_quant_for_each(&p, quantise, NULL, err);
}

mp_status mp_ref_stage_quant_x(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self;
    return quant_stage(call, MP_QUANT_X, err);
}

mp_status mp_ref_stage_quant_act(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self;
    return quant_stage(call, MP_QUANT_ACT, err);
}
