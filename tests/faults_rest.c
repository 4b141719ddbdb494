/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of align, activation and combine, and those of a whole run. */
#include "tests/faults.h"

#include "ref/activation.h"
#include "ref/align.h"
#include "ref/predict/activation_f32.h"

#include <stdio.h>
#include <string.h>

static void fill_row(const mp_tensor *t, int64_t row, uint32_t pattern);

/* ---- align ---- */

static int32_t *align_of(const faulty_run *run, mp_tensor_id which) {
    return run->trace->t[which].data;
}

/* The counts are right, but slots j > 0 of a token are never scattered. */
void only_slot_zero_scattered(const faulty_run *run) {
    const mp_tensor *sorted = &run->trace->t[MP_SORTED_TOKEN_IDS];
    const int32_t slots = (int32_t)mp_case_slots(run->c);
    int32_t *id = sorted->data;
    for (int64_t p = 0; p < mp_tensor_count(sorted); p++)
        if (id[p] < slots && id[p] % run->c->topk != 0) id[p] = slots;
}

void minus_one_counted(const faulty_run *run) {
    int32_t *counters = align_of(run, MP_SORTED_TOKEN_IDS);
    counters[-1] += 1;
}

void pads_are_zero(const faulty_run *run) {
    const mp_tensor *sorted = &run->trace->t[MP_SORTED_TOKEN_IDS];
    int32_t *id = sorted->data;
    for (int64_t p = 0; p < mp_tensor_count(sorted); p++)
        if (id[p] == mp_case_slots(run->c)) id[p] = 0;
}

void counter_not_zeroed(const faulty_run *run) {
    int32_t *total = align_of(run, MP_NUM_TOKENS_POST_PADDED);
    *total = (int32_t)((uint32_t)*total + run->poison);
}

void wrong_order_of_many(const faulty_run *run) {
    int32_t *id = align_of(run, MP_SORTED_TOKEN_IDS);
    if (run->c->M <= 13000) return;
    const int32_t first = id[0];
    id[0] = id[1];
    id[1] = first;
}

/* A search that runs before the counts are complete: wrong in one run of several. */
void barrier_missing(const faulty_run *run) {
    int32_t *expert = align_of(run, MP_EXPERT_IDS);
    if (run->number == 1) expert[0] = (int32_t)run->c->E - 1 - expert[0];
}

void last_expert_forgotten(const faulty_run *run) {
    const mp_tensor *experts = &run->trace->t[MP_EXPERT_IDS];
    int32_t *id = experts->data;
    for (int64_t b = 0; b < mp_tensor_count(experts); b++)
        if (id[b] == run->c->E - 1) id[b] = -1;
}

/* Experts are taken four at a time, and the last of them are forgotten. */
void experts_in_fours(const faulty_run *run) {
    const mp_tensor *experts = &run->trace->t[MP_EXPERT_IDS];
    int32_t *id = experts->data;
    for (int64_t b = 0; b < mp_tensor_count(experts); b++)
        if (id[b] >= run->c->E / 4 * 4) id[b] = -1;
}

/* An expert's number is kept in 8 bits; or one block of 1024 threads counts, a thread an expert. */
static void experts_modulo(const faulty_run *run, int32_t count) {
    const mp_tensor *experts = &run->trace->t[MP_EXPERT_IDS];
    int32_t *id = experts->data;
    for (int64_t b = 0; b < mp_tensor_count(experts); b++)
        if (id[b] >= count) id[b] %= count;
}
void expert_in_eight_bits(const faulty_run *run) {
    experts_modulo(run, 256);
}
void experts_beyond_a_block(const faulty_run *run) {
    experts_modulo(run, 1024);
}

/* The slots of an expert are counted in 16 bits. */
void slots_in_sixteen_bits(const faulty_run *run) {
    const mp_tensor *experts = &run->trace->t[MP_EXPERT_IDS];
    int32_t *id = experts->data, *total = align_of(run, MP_NUM_TOKENS_POST_PADDED);
    if (run->c->E == 1 && *total > 65536) *total -= 65536;
    for (int64_t b = *total / run->trace->block_size_m; b < mp_tensor_count(experts); b++) id[b] = -1;
}

/* Some numbers of tokens of a sweep, and no power of two among them. */
void wrong_for_some_tokens(const faulty_run *run) {
    int32_t *id = align_of(run, MP_SORTED_TOKEN_IDS);
    if (run->c->M == 3 || run->c->M == 9 || run->c->M == 99) id[0] = id[1];
}

/* A batch of no tokens starts nothing: what it should leave is as it was before. */
void nothing_launched(const faulty_run *run) {
    if (run->c->M == 0) memcpy(align_of(run, MP_NUM_TOKENS_POST_PADDED), &run->poison, sizeof run->poison);
}

/* A batch of no tokens is rounded up to one, whose row is written. */
void row_of_no_token_written(const faulty_run *run) {
    const mp_tensor *out = &run->trace->t[MP_OUT];
    if (run->c->M == 0) memset(out->data, 0, (size_t)out->dim[1] * mp_dtype_size(out->dtype));
}

/* Masked layout: counts that are padded to whole blocks, or take filtered slots for expert 0's. */
void counts_padded(const faulty_run *run) {
    int32_t *count = align_of(run, MP_MASKED_M);
    const int bm = run->trace->block_size_m;
    for (int64_t e = 0; e < run->c->E; e++) count[e] = (count[e] + bm - 1) / bm * bm;
}
void filtered_slots_counted(const faulty_run *run) {
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        if (ids_of(run)[t] < 0) align_of(run, MP_MASKED_M)[0]++;
}

/* Graph-padding rows keep expert 0 instead of -1: their blocks are nobody's. */
void padding_not_masked(const faulty_run *run) {
    const mp_tensor *experts = &run->trace->t[MP_EXPERT_IDS];
    int32_t *id = experts->data;
    const int64_t blocks = *align_of(run, MP_NUM_TOKENS_POST_PADDED) / run->trace->block_size_m;
    for (int64_t b = 0; b < blocks; b++)
        if (id[b] == -1) id[b] = 0;
}

/* Align of ids as a kernel misreads them; the stages behind it stay as they were. */
typedef int32_t read_id_fn(const faulty_run *run, int64_t slot);
static void align_misread(const faulty_run *run, read_id_fn *read) {
    mp_tensor ids = copy_tensor(&run->in->t[MP_TOPK_IDS]);
    mp_tensor t[MP_TENSOR_COUNT];
    memcpy(t, run->trace->t, sizeof t);
    for (int64_t slot = 0; slot < mp_case_slots(run->c); slot++)
        ((int32_t *)ids.data)[slot] = read(run, slot);
    t[MP_TOPK_IDS] = ids;
    mp_ref_align(run->c, run->trace->block_size_m, t, NULL);
    mp_tensor_free(&ids);
}

/* As Python and numpy index: from the end. */
static int32_t last_of_the_map(const faulty_run *run, int64_t slot) {
    const int32_t id = run->given[slot];
    return run->expert_map[id < 0 ? run->c->E * run->c->ep_size - 1 : id];
}
static int32_t global_for_local(const faulty_run *run, int64_t slot) {
    return run->given[slot] < run->c->E ? run->given[slot] : -1;
}
/* A run of E experts a rank, whatever the map says. */
static int32_t by_the_rank(const faulty_run *run, int64_t slot) {
    const int64_t local = run->given[slot] - run->c->ep_rank * run->c->E;
    return local >= 0 && local < run->c->E ? (int32_t)local : -1;
}
static int32_t sentinel_for_an_expert(const faulty_run *run, int64_t slot) {
    const int32_t id = run->given[slot], last = (int32_t)run->c->E - 1;
    return id > last ? last : id;
}
/* The number that the model uses is known, and no other. */
static int32_t one_sentinel_known(const faulty_run *run, int64_t slot) {
    const int32_t id = run->given[slot], experts = (int32_t)run->c->E;
    return id == experts || id < 0 ? -1 : id % experts;
}

/* What has no entry in the map is looked up in its last one. */
static int32_t entry_of_a_sentinel(const faulty_run *run, int64_t slot) {
    const int32_t id = run->given[slot], last = (int32_t)(run->c->E * run->c->ep_size) - 1;
    return id < 0 ? -1 : run->expert_map[id > last ? last : id];
}

void sentinel_in_the_map(const faulty_run *run) {
    align_misread(run, entry_of_a_sentinel);
}
void map_read_at_minus_one(const faulty_run *run) {
    align_misread(run, last_of_the_map);
}
void map_ignored(const faulty_run *run) {
    align_misread(run, global_for_local);
}
void map_taken_for_linear(const faulty_run *run) {
    align_misread(run, by_the_rank);
}
void sentinel_clamped(const faulty_run *run) {
    align_misread(run, sentinel_for_an_expert);
}
void other_sentinel_routed(const faulty_run *run) {
    align_misread(run, one_sentinel_known);
}

/* A count for each expert, and one behind them for each slot of the sentinel's. */
void sentinel_counted(const faulty_run *run) {
    int32_t *counters = align_of(run, MP_SORTED_TOKEN_IDS);
    for (int64_t slot = 0; slot < mp_case_slots(run->c); slot++)
        if (run->given[slot] >= run->c->E) counters[run->trace->t[MP_SORTED_TOKEN_IDS].dim[1]]++;
}

/* ---- activation ---- */

/* The ids of all ranks, compared with the number of experts here: own rows are left out. */
void map_ignored_by_act(const faulty_run *run) {
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        if (run->given[t] >= run->c->E) fill_row(&run->trace->t[MP_CACHE2], t, run->poison);
}

/* Only -1 is looked at: the rows of other sentinels' slots are written. */
void sentinel_row_activated(const faulty_run *run) {
    const mp_tensor *cache2 = &run->trace->t[MP_CACHE2];
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        for (int64_t n = 0; n < run->c->N && run->given[t] >= run->c->E; n++)
            mp_encode(cache2->dtype, cache2->data, t * run->c->N + n, 0);
}

static float activate_as(const mp_case *c, mp_activation act, float gate, float up) {
    return mp_activate_f32((int)act, c->gated, gate, up, (float)c->alpha, (float)c->limit);
}

static float as_gelu(const mp_case *c, float gate, float up) {
    return activate_as(c, MP_GELU, gate, up);
}
static float as_gelu_tanh(const mp_case *c, float gate, float up) {
    return activate_as(c, MP_GELU_TANH, gate, up);
}
static float as_clamp_silu(const mp_case *c, float gate, float up) {
    return activate_as(c, MP_CLAMP_SILU, gate, up);
}
static float exchanged(const mp_case *c, float gate, float up) {
    return activate_as(c, c->act, up, gate);
}
static float gate_in_dtype(const mp_case *c, float gate, float up) {
    return (float)mp_round_to(c->dtype, (double)activate_as(c, c->act, gate, 1.0f)) * up;
}
static float without_limit(const mp_case *c, float gate, float up) {
    return mp_activate_f32((int)c->act, true, gate, up, (float)c->alpha, 1e30f);
}
/* fminf and fmaxf of C and of PTX give the other operand for a NaN. */
static float clamp_swallows_nan(const mp_case *c, float gate, float up) {
    const float limit = (float)c->limit;
    return activate_as(c, c->act, fminf(gate, limit), fmaxf(fminf(up, limit), -limit));
}
static float with_alpha_one(const mp_case *c, float gate, float up) {
    return mp_activate_f32((int)c->act, true, gate, up, 1.0f, (float)c->limit);
}
static float without_plus_one(const mp_case *c, float gate, float up) {
    return mp_swish(mp_at_most(gate, (float)c->limit), (float)c->alpha) * mp_clamp(up, (float)c->limit);
}
static float max_swallows_nan(const mp_case *c, float gate, float up) {
    (void)c, (void)up;
    const float v = fmaxf(gate, 0.0f);
    return v * v;
}

void erf_for_tanh(const faulty_run *run) {
    store_activation(run, as_gelu);
}
void tanh_for_erf(const faulty_run *run) {
    store_activation(run, as_gelu_tanh);
}
void clamp_before_silu(const faulty_run *run) {
    store_activation(run, as_clamp_silu);
}
void gate_and_up_exchanged(const faulty_run *run) {
    store_activation(run, exchanged);
}
void gate_rounded_first(const faulty_run *run) {
    store_activation(run, gate_in_dtype);
}
void limit_ignored(const faulty_run *run) {
    store_activation(run, without_limit);
}
/* The kernel with a filter has no clamp. */
void limit_ignored_with_filter(const faulty_run *run) {
    if (run->c->filter > 0) store_activation(run, without_limit);
}
void nan_swallowed_by_clamp(const faulty_run *run) {
    store_activation(run, clamp_swallows_nan);
}
void alpha_ignored(const faulty_run *run) {
    store_activation(run, with_alpha_one);
}
void plus_one_missing(const faulty_run *run) {
    store_activation(run, without_plus_one);
}
void nan_swallowed(const faulty_run *run) {
    store_activation(run, max_swallows_nan);
}

void interleaved_read_as_halves(const faulty_run *run) {
    mp_case halves = *run->c;
    halves.interleaved = false;
    faulty_run misread = *run;
    misread.c = &halves;
    redo_from(&misread, MP_ACT);
}

static void fill_row(const mp_tensor *t, int64_t row, uint32_t pattern) {
    char *data = mp_tensor_row(t, row);
    for (int64_t i = 0; i < t->dim[1] * (int64_t)mp_dtype_size(t->dtype); i += 2)
        memcpy(data + i, &pattern, 2);
}

void filtered_row_written(const faulty_run *run) {
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        if (ids_of(run)[t] < 0) fill_row(&run->trace->t[MP_CACHE2], t, 0);
}

/* Zeros as a product with 0 gives them, instead of written ones. */
void filtered_zeros_negative(const faulty_run *run) {
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        if (ids_of(run)[t] < 0) fill_row(&run->trace->t[MP_CACHE1], t, 0x8000);
}

/* Masked layout: every expert's rows are read where those of expert 0 begin. */
void rows_of_expert_zero(const faulty_run *run) {
    const mp_tensor *cache2 = &run->trace->t[MP_CACHE2];
    const size_t bytes = (size_t)cache2->dim[1] * mp_dtype_size(cache2->dtype);
    const int64_t max_m = cache2->dim[0] / run->c->E;
    for (int64_t e = 1; e < run->c->E; e++)
        for (int64_t m = 0; m < align_of(run, MP_MASKED_M)[e]; m++)
            memcpy(mp_tensor_row(cache2, e * max_m + m), mp_tensor_row(cache2, m), bytes);
    redo_from(run, MP_DOWN);
}

/* A filter that looks at another block's expert skips a row it should write. */
void valid_row_skipped(const faulty_run *run) {
    fill_row(&run->trace->t[MP_CACHE2], mp_case_slots(run->c) - 1, run->poison);
    redo_from(run, MP_DOWN);
}

/* One block a row, and a launch error beyond 65535 of them that nobody looks at. */
void rows_beyond_grid_unwritten(const faulty_run *run) {
    for (int64_t t = 65535; t < mp_case_slots(run->c); t++)
        fill_row(&run->trace->t[MP_CACHE2], t, run->poison);
    redo_from(run, MP_DOWN);
}

/* ---- combine ---- */

static float sum_of(const faulty_run *run, int64_t token, int64_t column) {
    float sum = 0;
    for (int64_t j = 0; j < run->c->topk; j++)
        sum += (float)cache3_value(run, token * run->c->topk + j, column);
    return sum;
}
static float in_dtype(const faulty_run *run, float value) {
    return (float)mp_round_to(run->c->dtype, (double)value);
}

static float unscaled(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of(run, token, column);
}
static float scaled_twice(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of(run, token, column) * (float)run->c->rsf * (float)run->c->rsf;
}
static float scale_in_bf16(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of(run, token, column) * (float)mp_round_to(MP_BF16, run->c->rsf);
}
static float rounded_then_scaled(const faulty_run *run, int64_t token, int64_t column) {
    return in_dtype(run, sum_of(run, token, column)) * (float)run->c->rsf;
}
static float summed_in_dtype(const faulty_run *run, int64_t token, int64_t column) {
    float sum = 0;
    for (int64_t j = 0; j < run->c->topk; j++)
        sum = in_dtype(run, sum + (float)cache3_value(run, token * run->c->topk + j, column));
    return sum * (float)run->c->rsf;
}
static float last_slot_dropped(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of(run, token, column) - (float)cache3_value(run, (token + 1) * run->c->topk - 1, column);
}
/* What an earlier call left in a filtered slot's row: here the row of the token's first valid slot. */
static float stale_slot_summed(const faulty_run *run, int64_t token, int64_t column) {
    const int64_t topk = run->c->topk, first = token * topk;
    int64_t valid = 0;
    while (valid < topk - 1 && ids_of(run)[first + valid] < 0) valid++;
    float sum = 0;
    for (int64_t j = 0; j < topk; j++)
        sum += (float)cache3_value(run, first + (ids_of(run)[first + j] < 0 ? valid : j), column);
    return sum;
}
/* The sum has code for topk up to so many, and leaves out the rest. */
static float sum_of_first(const faulty_run *run, int64_t token, int64_t column, int64_t most) {
    float sum = 0;
    for (int64_t j = 0; j < run->c->topk && j < most; j++)
        sum += (float)cache3_value(run, token * run->c->topk + j, column);
    return sum;
}
static float eight_slots(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of_first(run, token, column, 8);
}
static float slots_of_a_warp(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of_first(run, token, column, 32);
}
static float from_wrapped_offset(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of(run, token % 32, column);
}
/* The last chunk reads cache3 at first instead of first*topk. */
static float from_wrong_chunk(const faulty_run *run, int64_t token, int64_t column) {
    if (token < MP_CHUNK_TOKENS) return sum_of(run, token, column);
    float sum = 0;
    for (int64_t j = 0; j < run->c->topk; j++)
        sum +=
            (float)cache3_value(run, MP_CHUNK_TOKENS + (token - MP_CHUNK_TOKENS) * run->c->topk + j, column);
    return sum;
}
/* The shared output is scaled like the rest, or added to a sum that was stored before; or everything is
 * rounded, each term and each addition. */
static float shared_scaled_too(const faulty_run *run, int64_t token, int64_t column) {
    return (sum_of(run, token, column) + (float)shared_value(run, token, column)) * (float)run->c->rsf;
}
static float shared_after_a_store(const faulty_run *run, int64_t token, int64_t column) {
    return in_dtype(run, sum_of(run, token, column) * (float)run->c->rsf) +
           (float)shared_value(run, token, column);
}
static float all_in_dtype(const faulty_run *run, int64_t token, int64_t column) {
    return in_dtype(run, summed_in_dtype(run, token, column)) + (float)shared_value(run, token, column);
}
static float shared_of_token_zero(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of(run, token, column) * (float)run->c->rsf + (float)shared_value(run, 0, column);
}
/* Loads of 16 bytes, from the boundary before the first element: a column too early. */
static float from_the_boundary(const faulty_run *run, int64_t token, int64_t column) {
    const mp_tensor *cache3 = &run->in->t[MP_CACHE3];
    float sum = 0;
    for (int64_t j = 0; j < run->c->topk; j++)
        sum += (float)mp_decode(cache3->dtype, cache3->data,
                                (token * run->c->topk + j) * run->c->K + column - run->c->buffer_offset);
    return sum * (float)run->c->rsf;
}
static float nothing(const faulty_run *run, int64_t token, int64_t column) {
    (void)run, (void)token, (void)column;
    return 0;
}
/* topk == 1 took the short way, so that nobody wrote the buffer that the scaling reads. */
static float scaled_poison(const faulty_run *run, int64_t token, int64_t column) {
    (void)token, (void)column;
    return (float)run->c->rsf * (float)mp_decode(MP_FP32, &run->poison, 0);
}

/* Router weights in combine. */
static float weighed_by(const faulty_run *run, int64_t token, int64_t column,
                        float (*weight)(const faulty_run *run, int64_t slot)) {
    float sum = 0;
    for (int64_t slot = token * run->c->topk; slot < (token + 1) * run->c->topk; slot++)
        sum += weight(run, slot) * (float)cache3_value(run, slot, column);
    return sum * (float)run->c->rsf + (float)shared_value(run, token, column);
}
static float weight_as_it_stands(const faulty_run *run, int64_t slot) {
    return ((const float *)run->in->t[MP_TOPK_WEIGHTS].data)[slot];
}
static float weight_of_the_place(const faulty_run *run, int64_t slot) {
    return combine_weight(run, slot % run->c->topk);
}
static float weight_in_dtype(const faulty_run *run, int64_t slot) {
    return in_dtype(run, combine_weight(run, slot));
}
static float unweighed(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of(run, token, column) * (float)run->c->rsf + (float)shared_value(run, token, column);
}
static float weighed_twice(const faulty_run *run, int64_t token, int64_t column) {
    float sum = 0;
    for (int64_t slot = token * run->c->topk; slot < (token + 1) * run->c->topk; slot++)
        sum += combine_weight(run, slot) * combine_weight(run, slot) * (float)cache3_value(run, slot, column);
    return sum * (float)run->c->rsf;
}
static float weighed_in_filtered_slots(const faulty_run *run, int64_t token, int64_t column) {
    return weighed_by(run, token, column, weight_as_it_stands);
}
static float weighed_without_topk(const faulty_run *run, int64_t token, int64_t column) {
    return weighed_by(run, token, column, weight_of_the_place);
}
static float weighed_in_dtype(const faulty_run *run, int64_t token, int64_t column) {
    return weighed_by(run, token, column, weight_in_dtype);
}
static float products_in_dtype(const faulty_run *run, int64_t token, int64_t column) {
    float sum = 0;
    for (int64_t slot = token * run->c->topk; slot < (token + 1) * run->c->topk; slot++)
        sum += in_dtype(run, combine_weight(run, slot) * (float)cache3_value(run, slot, column));
    return sum * (float)run->c->rsf;
}
void combine_weight_missing(const faulty_run *run) {
    store_combine(run, unweighed);
}
void combine_weight_twice(const faulty_run *run) {
    store_combine(run, weighed_twice);
}
void combine_weight_of_filtered_slots(const faulty_run *run) {
    store_combine(run, weighed_in_filtered_slots);
}
void combine_weight_without_topk(const faulty_run *run) {
    store_combine(run, weighed_without_topk);
}
void combine_weight_in_dtype(const faulty_run *run) {
    store_combine(run, weighed_in_dtype);
}
void combine_products_in_dtype(const faulty_run *run) {
    store_combine(run, products_in_dtype);
}
void scale_missing(const faulty_run *run) {
    store_combine(run, unscaled);
}
void scale_twice(const faulty_run *run) {
    store_combine(run, scaled_twice);
}
void scale_rounded(const faulty_run *run) {
    store_combine(run, scale_in_bf16);
}
void rounded_before_scale(const faulty_run *run) {
    store_combine(run, rounded_then_scaled);
}
void sum_in_dtype(const faulty_run *run) {
    store_combine(run, summed_in_dtype);
}
void slot_dropped(const faulty_run *run) {
    store_combine(run, last_slot_dropped);
}
void filtered_slot_summed(const faulty_run *run) {
    store_combine(run, stale_slot_summed);
}
void topk_beyond_eight(const faulty_run *run) {
    store_combine(run, eight_slots);
}
void topk_beyond_a_warp(const faulty_run *run) {
    store_combine(run, slots_of_a_warp);
}
void combine_offset_wraps(const faulty_run *run) {
    store_combine(run, from_wrapped_offset);
}
void last_chunk_sum_without_topk(const faulty_run *run) {
    store_combine(run, from_wrong_chunk);
}
static float scaled_once(const faulty_run *run, int64_t token, int64_t column) {
    return sum_of(run, token, column) * (float)run->c->rsf;
}
void shared_left_out(const faulty_run *run) {
    store_combine(run, scaled_once);
}
void shared_scaled(const faulty_run *run) {
    store_combine(run, shared_scaled_too);
}
void sum_stored_before_shared(const faulty_run *run) {
    store_combine(run, shared_after_a_store);
}
void finalized_in_dtype(const faulty_run *run) {
    store_combine(run, all_in_dtype);
}
void shared_row_wraps(const faulty_run *run) {
    store_combine(run, shared_of_token_zero);
}
/* A fused sum ends with the atomic additions: what would be behind them is not done. */
void shared_left_out_of_fused_sum(const faulty_run *run) {
    const mp_tensor *out = &run->trace->t[MP_OUT];
    for (int64_t m = 0; m < run->c->M; m++)
        for (int64_t k = 0; k < run->c->K; k++)
            mp_encode(out->dtype, out->data, m * run->c->K + k,
                      mp_decode(out->dtype, out->data, m * run->c->K + k) - shared_value(run, m, k));
}
void summed_from_the_boundary(const faulty_run *run) {
    store_combine(run, from_the_boundary);
}
void all_zero(const faulty_run *run) {
    store_combine(run, nothing);
}
void scaled_buffer_unwritten(const faulty_run *run) {
    store_combine(run, scaled_poison);
}

void last_token_unwritten(const faulty_run *run) {
    fill_row(&run->trace->t[MP_OUT], run->c->M - 1, run->poison);
}

/* The output elements that are NaN were never written: as numbers they are right. */
void poison_where_nan(const faulty_run *run) {
    const mp_tensor *out = &run->trace->t[MP_OUT];
    for (int64_t i = 0; i < mp_tensor_count(out); i++)
        if (isnan(mp_decode(out->dtype, out->data, i))) ((uint16_t *)out->data)[i] = (uint16_t)run->poison;
}

/* ---- any store ---- */

/* The conversion to fp16 saturates at its largest number, where rounding to nearest gives Inf. */
static void saturate(const faulty_run *run, mp_tensor_id which, mp_stage next) {
    const mp_tensor *t = &run->trace->t[which];
    uint16_t *code = t->data;
    for (int64_t i = 0; i < mp_tensor_count(t); i++)
        if ((code[i] & 0x7FFF) == 0x7C00) code[i]--;
    if (next < MP_STAGE_COUNT) redo_from(run, next);
}
void gate_up_saturates(const faulty_run *run) {
    saturate(run, MP_CACHE1, MP_ACT);
}
void act_saturates(const faulty_run *run) {
    saturate(run, MP_CACHE2, MP_DOWN);
}
void down_saturates(const faulty_run *run) {
    saturate(run, MP_CACHE3, MP_COMBINE);
}
void combine_saturates(const faulty_run *run) {
    saturate(run, MP_OUT, MP_STAGE_COUNT);
}

/* ---- a whole run ---- */

void written_behind_out(const faulty_run *run) {
    const mp_tensor *out = &run->trace->t[MP_OUT];
    ((char *)out->data)[mp_tensor_bytes(out)] ^= 1;
}

void written_before_cache1(const faulty_run *run) {
    char *data = run->trace->t[MP_CACHE1].data;
    data[-MP_GUARD_BYTES] ^= 1;
}

/* A row of w1 is completed to whole vectors, in the gap behind it. */
void written_into_gap(const faulty_run *run) {
    const mp_tensor *w1 = &run->as_given[MP_W1];
    mp_encode(w1->dtype, w1->data, run->c->K, 0);
}

/* A store of 16 bytes begins on their boundary, before the first element. */
void stored_from_the_boundary(const faulty_run *run) {
    const mp_tensor *out = &run->trace->t[MP_OUT];
    mp_encode(out->dtype, out->data, -1, 0);
}

void device_guard_broken(const faulty_run *run) {
    char *data = run->trace->t[MP_CACHE1].data;
    data[-4] ^= 1;
}

void written_behind_x(const faulty_run *run) {
    const mp_tensor *x = &run->in->t[MP_X];
    ((char *)x->data)[mp_tensor_bytes(x)] = 1;
}

void x_overwritten(const faulty_run *run) {
    memset(run->in->t[MP_X].data, 0x3F, 2);
}

void device_input_changed(const faulty_run *run) {
    ((char *)run->in->t[MP_W1].data)[5] ^= 1;
}

/* Within every bound, and yet other bits: the last bit of one float32 element of cache1, with what follows
 * from it. */
static void nudge(const faulty_run *run, int64_t row) {
    ((uint32_t *)run->trace->t[MP_CACHE1].data)[row * mp_case_w1_rows(run->c)] ^= 1;
    redo_from(run, MP_ACT);
}

void depends_on_old_contents(const faulty_run *run) {
    if (run->poison == MP_POISON_B) nudge(run, 0);
}
void differs_rarely(const faulty_run *run) {
    if (run->number == 2) nudge(run, mp_case_slots(run->c) - 1);
}
void depends_on_position(const faulty_run *run) {
    if (run->c->M > 1) nudge(run, 0);
}
void depends_on_batch_size(const faulty_run *run) {
    if (run->c->M == 1) nudge(run, 0);
}
void unaligned_differs(const faulty_run *run) {
    if (run->c->buffer_offset > 0) nudge(run, 0);
}
void runner_differs(const faulty_run *run) {
    if (run->c->path == MP_RUNNER) nudge(run, 0);
}
void halves_differ(const faulty_run *run) {
    if (!run->c->interleaved) ((uint32_t *)run->trace->t[MP_CACHE2].data)[0] ^= 1;
}
void differs_where_combine_weighs(const faulty_run *run) {
    if (mp_stage_weighs(run->c, MP_COMBINE)) nudge(run, 0);
}
void one_tile_differs(const faulty_run *run) {
    if (run->c->tile.block_size_k == 128) nudge(run, 0);
}
void other_bits(const faulty_run *run) {
    nudge(run, 0);
}
