/* SPDX-License-Identifier: Apache-2.0 */
/* Speed of the CPU's GEMMs on this machine, the float64 reference and the predicted bits, beside dgemm
 * measured in the same run. */
#ifndef MP_REF_BENCH_H
#define MP_REF_BENCH_H

#include "moeparity/case.h"

typedef struct mp_ref_bench_result {
    int threads;
    double dgemm_gflops; /* ceiling: every thread multiplies its own square matrices, 1536^3 */
    double own_gflops;   /* the same with matrices of the shapes of the case's GEMMs: an expert's share of the
                                slots, but no more than a task has (ref/gemm_tasks.h) */
    double blas_gflops;  /* both GEMMs of the case by OpenBLAS: 2*M*topk*(w1 rows*K + N*K) operations over
                                their time */
    double blas_mass_gflops; /* the same with the sums of magnitudes: twice the operations */
    double plain_gflops; /* plain loops, values and magnitudes, on the first plain_tokens tokens; operations
                            counted as for blas_mass */
    int64_t plain_tokens;
    double blas_seconds, blas_mass_seconds;
} mp_ref_bench_result;

/* scope=all and layout=route only, else MP_EINPUT. MP_EUNSUPPORTED without OpenBLAS. */
mp_status mp_ref_bench(const mp_case *c, mp_ref_bench_result *result, mp_error *err);

/* What the CPU does at best in a second, with all threads: bytes that memcpy reads and writes again, and
 * operations of dgemm, 0 without OpenBLAS. MP_EMEMORY. */
typedef struct mp_cpu_rates {
    double copied_bytes, dgemm;
} mp_cpu_rates;
mp_status mp_cpu_rates_measure(mp_cpu_rates *rates, mp_error *err);

/* Speed of the predicted bits (ref/predict/tensorcore_gemm.h, sm_90): multiply-adds a second. */
enum { MP_PREDICT_KERNELS = 3, MP_PREDICT_SUMS = 8 };
typedef struct mp_predict_bench_result {
    int threads, rows;
    struct {
        const char *sum, *kernel; /* "bf16 mma", "avx512"; sums of bf16 or fp16 come first */
        double one_thread, all_threads;
        double open; /* share of the results that brackets leave to the steps; negative: they settle none */
    } row[MP_PREDICT_KERNELS * MP_PREDICT_SUMS];
    double dgemm_one_thread, dgemm_all_threads; /* OpenBLAS in float64 on the same cores, also in
                                                   multiply-adds; 0 where it is missing */
} mp_predict_bench_result;

/* Times the gate_up GEMM of the case with every micro-kernel this CPU can run, best of up to three rounds;
 * and the same of its operands as tf32, as e4m3, by wgmma as one sum and promoted every 128 terms, and by
 * mma.sync, as e5m2, as int8, and as fp32 by fused multiply-adds. Formats that are dequantised first are
 * timed as what they become. scope=all, layout=route, bf16 or fp16, else MP_EINPUT. */
mp_status mp_predict_bench(const mp_case *c, mp_predict_bench_result *result, mp_error *err);

#endif
