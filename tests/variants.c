/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/variants.h"

#include "cases/graph_tables.h"
#include "cases/slots.h"
#include "ref/combine.h"
#include "ref/predict/activation_f32.h"
#include "ref/predict/predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A row of the stock matrices, as all cases below are. */
#define ROW "M=33 topk=4 K=96 N=64 act=silu"

/* One stage alone reads an input where the whole pipeline reads what the stage before it left: the same run
 * with all tensors in one place. */
static faulty_run whole(const faulty_run *run, mp_trace *all) {
    faulty_run same = *run;
    *all = *run->trace;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (!all->t[id].data) all->t[id] = run->in->t[id];
    same.trace = all;
    return same;
}

static bool has(const faulty_run *run, mp_stage stage) {
    return mp_case_has_stage(run->c, stage);
}

/* ---- rows without a result ---- */

static void fill_rows(const faulty_run *run, mp_stage stage, bool padding, uint32_t pattern) {
    if (!has(run, stage)) return;
    const mp_tensor_id id = mp_stage_output(run->c, stage);
    const mp_tensor *t = &run->trace->t[id];
    if (!t->data || mp_tensor_rows(t) == 0) return; /* hidden, or of no tokens */
    const int64_t slots = mp_case_slots(run->c), rows = mp_tensor_rows(t);
    const bool cache = mp_tensors[id].rows == MP_ROWS_CACHE;
    int64_t *row = malloc((size_t)slots * sizeof *row), *slot_of = malloc((size_t)rows * sizeof *slot_of);
    if (!row || !slot_of) abort();
    mp_trace_slot_rows(run->c, run->trace->t, row);
    mp_slots_of_rows(cache ? row : NULL, slots, slot_of, rows);
    const size_t bytes = mp_tensor_bytes(t) / (size_t)rows;
    for (int64_t r = 0; r < rows; r++) {
        const bool mine = padding ? slot_of[r] < 0 : slot_of[r] >= 0 && ids_of(run)[slot_of[r]] < 0;
        for (size_t i = 0; i < bytes && mine; i += 2) memcpy((char *)mp_tensor_row(t, r) + i, &pattern, 2);
    }
    free(slot_of);
    free(row);
}

/* Other garbage each time: a small number, a big one. */
static uint32_t garbage(const faulty_run *run) {
    return run->number % 2 ? 0x12121212 : 0x47474747;
}

static void filtered_garbage(const faulty_run *run) {
    fill_rows(run, MP_GATE_UP, false, garbage(run));
    fill_rows(run, MP_ACT, false, garbage(run));
    fill_rows(run, MP_DOWN, false, garbage(run));
}
static void filtered_garbage_summed(const faulty_run *run) {
    filtered_garbage(run);
    redo_from(run, MP_COMBINE);
}
static void filtered_zeros(const faulty_run *run) {
    fill_rows(run, MP_ACT, false, 0);
}
static void act_rows_left(const faulty_run *run) {
    fill_rows(run, MP_ACT, false, run->poison);
}
static void filtered_left(const faulty_run *run) {
    fill_rows(run, MP_GATE_UP, false, run->poison);
    fill_rows(run, MP_DOWN, false, run->poison);
}
static void padding_zeros(const faulty_run *run) {
    fill_rows(run, MP_GATE_UP, true, 0);
    fill_rows(run, MP_ACT, true, 0);
}
static void padding_garbage(const faulty_run *run) {
    fill_rows(run, MP_GATE_UP, true, garbage(run));
    fill_rows(run, MP_ACT, true, garbage(run));
}
/* The row of the last slot is taken for one of padding. */
static void last_row_is_padding(const faulty_run *run) {
    int64_t *row = malloc((size_t)mp_case_slots(run->c) * sizeof *row);
    if (!row) abort();
    padding_garbage(run);
    mp_trace_slot_rows(run->c, run->trace->t, row);
    memset(mp_tensor_row(&run->trace->t[MP_CACHE2], row[mp_case_slots(run->c) - 1]), 0x41,
           (size_t)run->c->N * mp_dtype_size(run->c->dtype));
    free(row);
    redo_from(run, MP_DOWN);
}

/* ---- align ---- */

/* The slots of each expert the other way round. */
static void reverse_slots(const faulty_run *run, int64_t chunk) {
    const mp_tensor *t = run->trace->t;
    int32_t *sorted = mp_tensor_row(&t[MP_SORTED_TOKEN_IDS], chunk);
    const int32_t *experts = mp_tensor_row(&t[MP_EXPERT_IDS], chunk);
    const int64_t slots = mp_case_chunk_tokens(run->c, chunk) * run->c->topk, bm = run->trace->block_size_m,
                  used = ((const int32_t *)t[MP_NUM_TOKENS_POST_PADDED].data)[chunk];
    for (int64_t first = 0, end; first < used; first = end) {
        for (end = first + bm; end < used && experts[end / bm] == experts[first / bm]; end += bm) {}
        int64_t last = end - 1;
        while (last > first && sorted[last] >= slots) last--; /* pads stay behind */
        for (int64_t i = first; i < last; i++, last--) {
            const int32_t other = sorted[i];
            sorted[i] = sorted[last];
            sorted[last] = other;
        }
    }
}

/* What lies behind num_tokens_post_padded is left as it was, or full of nonsense. */
static void spoil_tail(const faulty_run *run, int64_t chunk) {
    const mp_tensor *t = run->trace->t;
    int32_t *sorted = mp_tensor_row(&t[MP_SORTED_TOKEN_IDS], chunk),
            *experts = mp_tensor_row(&t[MP_EXPERT_IDS], chunk);
    const int64_t used = ((const int32_t *)t[MP_NUM_TOKENS_POST_PADDED].data)[chunk];
    for (int64_t p = used; p < t[MP_SORTED_TOKEN_IDS].dim[1]; p++) sorted[p] = (int32_t)run->poison;
    for (int64_t b = used / run->trace->block_size_m; b < t[MP_EXPERT_IDS].dim[1]; b++) experts[b] = 77777;
}

/* In sorted layout the rows of the caches go where their slots went. */
static void move_rows(const faulty_run *run, mp_tensor_id id, const int64_t *from, const int64_t *to) {
    const mp_tensor *t = &run->trace->t[id];
    if (run->c->layout == MP_ROUTE || !t->data || mp_tensors[id].rows != MP_ROWS_CACHE) return;
    mp_tensor before = copy_tensor(t);
    const size_t bytes = mp_tensor_bytes(t) / (size_t)mp_tensor_rows(t);
    for (int64_t s = 0; s < mp_case_slots(run->c); s++)
        memcpy(mp_tensor_row(t, to[s]), mp_tensor_row(&before, from[s]), bytes);
    mp_tensor_free(&before);
}

static void any_order(const faulty_run *run) {
    if (!has(run, MP_ALIGN)) return;
    const size_t slots = (size_t)mp_case_slots(run->c);
    int64_t *from = malloc(slots * sizeof *from), *to = malloc(slots * sizeof *to);
    if (!from || !to) abort();
    mp_trace_slot_rows(run->c, run->trace->t, from);
    for (int64_t chunk = 0; chunk < mp_case_chunks(run->c); chunk++) {
        if (run->number % 2 == 0) reverse_slots(run, chunk);
        spoil_tail(run, chunk);
    }
    mp_trace_slot_rows(run->c, run->trace->t, to);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) move_rows(run, (mp_tensor_id)id, from, to);
    free(to);
    free(from);
}

/* A slot is among those of another expert, which has one of its own there. */
static void slot_of_another_expert(const faulty_run *run) {
    any_order(run);
    int32_t *sorted = run->trace->t[MP_SORTED_TOKEN_IDS].data, other = sorted[0];
    sorted[0] = sorted[run->trace->block_size_m];
    sorted[run->trace->block_size_m] = other;
}

/* ---- act ---- */

/* exp as 2^(x log2(e)), the product rounded: its error grows with x. */
static float exp_by_exp2(float x) {
    return exp2f(x * 1.44269504f);
}
static float exp_by_short_exp2(float x) {
    return exp2f(x * 1.442698f);
}

static float swish_by(float (*exponential)(float), float v, float beta) {
    return v / (1.0f + exponential(-(beta * v)));
}

static float gate_by(float (*exponential)(float), const mp_case *c, float gate) {
    const float limit = (float)c->limit;
    switch (c->act) {
    case MP_SILU: return swish_by(exponential, gate, 1);
    case MP_SWIGLU_OAI: return swish_by(exponential, mp_at_most(gate, limit), (float)c->alpha);
    case MP_SILU_CLAMP: return mp_at_most(swish_by(exponential, gate, 1), limit);
    case MP_CLAMP_SILU: return swish_by(exponential, mp_at_most(gate, limit), 1);
    case MP_GELU:
    case MP_GELU_TANH:
    case MP_RELU2:
    case MP_ACTIVATION_COUNT: break;
    }
    return mp_gate_f32((int)c->act, gate, (float)c->alpha, limit);
}

static float times_up(const mp_case *c, float a, float up) {
    return c->gated ? a * mp_up_f32((int)c->act, up, (float)c->limit) : a;
}

static float growing(const mp_case *c, float gate, float up) {
    return times_up(c, gate_by(exp_by_exp2, c, gate), up);
}
static float growing_faster(const mp_case *c, float gate, float up) {
    return times_up(c, gate_by(exp_by_short_exp2, c, gate), up);
}
static float growing_and_rounded(const mp_case *c, float gate, float up) {
    return times_up(c, (float)mp_round_to(c->dtype, (double)gate_by(exp_by_exp2, c, gate)), up);
}
static float gate_cut(const mp_case *c, float gate, float up) {
    const float a = gate_by(expf, c, gate);
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits &= 0xFFFE0000u; /* a bit less than bf16 has, towards zero */
    float cut;
    memcpy(&cut, &bits, sizeof cut);
    return times_up(c, cut, up);
}

static void activate_by(const faulty_run *run, activate_fn activate) {
    mp_trace all;
    const faulty_run same = whole(run, &all);
    if (has(run, MP_ACT) && !run->c->fused_sum) store_activation(&same, activate);
}
static void exp_grows(const faulty_run *run) {
    activate_by(run, growing);
}
static void exp_grows_faster(const faulty_run *run) {
    activate_by(run, growing_faster);
}
static void gate_is_cut(const faulty_run *run) {
    activate_by(run, gate_cut);
}

/* Gate and up as gate_up makes them, in float32; or as it stores them. */
static void activate_unstored(const faulty_run *run, const mp_case *c) {
    mp_contract contract = mp_host_contract(c);
    mp_prediction prediction = {.contract = &contract};
    const mp_executor executor = mp_predict_executor(&prediction);
    mp_tensor t[MP_TENSOR_COUNT];
    if (!has(run, MP_GATE_UP) || !has(run, MP_ACT) || c->fused_sum) return;
    contract.act_input = MP_ACT_FLOAT32;
    mp_all_tensors(run->in, run->trace, t);
    if (mp_execute(&executor, c, MP_ACT, MP_COMBINE, run->trace->block_size_m, t, NULL) != MP_OK) abort();
}
static void act_of_unstored(const faulty_run *run) {
    activate_unstored(run, run->c);
}
static void act_of_stored(const faulty_run *run) {
    redo_from(run, MP_ACT);
}
static void unstored_halves(const faulty_run *run) {
    mp_case halves = *run->c;
    halves.interleaved = false;
    activate_unstored(run, &halves);
}

/* ---- down ---- */

enum { PARTS = 4 };

/* Columns of the part alone; zeros elsewhere. */
static mp_tensor part_of(const mp_tensor *a, int part) {
    mp_tensor copy = copy_tensor(a);
    const int64_t width = mp_tensor_row_length(a), first = width * part / PARTS,
                  end = width * (part + 1) / PARTS;
    const size_t size = mp_dtype_size(a->dtype);
    for (int64_t r = 0; r < mp_tensor_rows(a); r++) {
        char *row = mp_tensor_row(&copy, r);
        memset(row, 0, (size_t)first * size);
        memset(row + (size_t)end * size, 0, (size_t)(width - end) * size);
    }
    return copy;
}

/* Four parts of k, added atomically: in another order each time. The last `lost` of them never are. */
static void down_in_parts(const faulty_run *run, int lost) {
    mp_trace all;
    const faulty_run same = whole(run, &all);
    if (!has(run, MP_DOWN) || run->c->fused_sum) return;
    const mp_tensor *out = &all.t[mp_stage_output(run->c, MP_DOWN)];
    const int64_t K = run->c->K;
    faulty_gemm gemm = down_gemm(&same);
    const mp_epilogue epilogue = gemm.epilogue;
    const mp_tensor *a = gemm.problem.a.codes;
    mp_tensor sum = {0};
    gemm.epilogue = (mp_epilogue){0};
    for (int i = 0; i < PARTS - lost; i++) {
        mp_tensor part = part_of(a, (i + run->number) % PARTS);
        gemm.problem.a.codes = &part;
        mp_tensor result = gemm_before_store(&gemm);
        for (int64_t k = 0; k < mp_tensor_count(&result) && sum.data; k++)
            ((float *)sum.data)[k] += ((float *)result.data)[k];
        if (sum.data)
            mp_tensor_free(&result);
        else
            sum = result;
        mp_tensor_free(&part);
    }
    for (int64_t slot = 0; slot < mp_case_slots(run->c); slot++) {
        float *row = (float *)sum.data + slot * K;
        if (gemm.ids[slot] < 0) continue;
        mp_epilogue_row_f32(&epilogue, gemm.ids[slot], 0, K, slot, row);
        mp_encode_row_f32(out->dtype, out->data, slot * K, K, row);
    }
    mp_tensor_free(&sum);
    free_gemm(&gemm);
    redo_from(&same, MP_COMBINE);
}
static void split_k(const faulty_run *run) {
    down_in_parts(run, 0);
}
static void split_k_loses_a_part(const faulty_run *run) {
    down_in_parts(run, 1);
}

/* ---- combine ---- */

/* Every addition rounds to dtype, and every product with a router weight. */
static double sum_in_dtype_of(const faulty_run *run, int64_t m, int64_t k, int64_t terms) {
    const mp_tensor *t = &run->trace->t[MP_CACHE3];
    double sum = 0;
    for (int64_t slot = m * run->c->topk; slot < m * run->c->topk + terms; slot++) {
        const double w = (double)combine_weight(run, slot);
        sum = mp_round_to(t->dtype, sum + mp_round_to(t->dtype, w * cache3_value(run, slot, k)));
    }
    return sum;
}

static void combine_in_dtype(const faulty_run *run, int64_t lost) {
    mp_trace all;
    const faulty_run same = whole(run, &all);
    if (!has(run, MP_COMBINE) || run->c->fused_sum) return;
    const mp_tensor *out = &all.t[MP_OUT];
    for (int64_t m = 0; m < run->c->M; m++)
        for (int64_t k = 0; k < run->c->K; k++)
            mp_encode(out->dtype, out->data, m * run->c->K + k,
                      mp_combine_rsf(run->c) * sum_in_dtype_of(&same, m, k, run->c->topk - lost) +
                          shared_value(run, m, k));
}
static void summed_in_dtype(const faulty_run *run) {
    combine_in_dtype(run, 0);
}
static void summed_without_the_last(const faulty_run *run) {
    combine_in_dtype(run, 1);
}

static float scaled_sum(const faulty_run *run, int64_t m, int64_t k) {
    float sum = 0;
    for (int64_t slot = m * run->c->topk; slot < (m + 1) * run->c->topk; slot++)
        sum += combine_weight(run, slot) * (float)cache3_value(run, slot, k);
    return sum * (float)run->c->rsf;
}
static float behind_a_store(const faulty_run *run, int64_t m, int64_t k) {
    return (float)mp_round_to(run->c->dtype, (double)scaled_sum(run, m, k)) + (float)shared_value(run, m, k);
}
static float twice(const faulty_run *run, int64_t m, int64_t k) {
    return behind_a_store(run, m, k) + (float)shared_value(run, m, k);
}
static void shared_behind_a_store(const faulty_run *run) {
    store_combine(run, behind_a_store);
}
static void shared_twice(const faulty_run *run) {
    store_combine(run, twice);
}
/* A router weight's product, and its addition: two roundings, or one. */
static float weighed_apart(const faulty_run *run, int64_t m, int64_t k) {
    return scaled_sum(run, m, k) + (float)shared_value(run, m, k);
}
static float weighed_by_fma(const faulty_run *run, int64_t m, int64_t k) {
    float sum = 0;
    for (int64_t slot = m * run->c->topk; slot < (m + 1) * run->c->topk; slot++)
        sum = fmaf(combine_weight(run, slot), (float)cache3_value(run, slot, k), sum);
    return sum * (float)run->c->rsf + (float)shared_value(run, m, k);
}
static void weighs_apart(const faulty_run *run) {
    store_combine(run, weighed_apart);
}
static void weighs_by_fma(const faulty_run *run) {
    store_combine(run, weighed_by_fma);
}
/* Every term, every addition, and the shared output's. */
static void finalized_in_dtype(const faulty_run *run) {
    mp_trace all;
    const faulty_run same = whole(run, &all);
    if (!has(run, MP_COMBINE) || run->c->fused_sum) return;
    const mp_tensor *out = &all.t[MP_OUT];
    for (int64_t m = 0; m < run->c->M; m++)
        for (int64_t k = 0; k < run->c->K; k++) {
            const double sum =
                mp_round_to(out->dtype, mp_combine_rsf(run->c) * sum_in_dtype_of(&same, m, k, run->c->topk));
            mp_encode(out->dtype, out->data, m * run->c->K + k, sum + shared_value(run, m, k));
        }
}

/* ---- overflow ---- */

static bool short_format(const mp_tensor *t) {
    return t->data && (t->dtype == MP_BF16 || t->dtype == MP_FP16);
}

/* What the output has as Inf, or as the largest number, becomes the other. Every second one, or all. */
static void exchange(const faulty_run *run, bool inf, int64_t step) {
    const mp_tensor *t = &run->trace->t[MP_OUT];
    if (!short_format(t)) return;
    const uint16_t infinite = (uint16_t)mp_encode_code(t->dtype, (double)INFINITY),
                   from = inf ? infinite : (uint16_t)(infinite - 1), to = inf ? from - 1 : infinite;
    uint16_t *code = t->data;
    for (int64_t i = 0; i < mp_tensor_count(t); i += step)
        if ((code[i] & 0x7FFF) == from) code[i] = (uint16_t)((code[i] & 0x8000) | to);
}
static void overflows_to_inf(const faulty_run *run) {
    exchange(run, false, 1);
}
static void saturates_now_and_then(const faulty_run *run) {
    exchange(run, true, 2);
}
static void overflows_to_nan(const faulty_run *run) {
    const mp_tensor *t = &run->trace->t[MP_OUT];
    for (int64_t i = 0; i < mp_tensor_count(t); i++)
        if (isinf(mp_decode(t->dtype, t->data, i))) mp_encode(t->dtype, t->data, i, (double)NAN);
}

/* ---- all of it ---- */

static void all_at_once(const faulty_run *run) {
    activate_by(run, growing_and_rounded);
    split_k(run);
    summed_in_dtype(run);
    saturates_now_and_then(run);
    any_order(run);
    filtered_garbage(run);
    padding_garbage(run);
}
static void all_at_once_but_the_last_slot(const faulty_run *run) {
    all_at_once(run);
    filtered_zeros(run);
    summed_without_the_last(run);
}

#define WEIGHS "M=33 topk=5 K=96 N=64 dtype=fp32 act=silu apply_router_weight_in_combine=1"
#define OVERFLOWS "M=33 topk=4 K=96 N=64 dtype=fp16 act=silu rsf=40000"
#define UNSTORED "act.input=float32 gate_up.bits=required act.bits=required"
#define BY_EXP2 "act.function=library act.ulps=2"

const variant variants[] = {
    {.name = "filtered rows hold anything",
     .contract = "gate_up.filtered=anything act.filtered=anything down.filtered=anything",
     .right = filtered_garbage,
     .wrong = filtered_garbage_summed,
     .case_text = ROW " filter=0.25",
     .checks = CHECK(BOUND),
     .stage = MP_COMBINE},
    {.name = "filtered rows of act are zeros",
     .contract = "act.filtered=zero",
     .right = filtered_zeros,
     .wrong = act_rows_left,
     .case_text = ROW " filter=0.25",
     .checks = CHECK(POISON),
     .stage = MP_ACT},
    {.name = "filtered rows are left alone",
     .contract = "gate_up.filtered=untouched down.filtered=untouched",
     .right = filtered_left,
     .case_text = ROW " filter=0.25",
     .checks = CHECK(POISON),
     .stage = MP_GATE_UP},
    {.name = "padding rows are zeros",
     .contract = "padding=zero",
     .right = padding_zeros,
     .case_text = ROW " filter=0.25 layout=sorted",
     .checks = CHECK(POISON),
     .stage = MP_GATE_UP},
    {.name = "padding rows hold anything",
     .contract = "padding=anything",
     .right = padding_garbage,
     .wrong = last_row_is_padding,
     .case_text = ROW " filter=0.25 layout=sorted",
     .checks = CHECK(BOUND),
     .stage = MP_ACT},
    {.name = "slots in any order, no tail",
     .contract = "align.stable=0 align.tail=0 align.deterministic=0",
     .right = any_order,
     .wrong = slot_of_another_expert,
     .case_text = ROW " filter=0.25",
     .checks = CHECK(INTEGER),
     .stage = MP_ALIGN},
    {.name = "exp errs with its argument",
     .contract = BY_EXP2 " act.ulps_per_argument=0.625",
     .right = exp_grows,
     .wrong = exp_grows_faster,
     .case_text = "M=33 topk=2 N=96 dtype=fp32 act=silu scope=act data=limits",
     .checks = CHECK(BOUND),
     .stage = MP_ACT},
    {.name = "exp errs with its argument, untold",
     .contract = BY_EXP2 " act.ulps_per_argument=0.625",
     .right = exp_grows,
     .wrong = exp_grows,
     .case_text = "M=33 topk=2 N=96 dtype=fp32 act=silu scope=act data=limits",
     .wrong_contract = BY_EXP2,
     .checks = CHECK(BOUND),
     .stage = MP_ACT},
    {.name = "act(gate) is rounded first",
     .contract = "act.rounding=gate-rounded",
     .wrong = gate_is_cut,
     .case_text = ROW " filter=0.25",
     .checks = CHECK(BOUND),
     .stage = MP_ACT},
    {.name = "gate and up are not stored",
     .contract = UNSTORED,
     .unfused = true, /* the host adds so under its own contract alone */
     .wrong = act_of_stored,
     .case_text = "M=33 topk=2 K=96 N=64 act=silu bias=1",
     .checks = CHECK(BOUND) | CHECK(BITS),
     .stage = MP_ACT},
    {.name = "gate and up are not stored, untold",
     .contract = UNSTORED,
     .unfused = true, /* the host adds so under its own contract alone */
     .wrong = act_of_unstored,
     .case_text = "M=33 topk=2 K=96 N=64 act=silu bias=1",
     .wrong_contract = "act.input=stored",
     .checks = CHECK(BOUND),
     .stage = MP_ACT},
    {.name = "gate and up are not stored, the wrong half",
     .contract = UNSTORED,
     .unfused = true, /* the host adds so under its own contract alone */
     .wrong = unstored_halves,
     .case_text = "M=33 topk=2 K=96 N=64 act=swiglu_oai interleaved=1 bias=1",
     .checks = CHECK(BOUND) | CHECK(BITS),
     .stage = MP_ACT},
    {.name = "atomic split-k in down",
     .contract = "down.accumulator=ieee-any-order down.split_k=4 down.deterministic=0 down.batch_invariant=0",
     .right = split_k,
     .wrong = split_k_loses_a_part,
     .case_text = "M=33 topk=2 K=96 N=64 dtype=fp32 act=silu",
     .checks = CHECK(BOUND),
     .stage = MP_DOWN},
    {.name = "atomic split-k, untold",
     .contract = "down.accumulator=ieee-any-order down.split_k=4 down.deterministic=0 down.batch_invariant=0",
     .right = split_k,
     .wrong = split_k,
     .case_text = "M=33 topk=2 K=96 N=64 dtype=fp32 act=silu",
     .wrong_contract = "down.accumulator=ieee-any-order down.split_k=4",
     .checks = CHECK(REPEAT),
     .stage = NO_STAGE},
    {.name = "sums in the element type",
     .contract = "combine.variant=element-dtype",
     .right = summed_in_dtype,
     .wrong = summed_without_the_last,
     .case_text = "M=33 topk=3 K=96 N=64 act=silu",
     .checks = CHECK(BOUND),
     .stage = MP_COMBINE},
    {.name = "sums rounded before the scale",
     .contract = "combine.variant=round-then-scale",
     .unfused = true,
     .wrong = summed_in_dtype,
     .case_text = "M=33 topk=8 K=96 N=64 act=silu rsf=2.5",
     .checks = CHECK(BOUND),
     .stage = MP_COMBINE},
    {.name = "shared output behind a store",
     .contract = "combine.shared=rounded",
     .unfused = true,
     .wrong = shared_twice,
     .case_text = "M=33 topk=4 K=96 N=64 act=silu rsf=2.5 shared=add",
     .checks = CHECK(BOUND),
     .stage = MP_COMBINE},
    {.name = "shared output behind a store, untold",
     .contract = "combine.shared=rounded",
     .unfused = true,
     .wrong = shared_behind_a_store,
     .case_text = "M=33 topk=4 K=96 N=64 act=silu rsf=2.5 shared=add",
     .wrong_contract = "combine.shared=one-rounding",
     .checks = CHECK(BOUND),
     .stage = MP_COMBINE},
    {.name = "router weights by fma",
     .contract = "combine.fma=1 combine.bits=required",
     .unfused = true,
     .wrong = weighs_apart,
     .case_text = WEIGHS,
     .checks = CHECK(BITS),
     .stage = MP_COMBINE},
    {.name = "router weights by fma, untold",
     .contract = "combine.fma=1 combine.bits=required",
     .unfused = true,
     .wrong = weighs_by_fma,
     .case_text = WEIGHS,
     .wrong_contract = "combine.fma=0 combine.bits=required",
     .checks = CHECK(BITS),
     .stage = MP_COMBINE},
    {.name = "finalized in the element type",
     .contract = "combine.variant=element-dtype combine.shared=rounded",
     .right = finalized_in_dtype,
     .wrong = summed_without_the_last,
     .case_text = "M=33 topk=4 K=96 N=64 act=silu rsf=2.5 shared=add",
     .checks = CHECK(BOUND),
     .stage = MP_COMBINE},
    {.name = "stores saturate",
     .contract = "store.overflow=saturate",
     .unfused = true, /* the host adds so under its own contract alone */
     .wrong = overflows_to_inf,
     .case_text = OVERFLOWS,
     .checks = CHECK(NAN),
     .stage = MP_COMBINE},
    {.name = "stores saturate, untold",
     .contract = "store.overflow=saturate",
     .wrong = saturates_now_and_then,
     .case_text = OVERFLOWS,
     .wrong_contract = "store.overflow=inf",
     .checks = CHECK(BOUND),
     .stage = MP_COMBINE},
    {.name = "stores saturate or not",
     .contract = "store.overflow=any",
     .right = saturates_now_and_then,
     .wrong = overflows_to_nan,
     .case_text = OVERFLOWS,
     .checks = CHECK(NAN),
     .stage = MP_COMBINE},
    {.name = "all of it, under any",
     .contract = "any",
     .right = all_at_once,
     .wrong = all_at_once_but_the_last_slot,
     .case_text = "M=33 topk=3 K=96 N=64 act=silu",
     .checks = CHECK(BOUND),
     .stage = MP_COMBINE},
};
const size_t variant_count = sizeof variants / sizeof *variants;
