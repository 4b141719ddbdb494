/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore.h"

#include "base/bits.h"
#include "moeparity/dtype.h"
#include "ref/predict/terms.h"

#include <pthread.h>
#include <string.h>

const mp_term_format mp_tc_formats[MP_TC_INPUT_COUNT] = {
    [MP_TC_BF16] = {8, 7, MP_SPECIALS_IEEE},  [MP_TC_FP16] = {5, 10, MP_SPECIALS_IEEE},
    [MP_TC_TF32] = {8, 10, MP_SPECIALS_IEEE}, [MP_TC_E4M3] = {4, 3, MP_SPECIALS_LAST_CODE},
    [MP_TC_E5M2] = {5, 2, MP_SPECIALS_IEEE},  [MP_TC_E2M1] = {2, 1, MP_SPECIALS_NONE},
};

static mp_term decode_input(mp_tc_input input, uint32_t code) {
    return mp_term_decode(&mp_tc_formats[input], input == MP_TC_TF32 ? code >> 13 : code);
}

static uint32_t dot_add(const mp_tc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    mp_term terms[MP_TC_MAX_GROUP + 1];
    const int count = m->group + 1;
    const mp_term_format *result =
        m->result == MP_TC_FLOAT16 ? &mp_tc_formats[MP_TC_FP16] : &mp_float32_terms;
    for (int k = 0; k < m->group; k++) {
        const mp_term x = decode_input(m->a, a[k]), y = decode_input(m->b, b[k]);
        terms[k] = mp_term_multiply(&x, &y);
    }
    terms[m->group] = mp_term_decode(result, c);
    return mp_terms_step(result, count, terms, m->zero_exponent, m->fraction_bits, m->result == MP_TC_FLOAT16,
                         m->result_fraction_bits);
}

static uint32_t dot_add_s8(const mp_tc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    int64_t sum = (int32_t)c;
    for (int k = 0; k < m->group; k++) sum += (int8_t)a[k] * (int8_t)b[k];
    if (m->result == MP_TC_INT32_SATURATED)
        sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
    return (uint32_t)sum;
}

static bool is_fp8(mp_tc_input input) {
    return input == MP_TC_E4M3 || input == MP_TC_E5M2;
}

int mp_tc_terms(const mp_tc_model *m) {
    return m->method == MP_TC_PERMUTED ? MP_TC_MAX_GROUP : m->group;
}

mp_tc_model mp_tc_step(const mp_tc_model *m) {
    mp_tc_model step = *m;
    if (m->method == MP_TC_DIRECT) return step;
    step.method = MP_TC_DIRECT;
    if (is_fp8(m->a)) step.a = MP_TC_FP16;
    if (is_fp8(m->b)) step.b = MP_TC_FP16;
    if (m->method == MP_TC_THROUGH_FP16) step.group = m->group / 2;
    return step;
}

/* Each fp8 code as fp16: exact. */
static uint16_t fp16_of_e4m3[256], fp16_of_e5m2[256];

static void convert_fp8_codes(void) {
    for (uint32_t code = 0; code < 256; code++) {
        fp16_of_e4m3[code] = (uint16_t)mp_encode_code(MP_FP16, mp_decode_code(MP_E4M3, code));
        fp16_of_e5m2[code] = (uint16_t)mp_encode_code(MP_FP16, mp_decode_code(MP_E5M2, code));
    }
}

static uint32_t step_code(mp_tc_input input, uint32_t code) {
    if (input == MP_TC_E4M3) return fp16_of_e4m3[code & 0xFF];
    return input == MP_TC_E5M2 ? fp16_of_e5m2[code & 0xFF] : code;
}

static uint32_t add_float32(uint32_t x, uint32_t y) {
    const float sum = mp_float_of_bits(x) + mp_float_of_bits(y);
    return sum != sum ? mp_term_nan(&mp_float32_terms) : mp_bits_of_float(sum);
}

static uint32_t dot_add_reordered(const mp_tc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    static pthread_once_t converted = PTHREAD_ONCE_INIT;
    const mp_tc_model step = mp_tc_step(m);
    const bool from_zero = m->method == MP_TC_THROUGH_FP16;
    const int terms = mp_tc_terms(m);
    uint32_t x[MP_TC_MAX_GROUP], y[MP_TC_MAX_GROUP], d = from_zero ? 0 : c;
    pthread_once(&converted, convert_fp8_codes);
    for (int i = 0; i < terms; i++) {
        const int k = mp_tc_taken(i, terms / 2);
        x[i] = step_code(m->a, a[k]);
        y[i] = step_code(m->b, b[k]);
    }
    for (int i = 0; i < terms; i += step.group) d = dot_add(&step, x + i, y + i, d);
    return from_zero ? add_float32(d, c) : d;
}

uint32_t mp_tc_dot_add(const mp_tc_model *m, const uint32_t *a, const uint32_t *b, uint32_t c) {
    if (m->a == MP_TC_S8) return dot_add_s8(m, a, b, c);
    if (m->method != MP_TC_DIRECT) return dot_add_reordered(m, a, b, c);
    return dot_add(m, a, b, c);
}

uint32_t mp_tc_dot(const mp_tc_model *m, int64_t K, const uint32_t *a, const uint32_t *b, uint32_t c) {
    const int terms = mp_tc_terms(m);
    int64_t k = 0;
    for (; k + terms <= K; k += terms) c = mp_tc_dot_add(m, a + k, b + k, c);
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
    FP8_FP4 = FP8 | 1 << MP_TC_E2M1,
    S8 = 1 << MP_TC_S8
};
enum { MMA = 1 << MP_TC_MMA, WGMMA = 1 << MP_TC_WGMMA, TCGEN05 = 1 << MP_TC_TCGEN05 };

/* SM_90 was measured. The other rows are from MMA-Sim, and unmeasured, but for the exponent of a zero: of it
 * MMA-Sim says -126, also of sm_90, which has -133; so the others are taken to have sm_90's. */
enum { MEASURED_ON_SM_90 = -133, AS_SM_90 = -133, OF_NO_MEANING = 0 };
static const struct {
    int first_sm, last_sm;
    int instructions, inputs, group, fraction_bits, result_fraction_bits, zero_exponent;
    mp_tc_method method;
} TABLE[] = {
    {70, 70, MMA, FP16, 4, 23, 23, AS_SM_90, MP_TC_DIRECT},
    {75, 75, MMA, FP16, 8, 24, 23, AS_SM_90, MP_TC_DIRECT},
    {80, 89, MMA, FP16 | BF16, 8, 24, 23, AS_SM_90, MP_TC_DIRECT},
    {80, 89, MMA, TF32, 4, 24, 23, AS_SM_90, MP_TC_DIRECT},
    {89, 89, MMA, FP8, 16, 13, 13, AS_SM_90, MP_TC_DIRECT},
    {90, 90, MMA | WGMMA, FP16 | BF16, 16, 25, 23, MEASURED_ON_SM_90, MP_TC_DIRECT},
    {90, 90, MMA | WGMMA, TF32, 8, 25, 23, MEASURED_ON_SM_90, MP_TC_DIRECT},
    {90, 90, WGMMA, FP8, 32, 13, 13, MEASURED_ON_SM_90, MP_TC_DIRECT},
    {90, 90, MMA, FP8, 32, 25, 23, MEASURED_ON_SM_90, MP_TC_THROUGH_FP16},
    {100, 100, MMA | TCGEN05, FP16 | BF16, 16, 25, 23, AS_SM_90, MP_TC_DIRECT},
    {100, 100, MMA | TCGEN05, TF32, 8, 25, 23, AS_SM_90, MP_TC_DIRECT},
    {100, 100, TCGEN05, FP8_FP4, 32, 25, 23, AS_SM_90, MP_TC_DIRECT},
    {120, 120, MMA, FP16 | BF16, 16, 25, 23, AS_SM_90, MP_TC_DIRECT},
    {120, 120, MMA, TF32, 8, 25, 23, AS_SM_90, MP_TC_DIRECT},
    {120, 120, MMA, FP8_FP4, 32, 25, 23, AS_SM_90, MP_TC_DIRECT},
    {75, 89, MMA, S8, 32, 0, 0, OF_NO_MEANING, MP_TC_DIRECT},
    {90, 90, MMA | WGMMA, S8, 32, 0, 0, OF_NO_MEANING, MP_TC_DIRECT},
    {100, 100, MMA | TCGEN05, S8, 32, 0, 0, OF_NO_MEANING, MP_TC_DIRECT},
    {120, 120, MMA, S8, 32, 0, 0, OF_NO_MEANING, MP_TC_DIRECT},
};

bool mp_tc_find(int sm, mp_tc_instruction instruction, mp_tc_input a, mp_tc_input b, mp_tc_model *model) {
    static const int known[] = {70, 75, 80, 86, 89, 90, 100, 120};
    const int inputs = 1 << a | 1 << b;
    bool is_known = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) is_known |= known[i] == sm;
    if (!is_known || (a != b && (inputs & FP8_FP4) != inputs)) return false;
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        if (sm < TABLE[i].first_sm || sm > TABLE[i].last_sm || !(TABLE[i].instructions & 1 << instruction) ||
            (TABLE[i].inputs & inputs) != inputs)
            continue;
        *model = (mp_tc_model){.a = a,
                               .b = b,
                               .group = TABLE[i].group,
                               .fraction_bits = TABLE[i].fraction_bits,
                               .result_fraction_bits = TABLE[i].result_fraction_bits,
                               .zero_exponent = TABLE[i].zero_exponent,
                               .method = TABLE[i].method,
                               .result = a == MP_TC_S8 ? MP_TC_INT32 : MP_TC_FLOAT32,
                               .measured = sm == 90};
        return true;
    }
    return false;
}
