/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/special_unit.h"

#include "ref/predict/float32_math.h"

#define FRACTION_BITS 23
#define FRACTION ((1u << FRACTION_BITS) - 1)
#define SMALLEST_NORMAL 0x1p-126f
#define LARGEST_INVERTED 0x1p126f /* the reciprocal of anything larger is subnormal */

/* No 2^(i/2^23) is nearer than 28 ulps of float64 to the middle of two float32, so that any exp2 rounds to
 * the right one. 1/x is a correctly rounded quotient. */
static uint32_t nearest(bool of_rcp, int i) {
    const double fraction = (double)i / MP_SPECIAL_UNIT_ENTRIES;
    return mp_float_bits(of_rcp ? 1.0f / (float)(1 + fraction) : (float)exp2(fraction));
}

int64_t mp_special_unit_ulps(bool of_rcp, int i, uint32_t bits) {
    return (int64_t)bits - (int64_t)nearest(of_rcp, i);
}

void mp_special_unit_expand(const int8_t *ex2_ulps, const int8_t *rcp_ulps, uint32_t *ex2, uint32_t *rcp) {
#pragma omp parallel for schedule(static)
    for (int i = 0; i < MP_SPECIAL_UNIT_ENTRIES; i++) {
        ex2[i] = (uint32_t)((int64_t)nearest(false, i) + ex2_ulps[i]);
        rcp[i] = (uint32_t)((int64_t)nearest(true, i) + rcp_ulps[i]);
    }
}

static float the_nan(void) {
    return mp_bits_float(0x7FFFFFFFu);
}

float mp_flush(float x) {
    return mp_absf(x) < SMALLEST_NORMAL ? mp_with_sign(0.0f, x) : x;
}

/* The product of two float32 is exact in float64. It is flushed if it is below 2^-126 once it is rounded to
 * 24 bits as if exponents had no end: what is off by at most half a step there, 2^-151, is not. */
float mp_mul_ftz(float a, float b) {
    const double product = (double)mp_flush(a) * (double)mp_flush(b), least = 0x1p-126 - 0x1p-151;
    return fabs(product) < least ? mp_with_sign(0.0f, (float)product) : (float)product;
}

/* A table's value with its exponent moved by e; what leaves the normal range is 0 or Inf. */
static float scaled(uint32_t bits, int e) {
    const int field = (int)(bits >> FRACTION_BITS) + e;
    if (field <= 0) return 0.0f;
    if (field >= 255) return mp_bits_float(0x7F800000u);
    return mp_bits_float((uint32_t)field << FRACTION_BITS | (bits & FRACTION));
}

/* MUFU.EX2: |x| in fixed point with 23 fraction bits, lower ones cut off. The fixed-point number of a
 * negative x is its one's complement, 1 too low, except where the fraction is zero. */
static float mufu_ex2(const mp_special_unit *unit, float x) {
    if (x != x) return the_nan();
    if (x >= 128.0f) return mp_bits_float(0x7F800000u);
    if (x <= -128.0f) return 0.0f;
    const int magnitude = (int)(mp_absf(x) * (float)(1 << FRACTION_BITS));
    const int sum = x >= 0 ? magnitude : magnitude & (int)FRACTION ? -magnitude - 1 : -magnitude;
    const int index = sum & (int)FRACTION;
    return scaled(unit->ex2[index], (sum - index) / (1 << FRACTION_BITS));
}

/* MUFU.RCP: the table's value for the mantissa. A subnormal counts as zero, and is one as a result. */
static float mufu_rcp(const mp_special_unit *unit, float x) {
    const uint32_t bits = mp_float_bits(x);
    const int field = (int)(bits >> FRACTION_BITS & 0xFF);
    if (x != x) return the_nan();
    if (field == 0) return mp_with_sign(mp_bits_float(0x7F800000u), x);
    if (field == 255) return mp_with_sign(0.0f, x);
    return mp_with_sign(scaled(unit->rcp[bits & FRACTION], 127 - field), x);
}

float mp_ex2_approx_ftz(const mp_special_unit *unit, float x) {
    return mufu_ex2(unit, x);
}

float mp_ex2_approx(const mp_special_unit *unit, float x) {
    if (!(x < -126.0f)) return mufu_ex2(unit, x);
    const float root = mufu_ex2(unit, x * 0.5f);
    return root * root;
}

float mp_rcp_approx_ftz(const mp_special_unit *unit, float x) {
    return mufu_rcp(unit, x);
}

float mp_rcp_approx(const mp_special_unit *unit, float x) {
    const float scale = mp_absf(x) > LARGEST_INVERTED ? 0.25f : mp_absf(x) < SMALLEST_NORMAL ? 0x1p24f : 1.0f;
    return scale * mufu_rcp(unit, x * scale);
}

float mp_div_approx_ftz(const mp_special_unit *unit, float a, float b) {
    return mp_mul_ftz(a, mufu_rcp(unit, b));
}

float mp_div_approx(const mp_special_unit *unit, float a, float b) {
    const float scale = mp_absf(b) < SMALLEST_NORMAL ? 0x1p24f : 1.0f;
    return mufu_rcp(unit, b * scale) * (a * scale);
}

float mp_div_full_ftz(const mp_special_unit *unit, float a, float b) {
    const float scale = mp_absf(b) > LARGEST_INVERTED ? 0.25f : 1.0f;
    return mp_mul_ftz(mufu_rcp(unit, mp_mul_ftz(b, scale)), mp_mul_ftz(a, scale));
}

float mp_div_full(const mp_special_unit *unit, float a, float b) {
    const float scale = mp_absf(b) > LARGEST_INVERTED ? 0.25f : mp_absf(b) < SMALLEST_NORMAL ? 0x1p24f : 1.0f;
    return mufu_rcp(unit, b * scale) * (a * scale);
}
