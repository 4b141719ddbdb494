/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/rates.h"

#include "kernels/handle.h"

#include <math.h>

enum { ROUNDS = 6, THREADS = 256 };

/* What one round does, and how much of it is counted. */
typedef struct work {
    double amount;
    size_t bytes; /* of a copy */
    CUdeviceptr to, from;
    void *host_to, *host_from; /* instead of one of them */
    CUfunction function;       /* of a kernel; NULL: a copy */
    int64_t blocks;
    mp_rate_params params;
} work;

static mp_status begin(mp_cuda *cuda, work *w, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    if (w->function) return mp_cuda_launch(cuda, NULL, w->function, w->blocks, THREADS, 0, &w->params, err);
    if (w->host_from)
        MP_CU(cuMemcpyHtoDAsync_v2(w->to, w->host_from, w->bytes, NULL));
    else if (w->host_to)
        MP_CU(cuMemcpyDtoHAsync_v2(w->host_to, w->from, w->bytes, NULL));
    else
        MP_CU(cuMemcpyDtoDAsync_v2(w->to, w->from, w->bytes, NULL));
out:
    return status;
}

/* The shortest round: what disturbs one makes it longer. */
static mp_status measure(mp_cuda *cuda, work *w, double *rate, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUevent start = NULL, end = NULL;
    float best = INFINITY;
    MP_CU(cuEventCreate(&start, 0));
    MP_CU(cuEventCreate(&end, 0));
    for (int round = 0; round < ROUNDS; round++) {
        float ms = 0;
        MP_CU(cuEventRecord(start, NULL));
        MP_DO(begin(cuda, w, err));
        MP_CU(cuEventRecord(end, NULL));
        MP_CU(cuEventSynchronize(end));
        MP_CU(cuEventElapsedTime(&ms, start, end));
        best = fminf(best, ms);
    }
    *rate = w->amount / best * 1e3;
out:
    if (start) driver->cuEventDestroy_v2(start);
    if (end) driver->cuEventDestroy_v2(end);
    return status;
}

mp_status mp_cuda_rate_of_copies(mp_cuda *cuda, size_t bytes, double *rate, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    work w = {.amount = 2 * (double)bytes, .bytes = bytes};
    MP_CU(cuMemAlloc_v2(&w.from, bytes));
    MP_CU(cuMemAlloc_v2(&w.to, bytes));
    MP_CU(cuMemsetD32Async(w.from, 0x3F9D70A4, bytes / 4, NULL));
    MP_DO(measure(cuda, &w, rate, err));
out:
    if (w.from) driver->cuMemFree_v2(w.from);
    if (w.to) driver->cuMemFree_v2(w.to);
    return status;
}

/* Over the bus, both ways. */
static mp_status measure_bus(mp_cuda *cuda, mp_cuda_rates *rates, mp_error *err) {
    const size_t bytes = (size_t)64 << 20;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUdeviceptr there = 0;
    void *here = NULL;
    MP_CU(cuMemAlloc_v2(&there, bytes));
    MP_CU(cuMemHostAlloc(&here, bytes, 0));
    work up = {.amount = (double)bytes, .bytes = bytes, .to = there, .host_from = here},
         down = {.amount = (double)bytes, .bytes = bytes, .from = there, .host_to = here};
    MP_DO(measure(cuda, &up, &rates->up_bytes, err));
    MP_DO(measure(cuda, &down, &rates->down_bytes, err));
out:
    if (there) driver->cuMemFree_v2(there);
    if (here) driver->cuMemFreeHost(here);
    return status;
}

/* steps of `blocks_each` blocks a multiprocessor, a block computing so many operations a step. */
static mp_status measure_kernel(mp_cuda *cuda, const mp_kernel *kernel, int blocks_each, int steps,
                                double operations, double *rate, mp_error *err) {
    work w = {.blocks = (int64_t)blocks_each * cuda->multiprocessors, .params.steps = steps};
    w.amount = operations * steps * (double)w.blocks;
    const mp_status status = mp_cuda_function(cuda, kernel, &w.function, err);
    return status == MP_OK ? measure(cuda, &w, rate, err) : status;
}

static mp_status measure_numbers(mp_cuda *cuda, const char *number, int steps, double *rate, mp_error *err) {
    enum { CHAINS = 8, BLOCKS_EACH = 8 };
    const mp_kernel kernel = mp_kernel_multiply_adds(number);
    return measure_kernel(cuda, &kernel, BLOCKS_EACH, steps, 2.0 * THREADS * CHAINS, rate, err);
}

/* A step of a block: four instructions of each of two warpgroups, 64 rows by 256 columns; or eight of each of
 * eight warps, 16 rows by 8 columns. All take 32 bytes of k. */
static mp_status measure_products(mp_cuda *cuda, mp_dtype dtype, double *rate, mp_error *err) {
    const int architecture = cuda->limits.architecture;
    const mp_mma_instruction *by = mp_mma_of(true, dtype);
    if (!mp_mma_supported(architecture, by)) by = mp_mma_of(false, dtype);
    if (!mp_mma_supported(architecture, by)) return MP_OK;
    const mp_kernel kernel = mp_kernel_products(by, dtype);
    const double results = by->wgmma ? 4 * 2 * 64 * 256 : 8 * 8 * 16 * 8;
    return measure_kernel(cuda, &kernel, by->wgmma ? 1 : 2, 4096, 2 * results * by->depth, rate, err);
}

mp_status mp_cuda_rates_measure(mp_cuda *cuda, mp_cuda_rates *rates, mp_error *err) {
    static const mp_dtype operands[] = {MP_BF16, MP_FP16, MP_E4M3, MP_I8};
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    *rates = (mp_cuda_rates){0};
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_DO(mp_cuda_rate_of_copies(cuda, (size_t)256 << 20, &rates->copied_bytes, err));
    MP_DO(measure_bus(cuda, rates, err));
    MP_DO(measure_numbers(cuda, "float", 8192, &rates->float32, err));
    MP_DO(measure_numbers(cuda, "double", 2048, &rates->float64, err));
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++)
        MP_DO(measure_products(cuda, operands[i], &rates->products[operands[i]], err));
out:
    return status;
}
