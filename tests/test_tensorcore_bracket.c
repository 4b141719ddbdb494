/* SPDX-License-Identifier: Apache-2.0 */
/* Results that brackets settle, and those that they leave open, against the definition, bit by bit. */
#include "base/bits.h"
#include "ref/predict/tensorcore_bracket.h"
#include "ref/predict/tensorcore_lanes.h"
#include "tests/tensorcore_support.h"

#include <math.h>
#include <stdio.h>

/* The models of bf16 whose terms are not permuted, whose steps have 16 and 8 terms, and one of fewer bits
 * behind them. */
static mp_tc_model bf16_model(int which) {
    mp_tc_model m;
    assert_true(mp_tc_find(which == 1 ? 80 : 90, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16, &m));
    if (which == 2) m.fraction_bits = 24;
    return m;
}
enum { BF16_MODELS = 3 };

typedef struct operands {
    mp_tensor a, w, bias; /* [M,K], [1,N,K], [1,N] or no data */
    float *weights;       /* [M] or NULL */
} operands;

static operands allocated_operands(int64_t M, int64_t N, int64_t K) {
    return (operands){.a = allocated_tensor(MP_BF16, M, K, 0), .w = allocated_tensor(MP_BF16, 1, N, K)};
}

static void free_operands(operands *o) {
    mp_tensor_free(&o->a);
    mp_tensor_free(&o->w);
    mp_tensor_free(&o->bias);
    free(o->weights);
}

/* By every kernel that has brackets; what became of the results is added to `all`. */
static void compare(const mp_tc_model *m, const operands *o, const char *of, mp_tc_counts *all) {
    const int64_t M = o->a.dim[0], N = o->w.dim[1];
    mp_tensor expected = allocated_tensor(MP_BF16, M, N, 0), out = allocated_tensor(MP_BF16, M, N, 0);
    int64_t *row = allocated(M, sizeof *row);
    int32_t *ids = allocated(M, sizeof *ids);
    for (int64_t i = 0; i < M; i++) row[i] = i;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < M; i++)
        for (int64_t n = 0; n < N; n++) {
            float value = definition(m, &o->a, i, &o->w, n);
            if (o->bias.data) value += (float)mp_decode(o->bias.dtype, o->bias.data, n);
            if (o->weights) value *= o->weights[i];
            mp_encode(MP_BF16, expected.data, i * N + n, (double)value);
        }
    const mp_gemm_problem problem = {
        .a = {.codes = &o->a}, .a_row = row, .w = {.codes = &o->w}, .topk_ids = ids, .slots = M};
    const mp_epilogue epilogue = {.bias = o->bias.data ? &o->bias : NULL, .weights = o->weights};
    const mp_tc_kernel *kernels;
    const int count = mp_tc_kernels(&kernels);
    for (int k = 0; k < count; k++) {
        mp_tc_counts counts;
        mp_error err;
        if (!kernels[k].run_bracket) continue;
        memset(out.data, 0x55, mp_tensor_bytes(&out));
        assert_int_equal(
            mp_tc_gemm_with(&kernels[k], m, NULL, &problem, &epilogue, NULL, &out, &counts, &err), MP_OK);
        assert_true(counts.settled + counts.opened == 0 || counts.settled + counts.opened == M * N);
        all->settled += counts.settled;
        all->opened += counts.opened;
        all->redone += counts.settled + counts.opened > 0 ? counts.redone : 0;
        for (int64_t i = 0; i < M * N; i++) {
            const uint16_t got = ((const uint16_t *)out.data)[i], want = ((const uint16_t *)expected.data)[i];
            if (got != want)
                fail_msg("%s, L=%d F=%d, %s, K=%lld, row %lld, column %lld: %04X, expected %04X",
                         kernels[k].name, m->group, m->fraction_bits, of, (long long)o->w.dim[2],
                         (long long)(i / N), (long long)(i % N), got, want);
        }
    }
    mp_tensor_free(&expected);
    mp_tensor_free(&out);
    free(row);
    free(ids);
}

static bool has_brackets(void) {
    const mp_tc_kernel *kernels;
    mp_tc_kernels(&kernels);
    return kernels->run_bracket != NULL;
}

/* Zeros, of both signs, Inf and NaN among them. */
static float random_weight(rng *r) {
    static const float edges[] = {0, -0.0F, 1, -1, INFINITY, NAN};
    const int64_t choice = random_below(r, 20);
    return choice < 6 ? edges[choice] : (float)(2 * random_unit(r) - 1);
}

static void brackets_have_the_bits_of_the_definition(void **state) {
    (void)state;
    rng r = {11};
    mp_tc_counts of_ordinary = {0}, of_others = {0};
    for (int which = 0; which < BF16_MODELS; which++)
        for (family f = 0; f < FAMILIES; f++)
            for (int round = 0; round < 12; round++) {
                const mp_tc_model m = bf16_model(which);
                /* some with more rows than are packed at once, some with more columns than a task has */
                const int64_t M = 1 + random_below(&r, random_below(&r, 4) ? 30 : 150),
                              N = 1 + random_below(&r, random_below(&r, 6) ? 150 : 600),
                              K = 1 + random_below(&r, random_below(&r, 3) ? 130 : 500);
                operands o = allocated_operands(M, N, K);
                char of[32];
                snprintf(of, sizeof of, "family %d", f);
                random_rows(&r, MP_TC_BF16, f, M, K, &o.a);
                random_columns(&r, MP_TC_BF16, f, N, K, &o.w);
                if (random_below(&r, 2)) {
                    o.bias = allocated_tensor(MP_BF16, 1, N, 0);
                    random_rows(&r, MP_TC_BF16, round % 3 ? MODERATE : EDGES, 1, N, &o.bias);
                }
                if (random_below(&r, 2)) {
                    o.weights = allocated(M, sizeof *o.weights);
                    for (int64_t i = 0; i < M; i++) o.weights[i] = random_weight(&r);
                }
                compare(&m, &o, of, f == MODERATE || f == SPARSE ? &of_ordinary : &of_others);
                free_operands(&o);
            }
    if (!has_brackets()) return;
    assert_true(of_ordinary.settled > 20 * of_ordinary.opened && of_ordinary.opened > 0);
    assert_true(of_others.settled > 0 && of_others.opened > 0);
}

/* ---- the radius ---- */

/* Operands all zero, but for the last row and some columns of the second panel: few results are open however
 * the others are, and what is taken from other rows or columns is nothing. */
enum { ROWS = 18, COLUMNS = 100, FIRST = 90 };

static operands zeros(int64_t K) {
    operands o = allocated_operands(ROWS, COLUMNS, K);
    memset(o.a.data, 0, mp_tensor_bytes(&o.a));
    memset(o.w.data, 0, mp_tensor_bytes(&o.w));
    return o;
}

static void put(const operands *o, int64_t k, int64_t columns, double left, double right) {
    const int64_t K = o->w.dim[2];
    mp_encode(MP_BF16, o->a.data, (ROWS - 1) * K + k, left);
    for (int64_t n = FIRST; n < FIRST + columns; n++) mp_encode(MP_BF16, o->w.data, n * K + k, right);
}

/* What float32 sums and steps take as differently as they can, in units of 2^-F of the largest term:
 *   LOST       nearly one: a step cuts it away, beside a sum of 1; one of nearly the sum's last bit is cut
 *              with the result
 *   ABOVE      the same beside a sum of L, that no product is as large as
 *   TAKEN_BACK nearly one, and behind them 1 and -1, so that the sums are nothing beside the products
 *   ROUNDED    beside two products that are taken back at the end of their step, nearly half of the chain's
 *              last bit: a step sees most of it, the chain nothing */
typedef enum pattern { LOST, ABOVE, TAKEN_BACK, ROUNDED, PATTERNS } pattern;
static const char *const PATTERN_NAMES[] = {"lost", "above", "taken back", "rounded"};

/* 0.992 of it: the largest product of two bf16 below it. */
static void put_nearly(const operands *o, int64_t k, double sign, double power) {
    const double left = (2 - 0x1p-7) * 0x1p-13;
    put(o, k, 2, sign * left, (2 - 0x1p-7) / 4 * power * 0x1p13);
}

static void put_term(const operands *o, pattern p, const mp_tc_model *m, int64_t k, double sign) {
    const int64_t L = m->group, i = k % L;
    const double unit = mp_power_of_two(-m->fraction_bits), last_bit = 0x1p-23;
    switch (p) {
    case ABOVE:
        if (k < L)
            put(o, k, 2, sign, 1);
        else
            put_nearly(o, k, sign, (i == L / 2 ? last_bit : unit) * (double)L);
        break;
    case LOST:
        if (k == 0)
            put(o, k, 2, sign, 1);
        else
            put_nearly(o, k, sign, i == L / 2 ? last_bit : unit);
        break;
    case TAKEN_BACK:
        if (i >= L - 2)
            put(o, k, 2, sign, i == L - 2 ? 1 : -1);
        else
            put_nearly(o, k, sign, unit);
        break;
    default:
        if (i < 2 || i >= L - 2) /* two of 2.02: a sum just above 4 */
            put(o, k, 2, sign * 1.421875, i < 2 ? 1.421875 : -1.421875);
        else
            put_nearly(o, k, sign, 2 * last_bit);
    }
}

/* Biases that bring the two sums next to the middle of two bf16, one below, one above it; small sums to where
 * bf16 lie further apart than the ends of brackets. */
static void add_biases(const mp_tc_model *m, operands *o) {
    const float sum = definition(m, &o->a, ROWS - 1, &o->w, FIRST),
                beside = fabsf(sum) < 0x1p-3F ? 0x1p-3F : sum,
                middle = mp_float_of_bits((mp_bits_of_float(beside) & 0xFFFF0000) | 0x8000);
    o->bias = allocated_tensor(MP_FP32, 1, COLUMNS, 0);
    memset(o->bias.data, 0, mp_tensor_bytes(&o->bias));
    for (int i = 0; i < 2; i++) {
        const float aim = nextafterf(middle, i == 0 ? -INFINITY : INFINITY), bias = aim - sum;
        assert_true(sum + bias == aim);
        ((float *)o->bias.data)[FIRST + i] = bias;
    }
}

static void sums_that_steps_take_differently_are_in_their_brackets(void **state) {
    (void)state;
    for (int which = 0; which < BF16_MODELS; which++)
        for (pattern p = 0; p < PATTERNS; p++)
            for (int64_t steps = 1; steps <= 64; steps *= 4)
                for (double sign = -1; sign <= 1; sign += 2) {
                    const mp_tc_model m = bf16_model(which);
                    mp_tc_counts counts = {0};
                    operands o = zeros(steps * m.group);
                    for (int64_t k = 0; k < steps * m.group; k++) put_term(&o, p, &m, k, sign);
                    add_biases(&m, &o);
                    compare(&m, &o, PATTERN_NAMES[p], &counts);
                    assert_true(counts.opened > 0 || !has_brackets());
                    free_operands(&o);
                }
}

/* The largest numbers meet zeros, so that all products are as far below them as an operand can be. Nothing is
 * lost where brackets and lanes take such operands, and nothing where they do not. */
static void products_far_below_the_largest_numbers_are_not_lost(void **state) {
    (void)state;
    enum { K = 40 };
    static const int EXPONENTS[] = {-40, -20, -17, -16, -15, 0, 15, 16, 17, 20, 40};
    rng r = {13};
    for (int which = 0; which < BF16_MODELS; which++)
        for (size_t i = 0; i < sizeof EXPONENTS / sizeof *EXPONENTS; i++)
            for (int depth = 28; depth <= 34; depth++) {
                const mp_tc_model m = bf16_model(which);
                const int largest = EXPONENTS[i];
                mp_tc_counts counts = {0};
                operands o = zeros(K);
                const double power = mp_power_of_two(largest), below = mp_power_of_two(largest - depth);
                for (int64_t k = 2; k < K; k++)
                    put(&o, k, 8, (3 + random_unit(&r)) / 2 * below,
                        (random_below(&r, 3) ? 1 : -2) * (3 + random_unit(&r)) / 2 * below);
                put(&o, 0, 8, power, 0);
                put(&o, 1, 8, 0, power);
                compare(&m, &o, "far below", &counts);
                assert_true(!has_brackets() || (counts.opened > 0) == (abs(largest) <= 16));
                free_operands(&o);
            }
}

/* ---- lanes ---- */

/* Lanes take largest exponents from -16 to 16; other rows become zeros. */
static void keep_ordinary(int64_t K, uint16_t *codes) {
    int largest = 0;
    for (int64_t k = 0; k < K; k++)
        if ((codes[k] & 0x7FFF) > largest) largest = codes[k] & 0x7FFF;
    if (abs((largest >> 7) - 127) > 16) memset(codes, 0, (size_t)K * sizeof *codes);
}

static void lanes_have_the_bits_of_the_definition(void **state) {
    (void)state;
    enum { K = 96 };
    rng r = {12};
    int64_t certain_ones = 0, uncertain_ones = 0;
    for (int which = 0; which < BF16_MODELS; which++)
        for (family f = 0; f < FAMILIES; f++) {
            const mp_tc_model m = bf16_model(which);
            for (int round = 0; round < 100; round++) {
                mp_tensor a = allocated_tensor(MP_BF16, 1, K, 0),
                          w = allocated_tensor(MP_BF16, 1, MP_TC_LANES, K);
                random_rows(&r, MP_TC_BF16, f, 1, K, &a);
                random_columns(&r, MP_TC_BF16, f, MP_TC_LANES, K, &w);
                float numbers[K], result[MP_TC_LANES];
                int32_t exponents[K];
                uint32_t pairs[K / 2 * MP_TC_LANES];
                bool certain[MP_TC_LANES];
                uint16_t *codes = w.data;
                keep_ordinary(K, a.data);
                for (int64_t i = 0; i < MP_TC_LANES; i++) keep_ordinary(K, codes + i * K);
                for (int64_t k = 0; k < K; k++) numbers[k] = (float)mp_decode(MP_BF16, a.data, k);
                for (int64_t k = 0; k < K; k += 2)
                    for (int64_t i = 0; i < MP_TC_LANES; i++)
                        pairs[k / 2 * MP_TC_LANES + i] = codes[i * K + k] | (uint32_t)codes[i * K + k + 1]
                                                                                << 16;
                mp_tc_lanes_exponents(K, numbers, exponents);
                const mp_tc_lanes lanes = {m.group, m.fraction_bits, K / m.group, numbers, exponents, pairs};
                mp_tc_lanes_run(&lanes, result, certain);
                for (int64_t i = 0; i < MP_TC_LANES; i++) {
                    const uint32_t got = mp_bits_of_float(result[i]),
                                   want = mp_bits_of_float(definition(&m, &a, 0, &w, i));
                    certain_ones += certain[i];
                    uncertain_ones += !certain[i];
                    if (certain[i] && got != want)
                        fail_msg("L=%d F=%d, family %d, lane %lld: %08X, expected %08X", m.group,
                                 m.fraction_bits, f, (long long)i, got, want);
                }
                mp_tensor_free(&a);
                mp_tensor_free(&w);
            }
        }
    assert_true(certain_ones > 1000 && uncertain_ones > 1000);
}

/* ---- what is not taken ---- */

static void what_brackets_do_not_cover(void **state) {
    (void)state;
    mp_tc_model m = bf16_model(0);
    assert_true(mp_tc_bracket_covers(&m, 8192, MP_BF16));
    assert_false(mp_tc_bracket_covers(&m, 8193, MP_BF16));
    assert_false(mp_tc_bracket_covers(&m, 0, MP_BF16));
    assert_false(mp_tc_bracket_covers(&m, 64, MP_FP16));
    assert_false(mp_tc_bracket_covers(&m, 64, MP_FP32));
    m.fraction_bits = 23;
    assert_false(mp_tc_bracket_covers(&m, 64, MP_BF16));
    m = bf16_model(0);
    m.method = MP_TC_PERMUTED;
    assert_false(mp_tc_bracket_covers(&m, 64, MP_BF16));
    m = bf16_model(0);
    m.a = m.b = MP_TC_FP16;
    assert_false(mp_tc_bracket_covers(&m, 64, MP_BF16));
    m = bf16_model(1);
    assert_true(mp_tc_bracket_covers(&m, 4096, MP_BF16));
    assert_false(mp_tc_bracket_covers(&m, 4097, MP_BF16));
}

static void sums_in_parts_are_not_settled(void **state) {
    (void)state;
    enum { M = 4, N = 70, K = 64 };
    rng r = {14};
    const mp_tc_model m = bf16_model(0);
    const mp_tc_parts parts = mp_tc_promotion(K / 2);
    operands o = allocated_operands(M, N, K);
    mp_tensor out = allocated_tensor(MP_BF16, M, N, 0);
    const int64_t row[M] = {0, 1, 2, 3};
    const int32_t ids[M] = {0};
    const mp_gemm_problem problem = {
        .a = {.codes = &o.a}, .a_row = row, .w = {.codes = &o.w}, .topk_ids = ids, .slots = M};
    const mp_tc_kernel *kernel;
    mp_tc_counts counts;
    mp_error err;
    random_rows(&r, MP_TC_BF16, MODERATE, M, K, &o.a);
    random_columns(&r, MP_TC_BF16, MODERATE, N, K, &o.w);
    mp_tc_kernels(&kernel);
    assert_int_equal(
        mp_tc_gemm_with(kernel, &m, &parts, &problem, &(mp_epilogue){0}, NULL, &out, &counts, &err), MP_OK);
    assert_int_equal(counts.settled + counts.opened, 0);
    mp_tensor_free(&out);
    free_operands(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brackets_have_the_bits_of_the_definition),
        cmocka_unit_test(sums_that_steps_take_differently_are_in_their_brackets),
        cmocka_unit_test(products_far_below_the_largest_numbers_are_not_lost),
        cmocka_unit_test(lanes_have_the_bits_of_the_definition),
        cmocka_unit_test(what_brackets_do_not_cover),
        cmocka_unit_test(sums_in_parts_are_not_settled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
