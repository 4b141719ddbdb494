/* SPDX-License-Identifier: Apache-2.0 */
/* The hypotheses of what happens to a GEMM's sums before they are stored: bias, router weight, roundings. */
#ifndef MP_HARNESS_GEMM_EPILOGUES_H
#define MP_HARNESS_GEMM_EPILOGUES_H

#include "ref/epilogue.h"

typedef struct mp_infer_epilogue {
    const char *steps; /* b + bias, w * weight, v * weight rounded to the tensor's dtype, r rounded to it */
    const char *name;
    bool named; /* a contract has it: there is one that needs no words */
} mp_infer_epilogue;
enum { MP_EPILOGUES = 12, MP_STEPS_MAX = 8 };
extern const mp_infer_epilogue mp_infer_epilogues[MP_EPILOGUES];

/* The steps that have an effect in this case: what has no bias adds none, and a rounding before the store, or
 * of a value that has the format already (wide), changes nothing. */
void mp_epilogue_steps(const mp_infer_epilogue *e, const mp_epilogue *has, bool wide,
                       char steps[MP_STEPS_MAX]);
/* The steps on a row of n sums of a slot, in float32 or in float64. */
void mp_epilogue_f32(const char *steps, const mp_epilogue *has, mp_dtype dtype, int64_t slot, int64_t n,
                     const float *bias, float *row);
void mp_epilogue_f64(const char *steps, const mp_epilogue *has, mp_dtype dtype, int64_t slot, int64_t n,
                     const float *bias, double *row);

#endif
