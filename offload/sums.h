/* SPDX-License-Identifier: Apache-2.0 */
/* The prediction's sums on a GPU: which kernels have the bits of a contract's accumulator. Tensor cores by
 * offload/device/tensorcore.cu, on ordinary cores, and what it leaves over by tensorcore_redo.cu; int8 and
 * fused multiply-adds by plain_sums.cu. */
#ifndef MP_OFFLOAD_SUMS_H
#define MP_OFFLOAD_SUMS_H

#include "kernels/variants.h"
#include "offload/device/params.h"
#include "offload/device/tensorcore_step.h"
#include "ref/predict/scaling.h"
#include "ref/predict/tensorcore.h"

/* Of a block of the kernels. */
enum { MP_SUMS_ROWS = MP_TILE, MP_SUMS_COLUMNS = 64, MP_SUMS_THREADS = 256 };

typedef struct mp_sums {
    mp_kernel kernel, redo; /* redo.source NULL: nothing is left over */
    int64_t part_terms;     /* of a part of k; at least k where it is one */
    int64_t scales;         /* of a row of a, and of a column of w; 0: sums are not scaled */
    int64_t scale_terms;    /* that share one */
} mp_sums;

/* Of operands without scales, m->plain, whose sums meet scales as m says. MP_EUNSUPPORTED where a GPU does
 * not predict them. */
mp_status mp_sums_of(const mp_gemm_contract *contract, const mp_multiplied *m, mp_sums *sums, mp_error *err);

/* An operand of the model as a step takes it: codes of fp8 may have become fp16. */
mp_step_format mp_step_format_of(const mp_tc_model *model, bool of_a);

#endif
