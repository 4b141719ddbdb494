/* SPDX-License-Identifier: Apache-2.0 */
/* Random vectors for a matrix instruction, and their results against the scalar model. */
#ifndef MP_HARNESS_PROBE_RANDOM_H
#define MP_HARNESS_PROBE_RANDOM_H

#include "harness/probe/probe_measure.h"

typedef enum mp_probe_mode {
    MP_PROBE_MODERATE, /* exponents near 0: every bit of every term matters */
    MP_PROBE_CODES,    /* uniformly random codes, NaN and Inf among them */
    MP_PROBE_SPECIAL,  /* zeros, subnormals, terms that cancel; Inf and NaN in a quarter of the vectors */
    MP_PROBE_MODE_COUNT
} mp_probe_mode;
const char *mp_probe_mode_name(mp_probe_mode mode); /* "moderate", "codes", "special" */

/* Vector `index` of a mode: dot->depth codes each, and c. The same for a seed whatever else is drawn. s8
 * operands (MP_I32) are uniform in every mode. */
void mp_probe_random_vector(const mp_dot *dot, mp_probe_mode mode, int64_t seed, int64_t index, uint32_t *a,
                            uint32_t *b, uint32_t *c);

typedef struct mp_probe_mismatches {
    int64_t vectors, mismatches;
    char first[1024]; /* the first one in hexadecimal, with both results; "" when there is none */
} mp_probe_mismatches;

/* Both arithmetics on `count` vectors; results must agree in every bit. */
mp_status mp_probe_compare(const mp_dot *device, const mp_dot *model, mp_probe_mode mode, int64_t seed,
                           int64_t count, mp_probe_mismatches *result, mp_error *err);

/* "a=3F80,BF80 b=3F80x2 c=00000000": lists as in harness/probe/probe_vectors.h. */
void mp_probe_vector_text(const mp_dot *dot, const uint32_t *a, const uint32_t *b, uint32_t c, char *text,
                          size_t size);

#endif
