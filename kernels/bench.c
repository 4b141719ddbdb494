#include "kernels/bench.h"

#include "kernels/device/params.h"
#include "kernels/pipeline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define COPY_BYTES ((size_t)1 << 30)

static int compare_floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double median(float *values, int count) {
    qsort(values, (size_t)count, sizeof *values, compare_floats);
    return count % 2 ? (double)values[count / 2]
                     : ((double)values[count / 2 - 1] + (double)values[count / 2]) / 2;
}

static mp_status fill(mp_pipeline *p, mp_input which, const char *entry, mp_dtype dtype, double scale,
                      mp_error *err) {
    const mp_device_buffer *buffer = &p->input[which];
    if (!buffer->bytes) return MP_OK;
    CUfunction function = NULL;
    const mp_kernel kernel = mp_kernel_tool(entry, dtype);
    mp_tool_params params = {
        .data = buffer->data,
        .count = (long long)(buffer->bytes / mp_dtype_size(dtype)),
        .seed = 0x100 + (unsigned long long)which,
        .num_experts = (int)p->c.E,
        .scale = (float)scale,
    };
    const mp_status status = mp_cuda_function(p->cuda, &kernel, &function, err);
    return status == MP_OK ? mp_cuda_launch(p->cuda, function, 16 * (int64_t)p->cuda->multiprocessors, 256, 0,
                                            &params, err)
                           : status;
}

static mp_status fill_inputs(mp_pipeline *p, mp_error *err) {
    const mp_case *c = &p->c;
    mp_status status = MP_OK;
    MP_DO(fill(p, MP_X, "fill_elements", c->dtype, 1.0, err));
    MP_DO(fill(p, MP_W1, "fill_elements", c->dtype, 1.0 / sqrt((double)c->K), err));
    MP_DO(fill(p, MP_W2, "fill_elements", c->dtype, 1.0 / sqrt((double)c->N), err));
    MP_DO(fill(p, MP_B1, "fill_elements", c->dtype, 1.0, err));
    MP_DO(fill(p, MP_B2, "fill_elements", c->dtype, 1.0, err));
    MP_DO(fill(p, MP_TOPK_WEIGHTS, "fill_elements", MP_FP32, 1.0, err));
    MP_DO(fill(p, MP_TOPK_IDS, "fill_ids", MP_FP32, 1.0, err));
out:
    return status;
}

/* The median time of copying COPY_BYTES within the device. */
static mp_status time_copy(mp_cuda *cuda, int repeats, float *times, CUevent start, CUevent end, double *ms,
                           mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUdeviceptr from = 0, to = 0;
    MP_CU(cuMemAlloc_v2(&from, COPY_BYTES));
    MP_CU(cuMemAlloc_v2(&to, COPY_BYTES));
    MP_CU(cuMemsetD32Async(from, 0x3F9D70A4, COPY_BYTES / 4, NULL));
    for (int i = -1; i < repeats; i++) { /* -1: warm-up */
        MP_CU(cuEventRecord(start, NULL));
        MP_CU(cuMemcpyDtoDAsync_v2(to, from, COPY_BYTES, NULL));
        MP_CU(cuEventRecord(end, NULL));
        MP_CU(cuEventSynchronize(end));
        if (i >= 0) MP_CU(cuEventElapsedTime(&times[i], start, end));
    }
    *ms = median(times, repeats);
out:
    if (from) driver->cuMemFree_v2(from);
    if (to) driver->cuMemFree_v2(to);
    return status;
}

mp_status mp_cuda_bench(mp_cuda *cuda, const mp_case *c, int repeats, mp_cuda_bench_result *result,
                        mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    mp_config config;
    mp_pipeline p = {0};
    CUevent edge[MP_STAGE_COUNT + 1] = {NULL};
    char up[64], down[64];
    double copy_ms = 0;
    *result = (mp_cuda_bench_result){0};
    if (c->scope != MP_SCOPE_ALL || c->path == MP_CHUNKED || repeats < 1)
        return mp_fail(
            err, MP_EINPUT,
            "bench needs scope=all, path=fused or runner and at least 1 repeat, not scope=%s path=%s and %d",
            mp_scope_name(c->scope), mp_path_name(c->path), repeats);
    float *times = malloc((size_t)repeats * MP_STAGE_COUNT * sizeof *times);
    if (!times) return mp_fail(err, MP_EMEMORY, "times of %d repeats", repeats);

    MP_DO(mp_config_resolve(c, &(mp_config_query){.device = cuda->name}, &config, err));
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_DO(mp_pipeline_plan(cuda, c, &config, &p, err));
    MP_DO(mp_pipeline_alloc(&p, MP_POISON_A, err));
    MP_DO(fill_inputs(&p, err));
    for (int i = 0; i <= MP_STAGE_COUNT; i++) MP_CU(cuEventCreate(&edge[i], 0));
    for (int i = -1; i < repeats; i++) { /* -1: warm-up */
        MP_CU(cuEventRecord(edge[0], NULL));
        for (int s = 0; s < MP_STAGE_COUNT; s++) {
            if (mp_pipeline_has_stage(&p, (mp_stage)s)) MP_DO(mp_pipeline_stage(&p, (mp_stage)s, 0, err));
            MP_CU(cuEventRecord(edge[s + 1], NULL));
        }
        MP_CU(cuCtxSynchronize());
        for (int s = 0; s < MP_STAGE_COUNT && i >= 0; s++)
            MP_CU(cuEventElapsedTime(&times[s * repeats + i], edge[s], edge[s + 1]));
    }
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (mp_pipeline_has_stage(&p, (mp_stage)s))
            result->stage_ms[s] = median(times + s * repeats, repeats);
    mp_pipeline_free(&p);
    MP_DO(time_copy(cuda, repeats, times, edge[0], edge[1], &copy_ms, err));

    const double slots = (double)mp_case_slots(c), size = (double)mp_dtype_size(c->dtype), K = (double)c->K,
                 N = (double)c->N, w1_rows = (double)mp_case_w1_rows(c), *ms = result->stage_ms;
    result->gemm_tflops = 2 * slots * (w1_rows * K + N * K) / (ms[MP_GATE_UP] + ms[MP_DOWN]) * 1e-9;
    result->act_gbs = slots * (w1_rows + N) * size / ms[MP_ACT] * 1e-6;
    if (ms[MP_SUM] > 0) {
        const double read = c->fused_sum ? (double)c->M : slots;
        result->combine_gbs = (read + (double)c->M) * K * size / ms[MP_SUM] * 1e-6;
    }
    result->copy_gbs = 2 * (double)COPY_BYTES / copy_ms * 1e-6;
    mp_tile_text(&config.up, up);
    mp_tile_text(&config.down, down);
    snprintf(result->config, sizeof result->config, "%s + %s (%s)", up, down, config.source);
out:
    for (int i = 0; i <= MP_STAGE_COUNT; i++)
        if (edge[i]) driver->cuEventDestroy_v2(edge[i]);
    mp_pipeline_free(&p);
    free(times);
    return status;
}
