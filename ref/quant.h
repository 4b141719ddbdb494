/* SPDX-License-Identifier: Apache-2.0 */
/* Stages quant_x and quant_act: x [M,K], or cache2 [rows,N], becomes codes of the same shape, and scales that
 * are made of a group of a row's columns, of a row, or of all rows, unless they are given. How a quantiser
 * computes them is told in ref/quantise.h.
 *
 * Rows of filtered slots are neither read nor written; of x all rows are quantised, those of tokens that go
 * nowhere too. */
#ifndef MP_REF_QUANT_H
#define MP_REF_QUANT_H

#include "cases/scheme.h"
#include "ref/pipeline.h"
#include "ref/quantise.h"

/* What is quantised, on the tensors of a call. */
typedef struct mp_quant_pass {
    const mp_tensor *from, *codes;
    const mp_tensor *scale;  /* those that are made, or NULL */
    int64_t rows;            /* tokens, or slots */
    const int64_t *row;      /* [rows] where each lies, -1: nowhere; NULL: the row itself */
    const int32_t *topk_ids; /* [rows] -1: filtered; NULL: none is */
    mp_granularity per;
    int64_t group;     /* columns that share a scale; the last may be fewer */
    mp_quantisation q; /* its given scale is that of the call */
} mp_quant_pass;
/* quantiser: whose arithmetic it is. */
mp_quant_pass mp_quant_pass_of(const mp_stage_call *call, mp_stage stage, mp_quantiser quantiser);

/* Where row r lies, -1: it is filtered, or nowhere. */
static inline int64_t mp_quant_row(const mp_quant_pass *p, int64_t r) {
    if (p->topk_ids && p->topk_ids[r] < 0) return -1;
    return p->row ? p->row[r] : r;
}

/* Numbers that share a scale: columns first .. first+n of a row, and where their scale lies; of MP_PER_TENSOR
 * one of the parts of all. Visited from several threads at once, but each row in one. */
typedef struct mp_quant_span {
    int64_t r, row, first, n, scale_at;
    const float *x;            /* [n] */
    const mp_quant_unit *unit; /* of all that share the scale */
} mp_quant_span;
typedef void mp_quant_visit(void *ctx, const mp_quant_pass *p, const mp_quant_span *span);
mp_status mp_quant_for_each(const mp_quant_pass *p, mp_quant_visit *visit, void *ctx, mp_error *err);
/* Those of a row that lies somewhere. all: of MP_PER_TENSOR what mp_quant_unit_of_all has; x: room for a row.
 */
void mp_quant_for_row(const mp_quant_pass *p, const mp_quant_unit *all, int64_t r, float *x,
                      mp_quant_visit *visit, void *ctx);
mp_quant_unit mp_quant_unit_of_all(const mp_quant_pass *p); /* empty of others */
/* Groups of a row that share a scale. */
static inline int64_t mp_quant_groups(const mp_quant_pass *p) {
    return mp_blocks_of(mp_tensor_row_length(p->from), p->group);
}

/* Where the scale of a group lies, of a row that lies there. */
static inline int64_t mp_quant_scale_at(const mp_quant_pass *p, int64_t row, int64_t group) {
    return p->per == MP_PER_TENSOR ? 0 : row * mp_quant_groups(p) + group;
}
/* Of what was seen of groups [rows, groups of a row]: where all share a scale each has what all have. */
void mp_quant_share(const mp_quant_pass *p, mp_quant_seen *seen);

/* Where the rows of a pass lie, [rows], as mp_quant_row; freed by the caller. MP_EMEMORY. */
mp_status mp_quant_places(const mp_quant_pass *p, int64_t **places, mp_error *err);
/* Rows from `first` on, so many that what is kept of their groups stays small; all where they share a scale.
 * Its rows are those of the places, which it points into. */
mp_quant_pass mp_quant_part(const mp_quant_pass *p, const int64_t *places, int64_t first);

/* Stored codes that an engine is to measure by itself: in the order of rows, [rows, groups of a row]. Of each
 * row what measured.h says of its codes, of which `passed` are plain, of a plain group, the code that its
 * factor gives, and within their bound; of a row that lies nowhere none. */
typedef struct mp_quant_screen {
    const mp_quant_pass *pass;
    const mp_quant_stored_group *groups;
    mp_quant_codes_rule rule;
} mp_quant_screen;
/* Stores the scale that was made of a span. */
void mp_quant_store_scale(const mp_quant_pass *p, const mp_quant_span *span, double scale);

/* Stored codes that are predicted to the bit, by one of our own quantisers. */
typedef struct mp_quant_bits {
    const mp_quant_pass *pass; /* its codes are those that were stored */
    const float *factors;      /* [rows, groups of a row] that values meet before they become codes */
    int how;                   /* they do: an MP_CODES_ number */
} mp_quant_bits;

/* What a code of the span is multiplied by, for the stored scale. */
static inline double mp_quant_step_of(const mp_quant_pass *p, double scale) {
    return p->scale && p->q.quantiser == MP_QUANT_NVFP4 ? scale * (double)p->q.given : scale;
}

#endif
