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
    int group, fraction_bits;  /* the model's; 8 or 16; 13 to 25 */
    int64_t groups;            /* k = groups * group */
    bool by_pairs;             /* two steps at a time begin at zero, and are added in float32 */
    const float *a;            /* [k] */
    const int32_t *a_exponent; /* [k]: the exponent field of a's bits, less one of 0 */
    const uint32_t *w;         /* [k/2, MP_TC_LANES] two bf16 each, the first in the lower half */
} mp_tc_lanes;

/* a's exponents of [k]. */
void mp_tc_lanes_exponents(int64_t k, const float *a, int32_t *exponents);

/* result: of each lane, from a zero accumulator; a zero is +0. certain: false where some step may have had a
 * nonzero product below what is computed here, which takes an operand that lies far below the largest one of
 * its row or column. */
void mp_tc_lanes_run(const mp_tc_lanes *lanes, float result[MP_TC_LANES], bool certain[MP_TC_LANES]);

#endif
