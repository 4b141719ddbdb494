/* SPDX-License-Identifier: Apache-2.0 */
/* Stage 5, combine: out[m,k] = rnd(rsf * sum_j cache3[m,j,k]), j ascending; with shared=add
 * rnd(rsf * sum_j cache3[m,j,k] + shared_output[m,k]). With apply_router_weight_in_combine the terms are
 * topk_weights[m,j] * cache3[m,j,k], of slots that go to an expert alone. */
#ifndef MP_REF_COMBINE_H
#define MP_REF_COMBINE_H

#include "cases/graph_tables.h"
#include "moeparity/contract.h"
#include "moeparity/tensor.h"
#include "ref/combined.h"

/* What is summed. Only of slots whose id is not -1, where topk_ids is given; each term times the slot's
 * weight, where weights are; shared_output [M,K] is NULL, or without data, where there is none. */
typedef struct mp_combine_terms {
    const mp_tensor *cache3, *shared_output; /* [M,topk,K], [M,K] */
    const float *weights;                    /* [M,topk] or NULL */
    const int32_t *topk_ids;                 /* [M,topk] or NULL */
} mp_combine_terms;
/* Those of the case. skips_filtered: rows of slots whose id is -1 hold anything, else zeros, which are added;
 * router weights of such a slot hold anything in any case. */
mp_combine_terms mp_combine_terms_of(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT],
                                     bool skips_filtered);

/* The sums of columns first .. first+n, at most MP_COMBINE_PIECE, of a token. */
enum { MP_COMBINE_PIECE = 256 };
void mp_combine_sums(const mp_combine_terms *terms, int64_t token, int64_t first, int64_t n, mp_sum *sums);
/* One of them. */
static inline mp_sum mp_combine_sum(const mp_combine_terms *terms, int64_t token, int64_t column) {
    mp_sum sum;
    mp_combine_sums(terms, token, column, 1, &sum);
    return sum;
}
double mp_combine_shared(const mp_tensor *shared_output, int64_t token, int64_t column);

/* routed_scaling_factor as the combine uses it: an fp32 value, a float64 for fp64 tensors. */
double mp_combine_rsf(const mp_case *c);

/* The value of out[m,k] before its last rounding: rsf times the sum, with the contract's rounding before the
 * scale, and the shared output. */
double mp_combine_value(const mp_case *c, mp_combine_variant variant, mp_sum sum);
mp_combine_rule mp_combine_rule_of(const mp_case *c, const mp_contract *contract);
/* Bound of |subject - value| before the last rounding; derived in combined.h. */
double mp_combine_bound(const mp_case *c, const mp_contract *contract, mp_sum sum);

/* Whether a sum that is not the last one may leave the range of what it is kept in, dtype or float32: a
 * partial one, where terms cancel, or the whole before it is scaled. Then nothing is known of the result: it
 * is Inf, NaN or, where stores saturate, any number. */
bool mp_combine_may_overflow_inside(const mp_case *c, const mp_contract *contract, mp_sum sum);

/* The same of many sums: what they have in common; of each mp_combine_leaves_range has it. */
mp_combine_range mp_combine_range_of(const mp_case *c, const mp_contract *contract);

/* A stored sum over topk that an engine is to measure by itself: of each token what measured.h says of its
 * elements, of which `passed` are plain, far from overflow on every way, and within their bound. */
typedef struct mp_combine_screen {
    mp_combine_terms terms;
    const mp_tensor *got; /* [M,K] */
    mp_stored stored;
    mp_combine_rule rule;
} mp_combine_screen;

/* A stored sum over topk that is predicted to the bit: in the arithmetic of a contract, slots in ascending
 * order. */
typedef struct mp_combine_bits {
    mp_combine_terms terms;
    bool fma;                            /* a product with a weight and its addition are one operation */
    bool round_each;                     /* every sum to the dtype of the result, */
    bool round_sum, round_before_shared; /* the whole before it is scaled, and behind that */
    double rsf;
} mp_combine_bits;

/* The stage: terms -> out [M,K], one rounding to out's dtype. */
void mp_combine_stage(const mp_case *c, mp_combine_variant variant, const mp_combine_terms *terms,
                      const mp_tensor *out);

#endif
