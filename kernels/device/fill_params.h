/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of fill.cu, read by the C compiler and by NVRTC as params.h is. */
#ifndef MP_KERNELS_DEVICE_FILL_PARAMS_H
#define MP_KERNELS_DEVICE_FILL_PARAMS_H

#include "cases/numbers.h"
#include "kernels/device/params.h"

typedef struct mp_fill_params {
    MP_DEVICE_POINTER(unsigned char) data;  /* [count] codes, at a multiple of 16 bytes */
    unsigned long long count;               /* so many that they are whole bytes */
    MP_DEVICE_POINTER(const mp_i64) source; /* [rows] of the numbers; 0: their own */
    mp_numbers numbers;
} mp_fill_params;

/* Of matrices that lie one behind the other the largest mp_code_magnitude of each. */
typedef struct mp_largest_params {
    MP_DEVICE_POINTER(unsigned char) data; /* at a multiple of 16 bytes */
    MP_DEVICE_POINTER(unsigned) largest;   /* [matrices], zeroed */
    unsigned long long bytes;              /* of a matrix: whole codes */
    long long matrices, parts;             /* of a matrix, for a block each */
    mp_code_format format;
} mp_largest_params;

#endif
