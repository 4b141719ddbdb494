/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline as data: its tensors, its stages, and which of them a case has. */
#ifndef MOEPARITY_GRAPH_H
#define MOEPARITY_GRAPH_H

#include "moeparity/case.h"
#include "moeparity/tensor.h"

#include <assert.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mp_tensor_id {
    MP_X,
    MP_W1,
    MP_W2,
    MP_B1,
    MP_B2,
    MP_TOPK_IDS,
    MP_TOPK_WEIGHTS,
    MP_EXPERT_MAP,
    MP_NUMBERED_IDS,
    MP_SHARED_OUTPUT,
    MP_LORA_A1,
    MP_LORA_B1,
    MP_LORA_A2,
    MP_LORA_B2,
    MP_TOKEN_LORA,
    MP_ADAPTER_ENABLED,
    MP_SEG_INDPTR,
    MP_REQ_TO_LORA,
    MP_SORTED_TOKEN_IDS,
    MP_EXPERT_IDS,
    MP_NUM_TOKENS_POST_PADDED,
    MP_MASKED_M,
    MP_LORA_SORTED_IDS,
    MP_LORA_EXPERT_IDS,
    MP_LORA_NUM_PADDED,
    MP_CACHE1,
    MP_LORA_H1,
    MP_CACHE1_HOOKED,
    MP_CACHE2,
    MP_CACHE3,
    MP_LORA_H2,
    MP_CACHE3_HOOKED,
    MP_OUT,
    MP_W1_SCALE,
    MP_W2_SCALE,
    MP_W1_ZERO,
    MP_W2_ZERO,
    MP_W1_GLOBAL_SCALE,
    MP_W2_GLOBAL_SCALE,
    MP_X_CODES,
    MP_X_SCALE,
    MP_X_TENSOR_SCALE,
    MP_X_GIVEN_SCALE,
    MP_CACHE2_CODES,
    MP_CACHE2_SCALE,
    MP_CACHE2_TENSOR_SCALE,
    MP_CACHE2_GIVEN_SCALE,
    MP_TENSOR_COUNT
} mp_tensor_id;

/* Execution order. */
#define MP_STAGE_OF(stage, scope, name) stage,
typedef enum mp_stage { MP_STAGES(MP_STAGE_OF) MP_STAGE_COUNT } mp_stage;
#undef MP_STAGE_OF

/* A set of tensors, a bit each. */
typedef uint64_t mp_tensor_set;
#define MP_IN_SET(id) ((mp_tensor_set)1 << (id))
static_assert(MP_TENSOR_COUNT <= 64, "mp_tensor_set holds a bit for every tensor");

const char *mp_tensor_name(mp_tensor_id id); /* "?" for what is no id */
const char *mp_stage_name(mp_stage stage);   /* likewise */

/* Whether the case has the stage: it is in its scope, and there is something to do. */
bool mp_case_has_stage(const mp_case *c, mp_stage stage);

/* Tensors of the case by their part in it. Inputs are read by its stages and written by none of them, outputs
 * are written. A hidden tensor lies between two stages that are one kernel: fused_sum has no cache3,
 * fused_quant no cache2. */
mp_tensor_set mp_case_inputs(const mp_case *c);
mp_tensor_set mp_case_outputs(const mp_case *c);
/* All that a trace of the case may hold: its outputs, and those of them that hooks may change, after it. */
mp_tensor_set mp_case_possible_outputs(const mp_case *c);
mp_tensor_set mp_case_hidden(const mp_case *c);

/* The format of a tensor's elements. x, weights, caches and output have roles of their own, so that a case
 * can give each another one. */
mp_dtype mp_case_dtype(const mp_case *c, mp_tensor_id id);
/* Elements from one to the next along each axis, as whoever executes the case gets the tensor of this shape:
 * packed, but for the gaps that the case leaves between rows and experts of w1 and w2, and for scales whose
 * layout it names. Swizzled ones have the strides of their tiles: where an element lies no stride tells. */
void mp_case_strides(const mp_case *c, mp_tensor_id id, const mp_tensor *t, int64_t stride[MP_MAX_RANK]);
/* The shape with data == NULL; of rank 0 where the case has no such tensor. */
mp_tensor mp_case_shape(const mp_case *c, mp_tensor_id id, int block_size_m);

#ifdef __cplusplus
}
#endif

#endif
