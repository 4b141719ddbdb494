/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of a tensor core, bit by bit: the definition. Integers only; readable rather than fast
 * (ref/predict/tensorcore_gemm.h is the fast twin).
 *
 * One step is a truncated fused dot-add d = TFD(a[0..L-1], b[0..L-1], c):
 *   1. an operand is significand * 2^(exponent - its fraction bits); a subnormal has the exponent of the
 *      smallest normal number;
 *   2. products are exact and not normalised: exponent ea+eb, significand in [0,4); c is a float32;
 *   3. e_max is the largest exponent among products and c, where a zero counts as `zero_exponent`;
 *   4. every term is cut, towards zero, to a multiple of 2^(e_max - F); these are summed exactly;
 *   5. the sum is cut once, towards zero, to the result's fraction bits; zero is always +0; 2^128 and beyond
 *      is Inf.
 * NaN, 0*Inf and Inf-Inf give 7FFFFFFF. A longer sum chains steps over ascending k through the float32
 * accumulator; nothing else survives a step. A float16 accumulator (c and the result) differs in 5: rounded
 * to nearest even; its NaN is 7FFF.
 *
 * Sources: Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of NVIDIA tensor cores" (PeerJ CS 2021);
 * MMA-Sim (arXiv 2511.10909). sm_90 is confirmed by measurement: single instructions on random vectors
 * (`moeparity probe`), and whole GEMMs. */
#ifndef MP_REF_TENSORCORE_H
#define MP_REF_TENSORCORE_H

#include <stdbool.h>
#include <stdint.h>

/* Operand codes: the format's bits, right-aligned; tf32 is a whole float32, whose low 13 bits are dropped; s8
 * is two's complement. */
typedef enum mp_tc_input {
    MP_TC_BF16,
    MP_TC_FP16,
    MP_TC_TF32,
    MP_TC_E4M3,
    MP_TC_E5M2,
    MP_TC_E2M1,
    MP_TC_S8,
    MP_TC_INPUT_COUNT
} mp_tc_input;

typedef enum mp_tc_instruction {
    MP_TC_MMA,
    MP_TC_WGMMA,
    MP_TC_TCGEN05
} mp_tc_instruction; /* mma.sync, wgmma.mma_async, tcgen05.mma */

/* DIRECT: step by step as above. THROUGH_FP16: mma.sync with fp8 operands on sm_90, which has no fp8 mma.sync
 * unit: 32 terms, converted to fp16 (exact), are two fp16 steps from zero, first those with k mod 4 in {0,1},
 * then {2,3}; an IEEE float32 addition adds c. PERMUTED: the same order, but the steps are chained through c
 * like any others: 16-bit instructions by a compiler that converts their operands from 8 bits, four
 * neighbours of which share a register (Triton). */
typedef enum mp_tc_method { MP_TC_DIRECT, MP_TC_THROUGH_FP16, MP_TC_PERMUTED } mp_tc_method;

/* Accumulators, c and result alike. s8 sums are exact; what does not fit wraps around, or is held at the
 * limit (.satfinite) after every step. */
typedef enum mp_tc_result { MP_TC_FLOAT32, MP_TC_FLOAT16, MP_TC_INT32, MP_TC_INT32_SATURATED } mp_tc_result;

enum { MP_TC_MAX_GROUP = 32 };

typedef struct mp_tc_model {
    mp_tc_input a, b;         /* the same, except that formats of 8 bits and e2m1 mix where they exist */
    int group;                /* L: terms of one step; at most MP_TC_MAX_GROUP */
    int fraction_bits;        /* F; not used by s8, which is exact */
    int result_fraction_bits; /* of FLOAT32: 23, or 13 */
    int zero_exponent;        /* e_max of zeros: measured on sm_90, elsewhere taken to be the same */
    mp_tc_method method;
    mp_tc_result result;
    bool measured; /* confirmed on hardware by this project; otherwise from the literature */
} mp_tc_model;

/* The model of architecture sm (70, 75, 80, 86, 89, 90, 100, 120), accumulating in FLOAT32, s8 in INT32. The
 * caller may set `result` to the other accumulator that fp16 and s8 have. False: there is no such
 * instruction, or its arithmetic is not known. */
bool mp_tc_find(int sm, mp_tc_instruction instruction, mp_tc_input a, mp_tc_input b, mp_tc_model *model);

/* Which of 2*half neighbouring terms is taken i-th, where those with k mod 4 in {0,1} come first. */
static inline int mp_tc_taken(int i, int half) {
    return i % half / 2 * 4 + i % 2 + i / half * 2;
}

/* How many terms have an order of their own: model->group, or the 32 of PERMUTED, whose group divides 32. */
int mp_tc_terms(const mp_tc_model *model);

/* The DIRECT model of the steps that it takes, which know fp8 as fp16 where terms are reordered. */
mp_tc_model mp_tc_step(const mp_tc_model *model);

/* One step, or those of a reordered set: mp_tc_terms(model) codes of a and of b; c and the result are bits of
 * the accumulator's format. */
uint32_t mp_tc_dot_add(const mp_tc_model *model, const uint32_t *a, const uint32_t *b, uint32_t c);

/* Any length: steps over ascending k; missing terms of the last step are zeros. K == 0 gives c. */
uint32_t mp_tc_dot(const mp_tc_model *model, int64_t K, const uint32_t *a, const uint32_t *b, uint32_t c);

#endif
