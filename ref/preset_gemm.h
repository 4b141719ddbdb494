/* SPDX-License-Identifier: Apache-2.0 */
/* The GEMMs of the presets that are named for an architecture. */
#ifndef MP_REF_PRESET_GEMM_H
#define MP_REF_PRESET_GEMM_H

#include "moeparity/contract.h"

/* Which matrix units multiply.
 *   MMA           this project's kernels: mma.sync of sm_<number>, any number; on sm_90 wgmma where a case
 *                 asks for it by gemm=wgmma
 *   BLOCK_SCALED  those of sm_100, by tcgen05.mma, and sm_120, by mma.sync: block-scaled where the case's
 *                 scales fit, fp8 by itself where not
 *   MATRIX_CORE   AMD's, number an mp_mc_architecture */
typedef enum mp_units { MP_UNITS_MMA, MP_UNITS_BLOCK_SCALED, MP_UNITS_MATRIX_CORE } mp_units;

typedef struct mp_architecture {
    const char *name;
    mp_units units;
    int number;
} mp_architecture;

/* gate_up and down of the case, one as the other, and what can be promised of their bits. */
mp_bits_promise mp_preset_gemm(const mp_architecture *architecture, const mp_case *c, mp_gemm_contract *gemm);
/* A GEMM of the case on operands of dtype without scales. */
mp_bits_promise mp_preset_plain_gemm(const mp_architecture *architecture, const mp_case *c, mp_dtype dtype,
                                     mp_gemm_contract *gemm);

#endif
