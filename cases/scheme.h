/* SPDX-License-Identifier: Apache-2.0 */
/* How experts are quantised: one row for each value of the case field `quant`, from which the tensors of a
 * case, their fill, truth, bounds, predictions and judges follow.
 *
 * A weight is (code - zero) * scale * global scale; what it multiplies is a number of the model, or
 * code * scale * given scale where the scheme quantises activations. Weights of a block share scale and zero:
 * so many rows and columns of the [n, k] of an expert, counted from its first; the last may be short. */
#ifndef MP_CASES_SCHEME_H
#define MP_CASES_SCHEME_H

#include "moeparity/graph.h"
#include "moeparity/quantiser.h"

enum { MP_WHOLE_AXIS = 0 };        /* of a block: all rows, or all columns */
#define MP_OF_MODEL MP_DTYPE_COUNT /* of a format: the case's dtype */

/* Where scales meet the sum over k.
 *   AFTER     it is a sum of products of codes; all of it is scaled
 *   PER_TILE  a sum for each tile of k inside a group: scaled, then added in float32
 *   BEFORE    codes become numbers of the model's format, rounded to float32 and then to it, and these are
 *             multiplied */
typedef enum mp_scales_enter { MP_SCALES_AFTER, MP_SCALES_PER_TILE, MP_SCALES_BEFORE } mp_scales_enter;

/* What an activation scale is of: all rows of a call, a row, a group of a row's columns. */
typedef enum mp_granularity { MP_PER_ROW, MP_PER_GROUP, MP_PER_TENSOR } mp_granularity;

typedef struct mp_scheme {
    const char *name;
    mp_dtype weight, weight_scale;
    int64_t block_rows,
        group; /* of weight scales; group: columns, and those of activation scales per group */
    mp_scales_enter enters;
    int zero;    /* of all weights; where zeros is set, that which theirs are around */
    bool zeros;  /* each block has one: uint8, of packed codes in pairs of rows, the even one in the low
                      nibble */
    bool global; /* an expert has an fp32 scale too: of w1 one for gate and one for up */
    bool quantises_activations; /* the rest is of these alone */
    mp_quantiser quantiser;     /* our own */
    mp_granularity granularity;
    bool made;  /* scales are made of the numbers, and are no input */
    bool given; /* there is one fp32 scale that is given: all of it, or on top of those that are made */
} mp_scheme;
extern const mp_scheme mp_schemes[MP_SCHEME_COUNT];

static inline const mp_scheme *mp_scheme_of(const mp_case *c) {
    return &mp_schemes[c->quant];
}
/* Columns of k that share a scale: the case's group, or the scheme's own; MP_WHOLE_AXIS: all of them. */
int64_t mp_case_group(const mp_case *c);
/* Terms of a sum over `length` of k that share scales, where the sum of their codes is scaled; 0: scales
 * enter before, or there are none. */
int64_t mp_case_scaled_terms(const mp_case *c, int64_t length);
/* What a GEMM of the case multiplies: codes, or numbers of the model's format. */
mp_dtype mp_case_multiplied(const mp_case *c);

/* Whether a matrix unit can take the codes with the scales of their blocks: e4m3 or e2m1 with ue8m0 of whole
 * blocks of 32 terms on both sides, or e2m1 with e4m3 of whole blocks of 16. */
bool mp_case_fits_block_scaled(const mp_case *c);

/* Format and shape of a tensor of quantised cases; cache_rows: of cache2. Rank 0: the case has none. */
mp_dtype mp_scheme_dtype(const mp_case *c, mp_tensor_id id);
mp_tensor mp_scheme_shape(const mp_case *c, mp_tensor_id id, int64_t cache_rows);

/* Whether it is a tensor of scales with rows and columns, which lie as the case's scale_layout says. */
static inline bool mp_is_matrix_of_scales(mp_tensor_id id) {
    return id == MP_W1_SCALE || id == MP_W2_SCALE || id == MP_X_SCALE || id == MP_CACHE2_SCALE;
}

/* The tensor of codes that a scale or zero is of; MP_TENSOR_COUNT: it is none. */
mp_tensor_id mp_scaled_tensor(mp_tensor_id scale);
/* Whether the case's tensor holds codes, which a scale makes numbers of. */
bool mp_tensor_has_codes(const mp_case *c, mp_tensor_id id);

/* Whether all rows of a call are quantised by a scale that is made of them. */
static inline bool mp_codes_share_a_scale(const mp_case *c) {
    return mp_scheme_of(c)->made && mp_scheme_of(c)->granularity == MP_PER_TENSOR;
}

/* The scale of the codes that quant_x or quant_act makes, of the tensors of a call: that which is made, or
 * the one that is given. */
static inline const mp_tensor *mp_codes_scale(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT],
                                              mp_stage stage) {
    const bool x = stage == MP_QUANT_X, shared = mp_scheme_of(c)->granularity == MP_PER_TENSOR;
    if (!mp_scheme_of(c)->made) return &t[x ? MP_X_GIVEN_SCALE : MP_CACHE2_GIVEN_SCALE];
    return shared ? &t[x ? MP_X_TENSOR_SCALE : MP_CACHE2_TENSOR_SCALE] : &t[x ? MP_X_SCALE : MP_CACHE2_SCALE];
}

/* Scales of an axis of `length` in blocks of `block`. */
static inline int64_t mp_blocks_of(int64_t length, int64_t block) {
    return block == MP_WHOLE_AXIS ? 1 : (length + block - 1) / block;
}

#endif
