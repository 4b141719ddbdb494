/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/strangers.h"

#include "harness/answers.h"
#include "ref/quant.h"

#include <math.h>

void mp_stranger_add(mp_strangers *of, int64_t row, int64_t column, double got, double low, double high) {
#pragma omp critical(mp_judge_quant)
    if (of->count++ == 0 || row < of->first || (row == of->first && column < of->column)) {
        const int64_t count = of->count;
        *of = (mp_strangers){count, row, column, got, low, high};
    }
}

/* Of no quantiser by name. A scale is not so small that the amax is clipped, but for 4 roundings, and at most
 * a power of two above; those that have a floor have one of 1/(448*512) or less, and a range of e4m3 that is
 * not used to its end is taken for clipped by who has 1 of 448. On top of one that is given it is what is
 * left of that, rounded to its own format, whose smallest number is its floor and whose largest its end. */
mp_quant_range mp_any_scale(const mp_quantisation *q, double amax) {
    const double exact = amax / mp_dtype_format(mp_quantiser_codes(q->quantiser))->max_finite,
                 least = exact * (1 - 0x1p-21), given = (double)q->given;
    if (!(given > 0)) return (mp_quant_range){least, fmax(2 * exact, 1 / (448 * 512.0)) * (1 + 0x1p-21)};
    const mp_format *f = mp_dtype_format(mp_quantiser_scale(q->quantiser));
    const double u = ldexp(1.0, -f->precision), smallest = ldexp(1.0, f->emin + 1 - f->precision),
                 most = fmax(2 * exact * (1 + 0x1p-21) / given, smallest);
    return (mp_quant_range){fmin(least / given * (1 - u) - smallest / 2, f->max_finite),
                            most * (1 + u) + smallest / 2};
}

bool mp_scale_fits(mp_quant_range may, double scale) {
    return isnan(may.low) || isnan(may.high) ? isnan(scale) : scale >= may.low && scale <= may.high;
}

/* Of n codes from `first` on. int8 has one code more below zero than above: both ends count. */
int64_t mp_saturated_codes(const mp_tensor *codes, int64_t first, int64_t n) {
    const double largest = mp_dtype_format(codes->dtype)->max_finite;
    double v[MP_ROW_PIECE];
    int64_t count = 0;
    for (int64_t k = 0; k < n; k += MP_ROW_PIECE) {
        const int64_t here = n - k < MP_ROW_PIECE ? n - k : MP_ROW_PIECE;
        mp_decode_row(codes->dtype, codes->data, first + k, here, v);
        for (int64_t i = 0; i < here; i++) count += fabs(v[i]) >= largest;
    }
    return count;
}

void mp_strangers_tell(const mp_stage_judge *s, const mp_strangers *of, const char *what) {
    const int quantiser = s->j->contract->quantiser;
    char where[MP_WHERE_TEXT_MAX];
    if (of->count == 0) return;
    mp_place_text(&s->where, of->first, what[0] == 'c' ? of->column : -1, where);
    mp_begins(s->j->v, s->first, s->stage, what);
    mp_check_fail(s->j->v, MP_CHECK_BOUND,
                  "%s: %s %lld is %.9g instead of %.9g .. %.9g; %lld are none that %s gives", where, what,
                  (long long)of->column, of->got, of->low, of->high, (long long)of->count,
                  quantiser == MP_ANY_QUANTISER ? "a quantiser" : mp_quantiser_name((mp_quantiser)quantiser));
}

/* Strangers are off by something, where nothing is allowed. */
void mp_strangers_count(const mp_stage_judge *s, int64_t strange) {
    if (strange == 0) return;
    s->j->v->stage[s->stage].failed += strange;
    s->j->v->stage[s->stage].max_ratio = (double)INFINITY;
}
