/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel costs, from the compiler alone: needs NVRTC, no driver and no GPU. */
#ifndef MP_KERNELS_REPORT_H
#define MP_KERNELS_REPORT_H

#include "kernels/variants.h"

typedef struct mp_compile_report {
    int registers;                                        /* a thread */
    int stack_bytes, spill_store_bytes, spill_load_bytes; /* a thread, in local memory */
    int64_t shared_bytes;                                 /* a block: static, and the GEMM's dynamic part */
} mp_compile_report;

/* Compiles a kernel for sm_<architecture> and reads ptxas's report of its entry. */
mp_status mp_kernel_compile_report(int architecture, const mp_kernel *kernel, mp_compile_report *report,
                                   mp_error *err);
/* The same for the grouped GEMM of a tile (asynchronous copies, no atomics). MP_EUNSUPPORTED when a thread
 * would hold more accumulators than registers. */
mp_status mp_kernels_compile_report(int architecture, const mp_tile *tile, mp_dtype dtype,
                                    mp_compile_report *report, mp_error *err);

#endif
