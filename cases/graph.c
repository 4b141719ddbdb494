/* SPDX-License-Identifier: Apache-2.0 */
/* The stages of cases: a row of mp_stages each, and the tensors that they read and write. */
#include "moeparity/graph.h"

#include "cases/graph_tables.h"
#include "cases/scheme.h"

static bool always(const mp_case *c) {
    (void)c;
    return true;
}

static bool combines(const mp_case *c) {
    const bool one_row_as_it_is = c->topk == 1 && (float)c->rsf == 1.0f && c->path == MP_FUSED &&
                                  c->shared != MP_SHARED_ADD && !mp_case_has_lora(c) &&
                                  !c->apply_router_weight_in_combine;
    return c->mode != MP_MODE_NO_COMBINE && (c->fused_sum || !one_row_as_it_is);
}

static bool quantises(const mp_case *c) {
    return mp_scheme_of(c)->quantises_activations;
}

#define ALIGN_TENSORS                                                                                   \
    (MP_IN_SET(MP_SORTED_TOKEN_IDS) | MP_IN_SET(MP_EXPERT_IDS) | MP_IN_SET(MP_NUM_TOKENS_POST_PADDED) | \
     MP_IN_SET(MP_MASKED_M) | MP_LORA_ALIGN_TENSORS)
#define IDS (MP_IN_SET(MP_TOPK_IDS) | MP_IN_SET(MP_EXPERT_MAP))
#define X_QUANTISED (MP_IN_SET(MP_X_CODES) | MP_IN_SET(MP_X_SCALE) | MP_IN_SET(MP_X_TENSOR_SCALE))
#define CACHE2_QUANTISED \
    (MP_IN_SET(MP_CACHE2_CODES) | MP_IN_SET(MP_CACHE2_SCALE) | MP_IN_SET(MP_CACHE2_TENSOR_SCALE))
#define W1_SCALES (MP_IN_SET(MP_W1_SCALE) | MP_IN_SET(MP_W1_ZERO) | MP_IN_SET(MP_W1_GLOBAL_SCALE))
#define W2_SCALES (MP_IN_SET(MP_W2_SCALE) | MP_IN_SET(MP_W2_ZERO) | MP_IN_SET(MP_W2_GLOBAL_SCALE))
#define ROUTING_TENSORS (IDS | MP_IN_SET(MP_TOPK_WEIGHTS) | ALIGN_TENSORS)

#define SEGMENTS (MP_IN_SET(MP_SEG_INDPTR) | MP_IN_SET(MP_REQ_TO_LORA)) /* what token_lora says already */
#define LORA_MAP (MP_IN_SET(MP_TOKEN_LORA) | MP_IN_SET(MP_ADAPTER_ENABLED) | SEGMENTS)
#define LORA_TENSORS (IDS | LORA_MAP | MP_LORA_ALIGN_TENSORS)

/* What all stages, both GEMMs, and LoRA's stages have in common of a case's fields. */
#define IDS_FIELDS "filter ep_size ep_rank expert_map sentinel"
#define PLACE_FIELDS "weight_row_gap weight_expert_gap buffer_offset"
#define LORA_MAP_FIELDS "lora_adapters lora_map lora_routing lora_disabled"
#define LORA_FIELDS                                                                              \
    "M E topk dtype " IDS_FIELDS " buffer_offset scope tile data routing seed shared lora_rank " \
    "lora_ranks lora_outer lora_data " LORA_MAP_FIELDS

const mp_stage_info mp_stages[MP_STAGE_COUNT] = {
    [MP_ALIGN] = {always, IDS | LORA_MAP, ALIGN_TENSORS, MP_SORTED_TOKEN_IDS,
                  "M E topk " IDS_FIELDS
                  " path buffer_offset scope tile routing seed shared " LORA_MAP_FIELDS},
    [MP_QUANT_X] = {quantises, MP_IN_SET(MP_X) | MP_IN_SET(MP_X_GIVEN_SCALE) | IDS, X_QUANTISED, MP_X_CODES,
                    "M E topk K dtype " IDS_FIELDS
                    " buffer_offset scope data routing seed shared quant group scale_layout"},
    [MP_GATE_UP] = {always,
                    MP_IN_SET(MP_X) | X_QUANTISED | MP_IN_SET(MP_X_GIVEN_SCALE) | MP_IN_SET(MP_W1) |
                        W1_SCALES | MP_IN_SET(MP_B1) | ROUTING_TENSORS,
                    MP_IN_SET(MP_CACHE1), MP_CACHE1,
                    "M E topk K N dtype gated apply_router_weight_on_input bias " IDS_FIELDS " " PLACE_FIELDS
                    " scope tile gemm data routing seed shared quant group scale_layout"},
    [MP_SHRINK_GATE_UP] = {mp_case_has_lora, MP_IN_SET(MP_X) | MP_IN_SET(MP_LORA_A1) | LORA_TENSORS,
                           MP_IN_SET(MP_LORA_H1), MP_LORA_H1, "K gated " LORA_FIELDS},
    [MP_EXPAND_GATE_UP] = {mp_case_has_lora,
                           MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_LORA_H1) | MP_IN_SET(MP_LORA_B1) |
                               LORA_TENSORS,
                           MP_IN_SET(MP_CACHE1_HOOKED), MP_CACHE1_HOOKED, "N gated interleaved " LORA_FIELDS},
    [MP_ACT] = {always, MP_IN_SET(MP_CACHE1) | IDS, MP_IN_SET(MP_CACHE2), MP_CACHE2,
                "M E topk N dtype act gated alpha limit interleaved " IDS_FIELDS
                " buffer_offset scope data routing seed shared"},
    [MP_QUANT_ACT] = {quantises, MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_CACHE2_GIVEN_SCALE) | IDS,
                      CACHE2_QUANTISED, MP_CACHE2_CODES,
                      "M E topk N dtype " IDS_FIELDS
                      " buffer_offset scope data routing seed shared quant group scale_layout"},
    [MP_DOWN] =
        {always,
         MP_IN_SET(MP_CACHE2) | CACHE2_QUANTISED | MP_IN_SET(MP_CACHE2_GIVEN_SCALE) | MP_IN_SET(MP_W2) |
             W2_SCALES | MP_IN_SET(MP_B2) | ROUTING_TENSORS,
         MP_IN_SET(MP_CACHE3), MP_CACHE3,
         "M E topk K N dtype apply_router_weight_on_input apply_router_weight_in_combine bias " IDS_FIELDS
         " " PLACE_FIELDS " scope tile tile_down gemm data routing seed shared quant group scale_layout"},
    [MP_SHRINK_DOWN] = {mp_case_has_lora, MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_LORA_A2) | LORA_TENSORS,
                        MP_IN_SET(MP_LORA_H2), MP_LORA_H2, "N " LORA_FIELDS},
    [MP_EXPAND_DOWN] = {mp_case_has_lora,
                        MP_IN_SET(MP_CACHE3) | MP_IN_SET(MP_LORA_H2) | MP_IN_SET(MP_LORA_B2) |
                            MP_IN_SET(MP_TOPK_WEIGHTS) | LORA_TENSORS,
                        MP_IN_SET(MP_CACHE3_HOOKED), MP_CACHE3_HOOKED,
                        "K apply_router_weight_on_input apply_router_weight_in_combine " LORA_FIELDS},
    [MP_COMBINE] = {combines,
                    MP_IN_SET(MP_CACHE3) | IDS | MP_IN_SET(MP_TOPK_WEIGHTS) | MP_IN_SET(MP_SHARED_OUTPUT),
                    MP_IN_SET(MP_OUT), MP_OUT,
                    "M E topk K dtype rsf apply_router_weight_in_combine " IDS_FIELDS
                    " buffer_offset scope data routing seed shared"},
};

const char *mp_tensor_name(mp_tensor_id id) {
    return (unsigned)id < MP_TENSOR_COUNT ? mp_tensors[id].name : "?";
}

const char *mp_stage_name(mp_stage stage) {
#define NAME(stage, scope, name) #name,
    static const char *const names[MP_STAGE_COUNT] = {MP_STAGES(NAME)};
#undef NAME
    return (unsigned)stage < MP_STAGE_COUNT ? names[stage] : "?";
}

/* ---- what a case has of them ---- */

_Static_assert(MP_SCOPE_COUNT == 1 + (int)MP_STAGE_COUNT, "a scope is a stage, or all of them");

bool mp_case_has_stage(const mp_case *c, mp_stage stage) {
    return c->scope == MP_SCOPE_ALL ? mp_stages[stage].present(c) : (int)c->scope == 1 + (int)stage;
}

mp_tensor_id mp_stage_output(const mp_case *c, mp_stage stage) {
    const mp_stage rows_made = mp_case_has_lora(c) ? MP_EXPAND_DOWN : MP_DOWN;
    const bool direct = stage == rows_made && c->scope == MP_SCOPE_ALL && !mp_case_has_stage(c, MP_COMBINE);
    return direct ? MP_OUT : mp_stages[stage].output;
}

_Static_assert((int)MP_COMBINE + 1 == (int)MP_STAGE_COUNT, "runs end with combine, and out is what it makes");

bool mp_stage_is_lora(mp_stage stage) {
    return stage == MP_SHRINK_GATE_UP || stage == MP_EXPAND_GATE_UP || stage == MP_SHRINK_DOWN ||
           stage == MP_EXPAND_DOWN;
}

bool mp_stage_rows_are_slots(mp_stage stage) {
    return stage != MP_COMBINE && stage != MP_QUANT_X;
}

/* Those of a set that the case has. It is asked for last, and once: shapes cost more than sets. */
static mp_tensor_set with_shape(const mp_case *c, mp_tensor_set set) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (set & MP_IN_SET(id) && mp_case_shape(c, (mp_tensor_id)id, 16).rank == 0) set &= ~MP_IN_SET(id);
    return set;
}

/* What a stage reads and writes, tensors that the case has not among them. */
static mp_tensor_set may_read(const mp_case *c, mp_stage stage) {
    mp_tensor_set set = mp_stages[stage].reads;
    if (quantises(c) && stage == MP_GATE_UP) set &= ~MP_IN_SET(MP_X);
    if (quantises(c) && stage == MP_DOWN) set &= ~MP_IN_SET(MP_CACHE2);
    if (stage == MP_COMBINE && !mp_stage_weighs(c, stage)) set &= ~MP_IN_SET(MP_TOPK_WEIGHTS);
    return set;
}

static mp_tensor_set may_write(const mp_case *c, mp_stage stage) {
    const bool moved = mp_stage_output(c, stage) != mp_stages[stage].output;
    return moved ? MP_IN_SET(MP_OUT) : mp_stages[stage].writes;
}

static mp_tensor_set of_all_stages(const mp_case *c, mp_tensor_set of(const mp_case *, mp_stage)) {
    mp_tensor_set set = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (mp_case_has_stage(c, (mp_stage)s)) set |= of(c, (mp_stage)s);
    return set;
}

mp_tensor_set mp_stage_reads(const mp_case *c, mp_stage stage) {
    return with_shape(c, may_read(c, stage));
}

mp_tensor_set mp_stage_writes(const mp_case *c, mp_stage stage) {
    return with_shape(c, may_write(c, stage));
}

mp_tensor_set mp_case_hidden(const mp_case *c) {
    return (c->fused_sum ? MP_IN_SET(MP_CACHE3) : 0) | (c->fused_quant ? MP_IN_SET(MP_CACHE2) : 0);
}

mp_tensor_set mp_case_outputs(const mp_case *c) {
    return with_shape(c, of_all_stages(c, may_write) & ~mp_case_hidden(c));
}

/* Whether a stage reads the tensor, which the case has, as hooks leave it, which one that makes the other of
 * it does not. */
static bool hooks_are_seen(const mp_case *c, mp_tensor_id id) {
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (mp_case_has_stage(c, (mp_stage)s) && may_read(c, (mp_stage)s) & MP_IN_SET(id) &&
            !(mp_stages[s].writes & MP_IN_SET(mp_tensors[id].as_read)))
            return true;
    return false;
}

mp_tensor_set mp_case_possible_outputs(const mp_case *c) {
    mp_tensor_set set = mp_case_outputs(c);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (set & MP_IN_SET(id) && hooks_are_seen(c, (mp_tensor_id)id))
            set |= MP_IN_SET(mp_tensors[id].as_read);
    return with_shape(c, set);
}

mp_tensor_set mp_case_inputs(const mp_case *c) {
    return with_shape(c, of_all_stages(c, may_read) & ~of_all_stages(c, may_write));
}

bool mp_stage_weighs(const mp_case *c, mp_stage stage) {
    if (stage == MP_GATE_UP) return c->apply_router_weight_on_input;
    if (c->apply_router_weight_on_input) return false;
    if (c->mode == MP_MODE_NO_COMBINE && !c->no_combine_keep_router_weight) return false;
    return c->apply_router_weight_in_combine ? stage == MP_COMBINE
                                             : stage == MP_DOWN || stage == MP_EXPAND_DOWN;
}

double mp_stage_products(const mp_case *c, mp_stage stage) {
    if (!mp_case_has_stage(c, stage)) return 0;
    return stage == MP_GATE_UP ? (double)mp_case_w1_rows(c) * (double)c->K
           : stage == MP_DOWN  ? (double)c->K * (double)c->N
                               : 0;
}

double mp_case_products(const mp_case *c) {
    return mp_stage_products(c, MP_GATE_UP) + mp_stage_products(c, MP_DOWN);
}

mp_tensor_set mp_stage_needs(const mp_case *c, mp_stage stage) {
    const bool picks =
        stage == MP_ALIGN || stage == MP_GATE_UP || stage == MP_DOWN || mp_stage_is_lora(stage);
    const mp_tensor_set written = with_shape(c, of_all_stages(c, may_write));
    mp_tensor_set set = mp_stage_reads(c, stage) & ~(ALIGN_TENSORS | SEGMENTS);
    if (!mp_stage_weighs(c, stage)) set &= ~MP_IN_SET(MP_TOPK_WEIGHTS);
    set &= ~MP_IN_SET(MP_EXPERT_MAP); /* topk_ids are this rank's already */
    if (!picks) set &= ~MP_IN_SET(MP_TOPK_IDS);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) { /* what a stage of the case has made of it */
        const mp_tensor_id read = mp_tensors[id].as_read;
        if ((int)read == id || !(set & MP_IN_SET(id)) || !(written & MP_IN_SET(read))) continue;
        if (!(mp_stages[stage].writes & MP_IN_SET(read))) set ^= MP_IN_SET(id) | MP_IN_SET(read);
    }
    return with_shape(c, set);
}

mp_tensor_set mp_case_derived_inputs(const mp_case *c) {
    return mp_case_inputs(c) & ALIGN_TENSORS;
}

/* ---- parts of a batch ---- */

int64_t mp_case_chunks(const mp_case *c) {
    if (c->path != MP_CHUNKED || c->M == 0) return 1; /* no tokens are one chunk of none */
    return (c->M + MP_CHUNK_TOKENS - 1) / MP_CHUNK_TOKENS;
}

int64_t mp_case_chunk_tokens(const mp_case *c, int64_t chunk) {
    if (c->path != MP_CHUNKED) return c->M;
    const int64_t left = c->M - chunk * MP_CHUNK_TOKENS;
    return left < MP_CHUNK_TOKENS ? left : MP_CHUNK_TOKENS;
}

mp_case mp_case_chunk(const mp_case *c, int64_t chunk) {
    mp_case part = *c;
    part.M = mp_case_chunk_tokens(c, chunk);
    return part;
}

size_t mp_token_bytes(const mp_case *c, const mp_tensor *t) {
    return c->M > 0 ? mp_tensor_bytes(t) / (size_t)c->M : 0;
}

void mp_token_window(const mp_case *c, int64_t first, int64_t count, const mp_tensor from[MP_TENSOR_COUNT],
                     mp_tensor to[MP_TENSOR_COUNT]) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_rows rows = mp_tensors[id].rows;
        to[id] = from[id];
        if (!from[id].data || (rows != MP_ROWS_TOKEN && rows != MP_ROWS_CACHE)) continue;
        if (first == 0 && count == c->M) continue; /* all of it, whatever the layout */
        to[id].data = (char *)from[id].data + (size_t)first * mp_token_bytes(c, &from[id]);
        to[id].dim[0] = from[id].dim[0] / c->M * count;
    }
}

void mp_case_chunk_tensors(const mp_case *c, int64_t chunk, const mp_tensor from[MP_TENSOR_COUNT],
                           mp_tensor to[MP_TENSOR_COUNT]) {
    mp_token_window(c, chunk * MP_CHUNK_TOKENS, mp_case_chunk_tokens(c, chunk), from, to);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (mp_tensors[id].rows != MP_ROWS_CHUNK || !from[id].data) continue;
        to[id].data =
            (char *)from[id].data + (size_t)chunk * (mp_tensor_bytes(&from[id]) / (size_t)from[id].dim[0]);
        to[id].dim[0] = 1;
    }
}
