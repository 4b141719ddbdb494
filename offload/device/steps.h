/* SPDX-License-Identifier: Apache-2.0 */
/* What lies between and behind the sums of the float64 pipeline: arguments of steps.cu, and what it does to
 * an element. Slots and tokens are those of a slab, rows in the order of slots. */
#ifndef MP_OFFLOAD_DEVICE_STEPS_H
#define MP_OFFLOAD_DEVICE_STEPS_H

#include "offload/device/activation.h"
#include "offload/device/number.h"
#include "ref/token_figures.h"

enum { MP_ELEMENT_THREADS = 256 };

/* The epilogue of a GEMM: to[slot, n0 + j] = (sum + bias) * router weight, each where it is there. */
typedef struct mp_epilogue64_params {
    MP_DEVICE_POINTER(const double) sums;     /* [rows, n], in the order of the sums */
    MP_DEVICE_POINTER(const long long) slots; /* [rows] slot of each */
    MP_DEVICE_POINTER(const int) topk_ids;    /* [slots] */
    MP_DEVICE_POINTER(const float) weights;   /* [slots], or 0 */
    MP_DEVICE_POINTER(const void) bias;       /* [E, width], or 0 */
    MP_DEVICE_POINTER(double) to;             /* [slots, width] */
    mp_number_format bias_format;
    long long rows, n, n0, width;
} mp_epilogue64_params;

MP_DEVICE_INLINE void mp_epilogue64_at(const mp_epilogue64_params *p, const long long *slots, const int *ids,
                                       const float *weights, const void *bias, double sum, long long row,
                                       long long column, double *to) {
    const long long slot = slots[row], at = p->n0 + column;
    if (bias) sum += mp_number_at(&p->bias_format, bias, ids[slot] * p->width + at);
    if (weights) sum *= (double)weights[slot];
    to[slot * p->width + at] = sum;
}

/* The activation: to[slot, n] of gate and up in from[slot, ...]. Rows of filtered slots hold anything. */
typedef struct mp_act64_params {
    MP_DEVICE_POINTER(const double) from; /* [slots, width] */
    MP_DEVICE_POINTER(double) to;         /* [slots, N] */
    mp_act_form act;
    long long slots, N, width;
    long long step, up; /* columns of n: gate step * n, up that many behind it */
} mp_act64_params;

MP_DEVICE_INLINE double mp_act64_element(const mp_act64_params *p, const double *from, long long slot,
                                         long long n) {
    const double *gate = from + slot * p->width + p->step * n;
    return mp_act64_at(&p->act, *gate, p->act.gated ? gate[p->up] : 1);
}

/* The final output of a token: rsf * (sum over its slots, times router weights where they are there) + shared
 * output; or without combine each slot's row. Filtered slots are zeros. Its figures beside what is stored. */
typedef struct mp_output64_params {
    MP_DEVICE_POINTER(const double) rows;        /* [slots, K] */
    MP_DEVICE_POINTER(const int) topk_ids;       /* [slots] */
    MP_DEVICE_POINTER(const float) weights;      /* [slots], or 0 */
    MP_DEVICE_POINTER(const void) shared;        /* [tokens, K], or 0 */
    MP_DEVICE_POINTER(const void) stored;        /* [tokens, K], or [tokens, topk, K] without combine */
    MP_DEVICE_POINTER(mp_token_figures) figures; /* [tokens] */
    mp_number_format shared_format, stored_format;
    double rsf;
    long long tokens, topk, K;
    long long first; /* of the tokens, in shared and stored */
    int combines;
} mp_output64_params;

/* Element i of the token's output. */
MP_DEVICE_INLINE double mp_output64_at(const mp_output64_params *p, const double *rows, const int *ids,
                                       const float *weights, const void *shared, long long token,
                                       long long i) {
    double sum = 0;
    if (!p->combines) {
        const long long slot = token * p->topk + i / p->K;
        return ids[slot] < 0 ? 0 : rows[slot * p->K + i % p->K];
    }
    for (long long slot = token * p->topk; slot < (token + 1) * p->topk; slot++) {
        if (ids[slot] < 0) continue;
        const double term = rows[slot * p->K + i];
        sum += weights ? (double)weights[slot] * term : term;
    }
    sum *= p->rsf;
    return shared ? sum + mp_number_at(&p->shared_format, shared, (p->first + token) * p->K + i) : sum;
}

MP_DEVICE_INLINE long long mp_output64_width(const mp_output64_params *p) {
    return p->combines ? p->K : p->topk * p->K;
}

#endif
