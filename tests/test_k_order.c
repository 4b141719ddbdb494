/* SPDX-License-Identifier: Apache-2.0 */
/* k permuted, through whatever a case does around its sums: the bits are those of ascending k for a case
 * whose operands have changed places. And its bound, against the same bound written down here once more. */
#include "ref/bounds.h"
#include "ref/predict/gemm.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

#include <stdio.h>

/* gate_up under the steps of sm_90's 16-bit instructions, but coarse: of 13 and 9 bits, so that the order of
 * terms is seen in what is stored. */
static mp_tensor predicted(const mp_case *c, const mp_inputs *in, mp_k_order order, int promotion) {
    mp_contract contract = mp_host_contract(c);
    mp_trace trace = {0};
    mp_error err = {0};
    contract.gate_up = (mp_gemm_contract){.accumulator = MP_ACC_TENSOR_CORE,
                                          .group = 16,
                                          .fraction_bits = 13,
                                          .result_fraction_bits = 9,
                                          .zero_exponent = -133,
                                          .k_order = order,
                                          .promotion = promotion,
                                          .split_k = 1,
                                          .scaling = MP_SCALING_PRODUCT};
    if (mp_host_predict(&contract, c, in, 16, MP_POISON_A, &trace, &err)) fail_msg("%s", err.text);
    const mp_tensor seen = trace.t[MP_CACHE1];
    trace.t[MP_CACHE1] = (mp_tensor){0};
    mp_trace_destroy(&trace);
    return seen;
}

/* The last axis, in every 32: those with k mod 4 in {0,1} to the front. */
static void move_terms(const mp_tensor *t) {
    const int64_t K = mp_tensor_row_length(t), count = mp_tensor_count(t);
    uint64_t codes[32];
    assert_int_equal(K % 32, 0);
    for (int64_t first = 0; first < count; first += 32) {
        int to = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int k = 0; k < 32; k++)
                if (k % 4 / 2 == pass) codes[to++] = mp_code_at(t->dtype, t->data, first + k);
        for (int k = 0; k < 32; k++) mp_put_code(t->dtype, t->data, first + k, codes[k]);
    }
}

static void permuted_is_ascending_of_moved_operands(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int promotion;
    } rows[] = {{"", 0},
                {"dtype=fp16", 0},
                {"", 64},
                {"quant=int8-w8a16", 0},
                {"quant=int8-w8a16", 96},
                {"quant=int8-w8a16-group", 0},
                {"quant=int4-w4a16 dtype=fp16", 0},
                {"quant=int4-w4a16-zp", 64},
                {"quant=mxfp4", 0},
                {"quant=fp8-channel", 0},
                {"quant=fp8-block", 128},
                {"quant=fp8-block", 32}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[160];
        mp_inputs in;
        mp_error err = {0};
        snprintf(text, sizeof text, "M=7 E=4 topk=2 K=256 N=128 %s", rows[i].text);
        const mp_case c = case_of(text);
        assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
        mp_tensor permuted = predicted(&c, &in, MP_K_PERMUTED, rows[i].promotion),
                  ascending = predicted(&c, &in, MP_K_ASCENDING, rows[i].promotion);
        move_terms(&in.t[MP_X]);
        move_terms(&in.t[MP_W1]);
        mp_tensor moved = predicted(&c, &in, MP_K_ASCENDING, rows[i].promotion);
        if (!same_memory(&permuted, &moved)) fail_msg("'%s' promoted every %d", text, rows[i].promotion);
        assert_false(same_memory(&permuted, &ascending));
        mp_tensor_free(&permuted);
        mp_tensor_free(&ascending);
        mp_tensor_free(&moved);
        mp_inputs_destroy(&in);
    }
}

/* As many steps as the filled-up k has, each with (L+1) cuts at 2^-F and one at 2^-R. */
static void the_bound_counts_the_steps_of_whole_32s(void **state) {
    (void)state;
    static const struct {
        int64_t k;
        int steps;
    } rows[] = {{1, 2}, {16, 2}, {32, 2}, {33, 4}, {200, 14}, {256, 16}};
    const double step = 17 * 0x1p-25 + 0x1p-23;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const mp_gemm_contract g = {.accumulator = MP_ACC_TENSOR_CORE,
                                    .group = 16,
                                    .fraction_bits = 25,
                                    .result_fraction_bits = 23,
                                    .zero_exponent = -133,
                                    .k_order = MP_K_PERMUTED,
                                    .split_k = 1};
        const double rel = mp_gemm_bound(&g, MP_BF16, rows[i].k, 1).rel, expected = rows[i].steps * step;
        if (!(rel >= expected && rel <= expected * (1 + 1e-4)))
            fail_msg("K=%lld: %.9g, expected %.9g", (long long)rows[i].k, rel, expected);
    }
}

/* What a contract cannot mean is bounded, not predicted. */
static void where_the_order_is_not_known(void **state) {
    (void)state;
    static const struct {
        int group, promotion;
        mp_dtype operands;
        const char *why;
    } rows[] = {{16, 0, MP_BF16, NULL},
                {16, 0, MP_FP16, NULL},
                {16, 64, MP_E4M3, NULL},
                {8, 0, MP_E5M2, NULL},
                {8, 0, MP_FP32, "k permuted is known of bf16, fp16 and fp8 alone"},
                {32, 0, MP_I8, "k permuted is known of bf16, fp16 and fp8 alone"},
                {12, 0, MP_BF16, "k permuted is known of steps that divide 32 alone"},
                {16, 48, MP_BF16, "promotion in the middle of a step is not predicted"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const mp_gemm_contract g = {.accumulator = MP_ACC_TENSOR_CORE,
                                    .group = rows[i].group,
                                    .fraction_bits = 25,
                                    .result_fraction_bits = 23,
                                    .zero_exponent = -133,
                                    .k_order = MP_K_PERMUTED,
                                    .promotion = rows[i].promotion,
                                    .split_k = 1};
        const char *why = mp_unpredictable_gemm(&g, rows[i].operands);
        if (!rows[i].why) assert_null(why);
        if (rows[i].why) assert_string_equal(why, rows[i].why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permuted_is_ascending_of_moved_operands),
        cmocka_unit_test(the_bound_counts_the_steps_of_whole_32s),
        cmocka_unit_test(where_the_order_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
