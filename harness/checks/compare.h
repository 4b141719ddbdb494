/* SPDX-License-Identifier: Apache-2.0 */
/* Bitwise comparison of traces, slot by slot, whatever their layouts. */
#ifndef MP_HARNESS_COMPARE_H
#define MP_HARNESS_COMPARE_H

#include "harness/judge/where.h"
#include "moeparity/contract.h"
#include "moeparity/inputs.h"
#include "moeparity/trace.h"
#include "moeparity/verdict.h"

/* One side: a trace of a case, and which of its tokens are compared (NULL: all, in order). */
typedef struct mp_side {
    const mp_case *c;
    const mp_contract *contract; /* what rows of filtered slots hold */
    const mp_trace *trace;
    const int64_t *token;
} mp_side;

/* What a comparison found. */
typedef struct mp_comparison {
    bool bits_equal;
    bool undecided; /* digests of rows differ, and a side has not got the numbers: nothing else is filled */
    int64_t compared, differing;
    int64_t rows_alone; /* of `differing`: rows of which digests alone are left, each counted as an element */
    int64_t rows_open;  /* not among `compared`: rows that may differ in signs of zeros alone */
    double max_abs;     /* NaN-sticky; of the tensors with numbers */
    mp_stage stage;     /* of the first difference: where it begins */
    char first[MP_DIFFERENCE_TEXT_MAX], pattern[MP_WHERE_TEXT_MAX]; /* "" when equal */
    /* Given by the caller, or NULL: [tokens], where each token that differs is marked with 1. */
    unsigned char *differs;
    /* Given by the caller, or NULL: of whose stages the figures of predicted bits become those of this
     * comparison, and whose pictures get its steps. */
    mp_verdict *stages;
    mp_tensor_set left_out; /* given by the caller: these are not compared */
    bool numbers_gone;      /* given by the caller: no more numbers than there are can be had */
} mp_comparison;

/* Whether a side has the tensor, or digests of its rows. */
bool mp_trace_shows(const mp_trace *trace, mp_tensor_id id);

/* Compares what both sides have of every tensor, slot by slot or token by token, for `tokens` tokens; rows of
 * filtered slots where the contract says that they are zeros. With `align` also the tensors that have a row a
 * chunk (same case on both sides). ids are the topk_ids of the tokens compared, in side a's order of
 * comparison [tokens, topk]. Fills *found, which starts zeroed but for what the caller gives. Two NaN of
 * different bits differ. Rows whose digests are equal are equal; where these differ the numbers must be
 * there, and be those of which the digest is: else the comparison is undecided, or with `numbers_gone` the
 * row differs, nobody knows in which element; where -0 of one side is +0 of the other, the row is open. Bits
 * are equal where something was compared, nothing differs and nothing is open. */
mp_status mp_compare(const mp_side *a, const mp_side *b, int64_t tokens, const int32_t *ids, bool align,
                     mp_comparison *found, mp_error *err);

/* How many entries of a chunk's row of an align tensor the contract says something about: all, or those up to
 * num_tokens_post_padded. */
int64_t mp_align_used(const mp_contract *contract, const mp_trace *trace, mp_tensor_id id, int64_t chunk);

/* Rows without a result (filtered slots, and in sorted layout the padding rows of the caches) hold what the
 * contract says: what was there before the run, or zeros. Returns true, or false with the place. */
bool mp_resultless_rows_kept(const mp_case *c, const mp_contract *contract, const mp_inputs *in,
                             const mp_trace *trace, uint32_t poison, char *text, size_t size);

#endif
