/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the judge on the device. */
#include "offload/handle.h"

static void drop(mp_offload *o, mp_device_buffer *buffer) {
    if (buffer->bytes > 0) o->cuda->driver->cuMemFree_v2(buffer->at); /* waits for what is under way */
    *buffer = (mp_device_buffer){0};
}

mp_status mp_offload_reserve(mp_offload *o, mp_device_buffer *buffer, size_t bytes, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    mp_status status = MP_OK;
    if (bytes <= buffer->bytes) return MP_OK;
    drop(o, buffer);
    MP_CU(cuMemAlloc_v2(&buffer->at, bytes));
    buffer->bytes = bytes;
out:
    return status;
}

void mp_offload_drop(mp_offload *o) {
    o->cuda->driver->cuCtxSetCurrent(o->cuda->context);
    for (int i = 0; i < MP_TENSOR_COUNT; i++) drop(o, &o->kept[i]);
    for (int i = 0; i < MP_SCRATCH_COUNT; i++) drop(o, &o->scratch[i]);
}

void mp_offload_rest(mp_offload *o) {
    if (!o) return;
    mp_offload_drop(o);
    o->loans = 0;
}

void mp_offload_lend(mp_offload *o, const mp_tensor *host, const void *on_device) {
    if (!o || o->loans == MP_LOANS) return; /* nobody has so many tensors; what is not known is uploaded */
    o->loan[o->loans++] = (mp_loan){host->data, mp_tensor_bytes(host), (CUdeviceptr)(uintptr_t)on_device};
}

CUdeviceptr mp_offload_lent(const mp_offload *o, const mp_tensor *tensor) {
    enum { ALIGNMENT = 16 }; /* kernels load so many bytes at once */
    const uintptr_t begin = (uintptr_t)tensor->data, end = begin + mp_tensor_bytes(tensor);
    for (const mp_loan *l = o->loan; l < o->loan + o->loans; l++) {
        const uintptr_t first = (uintptr_t)l->host;
        const CUdeviceptr at = l->at + (begin - first);
        if (begin >= first && end <= first + l->bytes && end > begin) return at % ALIGNMENT == 0 ? at : 0;
    }
    return 0;
}

mp_status mp_offload_budget(mp_offload *o, size_t *bytes, mp_error *err) {
    size_t free_bytes = 0, reserve = 0;
    const mp_status status = mp_cuda_memory(o->cuda, &free_bytes, &reserve, err);
    for (int i = 0; i < MP_TENSOR_COUNT; i++) free_bytes += o->kept[i].bytes;
    for (int i = 0; i < MP_SCRATCH_COUNT; i++) free_bytes += o->scratch[i].bytes;
    *bytes = free_bytes > reserve ? (free_bytes - reserve) / (size_t)o->share : 0;
    return status;
}

#define LEAST_LANDING_BYTES ((size_t)16 << 20)

mp_status mp_offload_make_landings(mp_offload *o, size_t bytes, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    mp_status status = MP_OK;
    if (bytes <= o->landing_bytes) return MP_OK;
    size_t rounded = LEAST_LANDING_BYTES; /* it is slow to make, and grows seldom */
    while (rounded < bytes) rounded *= 2;
    o->landing_bytes = 0;
    for (int i = 0; i < MP_LANDINGS; i++) {
        if (o->landing[i]) driver->cuMemFreeHost(o->landing[i]);
        o->landing[i] = NULL;
        MP_CU(cuMemHostAlloc(&o->landing[i], rounded, 0));
    }
    o->landing_bytes = rounded;
out:
    return status;
}

mp_status mp_offload_copy_in(mp_offload *o, CUdeviceptr to, const void *from, size_t bytes, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    mp_status status = MP_OK;
    enum { SMALL = 64 << 10 }; /* which the driver copies aside itself */
    if (bytes <= SMALL) {
        if (bytes > 0) MP_CU(cuMemcpyHtoDAsync_v2(to, from, bytes, o->stream));
        return MP_OK;
    }
    MP_CU(cuStreamSynchronize(o->stream)); /* for who reads what was there */
    MP_DO(mp_transfer_up(o->cuda, to, from, bytes, err));
    MP_CU(
        cuStreamSynchronize(NULL)); /* a copy of memory that is not pinned may return before it has arrived */
out:
    return status;
}

/* The id of the case's input that has this memory; MP_TENSOR_COUNT: it is none. */
static int input_of(const mp_offload *o, const mp_tensor *tensor) {
    int id = 0;
    while (id < MP_TENSOR_COUNT && !(o->in && o->in->t[id].data == tensor->data &&
                                     mp_tensor_bytes(&o->in->t[id]) == mp_tensor_bytes(tensor)))
        id++;
    return id;
}

size_t mp_offload_upload_bytes(const mp_offload *o, const mp_tensor *tensor) {
    const int id = input_of(o, tensor);
    if (mp_offload_lent(o, tensor)) return 0;
    return id < MP_TENSOR_COUNT && o->kept[id].bytes > 0 ? 0 : mp_tensor_bytes(tensor);
}

mp_status mp_offload_upload(mp_offload *o, const mp_tensor *tensor, mp_scratch scratch, CUdeviceptr *at,
                            mp_error *err) {
    if ((*at = mp_offload_lent(o, tensor))) return MP_OK;
    const int id = input_of(o, tensor);
    const bool keeps = id < MP_TENSOR_COUNT, there = keeps && o->kept[id].bytes > 0;
    mp_device_buffer *buffer = keeps ? &o->kept[id] : &o->scratch[scratch];
    if (!there) mp_tensor_make_rows(tensor, NULL, mp_tensor_rows(tensor));
    mp_status status = there ? MP_OK : mp_offload_reserve(o, buffer, mp_tensor_bytes(tensor), err);
    if (status == MP_OK && !there)
        status = mp_offload_copy_in(o, buffer->at, tensor->data, mp_tensor_bytes(tensor), err);
    if (status != MP_OK && !there) drop(o, buffer); /* what was not uploaded is not kept */
    *at = buffer->at;
    return status;
}
