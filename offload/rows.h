/* SPDX-License-Identifier: Apache-2.0 */
/* A stage looked at on the device, all rows at once: a few words come back of each. */
#ifndef MP_OFFLOAD_ROWS_H
#define MP_OFFLOAD_ROWS_H

#include "offload/handle.h"

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
/* A block of threads a row; `to` is what is told of all of them. */
mp_status mp_offload_run_rows(mp_offload *offload, const mp_told_rows *told, const char *source,
                              const char *entry, int threads, void *params, void *to, mp_error *err);

#endif
