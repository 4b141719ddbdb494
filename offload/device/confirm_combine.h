/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over topk beside what was stored of them, in float32, slots in ascending order. */
#ifndef MP_OFFLOAD_DEVICE_CONFIRM_COMBINE_H
#define MP_OFFLOAD_DEVICE_CONFIRM_COMBINE_H

#include "offload/device/confirmed.h"

#ifndef __CUDACC_RTC__ /* which has fmaf itself */
#include <math.h>
#endif

enum { MP_CONFIRM_COMBINE_THREADS = 128 }; /* of a token */

/* confirmed[m] = what is equal of token m of out. */
typedef struct mp_confirm_combine_params {
    MP_DEVICE_POINTER(const void) terms;           /* [tokens, topk, K] */
    MP_DEVICE_POINTER(const float) weights;        /* [tokens, topk], or 0 */
    MP_DEVICE_POINTER(const int) topk_ids;         /* [tokens, topk], or 0: no slot is left out */
    MP_DEVICE_POINTER(const void) shared;          /* [tokens, K], or 0 */
    MP_DEVICE_POINTER(const void) got;             /* [tokens, K] */
    MP_DEVICE_POINTER(mp_confirmed_row) confirmed; /* [tokens] */
    mp_number_format terms_format, shared_format, got_format;
    long long tokens, topk, K;
    int fma;                            /* a product with a weight and its addition are one operation */
    int round_sum, round_before_shared; /* to got's format: the sum before it is scaled, and behind that */
    float rsf;
} mp_confirm_combine_params;

MP_DEVICE_INLINE void mp_confirm_combine_element(const mp_confirm_combine_params *p, long long token,
                                                 long long k, mp_confirmed_row *to) {
    const float *weights = (const float *)p->weights;
    const int *ids = (const int *)p->topk_ids;
    float sum = 0;
    for (long long slot = token * p->topk; slot < (token + 1) * p->topk; slot++) {
        if (ids && ids[slot] < 0) continue;
        const float v = (float)mp_number_at(&p->terms_format, (const void *)p->terms, slot * p->K + k);
        if (weights && p->fma)
            sum = fmaf(weights[slot], v, sum);
        else
            sum += weights ? weights[slot] * v : v;
    }
    if (p->round_sum) sum = (float)mp_number_rounded(&p->got_format, (double)sum);
    sum *= p->rsf;
    if (p->shared) {
        if (p->round_before_shared) sum = (float)mp_number_rounded(&p->got_format, (double)sum);
        sum += (float)mp_number_at(&p->shared_format, (const void *)p->shared, token * p->K + k);
    }
    mp_confirmed_add(to, &p->got_format, sum,
                     mp_code_in(&p->got_format, (const void *)p->got, token * p->K + k), k);
}

#endif
