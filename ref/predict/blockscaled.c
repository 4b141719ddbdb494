/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/blockscaled.h"

#include "ref/predict/terms.h"

#include <assert.h>

enum { EXACT_TERMS = 16 /* of mxf4 and nvf4: summed before they are scaled */ };

/* A scale as a term that multiplies: never negative. */
static mp_term decode_scale(mp_bs_scale format, uint8_t code) {
    if (format == MP_BS_UE4M3) return mp_term_decode(&mp_tc_formats[MP_TC_E4M3], code & 0x7F);
    return (mp_term){
        .kind = code == 0xFF ? MP_TERM_NAN : MP_TERM_FINITE, .exponent = (int)code - 127, .significand = 1};
}

static mp_term scale_of(const mp_bs_model *m, const uint8_t *scale_a, const uint8_t *scale_b, int k) {
    const mp_term x = decode_scale(m->scale, scale_a[k / m->block]),
                  y = decode_scale(m->scale, scale_b[k / m->block]);
    return mp_term_multiply(&x, &y);
}

static mp_term product(const mp_bs_model *m, uint32_t a, uint32_t b) {
    const mp_term x = mp_term_decode(&mp_tc_formats[m->a], a), y = mp_term_decode(&mp_tc_formats[m->b], b);
    return mp_term_multiply(&x, &y);
}

/* The exact sum of products of e2m1, as a term of exponent 0: they are multiples of 1/4. */
static mp_term exact_sum(const mp_bs_model *m, const uint32_t *a, const uint32_t *b) {
    mp_term products[EXACT_TERMS];
    for (int k = 0; k < EXACT_TERMS; k++) products[k] = product(m, a[k], b[k]);
    const int64_t sum = mp_terms_sum(EXACT_TERMS, products, -2);
    return (mp_term){.kind = MP_TERM_FINITE,
                     .negative = sum < 0,
                     .fraction_bits = 2,
                     .significand = (uint64_t)(sum < 0 ? -sum : sum)};
}

uint32_t mp_bs_dot_add(const mp_bs_model *m, const uint32_t *a, const uint32_t *b, const uint8_t *scale_a,
                       const uint8_t *scale_b, uint32_t c) {
    const bool exact_first = m->kind != MP_BS_MXF8F6F4;
    const int together = exact_first ? EXACT_TERMS : 1;
    mp_term terms[MP_BS_MAX_TERMS + 1];
    int count = 0, e_max = m->zero_exponent;
    uint32_t bits;
    for (int k = 0; k < m->terms; k += together) {
        const mp_term scale = scale_of(m, scale_a, scale_b, k),
                      sum = exact_first ? exact_sum(m, a + k, b + k) : product(m, a[k], b[k]);
        terms[count++] = mp_term_multiply(&sum, &scale);
        const bool of_scale = exact_first && scale.significand != 0; /* a sum of 0 has its exponent, too */
        if (of_scale && scale.exponent > e_max) e_max = scale.exponent;
    }
    terms[count++] = mp_term_decode(&mp_float32_terms, c);
    if (mp_terms_special(&mp_float32_terms, count, terms, &bits)) return bits;
    const int unit = mp_terms_exponent(count, terms, e_max) - m->fraction_bits;
    return mp_term_encode(&mp_float32_terms, mp_terms_sum(count, terms, unit), unit, false, 23);
}

uint32_t mp_bs_dot(const mp_bs_model *m, int64_t K, const uint32_t *a, const uint32_t *b,
                   const uint8_t *scale_a, const uint8_t *scale_b, uint32_t c) {
    assert(K % m->terms == 0);
    for (int64_t k = 0; k < K; k += m->terms)
        c = mp_bs_dot_add(m, a + k, b + k, scale_a + k / m->block, scale_b + k / m->block, c);
    return c;
}

bool mp_bs_find(int sm, mp_tc_instruction instruction, mp_bs_kind kind, mp_tc_input a, mp_tc_input b,
                mp_bs_model *model) {
    const bool exists =
        (sm == 100 && instruction == MP_TC_TCGEN05) || (sm == 120 && instruction == MP_TC_MMA);
    const int takes =
        kind == MP_BS_MXF8F6F4 ? 1 << MP_TC_E4M3 | 1 << MP_TC_E5M2 | 1 << MP_TC_E2M1 : 1 << MP_TC_E2M1;
    if (!exists || !(takes & 1 << a) || !(takes & 1 << b)) return false;
    *model = (mp_bs_model){.kind = kind,
                           .a = a,
                           .b = b,
                           .scale = kind == MP_BS_NVF4 ? MP_BS_UE4M3 : MP_BS_UE8M0,
                           .terms = kind == MP_BS_MXF8F6F4 ? 32 : 64,
                           .block = kind == MP_BS_NVF4 ? 16 : 32,
                           .fraction_bits = kind == MP_BS_MXF8F6F4 ? 25 : 35,
                           .zero_exponent = -133};
    return true;
}
