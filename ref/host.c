#include "ref/host.h"

#include "base/clones.h"
#include "ref/activation.h"
#include "ref/activation_f32.h"
#include "ref/combine.h"
#include "ref/host_gemm.h"
#include "ref/pipeline.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

mp_contract mp_host_contract(const mp_case *c) {
    return (mp_contract){.accumulator = MP_ACC_IEEE_ANY_ORDER,
                         .act_ulps = MP_FLOAT32_MATH_ULPS,
                         .act_rounding = MP_ACT_ONE_ROUNDING,
                         .combine = c->fused_sum ? MP_COMBINE_ELEMENT_DTYPE : MP_COMBINE_SCALE_THEN_ROUND,
                         .stable_align = true,
                         .deterministic = true,
                         .batch_invariant = true};
}

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* One row of cache1 -> one row of results. */
MP_CLONES_FMA static void activate_row(const mp_case *c, const float *in, float *result) {
    const float alpha = (float)c->alpha, limit = (float)c->limit;
    for (int64_t n = 0; n < c->N; n++)
        result[n] = mp_activate_f32((int)c->act, c->gated, in[mp_gate_column(c, n)], c->gated ? in[mp_up_column(c, n)] : 1.0f, alpha, limit);
}

/* cache1 row -> cache2 row for every slot that is not filtered; one rounding. */
static mp_status activation(const mp_case *c, const int32_t *topk_ids, const int64_t *row, const mp_tensor *cache1, const mp_tensor *cache2,
                            mp_error *err) {
    const int64_t slots = mp_case_slots(c), width = mp_tensor_row_length(cache1);
    bool failed = false;
#pragma omp parallel
    {
        float *in = malloc((size_t)(width + c->N) * sizeof *in);
        if (!in) {
#pragma omp atomic write
            failed = true;
        }
        float *result = in ? in + width : NULL;
#pragma omp for schedule(static)
        for (int64_t t = 0; t < slots; t++) {
            if (!in || topk_ids[t] < 0) continue;
            mp_decode_row_f32(cache1->dtype, cache1->data, row[t] * width, width, in);
            activate_row(c, in, result);
            mp_encode_row_f32(cache2->dtype, cache2->data, row[t] * c->N, c->N, result);
        }
        free(in);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "activation: no memory for a row of %lld floats", (long long)width) : MP_OK;
}

/* One token: ascending j, fp32 accumulator, scale after the sum, one rounding. With fused_sum every addition rounds to dtype, as atomics on out do. */
static void combine_token_f32(const mp_case *c, const mp_tensor *cache3, const mp_tensor *out, int64_t m, float *sum, float *row) {
    const int64_t K = c->K;
    const float rsf = (float)c->rsf;
    memset(sum, 0, (size_t)K * sizeof *sum);
    for (int64_t j = 0; j < c->topk; j++) {
        mp_decode_row_f32(cache3->dtype, cache3->data, (m * c->topk + j) * K, K, row);
        for (int64_t k = 0; k < K; k++) sum[k] += row[k];
        if (c->fused_sum) {
            mp_encode_row_f32(out->dtype, out->data, m * K, K, sum);
            mp_decode_row_f32(out->dtype, out->data, m * K, K, sum);
        }
    }
    for (int64_t k = 0; k < K; k++) sum[k] *= rsf;
    mp_encode_row_f32(out->dtype, out->data, m * K, K, sum);
}

static void combine_token_f64(const mp_case *c, const mp_tensor *cache3, const mp_tensor *out, int64_t m) {
    const double *slot = cache3->data, rsf = mp_combine_rsf(c);
    double *result = out->data;
    for (int64_t k = 0; k < c->K; k++) {
        double sum = 0;
        for (int64_t j = 0; j < c->topk; j++) sum += slot[(m * c->topk + j) * c->K + k];
        result[m * c->K + k] = rsf * sum;
    }
}

static mp_status combine(const mp_case *c, const mp_tensor *cache3, const mp_tensor *out, mp_error *err) {
    bool failed = false;
#pragma omp parallel
    {
        float *sum = malloc(2 * (size_t)c->K * sizeof *sum);
        if (!sum) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (int64_t m = 0; m < c->M; m++) {
            if (c->dtype == MP_FP64)
                combine_token_f64(c, cache3, out, m);
            else if (sum)
                combine_token_f32(c, cache3, out, m, sum, sum + c->K);
        }
        free(sum);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "combine: no memory for a row of %lld floats", (long long)c->K) : MP_OK;
}

static mp_status run_chunk(const mp_case *c, const mp_inputs *in, uint32_t poison, mp_trace *trace, double *stage_ns, mp_error *err) {
    mp_tensor scratch = mp_tensor_shape(c->dtype, 3, c->M, c->topk, c->K);
    mp_slot_map map = {0};
    mp_status status = MP_OK;
    const mp_tensor *cache1 = &trace->t[MP_CACHE1], *cache2 = &trace->t[MP_CACHE2], *out = &trace->t[MP_OUT];
    const int32_t *topk_ids = in->t[MP_TOPK_IDS].data;
    const int64_t slots = mp_case_slots(c);
    double start = now_ns();

    if (c->scope == MP_SCOPE_COMBINE) {
        status = combine(c, &in->t[MP_IN_CACHE3], out, err);
        stage_ns[MP_SUM] += now_ns() - start;
        return status;
    }
    if ((status = mp_ref_align(c, in, trace, err)) != MP_OK) goto out;
    stage_ns[MP_ALIGN] += now_ns() - start;
    if (c->scope == MP_SCOPE_ALIGN) goto out;
    if ((status = mp_slot_map_create(c, trace, &map, err)) != MP_OK) goto out;

    start = now_ns();
    mp_inputs local = *in; /* in place, x lies in the output buffer, where combine will overwrite it */
    if (c->mode == MP_INPLACE) {
        memcpy(out->data, in->t[MP_X].data, mp_tensor_bytes(out));
        local.t[MP_X].data = out->data;
    }
    const mp_gemm_problem gate_up = mp_gate_up_problem(&local, map.x_row, slots);
    const mp_epilogue up = mp_gate_up_epilogue(c, in), down = mp_down_epilogue(c, in);
    if ((status = mp_host_gemm(&gate_up, &up, map.cache_row, cache1, err)) != MP_OK) goto out;
    stage_ns[MP_GATE_UP] += now_ns() - start;

    start = now_ns();
    if ((status = activation(c, topk_ids, map.cache_row, cache1, cache2, err)) != MP_OK) goto out;
    stage_ns[MP_ACT] += now_ns() - start;

    start = now_ns();
    mp_tensor cache3 = trace->t[MP_CACHE3];
    if (c->fused_sum) {
        if ((status = mp_tensor_alloc(&scratch, poison, err)) != MP_OK) goto out;
        cache3 = scratch;
    } else if (mp_case_down_writes_out(c)) {
        cache3 = mp_out_as_cache3(c, out);
    }
    const mp_gemm_problem down_problem = mp_down_problem(in, cache2, map.cache_row, slots);
    if ((status = mp_host_gemm(&down_problem, &down, NULL, &cache3, err)) != MP_OK) goto out;
    stage_ns[MP_DOWN] += now_ns() - start;

    start = now_ns();
    if (cache3.data != out->data) status = combine(c, &cache3, out, err);
    stage_ns[MP_SUM] += now_ns() - start;
out:
    mp_tensor_free(&scratch);
    free(map.memory);
    return status;
}

mp_status mp_host_run(const mp_case *c, const mp_inputs *in, int block_size_m, uint32_t poison, mp_trace *trace, mp_error *err) {
    mp_status status = mp_trace_create(c, block_size_m, poison, trace, err);
    for (int64_t i = 0; status == MP_OK && i < mp_case_chunks(c); i++) {
        const mp_case part = mp_case_chunk(c, i);
        const mp_inputs view = mp_inputs_range(in, i * MP_CHUNK_TOKENS, part.M);
        mp_trace window = mp_trace_chunk(c, trace, i);
        status = run_chunk(&part, &view, poison, &window, trace->stage_ns, err);
    }
    return status;
}
