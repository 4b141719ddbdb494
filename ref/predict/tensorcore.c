/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore.h"

#include "base/bits.h"
#include "moeparity/dtype.h"

#include <string.h>

typedef struct format {
    int exponent_bits, fraction_bits;
    bool has_inf;
} format;

static const format FLOAT32 = {8, 23, true};
static const format FORMATS[MP_TC_INPUT_COUNT] = {
    [MP_TC_BF16] = {8, 7, true},  [MP_TC_FP16] = {5, 10, true}, [MP_TC_TF32] = {8, 10, true},
    [MP_TC_E4M3] = {4, 3, false}, [MP_TC_E5M2] = {5, 2, true},
};

/* A number: (-1)^negative * significand * 2^(exponent - fraction_bits). */
typedef struct term {
    enum { FINITE, INFINITE, NOT_A_NUMBER } kind;
    bool negative;
    int exponent, fraction_bits;
    uint64_t significand;
} term;

static term decode(const format *f, uint32_t code) {
    const uint32_t all_fraction = (1u << f->fraction_bits) - 1, all_exponent = (1u << f->exponent_bits) - 1;
    const uint32_t fraction = code & all_fraction, field = code >> f->fraction_bits & all_exponent;
    const int bias = (int)(all_exponent >> 1);
    term t = {.kind = FINITE,
              .negative = code >> (f->fraction_bits + f->exponent_bits) & 1,
              .fraction_bits = f->fraction_bits};
    t.exponent = field ? (int)field - bias : 1 - bias;
    t.significand = field ? fraction + all_fraction + 1 : fraction;
    if (field == all_exponent && f->has_inf) t.kind = fraction ? NOT_A_NUMBER : INFINITE;
    if (field == all_exponent && !f->has_inf && fraction == all_fraction)
        t.kind = NOT_A_NUMBER; /* e4m3: the last code alone */
    return t;
}

static term decode_input(mp_tc_input input, uint32_t code) {
    return decode(&FORMATS[input], input == MP_TC_TF32 ? code >> 13 : code);
}

static bool is_zero(const term *t) {
    return t->kind == FINITE && t->significand == 0;
}

static term multiply(const term *a, const term *b) {
    term t = {.kind = FINITE,
              .negative = a->negative != b->negative,
              .exponent = a->exponent + b->exponent,
              .fraction_bits = a->fraction_bits + b->fraction_bits,
              .significand = a->significand * b->significand};
    if (a->kind == INFINITE || b->kind == INFINITE)
        t.kind = is_zero(a) || is_zero(b) ? NOT_A_NUMBER : INFINITE;
    if (a->kind == NOT_A_NUMBER || b->kind == NOT_A_NUMBER) t.kind = NOT_A_NUMBER;
    return t;
}

/* floor(value * 2^shift); a zero may come with any shift */
static uint64_t shifted(uint64_t value, int shift) {
    if (value == 0) return 0;
    if (shift >= 0) return value << shift;
    return shift > -64 ? value >> -shift : 0;
}

/* value * 2^shift, a value below 2^63, to nearest even */
static uint64_t rounded(uint64_t value, int shift) {
    if (shift >= 0) return shifted(value, shift);
    if (shift <= -64) return 0;
    const uint64_t floor = value >> -shift, rest = value - (floor << -shift),
                   half = UINT64_C(1) << (-shift - 1);
    return floor + (rest > half || (rest == half && floor & 1));
}

static uint32_t infinity(const format *f) {
    return ((1u << f->exponent_bits) - 1) << f->fraction_bits;
}

static uint32_t nan_of(const format *f) {
    return infinity(f) | ((1u << f->fraction_bits) - 1);
}

static uint32_t sign_of(const format *f, bool negative) {
    return (uint32_t)negative << (f->exponent_bits + f->fraction_bits);
}

/* sum * 2^unit in the format: rounded to nearest even, or cut towards zero to `kept` fraction bits. */
static uint32_t encode(const format *f, int64_t sum, int unit, bool to_nearest, int kept) {
    if (sum == 0) return 0;
    const int bias = (1 << (f->exponent_bits - 1)) - 1;
    const uint64_t magnitude = sum < 0 ? -(uint64_t)sum : (uint64_t)sum;
    int exponent = unit + 63 - __builtin_clzll(magnitude);
    if (exponent < 1 - bias) exponent = 1 - bias; /* subnormal: the hidden bit below is 0 */
    const int shift = unit - (exponent - f->fraction_bits);
    const uint64_t significand =
        to_nearest ? rounded(magnitude, shift)
                   : shifted(magnitude, shift) & ~((UINT64_C(1) << (f->fraction_bits - kept)) - 1);
    if (significand == 0) return 0;
    if (exponent > bias) return sign_of(f, sum < 0) | infinity(f);
    /* The hidden bit adds one to the exponent field; so does a carry of the rounding, up to Inf. */
    return sign_of(f, sum < 0) + ((uint32_t)(exponent + bias - 1) << f->fraction_bits) +
           (uint32_t)significand;
}

static uint32_t dot_add(const mp_tc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    term terms[MP_TC_MAX_GROUP + 1];
    const int count = m->group + 1;
    const format *result = m->result == MP_TC_FLOAT16 ? &FORMATS[MP_TC_FP16] : &FLOAT32;
    for (int k = 0; k < m->group; k++) {
        const term x = decode_input(m->a, a[k]), y = decode_input(m->b, b[k]);
        terms[k] = multiply(&x, &y);
    }
    terms[m->group] = decode(result, c);

    bool nan = false, plus_inf = false, minus_inf = false;
    int e_max = m->zero_exponent; /* never less: a zero c has this exponent */
    for (int i = 0; i < count; i++) {
        const term *t = &terms[i];
        if (t->kind == NOT_A_NUMBER)
            nan = true;
        else if (t->kind == INFINITE)
            *(t->negative ? &minus_inf : &plus_inf) = true;
        else if (t->significand != 0 && t->exponent > e_max)
            e_max = t->exponent;
    }
    if (nan || (plus_inf && minus_inf)) return nan_of(result);
    if (plus_inf || minus_inf) return sign_of(result, minus_inf) | infinity(result);

    const int unit = e_max - m->fraction_bits;
    int64_t sum = 0;
    for (int i = 0; i < count; i++) {
        const int64_t cut =
            (int64_t)shifted(terms[i].significand, terms[i].exponent - terms[i].fraction_bits - unit);
        sum += terms[i].negative ? -cut : cut;
    }
    return encode(result, sum, unit, m->result == MP_TC_FLOAT16, m->result_fraction_bits);
}

static uint32_t dot_add_s8(const mp_tc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    int64_t sum = (int32_t)c;
    for (int k = 0; k < m->group; k++) sum += (int8_t)a[k] * (int8_t)b[k];
    if (m->result == MP_TC_INT32_SATURATED)
        sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
    return (uint32_t)sum;
}

static uint32_t fp16_code(mp_tc_input input, uint32_t code) {
    return (uint32_t)mp_encode_code(MP_FP16, mp_decode_code(input == MP_TC_E4M3 ? MP_E4M3 : MP_E5M2, code));
}

static uint32_t add_float32(uint32_t x, uint32_t y) {
    const float sum = mp_float_of_bits(x) + mp_float_of_bits(y);
    return sum != sum ? nan_of(&FLOAT32) : mp_bits_of_float(sum);
}

static uint32_t dot_add_through_fp16(const mp_tc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    mp_tc_model fp16 = *m;
    fp16.a = fp16.b = MP_TC_FP16;
    fp16.group = m->group / 2;
    uint32_t d = 0;
    for (int half = 0; half < 2; half++) {
        uint32_t x[MP_TC_MAX_GROUP / 2], y[MP_TC_MAX_GROUP / 2];
        for (int i = 0; i < fp16.group; i++) {
            const int k = i / 2 * 4 + i % 2 + 2 * half;
            x[i] = fp16_code(m->a, a[k]);
            y[i] = fp16_code(m->b, b[k]);
        }
        d = dot_add(&fp16, x, y, d);
    }
    return add_float32(d, c);
}

uint32_t mp_tc_dot_add(const mp_tc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    if (m->a == MP_TC_S8) return dot_add_s8(m, a, b, c);
    if (m->method == MP_TC_THROUGH_FP16) return dot_add_through_fp16(m, a, b, c);
    return dot_add(m, a, b, c);
}

uint32_t mp_tc_dot(const mp_tc_model *m, int64_t K, const uint32_t *a, const uint32_t *b, uint32_t c) {
    int64_t k = 0;
    for (; k + m->group <= K; k += m->group) c = mp_tc_dot_add(m, a + k, b + k, c);
    if (k == K) return c;
    uint32_t last_a[MP_TC_MAX_GROUP] = {0}, last_b[MP_TC_MAX_GROUP] = {0};
    memcpy(last_a, a + k, (size_t)(K - k) * sizeof *a);
    memcpy(last_b, b + k, (size_t)(K - k) * sizeof *b);
    return mp_tc_dot_add(m, last_a, last_b, c);
}

/* --- which model an instruction follows
 * ------------------------------------------------------------------------------------ */

enum {
    BF16 = 1 << MP_TC_BF16,
    FP16 = 1 << MP_TC_FP16,
    TF32 = 1 << MP_TC_TF32,
    FP8 = 1 << MP_TC_E4M3 | 1 << MP_TC_E5M2,
    S8 = 1 << MP_TC_S8
};
enum { MMA = 1 << MP_TC_MMA, WGMMA = 1 << MP_TC_WGMMA, TCGEN05 = 1 << MP_TC_TCGEN05 };

static const struct {
    int first_sm, last_sm;
    int instructions, inputs, group, fraction_bits, result_fraction_bits;
    mp_tc_method method;
} TABLE[] = {
    {70, 70, MMA, FP16, 4, 23, 23, MP_TC_DIRECT},
    {75, 75, MMA, FP16, 8, 24, 23, MP_TC_DIRECT},
    {80, 89, MMA, FP16 | BF16, 8, 24, 23, MP_TC_DIRECT},
    {80, 89, MMA, TF32, 4, 24, 23, MP_TC_DIRECT},
    {89, 89, MMA, FP8, 16, 13, 13, MP_TC_DIRECT},
    {90, 90, MMA | WGMMA, FP16 | BF16, 16, 25, 23, MP_TC_DIRECT},
    {90, 90, MMA | WGMMA, TF32, 8, 25, 23, MP_TC_DIRECT},
    {90, 90, WGMMA, FP8, 32, 13, 13, MP_TC_DIRECT},
    {90, 90, MMA, FP8, 32, 25, 23, MP_TC_THROUGH_FP16},
    {100, 100, MMA | TCGEN05, FP16 | BF16, 16, 25, 23, MP_TC_DIRECT},
    {100, 100, MMA | TCGEN05, TF32, 8, 25, 23, MP_TC_DIRECT},
    {100, 100, MMA | TCGEN05, FP8, 32, 25, 23, MP_TC_DIRECT},
    {75, 89, MMA, S8, 32, 0, 0, MP_TC_DIRECT},
    {90, 90, MMA | WGMMA, S8, 32, 0, 0, MP_TC_DIRECT},
    {100, 100, MMA | TCGEN05, S8, 32, 0, 0, MP_TC_DIRECT},
};

bool mp_tc_find(int sm, mp_tc_instruction instruction, mp_tc_input a, mp_tc_input b, mp_tc_model *model) {
    static const int known[] = {70, 75, 80, 86, 89, 90, 100};
    const int inputs = 1 << a | 1 << b;
    bool is_known = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) is_known |= known[i] == sm;
    if (!is_known || (a != b && (inputs & FP8) != inputs)) return false;
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        if (sm < TABLE[i].first_sm || sm > TABLE[i].last_sm || !(TABLE[i].instructions & 1 << instruction) ||
            (TABLE[i].inputs & inputs) != inputs)
            continue;
        *model = (mp_tc_model){.a = a,
                               .b = b,
                               .group = TABLE[i].group,
                               .fraction_bits = TABLE[i].fraction_bits,
                               .result_fraction_bits = TABLE[i].result_fraction_bits,
                               .zero_exponent = MP_TC_ZERO_EXPONENT,
                               .method = TABLE[i].method,
                               .result = a == MP_TC_S8 ? MP_TC_INT32 : MP_TC_FLOAT32,
                               .measured = sm == 90};
        return true;
    }
    return false;
}
