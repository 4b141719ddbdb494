/* SPDX-License-Identifier: Apache-2.0 */
/* A grouped GEMM in float64 on the device, piece by piece: operands are decoded and summed there, and the
 * sums of a piece stay until the next one begins. */
#ifndef MP_OFFLOAD_GROUPED_GEMM_H
#define MP_OFFLOAD_GROUPED_GEMM_H

#include "offload/handle.h"
#include "offload/pieces.h"

enum { MP_GEMM_RADII = 3 };

typedef struct mp_grouped_gemm {
    /* Set by the caller. */
    mp_offload *o;
    const mp_gemm_problem *p;
    bool with_mass;
    CUdeviceptr there[1 + MP_GEMM_RADII]; /* where a's codes, and its radii, which are float64, lie already;
                                             0: they are uploaded */
    size_t beside;                        /* bytes of the device that the caller takes itself, */
    int numbers;                          /* and float64 of it for each slot and column of a piece */
    int staying; /* pieces whose sums stay at once; 0: one, and all of it has room in a landing */
    size_t landing_row_bytes,
        landing_bytes; /* where sums stay: of a landing, for each row, and beside them */
    /* The rest is filled in. */
    mp_gemm_tasks tasks;
    mp_row_block *blocks;
    int64_t block_count, padded;
    mp_operand radius[MP_GEMM_RADII]; /* of a: sure, det, random; without codes where there is none */
    int radius_at[MP_GEMM_RADII];     /* which of the results its sums are */
    int results;                      /* of a slot and column: value, mass, and the radii that are there */
    mp_piece_limits limits;
    mp_device_operand a, w, of_radius[MP_GEMM_RADII];
} mp_grouped_gemm;

/* Slots by expert. The device is not needed yet; block_count 0: there is nothing to sum. Ended by the caller,
 * after an error too. MP_EMEMORY only. */
mp_status mp_grouped_gemm_order(mp_grouped_gemm *gemm, mp_error *err);
/* All memory of the device, and all that is uploaded. MP_EMEMORY, also where there is no room for a piece. */
mp_status mp_grouped_gemm_prepare(mp_grouped_gemm *gemm, mp_error *err);
/* The piece behind *piece, as mp_next_piece. */
bool mp_grouped_gemm_next(const mp_grouped_gemm *gemm, mp_piece *piece);
/* Its sums, [results, rows, n] in MP_SCRATCH_RESULTS; what the device should fail to write is NaN. */
mp_status mp_grouped_gemm_sum(const mp_grouped_gemm *gemm, const mp_piece *piece, mp_error *err);
/* The same with sums that stay, the `which` of those that do: where they lie. */
CUdeviceptr mp_grouped_gemm_sums(const mp_grouped_gemm *gemm, int which);
mp_status mp_grouped_gemm_sum_to(const mp_grouped_gemm *gemm, const mp_piece *piece, int which,
                                 mp_error *err);
/* The row of a piece's first slot in MP_SCRATCH_ROWS and MP_SCRATCH_SLOTS, int64: rows of a, and slots. */
static inline int64_t mp_grouped_gemm_first(const mp_grouped_gemm *gemm, const mp_piece *piece) {
    return gemm->blocks[piece->begin].row;
}
void mp_grouped_gemm_end(mp_grouped_gemm *gemm);

#endif
