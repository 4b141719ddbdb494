/* SPDX-License-Identifier: Apache-2.0 */
/* Operands for tests of tensor-core GEMMs: families of random rows, the models that there are, and what the
 * definition says of a row and a column. */
#ifndef MP_TESTS_TENSORCORE_SUPPORT_H
#define MP_TESTS_TENSORCORE_SUPPORT_H

#include "base/bits.h"
#include "ref/predict/tensorcore_gemm.h"
#include "tests/ref_support.h"

/* ---- random operands ---- */

/*  MODERATE  exponents as in real tensors            WIDE   up to 50 binary orders apart, zeros now and then
 *  SCALED    rows and columns of very different size  SPARSE few nonzeros: products of a step are often all
 *            zero
 *  CANCEL    the second half of a row is minus the first, almost     FULL   largest significands and one
 *            sign: sums of 32 bits
 *  APART     the largest numbers meet zeros, so that all products are far below the scale of row and column
 *  EDGES     moderate with zeros, subnormals, Inf and NaN            ANY    uniformly random codes */
typedef enum family { MODERATE, WIDE, SCALED, SPARSE, CANCEL, FULL, APART, EDGES, ANY, FAMILIES } family;

typedef struct shape {
    mp_dtype dtype;
    int exponent_bits, fraction_bits;
} shape;
static const shape SHAPES[] = {[MP_TC_BF16] = {MP_BF16, 8, 7},
                               [MP_TC_FP16] = {MP_FP16, 5, 10},
                               [MP_TC_TF32] = {MP_FP32, 8, 10},
                               [MP_TC_E4M3] = {MP_E4M3, 4, 3},
                               [MP_TC_E5M2] = {MP_E5M2, 5, 2}};

/* The 13 low bits of a tf32 are anything: nobody may look at them. */
static inline uint32_t in_place(mp_tc_input input, uint32_t code, uint32_t any) {
    return input == MP_TC_TF32 ? code << 13 | any >> 19 : code;
}

static inline uint32_t sign_of(mp_tc_input input) {
    return 1u << (8 * mp_dtype_size(SHAPES[input].dtype) - 1);
}

static inline uint32_t encode(mp_tc_input input, bool negative, int exponent, uint32_t any) {
    const shape *s = &SHAPES[input];
    const int bias = (1 << (s->exponent_bits - 1)) - 1;
    int field = exponent + bias;
    if (field < 0) field = 0; /* subnormal */
    if (field > 2 * bias) field = 2 * bias;
    return in_place(input,
                    (uint32_t)negative << (s->exponent_bits + s->fraction_bits) |
                        (uint32_t)field << s->fraction_bits | (any & ((1u << s->fraction_bits) - 1)),
                    any);
}

/* Zero, in tf32 now and then by its low bits alone not. */
static inline uint32_t zero(mp_tc_input input, uint32_t any) {
    return in_place(input, (any & 1) << (SHAPES[input].exponent_bits + SHAPES[input].fraction_bits),
                    any & 2 ? any : 0);
}

/* One row of operands, [K]. */
static inline void random_row(rng *r, mp_tc_input input, family f, int64_t K, uint32_t *codes) {
    const shape *s = &SHAPES[input];
    const bool wide = s->exponent_bits == 8;
    const int reach = wide ? 75 : s->exponent_bits == 5 ? 14 : 6, apart = wide ? -45 : -5;
    const int shift = f == SCALED  ? (int)random_below(r, 2 * reach) - reach
                      : f == APART ? (int)random_below(r, 50) + apart
                                   : 0;
    const int depth = 25 + (int)random_below(r, 20), spread = f == WIDE ? (wide ? 50 : 2 * reach) : 8;
    for (int64_t k = 0; k < K; k++) {
        const uint32_t any = random_bits(r);
        const bool negative = any & 1;
        codes[k] = encode(input, negative, shift - (int)random_below(r, spread), any >> 1);
        const int64_t choice = random_below(r, 1000);
        switch (f) {
        case WIDE:
            if (choice < 100) codes[k] = zero(input, 0);
            break;
        case SPARSE:
            if (choice < 970) codes[k] = zero(input, any);
            break;
        case CANCEL: /* within a step of 32, 16, 8 and of 4 */
            if (k % 4 >= 2 && choice < 950) codes[k] = codes[k - 2] ^ sign_of(input);
            break;
        case FULL:
            codes[k] = encode(input, false, 0, k < 16 ? (k ? 0 : any >> 1) : choice < 2 ? 0 : UINT32_MAX);
            if (k > 0 && k < 16) codes[k] = 0;
            break;
        case APART: /* random_columns exchanges the first two */
            if (k > 1) codes[k] = encode(input, negative, shift - depth - (int)random_below(r, 5), any >> 1);
            if (k == 1 || (k > 1 && choice < 100)) codes[k] = 0;
            break;
        case EDGES:
            if (choice < 60)
                codes[k] = zero(input, any);
            else if (choice < 90)
                codes[k] = encode(input, negative, -200, any >> 1); /* subnormal */
            else if (choice < 91)
                codes[k] = encode(input, negative, 200, any >> 1); /* largest exponent */
            else if (choice < 92 && any & 2)                       /* Inf and NaN, or what e4m3 has there */
                codes[k] = in_place(input, ((negative ? 2u : 1u) << s->exponent_bits) - 1, 0)
                               << s->fraction_bits |
                           (any & 4 ? encode(input, false, -200, any >> 3) : 0);
            break;
        case ANY: codes[k] = any >> (32 - 8 * (int)mp_dtype_size(s->dtype)); break;
        default: break;
        }
    }
}

static inline void put_codes(const mp_tensor *t, int64_t row, int64_t K, const uint32_t *codes) {
    const size_t size = mp_dtype_size(t->dtype);
    for (int64_t k = 0; k < K; k++)
        memcpy((char *)t->data + (size_t)(row * K + k) * size, &codes[k], size); /* little endian */
}

static inline void random_rows(rng *r, mp_tc_input input, family f, int64_t n, int64_t K,
                               const mp_tensor *t) {
    uint32_t *codes = allocated(K, sizeof *codes);
    for (int64_t i = 0; i < n; i++) {
        random_row(r, input, f, K, codes);
        put_codes(t, i, K, codes);
    }
    free(codes);
}

/* What a pair of operands meets in the same place matters to CANCEL: equal columns make equal products. */
static inline void random_columns(rng *r, mp_tc_input input, family f, int64_t n, int64_t K,
                                  const mp_tensor *t) {
    uint32_t *codes = allocated(K, sizeof *codes);
    for (int64_t i = 0; i < n; i++) {
        random_row(r, input, f == CANCEL ? MODERATE : f, K, codes);
        for (int64_t k = 0; f == CANCEL && k < K; k++)
            if (k % 4 >= 2) codes[k] = codes[k - 2];
        if (f == APART && K > 1) {
            codes[1] = codes[0];
            codes[0] = 0;
        }
        put_codes(t, i, K, codes);
    }
    free(codes);
}

/* ---- the definition ---- */

static inline float definition_of(const mp_tc_model *m, const mp_tensor *a, int64_t a_row, const mp_tensor *w,
                                  int64_t w_row, int64_t first, int64_t end) {
    const int64_t K = w->dim[2];
    const size_t a_size = mp_dtype_size(a->dtype), w_size = mp_dtype_size(w->dtype);
    uint32_t *codes = allocated(2 * K, sizeof *codes);
    for (int64_t k = 0; k < K; k++) {
        memcpy(&codes[k], (const char *)a->data + (size_t)(a_row * K + k) * a_size, a_size);
        memcpy(&codes[K + k], (const char *)w->data + (size_t)(w_row * K + k) * w_size, w_size);
    }
    const uint32_t bits = mp_tc_dot(m, end - first, codes + first, codes + K + first, 0);
    free(codes);
    if (m->result == MP_TC_FLOAT16) return (float)mp_decode_code(MP_FP16, bits);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float definition(const mp_tc_model *m, const mp_tensor *a, int64_t a_row, const mp_tensor *w,
                               int64_t w_row) {
    return definition_of(m, a, a_row, w, w_row, 0, w->dim[2]);
}

static const struct {
    int sm;
    mp_tc_instruction instruction;
    mp_tc_input a, b;
} MODELS[] = {
    {90, MP_TC_WGMMA, MP_TC_BF16, MP_TC_BF16}, {90, MP_TC_WGMMA, MP_TC_FP16, MP_TC_FP16},
    {90, MP_TC_WGMMA, MP_TC_TF32, MP_TC_TF32}, {90, MP_TC_WGMMA, MP_TC_E4M3, MP_TC_E4M3},
    {90, MP_TC_WGMMA, MP_TC_E5M2, MP_TC_E5M2}, {90, MP_TC_WGMMA, MP_TC_E5M2, MP_TC_E4M3},
    {80, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16},   {80, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16},
    {70, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16},   {80, MP_TC_MMA, MP_TC_TF32, MP_TC_TF32},
    {89, MP_TC_MMA, MP_TC_E4M3, MP_TC_E4M3},   {100, MP_TC_TCGEN05, MP_TC_E4M3, MP_TC_E4M3},
    {90, MP_TC_MMA, MP_TC_E4M3, MP_TC_E4M3},   {90, MP_TC_MMA, MP_TC_E5M2, MP_TC_E5M2},
    {90, MP_TC_MMA, MP_TC_E4M3, MP_TC_E5M2},   {90, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16},
    {90, MP_TC_MMA, MP_TC_FP16, MP_TC_FP16},   {90, MP_TC_MMA, MP_TC_E4M3, MP_TC_E4M3},
    {90, MP_TC_MMA, MP_TC_E5M2, MP_TC_E4M3},   {80, MP_TC_MMA, MP_TC_BF16, MP_TC_BF16},
};

enum { FIRST_PERMUTED = 15 }; /* from there on k is permuted: the table's steps, fp8 as fp16 */

static inline mp_tc_model model_of(size_t i) {
    const bool permuted = i >= FIRST_PERMUTED,
               fp16 = permuted && mp_dtype_size(SHAPES[MODELS[i].a].dtype) == 1;
    mp_tc_model m;
    assert_true(mp_tc_find(MODELS[i].sm, MODELS[i].instruction, fp16 ? MP_TC_FP16 : MODELS[i].a,
                           fp16 ? MP_TC_FP16 : MODELS[i].b, &m));
    if (!permuted) return m;
    m.method = MP_TC_PERMUTED;
    m.a = MODELS[i].a;
    m.b = MODELS[i].b;
    return m;
}

#endif
