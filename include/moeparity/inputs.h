/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs of a case: filled by data family, routing family and seed.
 *
 * Every element is a function of (seed, tensor, index) alone: the same bits at any thread count, on any
 * machine, in any order. Only integer operations, exact scalings and single correct roundings are used, no
 * libm. */
#ifndef MOEPARITY_INPUTS_H
#define MOEPARITY_INPUTS_H

#include "moeparity/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Goes into goldens, and those of another version are refused as a whole: raise it when the inputs of all
 * cases change. Where a family's do, the digest of each case's inputs tells which are to be recorded anew. */
#define MP_FILL_VERSION 1

/* Which tensors: mp_case_inputs without the derived ones; the others have data == NULL and rank 0.
 *   x [M,K], w1 [E,2N or N,K], w2 [E,K,N], b1 [E,2N or N], b2 [E,K] (bias only), topk_ids [M,topk] int32 in
 *   [-1,E), topk_weights [M,topk] fp32, shared_output [M,K] (shared=add)
 * In topk_ids an expert has its number among those of this rank, and a slot that goes to none of them is -1:
 * so the reference, the judge and every check read them. Where a case numbers experts otherwise (expert_map,
 * sentinel) numbered_ids has what a subject gets as its topk_ids, and expert_map [E*ep_size] int32 the number
 * on this rank of each expert, or -1.
 * One stage alone has what it reads: cache1 [M*topk, 2N or N] for act, cache2 [M*topk,N] for down, cache3
 * [M,topk,K] for combine. */
typedef struct mp_inputs {
    mp_tensor t[MP_TENSOR_COUNT];
    /* What mp_inputs_seal has seen, and its digest: that of a tensor while its data are still those. */
    const void *sealed[MP_TENSOR_COUNT];
    uint64_t digest[MP_TENSOR_COUNT];
    bool borrowed[MP_TENSOR_COUNT]; /* data belongs to another mp_inputs, which must outlive this one */
    /* Nobody knows the ids: a file does not hold them. They are zeros then, which say that every slot counts,
     * and no stage that multiplies by the weights of an expert can be judged. */
    bool ids_unknown;
} mp_inputs;

/* Shapes only: what mp_inputs_create would allocate. */
void mp_inputs_plan(const mp_case *c, mp_inputs *in);
/* *in is the caller's to destroy, and empty after an error, here and in all of the following: MP_EMEMORY;
 * MP_EINPUT for data=file, whose numbers no family gives, and a token that is not there. */
mp_status mp_inputs_create(const mp_case *c, mp_inputs *in, mp_error *err);
/* The same, but numbers of weights and activations of at least so many bytes, where a device can make them
 * too, are made when somebody asks for them by mp_tensor_make, as all do who are given them; their digests,
 * which are there already, are of what they are made by. */
mp_status mp_inputs_create_deferring(const mp_case *c, size_t from_bytes, mp_inputs *in, mp_error *err);
void mp_inputs_destroy(mp_inputs *in); /* frees what is not borrowed; *in is empty then */
/* `in`, the inputs of c, as those of a gated case that differs in interleaved: rows of w1 and b1 in its
 * order. All else is borrowed. */
mp_status mp_inputs_reorder_gate(const mp_case *c, const mp_inputs *in, const mp_case *other, mp_inputs *out,
                                 mp_error *err);
/* The tokens rows[0..count) of `in`, the inputs of c, in that order, as inputs of the same case with M=count;
 * weights and biases are borrowed. */
mp_status mp_inputs_select(const mp_case *c, const mp_inputs *in, const int64_t *rows, int64_t count,
                           mp_inputs *out, mp_error *err);
/* Other inputs of the same shapes, as the next batch of an engine has them: other tokens, other routing, with
 * no slot filtered that is not another rank's, and so for most cases with more row blocks. Weights and biases
 * are those of `in`, the inputs of c, and borrowed. Activations of at
 * least deferred_from bytes, SIZE_MAX for none, are made when somebody asks for them, as above. */
mp_status mp_inputs_other(const mp_case *c, const mp_inputs *in, size_t deferred_from, mp_inputs *out,
                          mp_error *err);
/* As mp_inputs_create, for a case that runs with the weights of another one (mp_case_validate_after): weights
 * and biases are borrowed from its inputs, all else is the case's own; deferred_from as above. */
mp_status mp_inputs_create_beside(const mp_case *c, const mp_inputs *other, size_t deferred_from,
                                  mp_inputs *in, mp_error *err);
/* One digest over all tensors present. */
uint64_t mp_inputs_digest(const mp_inputs *in);
/* From now on nobody changes them: digests of the tensors that have none yet, each by the content alone, are
 * kept in *in, and go along with what is borrowed from it. */
void mp_inputs_seal(mp_inputs *in);
/* The digest of a tensor, or 0: it was not sealed, or its data are others since. */
uint64_t mp_inputs_sealed(const mp_inputs *in, mp_tensor_id id);
/* The first input that was sealed and is not what it was; of what is made when it is asked for, what is made
 * is looked at. MP_TENSOR_COUNT: all is as it was. */
mp_tensor_id mp_inputs_changed(const mp_inputs *in);
bool mp_inputs_unchanged(const mp_inputs *in); /* none is */
/* The tensor as a subject gets it: numbered_ids for topk_ids, where there are any; else itself. */
const mp_tensor *mp_inputs_as_given(const mp_inputs *in, mp_tensor_id id);
/* Every id in [-1, E): MP_EINPUT names token, slot and value otherwise. */
mp_status mp_inputs_check_ids(const mp_case *c, const mp_inputs *in, mp_error *err);

#ifdef __cplusplus
}
#endif

#endif
