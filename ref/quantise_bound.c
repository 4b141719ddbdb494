/* SPDX-License-Identifier: Apache-2.0 */
/* How far a code may be from its value.
 *
 * Let s be the step, f the factor (what a quotient is by has the factor 1/divisor), v the number that is
 * rounded to a code c (without zero point), and L the last code to that side. Then
 *   |x - c*s| <= |x - x*f*s| + |x*f - v|*s + |v - c|*s.
 *   1. x*f*s differs from x by |x| * |1 - f*s|, which is largest at an end of the range of f.
 *   2. v is x*f rounded: k half ulps of the format it is computed in, at the largest |x*f|; k is 1, or for an
 *      operation that is known to 2 ulp 5 (4, and 1 for the binade into which it may have been carried). With
 *      flush to zero all of a subnormal number, 2^-126, may be lost.
 *   3. c is next to v where |v| <= |L|: it is off by at most half the distance of codes around v, which grows
 *      with |v|, and by all of it where it is cut. Beyond, c = L and the distance is |v| - |L|: the
 *      larger of h(min(|v|, |L|)) and |v| - |L| holds in both ranges.
 * With a zero point z the codes are integers and c + z is what saturates: L is then 127 - z upwards and
 * -128 - z downwards. The steps are evaluated in float64; 2^-40 of the whole covers that. */
#include "ref/bounds.h"
#include "ref/quantise_rules.h"

#include <math.h>

/* The last code to the side of v, as a distance from 0; with a zero point 0 itself may be beyond it. */
static double last_code(mp_dtype codes, int32_t zero, bool negative) {
    const double largest = mp_dtype_format(codes)->max_finite;
    if (!mp_dtype_is_integer(codes)) return largest;
    return negative ? largest + 1 + zero : largest - zero;
}

/* Half the distance of codes around a number: of integers the same everywhere. */
static mp_places places_of_codes(mp_dtype codes) {
    return mp_dtype_is_integer(codes) ? (mp_places){.smallest = 1, .unit = 0.5, .most = 1}
                                      : mp_places_of(codes);
}

mp_quant_spread mp_quant_spread_of(const mp_quantisation *q, mp_quant_range factor, double step,
                                   int32_t zero) {
    const mp_quant_rule *rule = &mp_quant_rules[q->quantiser];
    const mp_dtype codes = mp_quantiser_codes(q->quantiser);
    const bool over = rule->step == MP_STEP_OVER || rule->step == MP_STEP_OVER_ROUGH ||
                      rule->step == MP_STEP_OVER_INPUT,
               narrow = rule->step == MP_STEP_TIMES_INPUT || rule->step == MP_STEP_OVER_INPUT;
    mp_quant_spread s = {.unbounded = !isfinite(step),
                         .step = step,
                         .last = {last_code(codes, zero, false), last_code(codes, zero, true)},
                         .halves = rule->step == MP_STEP_OVER_ROUGH ? 5 : 1,
                         .halves_of_code = rule->rounding == MP_ROUND_CUT ? 2 : 1,
                         .computed = mp_places_of(narrow ? q->input : MP_FP32),
                         .codes = places_of_codes(codes)};
    double f[2] = {factor.low, factor.high};
    for (int end = 0; end < 2 && step != 0; end++) {
        if (narrow) f[end] = mp_round_to(q->input, f[end]);
        if (over) f[end] = 1 / f[end];
        s.unbounded = s.unbounded || !isfinite(f[end]);
    }
    s.most = fmax(f[0], f[1]);
    s.off = fmax(fabs(1 - f[0] * step), fabs(1 - f[1] * step));
    return s;
}

double mp_quant_error(const mp_quantisation *q, mp_quant_range factor, double step, int32_t zero, double x) {
    const mp_quant_spread s = mp_quant_spread_of(q, factor, step, zero);
    return mp_quant_spread_at(&s, x);
}
