/* SPDX-License-Identifier: Apache-2.0 */
/* Single dot products with the bits of a tensor core: of one row by sixteen columns, a vector across the
 * columns. What brackets leave open (ref/predict/tensorcore_bracket.h). */
#ifndef MP_REF_TENSORCORE_LANES_H
#define MP_REF_TENSORCORE_LANES_H

#include "moeparity/dtype.h"

#include <stdint.h>

enum { MP_TC_LANES = 16 };

/* Terms behind the last are zeros, of a and of w. The largest exponents of a and of a column are from -16 to
 * 16 each. */
typedef struct mp_tc_lanes {
    bool fp16;                /* what w is; else bf16 */
    int group, fraction_bits; /* the model's; 8 or 16; 13 to 25 */
    int64_t groups;           /* k = groups * group */
    bool by_pairs;            /* two steps at a time begin at zero, and are added in float32 */
    const float *a;           /* [k] */
    const int32_t *exponent;  /* [k] of a, each twice */
    const int32_t *hidden;    /* [groups]: exponents of products that are not seen, at most */
    const uint16_t *w;        /* [k, MP_TC_LANES] codes */
} mp_tc_lanes;

/* exponent and hidden, of a. */
void mp_tc_lanes_prepare(bool fp16, int group, int64_t k, const float *a, int32_t *exponent, int32_t *hidden);

/* result: of each lane, from a zero accumulator; a zero is +0. Returns a bit for each lane that is certain:
 * in the others the largest product of some step may not have been seen. Of bf16 that takes an operand far
 * below the largest one of its row or column; of fp16 a w that is zero or subnormal. */
typedef unsigned mp_tc_run_lanes(const mp_tc_lanes *lanes, float result[MP_TC_LANES]);

#endif
