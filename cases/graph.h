/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline as data: its tensors, its stages, and which of them a case has.
 *
 * Whatever loops over stages, inputs or outputs (executors, judges, comparison, goldens, memory plans,
 * benches) loops over these two tables: there is no other list of them. A stage or a tensor is added by a row
 * here, and one file for each floor of the house. */
#ifndef MP_CASES_GRAPH_H
#define MP_CASES_GRAPH_H

#include "base/tensor.h"
#include "cases/case.h"

#include <assert.h>

typedef enum mp_tensor_id {
    MP_X,
    MP_W1,
    MP_W2,
    MP_B1,
    MP_B2,
    MP_TOPK_IDS,
    MP_TOPK_WEIGHTS,
    MP_SORTED_TOKEN_IDS,
    MP_EXPERT_IDS,
    MP_NUM_TOKENS_POST_PADDED,
    MP_CACHE1,
    MP_CACHE1_HOOKED,
    MP_CACHE2,
    MP_CACHE3,
    MP_CACHE3_HOOKED,
    MP_OUT,
    MP_TENSOR_COUNT
} mp_tensor_id;

/* Execution order. */
typedef enum mp_stage { MP_ALIGN, MP_GATE_UP, MP_ACT, MP_DOWN, MP_SUM, MP_STAGE_COUNT } mp_stage;

/* A set of tensors, a bit each. */
typedef uint32_t mp_tensor_set;
#define MP_IN_SET(id) ((mp_tensor_set)1 << (id))
static_assert(MP_TENSOR_COUNT <= 32, "mp_tensor_set holds a bit for every tensor");

/* What the first axis of a tensor counts.
 *   WHOLE  nothing of the batch: weights
 *   TOKEN  tokens; every token has the same number of rows
 *   CACHE  slots: row t in route layout; in sorted layout the position of t in sorted_token_ids
 *   CHUNK  chunks of a chunked run, one row each */
typedef enum mp_rows { MP_ROWS_WHOLE, MP_ROWS_TOKEN, MP_ROWS_CACHE, MP_ROWS_CHUNK } mp_rows;

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
    const char *name;
    bool (*present)(const mp_case *c); /* in a run of all stages */
    mp_tensor_set reads, writes;
    const char *fields; /* of a case that mean something to the stage alone (scope), blank-separated */
} mp_stage_info;
extern const mp_stage_info mp_stages[MP_STAGE_COUNT];

const char *mp_tensor_name(mp_tensor_id id); /* "?" for what is no id */
const char *mp_stage_name(mp_stage stage);   /* likewise */

/* Whether the case has the stage: it is in its scope, and there is something to do. */
bool mp_case_has_stage(const mp_case *c, mp_stage stage);
/* Where the stage's result lies: down's in the output itself where nothing is combined (no_combine, or topk=1
 * with nothing to scale and no hooks). */
mp_tensor_id mp_stage_output(const mp_case *c, mp_stage stage);
/* Whether rows of the stage's result are slots (token * topk + j), not tokens. */
bool mp_stage_rows_are_slots(mp_stage stage);

/* Tensors of the case by their part in it. Inputs are read by its stages and written by none of them, outputs
 * are written. A hidden tensor lies between two stages that are one kernel: fused_sum has no cache3. */
mp_tensor_set mp_case_inputs(const mp_case *c);
mp_tensor_set mp_case_outputs(const mp_case *c);
mp_tensor_set mp_case_hidden(const mp_case *c);
/* Inputs that follow from others: the align tensors where align is not a stage of the case. */
mp_tensor_set mp_case_derived_inputs(const mp_case *c);

/* The format of a tensor's elements. x, weights, caches and output have roles of their own, so that a case
 * can give each another one. */
mp_dtype mp_case_dtype(const mp_case *c, mp_tensor_id id);
/* The shape with data == NULL; of rank 0 where the case has no such tensor. */
mp_tensor mp_case_shape(const mp_case *c, mp_tensor_id id, int block_size_m);

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
