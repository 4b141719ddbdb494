/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of the prediction compile for the architectures that are supported. Needs NVRTC, no GPU. */
#include "cases/scheme.h"
#include "kernels/driver.h"
#include "kernels/report.h"
#include "offload/sums.h"
#include "tests/tensorcore_support.h"

#include <stdio.h>

static const int architectures[] = {80, 90, 100};

/* Contracts and operands for all that differs in code: orders of k, sizes of codes and of steps, parts with
 * scales and without. */
static const struct {
    mp_dtype a, w;
    mp_gemm_contract contract;
    bool scaled, per_tile;
} SUMS[] = {
#define CORE .accumulator = MP_ACC_TENSOR_CORE, .split_k = 1, .zero_exponent = -133
    {MP_BF16, MP_BF16, {CORE, .group = 16, .fraction_bits = 25, .result_fraction_bits = 23}, false, false},
    {MP_FP32, MP_FP32, {CORE, .group = 4, .fraction_bits = 24, .result_fraction_bits = 23}, false, false},
    {MP_E5M2,
     MP_E4M3,
     {CORE, .group = 32, .fraction_bits = 13, .result_fraction_bits = 13, .promotion = 128},
     false,
     false},
    {MP_E4M3,
     MP_E4M3,
     {CORE, .group = 32, .fraction_bits = 25, .result_fraction_bits = 23, .k_order = MP_K_BY_PAIRS,
      .promotion = 128, .scaling = MP_SCALING_PRODUCT_FMA},
     true,
     true},
    {MP_FP16,
     MP_FP16,
     {CORE, .group = 16, .fraction_bits = 25, .result_fraction_bits = 23, .k_order = MP_K_PERMUTED},
     false,
     false},
    {MP_I8, MP_I8, {CORE, .group = 32, .scaling = MP_SCALING_A_THEN_W}, true, false},
    {MP_FP32, MP_FP32, {.accumulator = MP_ACC_FMA_ASCENDING, .split_k = 1}, false, false},
    {MP_BF16, MP_FP16, {.accumulator = MP_ACC_FMA_ASCENDING, .split_k = 1}, false, false},
};

static void compiles(int architecture, const mp_kernel *kernel) {
    mp_compile_report report;
    mp_error err = {0};
    if (mp_kernel_compile_report(architecture, kernel, &report, &err) != MP_OK) fail_msg("%s", err.text);
    print_message("sm_%d %s: %d registers, %d bytes of stack: %s\n", architecture, kernel->entry,
                  report.registers, report.stack_bytes, kernel->options);
    assert_true(report.registers > 0 && report.stack_bytes <= MP_STACK_BYTES_MAX);
}

static void every_kernel_compiles(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(SUMS); i++) {
        const mp_tensor a = mp_tensor_shape(SUMS[i].a, 2, 1, 256, 1),
                        w = mp_tensor_shape(SUMS[i].w, 3, 1, 1, 256);
        const mp_multiplied m = {.plain = {.a = {.codes = &a}, .w = {.codes = &w}},
                                 .scaled = SUMS[i].scaled,
                                 .per_tile = SUMS[i].per_tile,
                                 .terms = SUMS[i].scaled ? 128 : 0};
        mp_sums sums;
        mp_error err = {0};
        if (mp_sums_of(&SUMS[i].contract, &m, &sums, &err) != MP_OK) fail_msg("%s", err.text);
        /* one of each source for all architectures, the others for sm_90 */
        const bool all = i == 0 || SUMS[i].a == MP_I8;
        for (size_t k = 0; k < COUNT(architectures); k++) {
            if (!all && architectures[k] != 90) continue;
            compiles(architectures[k], &sums.kernel);
            if (sums.redo.source) compiles(architectures[k], &sums.redo);
        }
    }
}

/* What no kernel has the bits of is refused. */
static void what_is_not_covered_is_refused(void **state) {
    (void)state;
    static const struct {
        mp_dtype a, w;
        mp_gemm_contract contract;
    } refused[] = {
        {MP_BF16, MP_BF16, {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1}},
        {MP_FP32, MP_FP32, {.accumulator = MP_ACC_FMA_ASCENDING, .split_k = 2}},
        {MP_FP32, MP_FP32, {.accumulator = MP_ACC_FMA_ASCENDING, .split_k = 1, .promotion = 32}},
        {MP_FP64, MP_FP64, {.accumulator = MP_ACC_FMA_ASCENDING, .split_k = 1}},
        {MP_BF16, MP_BF16, {CORE, .group = 12, .fraction_bits = 25, .result_fraction_bits = 23}},
        {MP_BF16, MP_BF16, {CORE, .group = 16, .fraction_bits = 29, .result_fraction_bits = 23}},
        {MP_BF16,
         MP_BF16,
         {CORE, .group = 16, .fraction_bits = 25, .result_fraction_bits = 23, .k_order = MP_K_BY_PAIRS}},
        {MP_FP32,
         MP_FP32,
         {CORE, .group = 8, .fraction_bits = 25, .result_fraction_bits = 23, .k_order = MP_K_PERMUTED}},
        {MP_FP16,
         MP_FP16,
         {CORE, .group = 16, .fraction_bits = 25, .result_fraction_bits = 23, .promotion = 24}},
        {MP_E2M1, MP_E2M1, {CORE, .group = 32, .fraction_bits = 25, .result_fraction_bits = 23}},
        {MP_I8, MP_I8, {CORE, .group = 32, .promotion = 48}},
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        const mp_tensor a = mp_tensor_shape(refused[i].a, 2, 1, 256, 1),
                        w = mp_tensor_shape(refused[i].w, 3, 1, 1, 256);
        const mp_multiplied m = {.plain = {.a = {.codes = &a}, .w = {.codes = &w}}};
        mp_sums sums;
        mp_error err = {0};
        if (mp_sums_of(&refused[i].contract, &m, &sums, &err) != MP_EUNSUPPORTED)
            fail_msg("refusal %zu: %s", i, err.text);
    }
}

int main(void) {
    const mp_nvrtc *nvrtc;
    mp_error err = {0};
    if (mp_nvrtc_load(&nvrtc, &err) != MP_OK) {
        fprintf(stderr, "SKIPPED: %s\n", err.text);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_kernel_compiles),
                                       cmocka_unit_test(what_is_not_covered_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
