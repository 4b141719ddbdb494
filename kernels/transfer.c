/* SPDX-License-Identifier: Apache-2.0 */
/* Large tensors between host and device: through two pieces of memory that the driver has pinned, one of
 * which is copied by all threads while the other one crosses. From ordinary memory the driver does the same
 * with one thread, at a fifth of the speed. */
#include "kernels/handle.h"

#include <string.h>

#define PIECE ((size_t)16 << 20)
#define LARGE ((size_t)4 << 20) /* less is copied by the driver before threads have begun */
#define SLICE ((size_t)256 << 10)

static mp_status open_ferry(mp_cuda *cuda, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_ferry *ferry = &cuda->ferry;
    mp_status status = MP_OK;
    for (int i = 0; i < 2; i++) {
        if (!ferry->crossed[i]) MP_CU(cuEventCreate(&ferry->crossed[i], CU_EVENT_DISABLE_TIMING));
        if (!ferry->piece[i]) MP_CU(cuMemHostAlloc(&ferry->piece[i], PIECE, 0));
    }
out:
    return status;
}

void mp_ferry_close(mp_cuda *cuda) {
    for (int i = 0; i < 2; i++) {
        if (cuda->ferry.piece[i]) cuda->driver->cuMemFreeHost(cuda->ferry.piece[i]);
        if (cuda->ferry.crossed[i]) cuda->driver->cuEventDestroy_v2(cuda->ferry.crossed[i]);
    }
}

void mp_copy_on_all_cores(void *to, const void *from, size_t bytes) {
#pragma omp parallel for schedule(static) if (bytes >= LARGE)
    for (size_t at = 0; at < bytes; at += SLICE)
        memcpy((char *)to + at, (const char *)from + at, bytes - at < SLICE ? bytes - at : SLICE);
}

static size_t length(size_t at, size_t bytes) {
    return bytes - at < PIECE ? bytes - at : PIECE;
}

mp_status mp_transfer_up(mp_cuda *cuda, CUdeviceptr to, const void *from, size_t bytes, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    const mp_ferry *ferry = &cuda->ferry;
    mp_status status = MP_OK;
    if (bytes < LARGE) {
        if (bytes) MP_CU(cuMemcpyHtoD_v2(to, from, bytes));
        goto out;
    }
    MP_DO(open_ferry(cuda, err));
    for (size_t at = 0, i = 0; at < bytes; at += PIECE, i ^= 1) {
        if (at >= 2 * PIECE) MP_CU(cuEventSynchronize(ferry->crossed[i]));
        mp_copy_on_all_cores(ferry->piece[i], (const char *)from + at, length(at, bytes));
        MP_CU(cuMemcpyHtoDAsync_v2(to + at, ferry->piece[i], length(at, bytes), NULL));
        MP_CU(cuEventRecord(ferry->crossed[i], NULL));
    }
    MP_CU(cuEventSynchronize(ferry->crossed[0]));
    MP_CU(cuEventSynchronize(ferry->crossed[1]));
out:
    return status;
}

mp_status mp_transfer_down(mp_cuda *cuda, void *to, CUdeviceptr from, size_t bytes, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    const mp_ferry *ferry = &cuda->ferry;
    mp_status status = MP_OK;
    if (bytes < LARGE) {
        if (bytes) MP_CU(cuMemcpyDtoH_v2(to, from, bytes));
        goto out;
    }
    MP_DO(open_ferry(cuda, err));
    for (size_t at = 0, begun = 0, i = 0; at < bytes; at += PIECE, i ^= 1) {
        for (; begun < bytes && begun < at + 2 * PIECE; begun += PIECE) {
            const size_t k = begun / PIECE % 2;
            MP_CU(cuMemcpyDtoHAsync_v2(ferry->piece[k], from + begun, length(begun, bytes), NULL));
            MP_CU(cuEventRecord(ferry->crossed[k], NULL));
        }
        MP_CU(cuEventSynchronize(ferry->crossed[i]));
        mp_copy_on_all_cores((char *)to + at, ferry->piece[i], length(at, bytes));
    }
out:
    return status;
}
