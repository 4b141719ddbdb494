/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped GEMM with the bits of a tensor core: the fast twin of mp_tc_dot (ref/predict/tensorcore.h), from a
 * zero accumulator over all of k, or over each of its parts.
 *
 * The bits depend on nothing but the operands: not on the machine, the micro-kernel, the threads or the
 * batch. Whatever the micro-kernels do not cover (Inf, NaN, extreme exponents; float16 accumulators) is
 * computed by mp_tc_dot itself. Most results that are stored as bf16, and of short sums
 * those that are stored as fp16, need no steps: see ref/predict/tensorcore_bracket.h. */
#ifndef MP_REF_TENSORCORE_GEMM_H
#define MP_REF_TENSORCORE_GEMM_H

#include "ref/gemm.h"
#include "ref/predict/gemm_f32.h"
#include "ref/predict/tensorcore.h"
#include "ref/predict/tensorcore_kernels.h"

/* The float32 dot products of a part of k: terms index*terms to the next part's, each from a zero
 * accumulator; and the sums that they go into. */
typedef struct mp_tc_part {
    int64_t index;
    const mp_gemm_f32_tile *tile;
    int64_t stride;   /* of both, from a row to the next */
    const float *dot; /* [count, n] */
    float *sum;       /* [count, n]; zero before the first part */
} mp_tc_part;

/* Sums in parts. What a dot is multiplied by, and how it is added, is the caller's: promotion, with scales or
 * without. */
typedef struct mp_tc_parts {
    int64_t terms; /* of a part, a multiple of mp_tc_terms; the last part may have fewer */
    void (*add)(const void *ctx, const mp_tc_part *part); /* from several threads at once */
    const void *ctx;
    bool monotone; /* greater dots and sums give no smaller sum, element by element */
} mp_tc_parts;

/* sum + dot in IEEE float32; NaN is 7FFFFFFF. */
mp_tc_parts mp_tc_promotion(int64_t terms);

/* Arguments as mp_gemm_stage; a and w have the formats of the model's operands, tf32 being fp32; bias and out
 * are bf16, fp16 or fp32. parts: NULL, k is one. Epilogue in float32: + bias, * router weight; then one RNE
 * to out's dtype. Slots whose id is -1 get zeros; other rows of out are not touched. MP_EUNSUPPORTED when the
 * tensors have other formats, and when parts are no multiple of mp_tc_terms. s8 goes to
 * ref/predict/int8_gemm.h. */
mp_status mp_tc_gemm(const mp_tc_model *model, const mp_tc_parts *parts, const mp_gemm_problem *problem,
                     const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                     mp_error *err);

/* How results came about. */
typedef struct mp_tc_counts {
    int64_t
        redone; /* dot products that mp_tc_dot_add had to compute: one an output, but of fp8 through fp16 one
                        an instruction */
    int64_t settled; /* outputs that a bracket settled */
    int64_t opened;  /* those that it left open */
} mp_tc_counts;

/* The same with a given micro-kernel, for tests and measurements. counts may be NULL. */
mp_status mp_tc_gemm_with(const mp_tc_kernel *kernel, const mp_tc_model *model, const mp_tc_parts *parts,
                          const mp_gemm_problem *problem, const mp_epilogue *epilogue, const int64_t *out_row,
                          const mp_tensor *out, mp_tc_counts *counts, mp_error *err);

#endif
