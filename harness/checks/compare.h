/* SPDX-License-Identifier: Apache-2.0 */
/* Bitwise comparison of traces, slot by slot, whatever their layouts. */
#ifndef MP_HARNESS_COMPARE_H
#define MP_HARNESS_COMPARE_H

#include "moeparity/contract.h"
#include "moeparity/inputs.h"
#include "moeparity/verdict.h"

/* One side: a trace of a case, and which of its tokens are compared (NULL: all, in order). */
typedef struct mp_side {
    const mp_case *c;
    const mp_contract *contract; /* what rows of filtered slots hold */
    const mp_trace *trace;
    const int64_t *token;
} mp_side;

/* Compares what both sides have of every tensor, slot by slot or token by token, for `tokens` tokens; rows of
 * filtered slots where the contract says that they are zeros. With `align` also the tensors that have a row a
 * chunk (same case on both sides). ids are the topk_ids of the tokens compared, in side a's order of
 * comparison [tokens, topk]. Fills compared, differing, bits_equal, max_abs and first of *f. Two NaN of
 * different bits differ. */
mp_status mp_compare(const mp_side *a, const mp_side *b, int64_t tokens, const int32_t *ids, bool align,
                     mp_pair_figures *f, mp_error *err);

/* What the contract says is not written still holds the poison: rows of filtered slots, and in sorted layout
 * the padding rows of the caches. Returns true, or false with the place. */
bool mp_unwritten_intact(const mp_case *c, const mp_contract *contract, const mp_inputs *in,
                         const mp_trace *trace, uint32_t poison, char *text, size_t size);

#endif
