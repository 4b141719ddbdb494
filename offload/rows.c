/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/rows.h"

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
