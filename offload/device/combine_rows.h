/* SPDX-License-Identifier: Apache-2.0 */
/* What a sum over topk reads and what was stored of it, for who measures it and who compares its bits. */
#ifndef MP_OFFLOAD_DEVICE_COMBINE_ROWS_H
#define MP_OFFLOAD_DEVICE_COMBINE_ROWS_H

#include "offload/device/number.h"

typedef struct mp_combine_rows {
    MP_DEVICE_POINTER(const void) terms;    /* [tokens, topk, K] */
    MP_DEVICE_POINTER(const float) weights; /* [tokens, topk], or 0 */
    MP_DEVICE_POINTER(const int) topk_ids;  /* [tokens, topk], or 0: no slot is left out */
    MP_DEVICE_POINTER(const void) shared;   /* [tokens, K], or 0 */
    MP_DEVICE_POINTER(const void) got;      /* [tokens, K] */
    mp_number_format terms_format, shared_format, got_format;
    long long tokens, topk, K;
} mp_combine_rows;

MP_DEVICE_INLINE int mp_combine_leaves_out(const mp_combine_rows *r, long long slot) {
    return r->topk_ids && ((const int *)r->topk_ids)[slot] < 0;
}
MP_DEVICE_INLINE double mp_combine_term_at(const mp_combine_rows *r, long long slot, long long k) {
    return mp_number_at(&r->terms_format, (const void *)r->terms, slot * r->K + k);
}
/* Where there is a shared output. */
MP_DEVICE_INLINE double mp_combine_shared_at(const mp_combine_rows *r, long long token, long long k) {
    return mp_number_at(&r->shared_format, (const void *)r->shared, token * r->K + k);
}

#endif
