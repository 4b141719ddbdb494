/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a tensor-core GEMM on their way from codes into the form of the micro-kernels: what is common to
 * rows of a and columns of w. */
#ifndef MP_REF_TENSORCORE_SCALE_H
#define MP_REF_TENSORCORE_SCALE_H

#include "ref/predict/tensorcore_pack.h"

/* n codes as outlines, and as numbers. */
void mp_tc_take_outlines(const mp_tc_operand *operand, const char *codes, int64_t n, uint16_t *outlines);
void mp_tc_take_values(const mp_tc_operand *operand, const char *codes, int64_t n, float *values);

/* What scaling will do to n codes. */
mp_tc_scaling mp_tc_survey(const mp_tc_operand *operand, const char *codes, int64_t n);

/* The power of two that is taken out of a row or a column. */
typedef struct mp_tc_power {
    int16_t field; /* as an exponent field */
    double factor; /* its inverse, times the form's */
} mp_tc_power;
mp_tc_power mp_tc_power_of(const mp_tc_operand *operand, int exponent, double factor);

/* The powers of a panel. */
typedef struct mp_tc_powers {
    int16_t field[MP_TC_MAX_COLUMNS];
    double factor[MP_TC_MAX_COLUMNS];
} mp_tc_powers;

/* n terms of a row in the kernels' form; outlines, in: of its numbers. No memory of results is another's. */
void mp_tc_scale_row(const mp_tc_layout *layout, mp_tc_power taken_out, int64_t n, const uint16_t *outlines,
                     const float *in, void *numbers, int32_t *exponents);
/* The same of a tile of w, [rows, columns], whose rows are terms `first` and so on. */
void mp_tc_scale_tile(const mp_tc_layout *layout, const mp_tc_powers *taken_out, int64_t first, int64_t rows,
                      const uint16_t *outlines, const float *in, void *numbers, int8_t *exponents);

#endif
