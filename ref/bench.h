/* Speed of the float64 reference on this machine, as ratios measured in one run. */
#ifndef MP_REF_BENCH_H
#define MP_REF_BENCH_H

#include "cases/case.h"

typedef struct mp_ref_bench_result {
    int threads;
    double dgemm_gflops;      /* ceiling: every thread multiplies its own square matrices, 1536^3 */
    double blas_gflops;       /* both GEMMs of the case by OpenBLAS: 2*M*topk*(w1 rows*K + N*K) operations over their time */
    double blas_mass_gflops;  /* the same with the sums of magnitudes: twice the operations */
    double plain_gflops;      /* plain loops, values and magnitudes, on the first plain_tokens tokens; operations counted as for blas_mass */
    int64_t plain_tokens;
    double blas_seconds, blas_mass_seconds;
} mp_ref_bench_result;

/* scope=all only, else MP_EINPUT. MP_EUNSUPPORTED without OpenBLAS. */
mp_status mp_ref_bench(const mp_case *c, mp_ref_bench_result *result, mp_error *err);

#endif
