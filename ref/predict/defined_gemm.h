/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped GEMM with the bits of a unit that has no fast twin: every dot product by its definition. */
#ifndef MP_PREDICT_DEFINED_GEMM_H
#define MP_PREDICT_DEFINED_GEMM_H

#include "ref/predict/tensorcore_gemm.h"

/* A row of a, or of w: its codes; and the codes of its scales, one for each block of the unit. Behind the
 * last term of k both are 0. */
typedef struct mp_defined_row {
    const uint32_t *code;
    const uint8_t *scale;
} mp_defined_row;

typedef struct mp_definition {
    const char *name; /* for messages */
    const void *model;
    int terms; /* of a step: rows are filled up to a multiple of it */
    int block; /* terms that share a scale, a divisor of terms; 0: the unit takes none */
    uint32_t (*operand)(uint32_t code); /* the tensor's code as the unit gets it; NULL: as it is */
    /* Terms first .. end, whole steps, from a zero accumulator. */
    float (*dot)(const void *model, const mp_defined_row *a, const mp_defined_row *w, int64_t first,
                 int64_t end);
} mp_definition;

/* Arguments as mp_tc_gemm. Of a unit without scales the operands have none; with them each has one, in blocks
 * of columns that are multiples of the unit's. MP_EUNSUPPORTED when parts are no multiple of a step. */
mp_status mp_defined_gemm(const mp_definition *definition, const mp_tc_parts *parts,
                          const mp_gemm_problem *problem, const mp_epilogue *epilogue, const int64_t *out_row,
                          const mp_tensor *out, mp_error *err);

#endif
