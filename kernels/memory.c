/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory as a space: buffers between guard zones. */
#define XXH_INLINE_ALL
#include "kernels/device/params.h"
#include "kernels/handle.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static CUdeviceptr address(const void *data) {
    return (CUdeviceptr)(uintptr_t)data;
}

/* Whole words by the driver; what is left of a last one as bytes from the host, at any alignment. */
static mp_status fill(mp_cuda *cuda, CUdeviceptr to, size_t bytes, uint32_t pattern, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    const size_t words = bytes / 4;
    if (words) MP_CU(cuMemsetD32Async(to, pattern, words, NULL));
    if (bytes % 4)
        MP_CU(cuMemcpyHtoD_v2(to + 4 * words, &pattern, bytes % 4)); /* little-endian: its first bytes */
out:
    return status;
}

/* The driver packs allocations smaller than a block into one, which another process would see as a whole. */
static size_t allocation_bytes(const mp_cuda *cuda, size_t bytes) {
    const size_t all = bytes + 2 * MP_GUARD_BYTES, block = MP_CUDA_BLOCK_BYTES;
    return cuda->shared ? (all + block - 1) / block * block : all;
}

static mp_status device_alloc(void *self, size_t bytes, uint32_t poison, void **data, mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUdeviceptr base = 0;
    char zone[MP_GUARD_BYTES];
    *data = NULL;
    mp_fill_pattern(zone, sizeof zone, MP_GUARD_PATTERN);
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_CU(cuMemAlloc_v2(&base, allocation_bytes(cuda, bytes)));
    MP_CU(cuMemcpyHtoD_v2(base, zone, sizeof zone));
    MP_DO(fill(cuda, base + MP_GUARD_BYTES, bytes, poison, err));
    MP_CU(cuMemcpyHtoD_v2(base + MP_GUARD_BYTES + bytes, zone, sizeof zone));
    *data = (void *)(uintptr_t)(base + MP_GUARD_BYTES);
    base = 0;
out:
    if (base) driver->cuMemFree_v2(base);
    return status;
}

static void device_free(void *self, void *data) {
    mp_cuda *cuda = self;
    if (!data) return;
    cuda->driver->cuMemFree_v2(address(data) - MP_GUARD_BYTES);
}

static mp_status device_write(void *self, void *to, const void *from, size_t bytes, mp_error *err) {
    const mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    if (bytes) MP_CU(cuMemcpyHtoD_v2(address(to), from, bytes));
out:
    return status;
}

static mp_status device_read(void *self, void *to, const void *from, size_t bytes, mp_error *err) {
    const mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    if (bytes) MP_CU(cuMemcpyDtoH_v2(to, address(from), bytes));
out:
    return status;
}

static mp_status device_guards(void *self, const void *data, size_t bytes, bool *intact, int64_t *offset,
                               mp_error *err) {
    const mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    char front[MP_GUARD_BYTES], back[MP_GUARD_BYTES];
    *intact = true;
    MP_CU(cuMemcpyDtoH_v2(front, address(data) - MP_GUARD_BYTES, sizeof front));
    MP_CU(cuMemcpyDtoH_v2(back, address(data) + bytes, sizeof back));
    const int64_t before = mp_guard_first_changed(front), behind = mp_guard_first_changed(back);
    *intact = before < 0 && behind < 0;
    if (!*intact) *offset = before >= 0 ? before - MP_GUARD_BYTES : (int64_t)bytes + behind;
out:
    return status;
}

/* The same purpose by copies to the host. */
static mp_status host_digest(mp_cuda *cuda, const void *data, size_t bytes, uint64_t *digest, mp_error *err) {
    enum { PIECE = 16 << 20 };
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    XXH3_state_t state; /* on the stack: its header promises the alignment */
    char *piece = malloc(PIECE);
    if (!piece) return mp_fail(err, MP_EMEMORY, "no memory for a digest");
    XXH3_64bits_reset(&state);
    for (size_t i = 0; i < bytes; i += PIECE) {
        const size_t count = bytes - i < PIECE ? bytes - i : PIECE;
        MP_CU(cuMemcpyDtoH_v2(piece, address(data) + i, count));
        XXH3_64bits_update(&state, piece, count);
    }
    *digest = XXH3_64bits_digest(&state);
out:
    free(piece);
    return status;
}

/* An order-independent digest, computed on the device where it can be. */
static mp_status device_digest(void *self, const void *data, size_t bytes, uint64_t *digest, mp_error *err) {
    mp_cuda *cuda = self;
    if (!cuda->can_compile) return host_digest(cuda, data, bytes, digest, err);
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUfunction function = NULL;
    CUdeviceptr d_digest = 0;
    const mp_kernel kernel = mp_kernel_tool("digest", MP_BF16);
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    MP_CU(cuMemAlloc_v2(&d_digest, sizeof *digest));
    MP_CU(cuMemsetD8Async(d_digest, 0, sizeof *digest, NULL));
    mp_tool_params params = {.data = address(data), .digest = d_digest, .count = (long long)bytes};
    MP_DO(mp_cuda_launch(cuda, NULL, function, 8 * (int64_t)cuda->multiprocessors, 256, 0, &params, err));
    MP_CU(cuMemcpyDtoH_v2(digest, d_digest, sizeof *digest));
out:
    if (d_digest) driver->cuMemFree_v2(d_digest);
    return status;
}

void mp_cuda_make_space(mp_cuda *cuda) {
    cuda->space = (mp_space){.name = "device buffer ",
                             .self = cuda,
                             .alloc = device_alloc,
                             .free = device_free,
                             .write = device_write,
                             .read = device_read,
                             .guards = device_guards,
                             .digest = device_digest};
}

const mp_space *mp_cuda_space(mp_cuda *cuda) {
    return &cuda->space;
}

mp_status mp_cuda_share(mp_cuda *cuda, const void *data, mp_cuda_handle *handle, size_t *offset,
                        mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUipcMemHandle shared;
    _Static_assert(sizeof shared == sizeof handle->bytes, "a handle is its bytes");
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_CU(cuIpcGetMemHandle(&shared, address(data) - MP_GUARD_BYTES));
    memcpy(handle->bytes, &shared, sizeof shared);
    *offset = MP_GUARD_BYTES;
out:
    return status;
}

/* Machine code of a few modules: 64 MiB are plenty. */
#define CODE_RESERVE ((size_t)64 << 20)
#define RESIDENT_THREADS 2048 /* of a multiprocessor, at most */

mp_status mp_cuda_synchronize(mp_cuda *cuda, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_CU(cuCtxSynchronize());
out:
    return status;
}

mp_status mp_cuda_memory(mp_cuda *cuda, size_t *free_bytes, size_t *reserve_bytes, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    size_t total = 0;
    *reserve_bytes = CODE_RESERVE + (size_t)cuda->multiprocessors * RESIDENT_THREADS * MP_STACK_BYTES_MAX;
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_CU(cuMemGetInfo_v2(free_bytes, &total));
out:
    return status;
}
