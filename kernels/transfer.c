/* SPDX-License-Identifier: Apache-2.0 */
/* Large tensors between host and device. The bus takes them at its full speed from memory alone that the
 * driver has pinned, and one core does not fill such memory as fast: a few threads have a ferry each, a
 * stream and two pieces of pinned memory, of which one is copied while the other one crosses, and carry a
 * share of the tensor each without waiting for one another. From ordinary memory the driver does the same
 * with one thread, at a seventh of the speed. */
#include "kernels/handle.h"

#include <omp.h>
#include <string.h>

#define PIECE ((size_t)4 << 20)
#define LARGE PIECE /* less is copied by the driver before threads have begun */

static mp_status open_ferry(mp_cuda *cuda, mp_ferry *ferry, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    /* what is begun on it waits for what was begun on the default stream, and the other way round */
    if (!ferry->stream) MP_CU(cuStreamCreate(&ferry->stream, CU_STREAM_DEFAULT));
    for (int i = 0; i < 2; i++) {
        if (!ferry->crossed[i]) MP_CU(cuEventCreate(&ferry->crossed[i], CU_EVENT_DISABLE_TIMING));
        if (!ferry->piece[i]) MP_CU(cuMemHostAlloc(&ferry->piece[i], PIECE, 0));
    }
out:
    return status;
}

static void close_ferry(const mp_driver *driver, mp_ferry *ferry) {
    for (int i = 0; i < 2; i++) {
        if (ferry->piece[i]) driver->cuMemFreeHost(ferry->piece[i]);
        if (ferry->crossed[i]) driver->cuEventDestroy_v2(ferry->crossed[i]);
    }
    if (ferry->stream) driver->cuStreamDestroy_v2(ferry->stream);
}

void mp_ferries_close(mp_cuda *cuda) {
    for (int i = 0; i < MP_FERRIES; i++) close_ferry(cuda->driver, &cuda->ferry[i]);
}

/* A ferry's share of the bytes. */
typedef struct share {
    CUdeviceptr device;
    char *host;
    size_t bytes;
} share;

static size_t length(size_t at, size_t bytes) {
    return bytes - at < PIECE ? bytes - at : PIECE;
}

static mp_status carry_up(mp_cuda *cuda, const mp_ferry *ferry, const share *s, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    for (size_t at = 0, i = 0; at < s->bytes; at += PIECE, i ^= 1) {
        MP_CU(cuEventSynchronize(ferry->crossed[i])); /* of one that was never recorded: at once */
        memcpy(ferry->piece[i], s->host + at, length(at, s->bytes));
        MP_CU(cuMemcpyHtoDAsync_v2(s->device + at, ferry->piece[i], length(at, s->bytes), ferry->stream));
        MP_CU(cuEventRecord(ferry->crossed[i], ferry->stream));
    }
    MP_CU(cuStreamSynchronize(ferry->stream));
out:
    return status;
}

static mp_status carry_down(mp_cuda *cuda, const mp_ferry *ferry, const share *s, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    for (size_t at = 0, begun = 0, i = 0; at < s->bytes; at += PIECE, i ^= 1) {
        for (; begun < s->bytes && begun < at + 2 * PIECE; begun += PIECE) {
            const size_t k = begun / PIECE % 2;
            MP_CU(cuMemcpyDtoHAsync_v2(ferry->piece[k], s->device + begun, length(begun, s->bytes),
                                       ferry->stream));
            MP_CU(cuEventRecord(ferry->crossed[k], ferry->stream));
        }
        MP_CU(cuEventSynchronize(ferry->crossed[i]));
        memcpy(s->host + at, ferry->piece[i], length(at, s->bytes));
    }
out:
    return status;
}

typedef mp_status carrier(mp_cuda *cuda, const mp_ferry *ferry, const share *s, mp_error *err);

static mp_status carry(mp_cuda *cuda, carrier *carries, const share *all, mp_error *err) {
    const size_t pieces = (all->bytes + PIECE - 1) / PIECE;
    const int threads = omp_get_max_threads() < MP_FERRIES ? omp_get_max_threads() : MP_FERRIES,
              ferries = pieces < (size_t)threads ? (int)pieces : threads;
    const size_t each = (pieces + (size_t)ferries - 1) / (size_t)ferries * PIECE;
    mp_status status = MP_OK;
    for (int i = 0; i < ferries; i++) MP_DO(open_ferry(cuda, &cuda->ferry[i], err));
#pragma omp parallel for schedule(static, 1) num_threads(ferries)
    for (int i = 0; i < ferries; i++) {
        const size_t begin = (size_t)i * each;
        mp_error why = {0};
        mp_status mine = MP_OK;
        if (begin < all->bytes) {
            const share s = {all->device + begin, all->host + begin,
                             all->bytes - begin < each ? all->bytes - begin : each};
            cuda->driver->cuCtxSetCurrent(cuda->context); /* of this thread */
            mine = carries(cuda, &cuda->ferry[i], &s, &why);
        }
#pragma omp critical(mp_transfer)
        if (mine != MP_OK && status == MP_OK) {
            status = mine;
            if (err) *err = why;
        }
    }
out:
    return status;
}

mp_status mp_transfer_up(mp_cuda *cuda, CUdeviceptr to, const void *from, size_t bytes, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    if (bytes > LARGE) return carry(cuda, carry_up, &(share){to, (char *)(uintptr_t)from, bytes}, err);
    if (bytes) MP_CU(cuMemcpyHtoD_v2(to, from, bytes));
out:
    return status;
}

mp_status mp_transfer_down(mp_cuda *cuda, void *to, CUdeviceptr from, size_t bytes, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    if (bytes > LARGE) return carry(cuda, carry_down, &(share){from, to, bytes}, err);
    if (bytes) MP_CU(cuMemcpyDtoH_v2(to, from, bytes));
out:
    return status;
}
