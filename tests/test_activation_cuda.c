/* SPDX-License-Identifier: Apache-2.0 */
/* act(gate) of published kernels: bits that an H100 gave. */
#include "ref/predict/activation_cuda.h"

#include "tests/special_unit_support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define ACTIVATION(name, function, act)                     \
    static float name(const mp_special_unit *of, float v) { \
        return mp_activation_cuda(of, function, act, v, 1); \
    }
ACTIVATION(silu_math, MP_ACT_CUDA_MATH, MP_SILU)
ACTIVATION(silu_intrinsics, MP_ACT_CUDA_INTRINSICS, MP_SILU)
ACTIVATION(silu_fast, MP_ACT_CUDA_FAST_MATH, MP_SILU)
ACTIVATION(silu_triton, MP_ACT_TRITON, MP_SILU)
ACTIVATION(silu_triton_quotient, MP_ACT_TRITON_QUOTIENT, MP_SILU)
ACTIVATION(gelu_math, MP_ACT_CUDA_MATH, MP_GELU)
ACTIVATION(gelu_fast, MP_ACT_CUDA_FAST_MATH, MP_GELU)
ACTIVATION(gelu_triton, MP_ACT_TRITON, MP_GELU)
ACTIVATION(gelu_tanh_math, MP_ACT_CUDA_MATH, MP_GELU_TANH)

/* Inputs at which the neighbouring hypothesis gives other bits: division rounded or not, one quotient or a
 * sigmoid, flushed or not, one libdevice or the other. */
static void bits_where_the_forms_differ(void **unused) {
    (void)unused;
    static const known_bits rows[] = {
        {"silu, fast", silu_fast, 0x00FFFFFF, 0x00000000},
        {"silu, fast", silu_fast, 0x80FFFFFF, 0x80000000},
        {"gelu, fast", gelu_fast, 0x00FFFFFF, 0x00000000},
        {"gelu, fast", gelu_fast, 0x80FFFFFF, 0x80000000},
        {"silu, Triton", silu_triton, 0x00000002, 0x00000001},
        {"silu, Triton", silu_triton, 0x00C00002, 0x00600001},
        {"silu, Triton", silu_triton, 0x39C00074, 0x39400976},
        {"silu, Triton", silu_triton, 0x39C0007B, 0x3940097D},
        {"silu, Triton", silu_triton, 0xC2AEAC51, 0x83AEABD8},
        {"silu, Triton", silu_triton, 0xC2AEAC58, 0x83AEA981},
        {"quotient, Triton", silu_triton_quotient, 0x00C00003, 0x00600002},
        {"quotient, Triton", silu_triton_quotient, 0xC2AEAC72, 0x83AEA0DC},
        {"quotient, Triton", silu_triton_quotient, 0xC2AEAC75, 0x83AE9FB0},
        {"quotient, Triton", silu_triton_quotient, 0xC2AEACCC, 0x83AE827C},
        {"gelu, Triton", gelu_triton, 0x40800000, 0x407FFDEC},
        {"gelu, Triton", gelu_triton, 0x40800003, 0x407FFDF2},
        {"gelu, Triton", gelu_triton, 0x4080000C, 0x407FFE04},
        {"gelu, Triton", gelu_triton, 0x40800015, 0x407FFE16},
        {"gelu, Triton", gelu_triton, 0x00000003, 0x00000002},
        {"gelu, Triton", gelu_triton, 0x00C00003, 0x00600002},
    };
    expect_bits(rows, COUNT(rows));
}

static void bits_are_those_of_the_device(void **unused) {
    (void)unused;
    static const known_digest rows[] = {
        {"silu, math", silu_math, 0xD9EEA59C0B9AE5C1},
        {"silu, intrinsics", silu_intrinsics, 0x805BD06BBF6BDFFB},
        {"silu, fast", silu_fast, 0xD1F370AF32A275EC},
        {"silu, Triton", silu_triton, 0x2AD175038DBD13F8},
        {"quotient, Triton", silu_triton_quotient, 0xBA386922C4AAB435},
        {"gelu, math", gelu_math, 0xB85C14EBF73DC8FE},
        {"gelu, fast", gelu_fast, 0xA14D31E0CF077228},
        {"gelu_tanh, math", gelu_tanh_math, 0x490FAA40941E1968},
    };
    expect_digests(rows, COUNT(rows));
}

/* What is not known is NaN, and says why. */
static void unknown_forms_are_refused(void **unused) {
    (void)unused;
    static const struct {
        mp_act_function function;
        mp_activation act;
        const char *why;
    } rows[] = {
        {MP_ACT_CUDA_FAST_MATH, MP_GELU_TANH, NULL},
        {MP_ACT_CUDA_PRODUCT, MP_SILU_CLAMP, "act(gate) is clamped, but has no value of its own"},
        {MP_ACT_CUDA_PRODUCT, MP_SWIGLU_OAI, NULL},
        {MP_ACT_TRITON, MP_GELU_TANH, NULL},
        {MP_ACT_CUDA_SIGMOID, MP_SWIGLU_OAI, NULL},
        {MP_ACT_TRITON, MP_GELU, NULL},
        {MP_ACT_CUDA_MATH, MP_GELU_TANH, NULL},
        {MP_ACT_CUDA_FAST_MATH, MP_CLAMP_SILU, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *why = mp_activation_cuda_unknown(rows[i].function, rows[i].act);
        assert_int_equal(why != NULL, rows[i].why != NULL);
        if (why) assert_string_equal(why, rows[i].why);
        assert_int_equal(isnan(mp_activation_cuda(unit, rows[i].function, rows[i].act, 1.0f, 1.0f)),
                         why != NULL);
    }
}

static void relu2_and_the_product_flush_with_fast_math_alone(void **unused) {
    (void)unused;
    assert_true(mp_activation_cuda(unit, MP_ACT_CUDA_FAST_MATH, MP_RELU2, 0x1p-64f, 1) == 0);
    assert_true(mp_activation_cuda(unit, MP_ACT_CUDA_MATH, MP_RELU2, 0x1p-64f, 1) == 0x1p-128f);
    assert_true(mp_activation_cuda(unit, MP_ACT_TRITON, MP_RELU2, -3.0f, 1) == 0);
    assert_true(isnan(mp_activation_cuda(unit, MP_ACT_TRITON, MP_RELU2, NAN, 1)));
    assert_true(mp_activation_cuda_times(MP_ACT_CUDA_FAST_MATH, 0x1p-100f, 0x1p-30f) == 0);
    assert_true(mp_activation_cuda_times(MP_ACT_TRITON, 0x1p-100f, 0x1p-30f) == 0x1p-130f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_where_the_forms_differ),
        cmocka_unit_test(bits_are_those_of_the_device),
        cmocka_unit_test(unknown_forms_are_refused),
        cmocka_unit_test(relu2_and_the_product_flush_with_fast_math_alone),
    };
    return cmocka_run_group_tests(tests, load_unit, NULL);
}
