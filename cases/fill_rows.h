/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cases/: the kinds of rows that data families are made of. */
#ifndef MP_CASES_FILL_ROWS_H
#define MP_CASES_FILL_ROWS_H

#include "moeparity/tensor.h"

typedef enum mp_row_style {
    MP_STYLE_NORMAL, /* centred sum * 2^exponent */
    MP_STYLE_INT,    /* at most `nonzeros` values of {-2,-1,1,2} in a row, the rest 0; nonzeros == 0: {-2..2}
                        everywhere */
    MP_STYLE_WIDE,   /* exponents -12..5 around 2^exponent */
    MP_STYLE_ONE,    /* a single 1.0, its place by hash */
    MP_STYLE_ZERO,
    MP_STYLE_MINUS_ZERO,
    MP_STYLE_NAN, /* this and what follows is of floats alone */
    MP_STYLE_SUBNORMAL,
    MP_STYLE_INF_ELEMENT, /* normal, with one +-Inf */
    MP_STYLE_NAN_ELEMENT, /* normal, with one NaN */
} mp_row_style;

typedef struct mp_row_rule {
    mp_row_style style;
    int exponent;
    int64_t nonzeros;
    bool mirrored; /* wide: the second of a cancelling pair is nearly minus the first (x), not equal to it
                      (weights) */
} mp_row_rule;

enum { MP_UNIT_EXPONENT = -15 }; /* that turns normal values into a standard deviation of 1.155 */

/* A row by its rule: a function of (rule, key, row), of the tensor's format and of the row's length alone. */
void mp_fill_row(const mp_row_rule *rule, uint64_t key, int64_t row, mp_tensor *t);

#endif
