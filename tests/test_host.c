/* SPDX-License-Identifier: Apache-2.0 */
/* ref/predict/host.c, host_gemm.c, trace.c: the float32 pipeline has the bits of its definition, whatever the
 * kernel, the threads, the path or the layout. */
#include "cases/graph_tables.h"
#include "ref/predict/activation_f32.h"
#include "ref/predict/predict.h"
#include "ref/predict/gemm_fma.h"
#include "ref/pipeline.h"
#include "tests/ref_support.h"

#include <omp.h>

/* ---- micro-kernels ---- */

static void micro_kernels_are_a_plain_fma_loop(void **unused) {
    (void)unused;
    static const int64_t lengths[] = {1, 2, 7, 64, 301};
    const mp_micro_kernel *kernels;
    const int count = mp_micro_kernels(&kernels);
    assert_true(count >= 1);
    assert_string_equal(kernels[count - 1].name, "portable");
    rng r = {14};
    for (int i = 0; i < count; i++) {
        const int rows = kernels[i].rows, columns = kernels[i].columns;
        for (size_t l = 0; l < COUNT(lengths); l++) {
            const int64_t K = lengths[l];
            float *a = allocated(rows * K, sizeof *a), *w = allocated(columns * K, sizeof *w);
            float *acc = allocated(rows * columns, sizeof *acc),
                  *expected = allocated(rows * columns, sizeof *expected);
            /* exponents down to products that are subnormal in float32 */
            for (int64_t j = 0; j < rows * K; j++) a[j] = (float)random_wide(&r, j % 3 ? -8 : -70, 4);
            for (int64_t j = 0; j < columns * K; j++) w[j] = (float)random_wide(&r, j % 3 ? -8 : -75, 4);
            a[0] = -0.0f;
            for (int row = 0; row < rows; row++)
                for (int column = 0; column < columns; column++)
                    for (int64_t k = 0; k < K; k++)
                        expected[row * columns + column] =
                            fmaf(a[row * K + k], w[k * columns + column], expected[row * columns + column]);
            kernels[i].run(K, a, w, acc);
            assert_memory_equal(acc, expected, (size_t)(rows * columns) * sizeof *acc);
            free(a);
            free(w);
            free(acc);
            free(expected);
        }
    }
}

/* ---- the grouped GEMM ---- */

static float read_f32(const mp_tensor *t, int64_t at) {
    return (float)mp_decode(t->dtype, t->data, at);
}

/* One float32 fma chain an element, + bias, * weight, one store; zeros for filtered slots; the poison
 * everywhere else. */
static void the_grouped_gemm_has_the_bits_of_its_definition(void **unused) {
    (void)unused;
    static const struct {
        mp_dtype dtype;
        int64_t slots, E, N, K;
        bool bias, weights;
    } shapes[] = {
        {MP_BF16, 29, 3, 257, 5, true, true},  {MP_FP16, 7, 11, 33, 130, true, false},
        {MP_FP32, 50, 2, 31, 64, false, true}, {MP_FP32, 3, 1, 1, 1, false, false},
        {MP_BF16, 2100, 1, 20, 3, true, true},
    };
    rng r = {15};
    for (size_t s = 0; s < COUNT(shapes); s++) {
        mp_error err;
        const int64_t slots = shapes[s].slots, E = shapes[s].E, N = shapes[s].N, K = shapes[s].K,
                      rows = slots + 3;
        const mp_dtype dtype = shapes[s].dtype;
        mp_tensor a = allocated_tensor(dtype, slots, K, 0), w = allocated_tensor(dtype, E, N, K),
                  bias = allocated_tensor(dtype, E, N, 0);
        mp_tensor out = allocated_tensor(dtype, rows, N, 0), expected = allocated_tensor(dtype, rows, N, 0);
        const mp_tensor *filled[] = {&a, &w, &bias};
        for (size_t i = 0; i < COUNT(filled); i++)
            for (int64_t j = 0; j < mp_tensor_count(filled[i]); j++)
                mp_encode(dtype, filled[i]->data, j, random_wide(&r, -6, 3));
        int32_t *ids = allocated(slots, sizeof *ids);
        int64_t *a_row = allocated(slots, sizeof *a_row), *out_row = allocated(slots, sizeof *out_row);
        float *weights = allocated(slots, sizeof *weights);
        for (int64_t t = 0; t < slots; t++) {
            ids[t] = (int32_t)random_below(&r, E + 1) - 1;
            a_row[t] = t % 7 == 5 ? -1 : slots - 1 - t;
            out_row[t] = rows - 1 - t;
            weights[t] = (float)random_unit(&r);
        }
        for (int64_t t = 0; t < slots; t++)
            for (int64_t n = 0; n < N; n++) {
                float acc = 0;
                if (ids[t] >= 0 && a_row[t] < 0) continue;
                if (ids[t] >= 0) {
                    for (int64_t k = 0; k < K; k++)
                        acc =
                            fmaf(read_f32(&a, a_row[t] * K + k), read_f32(&w, (ids[t] * N + n) * K + k), acc);
                    if (shapes[s].bias) acc += read_f32(&bias, ids[t] * N + n);
                    if (shapes[s].weights) acc *= weights[t];
                }
                mp_encode(dtype, expected.data, out_row[t] * N + n, (double)acc);
            }
        const mp_gemm_problem p = {
            .a = {.codes = &a}, .a_row = a_row, .w = {.codes = &w}, .topk_ids = ids, .slots = slots};
        const mp_epilogue epilogue = {.bias = shapes[s].bias ? &bias : NULL,
                                      .weights = shapes[s].weights ? weights : NULL};
        assert_int_equal(mp_fma_gemm(&p, &epilogue, out_row, &out, &err), MP_OK);
        assert_true(same_memory(&out, &expected));
        int64_t offset;
        assert_true(mp_tensor_guards_intact(&out, &offset));
        mp_tensor_free(&a);
        mp_tensor_free(&w);
        mp_tensor_free(&bias);
        mp_tensor_free(&out);
        mp_tensor_free(&expected);
        free(ids);
        free(a_row);
        free(out_row);
        free(weights);
    }
}

/* As mp_gemm_stage: a slot whose out_row is -1 is computed for nobody. */
static void a_slot_without_an_output_row_is_skipped(void **unused) {
    (void)unused;
    mp_error err;
    mp_tensor a = allocated_tensor(MP_FP32, 3, 2, 0), w = allocated_tensor(MP_FP32, 1, 1, 2),
              out = allocated_tensor(MP_FP32, 3, 1, 0);
    for (int64_t i = 0; i < 6; i++) mp_encode(MP_FP32, a.data, i, (double)i);
    for (int64_t i = 0; i < 2; i++) mp_encode(MP_FP32, w.data, i, 1);
    const int64_t a_row[] = {0, 1, 2}, out_row[] = {0, -1, 2};
    const int32_t ids[] = {0, 0, 0};
    const mp_gemm_problem p = {
        .a = {.codes = &a}, .a_row = a_row, .w = {.codes = &w}, .topk_ids = ids, .slots = 3};
    assert_int_equal(mp_fma_gemm(&p, &(mp_epilogue){0}, out_row, &out, &err), MP_OK);
    int64_t offset;
    assert_true(mp_tensor_guards_intact(&out, &offset));
    assert_true(mp_decode(MP_FP32, out.data, 0) == 1 && isnan(mp_decode(MP_FP32, out.data, 1)) &&
                mp_decode(MP_FP32, out.data, 2) == 9);
    mp_tensor_free(&a);
    mp_tensor_free(&w);
    mp_tensor_free(&out);
}

/* ---- the pipeline ---- */

static mp_trace run_host(const mp_case *c, const mp_inputs *in) {
    mp_error err;
    mp_trace trace;
    if (mp_host_run(c, in, 16, MP_POISON_A, &trace, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < MP_TENSOR_COUNT; i++) {
        int64_t offset;
        if (trace.t[i].data) assert_true(mp_tensor_guards_intact(&trace.t[i], &offset));
    }
    return trace;
}

static void assert_same(const mp_trace *a, const mp_trace *b, mp_tensor_id which) {
    if (!same_memory(&a->t[which], &b->t[which])) fail_msg("%s differs", mp_tensor_name(which));
}

/* out from the trace's own cache2 by the formulas, one element at a time: what down and combine owe. */
static float expected_out(const fixture *f, const mp_trace *trace, int64_t m, int64_t k) {
    const mp_case *c = &f->c;
    const int32_t *ids = f->in.t[MP_TOPK_IDS].data;
    float sum = 0;
    for (int64_t j = 0; j < c->topk; j++) {
        const int64_t t = m * c->topk + j;
        float acc = 0;
        for (int64_t n = 0; n < c->N && ids[t] >= 0; n++)
            acc = fmaf(read_f32(&trace->t[MP_CACHE2], t * c->N + n),
                       read_f32(&f->in.t[MP_W2], (ids[t] * c->K + k) * c->N + n), acc);
        acc *= read_f32(&f->in.t[MP_TOPK_WEIGHTS], t);
        sum += (float)mp_round_to(c->dtype, (double)acc);
        if (c->fused_sum) sum = (float)mp_round_to(c->dtype, (double)sum);
    }
    return (float)mp_round_to(c->dtype, (double)(sum * (float)c->rsf));
}

static void every_stage_computes_its_formula(void **unused) {
    (void)unused;
    static const char *const cases[] = {
        "M=9 topk=3 K=40 N=24 rsf=2.5 filter=0.3", "M=9 topk=4 K=40 N=24 rsf=0.7 fused_sum=1 filter=0.2",
        "M=9 topk=1 K=40 N=24 rsf=1.5 dtype=fp16 act=swiglu_oai interleaved=1"};
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture f = made(cases[i]);
        const mp_case *c = &f.c;
        mp_trace trace = run_host(c, &f.in);
        const int32_t *ids = f.in.t[MP_TOPK_IDS].data;
        for (int64_t t = 0; t < mp_case_slots(c); t++) {
            for (int64_t n = 0; n < 2 * c->N; n++) {
                float acc = 0;
                for (int64_t k = 0; k < c->K && ids[t] >= 0; k++)
                    acc = fmaf(read_f32(&f.in.t[MP_X], t / c->topk * c->K + k),
                               read_f32(&f.in.t[MP_W1], (ids[t] * 2 * c->N + n) * c->K + k), acc);
                assert_true(mp_decode(c->dtype, trace.t[MP_CACHE1].data, t * 2 * c->N + n) ==
                            mp_round_to(c->dtype, (double)acc));
            }
            for (int64_t n = 0; n < c->N; n++) {
                const float g = read_f32(&trace.t[MP_CACHE1], t * 2 * c->N + (c->interleaved ? 2 * n : n));
                const float u =
                    read_f32(&trace.t[MP_CACHE1], t * 2 * c->N + (c->interleaved ? 2 * n + 1 : c->N + n));
                const double stored = mp_decode(c->dtype, trace.t[MP_CACHE2].data, t * c->N + n);
                if (ids[t] < 0)
                    assert_true(isnan(stored)); /* the poison */
                else
                    assert_true(stored == mp_round_to(c->dtype, (double)mp_activate_f32((int)c->act, 1, g, u,
                                                                                        (float)c->alpha,
                                                                                        (float)c->limit)));
            }
        }
        for (int64_t m = 0; m < c->M; m++)
            for (int64_t k = 0; k < c->K; k++)
                assert_true(read_f32(&trace.t[MP_OUT], m * c->K + k) == expected_out(&f, &trace, m, k));
        mp_trace_destroy(&trace);
        mp_inputs_destroy(&f.in);
    }
}

static void threads_do_not_change_a_bit(void **unused) {
    (void)unused;
    static const char *const cases[] = {
        "M=33 topk=3 K=96 N=300 bias=1 act=gelu",       "M=64 topk=4 K=64 N=40 routing=hot layout=sorted",
        "M=40 topk=4 K=70 N=24 fused_sum=1 filter=0.3", "M=17 topk=2 K=600 N=33 dtype=fp32 mode=no_combine",
        "M=29 topk=5 K=77 scope=combine dtype=fp64",    "M=100 topk=6 E=60 scope=align"};
    const int before = omp_get_max_threads();
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture f = made(cases[i]);
        omp_set_num_threads(1);
        mp_trace one = run_host(&f.c, &f.in);
        for (int threads = 2; threads <= 3; threads++) {
            omp_set_num_threads(threads);
            mp_trace many = run_host(&f.c, &f.in);
            for (int t = 0; t < MP_TENSOR_COUNT; t++)
                if (one.t[t].data) assert_same(&one, &many, (mp_tensor_id)t);
            mp_trace_destroy(&many);
        }
        mp_trace_destroy(&one);
        mp_inputs_destroy(&f.in);
    }
    omp_set_num_threads(before);
}

/* More than one chunk; the last is short. The align tensors of a chunk are those of its tokens alone. */
static void fused_runner_and_chunked_paths_agree(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=65600 topk=2 E=4 K=12 N=8",
                                        "M=65600 topk=2 E=4 K=12 N=8 path=runner",
                                        "M=65600 topk=2 E=4 K=12 N=8 path=chunked"};
    fixture f = made(texts[0]);
    mp_trace fused = run_host(&f.c, &f.in);
    for (size_t i = 1; i < COUNT(texts); i++) {
        const mp_case c = case_of(texts[i]);
        mp_trace other = run_host(&c, &f.in);
        for (int t = MP_CACHE1; t <= MP_OUT; t++) assert_same(&fused, &other, (mp_tensor_id)t);
        mp_trace_destroy(&other);
    }
    const mp_case chunked = case_of(texts[2]);
    mp_trace all = run_host(&chunked, &f.in);
    for (int64_t chunk = 0; chunk < 2; chunk++) {
        mp_error err;
        mp_tensor tensors[MP_TENSOR_COUNT];
        mp_trace window = all;
        mp_inputs in = f.in;
        mp_case_chunk_tensors(&chunked, chunk, all.t, window.t);
        mp_case_chunk_tensors(&chunked, chunk, f.in.t, in.t);
        mp_case part = f.c;
        part.M = mp_case_chunk_tokens(&chunked, chunk);
        mp_trace alone;
        assert_int_equal(mp_trace_create(&part, 16, MP_POISON_A, &alone, &err), MP_OK);
        mp_all_tensors(&in, &alone, tensors);
        assert_int_equal(mp_ref_align(&part, 16, tensors, &err), MP_OK);
        const int32_t length = *(int32_t *)alone.t[MP_NUM_TOKENS_POST_PADDED].data;
        assert_int_equal(*(int32_t *)window.t[MP_NUM_TOKENS_POST_PADDED].data, length);
        assert_memory_equal(window.t[MP_SORTED_TOKEN_IDS].data, alone.t[MP_SORTED_TOKEN_IDS].data,
                            (size_t)length * sizeof(int32_t));
        assert_memory_equal(window.t[MP_EXPERT_IDS].data, alone.t[MP_EXPERT_IDS].data,
                            (size_t)length / 16 * sizeof(int32_t));
        mp_trace_destroy(&alone);
    }
    mp_trace_destroy(&all);
    mp_trace_destroy(&fused);
    mp_inputs_destroy(&f.in);
}

/* An expert's slots one after the other from its first row on, as many as its count; filtered ones
 * nowhere. */
static void masked_rows_are_the_experts(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=21 topk=3 K=50 N=30 filter=0.2 layout=masked",
                                        "M=50 topk=3 K=50 N=30 routing=zipf layout=masked",
                                        "M=17 topk=4 K=50 N=30 routing=duplicates layout=masked"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture plain = made(texts[i]), f = plain;
        plain.c.layout = MP_ROUTE;
        mp_trace route = run_host(&plain.c, &f.in), masked = run_host(&f.c, &f.in);
        const int64_t max_m = i < 2 ? f.c.M : mp_case_slots(&f.c);
        const int32_t *ids = f.in.t[MP_TOPK_IDS].data, *counts = masked.t[MP_MASKED_M].data;
        int64_t rows[150], next[8] = {0};
        mp_trace_slot_rows(&f.c, masked.t, rows);
        for (int64_t t = 0; t < mp_case_slots(&f.c); t++) {
            assert_int_equal(rows[t], ids[t] < 0 ? -1 : ids[t] * max_m + next[ids[t]]++);
            if (rows[t] < 0) continue;
            assert_memory_equal(mp_tensor_row(&route.t[MP_CACHE1], t),
                                mp_tensor_row(&masked.t[MP_CACHE1], rows[t]), 2 * 30 * 2);
            assert_memory_equal(mp_tensor_row(&route.t[MP_CACHE2], t),
                                mp_tensor_row(&masked.t[MP_CACHE2], rows[t]), 30 * 2);
        }
        for (int e = 0; e < 8; e++) assert_int_equal(counts[e], next[e]);
        assert_same(&route, &masked, MP_CACHE3);
        assert_same(&route, &masked, MP_OUT);
        mp_trace_destroy(&route);
        mp_trace_destroy(&masked);
        mp_inputs_destroy(&f.in);
    }
}

static void inplace_and_layout_give_the_same_output(void **unused) {
    (void)unused;
    fixture f = made("M=21 topk=3 K=50 N=30 rsf=0.5 filter=0.2 bias=1");
    const uint64_t digest = mp_inputs_digest(&f.in);
    mp_trace plain = run_host(&f.c, &f.in);
    static const char *const others[] = {"M=21 topk=3 K=50 N=30 rsf=0.5 filter=0.2 bias=1 mode=inplace",
                                         "M=21 topk=3 K=50 N=30 rsf=0.5 filter=0.2 bias=1 layout=sorted",
                                         "M=21 topk=3 K=50 N=30 rsf=0.5 filter=0.2 bias=1 path=runner"};
    for (size_t i = 0; i < COUNT(others); i++) {
        const mp_case c = case_of(others[i]);
        mp_trace other = run_host(&c, &f.in);
        assert_same(&plain, &other, MP_OUT);
        assert_same(&plain, &other, MP_CACHE3);
        assert_true(mp_inputs_digest(&f.in) == digest);
        int64_t rows[63], width = 2 * c.N;
        mp_trace_slot_rows(&c, other.t, rows);
        const int32_t *sorted = other.t[MP_SORTED_TOKEN_IDS].data;
        for (int64_t t = 0; t < mp_case_slots(&c); t++)
            assert_int_equal(c.layout == MP_SORTED ? sorted[rows[t]] : rows[t], t);
        for (int64_t t = 0; t < mp_case_slots(&c); t++)
            assert_memory_equal(mp_tensor_row(&plain.t[MP_CACHE1], t),
                                mp_tensor_row(&other.t[MP_CACHE1], rows[t]), (size_t)width * 2);
        mp_trace_destroy(&other);
    }
    mp_trace_destroy(&plain);
    mp_inputs_destroy(&f.in);
}

/* A token's bits do not depend on the batch: the contract's promise. */
static void a_token_alone_has_the_bits_it_has_in_a_batch(void **unused) {
    (void)unused;
    fixture f = made("M=40 topk=3 K=90 N=50 routing=hot");
    mp_trace batch = run_host(&f.c, &f.in);
    for (int64_t m = 0; m < f.c.M; m += 13) {
        mp_case c = f.c;
        c.M = 1;
        mp_inputs in = f.in;
        mp_token_window(&f.c, m, 1, f.in.t, in.t);
        mp_trace alone = run_host(&c, &in);
        assert_memory_equal(alone.t[MP_OUT].data, mp_tensor_row(&batch.t[MP_OUT], m),
                            mp_tensor_bytes(&alone.t[MP_OUT]));
        mp_trace_destroy(&alone);
    }
    mp_trace_destroy(&batch);
    mp_inputs_destroy(&f.in);
}

static void the_contract_says_what_the_host_does(void **unused) {
    (void)unused;
    mp_case c = mp_case_default();
    assert_int_equal(mp_host_contract(&c).combine, MP_COMBINE_SCALE_THEN_ROUND);
    assert_int_equal(mp_host_contract(&c).gate_up.accumulator, MP_ACC_TENSOR_CORE);
    c.dtype = MP_FP32;
    assert_int_equal(mp_host_contract(&c).down.accumulator, MP_ACC_FMA_ASCENDING);
    const mp_contract contract = mp_host_contract(&c);
    assert_true(contract.stable_align && contract.align_tail && mp_contract_deterministic(&contract, &c) &&
                mp_contract_batch_invariant(&contract, &c));
    c.fused_sum = true;
    assert_int_equal(mp_host_contract(&c).combine, MP_COMBINE_ELEMENT_DTYPE);
}

/* ---- trace plans: written out by hand from the header ---- */

static void trace_shapes_follow_mode_layout_and_path(void **unused) {
    (void)unused;
    /* P, blocks: capacity and blocks of one chunk, chunks rows of them; R: rows of the caches; out_rows of K.
     * 0: not part of the case. BM = 16, K = 40, N = 24 */
    static const struct {
        const char *text;
        int64_t chunks, P, blocks, R, w1_rows, cache3_rows, out_rows;
    } plans[] = {
        {"M=10 topk=2 K=40 N=24", 1, 20 + 9 * 15, 10, 20, 48, 20, 10},
        {"M=10 topk=2 K=40 N=24 gated=0", 1, 20 + 9 * 15, 10, 20, 24, 20, 10},
        {"M=2 topk=2 K=40 N=24", 1, 4 * 16, 4, 4, 48, 4, 2}, /* fewer slots than E+1 */
        {"M=10 topk=2 K=40 N=24 layout=sorted", 1, 20 + 9 * 15, 10, 20 + 9 * 15, 48, 20, 10},
        {"M=2 topk=2 K=40 N=24 layout=sorted", 1, 64, 4, 4 + 4 * 15, 48, 4, 2},
        {"M=10 topk=2 K=40 N=24 layout=masked", 1, 155, 10, 8 * 10, 48, 20, 10},
        {"M=10 topk=2 K=40 N=24 layout=masked routing=duplicates", 1, 155, 10, 8 * 20, 48, 20, 10},
        {"M=10 topk=2 K=40 N=24 mode=no_combine", 1, 155, 10, 20, 48, 0, 20},
        {"M=10 topk=2 K=40 N=24 mode=inplace", 1, 155, 10, 20, 48, 20, 10},
        {"M=10 topk=3 K=40 N=24 fused_sum=1", 1, 30 + 9 * 15, 11, 30, 48, 0, 10},
        {"M=10 topk=1 K=40 N=24", 1, 10 + 9 * 15, 10, 10, 48, 0, 10}, /* down writes out */
        {"M=10 topk=1 K=40 N=24 rsf=2", 1, 145, 10, 10, 48, 10, 10},  /* but not when it must be scaled */
        {"M=10 topk=1 K=40 N=24 path=runner", 1, 145, 10, 10, 48, 10, 10}, /* nor with hooks */
        {"M=70000 topk=2 K=40 N=24 path=chunked", 2, 131072 + 9 * 15, 8201, 140000, 48, 140000, 70000},
        {"M=10 topk=2 scope=align", 1, 155, 10, 0, 0, 0, 0},
        {"M=10 topk=2 K=40 scope=combine", 0, 0, 0, 0, 0, 0, 10},
    };
    for (size_t i = 0; i < COUNT(plans); i++) {
        const mp_case c = case_of(plans[i].text);
        mp_trace plan;
        mp_trace_plan(&c, 16, &plan);
        const int64_t align = plans[i].chunks * plans[i].P, blocks = plans[i].chunks * plans[i].blocks;
        const int64_t counts[MP_TENSOR_COUNT] = {[MP_SORTED_TOKEN_IDS] = align,
                                                 [MP_EXPERT_IDS] = blocks,
                                                 [MP_NUM_TOKENS_POST_PADDED] = plans[i].chunks,
                                                 [MP_MASKED_M] = c.layout == MP_MASKED ? 8 : 0,
                                                 [MP_CACHE1] = plans[i].R * plans[i].w1_rows,
                                                 [MP_CACHE2] = plans[i].R * 24,
                                                 [MP_CACHE3] = plans[i].cache3_rows * 40,
                                                 [MP_OUT] = plans[i].out_rows * 40};
        for (int t = 0; t < MP_TENSOR_COUNT; t++) {
            if (mp_tensor_count(&plan.t[t]) != counts[t])
                fail_msg("%s: %s has %lld elements, expected %lld", plans[i].text,
                         mp_tensor_name((mp_tensor_id)t), (long long)mp_tensor_count(&plan.t[t]),
                         (long long)counts[t]);
            assert_int_equal(plan.t[t].rank > 0, counts[t] > 0);
            assert_int_equal((mp_case_outputs(&c) & MP_IN_SET(t)) != 0, counts[t] > 0);
            assert_null(plan.t[t].data);
            if (counts[t])
                assert_int_equal(plan.t[t].dtype, mp_tensors[t].rows == MP_ROWS_CHUNK ? MP_I32 : c.dtype);
        }
        if (plans[i].out_rows) assert_int_equal(plan.t[MP_OUT].rank, c.mode == MP_MODE_NO_COMBINE ? 3 : 2);
        if (plans[i].cache3_rows)
            assert_true(plan.t[MP_CACHE3].dim[0] == c.M && plan.t[MP_CACHE3].dim[1] == c.topk);
        if (plans[i].P)
            assert_true(plan.t[MP_SORTED_TOKEN_IDS].dim[0] == plans[i].chunks &&
                        plan.t[MP_SORTED_TOKEN_IDS].dim[1] == plans[i].P);
    }
}

static void chunks_partition_the_tokens(void **unused) {
    (void)unused;
    static const int64_t tokens[] = {1,     MP_CHUNK_TOKENS - 1, MP_CHUNK_TOKENS, MP_CHUNK_TOKENS + 1,
                                     70000, 3 * MP_CHUNK_TOKENS};
    for (size_t i = 0; i < COUNT(tokens); i++) {
        mp_case c = mp_case_default();
        c.M = tokens[i];
        assert_int_equal(mp_case_chunks(&c), 1);
        assert_int_equal(mp_case_chunk_tokens(&c, 0), c.M);
        c.path = MP_CHUNKED;
        int64_t sum = 0;
        for (int64_t chunk = 0; chunk < mp_case_chunks(&c); chunk++) {
            const int64_t here = mp_case_chunk_tokens(&c, chunk);
            assert_true(here > 0 && here <= MP_CHUNK_TOKENS && mp_case_chunk(&c, chunk).M == here);
            sum += here;
        }
        assert_int_equal(sum, c.M);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(micro_kernels_are_a_plain_fma_loop),
        cmocka_unit_test(the_grouped_gemm_has_the_bits_of_its_definition),
        cmocka_unit_test(a_slot_without_an_output_row_is_skipped),
        cmocka_unit_test(every_stage_computes_its_formula),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(fused_runner_and_chunked_paths_agree),
        cmocka_unit_test(masked_rows_are_the_experts),
        cmocka_unit_test(inplace_and_layout_give_the_same_output),
        cmocka_unit_test(a_token_alone_has_the_bits_it_has_in_a_batch),
        cmocka_unit_test(the_contract_says_what_the_host_does),
        cmocka_unit_test(trace_shapes_follow_mode_layout_and_path),
        cmocka_unit_test(chunks_partition_the_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
