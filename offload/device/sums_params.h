/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the kernels of the prediction's sums, read by the C compiler and by NVRTC. */
#ifndef MP_OFFLOAD_SUMS_PARAMS_H
#define MP_OFFLOAD_SUMS_PARAMS_H

#include "offload/device/portable.h"

/* Rows of results that one expert's columns are multiplied with: at most as many as a block takes. */
typedef struct mp_sums_tile {
    long long first; /* position */
    int expert, count;
} mp_sums_tile;

/* sums[p, j] = the products of row a_row[p] of a, [rows, K], with column j of its expert's w, [experts, n,
 * K], as codes of the formats that the kernel is compiled for. */
typedef struct mp_sums_params {
    MP_DEVICE_POINTER(const unsigned char) a;
    MP_DEVICE_POINTER(const unsigned char) w;
    MP_DEVICE_POINTER(const long long) a_row;   /* [positions] */
    MP_DEVICE_POINTER(const mp_sums_tile) tile; /* [tiles] */
    MP_DEVICE_POINTER(const float) a_scale;     /* [rows, scales], where sums are scaled */
    MP_DEVICE_POINTER(const float) w_scale;     /* [experts * n, scales] */
    MP_DEVICE_POINTER(float) sums;              /* [positions, n], from first_position on */
    long long first_position;
    long long K, n;
    long long part_terms; /* of a part of k; the last may have fewer; K rounded up where there is one */
    long long scales;     /* of a row */
} mp_sums_params;

#endif
