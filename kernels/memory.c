/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory as a space: buffers between guard zones. */
#include "kernels/device/params.h"
#include "kernels/handle.h"

#include <stdint.h>

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

static mp_status device_alloc(void *self, size_t bytes, uint32_t poison, void **data, mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUdeviceptr base = 0;
    char zone[MP_GUARD_BYTES];
    *data = NULL;
    mp_fill_pattern(zone, sizeof zone, MP_GUARD_PATTERN);
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_CU(cuMemAlloc_v2(&base, bytes + 2 * MP_GUARD_BYTES));
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

/* An order-independent digest, computed on the device. */
static mp_status device_digest(void *self, const void *data, size_t bytes, uint64_t *digest, mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUfunction function = NULL;
    CUdeviceptr d_digest = 0;
    const mp_kernel kernel = mp_kernel_tool("digest", MP_BF16);
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    MP_CU(cuMemAlloc_v2(&d_digest, sizeof *digest));
    MP_CU(cuMemsetD8Async(d_digest, 0, sizeof *digest, NULL));
    mp_tool_params params = {.data = address(data), .digest = d_digest, .count = (long long)bytes};
    MP_DO(mp_cuda_launch(cuda, function, 8 * (int64_t)cuda->multiprocessors, 256, 0, &params, err));
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
