/* SPDX-License-Identifier: Apache-2.0 */
/* The special-function unit of an sm_90 and the PTX instructions that are made of it, bit for bit.
 *
 * The unit knows two of the functions needed here, MUFU.EX2 and MUFU.RCP in SASS; both are functions of 23
 * bits, so that their tables say all. The tables hold by how many ulps an entry differs from the correctly
 * rounded value: -1, 0 or 1. What PTX adds around the unit (scaling out of the subnormal range, the last
 * product) is float32 arithmetic, read off the SASS that ptxas 13.0 makes for sm_90.
 *
 * Every function here is exact: its result has the bits of the device's, subnormals included. A NaN is
 * 7FFFFFFF where the unit makes it, and of any payload where a product makes it. */
#ifndef MP_PREDICT_SPECIAL_UNIT_H
#define MP_PREDICT_SPECIAL_UNIT_H

#include <stdbool.h>
#include <stdint.h>

enum { MP_SPECIAL_UNIT_ENTRIES = 1 << 23 };

/* Largest errors, in ulps of the exact value. ex2: NVIDIA's figure (PTX ISA, "ex2"); the table alone is
 * within 1.4, and what is cut off x adds to it. rcp: no entry of its table is further off; a quotient
 * a * rcp(b) rounds once more, and is within 2 * 0.975 + 1/2, since an ulp of a reciprocal may be two of the
 * quotient. tests/test_special_unit.c looks at every entry. */
#define MP_EX2_ULPS 2.0
#define MP_RCP_ULPS 0.975
#define MP_DIV_APPROX_ULPS 2.45

/* Float32 bits, MP_SPECIAL_UNIT_ENTRIES each: of 2^(i/2^23), in [1,2), and of 1/(1 + i/2^23), in [1/2,1]. */
typedef struct mp_special_unit {
    const uint32_t *ex2, *rcp;
} mp_special_unit;

/* The tables from what they differ by from the correctly rounded values, in ulps; ex2 and rcp hold
 * MP_SPECIAL_UNIT_ENTRIES each, as the arguments do. */
void mp_special_unit_expand(const int8_t *ex2_ulps, const int8_t *rcp_ulps, uint32_t *ex2, uint32_t *rcp);

/* The inverse: entry i of a table that is ex2's or rcp's, as a difference to the correctly rounded value. */
int64_t mp_special_unit_ulps(bool of_rcp, int i, uint32_t bits);

/* What .ftz does to an operand: a subnormal becomes a zero of its sign. */
float mp_flush(float x);
/* mul.ftz.f32. A product is flushed for what it is after a rounding to 24 bits as if exponents had no end:
 * one further than 2^-151 below 2^-126, although it would round to 2^-126. */
float mp_mul_ftz(float a, float b);

/* ex2.approx.f32 of PTX, and .ftz. Below 2^-126 .ftz gives 0; the other halves its argument below -126, and
 * squares the result. */
float mp_ex2_approx(const mp_special_unit *unit, float x);
float mp_ex2_approx_ftz(const mp_special_unit *unit, float x);
/* rcp.approx.f32, and .ftz, for which subnormals are zeros: 1/x is Inf of one, and 0 where |x| > 2^126. */
float mp_rcp_approx(const mp_special_unit *unit, float x);
float mp_rcp_approx_ftz(const mp_special_unit *unit, float x);
/* a/b. div.approx.f32 is a * (1/b) by the unit, and so 0 where |b| > 2^126 (NaN where a is Inf);
 * __fdividef and `/` of --use_fast_math are div.approx.ftz. div.full.f32, Triton's `/`, scales both there. */
float mp_div_approx(const mp_special_unit *unit, float a, float b);
float mp_div_approx_ftz(const mp_special_unit *unit, float a, float b);
float mp_div_full(const mp_special_unit *unit, float a, float b);
float mp_div_full_ftz(const mp_special_unit *unit, float a, float b);

#endif
