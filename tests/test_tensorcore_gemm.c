/* SPDX-License-Identifier: Apache-2.0 */
/* The fast GEMM against the definition, bit by bit.
 * MP_TC_GROUPS=100000000 in the environment runs that many groups of each model instead of the usual
 * number. */
#include "base/bits.h"
#include "ref/predict/tensorcore_gemm.h"
#include "tests/tensorcore_support.h"

#include <omp.h>
#include <stdio.h>

static int64_t groups_wanted(void) {
    const char *text = getenv("MP_TC_GROUPS");
    return text ? strtoll(text, NULL, 10) : 250000;
}

/* ---- tests ---- */

/* a [M,K] by w [1,N,K] by every kernel. Returns the share of results that the definition had to supply. `of`:
 * what the operands are, for the message. */
static double compare_kernels_on(const mp_tc_model *m, const mp_tensor *a, const mp_tensor *w,
                                 const char *of) {
    const int64_t M = a->dim[0], N = w->dim[1];
    mp_tensor expected = allocated_tensor(MP_FP32, M, N, 0), out = allocated_tensor(MP_FP32, M, N, 0);
    mp_tc_counts counts;
    int64_t *row = allocated(M, sizeof *row), all_redone = 0;
    int32_t *ids = allocated(M, sizeof *ids);
    for (int64_t i = 0; i < M; i++) row[i] = i;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < M; i++)
        for (int64_t n = 0; n < N; n++) ((float *)expected.data)[i * N + n] = definition(m, a, i, w, n);

    const mp_gemm_problem problem = {
        .a = {.codes = a}, .a_row = row, .w = {.codes = w}, .topk_ids = ids, .slots = M};
    const mp_tc_kernel *kernels;
    const int count = mp_tc_kernels(&kernels);
    for (int k = 0; k < count; k++) {
        mp_error err;
        memset(out.data, 0x55, mp_tensor_bytes(&out));
        assert_int_equal(
            mp_tc_gemm_with(&kernels[k], m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, &counts, &err),
            MP_OK);
        all_redone += counts.redone;
        for (int64_t i = 0; i < M * N; i++) {
            const uint32_t got = ((const uint32_t *)out.data)[i], want = ((const uint32_t *)expected.data)[i];
            if (got != want)
                fail_msg("%s, %s, L=%d F=%d, %s, K=%lld, row %lld, column %lld: %08X, expected %08X",
                         kernels[k].name, mp_dtype_name(a->dtype), m->group, m->fraction_bits, of,
                         (long long)w->dim[2], (long long)(i / N), (long long)(i % N), got, want);
        }
    }
    mp_tensor_free(&expected);
    mp_tensor_free(&out);
    free(row);
    free(ids);
    return (double)all_redone / (double)(count * M * N);
}

static double compare_kernels(const mp_tc_model *m, family f, int64_t M, int64_t N, int64_t K, rng *r) {
    mp_tensor a = allocated_tensor(SHAPES[m->a].dtype, M, K, 0),
              w = allocated_tensor(SHAPES[m->b].dtype, 1, N, K);
    char of[32];
    snprintf(of, sizeof of, "family %d", f);
    random_rows(r, m->a, f, M, K, &a);
    random_columns(r, m->b, f, N, K, &w);
    const double share = compare_kernels_on(m, &a, &w, of);
    mp_tensor_free(&a);
    mp_tensor_free(&w);
    return share;
}

static void every_kernel_has_the_bits_of_the_definition(void **state) {
    (void)state;
    rng r = {1};
    for (size_t i = 0; i < COUNT(MODELS); i++) {
        const mp_tc_model m = model_of(i);
        for (family f = 0; f < FAMILIES; f++) {
            for (int64_t groups = 0; groups < groups_wanted() / FAMILIES;) {
                /* some with more rows than are packed at once, some with columns that rise again */
                const int64_t M = 1 + random_below(&r, random_below(&r, 4) ? 40 : 100),
                              N = 1 + random_below(&r, 100),
                              K = 1 + random_below(&r, f == ANY              ? 40
                                                       : random_below(&r, 4) ? 130
                                                                             : 600);
                compare_kernels(&m, f, M, N, K, &r);
                groups += M * N * ((K + m.group - 1) / m.group);
            }
        }
    }
}

/* Steps whose sum exceeds 2^31 units, or whose products cancel or vanish, are the kernels' own work too, not
 * the definition's. */
static void kernels_need_no_help_with_ordinary_numbers(void **state) {
    (void)state;
    const family families[] = {MODERATE, SPARSE, CANCEL, FULL};
    rng r = {2};
    for (size_t i = 0; i < COUNT(MODELS); i++) {
        const mp_tc_model m = model_of(i);
        for (size_t f = 0; f < COUNT(families); f++)
            assert_true(compare_kernels(&m, families[f], 20, 70, 64, &r) == 0);
    }
}

/* A product far below the floor counts where nothing else is there, though only one of its operands is small
 * beside the largest of its row: 2^-60 times 2^-30, of a row or of a column. */
static void one_small_operand_is_looked_at(void **state) {
    (void)state;
    enum { K = 64 };
    for (size_t i = 0; i < COUNT(MODELS); i++) {
        const mp_tc_model m = model_of(i);
        if (SHAPES[m.a].exponent_bits < 8) continue; /* none of their numbers is small beside 1 */
        for (int small_w = 0; small_w < 2; small_w++) {
            uint32_t left[K] = {encode(m.a, false, 0, 0)}, right[K] = {0, encode(m.b, false, 0, 0)};
            left[K - 1] = encode(m.a, false, small_w ? -30 : -60, UINT32_MAX);
            right[K - 1] = encode(m.b, true, small_w ? -60 : -30, UINT32_MAX);
            mp_tensor a = allocated_tensor(SHAPES[m.a].dtype, 1, K, 0),
                      w = allocated_tensor(SHAPES[m.b].dtype, 1, 1, K);
            put_codes(&a, 0, K, left);
            put_codes(&w, 0, K, right);
            assert_true(compare_kernels_on(&m, &a, &w, "one small operand") > 0);
            mp_tensor_free(&a);
            mp_tensor_free(&w);
        }
    }
}

/* Sums of the largest significands that pass 2^128 before their last 16 terms take them back: Inf it stays,
 * though the sum of all is finite, and the scaled numbers of a kernel know no Inf. Rows and columns of every
 * exponent around half of 127, so that the sum of both takes every value. */
static void sums_that_overflow_on_the_way_stay_infinite(void **state) {
    (void)state;
    enum { LOWEST = 56, EXPONENTS = 9 };
    static const int64_t lengths[] = {17, 31, 32, 33, 48, 63, 64, 127, 128};
    for (size_t i = 0; i < COUNT(MODELS); i++) {
        const mp_tc_model m = model_of(i);
        if (SHAPES[m.a].exponent_bits < 8) continue; /* no sum of the others comes near */
        for (size_t l = 0; l < COUNT(lengths); l++) {
            const int64_t K = lengths[l];
            uint32_t codes[128];
            mp_tensor a = allocated_tensor(SHAPES[m.a].dtype, 2 * EXPONENTS, K, 0),
                      w = allocated_tensor(SHAPES[m.b].dtype, 1, EXPONENTS, K);
            for (int row = 0; row < 3 * EXPONENTS; row++) { /* of a, of -a, of w */
                for (int64_t k = 0; k < K; k++)
                    codes[k] = encode(m.a, row < 2 * EXPONENTS && (k >= K - 16) != (row >= EXPONENTS),
                                      LOWEST + row % EXPONENTS, UINT32_MAX);
                put_codes(row < 2 * EXPONENTS ? &a : &w, row % (2 * EXPONENTS), K, codes);
            }
            assert_true(compare_kernels_on(&m, &a, &w, "overflowing sums") < 1);
            mp_tensor_free(&a);
            mp_tensor_free(&w);
        }
    }
}

/* What cancellation leaves of products just above the floor is cut at 2^-149, if it lies there: three units
 * of the step. The scaled numbers of a kernel know no subnormals, and the conversion at the end rounds. */
static void sums_that_end_among_the_subnormals_are_cut(void **state) {
    (void)state;
    enum { HIGHEST = -20, EXPONENTS = 20, DEEP = MP_TC_FLOOR - 126, K = 3 };
    for (size_t i = 0; i < COUNT(MODELS); i++) {
        const mp_tc_model m = model_of(i);
        if (SHAPES[m.a].exponent_bits < 8) continue; /* products of the others are far above */
        const int rest = DEEP - m.fraction_bits + 1; /* 3 * 2^(DEEP-F) = 1.5 * 2^rest */
        const uint32_t half = 1u << (SHAPES[m.a].fraction_bits - 1);
        mp_tensor a = allocated_tensor(SHAPES[m.a].dtype, EXPONENTS, K, 0),
                  w = allocated_tensor(SHAPES[m.b].dtype, 1, EXPONENTS, K);
        for (int e = 0; e < EXPONENTS; e++) {
            const uint32_t left[K] = {encode(m.a, false, HIGHEST - e, 0),
                                      encode(m.a, true, HIGHEST - e + DEEP, 0),
                                      encode(m.a, false, HIGHEST - e + rest / 2, half)};
            const uint32_t right[K] = {encode(m.b, false, HIGHEST - e + DEEP, 0),
                                       encode(m.b, false, HIGHEST - e, 0),
                                       encode(m.b, false, HIGHEST - e + rest - rest / 2, 0)};
            put_codes(&a, e, K, left);
            put_codes(&w, e, K, right);
        }
        /* Permuted, the third is in a step of its own, and all of that lies below the floor. */
        const double redone = compare_kernels_on(&m, &a, &w, "cancelled to subnormals");
        assert_true(m.method == MP_TC_PERMUTED ? redone == 1 : redone < 1);
        mp_tensor_free(&a);
        mp_tensor_free(&w);
    }
}

/* Everything around the kernel: experts, slots in any order, filtered slots, rows without a slot, bias,
 * router weights, every output format, tails. */
static void a_grouped_gemm(mp_dtype dtype, mp_dtype out_dtype, bool with_bias, bool with_weights,
                           int threads) {
    enum { E = 3, SLOTS = 90, N = 77, K = 53, ROWS = 100 };
    rng r = {3};
    const mp_tc_input input = dtype == MP_BF16 ? MP_TC_BF16 : MP_TC_FP16;
    const mp_tc_model m = model_of(input == MP_TC_BF16 ? 0 : 1);
    mp_tensor a = allocated_tensor(dtype, SLOTS, K, 0), w = allocated_tensor(dtype, E, N, K),
              bias = allocated_tensor(dtype, E, N, 0);
    mp_tensor out = allocated_tensor(out_dtype, ROWS, N, 0),
              expected = allocated_tensor(out_dtype, ROWS, N, 0);
    int64_t a_row[SLOTS], order[ROWS], out_row[SLOTS];
    int32_t ids[SLOTS];
    float weights[SLOTS];
    random_order(&r, a_row, SLOTS);
    random_order(&r, order, ROWS);
    random_rows(&r, input, MODERATE, SLOTS, K, &a);
    random_columns(&r, input, MODERATE, E * N, K, &w);
    random_columns(&r, input, MODERATE, E, N, &bias);
    for (int64_t t = 0; t < SLOTS; t++) {
        ids[t] = (int32_t)random_below(&r, E + 1) - 1;
        out_row[t] = t % 10 == 9 ? -1 : order[t];
        weights[t] = (float)random_unit(&r);
    }
    for (int64_t t = 0; t < SLOTS; t++)
        for (int64_t n = 0; n < N && out_row[t] >= 0; n++) {
            float value = ids[t] < 0 ? 0 : definition(&m, &a, a_row[t], &w, ids[t] * N + n);
            if (ids[t] >= 0 && with_bias) value += (float)mp_decode(dtype, bias.data, ids[t] * N + n);
            if (ids[t] >= 0 && with_weights) value *= weights[t];
            mp_encode(out_dtype, expected.data, out_row[t] * N + n, (double)value);
        }

    mp_error err;
    const mp_gemm_problem problem = {
        .a = {.codes = &a}, .a_row = a_row, .w = {.codes = &w}, .topk_ids = ids, .slots = SLOTS};
    const mp_epilogue epilogue = {.bias = with_bias ? &bias : NULL, .weights = with_weights ? weights : NULL};
    omp_set_num_threads(threads);
    assert_int_equal(mp_tc_gemm(&m, NULL, &problem, &epilogue, out_row, &out, &err), MP_OK);
    assert_true(same_memory(&out, &expected)); /* rows without a slot still hold the poison both began with */
    mp_tensor_free(&a);
    mp_tensor_free(&w);
    mp_tensor_free(&bias);
    mp_tensor_free(&out);
    mp_tensor_free(&expected);
}

static void grouped_gemm_with_everything(void **state) {
    (void)state;
    static const mp_dtype outs[] = {MP_BF16, MP_FP16, MP_FP32};
    const int threads = omp_get_max_threads();
    for (int dtype = 0; dtype < 2; dtype++)
        for (size_t o = 0; o < COUNT(outs); o++)
            for (int variant = 0; variant < 4; variant++)
                for (int t = 1; t <= 3; t++)
                    a_grouped_gemm(dtype ? MP_FP16 : MP_BF16, outs[o], variant & 1, variant & 2, t);
    omp_set_num_threads(threads);
}

/* A sum of nothing but the smallest number of its format, by every kernel. */
static void the_smallest_numbers_count(void **state) {
    (void)state;
    const int64_t row = 0;
    const int32_t id = 0;
    for (size_t i = 0; i < COUNT(MODELS); i++) {
        const mp_tc_model m = model_of(i);
        mp_tensor a = allocated_tensor(SHAPES[m.a].dtype, 1, 1, 0),
                  w = allocated_tensor(SHAPES[m.b].dtype, 1, 1, 1), out = allocated_tensor(MP_FP32, 1, 1, 0);
        const uint32_t smallest = m.a == MP_TC_TF32 ? 1 << 13 : 1, large = encode(m.b, false, 100, 0);
        const mp_gemm_problem problem = {
            .a = {.codes = &a}, .a_row = &row, .w = {.codes = &w}, .topk_ids = &id, .slots = 1};
        const mp_tc_kernel *kernels;
        mp_error err;
        put_codes(&a, 0, 1, &smallest);
        put_codes(&w, 0, 1, &large);
        const float expected = definition(&m, &a, 0, &w, 0);
        assert_true(expected > 0);
        for (int k = mp_tc_kernels(&kernels) - 1; k >= 0; k--) {
            assert_int_equal(
                mp_tc_gemm_with(&kernels[k], &m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, NULL, &err),
                MP_OK);
            assert_true(*(const float *)out.data == expected);
        }
        mp_tensor_free(&a);
        mp_tensor_free(&w);
        mp_tensor_free(&out);
    }
}

/* What add was told, and what it makes of it: sum = sum * factor + dot, which no other order of parts
 * gives. */
typedef struct told {
    const mp_gemm_problem *problem;
    int64_t terms, calls;
    bool wrong;
} told;

static void add_told(const void *ctx, const mp_tc_part *part) {
    told *seen = (told *)(uintptr_t)ctx;
    const mp_gemm_f32_tile *t = part->tile;
#pragma omp atomic
    seen->calls++;
    for (int64_t r = 0; r < t->count; r++) {
        const int32_t expert = seen->problem->topk_ids[t->slot[r]];
        if (expert != t->expert) seen->wrong = true;
        for (int64_t n = 0; n < t->n; n++) {
            float *sum = &part->sum[r * part->stride + n];
            const float factor = (float)(1 + (part->index + t->slot[r] + t->n0 + n) % 3);
            *sum = *sum * factor + part->dot[r * part->stride + n];
        }
    }
}

/* Every part of k from zero, in ascending order, with the slots and columns that it belongs to; by promotion
 * and by a sum of the caller's own. */
static void parts_of_k_are_summed_one_after_the_other(void **state) {
    (void)state;
    enum { E = 2, SLOTS = 13, N = 67 };
    static const int64_t lengths[] = {32, 64, 128, 1024}, Ks[] = {1, 64, 130, 300};
    rng r = {6};
    for (size_t i = 0; i < COUNT(MODELS); i++)
        for (int trial = 0; trial < 8; trial++) {
            const mp_tc_model m = model_of(i);
            const int64_t K = Ks[trial % 4], terms = lengths[random_below(&r, 4)];
            const bool own = trial >= 4;
            mp_tensor a = allocated_tensor(SHAPES[m.a].dtype, SLOTS, K, 0),
                      w = allocated_tensor(SHAPES[m.b].dtype, E, N, K),
                      out = allocated_tensor(MP_FP32, SLOTS, N, 0),
                      expected = allocated_tensor(MP_FP32, SLOTS, N, 0);
            int64_t row[SLOTS];
            int32_t ids[SLOTS];
            mp_error err;
            random_order(&r, row, SLOTS);
            random_rows(&r, m.a, trial % 2 ? EDGES : MODERATE, SLOTS, K, &a);
            random_columns(&r, m.b, trial % 2 ? WIDE : MODERATE, E * N, K, &w);
            for (int64_t t = 0; t < SLOTS; t++) ids[t] = (int32_t)random_below(&r, E);
            const mp_gemm_problem problem = {
                .a = {.codes = &a}, .a_row = row, .w = {.codes = &w}, .topk_ids = ids, .slots = SLOTS};
            told seen = {.problem = &problem, .terms = terms};
            const mp_tc_parts parts =
                own ? (mp_tc_parts){.terms = terms, .add = add_told, .ctx = &seen} : mp_tc_promotion(terms);
            const mp_tc_kernel *kernels;
            for (int64_t at = 0; at < SLOTS * N; at++) {
                const int64_t t = at / N, n = at % N;
                float sum = 0;
                for (int64_t first = 0, p = 0; first < K; first += terms, p++) {
                    const int64_t end = K - first < terms ? K : first + terms;
                    const float dot = definition_of(&m, &a, row[t], &w, ids[t] * N + n, first, end);
                    sum = own ? sum * (float)(1 + (p + t + n) % 3) + dot : sum + dot;
                }
                ((float *)expected.data)[at] = sum != sum ? mp_float_of_bits(0x7FFFFFFF) : sum;
            }
            for (int k = mp_tc_kernels(&kernels) - 1; k >= 0; k--) {
                assert_int_equal(mp_tc_gemm_with(&kernels[k], &m, &parts, &problem, &(mp_epilogue){0}, NULL,
                                                 &out, NULL, &err),
                                 MP_OK);
                for (int64_t at = 0; at < SLOTS * N; at++) {
                    const float got = ((const float *)out.data)[at],
                                want = ((const float *)expected.data)[at];
                    const bool same_nan = own && got != got && want != want; /* add_told's own */
                    if (!same_nan && mp_bits_of_float(got) != mp_bits_of_float(want))
                        fail_msg("%s, model %zu, K=%lld in parts of %lld, slot %lld, column %lld: %a, "
                                 "expected %a",
                                 kernels[k].name, i, (long long)K, (long long)terms, (long long)(at / N),
                                 (long long)(at % N), (double)got, (double)want);
                }
            }
            assert_false(seen.wrong);
            assert_true(!own || seen.calls > 0);
            mp_tensor_free(&expected);
            mp_tensor_free(&a);
            mp_tensor_free(&w);
            mp_tensor_free(&out);
        }
}

/* What the kernels do not cover comes from the definition: right, and slow. */
static void the_definition_helps_where_no_kernel_does(void **state) {
    (void)state;
    rng r = {4};
    mp_tc_model m;
    assert_true(mp_tc_find(90, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, &m));
    m.result = MP_TC_FLOAT16;
    assert_true(compare_kernels(&m, MODERATE, 7, 30, 77, &r) == 1);
}

/* The model has no word for it, or other operands than the tensors: refused, nothing computed. */
static void what_cannot_be_computed_is_refused(void **state) {
    (void)state;
    mp_error err;
    mp_tensor a = allocated_tensor(MP_BF16, 1, 32, 0), w = allocated_tensor(MP_BF16, 1, 1, 32),
              out = allocated_tensor(MP_FP32, 1, 1, 0);
    const int64_t row = 0;
    const int32_t id = 0;
    const mp_gemm_problem problem = {
        .a = {.codes = &a}, .a_row = &row, .w = {.codes = &w}, .topk_ids = &id, .slots = 1};
    mp_tc_model m = model_of(1);
    assert_int_equal(mp_tc_gemm(&m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "bf16"));
    assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_S8, MP_TC_S8, &m));
    assert_int_equal(mp_tc_gemm(&m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, &err), MP_EUNSUPPORTED);
    m = model_of(0);
    const mp_tc_parts half_a_step = mp_tc_promotion(24);
    assert_int_equal(mp_tc_gemm(&m, &half_a_step, &problem, &(mp_epilogue){0}, NULL, &out, &err),
                     MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "parts of 24 terms"));
    m.method = MP_TC_PERMUTED;
    const mp_tc_parts half_of_32 = mp_tc_promotion(48); /* steps, but no 32 that change places */
    assert_int_equal(mp_tc_gemm(&m, &half_of_32, &problem, &(mp_epilogue){0}, NULL, &out, &err),
                     MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "parts of 48 terms"));
    m.group = 12;
    assert_int_equal(mp_tc_gemm(&m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "steps of 12 terms"));
    m = model_of(2);
    m.method = MP_TC_PERMUTED;
    a.dtype = w.dtype = MP_FP32; /* looked at before any of their numbers is */
    assert_int_equal(mp_tc_gemm(&m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "are not permuted"));
    a.dtype = w.dtype = MP_BF16;
    m = model_of(0);
    m.method = MP_TC_THROUGH_FP16;
    assert_int_equal(mp_tc_gemm(&m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "do not go through fp16"));
    assert_int_equal(*(const uint32_t *)out.data, MP_POISON_A);
    mp_tensor_free(&a);
    mp_tensor_free(&w);
    mp_tensor_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_has_the_bits_of_the_definition),
        cmocka_unit_test(kernels_need_no_help_with_ordinary_numbers),
        cmocka_unit_test(the_smallest_numbers_count),
        cmocka_unit_test(one_small_operand_is_looked_at),
        cmocka_unit_test(sums_that_overflow_on_the_way_stay_infinite),
        cmocka_unit_test(sums_that_end_among_the_subnormals_are_cut),
        cmocka_unit_test(grouped_gemm_with_everything),
        cmocka_unit_test(parts_of_k_are_summed_one_after_the_other),
        cmocka_unit_test(the_definition_helps_where_no_kernel_does),
        cmocka_unit_test(what_cannot_be_computed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
