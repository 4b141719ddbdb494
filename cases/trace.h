/* A trace: the tensors one execution of a case leaves behind, stage by stage. */
#ifndef MP_CASES_TRACE_H
#define MP_CASES_TRACE_H

#include "base/tensor.h"
#include "cases/case.h"

typedef enum mp_stage { MP_ALIGN, MP_GATE_UP, MP_ACT, MP_DOWN, MP_SUM, MP_STAGE_COUNT } mp_stage;
const char *mp_stage_name(mp_stage stage); /* "align", "gate_up", "act", "down", "combine" */

/* Shapes. BM is the gate_up tile's BLOCK_SIZE_M; a chunked run aligns each chunk of MP_CHUNK_TOKENS on its
 * own, so the align tensors have one row per chunk (one row when not chunked), each with the capacity of a
 * full chunk (of M when not chunked):
 *   P = S*BM if S < E+1 else S + (E+1)*(BM-1), S = slots of a full chunk;  blocks = ceil(P/BM)
 *   sorted_token_ids [chunks,P] int32, expert_ids [chunks,blocks] int32, num_tokens_post_padded [chunks]
 *   int32 cache1 [R,2N or N] dtype, cache2 [R,N] dtype, R = M*topk in route layout;
 *     sorted layout: row index is the position in sorted_token_ids, R = M*topk + min(M*topk, E+1)*(BM-1)
 *   cache3 [M,topk,K] dtype; absent when down writes the output itself: no_combine, fused_sum, or topk==1 &&
 *   rsf==1 && path==fused out [M,K] dtype, or [M,topk,K] with no_combine
 * scope=align leaves the align tensors only, scope=act cache2 only, scope=combine out only.
 * sorted_token_ids of a chunk count slots within the chunk. */
typedef enum mp_trace_tensor {
    MP_SORTED_TOKEN_IDS,
    MP_EXPERT_IDS,
    MP_NUM_TOKENS_POST_PADDED,
    MP_CACHE1,
    MP_CACHE2,
    MP_CACHE3,
    MP_OUT,
    MP_TRACE_COUNT
} mp_trace_tensor;
const char *mp_trace_tensor_name(mp_trace_tensor which);

typedef struct mp_trace {
    mp_tensor t[MP_TRACE_COUNT]; /* absent: data == NULL (not exposed, or not part of this case) */
    int block_size_m;
    double stage_ns[MP_STAGE_COUNT]; /* device or CPU time of each stage; 0 when not measured */
    char guard_report[256]; /* a subject with buffers of its own (device memory) names the first broken guard
                               here; "" = intact */
    char input_report[256]; /* likewise: the first of its input copies that changed */
} mp_trace;

/* Whether down writes the output itself instead of cache3 (scope=all): no_combine, fused_sum, or topk==1 &&
 * rsf==1 && path==fused. */
bool mp_case_down_writes_out(const mp_case *c);
/* Shapes only (data stays NULL); a tensor that is not part of the case gets zero elements. */
void mp_trace_plan(const mp_case *c, int block_size_m, mp_trace *trace);
/* Plans and allocates every tensor of the case between guard zones, filled with poison. */
mp_status mp_trace_create(const mp_case *c, int block_size_m, uint32_t poison, mp_trace *trace,
                          mp_error *err);
void mp_trace_destroy(mp_trace *trace);
/* Whether the tensor is part of the planned case. */
bool mp_trace_has(const mp_trace *plan, mp_trace_tensor which);
/* Number of chunks and of tokens in chunk `i` (the whole case when not chunked). */
int64_t mp_case_chunks(const mp_case *c);
int64_t mp_case_chunk_tokens(const mp_case *c, int64_t chunk);
/* One chunk as a run of its own: its case (M = its tokens), and views of its part of the trace. The views
 * share the trace's memory. */
mp_case mp_case_chunk(const mp_case *c, int64_t chunk);
mp_trace mp_trace_chunk(const mp_case *c, const mp_trace *trace, int64_t chunk);
/* Row of cache1/cache2 that holds slot t: t itself, or in sorted layout its position. rows has M*topk
 * entries; a slot that sorted_token_ids does not hold gets -1 (its stages then fail). */
void mp_trace_slot_rows(const mp_case *c, const mp_trace *trace, int64_t *rows);

#endif
