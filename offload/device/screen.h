/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of a GEMM measured against what was stored of them, where they were made: the arithmetic is
 * ref/measured.h. */
#ifndef MP_OFFLOAD_DEVICE_SCREEN_H
#define MP_OFFLOAD_DEVICE_SCREEN_H

#include "offload/device/gemm_rows.h"
#include "offload/device/operand.h"

enum { MP_SCREEN_THREADS = 128 }; /* of a row */

/* figures[i] = those of columns n0 .. n0+n of row i, of which value[i, 0..n) and mass[i, 0..n) are the
 * sums. */
typedef struct mp_screen_params {
    mp_gemm_rows rows;
    MP_DEVICE_POINTER(const double) value;     /* [count, n] */
    MP_DEVICE_POINTER(const double) mass;      /* [count, n] */
    MP_DEVICE_POINTER(mp_row_figures) figures; /* [count] */
    long long n0, n;
    mp_stored stored;
    mp_gemm_rule rule;
    /* The rest is for scales. */
    MP_DEVICE_POINTER(const long long) a_row; /* [count] */
    mp_device_operand a, w;
} mp_screen_params;

MP_DEVICE_INLINE double mp_screened_scale(const mp_device_operand *o, const mp_device_row *row, long long k) {
    return o->scale
               ? mp_number_at(&o->scale_format, (const void *)o->scale, row->scales + k / o->block_columns)
               : 1;
}

/* Of a sum over a row of a and one of w. */
MP_DEVICE_INLINE mp_gemm_scales mp_screened_scales(const mp_screen_params *p, long long a_row,
                                                   long long w_row) {
    const mp_device_row a = mp_device_row_of(&p->a, a_row), w = mp_device_row_of(&p->w, w_row);
    mp_gemm_scales s = mp_no_scales();
    for (long long k = 0; k < p->w.length; k += p->rule.block)
        mp_add_scales(&s, mp_screened_scale(&p->a, &a, k), mp_screened_scale(&p->w, &w, k));
    mp_scales_meet(&s, a.global, w.global);
    return s;
}

/* Column n0+j of a row; scaled: the rule has blocks. */
MP_DEVICE_INLINE void mp_screen_element(const mp_screen_params *p, int scaled, long long i, long long j,
                                        mp_row_figures *figures) {
    const mp_gemm_rows *r = &p->rows;
    const mp_screened_row row = ((const mp_screened_row *)r->row)[i];
    const double acc = ((const double *)p->value)[i * p->n + j],
                 mass = ((const double *)p->mass)[i * p->n + j];
    const long long column = p->n0 + j;
    const double got = mp_number_at(&r->got_format, (const void *)r->got, row.got * r->width + column);
    const mp_epilogue_terms terms = mp_gemm_terms(r, &row, column);
    mp_gemm_scales scales = mp_no_scales();
    double value, error;
    if (scaled)
        scales = mp_screened_scales(p, ((const long long *)p->a_row)[i], row.expert * r->width + column);
    mp_expect_sum(&p->rule, &terms, acc, mass, mp_sum_error(&p->rule, mass, &scales), &value, &error);
    mp_measured m = mp_measure_stored(&p->stored, got, value, error);
    if (mass + p->rule.rel * mass >= p->rule.overflow) m.plain = 0;
    if (scaled && (scales.infinite || mp_may_overflow_in_scaling(&p->rule.scaling, &scales, acc, mass)))
        m.plain = 0;
    mp_row_figures_add(figures, column, got, value, &m);
}

#endif
