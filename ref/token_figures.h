/* SPDX-License-Identifier: Apache-2.0 */
/* What a token of the final output comes to beside its float64 values. One source for CPU and GPU. */
#ifndef MP_REF_TOKEN_FIGURES_H
#define MP_REF_TOKEN_FIGURES_H

#include "ref/measured.h"

typedef struct mp_token_figures {
    double max_abs;        /* the largest |stored - value| */
    double error2, value2; /* sums of the squares of errors and of values */
    long long elements;    /* that were looked at */
    long long odd;         /* of them: errors that are no number, and numbers where none is right */
} mp_token_figures;

/* One more element. What is not finite in float64 must not be finite in the output, of whatever kind, and
 * counts in no sum. */
MP_MEASURED void mp_token_figures_add(mp_token_figures *f, double stored, double value) {
    const double error = fabs(stored - value);
    f->elements++;
    if (!mp_is_finite(value)) {
        f->odd += mp_is_finite(stored);
    } else if (!mp_is_finite(error)) {
        f->odd++;
    } else {
        f->max_abs = error > f->max_abs ? error : f->max_abs;
        f->error2 += error * error;
        f->value2 += value * value;
    }
}

MP_MEASURED void mp_token_figures_merge(mp_token_figures *f, const mp_token_figures *other) {
    f->max_abs = other->max_abs > f->max_abs ? other->max_abs : f->max_abs;
    f->error2 += other->error2;
    f->value2 += other->value2;
    f->elements += other->elements;
    f->odd += other->odd;
}

#endif
