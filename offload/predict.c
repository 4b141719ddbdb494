/* SPDX-License-Identifier: Apache-2.0 */
/* The prediction of a grouped GEMM on the device: its float32 sums are made there, piece by piece, and
 * land in pinned memory of the host; while the device works on the next piece all cores take this one
 * through the epilogue. Or they stay, and what lands is whether something stored has their bits. */
#include "offload/confirm.h"
#include "offload/cross_check.h"
#include "offload/handle.h"
#include "offload/pieces.h"
#include "offload/sums.h"
#include "offload/device/sums_params.h"

#include <stdlib.h>

enum { PIECE_BYTES = 64 << 20 }; /* of sums, at most, but for a block's */

typedef struct prediction {
    mp_offload *o;
    const mp_gemm_problem *scaled; /* the problem with its scales */
    mp_multiplied multiplied;
    mp_sums sums;
    const mp_epilogue *epilogue;
    const int64_t *out_row;
    const mp_tensor *out;
    mp_gemm_tasks tasks;
    mp_row_block *blocks; /* of all slots in a task, experts ascending; a position is a slot's row in them */
    int64_t count, positions, n;
    mp_piece_limits limits;
    mp_confirmation confirmation; /* of `out`, where that is not predicted but looked at */
} prediction;

static CUdeviceptr scratch(const prediction *p, int which) {
    return p->o->scratch[which].at;
}

/* Slots by expert, and how many make a piece. */
static mp_status order_slots(prediction *p, mp_error *err) {
    mp_status status = mp_gemm_tasks_create(&p->multiplied.plain, &p->tasks, err);
    if (status == MP_OK) status = mp_row_blocks(&p->tasks, &p->blocks, &p->count, err);
    if (status != MP_OK || p->count == 0) return status;
    const mp_row_block *last = &p->blocks[p->count - 1];
    const int64_t fit = PIECE_BYTES / (int64_t)sizeof(float) / p->n;
    p->positions = last->row + last->count;
    p->limits = (mp_piece_limits){.rows = fit < p->positions ? fit : p->positions,
                                  .matrices = p->multiplied.plain.w.codes->dim[0],
                                  .columns = p->n};
    if (p->limits.rows < MP_SUMS_ROWS) p->limits.rows = MP_SUMS_ROWS;
    p->limits.result_bytes = (size_t)(p->limits.rows * p->n) * sizeof(float);
    mp_piece first = {0};
    mp_next_piece(p->blocks, p->count, p->n, &p->limits, &first);
    p->confirmation.rows = p->limits.rows;
    p->confirmation.first_rows = first.rows;
    return MP_OK;
}

/* All scales of an operand as float32, [rows, scales], into a buffer of the device. */
static mp_status upload_scales(const prediction *p, const mp_operand *operand, int which, mp_error *err) {
    const int64_t rows = mp_tensor_rows(operand->codes), scales = p->sums.scales;
    const size_t bytes = (size_t)(rows * scales) * sizeof(float);
    mp_device_buffer *buffer = &p->o->scratch[which];
    float *all = malloc(bytes);
    if (!all) return mp_fail(err, MP_EMEMORY, "no memory for %lld scales", (long long)(rows * scales));
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < scales; s++)
            all[r * scales + s] =
                (float)mp_operand_scale(operand, mp_operand_scale_row(operand, r), s * p->sums.scale_terms);
    mp_status status = mp_offload_reserve(p->o, buffer, bytes, err);
    if (status == MP_OK) status = mp_offload_copy_in(p->o, buffer->at, all, bytes, err);
    free(all);
    return status;
}

/* Rows of a by position, and tiles. */
static mp_status upload_order(const prediction *p, mp_error *err) {
    mp_offload *o = p->o;
    const size_t row_bytes = (size_t)p->positions * sizeof(int64_t),
                 tile_bytes = (size_t)p->count * sizeof(mp_sums_tile);
    int64_t *row = malloc(row_bytes);
    mp_sums_tile *tile = malloc(tile_bytes);
    mp_status status = MP_OK;
    if (!row || !tile) {
        status = mp_fail(err, MP_EMEMORY, "no memory for the order of %lld slots", (long long)p->positions);
        goto out;
    }
    for (int64_t i = 0; i < p->count; i++) {
        const mp_row_block *b = &p->blocks[i];
        tile[i] = (mp_sums_tile){.first = b->row, .expert = (int)b->expert, .count = (int)b->count};
        for (int64_t r = 0; r < b->count; r++)
            row[b->row + r] = p->multiplied.plain.a_row[p->tasks.order[b->first + r]];
    }
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_ROWS], row_bytes, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_TILES], tile_bytes, err));
    MP_DO(mp_offload_copy_in(o, scratch(p, MP_SCRATCH_ROWS), row, row_bytes, err));
    MP_DO(mp_offload_copy_in(o, scratch(p, MP_SCRATCH_TILES), tile, tile_bytes, err));
out:
    free(row);
    free(tile);
    return status;
}

/* What the device must hold that it does not hold yet. */
static size_t needed_bytes(const prediction *p) {
    const mp_gemm_problem *plain = &p->multiplied.plain;
    const int64_t scaled_rows = mp_tensor_rows(plain->a.codes) + mp_tensor_rows(plain->w.codes);
    return mp_offload_upload_bytes(p->o, plain->a.codes) + mp_offload_upload_bytes(p->o, plain->w.codes) +
           (size_t)(scaled_rows * p->sums.scales) * sizeof(float) + (size_t)p->positions * sizeof(int64_t) +
           (size_t)p->count * sizeof(mp_sums_tile) + MP_LANDINGS * p->limits.result_bytes +
           (p->confirmation.got ? mp_confirmation_bytes(p->o, &p->confirmation, p->epilogue, p->positions)
                                : 0);
}

static mp_status prepare(prediction *p, mp_sums_params *params, mp_error *err) {
    mp_offload *o = p->o;
    const mp_tensor *a = p->multiplied.plain.a.codes, *w = p->multiplied.plain.w.codes;
    mp_status status = MP_OK;
    size_t budget = 0;
    MP_DO(mp_offload_budget(o, &budget, err));
    if (needed_bytes(p) > budget) {
        status =
            mp_fail(err, MP_EUNSUPPORTED, "%zu bytes for a prediction on the device, it has room for %zu",
                    needed_bytes(p), budget);
        goto out;
    }
    *params = (mp_sums_params){
        .K = w->dim[2], .n = p->n, .part_terms = p->sums.part_terms, .scales = p->sums.scales};
    MP_DO(mp_offload_make_landings(
        o, p->confirmation.got ? mp_confirmation_landing(&p->confirmation) : p->limits.result_bytes, err));
    MP_DO(mp_offload_upload(o, w, MP_SCRATCH_W, &params->w, err));
    MP_DO(mp_offload_upload(o, a, MP_SCRATCH_A, &params->a, err));
    if (p->sums.scales > 0) {
        MP_DO(upload_scales(p, &p->scaled->a, MP_SCRATCH_A + 1, err));
        MP_DO(upload_scales(p, &p->scaled->w, MP_SCRATCH_W + 1, err));
        params->a_scale = scratch(p, MP_SCRATCH_A + 1);
        params->w_scale = scratch(p, MP_SCRATCH_W + 1);
    }
    MP_DO(upload_order(p, err));
    if (p->confirmation.got)
        MP_DO(mp_confirmation_begin(o, &p->confirmation, &p->tasks, p->blocks, p->count, p->epilogue,
                                    p->out_row, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_RESULTS], MP_LANDINGS * p->limits.result_bytes, err));
    params->a_row = scratch(p, MP_SCRATCH_ROWS);
out:
    return status;
}

static int64_t first_position(const prediction *p, const mp_piece *piece) {
    return p->blocks[piece->begin].row;
}

/* Begins the piece's sums, and their way to a landing or to what they are compared with. */
static mp_status begin_piece(const prediction *p, const mp_piece *piece, int landing, mp_sums_params *params,
                             mp_error *err) {
    mp_offload *o = p->o;
    const mp_driver *driver = o->cuda->driver;
    mp_status status = MP_OK;
    const int64_t count = piece->rows * p->n,
                  blocks = (piece->end - piece->begin) * ((p->n + MP_SUMS_COLUMNS - 1) / MP_SUMS_COLUMNS);
    const mp_kernel *kernels[] = {&p->sums.kernel, &p->sums.redo};
    const CUdeviceptr sums = scratch(p, MP_SCRATCH_RESULTS) + (size_t)landing * p->limits.result_bytes;
    params->tile = scratch(p, MP_SCRATCH_TILES) + (size_t)piece->begin * sizeof(mp_sums_tile);
    params->first_position = first_position(p, piece);
    params->sums = sums;
    /* what the first kernel should not write is left to the second, and NaN where there is none */
    MP_CU(cuMemsetD32Async(sums, 0xFFFFFFFF, (size_t)count, o->stream));
    for (int i = 0; i < 2; i++)
        if (kernels[i]->source)
            MP_DO(mp_offload_launch_kernel(o, kernels[i], blocks, MP_SUMS_THREADS, params, err));
    if (p->confirmation.got)
        MP_DO(mp_confirm_piece(o, &p->confirmation, sums, params->first_position, piece->rows, landing, err));
    else
        MP_CU(cuMemcpyDtoHAsync_v2(o->landing[landing], sums, (size_t)count * sizeof(float), o->stream));
    MP_CU(cuEventRecord(o->landed[landing], o->stream));
out:
    return status;
}

/* Epilogue and store, as mp_gemm_f32. */
static mp_status finish_piece(prediction *p, const mp_piece *piece, int landing, mp_error *err) {
    const mp_driver *driver = p->o->cuda->driver;
    float *sums = p->o->landing[landing];
    mp_status status = MP_OK;
    MP_CU(cuEventSynchronize(p->o->landed[landing]));
    if (p->confirmation.got) {
        return mp_confirmed_piece(p->o, &p->confirmation, first_position(p, piece), piece->rows, landing,
                                  err);
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = piece->begin; i < piece->end; i++) {
        const mp_row_block *b = &p->blocks[i];
        for (int64_t r = 0; r < b->count; r++) {
            const int64_t slot = p->tasks.order[b->first + r], row = p->out_row ? p->out_row[slot] : slot;
            float *sum = sums + (b->row + r - first_position(p, piece)) * p->n;
            if (row < 0) continue;
            mp_epilogue_row_f32(p->epilogue, b->expert, 0, p->n, slot, sum);
            mp_encode_row_f32(p->out->dtype, p->out->data, row * p->n, p->n, sum);
        }
    }
out:
    return status;
}

static mp_status run_pieces(prediction *p, mp_sums_params *params, mp_error *err) {
    const mp_driver *driver = p->o->cuda->driver;
    mp_status status = MP_OK;
    mp_piece next = {0}, before;
    int landing = 0;
    bool more = mp_next_piece(p->blocks, p->count, p->n, &p->limits, &next);
    if (more) MP_DO(begin_piece(p, &next, landing, params, err));
    while (more) {
        before = next;
        more = mp_next_piece(p->blocks, p->count, p->n, &p->limits, &next);
        if (more) MP_DO(begin_piece(p, &next, (landing + 1) % MP_LANDINGS, params, err));
        MP_DO(finish_piece(p, &before, landing, err));
        landing = (landing + 1) % MP_LANDINGS;
        if (p->confirmation.differs) { /* the rest does not matter */
            MP_CU(cuStreamSynchronize(p->o->stream));
            break;
        }
    }
out:
    return status;
}

/* Whether the device compared the codes of a slot that the CPU predicts, and those that are stored. */
static mp_status check_digests(const prediction *p, int64_t slot, const mp_confirmed_row *found,
                               mp_u64 predicted, mp_u64 got, mp_error *err) {
    if (found->predicted == predicted && found->got == got) return MP_OK;
    return mp_fail(err, MP_EDEVICE,
                   "a GEMM looked at on %s: slot %lld, the digests of its bits are %llX and, as stored, "
                   "%llX, by the CPU %llX and %llX",
                   mp_cuda_device_name(p->o->cuda), (long long)slot, (unsigned long long)found->predicted,
                   (unsigned long long)found->got, (unsigned long long)predicted, (unsigned long long)got);
}

/* Some slots by the CPU as well: the device's bits are the definition's, or the judge has failed. */
static mp_status check_sample(const prediction *p, const mp_gemm_contract *contract, mp_error *err) {
    enum { SAMPLE = 8 };
    int64_t a_row[SAMPLE], slot[SAMPLE], position[SAMPLE], count = 0;
    int32_t ids[SAMPLE];
    float weights[SAMPLE];
    mp_tensor by_cpu = mp_tensor_shape(p->out->dtype, 2, SAMPLE, p->n, 1);
    const int64_t chosen =
        mp_cross_check_rows(p->scaled, p->blocks, p->count, (uint64_t)p->o->predicted, SAMPLE, position);
    for (int64_t i = 0; i < chosen; i++) {
        const mp_row_block *b = mp_block_of_row(p->blocks, p->count, position[i]);
        position[count] = position[i];
        slot[count] = p->tasks.order[b->first + position[i] - b->row];
        if (p->out_row && p->out_row[slot[count]] < 0) continue;
        a_row[count] = p->scaled->a_row[slot[count]];
        ids[count] = p->scaled->topk_ids[slot[count]];
        weights[count] = p->epilogue->weights ? p->epilogue->weights[slot[count]] : 0;
        count++;
    }
    mp_gemm_problem problem = *p->scaled;
    problem.a_row = a_row;
    problem.topk_ids = ids;
    problem.slots = count;
    const mp_epilogue epilogue = {.bias = p->epilogue->bias,
                                  .weights = p->epilogue->weights ? weights : NULL};
    mp_status status = mp_tensor_alloc(&by_cpu, 0, err);
    if (status == MP_OK)
        status = mp_predict_multiplied(contract, &p->multiplied, &problem, &epilogue, NULL, &by_cpu, err);
    for (int64_t i = 0; i < count && status == MP_OK; i++) {
        const int64_t row = p->out_row ? p->out_row[slot[i]] : slot[i];
        for (int64_t n = 0; n < p->n && status == MP_OK; n++) {
            const uint64_t got = mp_code_at(by_cpu.dtype, p->out->data, row * p->n + n),
                           want = mp_code_at(by_cpu.dtype, by_cpu.data, i * p->n + n);
            if (got != want)
                status = mp_fail(
                    err, MP_EDEVICE, "a GEMM %s on %s: slot %lld, column %lld is %llX, by the CPU %llX",
                    p->confirmation.got ? "found equal" : "predicted", mp_cuda_device_name(p->o->cuda),
                    (long long)slot[i], (long long)n, (unsigned long long)got, (unsigned long long)want);
        }
        if (status == MP_OK && p->confirmation.got)
            status = check_digests(p, slot[i], &p->confirmation.row[position[i]],
                                   mp_confirmed_digest(&by_cpu, i), mp_confirmed_digest(p->out, row), err);
    }
    mp_tensor_free(&by_cpu);
    return status;
}

static mp_status run(prediction *p, const mp_gemm_contract *contract, const mp_scheme *scheme, mp_dtype dtype,
                     mp_error *err) {
    const mp_driver *driver = p->o->cuda->driver;
    mp_sums_params params;
    mp_status status = MP_OK;
    p->n = p->scaled->w.codes->dim[1];
    MP_DO(mp_multiplied_create(contract, scheme, dtype, p->scaled, &p->multiplied, err));
    MP_DO(mp_sums_of(contract, &p->multiplied, &p->sums, err));
    MP_DO(order_slots(p, err));
    MP_CU(cuCtxSetCurrent(p->o->cuda->context));
    if (p->count > 0) {
        status = prepare(p, &params, err);
        if (status == MP_EMEMORY) status = MP_EUNSUPPORTED; /* others took what was free */
        if (status != MP_OK) goto out;
        MP_DO(run_pieces(p, &params, err));
    }
    if (!p->confirmation.got) mp_gemm_zero_filtered(&p->multiplied.plain, p->out_row, p->out);
    if (p->count > 0 && !p->confirmation.differs) MP_DO(check_sample(p, contract, err));
    p->o->predicted++;
out:
    free(p->blocks);
    mp_gemm_tasks_destroy(&p->tasks);
    mp_multiplied_destroy(&p->multiplied);
    mp_confirmation_end(&p->confirmation);
    return status;
}

mp_status mp_offload_predict_gemm(const mp_engine *self, const mp_gemm_contract *contract,
                                  const mp_scheme *scheme, mp_dtype dtype, const mp_gemm_problem *problem,
                                  const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                                  mp_error *err) {
    prediction p = {
        .o = self->state, .scaled = problem, .epilogue = epilogue, .out_row = out_row, .out = out};
    return run(&p, contract, scheme, dtype, err);
}

mp_status mp_offload_confirm_gemm(const mp_engine *self, const mp_gemm_contract *contract,
                                  const mp_scheme *scheme, mp_dtype dtype, const mp_gemm_problem *problem,
                                  const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *got,
                                  bool *equal, mp_error *err) {
    prediction p = {.o = self->state,
                    .scaled = problem,
                    .epilogue = epilogue,
                    .out_row = out_row,
                    .out = got,
                    .confirmation = {.got = got}};
    if (!mp_is_stored_float(got->dtype))
        return mp_fail(err, MP_EUNSUPPORTED, "a store that is not looked at on a GPU");
    const mp_status status = run(&p, contract, scheme, dtype, err);
    *equal = status == MP_OK && !p.confirmation.differs;
    return status;
}
