/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped GEMM in tiles of k, each summed from zero, scaled and added in float32: what promotion and scales
 * of blocks make of any engine. */
#ifndef MP_PREDICT_GEMM_TILES_H
#define MP_PREDICT_GEMM_TILES_H

#include "moeparity/contract.h"
#include "ref/gemm.h"

/* result [slots, n] fp32: the sums of the plain problem, without epilogue. */
typedef mp_status mp_gemm_sums(const mp_gemm_contract *contract, const mp_gemm_problem *problem,
                               const mp_tensor *result, mp_error *err);

/* Arguments as mp_gemm_stage. The tiles are contract->promotion terms, or all of k; with scales of blocks of
 * k these are whole numbers of tiles. per_tile: scales enter before a tile is added to acc, as
 * contract->scaling says; else the sum of all is scaled. acc begins as +0. */
mp_status mp_gemm_by_tiles(const mp_gemm_contract *contract, bool per_tile, mp_gemm_sums *sums,
                           const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                           const int64_t *out_row, const mp_tensor *out, mp_error *err);

#endif
