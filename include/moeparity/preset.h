/* SPDX-License-Identifier: Apache-2.0 */
/* Contracts by name. */
#ifndef MOEPARITY_PRESET_H
#define MOEPARITY_PRESET_H

#include "moeparity/contract.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MP_ANY_CONTRACT "any"

/* Fills the contract that the name stands for on cases of this kind:
 *   float64         the reference itself
 *   ieee-any-order  float32 sums in any order, one rounding a stored tensor; nothing is promised of bits
 *   sm_80, sm_86, sm_89, sm_90, sm_100, sm_120
 *                   this project's kernels on that architecture: mma.sync for bf16 and fp16 (TENSOR_CORE
 *                   in contract.h), on sm_90 wgmma where the case says gemm=wgmma, which is another
 *                   arithmetic of e4m3 (groups of 32, 13 bits); fma over ascending k for fp32, the IEEE
 *                   activation, stable align. Bits are required where the architecture was measured,
 *                   reported where its arithmetic is known from the literature, else not compared
 *   gfx908, gfx90a, gfx942
 *                   the same with AMD's matrix cores, of CDNA1, CDNA2 and CDNA3, in ascending order of k:
 *                   MP_ACC_PAIRWISE and those after it. Bits are reported at most
 *   sm_100-block-scaled, sm_120-block-scaled
 *                   the same with the units of tcgen05.mma and of sm_120's mma.sync that take scales
 *                   (MP_ACC_BLOCK_SCALED), where the case's are such: mxfp8, nvfp4, fp8-block-ue8m0 and their
 *                   like; fp8 of other schemes by the unit for fp8. Bits are reported at most
 *   sm_90-cuda-math, sm_90-cuda-intrinsics, sm_90-cuda-fast-math, sm_90-triton, sm_90-triton-quotient,
 *   sm_90-cuda-math-sigmoid, sm_90-cuda-math-product, sm_90-torch-compile
 *                   the same but for exp, tanh and erf: act.function, as published kernels have them
 *                   (MP_ACT_FUNCTIONS in contract.h). Bits of act are predicted by the special-function unit
 *                   of an sm_90; behind the other five names they are reported at most
 *   weakest         mp_contract_weakest
 *   any             MP_ANY_CONTRACT: what any sane kernel meets, also one on tensor cores that nobody told of
 *
 * With fused_sum the additions into the output are atomic: they round to dtype in any order, and down and
 * combine promise nothing of bits. MP_EINPUT names the known ones. */
mp_status mp_contract_preset(const char *name, const mp_case *c, mp_contract *contract, mp_error *err);
/* The preset of an architecture, sm_80 and so on; of one that is not in the table, the coarsest parameters in
 * it, a bound for every known tensor core. */
mp_contract mp_contract_of_architecture(int sm, const mp_case *c);

#ifdef __cplusplus
}
#endif

#endif
