/* SPDX-License-Identifier: Apache-2.0 */
/* int8 sums against 64-bit integers. */
#include "ref/predict/int8_gemm.h"
#include "tests/ref_support.h"

#include "base/bits.h"

static mp_tensor random_int8(rng *r, int64_t rows, int64_t n, int64_t K, bool extreme) {
    mp_tensor t = n ? allocated_tensor(MP_I8, rows, n, K) : allocated_tensor(MP_I8, rows, K, 0);
    for (int64_t i = 0; i < mp_tensor_count(&t); i++)
        ((int8_t *)t.data)[i] = extreme ? -128 : (int8_t)random_below(r, 256);
    return t;
}

static int64_t exact(const mp_tensor *a, int64_t row, const mp_tensor *w, int64_t w_row, int64_t first,
                     int64_t end) {
    const int64_t K = w->dim[2];
    int64_t sum = 0;
    for (int64_t k = first; k < end; k++)
        sum += ((const int8_t *)a->data)[row * K + k] * ((const int8_t *)w->data)[w_row * K + k];
    return sum;
}

static mp_tc_model model_of_s8(void) {
    mp_tc_model m;
    assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_S8, MP_TC_S8, &m));
    return m;
}

/* Experts, slots in any order, tails; k as one, and in parts that are added in float32. */
static void sums_are_exact(void **state) {
    (void)state;
    enum { E = 2, SLOTS = 37, N = 130 };
    static const int64_t Ks[] = {1, 63, 64, 300}, parts_of[] = {0, 128, 50};
    const mp_tc_model m = model_of_s8();
    rng r = {1};
    for (size_t i = 0; i < COUNT(Ks); i++)
        for (size_t j = 0; j < COUNT(parts_of); j++) {
            const int64_t K = Ks[i], length = parts_of[j] ? parts_of[j] : K;
            const mp_tc_parts parts = mp_tc_promotion(length);
            mp_tensor a = random_int8(&r, SLOTS, 0, K, j == 1), w = random_int8(&r, E, N, K, j == 1),
                      out = allocated_tensor(MP_FP32, SLOTS, N, 0);
            int64_t row[SLOTS];
            int32_t ids[SLOTS];
            mp_error err;
            random_order(&r, row, SLOTS);
            for (int t = 0; t < SLOTS; t++) ids[t] = (int32_t)random_below(&r, E);
            const mp_gemm_problem problem = {
                .a = {.codes = &a}, .a_row = row, .w = {.codes = &w}, .topk_ids = ids, .slots = SLOTS};
            assert_int_equal(
                mp_tc_gemm(&m, parts_of[j] ? &parts : NULL, &problem, &(mp_epilogue){0}, NULL, &out, &err),
                MP_OK);
            for (int64_t at = 0; at < SLOTS * N; at++) {
                const int64_t t = at / N, n = ids[t] * N + at % N;
                float sum = 0;
                for (int64_t k = 0; k < K; k += length)
                    sum += (float)exact(&a, row[t], &w, n, k, K - k < length ? K : k + length);
                assert_int_equal(mp_bits_of_float(((const float *)out.data)[at]), mp_bits_of_float(sum));
            }
            mp_tensor_free(&a);
            mp_tensor_free(&w);
            mp_tensor_free(&out);
        }
}

/* 2^14 * K passes 2^31: around the corner, and to the same sum as the definition. With .satfinite it would
 * stay at the limit, which is refused. */
static void long_sums_wrap_around(void **state) {
    (void)state;
    enum { K = MP_INT8_EXACT_TERMS + 9000, FIRST = MP_INT8_EXACT_TERMS };
    mp_tc_model m = model_of_s8();
    rng r = {2};
    const int64_t row = 0;
    const int32_t id = 0;
    mp_tensor a = random_int8(&r, 1, 0, K, true), w = random_int8(&r, 1, 1, K, true),
              out = allocated_tensor(MP_FP32, 1, 1, 0);
    uint32_t *codes = allocated(2 * K, sizeof *codes);
    mp_error err;
    const mp_gemm_problem problem = {
        .a = {.codes = &a}, .a_row = &row, .w = {.codes = &w}, .topk_ids = &id, .slots = 1};
    for (int64_t k = K - 8000; k < K; k++) ((int8_t *)w.data)[k] = (int8_t)random_below(&r, 256);
    for (int64_t k = 0; k < K; k++) {
        codes[k] = ((const uint8_t *)a.data)[k];
        codes[K + k] = ((const uint8_t *)w.data)[k];
    }
    assert_int_equal(mp_tc_gemm(&m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, &err), MP_OK);
    const int32_t expected = (int32_t)mp_tc_dot(&m, K, codes, codes + K, 0);
    assert_true(expected < 0);
    assert_true(*(const float *)out.data == (float)expected);
    m.result = MP_TC_INT32_SATURATED;
    assert_int_equal(mp_tc_gemm(&m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, &err), MP_EUNSUPPORTED);
    const mp_tc_parts parts = mp_tc_promotion(FIRST);
    assert_int_equal(mp_tc_gemm(&m, &parts, &problem, &(mp_epilogue){0}, NULL, &out, &err), MP_OK);
    assert_true(*(const float *)out.data ==
                (float)exact(&a, 0, &w, 0, 0, FIRST) + (float)exact(&a, 0, &w, 0, FIRST, K));
    free(codes);
    mp_tensor_free(&a);
    mp_tensor_free(&w);
    mp_tensor_free(&out);
}

static void other_operands_are_refused(void **state) {
    (void)state;
    const mp_tc_model m = model_of_s8();
    const int64_t row = 0;
    const int32_t id = 0;
    mp_tensor a = allocated_tensor(MP_I8, 1, 4, 0), w = allocated_tensor(MP_U8, 1, 1, 4),
              out = allocated_tensor(MP_FP32, 1, 1, 0);
    mp_error err;
    const mp_gemm_problem problem = {
        .a = {.codes = &a}, .a_row = &row, .w = {.codes = &w}, .topk_ids = &id, .slots = 1};
    assert_int_equal(mp_tc_gemm(&m, NULL, &problem, &(mp_epilogue){0}, NULL, &out, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "uint8"));
    assert_int_equal(*(const uint32_t *)out.data, MP_POISON_A);
    mp_tensor_free(&a);
    mp_tensor_free(&w);
    mp_tensor_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(long_sums_wrap_around),
        cmocka_unit_test(other_operands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
