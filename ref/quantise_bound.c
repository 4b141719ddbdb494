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
#include "ref/quantise_rules.h"

#include <float.h>
#include <math.h>

static double spacing(mp_dtype codes, mp_quant_rounding rounding, double v) {
    return mp_half_ulp(codes, v) * (rounding == MP_ROUND_CUT ? 2 : 1);
}

/* The last code to the side of v, as a distance from 0; with a zero point 0 itself may be beyond it. */
static double last_code(mp_dtype codes, int32_t zero, bool negative) {
    const double largest = mp_dtype_format(codes)->max_finite;
    if (!mp_dtype_is_integer(codes)) return largest;
    return negative ? largest + 1 + zero : largest - zero;
}

double mp_quant_error(const mp_quantisation *q, mp_quant_range factor, double step, int32_t zero, double x) {
    const mp_quant_rule *rule = &mp_quant_rules[q->quantiser];
    const mp_dtype codes = mp_quantiser_codes(q->quantiser);
    const bool over = rule->step == MP_STEP_OVER || rule->step == MP_STEP_OVER_ROUGH ||
                      rule->step == MP_STEP_OVER_INPUT,
               narrow = rule->step == MP_STEP_TIMES_INPUT || rule->step == MP_STEP_OVER_INPUT;
    if (!isfinite(x) || !isfinite(step)) return INFINITY;
    if (step == 0) return fabs(x); /* whatever the code */
    double f[2] = {factor.low, factor.high};
    for (int end = 0; end < 2; end++) {
        if (narrow) f[end] = mp_round_to(q->input, f[end]);
        if (over) f[end] = 1 / f[end];
        if (!isfinite(f[end])) return INFINITY;
    }
    const double a = fabs(x), reach = a * fmax(f[0], f[1]),
                 off = a * fmax(fabs(1 - f[0] * step), fabs(1 - f[1] * step));
    const int halves = rule->step == MP_STEP_OVER_ROUGH ? 5 : 1;
    const double computed = halves * mp_half_ulp(narrow ? q->input : MP_FP32, reach) + FLT_MIN;
    const double v = reach + computed, last = last_code(codes, zero, x < 0);
    const double rounded = fmax(spacing(codes, rule->rounding, fmin(v, fmax(last, 0))), v - last);
    return (off + step * (computed + rounded)) * (1 + 0x1p-40);
}
