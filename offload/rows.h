/* SPDX-License-Identifier: Apache-2.0 */
/* A stage looked at on the device, all rows at once: a few words come back of each. */
#ifndef MP_OFFLOAD_ROWS_H
#define MP_OFFLOAD_ROWS_H

#include "offload/device/act_rows.h"
#include "offload/device/combine_rows.h"
#include "offload/device/quant_rows.h"
#include "offload/handle.h"
#include "ref/combine.h"
#include "ref/quant.h"

/* What is told of rows: the device writes it to `at`, from where it comes to the host. */
typedef struct mp_told_rows {
    int64_t rows;
    size_t row_bytes;
    CUdeviceptr at;
} mp_told_rows;

/* Makes room, and the context current. What the device should fail to write is all ones. */
mp_status mp_offload_begin_rows(mp_offload *offload, mp_told_rows *told, mp_error *err);
/* Whether kernels of rows read the tensor; those that are not there, too. */
bool mp_offload_reads_rows_of(const mp_tensor *tensor);
/* Where it lies on the device; 0: there is none. */
mp_status mp_offload_bring(mp_offload *offload, const mp_tensor *tensor, mp_scratch scratch, CUdeviceptr *at,
                           mp_error *err);
mp_status mp_offload_bring_bytes(mp_offload *offload, const void *data, int64_t bytes, mp_scratch scratch,
                                 CUdeviceptr *at, mp_error *err);

/* What was stored of a GEMM, and the bias of its epilogue; the rows themselves are those of
 * mp_offload_stored_rows. */
mp_status mp_offload_bring_gemm(mp_offload *offload, const mp_tensor *got, const mp_epilogue *epilogue,
                                mp_gemm_rows *rows, mp_error *err);

/* Slots of an activation, beside what was stored of them. */
typedef struct mp_act_slots {
    const mp_tensor *cache1, *got;
    const int32_t *topk_ids; /* [slots] */
    const int64_t *row;      /* [slots] of both tensors */
    int64_t slots;
    bool interleaved, rounds_gate;
} mp_act_slots;
mp_status mp_offload_bring_act(mp_offload *offload, const mp_act_slots *slots, mp_act_rows *rows,
                               mp_error *err);
/* Rows of a quantiser, beside the codes that were stored of them. */
mp_status mp_offload_bring_quant(mp_offload *offload, const mp_quant_pass *pass, mp_quant_rows *rows,
                                 mp_error *err);
/* Sums over topk, beside what was stored of them. */
mp_status mp_offload_bring_combine(mp_offload *offload, const mp_combine_terms *terms, const mp_tensor *got,
                                   mp_combine_rows *rows, mp_error *err);

/* A block of threads a row; `to` is what is told of all of them. */
mp_status mp_offload_run_rows(mp_offload *offload, const mp_told_rows *told, const char *source,
                              const char *entry, int threads, void *params, void *to, mp_error *err);

#endif
