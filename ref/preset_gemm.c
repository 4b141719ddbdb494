/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/preset_gemm.h"

#include "cases/scheme.h"
#include "ref/predict/blockscaled.h"
#include "ref/predict/matrixcore.h"
#include "ref/predict/tensorcore.h"

static mp_bits_promise tensor_core(int sm, mp_tc_instruction instruction, mp_dtype dtype,
                                   mp_gemm_contract *gemm) {
    const mp_tc_input operands = dtype == MP_BF16 ? MP_TC_BF16 : dtype == MP_FP16 ? MP_TC_FP16 : MP_TC_E4M3;
    /* Where the table has no instruction: the coarsest that is known, of sm_89 or sm_70. */
    const mp_tc_input coarse = operands == MP_TC_E4M3 ? MP_TC_E4M3 : MP_TC_FP16;
    mp_tc_model model;
    mp_tc_find(coarse == MP_TC_E4M3 ? 89 : 70, MP_TC_MMA, coarse, coarse, &model);
    const bool known = mp_tc_find(sm, instruction, operands, operands, &model);
    gemm->accumulator = MP_ACC_TENSOR_CORE;
    gemm->group = model.group;
    gemm->fraction_bits = model.fraction_bits;
    gemm->result_fraction_bits = model.result_fraction_bits;
    gemm->zero_exponent = model.zero_exponent;
    if (model.method == MP_TC_THROUGH_FP16) gemm->k_order = MP_K_BY_PAIRS;
    return !known ? MP_BITS_NONE : model.measured ? MP_BITS_REQUIRED : MP_BITS_REPORTED;
}

/* The instruction with the most terms: of 16 bits 16, of bf16 on CDNA2 by the _1k ones, of fp8 32. Where
 * there is none, fp8 before CDNA3, a kernel converts codes to fp16, and the order of k is its own. */
static mp_bits_promise matrix_core(mp_mc_architecture architecture, mp_dtype dtype, mp_gemm_contract *gemm) {
    static const mp_accumulator accumulators[] = {[MP_MC_PAIRWISE] = MP_ACC_PAIRWISE,
                                                  [MP_MC_FUSED] = MP_ACC_MATRIX_CORE,
                                                  [MP_MC_FUSED_HALVES] = MP_ACC_MATRIX_CORE_HALVES};
    const mp_mc_input operands = dtype == MP_E4M3           ? MP_MC_E4M3_FNUZ
                                 : dtype == MP_FP16         ? MP_MC_FP16
                                 : architecture == MP_CDNA2 ? MP_MC_BF16_1K
                                                            : MP_MC_BF16;
    mp_mc_model model;
    gemm->accumulator = MP_ACC_IEEE_ANY_ORDER;
    if (!mp_mc_find(architecture, operands, operands, dtype == MP_E4M3 ? 32 : 16, &model))
        return MP_BITS_NONE;
    gemm->accumulator = model.flush_subnormals ? MP_ACC_PAIRWISE_FLUSHED : accumulators[model.method];
    gemm->group = model.group;
    if (model.method == MP_MC_PAIRWISE) return MP_BITS_REPORTED;
    gemm->fraction_bits = model.fraction_bits;
    gemm->zero_exponent = model.zero_exponent;
    return MP_BITS_REPORTED;
}

/* Of our own kernels on sm_90, wgmma where the case asks for it: of bf16 and fp16 the bits are the same. */
static mp_tc_instruction instruction_of(const mp_architecture *a, const mp_case *c) {
    if (c->gemm == MP_GEMM_WGMMA && a->units == MP_UNITS_MMA && a->number == 90) return MP_TC_WGMMA;
    return a->units == MP_UNITS_BLOCK_SCALED && a->number == 100 ? MP_TC_TCGEN05 : MP_TC_MMA;
}

/* Of the case's formats; global scales meet the sum as one factor. */
static mp_bits_promise block_scaled(const mp_architecture *a, const mp_case *c, mp_gemm_contract *gemm) {
    const mp_scheme *s = mp_scheme_of(c);
    const mp_tc_input x = mp_quantiser_codes(s->quantiser) == MP_E4M3 ? MP_TC_E4M3 : MP_TC_E2M1,
                      y = s->weight == MP_E4M3 ? MP_TC_E4M3 : MP_TC_E2M1;
    const bool fp4 = x == MP_TC_E2M1 && y == MP_TC_E2M1;
    mp_bs_model model;
    mp_bs_find(a->number, instruction_of(a, c),
               !fp4                         ? MP_BS_MXF8F6F4
               : s->weight_scale == MP_E4M3 ? MP_BS_NVF4
                                            : MP_BS_MXF4,
               x, y, &model);
    *gemm = (mp_gemm_contract){.accumulator = MP_ACC_BLOCK_SCALED,
                               .group = model.terms,
                               .fraction_bits = model.fraction_bits,
                               .zero_exponent = model.zero_exponent,
                               .split_k = 1,
                               .scaling = s->global ? MP_SCALING_PRODUCT : MP_SCALING_ANY};
    return MP_BITS_REPORTED;
}

/* fp32 and fp64 are IEEE everywhere, and int8 is exact: a step has as many terms as you like. */
mp_bits_promise mp_preset_plain_gemm(const mp_architecture *a, const mp_case *c, mp_dtype dtype,
                                     mp_gemm_contract *gemm) {
    const bool amd = a->units == MP_UNITS_MATRIX_CORE, integers = dtype == MP_I8;
    *gemm = (mp_gemm_contract){.accumulator = MP_ACC_FMA_ASCENDING, .split_k = 1};
    if (integers)
        *gemm = (mp_gemm_contract){.accumulator = MP_ACC_TENSOR_CORE,
                                   .split_k = 1,
                                   .group = 32,
                                   .fraction_bits = 40,
                                   .result_fraction_bits = 23};
    if (integers || dtype == MP_FP32 || dtype == MP_FP64) return amd ? MP_BITS_REPORTED : MP_BITS_REQUIRED;
    return amd ? matrix_core((mp_mc_architecture)a->number, dtype, gemm)
               : tensor_core(a->number, instruction_of(a, c), dtype, gemm);
}

/* How our kernels scale. */
static void set_scaling(const mp_case *c, mp_gemm_contract *gemm) {
    const mp_scheme *s = mp_scheme_of(c);
    if (!c->quant || s->enters == MP_SCALES_BEFORE) return;
    gemm->scaling = s->enters == MP_SCALES_PER_TILE ? MP_SCALING_PRODUCT_FMA : MP_SCALING_PRODUCT;
    if (s->enters == MP_SCALES_PER_TILE) gemm->promotion = (int)mp_case_group(c);
}

mp_bits_promise mp_preset_gemm(const mp_architecture *a, const mp_case *c, mp_gemm_contract *gemm) {
    if (a->units == MP_UNITS_BLOCK_SCALED && mp_case_fits_block_scaled(c)) return block_scaled(a, c, gemm);
    const mp_bits_promise bits = mp_preset_plain_gemm(a, c, mp_case_multiplied(c), gemm);
    set_scaling(c, gemm);
    return bits;
}
