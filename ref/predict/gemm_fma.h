/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped GEMM in float32 with a fixed order: acc = fma(a[k], w[k], acc), k ascending from zero, one
 * accumulator an output.
 *
 * The bits depend on nothing else: not on the machine (AVX-512, AVX2 and portable kernels do the same
 * operations), the threads or the batch. Epilogue in float32: + bias, * router weight; then one RNE to out's
 * dtype. */
#ifndef MP_REF_GEMM_FMA_H
#define MP_REF_GEMM_FMA_H

#include "ref/gemm.h"

/* Arguments as mp_gemm_stage; a, w, bias and out are bf16, fp16 or fp32. Slots whose id is -1 get zeros. */
mp_status mp_fma_gemm(const mp_gemm_problem *problem, const mp_epilogue *epilogue, const int64_t *out_row,
                      const mp_tensor *out, mp_error *err);

/* The micro-kernels, for tests: acc[rows,columns] = a[rows,K] * w[K,columns] in the order above. */
typedef struct mp_micro_kernel {
    const char *name;
    int rows, columns;
    void (*run)(int64_t K, const float *a, const float *w, float *acc);
} mp_micro_kernel;
/* Kernels this CPU can run, fastest first; the last one is portable. Returns their number. */
int mp_micro_kernels(const mp_micro_kernel **kernels);

#endif
