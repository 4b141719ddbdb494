/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/grouped_gemm.h"

#include <stdlib.h>

#define GEMM_SOURCE "offload/device/gemm_float64.cu"
#define DECODE_SOURCE "offload/device/decode.cu"

#define STAYING_BYTES ((size_t)512 << 20) /* of sums that need no landing: fewer pieces, each for all cores */

enum { DECODE_THREADS = 256 };

static CUdeviceptr scratch(const mp_grouped_gemm *g, mp_scratch which) {
    return g->o->scratch[which].at;
}

/* ---- before the first piece ---- */

mp_status mp_grouped_gemm_order(mp_grouped_gemm *g, mp_error *err) {
    const mp_gemm_radii *radii = g->p->radii;
    const int64_t K = g->p->w.codes->dim[2];
    g->padded = (K + MP_TILE_DEPTH - 1) / MP_TILE_DEPTH * MP_TILE_DEPTH;
    g->results = 1 + g->with_mass;
    if (radii) {
        g->radius[0].codes = radii->sure;
        g->radius[1].codes = radii->det;
        g->radius[2].codes = radii->random;
    }
    for (int i = 0; i < MP_GEMM_RADII; i++)
        if (g->radius[i].codes) g->radius_at[i] = g->results++;
    mp_status status = mp_gemm_tasks_create(g->p, &g->tasks, err);
    if (status == MP_OK) status = mp_row_blocks(&g->tasks, &g->blocks, &g->block_count, err);
    return status;
}

void mp_grouped_gemm_end(mp_grouped_gemm *g) {
    mp_gemm_tasks_destroy(&g->tasks);
    free(g->blocks);
    g->blocks = NULL;
}

/* What the device must hold of operands at once, in bytes, but for what is there. */
static size_t operand_bytes(const mp_grouped_gemm *g) {
    const mp_operand *const operands[] = {&g->p->w, &g->p->a};
    size_t bytes = 0;
    for (int i = 0; i < (g->there[0] ? 1 : 2); i++) {
        const mp_tensor *tensors[4];
        mp_operand_tensors(operands[i], tensors);
        for (int k = 0; k < 4; k++)
            if (tensors[k]) bytes += mp_offload_upload_bytes(g->o, tensors[k]);
    }
    for (int i = 0; i < MP_GEMM_RADII; i++)
        if (g->radius[i].codes && !g->there[1 + i])
            bytes += mp_offload_upload_bytes(g->o, g->radius[i].codes);
    return bytes;
}

/* How large pieces may be. */
static mp_status plan(mp_grouped_gemm *g, mp_error *err) {
    size_t budget = 0;
    const mp_status status = mp_offload_budget(g->o, &budget, err);
    const size_t taken = operand_bytes(g) + g->beside;
    const size_t most = g->staying > 0 ? STAYING_BYTES : MP_OFFLOAD_LANDING_BYTES;
    g->limits = (mp_piece_limits){0};
    if (status != MP_OK) return status;
    const int results = g->results * (g->staying > 0 ? g->staying : 1) + g->numbers;
    if (taken < budget) g->limits = mp_piece_limits_of(g->p, g->padded, results, budget - taken, most);
    return g->limits.rows > 0
               ? MP_OK
               : mp_fail(
                     err, MP_EMEMORY,
                     "a GEMM on the device needs %zu bytes for its operands and more for its sums; it may "
                     "take %zu",
                     taken, budget);
}

/* Rows of a, slots, and tiles, in the order of the blocks. */
static mp_status upload_order(mp_grouped_gemm *g, mp_error *err) {
    const mp_row_block *last = &g->blocks[g->block_count - 1];
    const int64_t rows = last->row + last->count;
    mp_offload *o = g->o;
    const size_t row_bytes = (size_t)rows * sizeof(int64_t),
                 tile_bytes = (size_t)g->block_count * sizeof(mp_row_tile);
    int64_t *row = malloc(row_bytes), *slot = malloc(row_bytes);
    mp_row_tile *tile = malloc(tile_bytes);
    mp_status status = MP_OK;
    if (!row || !slot || !tile) {
        status = mp_fail(err, MP_EMEMORY, "no memory for the order of %lld slots", (long long)rows);
        goto out;
    }
    for (int64_t i = 0; i < g->block_count; i++) {
        const mp_row_block *b = &g->blocks[i];
        tile[i] = (mp_row_tile){.row = b->row, .count = b->count, .matrix = b->matrix};
        for (int64_t r = 0; r < b->count; r++) {
            slot[b->row + r] = g->tasks.order[b->first + r];
            row[b->row + r] = g->p->a_row[slot[b->row + r]];
        }
    }
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_ROWS], row_bytes, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_SLOTS], row_bytes, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_TILES], tile_bytes, err));
    MP_DO(mp_offload_copy_in(o, scratch(g, MP_SCRATCH_ROWS), row, row_bytes, err));
    MP_DO(mp_offload_copy_in(o, scratch(g, MP_SCRATCH_SLOTS), slot, row_bytes, err));
    MP_DO(mp_offload_copy_in(o, scratch(g, MP_SCRATCH_TILES), tile, tile_bytes, err));
out:
    free(row);
    free(slot);
    free(tile);
    return status;
}

/* An operand on the device: uploaded, or where its codes lie already. */
static mp_status bring(const mp_grouped_gemm *g, const mp_operand *operand, CUdeviceptr there,
                       mp_scratch scratch, mp_device_operand *on_device, mp_error *err) {
    if (!there) return mp_offload_operand(g->o, operand, scratch, on_device, err);
    *on_device = mp_describe_operand(operand);
    on_device->codes = there;
    return MP_OK;
}

mp_status mp_grouped_gemm_prepare(mp_grouped_gemm *g, mp_error *err) {
    mp_offload *o = g->o;
    mp_status status = MP_OK;
    MP_DO(plan(g, err));
    const size_t landing = g->staying > 0 ? (size_t)g->limits.rows * g->landing_row_bytes + g->landing_bytes
                                          : g->limits.result_bytes;
    MP_DO(mp_offload_make_landings(o, landing, err));
    MP_DO(bring(g, &g->p->w, 0, MP_SCRATCH_W, &g->w, err));
    MP_DO(bring(g, &g->p->a, g->there[0], MP_SCRATCH_A, &g->a, err));
    for (int i = 0; i < MP_GEMM_RADII; i++)
        if (g->radius[i].codes)
            MP_DO(bring(g, &g->radius[i], g->there[1 + i], MP_SCRATCH_RADIUS + (mp_scratch)i,
                        &g->of_radius[i], err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_DECODED_A], g->limits.a_bytes, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_DECODED_W], g->limits.w_bytes, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_RESULTS], g->limits.result_bytes, err));
    MP_DO(upload_order(g, err));
out:
    return status;
}

/* ---- a piece ---- */

bool mp_grouped_gemm_next(const mp_grouped_gemm *g, mp_piece *piece) {
    return mp_next_piece(g->blocks, g->block_count, g->p->w.codes->dim[1], &g->limits, piece);
}

static mp_status decode(const mp_grouped_gemm *g, const mp_device_operand *operand, CUdeviceptr rows,
                        int64_t first, int64_t count, CUdeviceptr to, mp_error *err) {
    mp_decode_params params = {
        .operand = *operand, .rows = rows, .to = to, .first = first, .count = count, .padded = g->padded};
    return mp_offload_launch(g->o, DECODE_SOURCE, "decode", mp_blocks_in_turn(count), DECODE_THREADS, &params,
                             err);
}

/* The columns of the weights of its experts. */
static mp_status decode_weights(const mp_grouped_gemm *g, const mp_piece *piece, mp_error *err) {
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
static mp_status sum(const mp_grouped_gemm *g, const mp_piece *piece, const mp_device_operand *a,
                     const char *entry, CUdeviceptr results, int first, mp_error *err) {
    const mp_row_block *begin = &g->blocks[piece->begin];
    const CUdeviceptr rows = scratch(g, MP_SCRATCH_ROWS) + (size_t)begin->row * sizeof(int64_t);
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

CUdeviceptr mp_grouped_gemm_sums(const mp_grouped_gemm *g, int which) {
    return scratch(g, MP_SCRATCH_RESULTS) +
           (size_t)which * (size_t)(g->results * g->limits.rows * g->limits.columns) * sizeof(double);
}

mp_status mp_grouped_gemm_sum_to(const mp_grouped_gemm *g, const mp_piece *piece, int which, mp_error *err) {
    static const char *const of_radius[MP_GEMM_RADII] = {"gemm_absolute", "gemm_absolute", "gemm_squares"};
    const mp_driver *driver = g->o->cuda->driver;
    const CUdeviceptr results = mp_grouped_gemm_sums(g, which);
    const size_t bytes = (size_t)(g->results * piece->rows * piece->n) * sizeof(double);
    mp_status status = MP_OK;
    MP_CU(cuMemsetD8Async(results, 0xFF, bytes, g->o->stream));
    MP_DO(decode_weights(g, piece, err));
    MP_DO(sum(g, piece, &g->a, g->with_mass ? "gemm_values_and_masses" : "gemm_values", results, 0, err));
    for (int i = 0; i < MP_GEMM_RADII; i++)
        if (g->radius[i].codes)
            MP_DO(sum(g, piece, &g->of_radius[i], of_radius[i], results, g->radius_at[i], err));
out:
    return status;
}

mp_status mp_grouped_gemm_sum(const mp_grouped_gemm *g, const mp_piece *piece, mp_error *err) {
    return mp_grouped_gemm_sum_to(g, piece, 0, err);
}
