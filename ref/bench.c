/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/bench.h"

#include "base/clock.h"
#include "ref/blas.h"
#include "ref/predict/predict.h"
#include "ref/pipeline.h"
#include "ref/predict/tensorcore_gemm.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

enum { PEAK_SIZE = 1536, PEAK_ROUNDS = 3, REFERENCE_ROUNDS = 5 };

/* Best of three rounds, every thread on matrices of its own. */
static mp_status dgemm_peak(double *gflops, mp_error *err) {
    const size_t elements = (size_t)PEAK_SIZE * PEAK_SIZE;
    bool failed = false;
    *gflops = 0;
    for (int round = 0; round < PEAK_ROUNDS + 1; round++) { /* the first warms up */
        double start = 0, end = 0;
#pragma omp parallel
        {
            double *m = malloc(3 * elements * sizeof *m);
            if (!m) {
#pragma omp atomic write
                failed = true;
            }
            for (size_t i = 0; m && i < 3 * elements; i++)
                m[i] = (double)(i % 17) - 8; /* the result's pages too */
#pragma omp barrier
#pragma omp master
            start = mp_seconds_now();
            if (m) mp_blas_dgemm_nt(PEAK_SIZE, PEAK_SIZE, PEAK_SIZE, m, m + elements, m + 2 * elements);
#pragma omp barrier
#pragma omp master
            end = mp_seconds_now();
            free(m);
        }
        const double rate = 2.0 * (double)elements * PEAK_SIZE * omp_get_max_threads() / (end - start) * 1e-9;
        if (round > 0 && rate > *gflops) *gflops = rate;
    }
    return failed ? mp_fail(err, MP_EMEMORY, "no memory for three %d x %d matrices a thread", PEAK_SIZE,
                            PEAK_SIZE)
                  : MP_OK;
}

/* Consumes a tile: reads one element, so that nothing can be left out. */
static void consume(void *ctx, const mp_gemm_tile *tile) {
    double *sum = ctx;
    const double v = tile->value[0] + (tile->mass ? tile->mass[0] : 0);
#pragma omp atomic
    *sum += v;
}

/* Both GEMMs of the case's first tokens, c->M of them. t: inputs and trace of the whole case. */
static mp_status time_gemms(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], mp_engine engine,
                            bool with_mass, double *seconds, mp_error *err) {
    mp_slot_map map;
    double sum = 0;
    mp_status status = mp_slot_map_create(c, NULL, &map, err);
    if (status != MP_OK) return status;
    const mp_stage_call call = {.c = c, .t = t, .map = &map};
    const double start = mp_seconds_now();
    for (int s = 0; s < MP_STAGE_COUNT && status == MP_OK; s++) {
        if (s != MP_GATE_UP && s != MP_DOWN) continue;
        const mp_stage_gemm gemm = mp_gemm_of_stage(&call, (mp_stage)s);
        status = mp_gemm_float64(engine, &gemm.problem, with_mass, consume, &sum, err);
    }
    *seconds = mp_seconds_now() - start;
    free(map.memory);
    return status;
}

mp_status mp_ref_bench(const mp_case *c, mp_ref_bench_result *r, mp_error *err) {
    if (c->scope != MP_SCOPE_ALL || c->layout != MP_ROUTE)
        return mp_fail(err, MP_EINPUT, "bench reference needs scope=all and layout=route");
    *r = (mp_ref_bench_result){.threads = omp_get_max_threads()};
    const double operations_per_token =
        2.0 * (double)c->topk * (double)(mp_case_w1_rows(c) * c->K + c->N * c->K);
    mp_inputs in = {0};
    mp_trace trace = {0};
    double seconds = 0;
    mp_status status = mp_blas_load(err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_host_run(c, &in, 16, MP_POISON_A, &trace, err); /* a real cache2 */
    mp_tensor t[MP_TENSOR_COUNT];
    mp_all_tensors(&in, &trace, t);
    r->blas_seconds = r->blas_mass_seconds = (double)INFINITY;
    for (int round = 0; round < REFERENCE_ROUNDS && status == MP_OK;
         round++) { /* in turn, the best of each: the machine may not be ours alone */
        double ceiling = 0, values = 0, mass = 0;
        status = dgemm_peak(&ceiling, err);
        if (status == MP_OK) status = time_gemms(c, t, MP_ENGINE_BLAS, false, &values, err);
        if (status == MP_OK) status = time_gemms(c, t, MP_ENGINE_BLAS, true, &mass, err);
        r->dgemm_gflops = fmax(r->dgemm_gflops, ceiling);
        r->blas_seconds = fmin(r->blas_seconds, values);
        r->blas_mass_seconds = fmin(r->blas_mass_seconds, mass);
    }
    r->blas_gflops = operations_per_token * (double)c->M / r->blas_seconds * 1e-9;
    r->blas_mass_gflops = 2 * operations_per_token * (double)c->M / r->blas_mass_seconds * 1e-9;

    mp_case few = *c; /* about 4 GFLOP: a second or so */
    few.M = (int64_t)(2e9 / operations_per_token) + 1;
    if (few.M > c->M) few.M = c->M;
    r->plain_tokens = few.M;
    if (status == MP_OK) status = time_gemms(&few, t, MP_ENGINE_PLAIN, true, &seconds, err);
    r->plain_gflops = 2 * operations_per_token * (double)few.M / seconds * 1e-9;
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

/* Best of three rounds, or of as many as two seconds allow. */
static mp_status time_prediction(const mp_tc_kernel *kernel, const mp_tc_model *model,
                                 const mp_gemm_problem *p, const mp_tensor *out, double *rate,
                                 mp_error *err) {
    int64_t slots = 0;
    for (int64_t t = 0; t < p->slots; t++) slots += p->topk_ids[t] >= 0;
    const double operations = (double)slots * (double)p->w.codes->dim[1] * (double)p->w.codes->dim[2];
    const double first = mp_seconds_now();
    *rate = 0;
    for (int round = 0; round == 0 || (round < PEAK_ROUNDS && mp_seconds_now() - first < 2); round++) {
        const double start = mp_seconds_now();
        const mp_status status =
            mp_tc_gemm_with(kernel, model, NULL, p, &(mp_epilogue){0}, NULL, out, NULL, err);
        if (status != MP_OK) return status;
        const double r = operations / (mp_seconds_now() - start);
        if (r > *rate) *rate = r;
    }
    return MP_OK;
}

mp_status mp_predict_bench(const mp_case *c, mp_predict_bench_result *r, mp_error *err) {
    const mp_tc_input input = c->dtype == MP_BF16 ? MP_TC_BF16 : MP_TC_FP16;
    const mp_tc_kernel *kernels;
    mp_tc_model model;
    if (c->scope != MP_SCOPE_ALL || c->layout != MP_ROUTE || (c->dtype != MP_BF16 && c->dtype != MP_FP16))
        return mp_fail(err, MP_EINPUT, "bench predict needs scope=all, layout=route and dtype bf16 or fp16");
    if (!mp_tc_find(90, MP_TC_WGMMA, input, input, &model))
        return mp_fail(err, MP_EINTERNAL, "no sm_90 model of %s", mp_dtype_name(c->dtype));
    const int threads = omp_get_max_threads();
    *r = (mp_predict_bench_result){.threads = threads, .kernels = mp_tc_kernels(&kernels)};
    mp_inputs in = {0};
    mp_slot_map map = {0};
    mp_tensor out = mp_tensor_shape(c->dtype, 2, mp_case_slots(c), mp_case_w1_rows(c), 1);
    mp_status status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_slot_map_create(c, NULL, &map, err);
    if (status == MP_OK) status = mp_tensor_alloc(&out, MP_POISON_A, err);
    if (status == MP_OK) {
        const mp_stage_call call = {.c = c, .t = in.t, .map = &map};
        const mp_gemm_problem gate_up = mp_gemm_of_stage(&call, MP_GATE_UP).problem;
        for (int alone = 0; alone < 2; alone++) {
            omp_set_num_threads(alone ? 1 : threads);
            for (int i = 0; i < r->kernels && status == MP_OK; i++) {
                r->kernel[i].name = kernels[i].name;
                status = time_prediction(&kernels[i], &model, &gate_up, &out,
                                         alone ? &r->kernel[i].one_thread : &r->kernel[i].all_threads, err);
            }
            double *dgemm = alone ? &r->dgemm_one_thread : &r->dgemm_all_threads;
            if (status == MP_OK && mp_blas_load(NULL) == MP_OK) {
                status = dgemm_peak(dgemm, err);
                *dgemm *= 0.5e9; /* a multiply-add is two operations */
            }
        }
        omp_set_num_threads(threads);
    }
    mp_tensor_free(&out);
    free(map.memory);
    mp_inputs_destroy(&in);
    return status;
}
