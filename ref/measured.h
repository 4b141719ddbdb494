/* SPDX-License-Identifier: Apache-2.0 */
/* What is expected of a float32 sum behind its epilogue, and how far a stored number is from it, where there
 * is nothing special about either. One source for CPU and GPU, of float64 operations that are rounded one by
 * one, so that both have the same bits:
 *   gcc: -ffp-contract=off, no -ffast-math      NVRTC: --fmad=false --prec-div=true */
#ifndef MP_REF_MEASURED_H
#define MP_REF_MEASURED_H

#include "ref/scaled_sum.h"

#ifdef __CUDACC_RTC__ /* which has no files */
#define MP_MEASURED __device__ __forceinline__
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#define MP_MEASURED static inline
#endif

MP_MEASURED int mp_is_finite(double x) {
    return fabs(x) <= 0x1.fffffffffffffp1023; /* false for NaN too */
}

/* Of numbers, or b. */
MP_MEASURED double mp_larger(double a, double b) {
    return a > b ? a : b;
}

/* ---- a sum behind its epilogue ---- */

/* Of one element, where the epilogue has them. */
typedef struct mp_epilogue_terms {
    int has_bias, has_weight;
    double bias, weight;
} mp_epilogue_terms;

/* Value and error of a sum: + bias and * weight each add a rounding of the step, u of what it makes, and to
 * multiply may lose half of the smallest float32. */
MP_MEASURED void mp_expect_behind(const mp_epilogue_terms *e, double u, double acc, double acc_error,
                                  double *value, double *error) {
    double v = acc, d = acc_error;
    if (e->has_bias) {
        v += e->bias;
        d += u * (fabs(v) + d);
    }
    if (e->has_weight) {
        v *= e->weight;
        d *= fabs(e->weight);
        d += u * (fabs(v) + d) + 0x1p-150;
    }
    *value = v;
    *error = d;
}

/* The float32 that exact sums and steps in float32 come to. */
MP_MEASURED float mp_float_behind(const mp_epilogue_terms *e, float acc) {
    if (e->has_bias) acc += (float)e->bias;
    if (e->has_weight) acc *= (float)e->weight;
    return acc;
}

/* What is known of all sums of a GEMM. */
typedef struct mp_gemm_rule {
    double rel, abs;  /* of the accumulation: its error is at most rel * mass + abs, */
    double per_scale; /* and of sums of codes per_scale * the sum of their scales, and what scaling loses */
    mp_scaling_steps scaling;
    long long block; /* terms of k that share scales; 0: there are none */
    double step;     /* unit roundoff of the epilogue */
    double overflow; /* a partial sum of this magnitude may be lost; Inf: none is */
    int exact;       /* sums whose magnitudes are below 2^24 are float32 numbers in any order */
} mp_gemm_rule;

/* scales: of a block; of rules without anything. */
MP_MEASURED double mp_sum_error(const mp_gemm_rule *r, double mass, const mp_gemm_scales *scales) {
    double error = r->rel * mass + r->abs;
    if (r->block == 0) return error;
    if (scales->sum > 0) error += r->per_scale * scales->sum;
    return error + mp_lost_in_scaling(&r->scaling, scales);
}

/* With exact sums the float32 epilogue is computed, and the error is zero. The prediction computes it by the
 * same function: what it gives counts where float64 agrees, within the epilogue's roundings. A sum that
 * float32 does not hold is not exact: a single term of two fp32 numbers of which none is a power of two. */
MP_MEASURED void mp_expect_sum(const mp_gemm_rule *r, const mp_epilogue_terms *e, double acc, double mass,
                               double acc_error, double *value, double *error) {
    const int exact = r->exact && mass < 0x1p24 && (double)(float)acc == acc;
    mp_expect_behind(e, r->step, acc, exact ? 0 : acc_error, value, error);
    if (!exact) return;
    const double result = (double)mp_float_behind(e, (float)acc);
    if (!(fabs(result - *value) <= *error)) return;
    *value = result;
    *error = 0;
}

/* ---- a stored number ---- */

/* 2^exponent of a positive normal number. */
MP_MEASURED double mp_binade(double number) {
#ifdef __CUDACC_RTC__
    return __longlong_as_double(__double_as_longlong(number) & 0x7FF0000000000000ll);
#else
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    bits &= 0x7FF0000000000000u;
    memcpy(&number, &bits, sizeof number);
    return number;
#endif
}

/* 1 over such a power of two, where that is a normal number too. */
MP_MEASURED double mp_reciprocal_binade(double power) {
#ifdef __CUDACC_RTC__
    return __longlong_as_double(0x7FE0000000000000ll - __double_as_longlong(power));
#else
    uint64_t bits;
    memcpy(&bits, &power, sizeof bits);
    bits = 0x7FE0000000000000u - bits;
    memcpy(&power, &bits, sizeof power);
    return power;
#endif
}

/* Of a float format: its smallest normal number, 2^-precision, its largest number. */
typedef struct mp_places {
    double smallest, unit, most;
} mp_places;

/* Half an ulp at a value. */
MP_MEASURED double mp_half_place(const mp_places *p, double value) {
    double size = fabs(value);
    if (!(size == size)) return size;
    size = size < p->smallest ? p->smallest : size > p->most ? p->most : size;
    const double half = mp_binade(size) * p->unit;
    return half > 0 ? half : 0x1p-1074;
}

/* How it is stored: a float format of 32 bits at most. */
typedef struct mp_stored {
    double smallest; /* its smallest normal number */
    double unit;     /* 2^-precision */
    double large;    /* what is smaller is far from overflow */
    int rounded;     /* the store rounds to the format */
} mp_stored;

/* plain: all is finite, and far from overflow; else nothing here means anything. Numbers are equal where the
 * stored one is the expected one rounded to the format. */
typedef struct mp_measured {
    double error, bound, ratio, drift, ulps;
    int plain, equal;
} mp_measured;

/* Half an ulp comes from exponent bits; the value rounded to the format is rint(value / ulp) * ulp, exact
 * scalings by powers of two (rint as an addition that drops the fraction). Of the error at most half an ulp
 * of what is stored is the rounding's: the rest was there before (drift). */
MP_MEASURED mp_measured mp_measure_stored(const mp_stored *s, double got, double value, double error) {
    const double shift = 0x1.8p52, v = fabs(value), reach = v + error, size = fabs(got);
    const double half = mp_binade(reach > s->smallest ? reach : s->smallest) * s->unit,
                 binade = mp_binade(v > s->smallest ? v : s->smallest),
                 half_of_stored = mp_binade(size > s->smallest ? size : s->smallest) * s->unit;
    const double ulp = 2 * s->unit * binade, per_ulp = mp_reciprocal_binade(ulp), scaled = value * per_ulp,
                 nearest = ((scaled + shift) - shift) * ulp;
    const double off = fabs(got - value), store = half < half_of_stored ? half : half_of_stored,
                 bound = error + (s->rounded ? store : 0), before = off - (s->rounded ? half_of_stored : 0);
    mp_measured m;
    m.error = off;
    m.bound = bound;
    m.ratio = off == 0 ? 0 : off / bound;
    m.drift = before <= 0 ? 0 : before / error;
    m.ulps = off * per_ulp;
    m.plain = size < s->large && reach < s->large; /* false for NaN and Inf too */
    m.equal = got == nearest;
    return m;
}

/* ---- elements of a row ---- */

/* Figures of some columns of a row; of worst the first where several are. Where any element is not plain, or
 * not within its bound, only `passed` means something. */
typedef struct mp_row_figures {
    long long passed; /* elements that are plain and within their bound */
    long long equal;
    long long worst; /* column of the largest error/bound; negative: there is none yet */
    double worst_got, worst_value, worst_bound;
    double max_abs, max_ratio, max_drift, max_ulps;
    double sums[3]; /* of the squares of error, bound and value */
} mp_row_figures;

MP_MEASURED void mp_row_figures_start(mp_row_figures *f) {
    const mp_row_figures none = {0, 0, -1, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0}};
    *f = none;
}

/* Columns come in ascending order. */
MP_MEASURED void mp_row_figures_add(mp_row_figures *f, long long column, double got, double value,
                                    const mp_measured *m) {
    f->passed += m->plain && m->ratio <= 1;
    f->equal += m->equal;
    if (f->worst < 0 || m->ratio > f->max_ratio) {
        f->worst = column;
        f->worst_got = got;
        f->worst_value = value;
        f->worst_bound = m->bound;
    }
    f->max_abs = mp_larger(f->max_abs, m->error);
    f->max_ratio = mp_larger(f->max_ratio, m->ratio);
    f->max_drift = mp_larger(f->max_drift, m->drift);
    f->max_ulps = mp_larger(f->max_ulps, m->ulps);
    f->sums[0] += m->error * m->error;
    f->sums[1] += m->bound * m->bound;
    f->sums[2] += value * value;
}

/* Other columns of the row, in any order. */
MP_MEASURED void mp_row_figures_merge(mp_row_figures *f, const mp_row_figures *other) {
    const int worse = f->worst < 0 || other->max_ratio > f->max_ratio ||
                      (other->max_ratio == f->max_ratio && other->worst < f->worst);
    if (other->worst < 0) return;
    if (worse) {
        f->worst = other->worst;
        f->worst_got = other->worst_got;
        f->worst_value = other->worst_value;
        f->worst_bound = other->worst_bound;
    }
    f->passed += other->passed;
    f->equal += other->equal;
    f->max_abs = mp_larger(f->max_abs, other->max_abs);
    f->max_ratio = mp_larger(f->max_ratio, other->max_ratio);
    f->max_drift = mp_larger(f->max_drift, other->max_drift);
    f->max_ulps = mp_larger(f->max_ulps, other->max_ulps);
    for (int i = 0; i < 3; i++) f->sums[i] += other->sums[i];
}

#endif
