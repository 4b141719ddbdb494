/* SPDX-License-Identifier: Apache-2.0 */
/* A GEMM whose sums are measured on the device: of rows in which all is plain and nothing failed their
 * figures travel, and of all others the sums. */
#ifndef MP_OFFLOAD_SCREEN_H
#define MP_OFFLOAD_SCREEN_H

#include "offload/cross_check.h"
#include "offload/device/screen.h"
#include "offload/grouped_gemm.h"

typedef struct mp_screening {
    const mp_gemm_screen *asked;     /* NULL: nothing is measured */
    mp_screen_params params;         /* but for what is of a piece */
    size_t figure_bytes, room_bytes; /* of a landing: figures of a piece's rows, and behind them sums */
} mp_screening;

/* Asks the GEMM for what it takes beside the sums, before that is prepared. */
void mp_screening_plan(mp_screening *screening, mp_grouped_gemm *gemm);
/* Uploads what it needs, once the GEMM is prepared. */
mp_status mp_screening_prepare(mp_screening *screening, const mp_grouped_gemm *gemm, mp_error *err);

/* A piece whose sums lie on the device: values, and behind them masses. */
typedef struct mp_screened_piece {
    const mp_piece *piece;
    const mp_row_block *blocks; /* of all pieces */
    const int64_t *order;       /* of the tasks */
    CUdeviceptr sums;
    int landing;
} mp_screened_piece;

/* Begins to measure it, and the way of the figures to its landing. What the device should fail to write is
 * no figure of anything. */
mp_status mp_screening_begin(mp_offload *offload, const mp_screening *screening, const mp_screened_piece *p,
                             mp_error *err);
/* Shows what has landed to the visitor. The first and the last row of figures, and the slots that are
 * checked, come with their sums. */
mp_status mp_screening_visit(mp_offload *offload, const mp_screening *screening, const mp_screened_piece *p,
                             mp_cross_check *check, mp_gemm_visit visit, void *ctx, mp_error *err);

#endif
