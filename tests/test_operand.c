/* SPDX-License-Identifier: Apache-2.0 */
/* ref/operand.c: numbers of codes, against the formula written down once more with an index for each axis. */
#include "ref/operand.h"
#include "tests/ref_support.h"

enum { E = 3, N = 6, K = 7, ROWS = 2, COLUMNS = 3, BLOCKS_N = 3, BLOCKS_K = 3 };

static int8_t codes[E][N][K];
static float scales[E][BLOCKS_N][BLOCKS_K];
static double got[E][N][K];

static mp_tensor tensor_of(mp_dtype dtype, int64_t e, int64_t n, int64_t k, void *data) {
    mp_tensor t = mp_tensor_shape(dtype, 3, e, n, k);
    t.data = data;
    return t;
}

/* Codes of no pattern, scales that are all different: an index that is mixed up has another number. */
static void fill(void) {
    rng r = {7};
    float scale = 1;
    for (int e = 0; e < E; e++)
        for (int n = 0; n < N; n++)
            for (int k = 0; k < K; k++) codes[e][n][k] = (int8_t)(1 + random_below(&r, 100));
    for (int e = 0; e < E; e++)
        for (int n = 0; n < BLOCKS_N; n++)
            for (int k = 0; k < BLOCKS_K; k++) scales[e][n][k] = scale += 0.375f;
}

static void decode_all(const mp_operand *o) {
    for (int row = 0; row < E * N; row++) mp_operand_decode(o, row, 0, K, got[row / N][row % N]);
}

/* Blocks are counted anew in every expert, and the last of each axis is short. Any piece of a row is the same
 * as in the whole. */
static void blocks_are_of_an_expert(void **state) {
    (void)state;
    fill();
    for (int rows = 1; rows <= N; rows++) {
        const int blocks = (N + rows - 1) / rows;
        float table[E][N][BLOCKS_K]; /* as many rows as there can be */
        for (int i = 0; i < E * N * BLOCKS_K; i++) ((float *)table)[i] = 1 + 0.25f * (float)i;
        const mp_tensor c = tensor_of(MP_I8, E, N, K, codes),
                        s = tensor_of(MP_FP32, E, blocks, BLOCKS_K, table);
        const mp_operand o = {.codes = &c, .scale = &s, .block_rows = rows, .block_columns = COLUMNS};
        decode_all(&o);
        for (int e = 0; e < E; e++)
            for (int n = 0; n < N; n++)
                for (int k = 0; k < K; k++) {
                    const int at = (e * blocks + n / rows) * BLOCKS_K + k / COLUMNS;
                    assert_true(got[e][n][k] == codes[e][n][k] * (double)((const float *)table)[at]);
                    double piece[K];
                    mp_operand_decode(&o, e * N + n, k, K - k, piece);
                    assert_memory_equal(piece, &got[e][n][k], (size_t)(K - k) * sizeof *piece);
                }
    }
}

/* Packed codes: zeros of two rows of blocks share a byte, the even one in the low nibble, and the next
 * expert's begin behind all of the one before. Other zeros have a byte each. */
static void zeros_are_in_pairs_or_alone(void **state) {
    (void)state;
    enum { BLOCK_ROWS = 4 }; /* with one row to a block */
    static uint8_t four_bits[E][BLOCK_ROWS][4], pairs[E][BLOCK_ROWS / 2][2], alone[E][BLOCK_ROWS][2];
    static float ones[E][BLOCK_ROWS][2];
    rng r = {3};
    for (size_t i = 0; i < sizeof four_bits; i++) ((uint8_t *)four_bits)[i] = (uint8_t)random_bits(&r);
    for (int e = 0; e < E; e++)
        for (int n = 0; n < BLOCK_ROWS; n++)
            for (int b = 0; b < 2; b++) {
                alone[e][n][b] = (uint8_t)random_below(&r, 16);
                pairs[e][n / 2][b] |= (uint8_t)(alone[e][n][b] << (n % 2 == 0 ? 0 : 4));
                ones[e][n][b] = 0.5f;
            }
    const mp_tensor c = tensor_of(MP_U4, E, BLOCK_ROWS, 8, four_bits),
                    s = tensor_of(MP_FP32, E, BLOCK_ROWS, 2, ones),
                    in_pairs = tensor_of(MP_U8, E, BLOCK_ROWS / 2, 2, pairs),
                    in_bytes = tensor_of(MP_U8, E, BLOCK_ROWS, 2, alone);
    mp_operand o = {.codes = &c,
                    .scale = &s,
                    .block_rows = 1,
                    .block_columns = 4,
                    .zero = 99, /* not read beside zeros */
                    .zeros = &in_pairs,
                    .zeros_in_pairs = true};
    for (int way = 0; way < 2; way++) {
        for (int row = 0; row < E * BLOCK_ROWS; row++) {
            double v[8];
            mp_operand_decode(&o, row, 0, 8, v);
            for (int k = 0; k < 8; k++) {
                const int e = row / BLOCK_ROWS, n = row % BLOCK_ROWS;
                const int code = four_bits[e][n][k / 2] >> (k % 2 * 4) & 15;
                assert_true(v[k] == (code - alone[e][n][k / 4]) * 0.5);
            }
        }
        o.zeros = &in_bytes;
        o.zeros_in_pairs = false;
    }
    o.zeros = NULL; /* one zero of all */
    double v[8];
    mp_operand_decode(&o, 5, 0, 8, v);
    assert_true(v[3] == ((four_bits[1][1][1] >> 4) - 99) * 0.5);
}

/* Of gate and up the halves of the rows, or every other row where they are interleaved; of one global scale
 * all rows. Each expert has its own. */
static void global_scales_are_of_halves_or_alternate(void **state) {
    (void)state;
    fill();
    static float two[E][2] = {{2, 4}, {8, 16}, {32, 64}}, one[E] = {3, 5, 7};
    const mp_tensor c = tensor_of(MP_I8, E, N, K, codes),
                    s = tensor_of(MP_FP32, E, BLOCKS_N, BLOCKS_K, scales);
    mp_tensor globals = mp_tensor_shape(MP_FP32, 2, E, 2, 1), whole = mp_tensor_shape(MP_FP32, 2, E, 1, 1);
    globals.data = two;
    whole.data = one;
    mp_operand o = {
        .codes = &c, .scale = &s, .block_rows = ROWS, .block_columns = COLUMNS, .global = &globals};
    for (int way = 0; way < 3; way++) {
        o.globals_alternate = way == 1;
        if (way == 2) o.global = &whole;
        decode_all(&o);
        for (int e = 0; e < E; e++)
            for (int n = 0; n < N; n++) {
                const float g = way == 0 ? two[e][n >= N / 2] : way == 1 ? two[e][n % 2] : one[e];
                for (int k = 0; k < K; k++)
                    assert_true(got[e][n][k] ==
                                codes[e][n][k] * (double)scales[e][n / ROWS][k / COLUMNS] * (double)g);
            }
    }
}

/* 71 * 15182199 * 2^-30 is 1 + 2^-8 + 2^-30: a tie of bf16 once it is a float32, which goes to 1; rounded to
 * bf16 at once it would be 1 + 2^-7. */
static void numbers_are_rounded_twice(void **state) {
    (void)state;
    int8_t code[1] = {71};
    float scale[1] = {15182199 * 0x1p-30f};
    const mp_tensor c = tensor_of(MP_I8, 1, 1, 1, code), s = tensor_of(MP_FP32, 1, 1, 1, scale);
    mp_operand o = {.codes = &c, .scale = &s, .block_rows = 1, .block_columns = 1};
    double v;
    mp_operand_decode(&o, 0, 0, 1, &v);
    assert_true(v == 1 + 0x1p-8 + 0x1p-30);
    assert_true(mp_round_to(MP_BF16, v) == 1 + 0x1p-7);
    o.rounds = true;
    o.rounded = MP_BF16;
    mp_operand_decode(&o, 0, 0, 1, &v);
    assert_true(v == 1);
    o.rounded = MP_FP16;
    mp_operand_decode(&o, 0, 0, 1, &v);
    assert_true(v == 1 + 0x1p-8);
}

/* Without a scale the numbers are the codes. */
static void codes_without_a_scale_are_the_numbers(void **state) {
    (void)state;
    fill();
    const mp_tensor c = tensor_of(MP_I8, E, N, K, codes);
    const mp_operand o = {.codes = &c};
    assert_true(mp_operand_is_plain(&o));
    assert_true(mp_operand_scale(&o, 0, 5) == 1);
    decode_all(&o);
    for (int i = 0; i < E * N * K; i++) assert_true(((double *)got)[i] == ((int8_t *)codes)[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_of_an_expert), cmocka_unit_test(zeros_are_in_pairs_or_alone),
        cmocka_unit_test(global_scales_are_of_halves_or_alternate),
        cmocka_unit_test(numbers_are_rounded_twice), cmocka_unit_test(codes_without_a_scale_are_the_numbers)};
    return cmocka_run_group_tests_name("ref.operand", tests, NULL, NULL);
}
