#include "ref/bench.h"

#include "ref/blas.h"
#include "ref/host.h"
#include "ref/pipeline.h"

#include <omp.h>
#include <stdlib.h>
#include <time.h>

enum { PEAK_SIZE = 1536, PEAK_ROUNDS = 3 };

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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
            for (size_t i = 0; m && i < 2 * elements; i++) m[i] = (double)(i % 17) - 8;
#pragma omp barrier
#pragma omp master
            start = seconds_now();
            if (m) mp_blas_dgemm_nt(PEAK_SIZE, PEAK_SIZE, PEAK_SIZE, m, m + elements, m + 2 * elements);
#pragma omp barrier
#pragma omp master
            end = seconds_now();
            free(m);
        }
        const double rate = 2.0 * (double)elements * PEAK_SIZE * omp_get_max_threads() / (end - start) * 1e-9;
        if (round > 0 && rate > *gflops) *gflops = rate;
    }
    return failed ? mp_fail(err, MP_EMEMORY, "no memory for three %d x %d matrices a thread", PEAK_SIZE, PEAK_SIZE) : MP_OK;
}

/* Consumes a tile: reads one element, so that nothing can be left out. */
static void consume(void *ctx, const mp_gemm_tile *tile) {
    double *sum = ctx;
    const double v = tile->value[0] + (tile->mass ? tile->mass[0] : 0);
#pragma omp atomic
    *sum += v;
}

static mp_status time_gemms(const mp_case *c, const mp_inputs *in, const mp_trace *trace, mp_engine engine, bool with_mass, double *seconds, mp_error *err) {
    mp_slot_map map;
    double sum = 0;
    mp_status status = mp_slot_map_create(c, NULL, &map, err);
    if (status != MP_OK) return status;
    const mp_gemm_problem gate_up = mp_gate_up_problem(in, map.x_row, mp_case_slots(c));
    const mp_gemm_problem down = mp_down_problem(in, &trace->t[MP_CACHE2], map.cache_row, mp_case_slots(c));
    const double start = seconds_now();
    status = mp_gemm_float64(engine, &gate_up, with_mass, consume, &sum, err);
    if (status == MP_OK) status = mp_gemm_float64(engine, &down, with_mass, consume, &sum, err);
    *seconds = seconds_now() - start;
    free(map.memory);
    return status;
}

mp_status mp_ref_bench(const mp_case *c, mp_ref_bench_result *r, mp_error *err) {
    if (c->scope != MP_SCOPE_ALL || c->layout != MP_ROUTE) return mp_fail(err, MP_EINPUT, "bench reference needs scope=all and layout=route");
    *r = (mp_ref_bench_result){.threads = omp_get_max_threads()};
    const double operations_per_token = 2.0 * (double)c->topk * (double)(mp_case_w1_rows(c) * c->K + c->N * c->K);
    mp_inputs in = {0};
    mp_trace trace = {0};
    double seconds = 0;
    mp_status status = mp_blas_load(err);
    if (status == MP_OK) status = dgemm_peak(&r->dgemm_gflops, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_host_run(c, &in, 16, MP_POISON_A, &trace, err); /* a real cache2 */
    if (status == MP_OK) status = time_gemms(c, &in, &trace, MP_ENGINE_BLAS, false, &r->blas_seconds, err);
    if (status == MP_OK) status = time_gemms(c, &in, &trace, MP_ENGINE_BLAS, true, &r->blas_mass_seconds, err);
    r->blas_gflops = operations_per_token * (double)c->M / r->blas_seconds * 1e-9;
    r->blas_mass_gflops = 2 * operations_per_token * (double)c->M / r->blas_mass_seconds * 1e-9;

    mp_case few = *c; /* about 4 GFLOP: a second or so */
    few.M = (int64_t)(2e9 / operations_per_token) + 1;
    if (few.M > c->M) few.M = c->M;
    r->plain_tokens = few.M;
    const mp_inputs view = mp_inputs_range(&in, 0, few.M);
    if (status == MP_OK) status = time_gemms(&few, &view, &trace, MP_ENGINE_PLAIN, true, &seconds, err);
    r->plain_gflops = 2 * operations_per_token * (double)few.M / seconds * 1e-9;
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}
