/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/confirm.h"

#include "offload/rows.h"

#include <stdlib.h>
#include <string.h>

mp_u64 mp_confirmed_digest(const mp_tensor *tensor, int64_t row) {
    const int64_t n = mp_tensor_row_length(tensor);
    mp_u64 digest = 0;
    for (int64_t j = 0; j < n; j++)
        digest +=
            mp_digest_of_word((unsigned)mp_code_at(tensor->dtype, tensor->data, row * n + j), (mp_u64)j);
    return digest;
}

size_t mp_confirmation_landing(const mp_confirmation *c) {
    return (size_t)(c->rows + MP_CANARIES) * sizeof(mp_confirmed_row);
}

size_t mp_confirmation_bytes(const mp_offload *o, const mp_confirmation *c, const mp_epilogue *e,
                             int64_t slots) {
    return mp_offload_upload_bytes(o, c->got) + (e->bias ? mp_offload_upload_bytes(o, e->bias) : 0) +
           (size_t)slots * sizeof(mp_screened_row) + MP_LANDINGS * mp_confirmation_landing(c) +
           MP_CANARIES * (sizeof(mp_screened_row) + mp_tensor_row_bytes(c->got));
}

/* Copies of rows with one code that is another, and their places, into MP_SCRATCH_CANARIES: the places, and
 * behind them the codes. */
static mp_status make_canaries(mp_offload *o, mp_confirmation *c, const mp_gemm_tasks *tasks,
                               const mp_row_block *blocks, int64_t count, const mp_epilogue *e,
                               const int64_t *out_row, mp_error *err) {
    const size_t row_bytes = mp_tensor_row_bytes(c->got), place_bytes = MP_CANARIES * sizeof(mp_screened_row),
                 bytes = place_bytes + MP_CANARIES * row_bytes;
    mp_device_buffer *buffer = &o->scratch[MP_SCRATCH_CANARIES];
    char *memory = calloc(1, bytes);
    if (!memory) return mp_fail(err, MP_EMEMORY, "no memory for %d rows", MP_CANARIES);
    mp_screened_row *place = (mp_screened_row *)(void *)memory;
    mp_tensor codes = *c->got;
    codes.data = memory + place_bytes;
    for (int64_t i = 0; i < count && blocks[i].row < c->first_rows; i++)
        for (int64_t r = 0; r < blocks[i].count && c->canaries < MP_CANARIES; r++) {
            const int64_t slot = tasks->order[blocks[i].first + r], row = out_row ? out_row[slot] : slot;
            const int k = c->canaries;
            if (row < 0 || blocks[i].row + r >= c->first_rows) continue;
            const int64_t at =
                k * c->params.rows.width + (int64_t)(mp_bits((mp_u64)row, 0) % (mp_u64)c->params.rows.width);
            memcpy(memory + place_bytes + (size_t)k * row_bytes, mp_tensor_row(c->got, row), row_bytes);
            mp_put_code(codes.dtype, codes.data, at, mp_code_at(codes.dtype, codes.data, at) ^ 1);
            place[k] = (mp_screened_row){
                .got = k, .expert = blocks[i].expert, .weight = e->weights ? (double)e->weights[slot] : 0};
            c->canary[k] = blocks[i].row + r;
            c->canary_digest[k] = mp_confirmed_digest(&codes, k);
            c->canaries++;
        }
    mp_status status = mp_offload_reserve(o, buffer, bytes, err);
    if (status == MP_OK) status = mp_offload_copy_in(o, buffer->at, memory, bytes, err);
    free(memory);
    return status;
}

mp_status mp_confirmation_begin(mp_offload *o, mp_confirmation *c, const mp_gemm_tasks *tasks,
                                const mp_row_block *blocks, int64_t count, const mp_epilogue *e,
                                const int64_t *out_row, mp_error *err) {
    const mp_row_block *last = &blocks[count - 1];
    const int64_t slots = last->row + last->count;
    mp_status status = MP_OK;
    c->row = calloc((size_t)slots, sizeof *c->row);
    if (!c->row)
        return mp_fail(err, MP_EMEMORY, "no memory for what is equal of %lld rows", (long long)slots);
    MP_DO(mp_offload_bring_gemm(o, c->got, e, &c->params.rows, err));
    MP_DO(mp_offload_stored_rows(o, tasks, blocks, count, e, out_row, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_FIGURES], MP_LANDINGS * mp_confirmation_landing(c),
                             err));
    MP_DO(make_canaries(o, c, tasks, blocks, count, e, out_row, err));
out:
    return status;
}

void mp_confirmation_end(mp_confirmation *c) {
    free(c->row);
    c->row = NULL;
}

/* Of rows whose sums lie one behind the other. */
static mp_status compare(mp_offload *o, mp_confirm_params *params, mp_error *err) {
    return mp_offload_launch(o, "offload/device/confirm.cu", "confirm_gemm",
                             mp_blocks_in_turn(params->rows.count), MP_CONFIRM_THREADS, params, err);
}

mp_status mp_confirm_piece(mp_offload *o, const mp_confirmation *c, CUdeviceptr sums, int64_t first,
                           int64_t rows, int landing, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    const CUdeviceptr to = o->scratch[MP_SCRATCH_FIGURES].at + (size_t)landing * mp_confirmation_landing(c),
                      canaries = o->scratch[MP_SCRATCH_CANARIES].at;
    mp_confirm_params params = c->params, again = c->params;
    mp_status status = MP_OK;
    params.sums = sums;
    params.rows.count = rows;
    params.rows.row = o->scratch[MP_SCRATCH_SCREENED_ROWS].at + (size_t)first * sizeof(mp_screened_row);
    params.confirmed = to;
    MP_CU(cuMemsetD8Async(to, 0xFF, mp_confirmation_landing(c), o->stream));
    MP_DO(compare(o, &params, err));
    for (int k = 0; k < c->canaries && first == 0; k++) {
        again.sums = sums + (size_t)(c->canary[k] * c->params.rows.width) * sizeof(float);
        again.rows.count = 1;
        again.rows.row = canaries + (size_t)k * sizeof(mp_screened_row);
        again.rows.got = canaries + MP_CANARIES * sizeof(mp_screened_row);
        again.confirmed = to + (size_t)(c->rows + k) * sizeof(mp_confirmed_row);
        MP_DO(compare(o, &again, err));
    }
    MP_CU(cuMemcpyDtoHAsync_v2(o->landing[landing], to, mp_confirmation_landing(c), o->stream));
out:
    return status;
}

mp_status mp_confirmed_piece(const mp_offload *o, mp_confirmation *c, int64_t first, int64_t rows,
                             int landing, mp_error *err) {
    const mp_confirmed_row *landed = o->landing[landing];
    mp_confirmed_row *to = c->row + first;
    memcpy(to, landed, (size_t)rows * sizeof *to);
    for (int64_t i = 0; i < rows; i++)
        if (to[i].equal != c->params.rows.width || to[i].predicted != to[i].got) c->differs = true;
    for (int k = 0; k < c->canaries && first == 0 && !c->differs; k++) {
        const mp_confirmed_row *found = &landed[c->rows + k], *right = &c->row[c->canary[k]];
        if (found->equal != c->params.rows.width - 1 || found->predicted != right->predicted ||
            found->got != c->canary_digest[k])
            return mp_fail(
                err, MP_EDEVICE, "bits looked at on %s: with one code that is another %lld of %lld are equal",
                mp_cuda_device_name(o->cuda), (long long)found->equal, (long long)c->params.rows.width);
    }
    return MP_OK;
}
