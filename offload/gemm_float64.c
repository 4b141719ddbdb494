/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's grouped GEMM: the sums of a piece land in pinned memory of the host, or figures of them where
 * they are measured, and while the device works on the next piece all cores visit this one. */
#include "offload/cross_check.h"
#include "offload/grouped_gemm.h"
#include "offload/screen.h"

typedef struct gemm {
    mp_grouped_gemm sums;
    mp_gemm_visit visit;
    void *ctx;
    mp_cross_check check;
    mp_screening screening;
} gemm;

/* Which slots the CPU computes too. */
static mp_status choose_slots(gemm *g, mp_error *err) {
    const mp_grouped_gemm *s = &g->sums;
    int64_t slot[MP_CROSS_CHECKED];
    const int64_t count =
        mp_cross_check_rows(s->p, s->blocks, s->block_count, (uint64_t)s->o->gemms, MP_CROSS_CHECKED, slot);
    for (int64_t i = 0; i < count; i++) {
        const mp_row_block *b = mp_block_of_row(s->blocks, s->block_count, slot[i]);
        slot[i] = s->tasks.order[b->first + slot[i] - b->row];
    }
    return mp_cross_check_begin(&g->check, s->p, s->with_mass, slot, count, err);
}

/* ---- a piece ---- */

static mp_screened_piece screened(const gemm *g, const mp_piece *piece, int landing) {
    return (mp_screened_piece){piece, g->sums.blocks, g->sums.tasks.order,
                               mp_grouped_gemm_sums(&g->sums, landing), landing};
}

/* Begins a piece, whose results go into a landing, or are measured. */
static mp_status begin_piece(const gemm *g, const mp_piece *piece, int landing, mp_error *err) {
    mp_offload *o = g->sums.o;
    const mp_driver *driver = o->cuda->driver;
    const size_t bytes = (size_t)(g->sums.results * piece->rows * piece->n) * sizeof(double);
    mp_status status = MP_OK;
    if (g->screening.asked) {
        const mp_screened_piece measured = screened(g, piece, landing);
        status = mp_grouped_gemm_sum_to(&g->sums, piece, landing, err);
        return status == MP_OK ? mp_screening_begin(o, &g->screening, &measured, err) : status;
    }
    MP_DO(mp_grouped_gemm_sum(&g->sums, piece, err));
    MP_CU(cuMemcpyDtoHAsync_v2(o->landing[landing], o->scratch[MP_SCRATCH_RESULTS].at, bytes, o->stream));
    MP_CU(cuEventRecord(o->landed[landing], o->stream));
out:
    return status;
}

/* Sums of a radius, `length` for each result, behind those values; NULL: there is none. */
static const double *radius_of(const mp_grouped_gemm *g, int which, const double *value, int64_t length) {
    return g->radius[which].codes ? value + g->radius_at[which] * length : NULL;
}

/* Waits for it, and shows it to the visitor: blocks of few rows, so that all cores have some. */
static mp_status visit_piece(gemm *g, const mp_piece *piece, int landing, mp_error *err) {
    enum { ROWS = 16, PARTS = MP_TILE / ROWS };
    const mp_grouped_gemm *s = &g->sums;
    const mp_driver *driver = s->o->cuda->driver;
    const double *results = s->o->landing[landing];
    const int64_t length = piece->rows * piece->n, first = mp_grouped_gemm_first(s, piece);
    mp_status status = MP_OK;
    if (g->screening.asked) {
        const mp_screened_piece measured = screened(g, piece, landing);
        return mp_screening_visit(s->o, &g->screening, &measured, &g->check, g->visit, g->ctx, err);
    }
    MP_CU(cuEventSynchronize(s->o->landed[landing]));
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = piece->begin * PARTS; i < piece->end * PARTS; i++) {
        const mp_row_block *b = &s->blocks[i / PARTS];
        const int64_t r = i % PARTS * ROWS, rest = b->count - r;
        if (rest <= 0) continue;
        const double *at = results + (b->row - first + r) * piece->n;
        const mp_gemm_tile tile = {.expert = b->expert,
                                   .count = rest < ROWS ? rest : ROWS,
                                   .n0 = piece->n0,
                                   .n = piece->n,
                                   .slot = s->tasks.order + b->first + r,
                                   .value = at,
                                   .mass = s->with_mass ? at + length : NULL,
                                   .sure = radius_of(s, 0, at, length),
                                   .det = radius_of(s, 1, at, length),
                                   .random = radius_of(s, 2, at, length)};
        mp_cross_check_take(&g->check, &tile);
        g->visit(g->ctx, &tile);
    }
out:
    return status;
}

static mp_status compute(gemm *g, mp_error *err) {
    mp_piece now = {0}, next = {0};
    int landing = 0;
    mp_status status = MP_OK;
    bool more = mp_grouped_gemm_next(&g->sums, &next);
    if (more) status = begin_piece(g, &next, landing, err);
    while (more && status == MP_OK) {
        now = next;
        more = mp_grouped_gemm_next(&g->sums, &next);
        if (more) status = begin_piece(g, &next, 1 - landing, err);
        if (status == MP_OK) status = visit_piece(g, &now, landing, err);
        landing = 1 - landing;
    }
    return status;
}

static mp_status prepare(gemm *g, mp_error *err) {
    if (g->screening.asked) mp_screening_plan(&g->screening, &g->sums);
    mp_status status = mp_grouped_gemm_prepare(&g->sums, err);
    if (status == MP_OK && g->screening.asked) status = mp_screening_prepare(&g->screening, &g->sums, err);
    return status;
}

/* screen: what is measured, or NULL. */
static mp_status compute_gemm(mp_offload *o, const mp_gemm_problem *p, bool with_mass,
                              const mp_gemm_screen *screen, mp_gemm_visit visit, void *ctx, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    const mp_engine *cpu = mp_engine_of_cpu();
    gemm g = {.sums = {.o = o, .p = p, .with_mass = with_mass},
              .visit = visit,
              .ctx = ctx,
              .screening = {.asked = screen}};
    bool begun = false; /* something has been visited */
    mp_status status = MP_OK;
    MP_CU(cuCtxSetCurrent(o->cuda->context));
    MP_DO(mp_grouped_gemm_order(&g.sums, err));
    if (g.sums.block_count == 0) goto out;
    o->gemms++;
    status = prepare(&g, err);
    if (status == MP_EMEMORY) { /* without what is kept there may be enough */
        mp_offload_drop(o);
        status = prepare(&g, err);
    }
    if (status != MP_OK) goto out;
    MP_DO(choose_slots(&g, err));
    begun = true;
    MP_DO(compute(&g, err));
    MP_DO(mp_cross_check_compare(&g.check, cpu, err));
out:
    if (status != MP_OK) driver->cuStreamSynchronize(o->stream); /* nothing lands behind our back */
    mp_cross_check_end(&g.check);
    mp_grouped_gemm_end(&g.sums);
    if (status == MP_OK) return MP_OK;
    if (status != MP_EMEMORY || begun) return mp_offload_failed(o, err);
    mp_offload_drop(o);
    o->left_to_cpu++;
    return mp_gemm_float64(cpu, p, with_mass, visit, ctx, err);
}

mp_status mp_offload_gemm_float64(const mp_engine *self, const mp_gemm_problem *p, bool with_mass,
                                  mp_gemm_visit visit, void *ctx, mp_error *err) {
    return compute_gemm(self->state, p, with_mass, NULL, visit, ctx, err);
}

mp_status mp_offload_measure_gemm(const mp_engine *self, const mp_gemm_problem *p,
                                  const mp_gemm_screen *screen, mp_gemm_visit visit, void *ctx,
                                  mp_error *err) {
    if (!mp_is_stored_float(screen->got->dtype))
        return mp_fail(err, MP_EUNSUPPORTED, "a store that is not measured");
    return compute_gemm(self->state, p, true, screen, visit, ctx, err);
}
