/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: what the judges of a GEMM alone and inside a span share. */
#ifndef MP_HARNESS_JUDGE_GEMM_H
#define MP_HARNESS_JUDGE_GEMM_H

#include "harness/judge/judge_stage.h"

/* The largest finite magnitude in a tensor of any float format. */
double mp_largest_magnitude(const mp_tensor *t);

#endif
