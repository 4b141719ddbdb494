/* SPDX-License-Identifier: Apache-2.0 */
/* The grouped GEMM in float64 on the device: piece by piece its operands are decoded and summed there, the
 * results land in pinned memory of the host, and while the device works on the next piece all cores visit
 * this one. */
#include "offload/cross_check.h"
#include "offload/handle.h"
#include "offload/pieces.h"

#include <stdlib.h>

#define GEMM_SOURCE "offload/device/gemm_float64.cu"
#define DECODE_SOURCE "offload/device/decode.cu"

enum { DECODE_THREADS = 256, MOST_BLOCKS = 1 << 16, RADII = 3 };

typedef struct gemm {
    mp_offload *o;
    const mp_gemm_problem *p;
    bool with_mass;
    mp_gemm_visit visit;
    void *ctx;
    mp_gemm_tasks tasks;
    mp_row_block *blocks;
    int64_t block_count, padded;
    mp_operand radius[RADII]; /* of a: sure, det, random; without codes where there is none */
    int radius_at[RADII];     /* which of the results its sums are */
    int results;              /* of a slot and column: value, mass, and the radii that are there */
    mp_piece_limits limits;
    mp_device_operand a, w, of_radius[RADII];
    mp_cross_check check;
} gemm;

static CUdeviceptr scratch(const gemm *g, mp_scratch which) {
    return g->o->scratch[which].at;
}

/* ---- before the first piece ---- */

/* Slots by expert, and where they and their tiles begin. */
static mp_status order_rows(gemm *g, mp_error *err) {
    mp_status status = mp_gemm_tasks_create(g->p, &g->tasks, err);
    if (status == MP_OK) status = mp_row_blocks(&g->tasks, &g->blocks, &g->block_count, err);
    return status;
}

/* What the device must hold of operands at once, in bytes, but for what is there. */
static size_t operand_bytes(const gemm *g) {
    const mp_operand *const operands[] = {&g->p->a, &g->p->w};
    size_t bytes = 0;
    for (int i = 0; i < 2; i++) {
        const mp_tensor *tensors[4];
        mp_operand_tensors(operands[i], tensors);
        for (int k = 0; k < 4; k++)
            if (tensors[k]) bytes += mp_offload_upload_bytes(g->o, tensors[k]);
    }
    for (int i = 0; i < RADII; i++)
        if (g->radius[i].codes) bytes += mp_offload_upload_bytes(g->o, g->radius[i].codes);
    return bytes;
}

/* How large pieces may be; rows 0: there is no room for any. */
static mp_status plan(gemm *g, mp_error *err) {
    size_t budget = 0;
    const mp_status status = mp_offload_budget(g->o, &budget, err);
    const size_t taken = operand_bytes(g);
    g->limits = (mp_piece_limits){0};
    if (status == MP_OK && taken < budget)
        g->limits = mp_piece_limits_of(g->p, g->padded, g->results, budget - taken);
    return status;
}

/* Rows of a, and tiles, in the order of the blocks. */
static mp_status upload_order(gemm *g, mp_error *err) {
    const mp_row_block *last = &g->blocks[g->block_count - 1];
    const int64_t rows = last->row + last->count;
    mp_offload *o = g->o;
    const size_t row_bytes = (size_t)rows * sizeof(int64_t),
                 tile_bytes = (size_t)g->block_count * sizeof(mp_row_tile);
    int64_t *row = malloc(row_bytes);
    mp_row_tile *tile = malloc(tile_bytes);
    mp_status status = MP_OK;
    if (!row || !tile) {
        status = mp_fail(err, MP_EMEMORY, "no memory for the order of %lld slots", (long long)rows);
        goto out;
    }
    for (int64_t i = 0; i < g->block_count; i++) {
        const mp_row_block *b = &g->blocks[i];
        tile[i] = (mp_row_tile){.row = b->row, .count = b->count, .matrix = b->matrix};
        for (int64_t r = 0; r < b->count; r++) row[b->row + r] = g->p->a_row[g->tasks.order[b->first + r]];
    }
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_ROWS], row_bytes, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_TILES], tile_bytes, err));
    MP_DO(mp_offload_copy_in(o, scratch(g, MP_SCRATCH_ROWS), row, row_bytes, err));
    MP_DO(mp_offload_copy_in(o, scratch(g, MP_SCRATCH_TILES), tile, tile_bytes, err));
out:
    free(row);
    free(tile);
    return status;
}

/* All memory, and all that is uploaded. */
static mp_status prepare(gemm *g, mp_error *err) {
    mp_offload *o = g->o;
    mp_status status = MP_OK;
    MP_DO(mp_offload_make_landings(o, g->limits.result_bytes, err));
    MP_DO(mp_offload_operand(o, &g->p->w, MP_SCRATCH_W, &g->w, err));
    MP_DO(mp_offload_operand(o, &g->p->a, MP_SCRATCH_A, &g->a, err));
    for (int i = 0; i < RADII; i++)
        if (g->radius[i].codes)
            MP_DO(mp_offload_operand(o, &g->radius[i], MP_SCRATCH_RADIUS + (mp_scratch)i, &g->of_radius[i],
                                     err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_DECODED_A], g->limits.a_bytes, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_DECODED_W], g->limits.w_bytes, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_RESULTS], g->limits.result_bytes, err));
    MP_DO(upload_order(g, err));
out:
    return status;
}

/* Which slots the CPU computes too. */
static mp_status choose_slots(gemm *g, mp_error *err) {
    const mp_row_block *b = &g->blocks[g->block_count - 1];
    int64_t slot[MP_CROSS_CHECKED];
    const int64_t count = mp_cross_check_choose(b->row + b->count, (uint64_t)g->o->gemms, slot);
    for (int64_t i = count - 1; i >= 0; i--) { /* places descend, and so do the blocks that they are in */
        while (slot[i] < b->row) b--;
        slot[i] = g->tasks.order[b->first + slot[i] - b->row];
    }
    return mp_cross_check_begin(&g->check, g->p, g->with_mass, slot, count, err);
}

/* ---- a piece ---- */

static mp_status decode(const gemm *g, const mp_device_operand *operand, CUdeviceptr rows, int64_t first,
                        int64_t count, CUdeviceptr to, mp_error *err) {
    mp_decode_params params = {
        .operand = *operand, .rows = rows, .to = to, .first = first, .count = count, .padded = g->padded};
    return mp_offload_launch(g->o, DECODE_SOURCE, "decode", count < MOST_BLOCKS ? count : MOST_BLOCKS,
                             DECODE_THREADS, &params, err);
}

/* The columns of the weights of its experts. */
static mp_status decode_weights(const gemm *g, const mp_piece *piece, mp_error *err) {
    const mp_row_block *first = &g->blocks[piece->begin];
    const int64_t N = g->p->w.codes->dim[1];
    mp_status status = MP_OK;
    for (int64_t i = piece->begin; i < piece->end && status == MP_OK; i++) {
        const mp_row_block *b = &g->blocks[i];
        if (i > piece->begin && b->matrix == b[-1].matrix) continue;
        const int64_t at = (b->matrix - first->matrix) * piece->n * g->padded;
        status = decode(g, &g->w, 0, b->expert * N + piece->n0, piece->n,
                        scratch(g, MP_SCRATCH_DECODED_W) + (size_t)at * sizeof(double), err);
    }
    return status;
}

/* Sums of what `a` has in the rows of the piece, into its results first, first+1. */
static mp_status sum(const gemm *g, const mp_piece *piece, const mp_device_operand *a, const char *entry,
                     int first, mp_error *err) {
    const mp_row_block *begin = &g->blocks[piece->begin];
    const CUdeviceptr rows = scratch(g, MP_SCRATCH_ROWS) + (size_t)begin->row * sizeof(int64_t),
                      results = scratch(g, MP_SCRATCH_RESULTS);
    const size_t result_bytes = (size_t)(piece->rows * piece->n) * sizeof(double);
    mp_status status = decode(g, a, rows, 0, piece->rows, scratch(g, MP_SCRATCH_DECODED_A), err);
    mp_gemm64_params params = {.a = scratch(g, MP_SCRATCH_DECODED_A),
                               .w = scratch(g, MP_SCRATCH_DECODED_W),
                               .tiles =
                                   scratch(g, MP_SCRATCH_TILES) + (size_t)piece->begin * sizeof(mp_row_tile),
                               .value = results + (size_t)first * result_bytes,
                               .mass = results + (size_t)(first + 1) * result_bytes,
                               .n = piece->n,
                               .padded = g->padded,
                               .tile_count = piece->end - piece->begin};
    if (status == MP_OK)
        status = mp_offload_launch(g->o, GEMM_SOURCE, entry,
                                   params.tile_count * ((piece->n + MP_TILE - 1) / MP_TILE), MP_TILE_THREADS,
                                   &params, err);
    return status;
}

/* Begins a piece, whose results go into a landing. What the device should fail to write is NaN. */
static mp_status begin_piece(const gemm *g, const mp_piece *piece, int landing, mp_error *err) {
    static const char *const of_radius[RADII] = {"gemm_absolute", "gemm_absolute", "gemm_squares"};
    const mp_driver *driver = g->o->cuda->driver;
    const CUdeviceptr results = scratch(g, MP_SCRATCH_RESULTS);
    const size_t bytes = (size_t)(g->results * piece->rows * piece->n) * sizeof(double);
    mp_status status = MP_OK;
    MP_CU(cuMemsetD8Async(results, 0xFF, bytes, g->o->stream));
    MP_DO(decode_weights(g, piece, err));
    MP_DO(sum(g, piece, &g->a, g->with_mass ? "gemm_values_and_masses" : "gemm_values", 0, err));
    for (int i = 0; i < RADII; i++)
        if (g->radius[i].codes) MP_DO(sum(g, piece, &g->of_radius[i], of_radius[i], g->radius_at[i], err));
    MP_CU(cuMemcpyDtoHAsync_v2(g->o->landing[landing], results, bytes, g->o->stream));
    MP_CU(cuEventRecord(g->o->landed[landing], g->o->stream));
out:
    return status;
}

/* Sums of a radius, `length` for each result, behind those values; NULL: there is none. */
static const double *radius_of(const gemm *g, int which, const double *value, int64_t length) {
    return g->radius[which].codes ? value + g->radius_at[which] * length : NULL;
}

/* Waits for it, and shows it to the visitor: blocks of few rows, so that all cores have some. */
static mp_status visit_piece(gemm *g, const mp_piece *piece, int landing, mp_error *err) {
    enum { ROWS = 16, PARTS = MP_TILE / ROWS };
    const mp_driver *driver = g->o->cuda->driver;
    const double *results = g->o->landing[landing];
    const int64_t length = piece->rows * piece->n, first = g->blocks[piece->begin].row;
    mp_status status = MP_OK;
    MP_CU(cuEventSynchronize(g->o->landed[landing]));
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = piece->begin * PARTS; i < piece->end * PARTS; i++) {
        const mp_row_block *b = &g->blocks[i / PARTS];
        const int64_t r = i % PARTS * ROWS, rest = b->count - r;
        if (rest <= 0) continue;
        const double *at = results + (b->row - first + r) * piece->n;
        const mp_gemm_tile tile = {.expert = b->expert,
                                   .count = rest < ROWS ? rest : ROWS,
                                   .n0 = piece->n0,
                                   .n = piece->n,
                                   .slot = g->tasks.order + b->first + r,
                                   .value = at,
                                   .mass = g->with_mass ? at + length : NULL,
                                   .sure = radius_of(g, 0, at, length),
                                   .det = radius_of(g, 1, at, length),
                                   .random = radius_of(g, 2, at, length)};
        mp_cross_check_take(&g->check, &tile);
        g->visit(g->ctx, &tile);
    }
out:
    return status;
}

static mp_status compute(gemm *g, mp_error *err) {
    const int64_t N = g->p->w.codes->dim[1];
    mp_piece now = {0}, next = {0};
    int landing = 0;
    mp_status status = MP_OK;
    bool more = mp_next_piece(g->blocks, g->block_count, N, &g->limits, &next);
    if (more) status = begin_piece(g, &next, landing, err);
    while (more && status == MP_OK) {
        now = next;
        more = mp_next_piece(g->blocks, g->block_count, N, &g->limits, &next);
        if (more) status = begin_piece(g, &next, 1 - landing, err);
        if (status == MP_OK) status = visit_piece(g, &now, landing, err);
        landing = 1 - landing;
    }
    return status;
}

mp_status mp_offload_gemm_float64(const mp_engine *self, const mp_gemm_problem *p, bool with_mass,
                                  mp_gemm_visit visit, void *ctx, mp_error *err) {
    mp_offload *o = self->state;
    const mp_driver *driver = o->cuda->driver;
    const mp_engine *cpu = mp_engine_of_cpu();
    const mp_gemm_radii *radii = p->radii;
    const int64_t K = p->w.codes->dim[2];
    gemm g = {.o = o,
              .p = p,
              .with_mass = with_mass,
              .visit = visit,
              .ctx = ctx,
              .padded = (K + MP_TILE_DEPTH - 1) / MP_TILE_DEPTH * MP_TILE_DEPTH,
              .radius = {{.codes = radii ? radii->sure : NULL},
                         {.codes = radii ? radii->det : NULL},
                         {.codes = radii ? radii->random : NULL}}};
    g.results = 1 + with_mass;
    for (int i = 0; i < RADII; i++)
        if (g.radius[i].codes) g.radius_at[i] = g.results++;
    bool begun = false; /* something has been visited */
    mp_status status = MP_OK;
    MP_CU(cuCtxSetCurrent(o->cuda->context));
    MP_DO(order_rows(&g, err));
    if (g.block_count == 0) goto out;
    o->gemms++;
    MP_DO(plan(&g, err));
    if (g.limits.rows == 0) { /* without what is kept there may be enough */
        mp_offload_drop(o);
        MP_DO(plan(&g, err));
    }
    status = g.limits.rows > 0 ? prepare(&g, err) : MP_EMEMORY;
    if (status != MP_OK) goto out;
    MP_DO(choose_slots(&g, err));
    begun = true;
    MP_DO(compute(&g, err));
    MP_DO(mp_cross_check_compare(&g.check, cpu, err));
out:
    if (status != MP_OK) driver->cuStreamSynchronize(o->stream); /* nothing lands behind our back */
    mp_cross_check_end(&g.check);
    mp_gemm_tasks_destroy(&g.tasks);
    free(g.blocks);
    if (status == MP_OK) return MP_OK;
    if (status != MP_EMEMORY || begun) {
        mp_error_prefix(err, "judging on the device");
        if (err) err->status = MP_EDEVICE;
        return MP_EDEVICE;
    }
    mp_offload_drop(o);
    o->left_to_cpu++;
    return mp_gemm_float64(cpu, p, with_mass, visit, ctx, err);
}
