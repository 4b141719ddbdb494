/* SPDX-License-Identifier: Apache-2.0 */
/* The step that the GPU predicts tensor cores by, compiled for the CPU, against the definition: bit by bit,
 * and seldom left to it. */
#include "offload/device/tensorcore_step.h"
#include "offload/sums.h"
#include "tests/tensorcore_support.h"

#include <stdio.h>

#pragma STDC FENV_ACCESS ON

/* The operand at a place of k, as a step takes it. */
static mp_step_operand operand_at(const mp_tc_model *m, bool of_a, const mp_tensor *t, int64_t row,
                                  int64_t place) {
    const int64_t K = t->dim[t->rank - 1];
    const int terms = mp_tc_terms(m), i = (int)(place % terms);
    const mp_tc_input input = of_a ? m->a : m->b;
    const int64_t k = m->method == MP_TC_DIRECT ? place : place - i + mp_tc_taken(i, terms / 2);
    const size_t size = mp_dtype_size(t->dtype);
    uint32_t code = 0;
    if (k < K) memcpy(&code, (const char *)t->data + (size_t)(row * K + k) * size, size);
    return mp_step_decode(mp_step_format_of(m, of_a), input == MP_TC_TF32 ? code >> 13 : code);
}

/* Two rows of a by a column of w, in one accumulator over all of k: what a thread of the GPU does. False:
 * these are left to the definition. */
static bool run_chain(const mp_tc_model *m, const mp_tensor *a, int64_t row, const mp_tensor *w,
                      int64_t column, int64_t first, int64_t end, float result[2]) {
    const mp_tc_model step = mp_tc_step(m);
    const int F = step.fraction_bits;
    double acc[2] = {0, 0};
    mp_step_extent extent = mp_step_no_extent();
    bool special = false;
    for (int64_t k0 = first; k0 < end; k0 += step.group) {
        unsigned largest = mp_step_floor_pair(step.zero_exponent, F), negative[2] = {0, 0};
        unsigned x[2][MP_TC_MAX_GROUP], y[MP_TC_MAX_GROUP];
        for (int k = 0; k < step.group; k++) {
            const mp_step_operand x0 = operand_at(m, true, a, row, k0 + k),
                                  x1 = operand_at(m, true, a, row + 1, k0 + k),
                                  y0 = operand_at(m, false, w, column, k0 + k);
            const unsigned pair = (unsigned)(x0.exponent & 0xFFFF) | (unsigned)x1.exponent << 16;
            const unsigned twice = (unsigned)(mp_step_w_exponent(y0.exponent, F) & 0xFFFF) * 0x10001u;
            largest = mp_step_max_pair(pair, twice, largest);
            negative[0] |= (x0.high ^ y0.high) >> 31 << k;
            negative[1] |= (x1.high ^ y0.high) >> 31 << k;
            x[0][k] = x0.high;
            x[1][k] = x1.high;
            y[k] = y0.high;
            special |= x0.special || x1.special || y0.special;
        }
        for (int r = 0; r < 2; r++) {
            const unsigned anchor = mp_step_anchor(largest << (r ? 3 : 19), acc[r], F);
            double sum = mp_step_begin(anchor, acc[r], negative[r]);
            for (int k = 0; k < step.group; k++) sum = mp_step_add(sum, x[r][k], y[k]);
            acc[r] = mp_step_end(sum, anchor, step.result_fraction_bits);
            mp_step_widen(&extent, acc[r]);
        }
    }
    for (int r = 0; r < 2; r++) result[r] = (float)acc[r];
    return !special && !mp_step_left_float32(extent);
}

/* a [M,K] by w [1,N,K]. Returns the share of results that are left to the definition. Of fp8 through fp16
 * only the first instruction: what follows it is an addition. */
static double compare(const mp_tc_model *m, family f, int64_t N, int64_t K, rng *r) {
    const int terms = mp_tc_terms(m);
    if (m->method == MP_TC_THROUGH_FP16 && K > terms) K = terms;
    const int64_t M = 2, end = (K + terms - 1) / terms * terms;
    mp_tensor a = allocated_tensor(SHAPES[m->a].dtype, M, K, 0),
              w = allocated_tensor(SHAPES[m->b].dtype, 1, N, K);
    int64_t left = 0;
    random_rows(r, m->a, f, M, K, &a);
    random_columns(r, m->b, f, N, K, &w);
    for (int64_t n = 0; n < N; n++) {
        float got[2];
        fesetround(FE_DOWNWARD);
        const bool whole = run_chain(m, &a, 0, &w, n, 0, end, got);
        fesetround(FE_TONEAREST);
        left += !whole;
        for (int row = 0; row < 2 && whole; row++) {
            const float want = definition(m, &a, row, &w, n);
            if (mp_bits_of_float(got[row]) != mp_bits_of_float(want))
                fail_msg("%s, L=%d F=%d, family %d, K=%lld: %08X, expected %08X", mp_dtype_name(a.dtype),
                         m->group, m->fraction_bits, f, (long long)K, mp_bits_of_float(got[row]),
                         mp_bits_of_float(want));
        }
    }
    mp_tensor_free(&a);
    mp_tensor_free(&w);
    return (double)left / (double)N;
}

static void steps_have_the_bits_of_the_definition(void **state) {
    (void)state;
    const char *text = getenv("MP_TC_GROUPS");
    const int64_t wanted = text ? strtoll(text, NULL, 10) : 100000;
    rng r = {1};
    for (size_t i = 0; i < COUNT(MODELS); i++) {
        mp_tc_model m = model_of(i);
        const int of_zeros = m.zero_exponent;
        for (family f = 0; f < FAMILIES; f++)
            for (int64_t groups = 0; groups < wanted / FAMILIES;) {
                const int64_t N = 1 + random_below(&r, 150), K = 1 + random_below(&r, f == ANY ? 40 : 130);
                /* no model's counts among normal numbers: one that does, now and then */
                m.zero_exponent = random_below(&r, 4) ? of_zeros : -1;
                compare(&m, f, N, K, &r);
                groups += 2 * N * ((K + m.group - 1) / m.group);
            }
    }
}

/* Sums that cancel, vanish, or have zeros and subnormals in them are the GPU's own work. */
static void ordinary_numbers_are_not_left_to_the_definition(void **state) {
    (void)state;
    const family families[] = {MODERATE, SPARSE, CANCEL, FULL};
    rng r = {2};
    for (size_t i = 0; i < COUNT(MODELS); i++) {
        const mp_tc_model m = model_of(i);
        for (size_t f = 0; f < COUNT(families); f++) assert_true(compare(&m, families[f], 100, 64, &r) == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_have_the_bits_of_the_definition),
                                       cmocka_unit_test(ordinary_numbers_are_not_left_to_the_definition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
