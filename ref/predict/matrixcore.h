/* SPDX-License-Identifier: Apache-2.0 */
/* AMD's matrix cores (MFMA of CDNA1, CDNA2 and CDNA3), bit by bit: the definition. Float32 accumulators.
 *
 *   FMA       float32 operands: one IEEE fused multiply-add after the other, k ascending
 *   PAIRWISE  CDNA1 and CDNA2: the products of a group, each rounded to float32, are added as a binary tree
 *             of neighbours in IEEE float32, then the accumulator is added. CDNA2 flushes: subnormal operands
 *             and accumulators to +0, subnormal products and sums to zeros that keep their sign
 *   FUSED     CDNA3, 16-bit and xf32 operands: products are exact and not normalised, as a tensor core's; e
 *             is the largest of their exponents, and each is cut towards zero to a multiple of 2^(e-F), F =
 *             24; then, with e' the larger of e and the accumulator's exponent, the sum of them is rounded
 *             down (towards minus infinity) to a multiple of 2^(e'-F-7), the accumulator down to one of
 *             2^(e'-F), and both are added and rounded once to float32, to nearest even. A product of 2^128
 *             or more is Inf
 *   FUSED_HALVES  CDNA3, fp8: FUSED, but the terms of even and of odd k are cut and summed apart, each by
 *             its own e; both sums are rounded down to multiples of 2^(e-F) of the larger e, and added; an
 *             accumulator more than F+1 binary orders below e' is dropped, instead of rounded down
 * A zero has exponent zero_exponent, -126. NaN is 7FC00000. Longer sums chain groups over ascending k through
 * the float32 accumulator.
 *
 * Source: MMA-Sim (arXiv 2511.10909) and its public code, which leaves NaN and Inf open. Nothing of it was
 * measured by this project. Where zeros and NaN are concerned it is a guess. */
#ifndef MP_REF_MATRIXCORE_H
#define MP_REF_MATRIXCORE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum mp_mc_architecture { MP_CDNA1, MP_CDNA2, MP_CDNA3, MP_CDNA_COUNT } mp_mc_architecture;

/* Operand codes: the format's bits, right-aligned. xf32 is a float32 whose low 13 bits are dropped. BF16_1K:
 * the instructions of CDNA2 with that suffix. The fnuz formats have a bias of one more than OCP's, neither -0
 * nor Inf, and 80 for NaN. */
typedef enum mp_mc_input {
    MP_MC_FP32,
    MP_MC_XF32,
    MP_MC_FP16,
    MP_MC_BF16,
    MP_MC_BF16_1K,
    MP_MC_E4M3_FNUZ,
    MP_MC_E5M2_FNUZ,
    MP_MC_INPUT_COUNT
} mp_mc_input;

typedef enum mp_mc_method { MP_MC_FMA, MP_MC_PAIRWISE, MP_MC_FUSED, MP_MC_FUSED_HALVES } mp_mc_method;

enum { MP_MC_MAX_GROUP = 16 };

typedef struct mp_mc_model {
    mp_mc_input a, b; /* the same, except that the fnuz formats mix */
    mp_mc_method method;
    int group;             /* terms of a step */
    int fraction_bits;     /* F, of FUSED and FUSED_HALVES */
    int zero_exponent;     /* of the same */
    bool flush_subnormals; /* of PAIRWISE */
    bool measured;         /* false of all */
} mp_mc_model;

/* The model of an instruction that takes k terms (16 in v_mfma_f32_16x16x16_f16). False: there is none. */
bool mp_mc_find(mp_mc_architecture architecture, mp_mc_input a, mp_mc_input b, int k, mp_mc_model *model);

/* Any length; missing terms of the last group are zeros. c and the result are float32 bits. */
uint32_t mp_mc_dot(const mp_mc_model *model, int64_t K, const uint32_t *a, const uint32_t *b, uint32_t c);

#endif
