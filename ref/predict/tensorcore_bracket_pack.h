/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the brackets (ref/predict/tensorcore_bracket.h): operands as numbers of float32, with what the
 * radius of their sums needs to know. */
#ifndef MP_PREDICT_TENSORCORE_BRACKET_PACK_H
#define MP_PREDICT_TENSORCORE_BRACKET_PACK_H

#include "moeparity/tensor.h"
#include "ref/predict/tensorcore.h"
#include "ref/predict/tensorcore_kernels.h"

/* Rows are filled up with zeros to a multiple of TERMS, which have an order of their own where k is
 * permuted. */
enum { MP_TC_BRACKET_TERMS = MP_TC_MAX_GROUP };

/* How codes of the operands are multiplied: as fp16, or as bf16, which e4m3 is as well, in the order of the
 * steps. */
typedef struct mp_tc_bracket_form {
    mp_tc_model step; /* DIRECT, of this format */
    mp_dtype dtype;   /* MP_BF16 or MP_FP16 */
    bool by_pairs;    /* two steps at a time begin at zero, and are added in float32 */
    bool copied;      /* rows of codes are copied: reordered, and e4m3 converted */
    bool from_e4m3;
    int64_t K, k;                       /* the operands'; filled up */
    int64_t part;                       /* terms of a part of k; the last may have fewer */
    int chain;                          /* terms of a float32 chain */
    float weight[MP_TC_BRACKET_TERMS];  /* of a term's square in a norm */
    float of_sizes, of_least, of_norms; /* the radius' coefficients; of_least for every step */
} mp_tc_bracket_form;

/* Of the model, sums in parts of so many terms, or 0: k is one; stored as `out`. */
mp_tc_bracket_form mp_tc_bracket_form_of(const mp_tc_model *model, int64_t part_terms, int64_t K,
                                         mp_dtype out);

static inline int64_t mp_tc_bracket_parts(const mp_tc_bracket_form *f) {
    return (f->k + f->part - 1) / f->part;
}

/* A row of a or a column of w: its codes, `terms` of them; the power of two of its largest number, or 0;
 * whether there is a number that lanes may not see (ref/predict/tensorcore_lanes.h). */
typedef struct mp_tc_bracket_side {
    const uint16_t *codes;
    float power;
    bool small;
} mp_tc_bracket_side;

/* Codes of a side; behind them there are zeros. */
static inline int64_t mp_tc_bracket_terms(const mp_tc_bracket_form *f) {
    return f->copied ? f->k : f->K;
}

/* Where sides of a panel go, and what is known of them. */
typedef struct mp_tc_bracket_panel {
    int width;      /* MP_TC_BRACKET_ROWS or MP_TC_BRACKET_COLUMNS */
    float *numbers; /* [k, width] */
    float *norms;   /* [parts, width], from a part to the next: */
    int64_t norms_stride;
    uint16_t *copies;          /* [width, k], for forms that are copied */
    mp_tc_bracket_side *sides; /* [width] */
} mp_tc_bracket_panel;

/* `count` rows of codes, of at least one; sides behind them are those of the last. False: some side is not
 * ordinary, but has Inf, NaN or a largest exponent beyond +-16. */
bool mp_tc_bracket_pack(const mp_tc_bracket_form *form, const mp_tensor *codes, const int64_t *row,
                        int64_t count, const mp_tc_bracket_panel *panel);

/* exponents [k, MP_TC_BRACKET_COLUMNS] (ref/predict/tensorcore_pairs.h), the first `width` of each term, of a
 * panel's numbers. */
void mp_tc_bracket_exponents(const mp_tc_bracket_form *form, int width, const float *numbers,
                             int8_t *exponents);

/* numbers [k] of a side, zeros behind the last. */
void mp_tc_bracket_numbers(const mp_tc_bracket_form *form, const uint16_t *codes, float *numbers);

/* lanes [k, MP_TC_LANES]: codes of as many columns (ref/predict/tensorcore_lanes.h). */
void mp_tc_bracket_fill_lanes(const mp_tc_bracket_form *form, const uint16_t *const codes[], uint16_t *lanes);

#endif
