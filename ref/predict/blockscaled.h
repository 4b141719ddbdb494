/* SPDX-License-Identifier: Apache-2.0 */
/* Block-scaled matrix units of Blackwell (tcgen05.mma and mma.sync with .block_scale), bit by bit: the
 * definition. A scale belongs to a block of 32 or 16 neighbouring terms of a row; the unit adds its exponent
 * where it aligns the terms, so that no product is ever rounded.
 *
 * mxf8f6f4, 32 terms a step: the dot-add of ref/predict/tensorcore.h, F = 25, in which the exponent of a
 *   product is the sum of four, those of its operands and of the two scales.
 * mxf4 and nvf4, 64 terms a step: the products of 16 neighbours, multiples of 1/4, are summed exactly, and
 *   multiplied by the significands of the two scales, exactly; the exponent of that term is the sum of the
 *   scales' exponents, however large the significand, and counts where the sum is 0, too. The four terms and
 *   c are cut, towards zero, to multiples of 2^(e_max - F), F = 35, and summed exactly.
 * Both end as TFD does: one cut towards zero to float32; zero is +0; 2^128 and beyond is Inf.
 *
 * A scale is ue8m0, 2^(code - 127), or ue4m3, an e4m3 whose sign is not looked at. A NaN among them makes the
 * result 7FFFFFFF, and so does a NaN or an infinite operand times 0; a zero scale (ue4m3) makes zeros.
 *
 * Source: MMA-Sim (arXiv 2511.10909) and its public code. Nothing of it was measured by this project, and
 * what MMA-Sim says of zeros does not hold on sm_90: there a zero product counts as 2^-133 at most, whatever
 * it is multiplied by, here it is taken to do the same. */
#ifndef MP_REF_BLOCKSCALED_H
#define MP_REF_BLOCKSCALED_H

#include "ref/predict/tensorcore.h"

typedef enum mp_bs_scale { MP_BS_UE8M0, MP_BS_UE4M3 } mp_bs_scale;

typedef enum mp_bs_kind { MP_BS_MXF8F6F4, MP_BS_MXF4, MP_BS_NVF4, MP_BS_KIND_COUNT } mp_bs_kind;

typedef struct mp_bs_model {
    mp_bs_kind kind;
    mp_tc_input a, b;
    mp_bs_scale scale;
    int terms;         /* of a step: 32 or 64 */
    int block;         /* terms that share a scale: 32 or 16 */
    int fraction_bits; /* F */
    int zero_exponent;
    bool measured; /* false of all */
} mp_bs_model;

enum { MP_BS_MAX_TERMS = 64 };

/* The model of architecture sm: 100 by tcgen05.mma, 120 by mma.sync. mxf8f6f4: e4m3, e5m2 and e2m1 in any
 * pair, blocks of 32, ue8m0. mxf4: e2m1, blocks of 32, ue8m0. nvf4: e2m1, blocks of 16, ue4m3. False: there
 * is no such instruction. */
bool mp_bs_find(int sm, mp_tc_instruction instruction, mp_bs_kind kind, mp_tc_input a, mp_tc_input b,
                mp_bs_model *model);

/* One step: model->terms codes of a and of b, model->terms / model->block scales of each; c and the result
 * are float32 bits. */
uint32_t mp_bs_dot_add(const mp_bs_model *model, const uint32_t *a, const uint32_t *b, const uint8_t *scale_a,
                       const uint8_t *scale_b, uint32_t c);

/* K a multiple of a step's terms (what a unit makes of scales that are not there is not known): steps over
 * ascending k. scale_a, scale_b: [K / block]. */
uint32_t mp_bs_dot(const mp_bs_model *model, int64_t K, const uint32_t *a, const uint32_t *b,
                   const uint8_t *scale_a, const uint8_t *scale_b, uint32_t c);

#endif
