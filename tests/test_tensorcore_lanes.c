/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes and pairs against the definition, bit by bit, and which of them are certain. */
#include "base/bits.h"
#include "ref/predict/tensorcore_bracket_pack.h"
#include "ref/predict/tensorcore_lanes.h"
#include "ref/predict/tensorcore_pairs.h"
#include "tests/tensorcore_support.h"

/* Steps of 16 terms, of 8, of fewer bits, and from zero. */
static const struct {
    int sm;
    mp_tc_input input;
    int fewer_bits;
    bool by_pairs;
} WHICH[] = {{90, MP_TC_BF16, 0, false}, {80, MP_TC_BF16, 0, false}, {90, MP_TC_BF16, 1, false},
             {90, MP_TC_BF16, 0, true},  {90, MP_TC_FP16, 0, false}, {80, MP_TC_FP16, 0, false}};

/* Lanes take largest exponents of -16 to 16: other rows become zeros. */
static void make_ordinary(mp_dtype dtype, int64_t K, uint16_t *codes) {
    const int shift = dtype == MP_FP16 ? 10 : 7, bias = dtype == MP_FP16 ? 15 : 127,
              most = dtype == MP_FP16 ? 15 : 16;
    int largest = 0;
    for (int64_t k = 0; k < K; k++)
        if ((codes[k] & 0x7FFF) > largest) largest = codes[k] & 0x7FFF;
    const int exponent = (largest >> shift) - bias;
    if (exponent < -16 || exponent > most) memset(codes, 0, (size_t)K * sizeof *codes);
}

/* Codes of 16 bits: by pairs they come in the order of the steps, which the definition of bf16 knows. */
static float defined_lane(const mp_tc_model *m, const mp_tensor *a, int64_t row, const mp_tensor *w,
                          int64_t lane, bool by_pairs) {
    float sum = 0;
    if (!by_pairs) return definition(m, a, row, w, lane);
    for (int64_t k = 0; k < w->dim[2]; k += 32) sum += definition_of(m, a, row, w, lane, k, k + 32);
    return sum;
}

/* Counted in `many`: lanes that are uncertain, and those that are certain. Zeros behind the last term are not
 * why a lane is uncertain; subnormals may be. */
static void compare_lanes(rng *r, const mp_tc_kernel *kernel, const mp_tc_model *m, bool by_pairs, family f,
                          int64_t many[2]) {
    enum { K = 96, MOST_ZEROS = 32 };
    const mp_dtype dtype = SHAPES[m->a].dtype;
    mp_tensor a = allocated_tensor(dtype, 1, K, 0), w = allocated_tensor(dtype, 1, MP_TC_LANES, K);
    float numbers[K], result[MP_TC_LANES];
    int32_t exponents[K], hidden[K];
    uint16_t lanes[K * MP_TC_LANES], *codes = w.data;
    random_rows(r, m->a, f, 1, K, &a);
    random_columns(r, m->a, f, MP_TC_LANES, K, &w);
    make_ordinary(dtype, K, a.data);
    for (int64_t i = 0; i < MP_TC_LANES; i++) make_ordinary(dtype, K, codes + i * K);
    const bool subnormal = f != MODERATE && random_below(r, 2);
    for (int64_t k = K - random_below(r, MOST_ZEROS + 1); k < K; k++) {
        ((uint16_t *)a.data)[k] = subnormal; /* the smallest number there is */
        for (int64_t i = 0; i < MP_TC_LANES && !subnormal; i++) codes[i * K + k] = 0;
    }
    for (int64_t k = 0; k < K; k++) {
        numbers[k] = (float)mp_decode(dtype, a.data, k);
        for (int64_t i = 0; i < MP_TC_LANES; i++) lanes[k * MP_TC_LANES + i] = codes[i * K + k];
    }
    mp_tc_lanes_prepare(dtype == MP_FP16, m->group, K, numbers, exponents, hidden);
    const unsigned certain = kernel->run_lanes(&(mp_tc_lanes){.fp16 = dtype == MP_FP16,
                                                              .group = m->group,
                                                              .fraction_bits = m->fraction_bits,
                                                              .groups = K / m->group,
                                                              .by_pairs = by_pairs,
                                                              .a = numbers,
                                                              .exponent = exponents,
                                                              .hidden = hidden,
                                                              .w = lanes},
                                               result);
    for (int64_t i = 0; i < MP_TC_LANES; i++) {
        const uint32_t got = mp_bits_of_float(result[i]),
                       want = mp_bits_of_float(defined_lane(m, &a, 0, &w, i, by_pairs));
        many[certain >> i & 1]++;
        if (certain >> i & 1 && got != want)
            fail_msg("%s, %s, L=%d F=%d, by pairs %d, family %d, lane %lld: %08X, expected %08X",
                     kernel->name, mp_dtype_name(dtype), m->group, m->fraction_bits, by_pairs, f,
                     (long long)i, got, want);
    }
    mp_tensor_free(&a);
    mp_tensor_free(&w);
}

/* Rows and columns as a panel. */
typedef struct packed {
    float *numbers, norms[MP_TC_PAIRS_COLUMNS];
    mp_tc_bracket_side sides[MP_TC_PAIRS_COLUMNS];
} packed;

static packed pack(const mp_tc_bracket_form *f, const mp_tensor *t, int64_t first, int width,
                   int8_t *exponents) {
    packed p = {0};
    int64_t row[MP_TC_PAIRS_COLUMNS];
    for (int i = 0; i < width; i++) row[i] = first + i;
    p.numbers = allocated(width * f->k, sizeof *p.numbers);
    assert_true(mp_tc_bracket_pack(
        f, t, row, width,
        &(mp_tc_bracket_panel){.width = width, .numbers = p.numbers, .norms = p.norms, .sides = p.sides}));
    mp_tc_bracket_exponents(f, width, p.numbers, exponents);
    return p;
}

/* The largest product of every step is one of a number far below the largest of its row, 2^-48 and 1, which
 * meets zero; the others are smaller, and are seen. */
static void hide_largest_products(rng *r, int64_t K, int64_t n, double hidden, bool meets_zero,
                                  const mp_tensor *t) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < K; k++) {
            const double other = (random_below(r, 2) ? -1 : 1) * (1 + random_unit(r) / 2) * 0x1p-20,
                         value = k == 0       ? !meets_zero
                                 : k % 8 == 5 ? hidden
                                              : other;
            mp_encode(t->dtype, t->data, i * K + k, value);
        }
}

/* Pairs of the second halves of rows and columns, for what is read by mistake is the first ones. Counted in
 * `many` are those of sides with a number that may not be seen, and all of MODERATE. */
static void compare_pairs(rng *r, const mp_tc_kernel *kernel, const mp_tc_model *m, bool by_pairs, family f,
                          int64_t many[2]) {
    enum { K = 96, ROWS = MP_TC_PAIRS_COLUMNS, COLUMNS = MP_TC_PAIRS_COLUMNS, HALF = MP_TC_IN_REACH };
    const mp_dtype dtype = SHAPES[m->a].dtype;
    const mp_tc_bracket_form form = mp_tc_bracket_form_of(m, 0, K, dtype);
    mp_tensor a = allocated_tensor(dtype, ROWS, K, 0), w = allocated_tensor(dtype, 1, COLUMNS, K);
    int8_t a_exponents[K * ROWS], w_exponents[K * COLUMNS];
    float result[MP_TC_PAIRS];
    mp_tc_pairs p = {.group = m->group,
                     .fraction_bits = m->fraction_bits,
                     .groups = K / m->group,
                     .by_pairs = by_pairs,
                     .a_exponent = a_exponents,
                     .w_exponent = w_exponents,
                     .count = 1 + (int)random_below(r, MP_TC_PAIRS)};
    random_rows(r, m->a, f, ROWS, K, &a);
    random_columns(r, m->a, f, COLUMNS, K, &w);
    if (dtype == MP_BF16 && f == APART && random_below(r, 2)) {
        hide_largest_products(r, K, ROWS, 1.5 * 0x1p-48, false, &a);
        hide_largest_products(r, K, COLUMNS, 1.25 * 0x1p16, true, &w);
    }
    for (int64_t i = 0; i < ROWS; i++) make_ordinary(dtype, K, (uint16_t *)a.data + i * K);
    for (int64_t i = 0; i < COLUMNS; i++) make_ordinary(dtype, K, (uint16_t *)w.data + i * K);
    packed rows[] = {pack(&form, &a, HALF, MP_TC_PAIRS_ROWS, a_exponents + HALF),
                     pack(&form, &a, HALF + MP_TC_PAIRS_ROWS, MP_TC_PAIRS_ROWS,
                          a_exponents + HALF + MP_TC_PAIRS_ROWS)},
           columns = pack(&form, &w, 0, COLUMNS, w_exponents);
    for (int i = 0; i < 2; i++) p.a[i] = rows[i].numbers;
    p.w = columns.numbers + HALF;
    for (int i = 0; i < p.count; i++) {
        p.row[i] = (uint8_t)(HALF + random_below(r, HALF));
        p.column[i] = (uint8_t)(HALF + random_below(r, HALF));
    }
    const uint64_t certain = kernel->run_pairs(&p, result);
    for (int i = 0; i < p.count; i++) {
        const int row = p.row[i] - HALF;
        const bool is_certain = certain >> i & 1,
                   small = rows[row / MP_TC_PAIRS_ROWS].sides[row % MP_TC_PAIRS_ROWS].small ||
                           columns.sides[p.column[i]].small;
        const uint32_t got = mp_bits_of_float(result[i]),
                       want = mp_bits_of_float(defined_lane(m, &a, p.row[i], &w, p.column[i], by_pairs));
        many[is_certain] += small || f == MODERATE;
        if ((is_certain || !small || dtype == MP_FP16) && got != want)
            fail_msg("%s, %s, L=%d F=%d, by pairs %d, family %d, pair %d: %08X, expected %08X", kernel->name,
                     mp_dtype_name(dtype), m->group, m->fraction_bits, by_pairs, f, i, got, want);
    }
    for (int i = 0; i < 2; i++) free(rows[i].numbers);
    free(columns.numbers);
    mp_tensor_free(&a);
    mp_tensor_free(&w);
}

static mp_tc_model model_to_compare(size_t which) {
    mp_tc_model m;
    assert_true(mp_tc_find(WHICH[which].sm, MP_TC_MMA, WHICH[which].input, WHICH[which].input, &m));
    m.fraction_bits -= WHICH[which].fewer_bits;
    return m;
}

static void pairs_have_the_bits_of_the_definition(void **state) {
    (void)state;
    const mp_tc_kernel *kernels;
    const int count = mp_tc_kernels(&kernels);
    rng r = {15};
    for (int k = 0; k < count; k++)
        for (size_t which = 0; which < COUNT(WHICH) && kernels[k].run_pairs; which++) {
            const mp_tc_model m = model_to_compare(which);
            int64_t many[2] = {0}, of_moderate[2] = {0};
            for (family f = 0; f < FAMILIES; f++)
                for (int round = 0; round < 30; round++)
                    compare_pairs(&r, &kernels[k], &m, WHICH[which].by_pairs, f,
                                  f == MODERATE ? of_moderate : many);
            assert_true(of_moderate[1] > 0 && of_moderate[0] == 0);
            assert_true(many[1] > 0 && many[0] > 0);
        }
}

static void lanes_have_the_bits_of_the_definition(void **state) {
    (void)state;
    const mp_tc_kernel *kernels;
    const int count = mp_tc_kernels(&kernels);
    rng r = {12};
    for (int k = 0; k < count; k++)
        for (size_t which = 0; which < COUNT(WHICH) && kernels[k].run_lanes; which++) {
            const bool by_pairs = WHICH[which].by_pairs;
            const mp_tc_model m = model_to_compare(which);
            int64_t many[2] = {0}, of_moderate[2] = {0};
            for (family f = 0; f < FAMILIES; f++)
                for (int round = 0; round < 100; round++)
                    compare_lanes(&r, &kernels[k], &m, by_pairs, f, f == MODERATE ? of_moderate : many);
            assert_true(of_moderate[1] > 0 && of_moderate[0] == 0);
            assert_true(many[1] > many[0] / 2 && many[0] > 0);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lanes_have_the_bits_of_the_definition),
                                       cmocka_unit_test(pairs_have_the_bits_of_the_definition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
