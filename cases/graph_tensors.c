/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors of cases: a row of mp_tensors each, with its shape. */
#include "moeparity/graph.h"

#include "cases/graph_tables.h"
#include "cases/lora.h"
#include "cases/numbering.h"
#include "cases/scheme.h"

/* ---- shapes ---- */

static const mp_tensor absent = {0};

static mp_tensor x_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_tensor_shape(mp_case_dtype(c, MP_X), 2, c->M, c->K, 1);
}

static mp_tensor w1_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_tensor_shape(mp_case_dtype(c, MP_W1), 3, c->E, mp_case_w1_rows(c), c->K);
}

static mp_tensor w2_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_tensor_shape(mp_case_dtype(c, MP_W2), 3, c->E, c->K, c->N);
}

static mp_tensor b1_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return c->bias ? mp_tensor_shape(mp_case_dtype(c, MP_B1), 2, c->E, mp_case_w1_rows(c), 1) : absent;
}

static mp_tensor b2_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return c->bias ? mp_tensor_shape(mp_case_dtype(c, MP_B2), 2, c->E, c->K, 1) : absent;
}

static mp_tensor topk_ids_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_tensor_shape(MP_I32, 2, c->M, c->topk, 1);
}

static mp_tensor topk_weights_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_tensor_shape(MP_FP32, 2, c->M, c->topk, 1);
}

static mp_tensor expert_map_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return c->expert_map ? mp_tensor_shape(MP_I32, 1, c->E * c->ep_size, 1, 1) : absent;
}

static mp_tensor numbered_ids_shape(const mp_case *c, int block_size_m) {
    return mp_case_numbers_ids(c) ? topk_ids_shape(c, block_size_m) : absent;
}

/* P = S*BM if S < E+1, else S + (E+1)*(BM-1), S = slots of a full chunk. */
static int64_t sorted_capacity(const mp_case *c, int block_size_m) {
    const int64_t bm = block_size_m, slots = mp_case_chunk_tokens(c, 0) * c->topk;
    return slots < c->E + 1 ? slots * bm : slots + (c->E + 1) * (bm - 1);
}

static mp_tensor sorted_shape(const mp_case *c, int block_size_m) {
    return mp_tensor_shape(MP_I32, 2, mp_case_chunks(c), sorted_capacity(c, block_size_m), 1);
}

static mp_tensor expert_ids_shape(const mp_case *c, int block_size_m) {
    const int64_t blocks = (sorted_capacity(c, block_size_m) + block_size_m - 1) / block_size_m;
    return mp_tensor_shape(MP_I32, 2, mp_case_chunks(c), blocks, 1);
}

static mp_tensor padded_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_tensor_shape(MP_I32, 1, mp_case_chunks(c), 1, 1);
}

/* A token has an expert once, where nothing makes it come again. */
int64_t mp_case_max_m(const mp_case *c) {
    const bool again = c->topk > c->E || c->routing == MP_DUPLICATES;
    return again ? mp_case_slots(c) : c->M;
}

static mp_tensor masked_m_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return c->layout == MP_MASKED ? mp_tensor_shape(MP_I32, 2, 1, c->E, 1) : absent;
}

/* Rows of the caches: a row a slot; in sorted layout the padding of at most E+1 keys too; in masked layout as
 * many for each expert as it may have slots. */
static int64_t cache_rows(const mp_case *c, int block_size_m) {
    if (c->layout == MP_MASKED) return c->E * mp_case_max_m(c);
    const int64_t slots = mp_case_slots(c), keys = slots < c->E + 1 ? slots : c->E + 1;
    return c->layout == MP_SORTED ? slots + keys * (block_size_m - 1) : slots;
}

static mp_tensor cache1_shape(const mp_case *c, int block_size_m) {
    return mp_tensor_shape(mp_case_dtype(c, MP_CACHE1), 2, cache_rows(c, block_size_m), mp_case_w1_rows(c),
                           1);
}

static mp_tensor cache2_shape(const mp_case *c, int block_size_m) {
    return mp_tensor_shape(mp_case_dtype(c, MP_CACHE2), 2, cache_rows(c, block_size_m), c->N, 1);
}

static mp_tensor cache3_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_tensor_shape(mp_case_dtype(c, MP_CACHE3), 3, c->M, c->topk, c->K);
}

static mp_tensor out_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    const mp_dtype dtype = mp_case_dtype(c, MP_OUT);
    return c->mode == MP_MODE_NO_COMBINE ? mp_tensor_shape(dtype, 3, c->M, c->topk, c->K)
                                         : mp_tensor_shape(dtype, 2, c->M, c->K, 1);
}

static mp_tensor shared_output_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return c->shared == MP_SHARED_ADD ? mp_tensor_shape(mp_case_dtype(c, MP_SHARED_OUTPUT), 2, c->M, c->K, 1)
                                      : absent;
}

/* ---- of a quantised case ---- */

#define SCHEME_SHAPE(name, id)                                          \
    static mp_tensor name##_shape(const mp_case *c, int block_size_m) { \
        return mp_scheme_shape(c, id, cache_rows(c, block_size_m));     \
    }
SCHEME_SHAPE(w1_scale, MP_W1_SCALE)
SCHEME_SHAPE(w2_scale, MP_W2_SCALE)
SCHEME_SHAPE(w1_zero, MP_W1_ZERO)
SCHEME_SHAPE(w2_zero, MP_W2_ZERO)
SCHEME_SHAPE(w1_global_scale, MP_W1_GLOBAL_SCALE)
SCHEME_SHAPE(w2_global_scale, MP_W2_GLOBAL_SCALE)
SCHEME_SHAPE(x_codes, MP_X_CODES)
SCHEME_SHAPE(x_scale, MP_X_SCALE)
SCHEME_SHAPE(x_tensor_scale, MP_X_TENSOR_SCALE)
SCHEME_SHAPE(x_given_scale, MP_X_GIVEN_SCALE)
SCHEME_SHAPE(cache2_codes, MP_CACHE2_CODES)
SCHEME_SHAPE(cache2_scale, MP_CACHE2_SCALE)
SCHEME_SHAPE(cache2_tensor_scale, MP_CACHE2_TENSOR_SCALE)
SCHEME_SHAPE(cache2_given_scale, MP_CACHE2_GIVEN_SCALE)

/* LoRA's. An axis for adapters and one for experts are one: adapter l's factor of expert e is number l*E + e,
 * or l where one is shared by all experts. */
static mp_tensor lora_factor(const mp_case *c, mp_tensor_id id, int64_t rows, int64_t columns) {
    return mp_case_has_lora(c) ? mp_tensor_shape(mp_case_dtype(c, id), 3,
                                                 c->lora_adapters * mp_lora_experts(c, id), rows, columns)
                               : absent;
}

static mp_tensor lora_a1_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return lora_factor(c, MP_LORA_A1, mp_lora_slices(c) * c->lora_rank, c->K);
}

static mp_tensor lora_b1_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return lora_factor(c, MP_LORA_B1, mp_case_w1_rows(c), c->lora_rank);
}

static mp_tensor lora_a2_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return lora_factor(c, MP_LORA_A2, c->lora_rank, c->N);
}

static mp_tensor lora_b2_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return lora_factor(c, MP_LORA_B2, c->K, c->lora_rank);
}

static mp_tensor token_lora_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_case_has_lora(c) ? mp_tensor_shape(MP_I32, 1, c->M, 1, 1) : absent;
}

static mp_tensor adapter_enabled_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_case_has_lora(c) ? mp_tensor_shape(MP_I32, 1, c->lora_adapters, 1, 1) : absent;
}

static mp_tensor seg_indptr_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_lora_has_segments(c) ? mp_tensor_shape(MP_I32, 1, mp_lora_segments(c) + 1, 1, 1) : absent;
}

static mp_tensor req_to_lora_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_lora_has_segments(c) ? mp_tensor_shape(MP_I32, 1, mp_lora_segments(c), 1, 1) : absent;
}

/* P = S*BM if S < E, else S + E*(BM-1): filtered slots are in no adapter's row. */
static int64_t lora_capacity(const mp_case *c, int block_size_m) {
    const int64_t bm = block_size_m, slots = mp_case_slots(c);
    return slots < c->E ? slots * bm : slots + c->E * (bm - 1);
}

static mp_tensor lora_sorted_shape(const mp_case *c, int block_size_m) {
    return mp_case_has_lora(c)
               ? mp_tensor_shape(MP_I32, 3, 1, c->lora_adapters, lora_capacity(c, block_size_m))
               : absent;
}

static mp_tensor lora_expert_ids_shape(const mp_case *c, int block_size_m) {
    const int64_t blocks = (lora_capacity(c, block_size_m) + block_size_m - 1) / block_size_m;
    return mp_case_has_lora(c) ? mp_tensor_shape(MP_I32, 3, 1, c->lora_adapters, blocks) : absent;
}

static mp_tensor lora_num_padded_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_case_has_lora(c) ? mp_tensor_shape(MP_I32, 2, 1, c->lora_adapters, 1) : absent;
}

static mp_tensor lora_h1_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_case_has_lora(c) ? mp_tensor_shape(mp_case_dtype(c, MP_LORA_H1), 3, c->M, c->topk,
                                                 mp_lora_slices(c) * c->lora_rank)
                               : absent;
}

static mp_tensor lora_h2_shape(const mp_case *c, int block_size_m) {
    (void)block_size_m;
    return mp_case_has_lora(c) ? mp_tensor_shape(mp_case_dtype(c, MP_LORA_H2), 3, c->M, c->topk, c->lora_rank)
                               : absent;
}

/* ---- the table ---- */

const mp_tensor_info mp_tensors[MP_TENSOR_COUNT] = {
    [MP_X] = {"x", MP_ROWS_TOKEN, x_shape, 0, MP_X},
    [MP_W1] = {"w1", MP_ROWS_WHOLE, w1_shape, 1, MP_W1},
    [MP_W2] = {"w2", MP_ROWS_WHOLE, w2_shape, 2, MP_W2},
    [MP_B1] = {"b1", MP_ROWS_WHOLE, b1_shape, 3, MP_B1},
    [MP_B2] = {"b2", MP_ROWS_WHOLE, b2_shape, 4, MP_B2},
    [MP_TOPK_IDS] = {"topk_ids", MP_ROWS_TOKEN, topk_ids_shape, 5, MP_TOPK_IDS},
    [MP_TOPK_WEIGHTS] = {"topk_weights", MP_ROWS_TOKEN, topk_weights_shape, 6, MP_TOPK_WEIGHTS},
    [MP_EXPERT_MAP] = {"expert_map", MP_ROWS_WHOLE, expert_map_shape, 10, MP_EXPERT_MAP},
    [MP_NUMBERED_IDS] = {"numbered_ids", MP_ROWS_TOKEN, numbered_ids_shape, 11, MP_NUMBERED_IDS},
    [MP_SHARED_OUTPUT] = {"shared_output", MP_ROWS_TOKEN, shared_output_shape, 12, MP_SHARED_OUTPUT},
    [MP_LORA_A1] = {"lora_a1", MP_ROWS_WHOLE, lora_a1_shape, 22, MP_LORA_A1},
    [MP_LORA_B1] = {"lora_b1", MP_ROWS_WHOLE, lora_b1_shape, 23, MP_LORA_B1},
    [MP_LORA_A2] = {"lora_a2", MP_ROWS_WHOLE, lora_a2_shape, 24, MP_LORA_A2},
    [MP_LORA_B2] = {"lora_b2", MP_ROWS_WHOLE, lora_b2_shape, 25, MP_LORA_B2},
    [MP_TOKEN_LORA] = {"token_lora", MP_ROWS_TOKEN, token_lora_shape, 26, MP_TOKEN_LORA},
    [MP_ADAPTER_ENABLED] = {"adapter_enabled", MP_ROWS_WHOLE, adapter_enabled_shape, 27, MP_ADAPTER_ENABLED},
    [MP_SEG_INDPTR] = {"seg_indptr", MP_ROWS_BATCH, seg_indptr_shape, 28, MP_SEG_INDPTR},
    [MP_REQ_TO_LORA] = {"req_to_lora", MP_ROWS_BATCH, req_to_lora_shape, 29, MP_REQ_TO_LORA},
    [MP_SORTED_TOKEN_IDS] = {"sorted_token_ids", MP_ROWS_CHUNK, sorted_shape, -1, MP_SORTED_TOKEN_IDS},
    [MP_EXPERT_IDS] = {"expert_ids", MP_ROWS_CHUNK, expert_ids_shape, -1, MP_EXPERT_IDS},
    [MP_NUM_TOKENS_POST_PADDED] = {"num_tokens_post_padded", MP_ROWS_CHUNK, padded_shape, -1,
                                   MP_NUM_TOKENS_POST_PADDED},
    [MP_MASKED_M] = {"masked_m", MP_ROWS_CHUNK, masked_m_shape, -1, MP_MASKED_M},
    [MP_LORA_SORTED_IDS] = {"lora_sorted_token_ids", MP_ROWS_CHUNK, lora_sorted_shape, -1,
                            MP_LORA_SORTED_IDS},
    [MP_LORA_EXPERT_IDS] = {"lora_expert_ids", MP_ROWS_CHUNK, lora_expert_ids_shape, -1, MP_LORA_EXPERT_IDS},
    [MP_LORA_NUM_PADDED] = {"lora_num_tokens_post_padded", MP_ROWS_CHUNK, lora_num_padded_shape, -1,
                            MP_LORA_NUM_PADDED},
    [MP_CACHE1] = {"cache1", MP_ROWS_CACHE, cache1_shape, 8, MP_CACHE1_HOOKED},
    [MP_CACHE1_HOOKED] = {"cache1_hooked", MP_ROWS_CACHE, cache1_shape, -1, MP_CACHE1_HOOKED},
    [MP_LORA_H1] = {"lora_h1", MP_ROWS_TOKEN, lora_h1_shape, 30, MP_LORA_H1},
    [MP_LORA_H2] = {"lora_h2", MP_ROWS_TOKEN, lora_h2_shape, 31, MP_LORA_H2},
    [MP_CACHE2] = {"cache2", MP_ROWS_CACHE, cache2_shape, 9, MP_CACHE2},
    [MP_CACHE3] = {"cache3", MP_ROWS_TOKEN, cache3_shape, 7, MP_CACHE3_HOOKED},
    [MP_CACHE3_HOOKED] = {"cache3_hooked", MP_ROWS_TOKEN, cache3_shape, -1, MP_CACHE3_HOOKED},
    [MP_OUT] = {"out", MP_ROWS_TOKEN, out_shape, -1, MP_OUT},
    [MP_W1_SCALE] = {"w1_scale", MP_ROWS_WHOLE, w1_scale_shape, 40, MP_W1_SCALE},
    [MP_W2_SCALE] = {"w2_scale", MP_ROWS_WHOLE, w2_scale_shape, 41, MP_W2_SCALE},
    [MP_X_CODES] = {"x_codes", MP_ROWS_TOKEN, x_codes_shape, 42, MP_X_CODES},
    [MP_X_SCALE] = {"x_scale", MP_ROWS_TOKEN, x_scale_shape, 43, MP_X_SCALE},
    [MP_CACHE2_CODES] = {"cache2_codes", MP_ROWS_CACHE, cache2_codes_shape, 44, MP_CACHE2_CODES},
    [MP_CACHE2_SCALE] = {"cache2_scale", MP_ROWS_CACHE, cache2_scale_shape, 45, MP_CACHE2_SCALE},
    [MP_W1_ZERO] = {"w1_zero", MP_ROWS_WHOLE, w1_zero_shape, 46, MP_W1_ZERO},
    [MP_W2_ZERO] = {"w2_zero", MP_ROWS_WHOLE, w2_zero_shape, 47, MP_W2_ZERO},
    [MP_W1_GLOBAL_SCALE] = {"w1_global_scale", MP_ROWS_WHOLE, w1_global_scale_shape, 48, MP_W1_GLOBAL_SCALE},
    [MP_W2_GLOBAL_SCALE] = {"w2_global_scale", MP_ROWS_WHOLE, w2_global_scale_shape, 49, MP_W2_GLOBAL_SCALE},
    [MP_X_TENSOR_SCALE] = {"x_tensor_scale", MP_ROWS_CHUNK, x_tensor_scale_shape, 50, MP_X_TENSOR_SCALE},
    [MP_X_GIVEN_SCALE] = {"x_given_scale", MP_ROWS_WHOLE, x_given_scale_shape, 51, MP_X_GIVEN_SCALE},
    [MP_CACHE2_TENSOR_SCALE] = {"cache2_tensor_scale", MP_ROWS_CHUNK, cache2_tensor_scale_shape, 52,
                                MP_CACHE2_TENSOR_SCALE},
    [MP_CACHE2_GIVEN_SCALE] = {"cache2_given_scale", MP_ROWS_WHOLE, cache2_given_scale_shape, 53,
                               MP_CACHE2_GIVEN_SCALE},
};

mp_dtype mp_case_dtype(const mp_case *c, mp_tensor_id id) {
    switch (id) {
    case MP_TOPK_IDS:
    case MP_TOKEN_LORA:
    case MP_ADAPTER_ENABLED:
    case MP_SEG_INDPTR:
    case MP_REQ_TO_LORA:
    case MP_EXPERT_MAP:
    case MP_NUMBERED_IDS:
    case MP_SORTED_TOKEN_IDS:
    case MP_EXPERT_IDS:
    case MP_NUM_TOKENS_POST_PADDED:
    case MP_MASKED_M:
    case MP_LORA_SORTED_IDS:
    case MP_LORA_EXPERT_IDS:
    case MP_LORA_NUM_PADDED: return MP_I32;
    case MP_TOPK_WEIGHTS: return MP_FP32;
    case MP_W1:
    case MP_W2: return c->quant ? mp_scheme_dtype(c, id) : c->dtype;
    case MP_W1_SCALE:
    case MP_W2_SCALE:
    case MP_W1_ZERO:
    case MP_W2_ZERO:
    case MP_W1_GLOBAL_SCALE:
    case MP_W2_GLOBAL_SCALE:
    case MP_X_CODES:
    case MP_X_SCALE:
    case MP_X_TENSOR_SCALE:
    case MP_X_GIVEN_SCALE:
    case MP_CACHE2_CODES:
    case MP_CACHE2_SCALE:
    case MP_CACHE2_TENSOR_SCALE:
    case MP_CACHE2_GIVEN_SCALE: return mp_scheme_dtype(c, id);
    case MP_X:
    case MP_B1:
    case MP_B2:
    case MP_CACHE1:
    case MP_CACHE1_HOOKED:
    case MP_CACHE2:
    case MP_CACHE3:
    case MP_CACHE3_HOOKED:
    case MP_OUT:
    case MP_SHARED_OUTPUT:
    case MP_LORA_A1:
    case MP_LORA_B1:
    case MP_LORA_A2:
    case MP_LORA_B2:
    case MP_LORA_H1:
    case MP_LORA_H2:
    case MP_TENSOR_COUNT: break;
    }
    return c->dtype;
}

mp_tensor mp_case_shape(const mp_case *c, mp_tensor_id id, int block_size_m) {
    return mp_tensors[id].shape(c, block_size_m);
}
