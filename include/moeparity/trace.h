/* SPDX-License-Identifier: Apache-2.0 */
/* A trace: the tensors one execution of a case leaves behind, stage by stage. */
#ifndef MOEPARITY_TRACE_H
#define MOEPARITY_TRACE_H

#include "moeparity/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Shapes. BM is the gate_up tile's BLOCK_SIZE_M; a chunked run aligns each chunk of MP_CHUNK_TOKENS on its
 * own, so the align tensors have one row per chunk (one row when not chunked), each with the capacity of a
 * full chunk (of M when not chunked): P = S*BM if S < E+1 else S + (E+1)*(BM-1), S = slots of a full chunk;
 * blocks = ceil(P/BM).
 *
 *   sorted_token_ids [chunks,P] int32, expert_ids [chunks,blocks] int32,
 *   num_tokens_post_padded [chunks] int32
 *   cache1 [R,2N or N], cache2 [R,N], R = M*topk in route layout; sorted layout: row index is the position in
 *   sorted_token_ids, R = M*topk + min(M*topk, E+1)*(BM-1); masked layout: R = E*max_m, the rows of an expert
 *   begin at its number times max_m, which is M, or M*topk where a token may have an expert twice
 *   masked_m [1,E] int32, in masked layout: slots of each expert
 *   cache3 [M,topk,K]; absent when down writes the output itself
 *   out [M,K], or [M,topk,K] with no_combine
 *   cache1_hooked, cache3_hooked: what the next stage read, where a hook has changed cache1 or cache3 in
 *   place and both states are kept; absent = the same tensor
 *
 * sorted_token_ids of a chunk count slots within the chunk. One stage alone leaves its own output only. */
typedef struct mp_trace {
    mp_tensor t[MP_TENSOR_COUNT]; /* absent: data == NULL (not exposed, or not part of this case) */
    /* mp_space_row_digest of each row, or NULL. Inside the harness the data of such a tensor may lie
     * elsewhere: then t has its shape alone. */
    uint64_t *row_digest[MP_TENSOR_COUNT];
    int block_size_m;
    double stage_ns[MP_STAGE_COUNT]; /* device or CPU time of each stage; 0 when not measured */
} mp_trace;

/* Shapes only (data stays NULL) of the outputs of the case; every other tensor has rank 0. */
void mp_trace_plan(const mp_case *c, int block_size_m, mp_trace *trace);
/* Allocates the tensors in `exposed`, between guard zones, filled with poison. */
mp_status mp_trace_create_some(const mp_case *c, int block_size_m, mp_tensor_set exposed, uint32_t poison,
                               mp_trace *trace, mp_error *err);
/* All outputs of the case. */
mp_status mp_trace_create(const mp_case *c, int block_size_m, uint32_t poison, mp_trace *trace,
                          mp_error *err);
void mp_trace_destroy(mp_trace *trace);

#ifdef __cplusplus
}
#endif

#endif
