/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of tensors and stages, and what follows from them.
 *
 * Whatever loops over stages, inputs or outputs (executors, judges, comparison, goldens, memory plans,
 * benches) loops over these two tables. What they do not hold:
 *   - which stages there are, their order and names: MP_STAGES (moeparity/case.h), of which the enums, the
 *     tables of functions and the contract's promises are made; which tensors: mp_tensor_id (graph.h);
 *   - a tensor's element type (mp_case_dtype) and, of an input, its numbers (inputs.c, fill.c, routing.c);
 *   - which rows hold results (mp_stage_rows_are_slots, the contract's mp_row_state), and what a stage's own
 *     code names: its files on each floor, the two GEMMs, align, which has integers and a judge of its own,
 *     and the hooks behind gate_up and down (kernels/run.c). */
#ifndef MP_CASES_GRAPH_TABLES_H
#define MP_CASES_GRAPH_TABLES_H

#include "moeparity/graph.h"

/* What the first axis of a tensor counts.
 *   WHOLE  nothing of the batch: weights
 *   TOKEN  tokens; every token has the same number of rows
 *   CACHE  slots: row t in route layout; in sorted layout the position of t in sorted_token_ids; in masked
 *          layout expert*max_m + its place among the expert's slots there, and none of a filtered slot
 *   BATCH  nothing of it, but it is of one batch alone, and made again of another one's tokens: segments
 *   CHUNK  chunks of a chunked run, one row each */
typedef enum mp_rows { MP_ROWS_WHOLE, MP_ROWS_TOKEN, MP_ROWS_CACHE, MP_ROWS_BATCH, MP_ROWS_CHUNK } mp_rows;

typedef struct mp_tensor_info {
    const char *name;
    mp_rows rows;
    /* Its shape in a case whose tile has this BLOCK_SIZE_M; rank 0 where the case has no such tensor. */
    mp_tensor (*shape)(const mp_case *c, int block_size_m);
    int stream; /* number of its random numbers: goldens depend on it. -1: it is never filled */
    mp_tensor_id
        as_read; /* the tensor that readers see where it is exposed (a hook has changed it); else itself */
} mp_tensor_info;
extern const mp_tensor_info mp_tensors[MP_TENSOR_COUNT];

typedef struct mp_stage_info {
    bool (*present)(const mp_case *c); /* in a run of all stages */
    mp_tensor_set reads, writes;
    mp_tensor_id output; /* of writes, the one that mp_stage_output names */
    const char *fields;  /* of a case that mean something to the stage alone (scope), blank-separated */
} mp_stage_info;
extern const mp_stage_info mp_stages[MP_STAGE_COUNT];

/* Where the stage's result lies: down's in the output itself where nothing is combined (no_combine, or topk=1
 * with nothing to scale and no hooks); with LoRA, what expand_down makes of it. */
mp_tensor_id mp_stage_output(const mp_case *c, mp_stage stage);
/* What the stage reads and writes of the tensors that the case has: a GEMM of codes not what they were made
 * of; combine no router weights that another stage applies; down the output itself where mp_stage_output says
 * so. */
mp_tensor_set mp_stage_reads(const mp_case *c, mp_stage stage);
mp_tensor_set mp_stage_writes(const mp_case *c, mp_stage stage);

/* Products that a slot of gate_up or down sums, as many as an expert has weights there; 0 of other stages,
 * and of one that the case has not. */
double mp_stage_products(const mp_case *c, mp_stage stage);
/* Of both. */
double mp_case_products(const mp_case *c);

/* What align leaves for LoRA: the slots of each adapter's tokens, by expert. */
#define MP_LORA_ALIGN_TENSORS \
    (MP_IN_SET(MP_LORA_SORTED_IDS) | MP_IN_SET(MP_LORA_EXPERT_IDS) | MP_IN_SET(MP_LORA_NUM_PADDED))
/* Whether the stage is one of LoRA's, a shrink or an expand. */
bool mp_stage_is_lora(mp_stage stage);
/* Whether rows of the stage's result are slots (token * topk + j), not tokens. */
bool mp_stage_rows_are_slots(mp_stage stage);

/* Where a subject's tensor lies in its buffer, which begins on a boundary of 64 bytes: what a case says of
 * gaps in weights, of the layout of scales and of buffers that are not aligned. The reference and the judge
 * have packed tensors. */
typedef struct mp_placement {
    size_t first;                                  /* bytes of the buffer before the first element */
    size_t bytes;                                  /* of all of it: it ends behind the last element */
    int64_t dim[MP_MAX_RANK], stride[MP_MAX_RANK]; /* as the subject sees them */
    bool packed;                                   /* without gaps between elements, and in the usual order */
    bool swizzled; /* in tiles with padding: dim and stride are those of the tiles, not of elements */
} mp_placement;
bool mp_placement_same(const mp_placement *a, const mp_placement *b);
mp_placement mp_case_placement(const mp_case *c, mp_tensor_id id, const mp_tensor *t);
/* Whether any tensor of the case lies otherwise than packed on its boundary. */
bool mp_case_places(const mp_case *c);
/* Calls visit for each run of elements side by side: byte `at` of the buffer, `row` of the packed tensor of
 * `bytes` from there on. */
typedef void mp_placed_row(void *ctx, size_t at, size_t row, size_t bytes);
void mp_placement_rows(const mp_placement *p, const mp_tensor *t, mp_placed_row *visit, void *ctx);

/* Whether the stage multiplies its rows by the router weights: gate_up with apply_router_weight_on_input;
 * combine with apply_router_weight_in_combine; else down, and what LoRA adds to it, but not in
 * mode=no_combine, unless no_combine_keep_router_weight. */
bool mp_stage_weighs(const mp_case *c, mp_stage stage);

/* What the numbers of the stage are a function of: what it reads, without the padding of align, router
 * weights that another stage applies, and ids where they say only which rows are filtered. */
mp_tensor_set mp_stage_needs(const mp_case *c, mp_stage stage);

/* Columns of cache1, and rows of an expert in w1 and b1, that hold gate and up of element n. */
static inline int64_t mp_gate_column(const mp_case *c, int64_t n) {
    return c->interleaved ? 2 * n : n;
}
static inline int64_t mp_up_column(const mp_case *c, int64_t n) {
    return c->interleaved ? 2 * n + 1 : c->N + n;
}

/* Inputs that follow from others: the align tensors where align is not a stage of the case. */
mp_tensor_set mp_case_derived_inputs(const mp_case *c);

/* max_m of the masked layout, the rows of each expert: as many slots as one can have. */
int64_t mp_case_max_m(const mp_case *c);

/* Number of chunks and of tokens in chunk `i` (the whole case when not chunked). */
int64_t mp_case_chunks(const mp_case *c);
int64_t mp_case_chunk_tokens(const mp_case *c, int64_t chunk);
/* One chunk as a run of its own: its case (M = its tokens), and views of its part of the case's tensors; a
 * view shares the memory (or device memory) of what it is taken from. Absent tensors stay absent. */
mp_case mp_case_chunk(const mp_case *c, int64_t chunk);
void mp_case_chunk_tensors(const mp_case *c, int64_t chunk, const mp_tensor from[MP_TENSOR_COUNT],
                           mp_tensor to[MP_TENSOR_COUNT]);
/* The tokens first .. first+count of the tensors that have a row a token; cache rows in route layout. */
void mp_token_window(const mp_case *c, int64_t first, int64_t count, const mp_tensor from[MP_TENSOR_COUNT],
                     mp_tensor to[MP_TENSOR_COUNT]);

/* Bytes of one token in a tensor of ROWS_TOKEN, or of ROWS_CACHE in route layout. */
size_t mp_token_bytes(const mp_case *c, const mp_tensor *t);

#endif
