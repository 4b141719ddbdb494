/* SPDX-License-Identifier: Apache-2.0 */
/* tanh.approx.f32 of an sm_90, bit for bit: one instruction of the special-function unit, MUFU.TANH in SASS.
 *
 * Below 2^-8 the result is x, subnormals included, and from 8 on it is 1. Between, a binade is cut into 1 to
 * 16 segments by the leading bits of the mantissa; of the bits behind them 17 are looked at, d, the rest is
 * ignored. The result is start + slope d - bend d^2, cut to 24 bits, with a square that is too small: of its
 * partial products those below 2^19 are left out. The numbers of 51 segments were found from what an H100
 * gave for every float32, and give all of it again. */
#ifndef MP_PREDICT_SPECIAL_UNIT_TANH_H
#define MP_PREDICT_SPECIAL_UNIT_TANH_H

/* No result is further off, in ulps of the exact value, 2^-16.4 of it: tests/test_special_unit_tanh.c
 * measures. The PTX ISA promises 2^-11 of it on any architecture. */
#define MP_TANH_APPROX_ULPS 135

/* An odd function; a NaN is 7FFFFFFF. */
float mp_tanh_approx(float x);

#endif
