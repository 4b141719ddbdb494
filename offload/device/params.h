/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the kernels: one declaration, read by the C compiler and by NVRTC. */
#ifndef MP_OFFLOAD_DEVICE_PARAMS_H
#define MP_OFFLOAD_DEVICE_PARAMS_H

#include "offload/device/operand.h"

/* Tiles of gemm_float64.cu: rows by columns, in steps of k. Rows of decoded operands are padded with zeros to
 * whole steps, and buffers of them with MP_TILE rows of anything. */
enum { MP_TILE = 64, MP_TILE_DEPTH = 16, MP_TILE_THREADS = 128 };

/* decode.cu: to[i, 0..padded) = the operand's row rows[i], or first + i where rows is 0, and zeros. */
typedef struct mp_decode_params {
    mp_device_operand operand;
    MP_DEVICE_POINTER(const long long) rows;
    MP_DEVICE_POINTER(double) to;
    long long first, count, padded;
} mp_decode_params;

/* At most MP_TILE rows of one expert: rows of all that is summed, and which of the experts it is. */
typedef struct mp_row_tile {
    long long row, count, matrix;
} mp_row_tile;

/* gemm_float64.cu: value[i, j] = sum over k of a[i, k] * w[matrix of i, j, k], and mass of the magnitudes. */
typedef struct mp_gemm64_params {
    MP_DEVICE_POINTER(const double) a;          /* [rows, padded], from that of the first tile */
    MP_DEVICE_POINTER(const double) w;          /* [matrices, n, padded], from that of the first tile */
    MP_DEVICE_POINTER(const mp_row_tile) tiles; /* [tile_count] */
    MP_DEVICE_POINTER(double) value;            /* [rows, n] */
    MP_DEVICE_POINTER(double) mass;             /* [rows, n]; of gemm_values_and_masses */
    long long n, padded, tile_count;
} mp_gemm64_params;

#endif
