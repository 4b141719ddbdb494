/* SPDX-License-Identifier: Apache-2.0 */
/* What a quantiser reads and which codes were stored of it, for who measures them and who compares their
 * bits. */
#ifndef MP_OFFLOAD_DEVICE_QUANT_ROWS_H
#define MP_OFFLOAD_DEVICE_QUANT_ROWS_H

#include "offload/device/number.h"

typedef struct mp_quant_rows {
    MP_DEVICE_POINTER(const void) from;     /* [rows, width] */
    MP_DEVICE_POINTER(const void) codes;    /* [rows, width] */
    MP_DEVICE_POINTER(const long long) row; /* [count] where each row lies in both; -1: nowhere */
    mp_number_format from_format, code_format;
    long long count, width;
    long long group, groups; /* columns that share a scale, and how many groups a row has */
} mp_quant_rows;

MP_DEVICE_INLINE double mp_quantised_at(const mp_quant_rows *r, long long at) {
    return mp_number_at(&r->from_format, (const void *)r->from, at);
}

#endif
