/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory as a space: buffers between guard zones. */
#include "base/clock.h"
#include "kernels/handle.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Words or halves of them by the driver; bytes that are left, and at odd addresses all, from the host. */
mp_status mp_fill_memory(mp_cuda *cuda, CUdeviceptr to, size_t bytes, uint32_t pattern, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    const bool halves = pattern >> 16 == (pattern & 0xFFFF), even = to % 2 == 0;
    char rest[2 * MP_GUARD_BYTES];
    size_t done = 0;
    if (mp_can_deliver(cuda, bytes)) return mp_deliver_pattern(cuda, to, bytes, pattern, err);
    if (to % 4 == 0 && bytes >= 4) {
        MP_CU(cuMemsetD32Async(to, pattern, bytes / 4, NULL));
        done = bytes / 4 * 4;
    } else if (halves && even && bytes >= 2) {
        MP_CU(cuMemsetD16Async(to, (unsigned short)pattern, bytes / 2, NULL));
        done = bytes / 2 * 2;
    }
    if (done == bytes) goto out;
    mp_fill_pattern(rest, bytes - done, pattern); /* done is a multiple of the pattern, or of its halves */
    MP_CU(cuMemcpyHtoD_v2(to + done, rest, bytes - done));
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
    *data = NULL;
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_DO(mp_pool_take(cuda, allocation_bytes(cuda, bytes), &base, err));
    MP_DO(mp_fill_memory(cuda, base, MP_GUARD_BYTES, MP_GUARD_PATTERN, err));
    MP_DO(mp_fill_memory(cuda, base + MP_GUARD_BYTES, bytes, poison, err));
    MP_DO(mp_fill_memory(cuda, base + MP_GUARD_BYTES + bytes, MP_GUARD_BYTES, MP_GUARD_PATTERN, err));
    if (cuda->shared) MP_CU(cuCtxSynchronize()); /* streams of others wait for nothing; ours do */
    *data = (void *)(uintptr_t)(base + MP_GUARD_BYTES);
    base = 0;
out:
    mp_pool_keep(cuda, base);
    return status;
}

static void device_free(void *self, void *data) {
    mp_cuda *cuda = self;
    if (!data) return;
    mp_pool_keep(cuda, mp_address_of(data) - MP_GUARD_BYTES);
}

static mp_status device_write(void *self, void *to, const void *from, size_t bytes, mp_error *err) {
    if (mp_can_deliver(self, bytes)) return mp_deliver_copy(self, mp_address_of(to), from, bytes, err);
    const mp_status status = mp_deliver(self, err);
    return status == MP_OK ? mp_transfer_up(self, mp_address_of(to), from, bytes, err) : status;
}

static mp_status device_read(void *self, void *to, const void *from, size_t bytes, mp_error *err) {
    const mp_status status = mp_deliver(self, err);
    return status == MP_OK ? mp_transfer_down(self, to, mp_address_of(from), bytes, err) : status;
}

static mp_status device_copy(void *self, void *to, const void *from, size_t bytes, mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    MP_DO(mp_deliver(cuda, err));
    if (bytes) MP_CU(cuMemcpyDtoDAsync_v2(mp_address_of(to), mp_address_of(from), bytes, NULL));
    if (cuda->shared) MP_CU(cuCtxSynchronize());
out:
    return status;
}

void mp_cuda_make_space(mp_cuda *cuda) {
    cuda->space = (mp_space){.name = "device buffer ",
                             .keeps = true,
                             .one_digest = cuda->can_compile,
                             .self = cuda,
                             .alloc = device_alloc,
                             .free = device_free,
                             .write = device_write,
                             .read = device_read,
                             .copy = device_copy,
                             .survey = mp_cuda_survey,
                             .digest_rows = cuda->can_compile ? mp_cuda_digest_rows : NULL,
                             .inspect = mp_cuda_inspect};
}

const mp_space *mp_cuda_space(mp_cuda *cuda) {
    return &cuda->space;
}

bool mp_cuda_is_space(const mp_space *space) {
    return space && space->alloc == device_alloc;
}

bool mp_cuda_is_ours_alone(const mp_space *space) {
    return mp_cuda_is_space(space) && !((const mp_cuda *)space->self)->shared;
}

mp_status mp_cuda_share(mp_cuda *cuda, const void *data, mp_cuda_handle *handle, size_t *offset,
                        mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUipcMemHandle shared;
    _Static_assert(sizeof shared == sizeof handle->bytes, "a handle is its bytes");
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_CU(cuIpcGetMemHandle(&shared, mp_address_of(data) - MP_GUARD_BYTES));
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
    MP_DO(mp_deliver(cuda, err));
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
    *free_bytes += cuda->pool.kept_bytes;
out:
    return status;
}

#define STALE_SECONDS 0.1

mp_status mp_cuda_room(mp_cuda *cuda, size_t *free_bytes, size_t *reserve_bytes, mp_error *err) {
    const double now = mp_seconds_now();
    const size_t used = cuda->pool.bytes - cuda->pool.kept_bytes;
    if (cuda->known_room.asked == 0 || now - cuda->known_room.asked > STALE_SECONDS) {
        const mp_status status = mp_cuda_memory(cuda, free_bytes, &cuda->known_room.reserve_bytes, err);
        if (status != MP_OK) return status;
        cuda->known_room.not_others = *free_bytes + used;
        cuda->known_room.asked = now;
    }
    const size_t all = cuda->known_room.not_others;
    *free_bytes = all > used ? all - used : 0;
    *reserve_bytes = cuda->known_room.reserve_bytes;
    return MP_OK;
}
