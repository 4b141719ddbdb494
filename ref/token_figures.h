/* SPDX-License-Identifier: Apache-2.0 */
/* What a token of the final output comes to beside its float64 values. One source for CPU and GPU. */
#ifndef MP_REF_TOKEN_FIGURES_H
#define MP_REF_TOKEN_FIGURES_H

#ifdef __CUDACC_RTC__ /* which has no files */
#define MP_TOKEN_FIGURES __device__ __forceinline__
#else
#include <math.h>
#define MP_TOKEN_FIGURES static inline
#endif

typedef struct mp_token_figures {
    double max_abs;        /* the largest |stored - value| */
    double error2, value2; /* sums of the squares of errors and of values */
    long long elements;    /* that were looked at */
    long long odd;         /* of them: errors that are no number, and numbers where none is right */
} mp_token_figures;

/* False for NaN too. */
MP_TOKEN_FIGURES int mp_is_number(double x) {
    return fabs(x) <= 0x1.fffffffffffffp1023;
}

/* One more element. What is not finite in float64 must not be finite in the output, of whatever kind, and
 * counts in no sum. */
MP_TOKEN_FIGURES void mp_token_figures_add(mp_token_figures *f, double stored, double value) {
    const double error = fabs(stored - value);
    f->elements++;
    if (!mp_is_number(value)) {
        f->odd += mp_is_number(stored);
    } else if (!mp_is_number(error)) {
        f->odd++;
    } else {
        f->max_abs = error > f->max_abs ? error : f->max_abs;
        f->error2 += error * error;
        f->value2 += value * value;
    }
}

MP_TOKEN_FIGURES void mp_token_figures_merge(mp_token_figures *f, const mp_token_figures *other) {
    f->max_abs = other->max_abs > f->max_abs ? other->max_abs : f->max_abs;
    f->error2 += other->error2;
    f->value2 += other->value2;
    f->elements += other->elements;
    f->odd += other->odd;
}

#endif
