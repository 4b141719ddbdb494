/* SPDX-License-Identifier: Apache-2.0 */
/* A prediction that stays on the device: whether something stored has its bits is told by row. A device that
 * takes anything for equal would be believed where it says so; so a few rows are compared twice, the second
 * time with one code that is another, which must be found. */
#ifndef MP_OFFLOAD_CONFIRM_H
#define MP_OFFLOAD_CONFIRM_H

#include "offload/device/confirm.h"
#include "offload/handle.h"
#include "offload/pieces.h"

enum { MP_CANARIES = 4 };

typedef struct mp_confirmation {
    const mp_tensor *got;     /* NULL: the prediction is stored */
    bool differs;             /* some row does */
    mp_confirm_params params; /* but for what is of a piece */
    int64_t rows;             /* of a piece, at most */
    int64_t first_rows;       /* of the first one, in which the canaries are */
    mp_confirmed_row *row;    /* of all slots, in their order on the device */
    /* Of the first slots that are stored: their place, and the digest with another code. */
    int canaries;
    int64_t canary[MP_CANARIES];
    mp_u64 canary_digest[MP_CANARIES];
} mp_confirmation;

/* What a landing must hold. */
size_t mp_confirmation_landing(const mp_confirmation *confirmation);
/* What it takes of the device, but for what is there. */
size_t mp_confirmation_bytes(const mp_offload *offload, const mp_confirmation *confirmation,
                             const mp_epilogue *epilogue, int64_t slots);
/* Uploads what it needs; out_row as mp_predict_gemm has it. *confirmation is to be ended, after an error
 * too. */
mp_status mp_confirmation_begin(mp_offload *offload, mp_confirmation *confirmation,
                                const mp_gemm_tasks *tasks, const mp_row_block *blocks, int64_t count,
                                const mp_epilogue *epilogue, const int64_t *out_row, mp_error *err);
void mp_confirmation_end(mp_confirmation *confirmation);
/* Begins a comparison of a piece whose sums lie on the device, and its way to a landing. What the device
 * should fail to write is not equal. */
mp_status mp_confirm_piece(mp_offload *offload, const mp_confirmation *confirmation, CUdeviceptr sums,
                           int64_t first, int64_t rows, int landing, mp_error *err);
/* Takes what has landed. MP_EDEVICE where the device does not see what differs. */
mp_status mp_confirmed_piece(const mp_offload *offload, mp_confirmation *confirmation, int64_t first,
                             int64_t rows, int landing, mp_error *err);
/* The digest of n codes of a row as the device makes it. */
mp_u64 mp_confirmed_digest(const mp_tensor *tensor, int64_t row);

#endif
