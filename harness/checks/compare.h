/* Bitwise comparison of traces, slot by slot, whatever their layouts. */
#ifndef MP_HARNESS_COMPARE_H
#define MP_HARNESS_COMPARE_H

#include "cases/inputs.h"
#include "harness/verdict.h"

/* One side: a trace of a case, and which of its tokens are compared (NULL: all, in order). */
typedef struct mp_side {
    const mp_case *c;
    const mp_trace *trace;
    const int64_t *token;
} mp_side;

/* Compares what both sides have of cache1, cache2 (rows of slots that are not filtered), cache3 and out for
 * `tokens` tokens; with `align` also the align tensors (same case on both sides). ids are the topk_ids of the
 * tokens compared, in side a's order of comparison [tokens, topk]. Fills compared, differing, bits_equal,
 * max_abs and first of *f. Two NaN of different bits differ. */
mp_status mp_compare(const mp_side *a, const mp_side *b, int64_t tokens, const int32_t *ids, bool align,
                     mp_pair_figures *f, mp_error *err);

/* What must not be written still holds the poison: cache2 rows of filtered slots, and in sorted layout the
 * padding rows of both caches. Returns true, or false with the place. */
bool mp_unwritten_intact(const mp_case *c, const mp_inputs *in, const mp_trace *trace, uint32_t poison,
                         char *text, size_t size);

#endif
