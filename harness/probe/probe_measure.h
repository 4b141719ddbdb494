/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring the arithmetic of a matrix instruction through nothing but its results.
 *
 * Every parameter is read off designed vectors: sums of a few powers of two (times 1 or 1.5) whose result
 * says whether one term survived. The arithmetic is a function to call, so the same procedure measures a GPU
 * and the scalar model, and its answers can be compared field by field. Method: Fasi, Higham, Mikaitis,
 * Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 2021; the vectors are our own.
 */
#ifndef MP_HARNESS_PROBE_MEASURE_H
#define MP_HARNESS_PROBE_MEASURE_H

#include "moeparity/dtype.h"
#include "moeparity/status.h"

#include <stdbool.h>
#include <stdint.h>

#define MP_PROBE_DEPTH_MAX 32 /* k of one instruction */

/* d[v] = a[v] . b[v] + c[v]: `steps` instructions chained. a, b: [count, steps * depth] codes; c, d: [count]
 * bits. */
typedef mp_status mp_dot_function(void *context, int steps, const uint32_t *a, const uint32_t *b,
                                  const uint32_t *c, int64_t count, uint32_t *d, mp_error *err);

/* An arithmetic to measure. Operand codes are those of `operand`; tf32 is MP_FP32 of 11 significand bits. */
typedef struct mp_dot {
    mp_dot_function *evaluate;
    void *context;
    mp_dtype operand, result; /* result: MP_FP32 or MP_FP16 */
    int precision;            /* significand bits of an operand, hidden bit included */
    int depth;
} mp_dot;

typedef enum mp_rounding_kind {
    MP_ROUND_UNSEEN, /* no vector of this type can show it */
    MP_TO_ZERO,
    MP_TO_NEAREST_EVEN,
    MP_TO_NEAREST_AWAY,
    MP_TO_MINUS_INF,
    MP_TO_PLUS_INF,
    MP_ROUND_OTHER
} mp_rounding_kind;
const char *mp_rounding_kind_name(mp_rounding_kind kind);

typedef enum mp_seen { MP_UNSEEN, MP_NO, MP_YES } mp_seen;
const char *mp_seen_name(mp_seen seen); /* "not observable", "no", "yes" */

/* Counts are -1 and bits 0 where a group of one term leaves nothing to measure. */
typedef struct mp_measurement {
    int depth;
    int rank[MP_PROBE_DEPTH_MAX]; /* of each k: the number of terms that are summed in groups before its own
                                   */
    int group;                    /* L: terms of the first group */
    bool ascending;               /* groups are runs of L in ascending k */
    mp_seen c_fused;              /* c is a term of the first group, else added by itself at the end */
    int fraction_bits;            /* F: a term is kept down to 2^-F of the largest */
    mp_rounding_kind alignment;   /* what becomes of the bits below */
    int result_bits;           /* fraction bits of the result; the format's own when no vector shows fewer */
    mp_rounding_kind rounding; /* of the result */
    int e_zero;                /* exponent that a zero term takes part with */
    bool e_zero_exact;         /* else e_zero is an upper bound: lower ones give the same results */
    mp_seen hidden_bits;       /* a second instruction sees more of the first one's sum than its result */
    mp_seen subnormal_operands, subnormal_results; /* kept, not flushed */
    uint32_t zero[3]; /* results: all products and c are -0; 1 - 1; a negative sum that underflows (0 when the
                         type has none) */
    uint32_t nan[4];  /* results: NaN operand; 0 * Inf (the first where the type has no Inf); Inf - Inf
                         (likewise); c a NaN of other bits */
} mp_measurement;

mp_status mp_measure_dot(const mp_dot *dot, mp_measurement *m, mp_error *err);
/* True when both say the same; else *field names the first that differs. Unseen fields are compared too: the
 * same procedure must fail to see the same. */
bool mp_measurement_equal(const mp_measurement *a, const mp_measurement *b, const char **field);
/* "L=16 ascending, F=25 (to zero), result 23 bits (to zero), e_zero=-133, ..." */
void mp_measurement_text(const mp_measurement *m, char *text, size_t size);

#endif
