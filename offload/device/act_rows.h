/* SPDX-License-Identifier: Apache-2.0 */
/* What an activation reads and what was stored of it, for who measures it and who compares its bits. */
#ifndef MP_OFFLOAD_DEVICE_ACT_ROWS_H
#define MP_OFFLOAD_DEVICE_ACT_ROWS_H

#include "offload/device/number.h"

/* Gate and up of slot t are in row[t] of cache1, the result in that of got. */
typedef struct mp_act_rows {
    MP_DEVICE_POINTER(const void) cache1;   /* [rows, width] */
    MP_DEVICE_POINTER(const void) got;      /* [rows, N] */
    MP_DEVICE_POINTER(const int) topk_ids;  /* [slots] */
    MP_DEVICE_POINTER(const long long) row; /* [slots] */
    mp_number_format cache1_format, got_format;
    long long slots, N, width;
    long long step, up; /* columns of n: gate step * n, up that many behind it */
    int rounds_gate;    /* act(gate) to got's format */
} mp_act_rows;

/* Where the gate of element n of a row is; its up is `up` behind it. */
MP_DEVICE_INLINE long long mp_gate_place(const mp_act_rows *r, long long row, long long n) {
    return row * r->width + r->step * n;
}
MP_DEVICE_INLINE double mp_gate_or_up_at(const mp_act_rows *r, long long at) {
    return mp_number_at(&r->cache1_format, (const void *)r->cache1, at);
}

#endif
