/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/bench.h"

#include "base/clock.h"
#include "base/kept_blocks.h"
#include "base/large_pages.h"
#include "cases/graph_tables.h"
#include "ref/blas.h"
#include "ref/engine.h"
#include "ref/predict/gemm_fma.h"
#include "ref/predict/predict.h"
#include "ref/pipeline.h"
#include "ref/predict/tensorcore_gemm.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { PEAK_SIZE = 1536, PEAK_ROUNDS = 3, REFERENCE_ROUNDS = 5 };

/* Workspaces wait for the next round, as in a run for the next GEMM. */
#define KEPT_BYTES ((size_t)1 << 30)

/* c [m,n] = a [m,k] times b [n,k], transposed. */
typedef struct product {
    int64_t m, n, k;
} product;

static int64_t elements_of(const product *p) {
    return p->m * p->k + p->n * p->k + p->m * p->n;
}

/* Best of three rounds of these products, one after the other, every thread on matrices of its own. */
static mp_status dgemm_rate(int count, const product *products, double *gflops, mp_error *err) {
    int64_t elements = 0;
    double operations = 0;
    bool failed = false;
    for (int i = 0; i < count; i++) {
        const product *p = &products[i];
        if (elements_of(p) > elements) elements = elements_of(p);
        operations += 2.0 * (double)p->m * (double)p->n * (double)p->k * omp_get_max_threads();
    }
    *gflops = 0;
    for (int round = 0; round < PEAK_ROUNDS + 1; round++) { /* the first warms up */
        double start = 0, end = 0;
#pragma omp parallel
        {
            double *m = mp_large_pages_alloc((size_t)elements * sizeof *m);
            if (!m) {
#pragma omp atomic write
                failed = true;
            }
            for (int64_t i = 0; m && i < elements; i++)
                m[i] = (double)(i % 17) - 8; /* the result's pages too */
#pragma omp barrier
#pragma omp master
            start = mp_seconds_now();
            for (int i = 0; m && i < count; i++) {
                const product *p = &products[i];
                mp_blas_dgemm_nt(p->m, p->n, p->k, m, m + p->m * p->k, m + (p->m + p->n) * p->k);
            }
#pragma omp barrier
#pragma omp master
            end = mp_seconds_now();
            free(m);
        }
        const double rate = operations / (end - start) * 1e-9;
        if (round > 0 && rate > *gflops) *gflops = rate;
    }
    return failed ? mp_fail(err, MP_EMEMORY, "no memory for matrices of %lld numbers a thread",
                            (long long)elements)
                  : MP_OK;
}

static mp_status dgemm_peak(double *gflops, mp_error *err) {
    return dgemm_rate(1, &(product){PEAK_SIZE, PEAK_SIZE, PEAK_SIZE}, gflops, err);
}

/* Both GEMMs of the case as one of its experts has them, of the slots that a task takes at most. */
static mp_status dgemm_of_case(const mp_case *c, double *gflops, mp_error *err) {
    const int64_t share = (mp_case_slots(c) + c->E - 1) / c->E,
                  rows = share < MP_SLAB_SLOTS ? share : MP_SLAB_SLOTS;
    const product products[] = {{rows, mp_case_w1_rows(c), c->K}, {rows, c->K, c->N}};
    return dgemm_rate(2, products, gflops, err);
}

/* Best of three rounds, every thread from and to buffers of its own, larger than caches are. */
static mp_status copy_peak(double *bytes_a_second, mp_error *err) {
    enum { BYTES = 64 << 20 };
    bool failed = false;
    *bytes_a_second = 0;
#pragma omp parallel
    {
        char *from = malloc(BYTES), *to = malloc(BYTES);
        if (!from || !to) {
#pragma omp atomic write
            failed = true;
        } else {
            memset(from, 1, BYTES);
            memset(to, 0, BYTES);
        }
        for (int round = 0; round < PEAK_ROUNDS; round++) {
#pragma omp barrier
            const double start = mp_seconds_now();
            if (!failed) memcpy(to, from, BYTES);
#pragma omp barrier
#pragma omp master
            *bytes_a_second =
                fmax(*bytes_a_second, (double)BYTES * omp_get_num_threads() / (mp_seconds_now() - start));
        }
        free(from);
        free(to);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "no memory for two buffers of %d bytes a thread", BYTES) : MP_OK;
}

mp_status mp_cpu_rates_measure(mp_cpu_rates *rates, mp_error *err) {
    *rates = (mp_cpu_rates){0};
    mp_status status = copy_peak(&rates->copied_bytes, err);
    if (status == MP_OK && mp_blas_load(NULL) == MP_OK) status = dgemm_peak(&rates->dgemm, err);
    rates->dgemm *= 1e9;
    return status;
}

/* Consumes a tile: reads one element, so that nothing can be left out. */
static void consume(void *ctx, const mp_gemm_tile *tile) {
    double *sum = ctx;
    const double v = tile->value[0] + (tile->mass ? tile->mass[0] : 0);
#pragma omp atomic
    *sum += v;
}

/* Both GEMMs of the case's first tokens, c->M of them. t: inputs and trace of the whole case. */
static mp_status time_gemms(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], const mp_engine *engine,
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
    const double operations_per_token = 2.0 * (double)c->topk * mp_case_products(c);
    mp_inputs in = {0};
    mp_trace trace = {0};
    double seconds = 0;
    mp_status status = mp_blas_load(err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_host_run(c, &in, 16, MP_POISON_A, &trace, err); /* a real cache2 */
    mp_tensor t[MP_TENSOR_COUNT];
    mp_all_tensors(&in, &trace, t);
    mp_blocks_keep(KEPT_BYTES);
    r->blas_seconds = r->blas_mass_seconds = (double)INFINITY;
    for (int round = 0; round < REFERENCE_ROUNDS && status == MP_OK;
         round++) { /* in turn, the best of each: the machine may not be ours alone */
        double ceiling = 0, own = 0, values = 0, mass = 0;
        status = dgemm_peak(&ceiling, err);
        if (status == MP_OK) status = dgemm_of_case(c, &own, err);
        if (status == MP_OK) status = time_gemms(c, t, &mp_engine_blas, false, &values, err);
        if (status == MP_OK) status = time_gemms(c, t, &mp_engine_blas, true, &mass, err);
        r->dgemm_gflops = fmax(r->dgemm_gflops, ceiling);
        r->own_gflops = fmax(r->own_gflops, own);
        r->blas_seconds = fmin(r->blas_seconds, values);
        r->blas_mass_seconds = fmin(r->blas_mass_seconds, mass);
    }
    r->blas_gflops = operations_per_token * (double)c->M / r->blas_seconds * 1e-9;
    r->blas_mass_gflops = 2 * operations_per_token * (double)c->M / r->blas_mass_seconds * 1e-9;

    mp_case few = *c; /* about 4 GFLOP: a second or so */
    few.M = (int64_t)(2e9 / operations_per_token) + 1;
    if (few.M > c->M) few.M = c->M;
    r->plain_tokens = few.M;
    if (status == MP_OK) status = time_gemms(&few, t, &mp_engine_plain, true, &seconds, err);
    r->plain_gflops = 2 * operations_per_token * (double)few.M / seconds * 1e-9;
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    mp_blocks_keep(0);
    return status;
}

/* One kind of sum, on operands of its dtype. */
typedef struct timed_sum {
    const char *name;
    bool fma; /* no tensor core's: fused multiply-adds over ascending k */
    mp_tc_model model;
    mp_tensor a, w;
    mp_tc_parts parts; /* of 0 terms: k is one */
} timed_sum;

static mp_status predict(const mp_tc_kernel *kernel, const timed_sum *s, const mp_gemm_problem *p,
                         const mp_tensor *out, mp_tc_counts *counts, mp_error *err) {
    const mp_epilogue none = {0};
    *counts = (mp_tc_counts){0};
    if (s->fma) return mp_fma_gemm(p, &none, NULL, out, err);
    return mp_tc_gemm_with(kernel, &s->model, s->parts.terms ? &s->parts : NULL, p, &none, NULL, out, counts,
                           err);
}

/* Best of three rounds, or of as many as two seconds allow. */
static mp_status time_prediction(const mp_tc_kernel *kernel, const timed_sum *s,
                                 const mp_gemm_problem *gate_up, const mp_tensor *out, double *rate,
                                 double *open, mp_error *err) {
    mp_gemm_problem p = *gate_up;
    int64_t slots = 0;
    p.a.codes = &s->a;
    p.w.codes = &s->w;
    for (int64_t t = 0; t < p.slots; t++) slots += p.topk_ids[t] >= 0;
    const double operations = (double)slots * (double)p.w.codes->dim[1] * (double)p.w.codes->dim[2];
    const double first = mp_seconds_now();
    mp_tc_counts counts = {0};
    *rate = 0;
    for (int round = 0; round == 0 || (round < PEAK_ROUNDS && mp_seconds_now() - first < 2); round++) {
        const double start = mp_seconds_now();
        const mp_status status = predict(kernel, s, &p, out, &counts, err);
        if (status != MP_OK) return status;
        const double r = operations / (mp_seconds_now() - start);
        if (r > *rate) *rate = r;
    }
    const int64_t bracketed = counts.settled + counts.opened;
    *open = bracketed > 0 ? (double)counts.opened / (double)bracketed : -1;
    return MP_OK;
}

/* Numbers of the same size in another format; int8 from them times 32. */
static mp_status converted(const mp_tensor *from, mp_dtype dtype, mp_tensor *to, mp_error *err) {
    *to = *from;
    to->data = NULL;
    to->dtype = dtype;
    const mp_status status = mp_tensor_alloc(to, MP_POISON_A, err);
    const double factor = dtype == MP_I8 ? 32 : 1;
    for (int64_t i = 0; status == MP_OK && i < mp_tensor_count(to); i++)
        mp_encode(dtype, to->data, i, factor * mp_decode(from->dtype, from->data, i));
    return status;
}

static mp_status make_sums(mp_dtype dtype, const mp_gemm_problem *gate_up, timed_sum sums[MP_PREDICT_SUMS],
                           mp_error *err) {
    const mp_tc_input own = dtype == MP_BF16 ? MP_TC_BF16 : MP_TC_FP16;
    const struct {
        const char *name;
        mp_dtype dtype;
        mp_tc_instruction instruction;
        mp_tc_input input;
        int64_t promotion;
        bool fma;
    } rows[MP_PREDICT_SUMS] = {
        {dtype == MP_BF16 ? "bf16" : "fp16", dtype, MP_TC_WGMMA, own, 0, false},
        {"tf32", MP_FP32, MP_TC_WGMMA, MP_TC_TF32, 0, false},
        {"e4m3", MP_E4M3, MP_TC_WGMMA, MP_TC_E4M3, 0, false},
        {"e4m3 / 128", MP_E4M3, MP_TC_WGMMA, MP_TC_E4M3, 128, false},
        {"e4m3 mma", MP_E4M3, MP_TC_MMA, MP_TC_E4M3, 0, false},
        {"e5m2", MP_E5M2, MP_TC_WGMMA, MP_TC_E5M2, 0, false},
        {"int8", MP_I8, MP_TC_WGMMA, MP_TC_S8, 0, false},
        {"fp32 fma", MP_FP32, MP_TC_WGMMA, MP_TC_TF32, 0, true},
    };
    mp_status status = MP_OK;
    for (int i = 0; i < MP_PREDICT_SUMS && status == MP_OK; i++) {
        sums[i].name = rows[i].name;
        sums[i].fma = rows[i].fma;
        sums[i].parts = mp_tc_promotion(rows[i].promotion);
        if (!mp_tc_find(90, rows[i].instruction, rows[i].input, rows[i].input, &sums[i].model))
            return mp_fail(err, MP_EINTERNAL, "no sm_90 model of %s", rows[i].name);
        status = converted(gate_up->a.codes, rows[i].dtype, &sums[i].a, err);
        if (status == MP_OK) status = converted(gate_up->w.codes, rows[i].dtype, &sums[i].w, err);
    }
    return status;
}

static mp_status time_sums(const timed_sum sums[MP_PREDICT_SUMS], const mp_gemm_problem *gate_up,
                           const mp_tensor *out, bool alone, mp_predict_bench_result *r, mp_error *err) {
    const mp_tc_kernel *kernels;
    const int count = mp_tc_kernels(&kernels);
    mp_status status = MP_OK;
    r->rows = 0;
    for (int s = 0; s < MP_PREDICT_SUMS; s++)
        for (int i = 0; i < count && status == MP_OK; i++) {
            const bool any_kernel = sums[s].fma || sums[s].model.a == MP_TC_S8;
            if (any_kernel && i > 0) continue;
            const int row = r->rows++;
            r->row[row].sum = sums[s].name;
            r->row[row].kernel = !any_kernel ? kernels[i].name : sums[s].fma ? "fastest" : "integers";
            status = time_prediction(&kernels[i], &sums[s], gate_up, out,
                                     alone ? &r->row[row].one_thread : &r->row[row].all_threads,
                                     &r->row[row].open, err);
        }
    return status;
}

mp_status mp_predict_bench(const mp_case *c, mp_predict_bench_result *r, mp_error *err) {
    if (c->scope != MP_SCOPE_ALL || c->layout != MP_ROUTE || (c->dtype != MP_BF16 && c->dtype != MP_FP16))
        return mp_fail(err, MP_EINPUT, "bench predict needs scope=all, layout=route and dtype bf16 or fp16");
    const int threads = omp_get_max_threads();
    *r = (mp_predict_bench_result){.threads = threads};
    mp_inputs in = {0};
    mp_slot_map map = {0};
    timed_sum sums[MP_PREDICT_SUMS] = {0};
    mp_tensor out = mp_tensor_shape(c->dtype, 2, mp_case_slots(c), mp_case_w1_rows(c), 1);
    mp_status status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_slot_map_create(c, NULL, &map, err);
    if (status == MP_OK) status = mp_tensor_alloc(&out, MP_POISON_A, err);
    const mp_stage_call call = {.c = c, .t = in.t, .map = &map};
    const mp_gemm_problem gate_up =
        status == MP_OK ? mp_gemm_of_stage(&call, MP_GATE_UP).problem : (mp_gemm_problem){0};
    if (status == MP_OK) status = make_sums(c->dtype, &gate_up, sums, err);
    mp_blocks_keep(KEPT_BYTES);
    for (int alone = 0; alone < 2 && status == MP_OK; alone++) {
        omp_set_num_threads(alone ? 1 : threads);
        status = time_sums(sums, &gate_up, &out, alone, r, err);
        double *dgemm = alone ? &r->dgemm_one_thread : &r->dgemm_all_threads;
        if (status == MP_OK && mp_blas_load(NULL) == MP_OK) {
            status = dgemm_peak(dgemm, err);
            *dgemm *= 0.5e9; /* a multiply-add is two operations */
        }
    }
    mp_blocks_keep(0);
    omp_set_num_threads(threads);
    for (int i = 0; i < MP_PREDICT_SUMS; i++) {
        mp_tensor_free(&sums[i].a);
        mp_tensor_free(&sums[i].w);
    }
    mp_tensor_free(&out);
    free(map.memory);
    mp_inputs_destroy(&in);
    return status;
}
