/* SPDX-License-Identifier: Apache-2.0 */
/* The definition of the tensor core: what was measured on hardware, an oracle of its own in float64, and
 * properties. Longer than most: the worked examples and the oracle belong beside each other. */
#include "moeparity/dtype.h"
#include "ref/predict/tensorcore.h"
#include "tests/codes_support.h"

#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- worked examples ---- */

/* a and b list lanes from 0 on, as tests/codes_support.h reads them. */
typedef struct example {
    int sm;
    mp_tc_instruction instruction;
    mp_tc_input input;
    const char *a, *b;
    uint32_t c, expected;
} example;

#define LONG_A "3F71,BFB3,BF2E,3EBE,BF82,BD94,3E37,BF55,BFA8,3E47,3F7E,BF26,BEAB,3FD3,BF0F,BF04"
#define LONG_B "401A,BFC4,3F4C,C000,BF19,3FC0,3F9C,BF67,BEE8,3DA4,BFA1,3F0D,400F,BFAD,BFFE,3E94"
#define ON(sm, instruction) sm, MP_TC_##instruction

static const example EXAMPLES[] = {
    {ON(90, WGMMA), MP_TC_BF16, "3FC0,3F80x8", "3FC0,3300x8", 0, 0x40100001},
    {ON(90, WGMMA), MP_TC_BF16, "3F80,3F80x8", "4010,3300x8", 0, 0x40100000},
    {ON(90, WGMMA), MP_TC_BF16, "3F80", "3440", 0x3F800000, 0x3F800001},
    {ON(90, WGMMA), MP_TC_BF16, "3F80", "B280", 0x3F800000, 0x3F800000},
    {ON(90, WGMMA), MP_TC_BF16, "3F80", "B300", 0x3F800000, 0x3F7FFFFF},
    {ON(90, WGMMA), MP_TC_BF16, "3F80x16", "3280x16", 0x3F800000, 0x3F800000},
    {ON(90, WGMMA), MP_TC_BF16, "3F80x16", "3300x16", 0x3F800000, 0x3F800004},
    {ON(90, WGMMA), MP_TC_BF16, "C600,BF00,BE80,BE00", "4480,3F80x3", 0x4B000000, 0xBF400000},
    {ON(80, MMA), MP_TC_BF16, "C600,BF00,BE80,BE00", "4480,3F80x3", 0x4B000000, 0xBF000000},
    {ON(90, WGMMA), MP_TC_BF16, "4580,C580,3E80@8", "4580,4580,3F80@8", 0, 0},
    {ON(80, MMA), MP_TC_BF16, "4580,C580,3E80@8", "4580,4580,3F80@8", 0, 0x3E800000},
    {ON(90, WGMMA), MP_TC_BF16, "7F00", "3F80", 0x7F000000, 0x7F800000},
    {ON(90, WGMMA), MP_TC_BF16, "7280", "3F80", 0x7F7FFFFF, 0x7F7FFFFF},
    {ON(90, WGMMA), MP_TC_BF16, "0001", "4100", 0, 0x00080000},
    {ON(90, WGMMA), MP_TC_BF16, "0D80", "2700", 0, 0x00000001},
    {ON(90, WGMMA), MP_TC_BF16, "0000", "7F80", 0, 0x7FFFFFFF},
    {ON(90, WGMMA), MP_TC_BF16, "7F80", "FF80", 0, 0xFF800000},
    {ON(90, WGMMA), MP_TC_BF16, LONG_A, LONG_B, 0xBA9C2327, 0x3FCA2167},
    {ON(80, MMA), MP_TC_BF16, LONG_A, LONG_B, 0xBA9C2327, 0x3FCA2164},

    {ON(90, WGMMA), MP_TC_FP16, "3C01", "3C01", 0, 0x3F804008},
    {ON(90, WGMMA), MP_TC_FP16, "0001", "0001", 0, 0x27800000},
    {ON(90, WGMMA), MP_TC_FP16, "7BFFx16", "7BFFx16", 0, 0x517FC004},
    {ON(90, WGMMA), MP_TC_FP16, "3C01,BC00", "3C01,3C00", 0xBB000000, 0x35800000},

    {ON(90, WGMMA), MP_TC_TF32, "3F801FFF", "3F800000", 0, 0x3F800000},
    {ON(90, WGMMA), MP_TC_TF32, "3F802000", "3F802000", 0, 0x3F804008},
    {ON(90, WGMMA), MP_TC_TF32, "7F800001", "3F800000", 0, 0x7F800000},

    {ON(90, WGMMA), MP_TC_E4M3, "", "", 0x3FFFFFFF, 0x3FFFFC00},
    {ON(90, WGMMA), MP_TC_E4M3, "7E", "7E", 0, 0x48440000},
    {ON(90, WGMMA), MP_TC_E4M3, "7E,08", "38,38", 0, 0x43E00000},
    {ON(90, WGMMA), MP_TC_E4M3, "7E,10", "38,38", 0, 0x43E00400},
    {ON(90, WGMMA), MP_TC_E4M3, "04x32", "04x32", 0x3F800000, 0x3F800000},
    {ON(90, WGMMA), MP_TC_E4M3, "08x32", "04x32", 0x3F800000, 0x3F808000},

    {ON(90, WGMMA), MP_TC_E4M3, "38x3", "38x3", 0x39000000, 0x40400000}, /* 3 + 2^-13 has 14 fraction bits */

    {ON(90, WGMMA), MP_TC_E5M2, "F0,B8,B4,B0", "64,3C,3C,3C", 0x4B000000, 0},
    {ON(90, WGMMA), MP_TC_E5M2, "7Bx32", "7Bx32", 0, 0x51C40000},
    {ON(90, WGMMA), MP_TC_E5M2, "3F,3Cx8", "3F,08x8", 0, 0x40441000},

    /* Facts settled by measurement. */
    {ON(90, MMA), MP_TC_BF16, "0D80x8", "2580x8", 0, 0x00000001},
    {ON(90, MMA), MP_TC_BF16, "0000,3F80", "7F00,3080", 0, 0x30800000},
    {ON(90, MMA), MP_TC_BF16, "8000x16", "3F80x16", 0x80000000, 0},
    {ON(90, MMA), MP_TC_BF16, "3F80,BF80", "3F80x2", 0, 0},
    {ON(90, MMA), MP_TC_BF16, "8D80", "2680", 0, 0},
    {ON(90, MMA), MP_TC_BF16, "FFC1", "3F80", 0, 0x7FFFFFFF},
    {ON(90, MMA), MP_TC_BF16, "3F80", "3F80", 0xFF800001, 0x7FFFFFFF},
    {ON(90, MMA), MP_TC_BF16, "7180,F180", "7180x2", 0x3F800000, 0},

    /* mma.sync with fp8 on sm_90. */
    {ON(90, MMA), MP_TC_E4M3, "", "", 0x3FFFFFFF, 0x3FFFFFFF},
    {ON(90, MMA), MP_TC_E4M3, "7E,08", "38,38", 0, 0x43E00200},
    {ON(90, MMA), MP_TC_E4M3, "84", "04", 0x3F800000, 0x3F7FFC00},
    {ON(90, MMA), MP_TC_E4M3, "7E,FE,01", "7E,7E,01", 0, 0x36800000},
    {ON(90, MMA), MP_TC_E4M3, "7E,FE,01@4", "7E,7E,01@4", 0, 0},
    {ON(90, MMA), MP_TC_E4M3, "7E,FE,01@16", "7E,7E,01@16", 0, 0},
};

/* One instruction's k: 32 for fp8, 16 for 16-bit operands, 8 for tf32; on older parts several steps. */
static int instruction_k(mp_tc_input input) {
    return input == MP_TC_TF32 ? 8 : input == MP_TC_BF16 || input == MP_TC_FP16 ? 16 : 32;
}

static void check_examples(const example *examples, size_t count, mp_tc_result result) {
    for (size_t i = 0; i < count; i++) {
        const example *e = &examples[i];
        uint32_t a[MP_TC_MAX_GROUP], b[MP_TC_MAX_GROUP];
        mp_tc_model model;
        parse_lanes(e->a, MP_TC_MAX_GROUP, a);
        parse_lanes(e->b, MP_TC_MAX_GROUP, b);
        assert_true(mp_tc_find(e->sm, e->instruction, e->input, e->input, &model));
        model.result = result;
        const uint32_t got = mp_tc_dot(&model, instruction_k(e->input), a, b, e->c);
        if (got != e->expected)
            fail_msg("sm_%d a=%s b=%s c=%08X: %08X, expected %08X", e->sm, e->a, e->b, e->c, got,
                     e->expected);
    }
}

static void worked_examples(void **state) {
    (void)state;
    check_examples(EXAMPLES, sizeof EXAMPLES / sizeof *EXAMPLES, MP_TC_FLOAT32);
}

/* Both ends of a float16 accumulator, where random sums hardly ever fall: the tie between 65504 and 2^16, the
 * one between 0 and 2^-24, and the carry from subnormal to normal numbers. A difference of one unit of
 * 2^(e_max-F) beside a tie is seen, the next smaller one is not. */
static void float16_results_are_rounded_at_both_ends_of_the_format(void **state) {
    (void)state;
    static const example examples[] = {
        {ON(90, WGMMA), MP_TC_FP16, "4C00", "3C00", 0x7BFF, 0x7C00}, /* 65520, the tie, goes to Inf */
        {ON(90, WGMMA), MP_TC_FP16, "CC00", "3C00", 0xFBFF, 0xFC00},
        {ON(90, WGMMA), MP_TC_FP16, "4BFF", "3C00", 0x7BFF, 0x7BFF},
        {ON(90, WGMMA), MP_TC_FP16, "4C00,9400", "3C00x2", 0x7BFF, 0x7BFF}, /* 65520 - 2^-10 */
        {ON(80, MMA), MP_TC_FP16, "4C00,9400", "3C00x2", 0x7BFF, 0x7C00},
        {ON(80, MMA), MP_TC_FP16, "4C00,9800", "3C00x2", 0x7BFF, 0x7BFF}, /* 65520 - 2^-9 */
        {ON(90, WGMMA), MP_TC_FP16, "5000", "3C00", 0x7BFF, 0x7C00},
        {ON(90, WGMMA), MP_TC_FP16, "4C00", "3C00", 0x7BFE, 0x7BFE},
        {ON(90, WGMMA), MP_TC_FP16, "4C00", "3C00", 0x7BFD, 0x7BFE},

        {ON(90, WGMMA), MP_TC_FP16, "0001", "3800", 0,
         0}, /* 2^-25, the tie, goes to 0, and that is never -0 */
        {ON(90, WGMMA), MP_TC_FP16, "8001", "3800", 0, 0},
        {ON(90, WGMMA), MP_TC_FP16, "0001", "3801", 0, 0x0001},
        {ON(90, WGMMA), MP_TC_FP16, "8001", "3801", 0, 0x8001},
        {ON(90, WGMMA), MP_TC_FP16, "0003", "3800", 0, 0x0002},
        {ON(90, WGMMA), MP_TC_FP16, "0005", "3800", 0, 0x0002},
        {ON(90, WGMMA), MP_TC_FP16, "03FFx8", "03FFx8", 0, 0},
        {ON(90, WGMMA), MP_TC_FP16, "03FFx16", "03FFx16", 0, 0x0001}, /* each far below 2^-24 */
        {ON(80, MMA), MP_TC_FP16, "03FFx16", "03FFx16", 0, 0},        /* two steps, each below the tie */

        {ON(90, WGMMA), MP_TC_FP16, "0001", "3800", 0x03FF, 0x0400},
        {ON(90, WGMMA), MP_TC_FP16, "8001", "3800", 0x8400, 0x8400},
        {ON(90, WGMMA), MP_TC_FP16, "8001", "3800", 0x03FF, 0x03FE},
    };
    check_examples(examples, sizeof examples / sizeof *examples, MP_TC_FLOAT16);
}

/* The long example tells the model from a sequence of IEEE fused multiply-adds. */
static void long_example_differs_from_fma(void **state) {
    (void)state;
    uint32_t a[MP_TC_MAX_GROUP], b[MP_TC_MAX_GROUP], bits = 0xBA9C2327;
    parse_lanes(LONG_A, MP_TC_MAX_GROUP, a);
    parse_lanes(LONG_B, MP_TC_MAX_GROUP, b);
    float acc;
    memcpy(&acc, &bits, sizeof acc);
    for (int k = 0; k < 16; k++)
        acc = fmaf((float)mp_decode_code(MP_BF16, a[k]), (float)mp_decode_code(MP_BF16, b[k]), acc);
    memcpy(&bits, &acc, sizeof bits);
    assert_int_equal(bits, 0x3FCA2168);
}

/* ---- an independent oracle: float64 instead of integers ---- */

/* Products of operands have at most 22 significant bits, terms cut to the common unit at most 28, and their
 * sum 33: float64 holds all of them exactly, and C library functions (frexp, ldexp, trunc) do the cutting.
 * The one rounding to float32 is the CPU's own, in mode "towards zero". */
static double operand(mp_tc_input input, uint32_t code) {
    if (input == MP_TC_TF32) return mp_decode_code(MP_FP32, code & ~0x1FFFu);
    static const mp_dtype dtype[] = {[MP_TC_BF16] = MP_BF16,
                                     [MP_TC_FP16] = MP_FP16,
                                     [MP_TC_E4M3] = MP_E4M3,
                                     [MP_TC_E5M2] = MP_E5M2,
                                     [MP_TC_E2M1] = MP_E2M1};
    return mp_decode_code(dtype[input], code);
}

static int operand_exponent(mp_tc_input input, double value) {
    static const int emin[] = {[MP_TC_BF16] = -126, [MP_TC_FP16] = -14, [MP_TC_TF32] = -126,
                               [MP_TC_E4M3] = -6,   [MP_TC_E5M2] = -14, [MP_TC_E2M1] = 0};
    return value == 0 || ilogb(value) < emin[input] ? emin[input] : ilogb(value);
}

static uint32_t float_toward_zero(double value) {
    const int mode = fegetround();
    fesetround(FE_TOWARDZERO);
    volatile double exact = value; /* keeps the conversion where the mode is set */
    volatile float cut = (float)exact;
    fesetround(mode);
    float result = cut;
    if (fabs(value) >= 0x1p128) result = value < 0 ? -INFINITY : INFINITY;
    uint32_t bits;
    memcpy(&bits, &result, sizeof bits);
    return bits;
}

static uint32_t oracle(const mp_tc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c_bits) {
    double term[MP_TC_MAX_GROUP + 1], special = 0;
    const bool half = m->result == MP_TC_FLOAT16;
    int e_max = -133;
    for (int k = 0; k <= m->group; k++) {
        int exponent;
        if (k == m->group) {
            term[k] = mp_decode_code(half ? MP_FP16 : MP_FP32, c_bits);
            exponent = isfinite(term[k]) ? operand_exponent(half ? MP_TC_FP16 : MP_TC_TF32, term[k]) : 0;
        } else {
            const double x = operand(m->a, a[k]), y = operand(m->b, b[k]);
            term[k] = x * y;
            exponent = isfinite(term[k]) ? operand_exponent(m->a, x) + operand_exponent(m->b, y) : 0;
        }
        if (!isfinite(term[k]))
            special += term[k];
        else if (term[k] != 0 && exponent > e_max)
            e_max = exponent;
    }
    if (isnan(special)) return half ? 0x7FFF : 0x7FFFFFFF;
    if (special != 0) return half ? (special > 0 ? 0x7C00 : 0xFC00) : special > 0 ? 0x7F800000 : 0xFF800000;
    double sum = 0;
    for (int k = 0; k <= m->group; k++) sum += trunc(ldexp(term[k], m->fraction_bits - e_max));
    if (half) {
        const uint32_t code = (uint32_t)mp_encode_code(MP_FP16, ldexp(sum, e_max - m->fraction_bits));
        return code & 0x7FFF ? code : 0;
    }
    uint32_t bits = float_toward_zero(ldexp(sum, e_max - m->fraction_bits));
    if ((bits & 0x7F800000) != 0x7F800000) bits &= ~((1u << (23 - m->result_fraction_bits)) - 1);
    return bits & 0x7FFFFFFF ? bits : 0;
}

/* ---- random operands ---- */

enum { MODERATE, ANY_CODE, EDGES, MODES };
static const int FRACTION_BITS[] = {7, 10, 23, 3, 2, 1}, BITS[] = {16, 16, 32, 8, 8, 4},
                 BIAS[] = {127, 15, 127, 7, 15, 1};

static uint32_t random_code(mp_tc_input input, int mode) {
    const uint32_t any = random_bits() >> (32 - BITS[input]);
    if (input == MP_TC_E2M1) return any; /* all codes are moderate, and none is special */
    const uint32_t sign = any & 1u << (BITS[input] - 1), fraction = any & ((1u << FRACTION_BITS[input]) - 1);
    if (mode == ANY_CODE) return any;
    if (mode == EDGES) switch (random_bits() % 24) {
        case 0:
        case 1:
        case 2: return sign; /* zero */
        case 3:
        case 4: return sign | fraction; /* subnormal */
        case 5:
            if (random_bits() % 8 == 0) return (sign - 1) & ~sign;
            break; /* the largest code: NaN */
        case 6:
            if (random_bits() % 8 == 0 && input != MP_TC_E4M3)
                return sign | ((2u * (uint32_t)BIAS[input] + 1) << FRACTION_BITS[input]);
            break;
        case 7:
        case 8: return any;
        default: break;
        }
    const uint32_t spread = input == MP_TC_E4M3 ? 7 : 10;
    return sign | ((uint32_t)BIAS[input] - spread / 2 + random_bits() % spread) << FRACTION_BITS[input] |
           fraction;
}

/* One group with accumulator; a third of the groups of EDGES cancel: the second half of a is minus the first,
 * with the same b, and c is tiny. */
static void random_group(const mp_tc_model *m, int mode, uint32_t *a, uint32_t *b, uint32_t *c) {
    for (int k = 0; k < m->group; k++) {
        a[k] = random_code(m->a, mode);
        b[k] = random_code(m->b, mode);
    }
    *c = random_code(m->result == MP_TC_FLOAT16 ? MP_TC_FP16 : MP_TC_TF32, mode);
    if (mode != EDGES || random_bits() % 3 != 0) return;
    for (int k = m->group / 2; k < m->group; k++) {
        a[k] = a[k - m->group / 2] ^ 1u << (BITS[m->a] - 1);
        b[k] = b[k - m->group / 2];
    }
    b[m->group - 1] = random_code(m->b, mode);
    if (m->result == MP_TC_FLOAT32 && random_bits() % 2)
        *c = random_bits() % 64 << 23 | random_bits() % (1u << 23);
}

static const struct {
    int sm;
    mp_tc_instruction instruction;
    mp_tc_input a, b;
    mp_tc_result result;
} MODELS[] = {
    {70, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, MP_TC_FLOAT32},
    {75, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, MP_TC_FLOAT32},
    {80, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, MP_TC_FLOAT32},
    {86, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16, MP_TC_FLOAT32},
    {89, MP_TC_MMA, MP_TC_TF32, MP_TC_TF32, MP_TC_FLOAT32},
    {89, MP_TC_MMA, MP_TC_E4M3, MP_TC_E5M2, MP_TC_FLOAT32},
    {90, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16, MP_TC_FLOAT32},
    {90, MP_TC_WGMMA, MP_TC_FP16, MP_TC_FP16, MP_TC_FLOAT32},
    {90, MP_TC_WGMMA, MP_TC_TF32, MP_TC_TF32, MP_TC_FLOAT32},
    {90, MP_TC_WGMMA, MP_TC_E4M3, MP_TC_E4M3, MP_TC_FLOAT32},
    {90, MP_TC_WGMMA, MP_TC_E5M2, MP_TC_E5M2, MP_TC_FLOAT32},
    {90, MP_TC_WGMMA, MP_TC_E5M2, MP_TC_E4M3, MP_TC_FLOAT32},
    {100, MP_TC_TCGEN05, MP_TC_BF16, MP_TC_BF16, MP_TC_FLOAT32},
    {100, MP_TC_TCGEN05, MP_TC_E4M3, MP_TC_E4M3, MP_TC_FLOAT32},
    {100, MP_TC_TCGEN05, MP_TC_E2M1, MP_TC_E2M1, MP_TC_FLOAT32},
    {120, MP_TC_MMA, MP_TC_E2M1, MP_TC_E5M2, MP_TC_FLOAT32},
    {80, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, MP_TC_FLOAT16},
    {90, MP_TC_WGMMA, MP_TC_FP16, MP_TC_FP16, MP_TC_FLOAT16},
};
#define MODEL_COUNT (sizeof MODELS / sizeof *MODELS)

static mp_tc_model model_of(size_t i) {
    mp_tc_model m;
    assert_true(mp_tc_find(MODELS[i].sm, MODELS[i].instruction, MODELS[i].a, MODELS[i].b, &m));
    m.result = MODELS[i].result;
    return m;
}

static void random_groups_equal_the_oracle(void **state) {
    (void)state;
    for (size_t i = 0; i < MODEL_COUNT; i++)
        for (int mode = 0; mode < MODES; mode++)
            for (int trial = 0; trial < 10000; trial++) {
                const mp_tc_model m = model_of(i);
                uint32_t a[MP_TC_MAX_GROUP], b[MP_TC_MAX_GROUP], c;
                random_group(&m, mode, a, b, &c);
                const uint32_t got = mp_tc_dot_add(&m, a, b, c), expected = oracle(&m, a, b, c);
                if (got != expected)
                    fail_msg("model %zu mode %d trial %d: %08X, expected %08X", i, mode, trial, got,
                             expected);
            }
}

/* ---- properties ---- */

/* Within a step the order of terms means nothing, a and b may be exchanged, and the negated problem has the
 * negated result. */
static void order_exchange_and_sign(void **state) {
    (void)state;
    for (size_t i = 0; i < MODEL_COUNT; i++) {
        mp_tc_model m = model_of(i);
        const bool half = m.result == MP_TC_FLOAT16;
        const uint32_t sign = half ? 0x8000 : 0x80000000u, nan = half ? 0x7FFF : 0x7FFFFFFF;
        for (int trial = 0; trial < 2000; trial++) {
            uint32_t a[MP_TC_MAX_GROUP], b[MP_TC_MAX_GROUP], ra[MP_TC_MAX_GROUP], rb[MP_TC_MAX_GROUP], c;
            random_group(&m, trial % MODES, a, b, &c);
            const uint32_t straight = mp_tc_dot_add(&m, a, b, c);
            for (int k = 0; k < m.group; k++) {
                ra[k] = a[m.group - 1 - k];
                rb[k] = b[m.group - 1 - k];
            }
            assert_int_equal(mp_tc_dot_add(&m, ra, rb, c), straight);
            mp_tc_model exchanged = m;
            exchanged.a = m.b;
            exchanged.b = m.a;
            assert_int_equal(mp_tc_dot_add(&exchanged, b, a, c), straight);
            for (int k = 0; k < m.group; k++) ra[k] = a[k] ^ 1u << (BITS[m.a] - 1);
            const uint32_t negated = mp_tc_dot_add(&m, ra, b, c ^ sign);
            assert_int_equal(negated, straight == 0 || straight == nan ? straight : straight ^ sign);
        }
    }
}

/* |result - exact| < (L+1) units of 2^(e_max-F), and one of the result's own, which is at most (L+1) * 4 *
 * 2^e_max in size. */
static void error_is_bounded(void **state) {
    (void)state;
    for (size_t i = 0; i < MODEL_COUNT; i++) {
        const mp_tc_model m = model_of(i);
        const bool half = m.result == MP_TC_FLOAT16;
        const mp_dtype result = half ? MP_FP16 : MP_FP32;
        for (int trial = 0; trial < 2000; trial++) {
            uint32_t a[MP_TC_MAX_GROUP], b[MP_TC_MAX_GROUP], c;
            random_group(&m, MODERATE, a, b, &c);
            long double exact = mp_decode_code(result, c), largest = fabsl(exact);
            for (int k = 0; k < m.group; k++) {
                const long double p = (long double)operand(m.a, a[k]) * operand(m.b, b[k]);
                exact += p;
                if (fabsl(p) > largest) largest = fabsl(p);
            }
            const long double unit = largest * ldexpl(1, -m.fraction_bits),
                              own = half ? fabsl(exact) * 0x1p-11L + 0x1p-25L
                                         : fabsl(exact) * ldexpl(1, -m.result_fraction_bits);
            const long double error = fabsl(mp_decode_code(result, mp_tc_dot_add(&m, a, b, c)) - exact);
            assert_true(error <= (m.group + 1) * unit + own);
        }
    }
}

/* A chain of steps is what mp_tc_dot does; missing terms are zeros; nothing is hidden between steps. */
static void a_long_dot_is_a_chain(void **state) {
    (void)state;
    for (size_t i = 0; i < MODEL_COUNT; i++) {
        const mp_tc_model m = model_of(i);
        for (int K = 0; K < 3 * m.group; K += 3) {
            uint32_t a[4 * MP_TC_MAX_GROUP] = {0}, b[4 * MP_TC_MAX_GROUP] = {0},
                           c = m.result == MP_TC_FLOAT16 ? 0x3E00 : 0x3FC00000;
            for (int k = 0; k < K; k++) {
                a[k] = random_code(m.a, MODERATE);
                b[k] = random_code(m.b, MODERATE);
            }
            const uint32_t got = mp_tc_dot(&m, K, a, b, c);
            for (int k = 0; k < K; k += m.group) c = mp_tc_dot_add(&m, a + k, b + k, c);
            assert_int_equal(got, c);
        }
    }
}

static uint32_t as_fp16(mp_tc_input input, uint32_t code) {
    return (uint32_t)mp_encode_code(MP_FP16, operand(input, code));
}

/* fp8 mma.sync on sm_90, built by hand from fp16 steps. */
static void fp8_mma_is_two_fp16_steps(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        const mp_tc_input input = which ? MP_TC_E5M2 : MP_TC_E4M3;
        mp_tc_model fp8, fp16;
        assert_true(mp_tc_find(90, MP_TC_MMA, input, input, &fp8));
        assert_true(mp_tc_find(90, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, &fp16));
        for (int trial = 0; trial < 20000; trial++) {
            uint32_t a[32], b[32], c, x[2][16], y[2][16];
            random_group(&fp8, trial % MODES, a, b, &c);
            for (int k = 0; k < 32; k++) {
                const int half = k >> 1 & 1, at = k >> 2 << 1 | (k & 1);
                x[half][at] = as_fp16(input, a[k]);
                y[half][at] = as_fp16(input, b[k]);
            }
            const double d = mp_decode_code(
                MP_FP32, mp_tc_dot_add(&fp16, x[1], y[1], mp_tc_dot_add(&fp16, x[0], y[0], 0)));
            /* A float64 sum rounded again to float32 is the correctly rounded sum: 53 >= 2*24 + 2. */
            const uint32_t expected = (uint32_t)mp_encode_code(MP_FP32, d + mp_decode_code(MP_FP32, c));
            assert_int_equal(mp_tc_dot_add(&fp8, a, b, c), expected);
        }
    }
}

/* k permuted, built by hand from ordinary steps: of every 32 two passes, for each of which the terms are
 * looked for; fp8 is fp16; what is missing at the end leaves its place empty. */
static void permuted_terms_are_ordinary_steps(void **state) {
    (void)state;
    enum { MOST = 100 };
    static const struct {
        int sm;
        mp_tc_input a, b, step;
    } kinds[] = {{90, MP_TC_BF16, MP_TC_BF16, MP_TC_BF16}, {90, MP_TC_FP16, MP_TC_FP16, MP_TC_FP16},
                 {90, MP_TC_E4M3, MP_TC_E4M3, MP_TC_FP16}, {90, MP_TC_E5M2, MP_TC_E4M3, MP_TC_FP16},
                 {80, MP_TC_BF16, MP_TC_BF16, MP_TC_BF16}, {80, MP_TC_E4M3, MP_TC_E5M2, MP_TC_FP16}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        mp_tc_model step;
        assert_true(mp_tc_find(kinds[i].sm, MP_TC_MMA, kinds[i].step, kinds[i].step, &step));
        mp_tc_model permuted = step;
        permuted.a = kinds[i].a;
        permuted.b = kinds[i].b;
        permuted.method = MP_TC_PERMUTED;
        for (int trial = 0; trial < 4000; trial++) {
            const int K = trial % (MOST + 1);
            uint32_t a[MOST], b[MOST], c = random_code(MP_TC_TF32, MODERATE);
            for (int k = 0; k < K; k++) {
                a[k] = random_code(kinds[i].a, trial % MODES);
                b[k] = random_code(kinds[i].b, trial % MODES);
            }
            const uint32_t got = mp_tc_dot(&permuted, K, a, b, c);
            uint32_t x[MP_TC_MAX_GROUP], y[MP_TC_MAX_GROUP];
            int taken = 0;
            for (int first = 0; first < K; first += 32)
                for (int pass = 0; pass < 2; pass++)
                    for (int k = first; k < first + 32; k++) {
                        if ((k >> 1 & 1) != pass) continue;
                        const bool same = kinds[i].step == kinds[i].a;
                        x[taken] = k >= K ? 0 : same ? a[k] : as_fp16(kinds[i].a, a[k]);
                        y[taken] = k >= K ? 0 : same ? b[k] : as_fp16(kinds[i].b, b[k]);
                        if (++taken < step.group) continue;
                        c = mp_tc_dot_add(&step, x, y, c);
                        taken = 0;
                    }
            if (got != c) fail_msg("kind %zu trial %d K=%d: %08X, expected %08X", i, trial, K, got, c);
        }
    }
}

/* By hand: an accumulator of 2^16, whose last bit is 2^-7, and a half of that at k = 32 and 34, a quarter at
 * 48 and 50. Ascending, the two halves share a step and add one; the two quarters are cut. Permuted, a half
 * and a quarter share a step, twice, and are cut. By pairs all of them are one and a half, which is halfway
 * and goes to the even two. */
static void three_orders_of_k_have_three_results(void **state) {
    (void)state;
    static const struct {
        mp_tc_input input;
        uint32_t large, small, smaller; /* 2^8, 2^-4, 2^-5 */
    } kinds[] = {{MP_TC_E4M3, 0x78, 0x18, 0x10},
                 {MP_TC_FP16, 0x5C00, 0x2C00, 0x2800},
                 {MP_TC_BF16, 0x4380, 0x3D80, 0x3D00}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        uint32_t a[64] = {kinds[i].large}, b[64] = {kinds[i].large};
        a[32] = a[34] = a[48] = a[50] = b[32] = b[34] = kinds[i].small;
        b[48] = b[50] = kinds[i].smaller;
        mp_tc_model m = {.a = kinds[i].input,
                         .b = kinds[i].input,
                         .group = 16,
                         .fraction_bits = 25,
                         .result_fraction_bits = 23,
                         .zero_exponent = -133};
        assert_int_equal(mp_tc_dot(&m, 64, a, b, 0), 0x47800001);
        m.method = MP_TC_PERMUTED;
        assert_int_equal(mp_tc_dot(&m, 64, a, b, 0), 0x47800000);
        if (kinds[i].input != MP_TC_E4M3) continue;
        m.method = MP_TC_THROUGH_FP16;
        m.group = 32;
        assert_int_equal(mp_tc_dot(&m, 64, a, b, 0), 0x47800002);
    }
}

/* Held at the limit after every step of 32, not in between, and free to leave it again. */
static void s8_saturates_step_by_step(void **state) {
    (void)state;
    mp_tc_model m;
    uint32_t a[64], b[64];
    assert_true(mp_tc_find(90, MP_TC_MMA, MP_TC_S8, MP_TC_S8, &m));
    m.result = MP_TC_INT32_SATURATED;
    for (int k = 0; k < 64; k++) {
        a[k] = k < 32 ? 127 : 0x81;
        b[k] = 127;
    }
    assert_int_equal(mp_tc_dot(&m, 32, a, b, 0x7FFFFFF0), 0x7FFFFFFF);
    assert_int_equal(mp_tc_dot(&m, 64, a, b, 0x7FFFFFF0), 0x7FFFFFFF - 32 * 127 * 127);
    assert_int_equal(mp_tc_dot(&m, 32, a + 32, b, 0x80000010), 0x80000000);
    assert_int_equal(mp_tc_dot(&m, 32, a + 16, b, 0x7FFFFFF0),
                     0x7FFFFFF0); /* above the limit in the middle of a step */
}

static void s8_is_exact_and_wraps(void **state) {
    (void)state;
    mp_tc_model m;
    assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_S8, MP_TC_S8, &m));
    for (int trial = 0; trial < 1000; trial++) {
        uint32_t a[100], b[100];
        const uint32_t c = random_bits();
        const int K = (int)(random_bits() % 101);
        int64_t sum = (int32_t)c;
        for (int k = 0; k < K; k++) {
            const int x = (int)(random_bits() % 256) - 128,
                      y = trial % 2 ? -128 : (int)(random_bits() % 256) - 128;
            a[k] = (uint32_t)x & 0xFF;
            b[k] = (uint32_t)y & 0xFF;
            sum += x * y;
        }
        assert_int_equal(mp_tc_dot(&m, K, a, b, c), (uint32_t)sum);
    }
}

/* L, F and the result's fraction bits, as published for each architecture and measured on sm_90. */
static void parameters_of_every_architecture(void **state) {
    (void)state;
    static const struct {
        int sm;
        mp_tc_instruction instruction;
        mp_tc_input a, b;
        int group, fraction_bits, result_fraction_bits;
    } rows[] = {
        {70, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, 4, 23, 23},
        {75, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, 8, 24, 23},
        {80, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16, 8, 24, 23},
        {86, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, 8, 24, 23},
        {89, MP_TC_MMA, MP_TC_TF32, MP_TC_TF32, 4, 24, 23},
        {89, MP_TC_MMA, MP_TC_E4M3, MP_TC_E4M3, 16, 13, 13},
        {90, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16, 16, 25, 23},
        {90, MP_TC_WGMMA, MP_TC_FP16, MP_TC_FP16, 16, 25, 23},
        {90, MP_TC_MMA, MP_TC_TF32, MP_TC_TF32, 8, 25, 23},
        {90, MP_TC_WGMMA, MP_TC_E4M3, MP_TC_E5M2, 32, 13, 13},
        {100, MP_TC_TCGEN05, MP_TC_BF16, MP_TC_BF16, 16, 25, 23},
        {100, MP_TC_TCGEN05, MP_TC_TF32, MP_TC_TF32, 8, 25, 23},
        {100, MP_TC_TCGEN05, MP_TC_E5M2, MP_TC_E5M2, 32, 25, 23},
        {100, MP_TC_TCGEN05, MP_TC_E2M1, MP_TC_E4M3, 32, 25, 23},
        {120, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16, 16, 25, 23},
        {120, MP_TC_MMA, MP_TC_TF32, MP_TC_TF32, 8, 25, 23},
        {120, MP_TC_MMA, MP_TC_E4M3, MP_TC_E2M1, 32, 25, 23},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mp_tc_model m;
        assert_true(mp_tc_find(rows[i].sm, rows[i].instruction, rows[i].a, rows[i].b, &m));
        assert_int_equal(m.group, rows[i].group);
        assert_int_equal(m.fraction_bits, rows[i].fraction_bits);
        assert_int_equal(m.result_fraction_bits, rows[i].result_fraction_bits);
        assert_int_equal(m.method, MP_TC_DIRECT);
    }
}

static void what_does_not_exist_is_not_found(void **state) {
    (void)state;
    mp_tc_model m;
    assert_false(mp_tc_find(70, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16, &m));
    assert_false(mp_tc_find(80, MP_TC_WGMMA, MP_TC_BF16, MP_TC_BF16, &m));
    assert_false(mp_tc_find(86, MP_TC_MMA, MP_TC_E4M3, MP_TC_E4M3, &m));
    assert_false(mp_tc_find(90, MP_TC_WGMMA, MP_TC_BF16, MP_TC_FP16, &m));
    assert_false(mp_tc_find(100, MP_TC_MMA, MP_TC_E4M3, MP_TC_E4M3, &m));
    assert_false(mp_tc_find(90, MP_TC_WGMMA, MP_TC_E4M3, MP_TC_E2M1, &m));
    assert_false(mp_tc_find(120, MP_TC_WGMMA, MP_TC_BF16, MP_TC_BF16, &m));
    assert_false(mp_tc_find(85, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16, &m));
    assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_BF16, MP_TC_BF16, &m) && m.measured);
    assert_true(mp_tc_find(80, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16, &m) && !m.measured);
}

/* Bits are required of a subject on the strength of this flag alone: an architecture that nobody has measured
 * must not have it, whatever its number. */
static void nothing_but_sm_90_is_measured(void **state) {
    (void)state;
    int measured = 0, published = 0;
    for (int sm = 70; sm <= 130; sm++)
        for (int instruction = MP_TC_MMA; instruction <= MP_TC_TCGEN05; instruction++)
            for (int input = 0; input < MP_TC_INPUT_COUNT; input++) {
                mp_tc_model m;
                if (!mp_tc_find(sm, (mp_tc_instruction)instruction, (mp_tc_input)input, (mp_tc_input)input,
                                &m))
                    continue;
                assert_int_equal(m.measured, sm == 90);
                assert_int_equal(m.zero_exponent, input == MP_TC_S8 ? 0 : -133);
                measured += m.measured;
                published += sm > 90;
            }
    assert_int_equal(measured, 2 * (MP_TC_INPUT_COUNT - 1)); /* mma.sync and wgmma, of all but e2m1 */
    assert_int_equal(published, 4 + MP_TC_INPUT_COUNT + MP_TC_INPUT_COUNT); /* sm_100: mma.sync of bf16, fp16,
                                                                              tf32, s8, and tcgen05; sm_120 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_examples),
        cmocka_unit_test(float16_results_are_rounded_at_both_ends_of_the_format),
        cmocka_unit_test(long_example_differs_from_fma),
        cmocka_unit_test(random_groups_equal_the_oracle),
        cmocka_unit_test(order_exchange_and_sign),
        cmocka_unit_test(error_is_bounded),
        cmocka_unit_test(a_long_dot_is_a_chain),
        cmocka_unit_test(fp8_mma_is_two_fp16_steps),
        cmocka_unit_test(permuted_terms_are_ordinary_steps),
        cmocka_unit_test(three_orders_of_k_have_three_results),
        cmocka_unit_test(s8_is_exact_and_wraps),
        cmocka_unit_test(s8_saturates_step_by_step),
        cmocka_unit_test(parameters_of_every_architecture),
        cmocka_unit_test(what_does_not_exist_is_not_found),
        cmocka_unit_test(nothing_but_sm_90_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
