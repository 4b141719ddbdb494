/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of LoRA on experts: those that reviews of public kernels have found, and their kin. */
#include "tests/faults.h"

#include "cases/lora.h"
#include "ref/lora.h"
#include "ref/predict/gemm.h"
#include "ref/predict/predict.h"

#include <stdlib.h>
#include <string.h>

static void must(mp_status status) {
    if (status != MP_OK) abort();
}

static mp_tensor copy_of(const faulty_run *run, mp_tensor_id id) {
    return copy_tensor(run->in->t[id].data ? &run->in->t[id] : &run->trace->t[id]);
}

/* Rows of the copy are those of the tensor by another number. */
static void take_row(const faulty_run *run, mp_tensor_id id, const mp_tensor *to, int64_t row, int64_t from) {
    mp_tensor t[MP_TENSOR_COUNT];
    mp_all_tensors(run->in, run->trace, t);
    memcpy(mp_tensor_row(to, row), mp_tensor_row(&t[id], from),
           (size_t)mp_tensor_row_length(to) * mp_dtype_size(to->dtype));
}

/* Row t of x for slot t, as if it had a row a slot. */
void shrink_reads_slots_of_x(const faulty_run *run) {
    mp_tensor t[MP_TENSOR_COUNT];
    mp_lora_gemm g;
    mp_slot_map map;
    const mp_contract contract = mp_host_contract(run->c);
    mp_all_tensors(run->in, run->trace, t);
    must(mp_slot_map_create(run->c, t, &map, NULL));
    must(
        mp_lora_gemm_create(&(mp_stage_call){.c = run->c, .t = t, .map = &map}, MP_SHRINK_GATE_UP, &g, NULL));
    int64_t *rows = g.memory;
    for (int64_t v = 0; v < g.problem.slots; v++) rows[v] = v / g.slices % run->c->M;
    must(mp_predict_gemm(&contract.shrink, NULL, &g.problem, &g.epilogue, NULL, &g.out, NULL));
    mp_lora_gemm_free(&g);
    free(map.memory);
    redo_behind(run, MP_SHRINK_GATE_UP);
}

/* Row m of cache2 for all slots of token m. */
void shrink_reads_tokens_of_cache2(const faulty_run *run) {
    mp_tensor cache2 = copy_of(run, MP_CACHE2);
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        take_row(run, MP_CACHE2, &cache2, t, t / run->c->topk);
    stage_reads(run, MP_SHRINK_DOWN, MP_CACHE2, &cache2);
}

static void reweigh(const faulty_run *run, bool twice) {
    mp_tensor weights = copy_of(run, MP_TOPK_WEIGHTS);
    float *w = weights.data;
    for (int64_t t = 0; t < mp_case_slots(run->c); t++) w[t] = twice ? w[t] * w[t] : 1;
    stage_reads(run, MP_EXPAND_DOWN, MP_TOPK_WEIGHTS, &weights);
}
void adapter_weighed_twice(const faulty_run *run) {
    reweigh(run, true);
}
void adapter_not_weighed(const faulty_run *run) {
    reweigh(run, false);
}

/* B of up with what A of gate has made. */
void shrunk_halves_exchanged(const faulty_run *run) {
    mp_tensor h = copy_of(run, MP_LORA_H1);
    const size_t half = (size_t)run->c->lora_rank * mp_dtype_size(h.dtype);
    for (int64_t t = 0; t < mp_case_slots(run->c); t++) {
        const char *row = mp_tensor_row(&run->trace->t[MP_LORA_H1], t);
        char *to = mp_tensor_row(&h, t);
        memcpy(to, row + half, half);
        memcpy(to + half, row, half);
    }
    stage_reads(run, MP_EXPAND_GATE_UP, MP_LORA_H1, &h);
}

/* What is for the gate is added to up, and the other way round. */
void deltas_exchanged(const faulty_run *run) {
    const mp_case *c = run->c;
    const mp_tensor *before = &run->trace->t[MP_CACHE1], *hooked = &run->trace->t[MP_CACHE1_HOOKED];
    mp_tensor right = copy_tensor(hooked);
    for (int64_t t = 0; t < mp_case_slots(c); t++)
        for (int64_t n = 0; n < 2 * c->N; n++) {
            const int64_t at = t * 2 * c->N + n, other = t * 2 * c->N + (n + c->N) % (2 * c->N);
            const double delta =
                mp_decode(right.dtype, right.data, other) - mp_decode(before->dtype, before->data, other);
            mp_encode(hooked->dtype, hooked->data, at, mp_decode(before->dtype, before->data, at) + delta);
        }
    mp_tensor_free(&right);
    redo_behind(run, MP_EXPAND_GATE_UP);
}

/* alpha / rank once more: it is in B already. */
void alpha_twice(const faulty_run *run) {
    mp_tensor b = copy_of(run, MP_LORA_B2);
    for (int64_t i = 0; i < mp_tensor_count(&b); i++)
        mp_encode(b.dtype, b.data, i, 2 * mp_decode(b.dtype, b.data, i));
    stage_reads(run, MP_EXPAND_DOWN, MP_LORA_B2, &b);
}

/* The grid of the expand lacks the factor split_k: of its column tiles the first half runs. */
void expand_half_launched(const faulty_run *run) {
    const mp_tensor *before = &run->trace->t[MP_CACHE3], *hooked = &run->trace->t[MP_CACHE3_HOOKED];
    const int64_t K = run->c->K;
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        for (int64_t k = K / 2; k < K; k++)
            mp_encode(hooked->dtype, hooked->data, t * K + k,
                      mp_decode(before->dtype, before->data, t * K + k));
    redo_behind(run, MP_EXPAND_DOWN);
}

/* A table of pointers and strides that is kept by address: the adapters there have another rank now. */
void strides_of_another_rank(const faulty_run *run) {
    mp_tensor b = copy_of(run, MP_LORA_B1);
    const mp_tensor *right = &run->in->t[MP_LORA_B1];
    const int64_t rank = run->c->lora_rank;
    for (int64_t row = 0; row < mp_tensor_rows(&b); row++)
        for (int64_t i = 0; i < rank; i++)
            mp_encode(b.dtype, b.data, row * rank + i, mp_decode(b.dtype, right->data, row * (rank / 2) + i));
    stage_reads(run, MP_EXPAND_GATE_UP, MP_LORA_B1, &b);
}

/* The product of index and stride wraps; here behind 12 bits, where a kernel's has 32. */
void factor_offset_wraps(const faulty_run *run) {
    mp_tensor a = copy_of(run, MP_LORA_A1);
    const mp_tensor *right = &run->in->t[MP_LORA_A1];
    const int64_t rows = (1 << 12) / mp_tensor_row_length(&a);
    if (mp_tensor_rows(right) <= rows) abort();
    for (int64_t row = 0; row < mp_tensor_rows(&a); row++) take_row(run, MP_LORA_A1, &a, row, row % rows);
    stage_reads(run, MP_SHRINK_GATE_UP, MP_LORA_A1, &a);
}

static void stage_maps(const faulty_run *run, mp_stage stage,
                       int32_t (*adapter)(const mp_case *c, int32_t l)) {
    mp_tensor map = copy_of(run, MP_TOKEN_LORA);
    int32_t *l = map.data;
    for (int64_t m = 0; m < run->c->M; m++) l[m] = adapter(run->c, l[m]);
    stage_reads(run, stage, MP_TOKEN_LORA, &map);
}

/* One block too few over the adapters: it was taken by tokens without one. */
static int32_t but_the_last(const mp_case *c, int32_t l) {
    return l == c->lora_adapters - 1 ? -1 : l;
}
void last_adapter_not_launched(const faulty_run *run) {
    stage_maps(run, MP_EXPAND_GATE_UP, but_the_last);
}

static int32_t next_slot(const mp_case *c, int32_t l) {
    return l < 0 ? l : (int32_t)((l + 1) % c->lora_adapters);
}
void slot_of_another_adapter(const faulty_run *run) {
    stage_maps(run, MP_EXPAND_DOWN, next_slot);
}

/* -1 as an index: the last slot in many languages, the one before the first in others. */
static int32_t last_for_none(const mp_case *c, int32_t l) {
    return l < 0 ? (int32_t)c->lora_adapters - 1 : l;
}
void base_tokens_adapted(const faulty_run *run) {
    stage_maps(run, MP_SHRINK_DOWN, last_for_none);
}

void disabled_adapter_applied(const faulty_run *run) {
    mp_tensor enabled = copy_of(run, MP_ADAPTER_ENABLED);
    for (int64_t l = 0; l < run->c->lora_adapters; l++) ((int32_t *)enabled.data)[l] = 1;
    const bool expands = run->c->scope == MP_SCOPE_EXPAND_GATE_UP;
    stage_reads(run, expands ? MP_EXPAND_GATE_UP : MP_SHRINK_GATE_UP, MP_ADAPTER_ENABLED, &enabled);
}

/* Id E is a shared expert's, and no kernel looks at an upper end: its rows get expert 0's. */
void id_beyond_the_experts(const faulty_run *run) {
    mp_tensor ids = copy_tensor(&run->in->t[MP_TOPK_IDS]);
    int32_t *id = ids.data;
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        if (run->given[t] == run->c->E) id[t] = 0;
    stage_reads(run, MP_SHRINK_GATE_UP, MP_TOPK_IDS, &ids);
}

/* The expand does not wait for the shrink. */
void expand_before_shrink(const faulty_run *run) {
    mp_tensor h = copy_of(run, MP_LORA_H2);
    mp_fill_pattern(h.data, mp_tensor_bytes(&h), run->poison);
    stage_reads(run, MP_EXPAND_DOWN, MP_LORA_H2, &h);
}

void shrunk_token_unwritten(const faulty_run *run) {
    const mp_tensor *h = &run->trace->t[MP_LORA_H2];
    const size_t bytes = mp_tensor_bytes(h) / (size_t)run->c->M;
    mp_fill_pattern((char *)h->data + bytes * (size_t)(run->c->M - 1), bytes, run->poison);
    redo_behind(run, MP_SHRINK_DOWN);
}

/* Columns of B beyond an adapter's rank are taken for the numbers of another one. */
void read_beyond_the_rank(const faulty_run *run) {
    mp_tensor b = copy_of(run, MP_LORA_B2);
    const int64_t rank = run->c->lora_rank, each = mp_tensor_rows(&b) / run->c->lora_adapters;
    for (int64_t row = 0; row < mp_tensor_rows(&b); row++)
        for (int64_t i = mp_lora_rank_of(run->c, row / each); i < rank; i++)
            mp_encode(b.dtype, b.data, row * rank + i, mp_decode(b.dtype, b.data, row * rank));
    stage_reads(run, MP_EXPAND_DOWN, MP_LORA_B2, &b);
}

/* A zero is added to rows of tokens without an adapter: what was -0 is +0. */
void zero_added_to_other_rows(const faulty_run *run) {
    const mp_tensor *hooked = &run->trace->t[MP_CACHE1_HOOKED];
    for (int64_t i = 0; i < mp_tensor_count(hooked); i++)
        if (mp_decode(hooked->dtype, hooked->data, i) == 0) mp_encode(hooked->dtype, hooked->data, i, 0);
}

/* The map of the batch before, where it had as many tokens. */
void adapters_of_the_run_before(const faulty_run *run) {
    static int32_t kept[64];
    static int64_t tokens;
    if (run->number == 0) tokens = 0;
    if (!mp_case_has_lora(run->c) || run->c->M > 64) return;
    mp_tensor map = copy_of(run, MP_TOKEN_LORA);
    const size_t bytes = mp_tensor_bytes(&map);
    const bool known = tokens == run->c->M;
    tokens = run->c->M;
    if (known) {
        memcpy(map.data, kept, bytes);
        memcpy(kept, run->in->t[MP_TOKEN_LORA].data, bytes);
        mp_tensor t[MP_TENSOR_COUNT];
        mp_all_tensors(run->in, run->trace, t);
        t[MP_TOKEN_LORA] = map;
        compute_stages(run, MP_SHRINK_GATE_UP, MP_COMBINE, t);
    } else {
        memcpy(kept, map.data, bytes);
    }
    mp_tensor_free(&map);
}

/* Filtered slots are sorted as expert 0's. */
void filtered_slots_in_an_adapters_row(const faulty_run *run) {
    int32_t *count = run->trace->t[MP_LORA_NUM_PADDED].data;
    for (int64_t l = 0; l < run->c->lora_adapters; l++)
        if (count[l] > 0) count[l] += run->trace->block_size_m;
}
