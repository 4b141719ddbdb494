/* SPDX-License-Identifier: Apache-2.0 */
/* The epilogue of a GEMM, in the order dequantisation scale (none here) -> + bias -> * router weight; the
 * rounding to dtype is the store's. All that is known of it stands here, once for each arithmetic: what it
 * reads, its value in float64 and in float32, and what errors become of it. The functions are called once an
 * element, and are inline for that. */
#ifndef MP_REF_EPILOGUE_H
#define MP_REF_EPILOGUE_H

#include "cases/graph_tables.h"
#include "moeparity/contract.h"
#include "ref/bounds.h"
#include "ref/measured.h"

#include <math.h>

typedef struct mp_epilogue {
    const mp_tensor *bias; /* [E,n] or NULL */
    const float *weights;  /* [slots] or NULL */
} mp_epilogue;

/* That of the case's gate_up or down, on its tensors. */
static inline mp_epilogue mp_epilogue_of(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT],
                                         mp_stage stage) {
    const bool up = stage == MP_GATE_UP;
    const mp_tensor *bias = &t[up ? MP_B1 : MP_B2];
    return (mp_epilogue){.bias = bias->data ? bias : NULL,
                         .weights =
                             mp_stage_weighs(c, stage) ? (const float *)t[MP_TOPK_WEIGHTS].data : NULL};
}

static inline bool mp_epilogue_is_empty(const mp_epilogue *e) {
    return !e->bias && !e->weights;
}

/* Its terms at an element. */
static inline mp_epilogue_terms mp_epilogue_at(const mp_epilogue *e, int64_t expert, int64_t column,
                                               int64_t slot) {
    mp_epilogue_terms terms = {.has_bias = e->bias != NULL, .has_weight = e->weights != NULL};
    if (e->bias) terms.bias = mp_decode(e->bias->dtype, e->bias->data, expert * e->bias->dim[1] + column);
    if (e->weights) terms.weight = (double)e->weights[slot];
    return terms;
}

/* One element in float64. */
static inline double mp_epilogue_apply(const mp_epilogue *e, double acc, int64_t expert, int64_t column,
                                       int64_t slot) {
    if (e->bias) acc += mp_decode(e->bias->dtype, e->bias->data, expert * e->bias->dim[1] + column);
    if (e->weights) acc *= (double)e->weights[slot];
    return acc;
}

/* Columns first .. first+n of a row in float32, a rounding each. */
static inline void mp_epilogue_row_f32(const mp_epilogue *e, int64_t expert, int64_t first, int64_t n,
                                       int64_t slot, float *row) {
    enum { PIECE = 256 };
    float bias[PIECE];
    for (int64_t j = 0; j < n && e->bias; j += PIECE) {
        const int64_t count = n - j < PIECE ? n - j : PIECE;
        mp_decode_row_f32(e->bias->dtype, e->bias->data, expert * e->bias->dim[1] + first + j, count, bias);
        for (int64_t i = 0; i < count; i++) row[j + i] += bias[i];
    }
    for (int64_t j = 0; j < n && e->weights; j++) row[j] *= e->weights[slot];
}

/* One element with its error: that of acc goes through the epilogue, in which + bias and * weight each add a
 * rounding of the step. */
static inline void mp_epilogue_expect(const mp_contract *contract, const mp_epilogue *e, double acc,
                                      double acc_error, int64_t expert, int64_t column, int64_t slot,
                                      double *value, double *error) {
    const mp_epilogue_terms terms = mp_epilogue_at(e, expert, column, slot);
    mp_expect_behind(&terms, mp_step_roundoff(contract), acc, acc_error, value, error);
}

/* By how much it stretches an error of acc, its own roundings aside. */
static inline double mp_epilogue_factor(const mp_epilogue *e, int64_t expert, int64_t slot) {
    (void)expert;
    return e->weights ? fabs((double)e->weights[slot]) : 1;
}

#endif
