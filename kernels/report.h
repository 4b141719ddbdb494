/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel costs, from the compiler alone: needs NVRTC, no driver and no GPU. */
#ifndef MP_KERNELS_REPORT_H
#define MP_KERNELS_REPORT_H

#include "kernels/variants.h"

typedef struct mp_compile_report {
    int registers;                                        /* a thread */
    int stack_bytes, spill_store_bytes, spill_load_bytes; /* a thread, in local memory */
    int64_t shared_bytes;                                 /* a block: static */
    bool serialized; /* the compiler made products of wgmma wait for each other */
} mp_compile_report;

/* Compiles a kernel for sm_<architecture>, where that was not done before (mp_jit_log), and reads ptxas's
 * report of its entry. */
mp_status mp_kernel_compile_report(int architecture, const mp_kernel *kernel, mp_compile_report *report,
                                   mp_error *err);
/* The same of the log of mp_jit_log, which has a report of each entry of the source: who asks for several
 * compiles once. MP_EINTERNAL where the log has none of this entry. */
mp_status mp_compile_report_read(const char *log, const char *entry, mp_compile_report *report,
                                 mp_error *err);

#endif
