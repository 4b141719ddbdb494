/* SPDX-License-Identifier: Apache-2.0 */
/* An operand of a GEMM on the device: what mp_operand is on the host (ref/operand.h), number for number. */
#ifndef MP_OFFLOAD_DEVICE_OPERAND_H
#define MP_OFFLOAD_DEVICE_OPERAND_H

#include "offload/device/number.h"

typedef struct mp_device_operand {
    MP_DEVICE_POINTER(const void) codes;          /* rows of `length` */
    MP_DEVICE_POINTER(const void) scale;          /* or 0 */
    MP_DEVICE_POINTER(const unsigned char) zeros; /* or 0: then `zero` is that of all */
    MP_DEVICE_POINTER(const void) global;         /* or 0 */
    mp_number_format code_format, scale_format, global_format;
    mp_number_format rounded; /* where the number is rounded to float32 and then to this */
    int rounds, zeros_in_pairs, globals_alternate;
    double zero;
    long long length, matrix_rows;       /* of an [n, k] */
    long long block_rows, block_columns; /* of a scale */
    long long globals;                   /* of an [n, k] */
} mp_device_operand;

/* What all columns of a row share. */
typedef struct mp_device_row {
    long long codes, scales; /* index of the first */
    long long zeros;
    int zeros_shift; /* of a byte of zeros, and */
    int zeros_mask;
    double global;
} mp_device_row;

MP_DEVICE_INLINE long long mp_device_blocks(long long length, long long block) {
    return (length + block - 1) / block;
}

MP_DEVICE_INLINE mp_device_row mp_device_row_of(const mp_device_operand *o, long long row) {
    mp_device_row r = {0};
    r.codes = row * o->length;
    r.global = 1;
    if (!o->scale) return r;
    const long long matrix = row / o->matrix_rows, in_matrix = row % o->matrix_rows,
                    blocks = mp_device_blocks(o->length, o->block_columns),
                    block_row =
                        matrix * mp_device_blocks(o->matrix_rows, o->block_rows) + in_matrix / o->block_rows;
    r.scales = block_row * blocks;
    r.zeros = (o->zeros_in_pairs ? block_row / 2 : block_row) * blocks;
    r.zeros_shift = o->zeros_in_pairs ? (int)(block_row % 2) * 4 : 0;
    r.zeros_mask = o->zeros_in_pairs ? 15 : 255;
    if (o->global) {
        const long long which =
            o->globals_alternate ? in_matrix % o->globals : in_matrix * o->globals / o->matrix_rows;
        r.global = mp_number_at(&o->global_format, (const void *)o->global, matrix * o->globals + which);
    }
    return r;
}

/* (code - zero) * scale * global, rounded where the operand rounds: the operations of mp_operand_decode. */
MP_DEVICE_INLINE double mp_device_operand_at(const mp_device_operand *o, const mp_device_row *r,
                                             long long k) {
    double number = mp_number_at(&o->code_format, (const void *)o->codes, r->codes + k);
    if (o->scale) {
        const long long block = k / o->block_columns;
        const unsigned char *zeros = (const unsigned char *)o->zeros;
        const double zero =
            zeros ? (double)(zeros[r->zeros + block] >> r->zeros_shift & r->zeros_mask) : o->zero;
        number = (number - zero) * mp_number_at(&o->scale_format, (const void *)o->scale, r->scales + block) *
                 r->global;
    }
    return o->rounds ? mp_number_rounded(&o->rounded, (double)(float)number) : number;
}

#endif
