/* SPDX-License-Identifier: Apache-2.0 */
/* Results that brackets settle, and those that they leave open, against the definition, bit by bit. */
#include "base/bits.h"
#include "ref/predict/scaling.h"
#include "ref/predict/tensorcore_bracket.h"
#include "tests/tensorcore_support.h"

#include <math.h>
#include <stdio.h>

/* bf16 in steps of 16 terms, of 8, and of fewer bits behind them; fp16 in steps of 16 and of 8; bf16 and fp16
 * permuted; e4m3 by pairs and permuted, stored as bf16 and as fp16. */
enum {
    WIDE_STEPS,
    SHORT_STEPS,
    FEWER_BITS,
    FP16_STEPS,
    SHORT_FP16_STEPS,
    PERMUTED,
    SHORT_PERMUTED,
    FP16_PERMUTED,
    BY_PAIRS,
    FP8_PERMUTED,
    BY_PAIRS_TO_FP16,
    FP8_PERMUTED_TO_FP16,
    BRACKET_MODELS
};

static mp_tc_model bracket_model(int which) {
    const bool short_steps = which == SHORT_STEPS || which == SHORT_PERMUTED || which == SHORT_FP16_STEPS,
               fp16 = which == FP16_STEPS || which == SHORT_FP16_STEPS || which == FP16_PERMUTED;
    const int sm = short_steps ? 80 : 90;
    const mp_tc_input input = which >= BY_PAIRS ? MP_TC_E4M3 : fp16 ? MP_TC_FP16 : MP_TC_BF16;
    mp_tc_model m;
    const bool by_pairs = which == BY_PAIRS || which == BY_PAIRS_TO_FP16;
    const mp_tc_input of_steps = which >= BY_PAIRS && !by_pairs ? MP_TC_FP16 : input;
    assert_true(mp_tc_find(sm, MP_TC_MMA, of_steps, of_steps, &m));
    if (which == FEWER_BITS) m.fraction_bits = 24;
    if (which >= PERMUTED && !by_pairs) m.method = MP_TC_PERMUTED;
    m.a = m.b = input;
    return m;
}

/* Formats whose codes are far enough apart. */
static mp_dtype stored_as(int which) {
    const bool fp16 = which == FP16_STEPS || which == SHORT_FP16_STEPS || which == FP16_PERMUTED;
    return fp16 || which >= BY_PAIRS_TO_FP16 ? MP_FP16 : MP_BF16;
}

typedef struct operands {
    mp_tensor a, w, bias; /* [M,K], [1,N,K], [1,N] or no data */
    float *weights;       /* [M] or NULL */
    int64_t part;         /* terms that are summed from zero, and added; 0: all */
    mp_dtype out;         /* of results */
} operands;

static operands allocated_operands(int which, int64_t M, int64_t N, int64_t K) {
    const mp_dtype dtype = SHAPES[bracket_model(which).a].dtype;
    return (operands){.a = allocated_tensor(dtype, M, K, 0),
                      .w = allocated_tensor(dtype, 1, N, K),
                      .out = stored_as(which)};
}

static void free_operands(operands *o) {
    mp_tensor_free(&o->a);
    mp_tensor_free(&o->w);
    mp_tensor_free(&o->bias);
    free(o->weights);
}

static float defined(const mp_tc_model *m, const operands *o, int64_t row, int64_t column) {
    const int64_t K = o->w.dim[2], part = o->part ? o->part : K;
    float sum = 0;
    for (int64_t k = 0; k < K; k += part)
        sum += definition_of(m, &o->a, row, &o->w, column, k, K - k < part ? K : k + part);
    if (o->bias.data) sum += (float)mp_decode(o->bias.dtype, o->bias.data, column);
    return o->weights ? sum * o->weights[row] : sum;
}

/* By every kernel that has brackets; what became of the results is added to `all`. */
static void compare(const mp_tc_model *m, const operands *o, const char *of, mp_tc_counts *all) {
    const int64_t M = o->a.dim[0], N = o->w.dim[1];
    const mp_tc_parts parts = mp_tc_promotion(o->part);
    const mp_dtype dtype = o->out;
    mp_tensor expected = allocated_tensor(dtype, M, N, 0), out = allocated_tensor(dtype, M, N, 0);
    int64_t *row = allocated(M, sizeof *row);
    int32_t *ids = allocated(M, sizeof *ids);
    for (int64_t i = 0; i < M; i++) row[i] = i;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < M; i++)
        for (int64_t n = 0; n < N; n++)
            mp_encode(dtype, expected.data, i * N + n, (double)defined(m, o, i, n));
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
        assert_int_equal(mp_tc_gemm_with(&kernels[k], m, o->part ? &parts : NULL, &problem, &epilogue, NULL,
                                         &out, &counts, &err),
                         MP_OK);
        assert_true(counts.settled + counts.opened <= M * N);
        all->settled += counts.settled;
        all->opened += counts.opened;
        for (int64_t i = 0; i < M * N; i++) {
            const uint16_t got = ((const uint16_t *)out.data)[i], want = ((const uint16_t *)expected.data)[i];
            if (got != want)
                fail_msg(
                    "%s, %s, L=%d F=%d method %d, parts of %lld, %s, K=%lld, row %lld, column %lld: %04X, "
                    "expected %04X",
                    kernels[k].name, mp_dtype_name(o->a.dtype), m->group, m->fraction_bits, m->method,
                    (long long)o->part, of, (long long)o->w.dim[2], (long long)(i / N), (long long)(i % N),
                    got, want);
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
    for (int which = 0; which < BRACKET_MODELS; which++) {
        const mp_tc_model m = bracket_model(which);
        mp_tc_counts of_ordinary = {0}, of_others = {0};
        for (family f = 0; f < FAMILIES; f++)
            for (int round = 0; round < 5; round++) {
                /* some with more rows than are packed at once, some with more columns than a task has */
                const int64_t M = 1 + random_below(&r, random_below(&r, 4) ? 30 : 150),
                              N = 1 + random_below(&r, random_below(&r, 6) ? 150 : 600),
                              K = 1 + random_below(&r, random_below(&r, 3) ? 130 : 500);
                operands o = allocated_operands(which, M, N, K);
                char of[32];
                snprintf(of, sizeof of, "family %d", f);
                random_rows(&r, m.a, f, M, K, &o.a);
                random_columns(&r, m.b, f, N, K, &o.w);
                if (random_below(&r, 2)) {
                    o.bias = allocated_tensor(MP_BF16, 1, N, 0);
                    random_rows(&r, MP_TC_BF16, round % 3 ? MODERATE : EDGES, 1, N, &o.bias);
                }
                if (random_below(&r, 2)) {
                    o.weights = allocated(M, sizeof *o.weights);
                    for (int64_t i = 0; i < M; i++) o.weights[i] = random_weight(&r);
                }
                if (random_below(&r, 2)) o.part = 32 * (1 + random_below(&r, 5));
                compare(&m, &o, of, f == MODERATE || f == SPARSE ? &of_ordinary : &of_others);
                free_operands(&o);
            }
        if (!has_brackets()) continue;
        assert_true(of_ordinary.settled > 6 * of_ordinary.opened && of_ordinary.opened > 0);
        assert_true(of_others.settled > 0 && of_others.opened > 0);
    }
}

/* ---- the radius ---- */

/* Operands all zero, but for the last row and some columns of the second panel: few results are open however
 * the others are, and what is taken from other rows or columns is nothing. */
enum { ROWS = 18, COLUMNS = 100, FIRST = 90 };

static operands zeros(int which, int64_t K) {
    operands o = allocated_operands(which, ROWS, COLUMNS, K);
    memset(o.a.data, 0, mp_tensor_bytes(&o.a));
    memset(o.w.data, 0, mp_tensor_bytes(&o.w));
    return o;
}

static void put(const operands *o, int64_t k, int64_t columns, double left, double right) {
    const int64_t K = o->w.dim[2];
    mp_encode(o->a.dtype, o->a.data, (ROWS - 1) * K + k, left);
    for (int64_t n = FIRST; n < FIRST + columns; n++) mp_encode(o->w.dtype, o->w.data, n * K + k, right);
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

/* Biases that bring the two sums next to the middle of two codes, one below, one above it; those smaller than
 * `least` to where codes are as far apart as there. */
static void add_biases(const mp_tc_model *m, float least, operands *o) {
    const uint32_t half = o->out == MP_FP16 ? 1 << 12 : 1 << 15; /* of a code's last bit */
    const float sum = definition(m, &o->a, ROWS - 1, &o->w, FIRST), beside = fabsf(sum) < least ? least : sum,
                middle = mp_float_of_bits((mp_bits_of_float(beside) & -(2 * half)) | half);
    o->bias = allocated_tensor(MP_FP32, 1, COLUMNS, 0);
    memset(o->bias.data, 0, mp_tensor_bytes(&o->bias));
    for (int i = 0; i < 2; i++) {
        const float aim = nextafterf(middle, i == 0 ? -INFINITY : INFINITY), bias = aim - sum;
        assert_true(sum + bias == aim);
        ((float *)o->bias.data)[FIRST + i] = bias;
    }
}

/* Where codes lie further apart than the ends of brackets. */
#define APART_ENOUGH 0x1p-3F

static void sums_that_steps_take_differently_are_in_their_brackets(void **state) {
    (void)state;
    for (int which = WIDE_STEPS; which <= SHORT_FP16_STEPS; which++)
        for (pattern p = 0; p < PATTERNS; p++)
            for (int64_t steps = 1; steps <= 64; steps *= 4)
                for (double sign = -1; sign <= 1; sign += 2) {
                    const mp_tc_model m = bracket_model(which);
                    mp_tc_counts counts = {0};
                    operands o = zeros(which, steps * m.group);
                    for (int64_t k = 0; k < steps * m.group; k++) put_term(&o, p, &m, k, sign);
                    add_biases(&m, APART_ENOUGH, &o);
                    compare(&m, &o, PATTERN_NAMES[p], &counts);
                    assert_true(counts.opened > 0 || !has_brackets());
                    free_operands(&o);
                }
}

/* By pairs: the last product of the first step is 2^16, or 2^12, all others nearly three units, which both
 * steps cut to two, for the second begins with d1. */
static void pairs_that_steps_take_differently_are_in_their_brackets(void **state) {
    (void)state;
    for (int64_t i = 0; i < 8; i++)
        for (double sign = -1; sign <= 1; sign += 2) {
            const int64_t pairs = 1 << i / 2;
            const bool fp16 = i % 2; /* has no sums of 2^16, and e4m3 none of 1.875 * 2^-7 */
            const int which = fp16 ? BY_PAIRS_TO_FP16 : BY_PAIRS;
            const double part = fp16 ? 0.25 : 1;
            const mp_tc_model m = bracket_model(which);
            mp_tc_counts counts = {0};
            operands o = zeros(which, pairs * m.group);
            for (int64_t k = 0; k < pairs * m.group; k++)
                if (k % m.group == mp_tc_taken(m.group / 2 - 1, m.group / 2))
                    put(&o, k, 2, sign * 256 * part, 256 * part);
                else
                    put(&o, k, 2, sign * 1.5 * 0x1p-4 * part, (fp16 ? 1.75 : 1.875) * 0x1p-5 * part);
            add_biases(&m, APART_ENOUGH, &o);
            compare(&m, &o, "pairs", &counts);
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
    for (int which = WIDE_STEPS; which <= FEWER_BITS; which++)
        for (size_t i = 0; i < sizeof EXPONENTS / sizeof *EXPONENTS; i++)
            for (int depth = 28; depth <= 34; depth++) {
                const mp_tc_model m = bracket_model(which);
                const int largest = EXPONENTS[i];
                mp_tc_counts counts = {0};
                operands o = zeros(which, K);
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

/* The largest product of a step may be one of a subnormal, which has the exponent of the smallest normal
 * number: smaller products beside it are cut there. */
static void subnormals_of_fp16_have_the_exponent_of_normal_numbers(void **state) {
    (void)state;
    enum { K = 40, ROUNDS = 20 };
    rng r = {14};
    for (int round = 0; round < ROUNDS; round++)
        for (int which = FP16_STEPS; which <= SHORT_FP16_STEPS; which++) {
            const mp_tc_model m = bracket_model(which);
            mp_tc_counts counts = {0};
            operands o = zeros(which, K);
            for (int64_t k = 2; k < K; k++)
                put(&o, k, 2, (3 + random_unit(&r)) / 2 * mp_power_of_two(-(int)random_below(&r, 11)),
                    (random_below(&r, 3) ? 1 : -2) * (3 + random_unit(&r)) *
                        mp_power_of_two(-15 - (int)random_below(&r, 9)));
            put(&o, 0, 2, 1, 0);
            put(&o, 1, 2, 0, 1);
            add_biases(&m, 0, &o);
            compare(&m, &o, "subnormals", &counts);
            assert_true(!has_brackets() || counts.opened > 0);
            free_operands(&o);
        }
}

/* ---- sums that meet scales ---- */

typedef enum scales { POSITIVE, SOME_NAN, SOME_NEGATIVE, SOME_INFINITE, SCALES } scales;

static void fill_scales(rng *r, scales kind, const mp_tensor *t) {
    static const float odd[SCALES] = {1, NAN, -1, INFINITY};
    float *scale = t->data;
    for (int64_t i = 0; i < mp_tensor_count(t); i++)
        scale[i] = random_below(r, 8) ? (float)fabs(random_unit(r)) * 0.25F : odd[kind];
}

/* Of about the same size, so that few sums are small beside their terms. */
static void fill_even(rng *r, const mp_tensor *t) {
    uint8_t *code = t->data;
    for (int64_t i = 0; i < mp_tensor_count(t); i++) {
        const uint32_t any = random_bits(r);
        code[i] = (uint8_t)encode(MP_TC_E4M3, any & 1, 2 + (int)random_below(r, 3), any >> 1);
    }
}

/* Stored as float32 no result is settled by a bracket. */
static void scaled_sums_have_the_bits_of_their_float32(void **state) {
    (void)state;
    enum { M = 40, N = 200, K = 300, BLOCK = 128, BLOCKS = 3, N_BLOCK = 48, N_BLOCKS = 5 };
    rng r = {13};
    int64_t row[M];
    int32_t ids[M] = {0};
    for (int64_t i = 0; i < M; i++) row[i] = M - 1 - i;
    for (int how = 0; how < MP_SCALING_COUNT; how++)
        for (int per_tile = 0; per_tile < 2; per_tile++)
            for (scales kind = 0; kind < SCALES; kind++) {
                const mp_gemm_contract contract = {.accumulator = MP_ACC_TENSOR_CORE,
                                                   .group = 32,
                                                   .fraction_bits = 25,
                                                   .zero_exponent = -133,
                                                   .result_fraction_bits = 23,
                                                   .k_order = MP_K_BY_PAIRS,
                                                   .promotion = per_tile ? BLOCK : 0,
                                                   .split_k = 1,
                                                   .scaling = (mp_scaling)how};
                mp_tensor a = allocated_tensor(MP_E4M3, M, K, 0), w = allocated_tensor(MP_E4M3, 1, N, K),
                          a_scale = allocated_tensor(MP_FP32, M, BLOCKS, 0),
                          w_scale = allocated_tensor(MP_FP32, 1, N_BLOCKS, BLOCKS),
                          single = allocated_tensor(MP_FP32, M, N, 0),
                          out = allocated_tensor(per_tile ? MP_FP16 : MP_BF16, M, N, 0);
                mp_error err;
                fill_even(&r, &a);
                fill_even(&r, &w);
                fill_scales(&r, kind, &a_scale);
                fill_scales(&r, kind, &w_scale);
                assert_int_equal(mp_scales_keep_order(&a_scale) && mp_scales_keep_order(&w_scale),
                                 kind == POSITIVE || kind == SOME_NAN);
                const mp_gemm_problem problem = {
                    .a = {.codes = &a, .scale = &a_scale, .block_rows = 1, .block_columns = BLOCK},
                    .a_row = row,
                    .w = {.codes = &w, .scale = &w_scale, .block_rows = N_BLOCK, .block_columns = BLOCK},
                    .topk_ids = ids,
                    .slots = M};
                mp_multiplied m = {.plain = problem,
                                   .scaled = true,
                                   .per_tile = per_tile != 0,
                                   .terms = per_tile ? BLOCK : (K + 63) / 64 * 64};
                m.plain.a = (mp_operand){.codes = &a};
                m.plain.w = (mp_operand){.codes = &w};
                const mp_tensor *outs[] = {&single, &out};
                for (int i = 0; i < 2; i++)
                    assert_int_equal(mp_predict_multiplied(&contract, &m, &problem, &(mp_epilogue){0}, NULL,
                                                           outs[i], &err),
                                     MP_OK);
                for (int64_t i = 0; i < M * N; i++) {
                    const float sum = ((const float *)single.data)[i];
                    const uint16_t got = ((const uint16_t *)out.data)[i],
                                   want = (uint16_t)mp_encode_code(out.dtype, (double)sum);
                    if (got != want)
                        fail_msg(
                            "scaling %d, per tile %d, scales %d, element %lld: %04X, expected %04X of %a",
                            how, per_tile, kind, (long long)i, got, want, (double)sum);
                }
                mp_tensor_free(&a);
                mp_tensor_free(&w);
                mp_tensor_free(&a_scale);
                mp_tensor_free(&w_scale);
                mp_tensor_free(&single);
                mp_tensor_free(&out);
            }
}

/* ---- what is not taken ---- */

static bool covers(const mp_tc_model *m, int64_t K) {
    return mp_tc_bracket_covers(m, NULL, K, MP_BF16);
}

static void what_brackets_do_not_cover(void **state) {
    (void)state;
    mp_tc_model m = bracket_model(WIDE_STEPS);
    mp_tc_parts parts = mp_tc_promotion(64);
    assert_true(covers(&m, 8192));
    assert_false(covers(&m, 8193));
    assert_false(covers(&m, 0));
    assert_false(mp_tc_bracket_covers(&m, NULL, 64, MP_FP16));
    assert_false(mp_tc_bracket_covers(&m, NULL, 64, MP_FP32));
    assert_true(mp_tc_bracket_covers(&m, &parts, 512, MP_BF16));
    parts.monotone = false;
    assert_false(mp_tc_bracket_covers(&m, &parts, 512, MP_BF16));
    parts = mp_tc_promotion(48);
    assert_false(mp_tc_bracket_covers(&m, &parts, 512, MP_BF16));
    m.fraction_bits = 23;
    assert_false(covers(&m, 64));
    m = bracket_model(FP16_STEPS);
    assert_true(mp_tc_bracket_covers(&m, NULL, 64, MP_FP16));
    assert_false(covers(&m, 64));
    m.b = MP_TC_BF16;
    assert_false(mp_tc_bracket_covers(&m, NULL, 64, MP_FP16));
    m = bracket_model(BY_PAIRS);
    assert_true(covers(&m, 64) && mp_tc_bracket_covers(&m, NULL, 64, MP_FP16));
    m.a = m.b = MP_TC_E5M2;
    assert_false(covers(&m, 64));
    assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_E4M3, MP_TC_E4M3, &m));
    assert_false(covers(&m, 64));
    m = bracket_model(SHORT_STEPS);
    assert_true(covers(&m, 4096));
    assert_false(covers(&m, 4097));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brackets_have_the_bits_of_the_definition),
        cmocka_unit_test(sums_that_steps_take_differently_are_in_their_brackets),
        cmocka_unit_test(pairs_that_steps_take_differently_are_in_their_brackets),
        cmocka_unit_test(products_far_below_the_largest_numbers_are_not_lost),
        cmocka_unit_test(subnormals_of_fp16_have_the_exponent_of_normal_numbers),
        cmocka_unit_test(scaled_sums_have_the_bits_of_their_float32),
        cmocka_unit_test(what_brackets_do_not_cover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
