/* SPDX-License-Identifier: Apache-2.0 */
/* How experts are quantised: one row for each value of the case field `quant`, from which the tensors of a
 * case, their fill, truth, bounds, predictions and judges follow.
 *
 * A weight is (code - zero) * scale * global; what it multiplies is code * scale, or as it is where the
 * scheme quantises no activations. A block of weights shares a scale: rows and columns of the [n, k] of an
 * expert, counted from its first; the last blocks may be short. */
#ifndef MP_CASES_SCHEME_H
#define MP_CASES_SCHEME_H

#include "moeparity/graph.h"

enum { MP_WHOLE_AXIS = 0 }; /* of a block: all rows, or all columns */

/* Where scales meet the sum over k.
 *   AFTER     it is a sum of products of codes; all of it is scaled
 *   PER_TILE  a sum for each tile of k inside a group: scaled, then added in float32
 *   BEFORE    weights become numbers of the model's format, one rounding, and then are multiplied */
typedef enum mp_scales_enter { MP_SCALES_AFTER, MP_SCALES_PER_TILE, MP_SCALES_BEFORE } mp_scales_enter;

/* What an activation scale is of: all rows of a call, a row, a group of a row's columns. */
typedef enum mp_granularity { MP_PER_TENSOR, MP_PER_ROW, MP_PER_GROUP } mp_granularity;

typedef struct mp_scheme {
    const char *name;
    mp_dtype weight, weight_scale;
    int64_t block_rows, group; /* of a weight scale; group: columns, and those of an activation scale */
    mp_scales_enter enters;
    bool quantises_activations; /* the rest is of these alone */
    mp_dtype activation, activation_scale;
    mp_granularity granularity;
} mp_scheme;
extern const mp_scheme mp_schemes[MP_QUANT_COUNT];

static inline const mp_scheme *mp_scheme_of(const mp_case *c) {
    return &mp_schemes[c->quant];
}
/* Columns of k that share a scale: the case's group, or the scheme's own; MP_WHOLE_AXIS: all of them. */
int64_t mp_case_group(const mp_case *c);

/* What a GEMM of the case multiplies: codes, or numbers of the model's format. */
static inline mp_dtype mp_case_multiplied(const mp_case *c) {
    return c->quant && mp_scheme_of(c)->enters != MP_SCALES_BEFORE ? mp_scheme_of(c)->weight : c->dtype;
}

/* The tensor whose numbers this one scales; MP_TENSOR_COUNT: it is no scale. */
mp_tensor_id mp_scaled_tensor(mp_tensor_id scale);
/* Whether the case's tensor holds codes, which a scale makes numbers of. */
bool mp_tensor_has_codes(const mp_case *c, mp_tensor_id id);

/* Scales of an axis of `length` in blocks of `block`. */
static inline int64_t mp_blocks_of(int64_t length, int64_t block) {
    return block == MP_WHOLE_AXIS ? 1 : (length + block - 1) / block;
}

#endif
