/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/rows.h"

#include <stdlib.h>

bool mp_offload_reads_rows_of(const mp_tensor *t) {
    return !t || !t->data || mp_is_stored_float(t->dtype);
}

mp_status mp_offload_bring(mp_offload *o, const mp_tensor *tensor, mp_scratch scratch, CUdeviceptr *at,
                           mp_error *err) {
    *at = 0;
    return tensor && tensor->data ? mp_offload_upload(o, tensor, scratch, at, err) : MP_OK;
}

mp_status mp_offload_bring_bytes(mp_offload *o, const void *data, int64_t bytes, mp_scratch scratch,
                                 CUdeviceptr *at, mp_error *err) {
    mp_tensor t = mp_tensor_shape(MP_U8, 1, bytes, 1, 1);
    t.data = (void *)(uintptr_t)data; /* which nobody writes to */
    return mp_offload_bring(o, &t, scratch, at, err);
}

mp_status mp_offload_bring_gemm(mp_offload *o, const mp_tensor *got, const mp_epilogue *epilogue,
                                mp_gemm_rows *rows, mp_error *err) {
    mp_status status = MP_OK;
    *rows = (mp_gemm_rows){.got_format = mp_describe_format(got->dtype),
                           .width = mp_tensor_row_length(got),
                           .weighs = epilogue->weights != NULL};
    if (epilogue->bias) rows->bias_format = mp_describe_format(epilogue->bias->dtype);
    MP_DO(mp_offload_bring(o, got, MP_SCRATCH_GOT, &rows->got, err));
    MP_DO(mp_offload_bring(o, epilogue->bias, MP_SCRATCH_BIAS, &rows->bias, err));
out:
    return status;
}

mp_status mp_offload_bring_act(mp_offload *o, const mp_act_slots *s, mp_act_rows *rows, mp_error *err) {
    const int64_t N = mp_tensor_row_length(s->got);
    mp_status status = MP_OK;
    *rows = (mp_act_rows){.cache1_format = mp_describe_format(s->cache1->dtype),
                          .got_format = mp_describe_format(s->got->dtype),
                          .slots = s->slots,
                          .N = N,
                          .width = mp_tensor_row_length(s->cache1),
                          .step = s->interleaved ? 2 : 1,
                          .up = s->interleaved ? 1 : N,
                          .rounds_gate = s->rounds_gate};
    MP_DO(mp_offload_bring(o, s->cache1, MP_SCRATCH_A, &rows->cache1, err));
    MP_DO(mp_offload_bring(o, s->got, MP_SCRATCH_GOT, &rows->got, err));
    MP_DO(mp_offload_bring_bytes(o, s->topk_ids, s->slots * 4, MP_SCRATCH_INPUT, &rows->topk_ids, err));
    MP_DO(mp_offload_bring_bytes(o, s->row, s->slots * 8, MP_SCRATCH_ROWS, &rows->row, err));
out:
    return status;
}

mp_status mp_offload_bring_quant(mp_offload *o, const mp_quant_pass *p, mp_quant_rows *rows, mp_error *err) {
    int64_t *row = NULL;
    mp_status status = mp_quant_places(p, &row, err);
    *rows = (mp_quant_rows){.from_format = mp_describe_format(p->from->dtype),
                            .code_format = mp_describe_format(p->codes->dtype),
                            .count = p->rows,
                            .width = mp_tensor_row_length(p->from),
                            .group = p->group,
                            .groups = mp_quant_groups(p)};
    MP_DO(status);
    MP_DO(mp_offload_bring(o, p->from, MP_SCRATCH_A, &rows->from, err));
    MP_DO(mp_offload_bring(o, p->codes, MP_SCRATCH_GOT, &rows->codes, err));
    MP_DO(mp_offload_bring_bytes(o, row, p->rows * 8, MP_SCRATCH_ROWS, &rows->row, err));
out:
    free(row);
    return status;
}

mp_status mp_offload_bring_combine(mp_offload *o, const mp_combine_terms *t, const mp_tensor *got,
                                   mp_combine_rows *rows, mp_error *err) {
    const mp_tensor *terms = t->cache3, *shared = t->shared_output;
    const int64_t tokens = terms->dim[0], bytes = tokens * terms->dim[1] * 4; /* of weights or ids */
    mp_status status = MP_OK;
    *rows = (mp_combine_rows){.terms_format = mp_describe_format(terms->dtype),
                              .got_format = mp_describe_format(got->dtype),
                              .tokens = tokens,
                              .topk = terms->dim[1],
                              .K = terms->dim[2]};
    if (shared && shared->data) rows->shared_format = mp_describe_format(shared->dtype);
    MP_DO(mp_offload_bring(o, terms, MP_SCRATCH_A, &rows->terms, err));
    MP_DO(mp_offload_bring(o, got, MP_SCRATCH_GOT, &rows->got, err));
    MP_DO(mp_offload_bring_bytes(o, t->weights, bytes, MP_SCRATCH_INPUT, &rows->weights, err));
    MP_DO(mp_offload_bring_bytes(o, t->topk_ids, bytes, MP_SCRATCH_INPUT + 1, &rows->topk_ids, err));
    MP_DO(mp_offload_bring(o, shared, MP_SCRATCH_INPUT + 2, &rows->shared, err));
out:
    return status;
}

mp_status mp_offload_begin_rows(mp_offload *o, mp_told_rows *told, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    const size_t bytes = (size_t)told->rows * told->row_bytes;
    mp_status status = MP_OK;
    MP_CU(cuCtxSetCurrent(o->cuda->context));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_FIGURES], bytes, err));
    told->at = o->scratch[MP_SCRATCH_FIGURES].at;
    MP_CU(cuMemsetD8Async(told->at, 0xFF, bytes, o->stream));
out:
    return status;
}

mp_status mp_offload_run_rows(mp_offload *o, const mp_told_rows *told, const char *source, const char *entry,
                              int threads, void *params, void *to, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    mp_status status =
        mp_offload_launch(o, source, entry, mp_blocks_in_turn(told->rows), threads, params, err);
    if (status != MP_OK) goto out;
    MP_CU(cuMemcpyDtoHAsync_v2(to, told->at, (size_t)told->rows * told->row_bytes, o->stream));
    MP_CU(cuStreamSynchronize(o->stream));
out:
    return status;
}
