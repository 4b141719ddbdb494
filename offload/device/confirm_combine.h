/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over topk beside what was stored of them, in float32, slots in ascending order. */
#ifndef MP_OFFLOAD_DEVICE_CONFIRM_COMBINE_H
#define MP_OFFLOAD_DEVICE_CONFIRM_COMBINE_H

#include "offload/device/combine_rows.h"
#include "offload/device/confirmed.h"

#ifndef __CUDACC_RTC__ /* which has fmaf itself */
#include <math.h>
#endif

enum { MP_CONFIRM_COMBINE_THREADS = 128 }; /* of a token */

/* confirmed[m] = what is equal of token m of out. */
typedef struct mp_confirm_combine_params {
    mp_combine_rows rows;
    MP_DEVICE_POINTER(mp_confirmed_row) confirmed; /* [tokens] */
    int fma;                            /* a product with a weight and its addition are one operation */
    int round_sum, round_before_shared; /* to got's format: the sum before it is scaled, and behind that */
    float rsf;
} mp_confirm_combine_params;

MP_DEVICE_INLINE void mp_confirm_combine_element(const mp_confirm_combine_params *p, long long token,
                                                 long long k, mp_confirmed_row *to) {
    const mp_combine_rows *r = &p->rows;
    const float *weights = (const float *)r->weights;
    float sum = 0;
    for (long long slot = token * r->topk; slot < (token + 1) * r->topk; slot++) {
        if (mp_combine_leaves_out(r, slot)) continue;
        const float v = (float)mp_combine_term_at(r, slot, k);
        if (weights && p->fma)
            sum = fmaf(weights[slot], v, sum);
        else
            sum += weights ? weights[slot] * v : v;
    }
    if (p->round_sum) sum = (float)mp_number_rounded(&r->got_format, (double)sum);
    sum *= p->rsf;
    if (r->shared) {
        if (p->round_before_shared) sum = (float)mp_number_rounded(&r->got_format, (double)sum);
        sum += (float)mp_combine_shared_at(r, token, k);
    }
    mp_confirmed_add(to, &r->got_format, sum,
                     mp_code_in(&r->got_format, (const void *)r->got, token * r->K + k), k);
}

#endif
