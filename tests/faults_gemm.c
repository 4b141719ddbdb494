/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of the two grouped GEMMs. "Wraps" stands for a 32-bit offset that wraps at 2^31: it wraps here at a
 * row small enough for a test. */
#include "tests/faults.h"

#include "cases/graph_tables.h"
#include "ref/activation.h"

#include <string.h>

/* ---- gate_up ---- */

void expert_swapped(const faulty_run *run) {
    faulty_gemm gemm = gate_up_gemm(run);
    gemm.ids[0] = (int32_t)((gemm.ids[0] + 1) % run->c->E);
    store_gemm(run, &gemm);
}

void gate_up_bias_missing(const faulty_run *run) {
    faulty_gemm gemm = gate_up_gemm(run);
    gemm.epilogue.bias = NULL;
    store_gemm(run, &gemm);
}

void bias_of_expert_zero(const faulty_run *run) {
    faulty_gemm gemm = gate_up_gemm(run);
    mp_tensor bias = copy_tensor(gemm.epilogue.bias);
    for (int64_t e = 1; e < bias.dim[0]; e++)
        memcpy(mp_tensor_row(&bias, e), bias.data, (size_t)bias.dim[1] * mp_dtype_size(bias.dtype));
    gemm.epilogue.bias = &bias;
    store_gemm(run, &gemm);
    mp_tensor_free(&bias);
}

/* Each row followed by the first elements of the next one; zeros behind the last. */
static mp_tensor with_tail(const mp_tensor *t, int64_t tail) {
    mp_tensor wide = *t;
    const int last = t->rank - 1;
    wide.dim[last] += tail;
    if (mp_tensor_alloc(&wide, 0, NULL) != MP_OK) return wide;
    const int64_t width = t->dim[last], elements = mp_tensor_count(t);
    for (int64_t r = 0; r < mp_tensor_rows(t); r++)
        for (int64_t i = 0; i < width + tail; i++)
            mp_encode(t->dtype, wide.data, r * (width + tail) + i,
                      r * width + i < elements ? mp_decode(t->dtype, t->data, r * width + i) : 0);
    return wide;
}

static void store_with_tail(const faulty_run *run, faulty_gemm gemm) {
    mp_tensor a = with_tail(gemm.problem.a.codes, 32), w = with_tail(gemm.problem.w.codes, 32);
    gemm.problem.a.codes = &a;
    gemm.problem.w.codes = &w;
    store_gemm(run, &gemm);
    mp_tensor_free(&a);
    mp_tensor_free(&w);
}

/* w1 as a kernel reads it that takes it for packed: rows `row` elements apart, experts `expert`. */
static void store_misread(const faulty_run *run, int64_t row, int64_t expert) {
    const mp_tensor *given = &run->as_given[MP_W1];
    faulty_gemm gemm = gate_up_gemm(run);
    mp_tensor w = copy_tensor(gemm.problem.w.codes);
    for (int64_t e = 0; e < w.dim[0]; e++)
        for (int64_t n = 0; n < w.dim[1]; n++)
            for (int64_t k = 0; k < w.dim[2]; k++)
                mp_encode(w.dtype, w.data, (e * w.dim[1] + n) * w.dim[2] + k,
                          mp_decode(given->dtype, given->data, e * expert + n * row + k));
    gemm.problem.w.codes = &w;
    store_gemm(run, &gemm);
    mp_tensor_free(&w);
}

static void true_strides(const faulty_run *run, int64_t stride[MP_MAX_RANK]) {
    mp_case_strides(run->c, MP_W1, &run->as_given[MP_W1], stride);
}

void weight_rows_taken_for_packed(const faulty_run *run) {
    int64_t stride[MP_MAX_RANK];
    true_strides(run, stride);
    store_misread(run, run->c->K, stride[0]);
}
void experts_taken_for_packed(const faulty_run *run) {
    int64_t stride[MP_MAX_RANK];
    true_strides(run, stride);
    store_misread(run, stride[1], stride[1] * mp_case_w1_rows(run->c));
}

/* The tail of K is masked in x alone: what lies behind a row of weights is multiplied by zero. */
void gap_times_zero(const faulty_run *run) {
    if (run->c->weight_row_gap == 0 || run->c->K % 64 == 0) return;
    const mp_tensor *cache1 = &run->trace->t[MP_CACHE1];
    for (int64_t i = 0; i < mp_tensor_count(cache1); i++)
        mp_encode(cache1->dtype, cache1->data, i,
                  mp_decode(cache1->dtype, cache1->data, i) + 0 * (double)NAN);
    redo_from(run, MP_ACT);
}

/* Loads of 16 bytes, from the boundary before the first element. */
void x_read_from_the_boundary(const faulty_run *run) {
    const int64_t before = run->c->buffer_offset * (int64_t)mp_dtype_size(run->c->dtype) % 16 /
                           (int64_t)mp_dtype_size(run->c->dtype);
    const mp_tensor *given = &run->as_given[MP_X];
    faulty_gemm gemm = gate_up_gemm(run);
    mp_tensor x = copy_tensor(given);
    for (int64_t i = 0; i < mp_tensor_count(&x); i++)
        mp_encode(x.dtype, x.data, i, mp_decode(given->dtype, given->data, i - before));
    gemm.problem.a.codes = &x;
    store_gemm(run, &gemm);
    mp_tensor_free(&x);
}

void gate_up_tail_unmasked(const faulty_run *run) {
    store_with_tail(run, gate_up_gemm(run));
}

/* a with columns first .. first+count of every row zeroed: what those k contribute is lost. */
static mp_tensor without_columns(const mp_tensor *a, int64_t first, int64_t count) {
    mp_tensor cut = copy_tensor(a);
    const size_t size = mp_dtype_size(a->dtype);
    for (int64_t r = 0; r < mp_tensor_rows(a); r++)
        memset((char *)mp_tensor_row(&cut, r) + (size_t)first * size, 0, (size_t)count * size);
    return cut;
}

static void store_without(const faulty_run *run, faulty_gemm gemm, int64_t first, int64_t count) {
    mp_tensor cut = without_columns(gemm.problem.a.codes, first, count);
    gemm.problem.a.codes = &cut;
    store_gemm(run, &gemm);
    mp_tensor_free(&cut);
}

void k_group_dropped(const faulty_run *run) {
    store_without(run, gate_up_gemm(run), 16, 16);
}

/* A loop that takes two groups of 16 at a time, and forgets the last of an odd number. */
static int64_t pairs_of_groups(int64_t k) {
    return k / 32 * 32;
}

void odd_k_group_dropped(const faulty_run *run) {
    const int64_t K = run->c->K, done = pairs_of_groups(K);
    store_without(run, gate_up_gemm(run), done, K - done);
}

/* The tuned tile of one batch size is wrong. */
void wrong_at_four_tokens(const faulty_run *run) {
    if (run->c->M == 4) k_group_dropped(run);
}

/* A batch of a size that no other check asks about. */
void wrong_at_five_tokens(const faulty_run *run) {
    if (run->c->M == 5) k_group_dropped(run);
}

/* The second launch alone is wrong. */
void wrong_at_five_tokens_again(const faulty_run *run) {
    if (run->c->M == 5 && run->poison == MP_POISON_A) k_group_dropped(run);
}

/* Columns of a large K are read through another path, which rounds K up. */
void long_k_tail_unmasked(const faulty_run *run) {
    if (run->c->K >= 1024) gate_up_tail_unmasked(run);
}

void token_offset_wraps(const faulty_run *run) {
    faulty_gemm gemm = gate_up_gemm(run);
    for (int64_t t = 0; t < gemm.problem.slots; t++) gemm.map.x_row[t] %= 32;
    store_gemm(run, &gemm);
}

void expert_offset_wraps(const faulty_run *run) {
    faulty_gemm gemm = gate_up_gemm(run);
    for (int64_t t = 0; t < gemm.problem.slots; t++) gemm.ids[t] %= 2;
    store_gemm(run, &gemm);
}

/* The rows of up, by halves: the bias of gate alone is added. */
void up_bias_missing(const faulty_run *run) {
    faulty_gemm gemm = gate_up_gemm(run);
    mp_tensor bias = copy_tensor(gemm.epilogue.bias);
    const size_t size = mp_dtype_size(bias.dtype);
    for (int64_t e = 0; e < bias.dim[0]; e++)
        for (int64_t n = 0; n < run->c->N; n++)
            memset((char *)mp_tensor_row(&bias, e) + (size_t)mp_up_column(run->c, n) * size, 0, size);
    gemm.epilogue.bias = &bias;
    store_gemm(run, &gemm);
    mp_tensor_free(&bias);
}

/* A sum over all experts, those of others times zero. */
void unused_expert_times_zero(const faulty_run *run) {
    const mp_tensor *w1 = &run->in->t[MP_W1], *cache1 = &run->trace->t[MP_CACHE1];
    double zero = 0;
    for (int64_t e = 0; e < run->c->E; e++)
        zero += 0 * mp_decode(w1->dtype, w1->data, e * w1->dim[1] * w1->dim[2]);
    for (int64_t i = 0; i < mp_tensor_count(cache1); i++)
        mp_encode(cache1->dtype, cache1->data, i, mp_decode(cache1->dtype, cache1->data, i) + zero);
    redo_from(run, MP_ACT);
}

void input_weight_ignored(const faulty_run *run) {
    faulty_gemm gemm = gate_up_gemm(run);
    gemm.epilogue.weights = NULL;
    store_gemm(run, &gemm);
}

/* The K loop in two halves, the first sum kept in dtype. */
void partial_sum_in_dtype(const faulty_run *run) {
    faulty_gemm first = gate_up_gemm(run), second = gate_up_gemm(run);
    const int64_t K = run->c->K, half = K / 2;
    mp_tensor low = without_columns(first.problem.a.codes, half, K - half),
              high = without_columns(second.problem.a.codes, 0, half);
    first.problem.a.codes = &low;
    second.problem.a.codes = &high;
    mp_tensor a = gemm_before_store(&first), b = gemm_before_store(&second);
    const mp_tensor *cache1 = &run->trace->t[MP_CACHE1];
    const float *x = a.data, *y = b.data;
    for (int64_t i = 0; i < mp_tensor_count(&a); i++)
        mp_encode(cache1->dtype, cache1->data, i,
                  (double)((float)mp_round_to(run->c->dtype, (double)x[i]) + y[i]));
    redo_from(run, MP_ACT);
    mp_tensor_free(&a);
    mp_tensor_free(&b);
    mp_tensor_free(&low);
    mp_tensor_free(&high);
    free_gemm(&first);
    free_gemm(&second);
}

void store_truncates(const faulty_run *run) {
    faulty_gemm gemm = gate_up_gemm(run);
    mp_tensor sum = gemm_before_store(&gemm);
    uint32_t *bits = sum.data;
    uint16_t *cache1 = run->trace->t[MP_CACHE1].data; /* bf16 */
    for (int64_t i = 0; i < mp_tensor_count(&sum); i++) cache1[i] = (uint16_t)(bits[i] >> 16);
    redo_from(run, MP_ACT);
    mp_tensor_free(&sum);
    free_gemm(&gemm);
}

/* One NaN in a valid row, where the batch holds padding tokens full of them. */
void padding_nan_spreads(const faulty_run *run) {
    if (run->c->M == 1) return;
    mp_encode(run->c->dtype, run->trace->t[MP_CACHE1].data, 0, (double)NAN);
    redo_from(run, MP_ACT);
}

/* Elements first .. first+count of row `row` keep what the buffer held. */
static void unwritten(const faulty_run *run, mp_tensor_id which, int64_t row, int64_t first, int64_t count) {
    const mp_tensor *t = &run->trace->t[which];
    const size_t size = mp_dtype_size(t->dtype);
    char *data = (char *)mp_tensor_row(t, row) + (size_t)first * size;
    for (size_t i = 0; i < (size_t)count * size; i += 2) memcpy(data + i, &run->poison, 2);
}

void gate_up_tile_unwritten(const faulty_run *run) {
    const int64_t width = mp_case_w1_rows(run->c);
    unwritten(run, MP_CACHE1, mp_case_slots(run->c) - 1, width / 2, width / 2);
    redo_from(run, MP_ACT);
}

void gate_up_filtered_unwritten(const faulty_run *run) {
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        if (ids_of(run)[t] < 0) unwritten(run, MP_CACHE1, t, 0, mp_case_w1_rows(run->c));
}

/* The last rows of the buffer lie behind every block that is in use. */
void padding_row_written(const faulty_run *run) {
    const mp_tensor *cache1 = &run->trace->t[MP_CACHE1];
    memset(mp_tensor_row(cache1, cache1->dim[0] - 1), 0,
           (size_t)cache1->dim[1] * mp_dtype_size(cache1->dtype));
}

/* In place, the second half of the tokens reads x where the first outputs already stand. */
void inplace_x_read_too_late(const faulty_run *run) {
    faulty_gemm gemm = gate_up_gemm(run);
    mp_tensor x = copy_tensor(gemm.problem.a.codes);
    const size_t row = (size_t)run->c->K * mp_dtype_size(x.dtype);
    for (int64_t m = run->c->M / 2; m < run->c->M; m++)
        memcpy(mp_tensor_row(&x, m), mp_tensor_row(&run->trace->t[MP_OUT], m), row);
    gemm.problem.a.codes = &x;
    store_gemm(run, &gemm);
    mp_tensor_free(&x);
}

/* ---- down ---- */

void router_weight_missing(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    gemm.epilogue.weights = NULL;
    store_gemm(run, &gemm);
}

/* Slots count from the begin of their chunk. */
void weights_of_the_first_chunk(const faulty_run *run) {
    const int64_t chunk = MP_CHUNK_TOKENS * run->c->topk;
    faulty_gemm gemm = down_gemm(run);
    for (int64_t t = chunk; t < gemm.problem.slots; t++) gemm.weights[t] = gemm.weights[t - chunk];
    store_gemm(run, &gemm);
}

void router_weight_twice(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    for (int64_t t = 0; t < gemm.problem.slots; t++) gemm.weights[t] *= gemm.weights[t];
    store_gemm(run, &gemm);
}

/* The shared expert has a weight of 1, which routed_scaling_factor then multiplies. */
void shared_weight_of_one(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    for (int64_t t = run->c->topk - 1; t < gemm.problem.slots; t += run->c->topk) gemm.weights[t] = 1;
    store_gemm(run, &gemm);
}

/* Also where the epilogue should not weight: apply_router_weight_on_input and no_combine. */
void router_weight_unasked(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    gemm.epilogue.weights = gemm.weights;
    store_gemm(run, &gemm);
}

/* Rows of filtered slots become zero times their router weight. */
void filtered_weight_times_zero(const faulty_run *run) {
    const mp_tensor *cache3 = &run->trace->t[mp_stage_output(run->c, MP_DOWN)];
    const float *weights = run->in->t[MP_TOPK_WEIGHTS].data;
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        for (int64_t k = 0; k < run->c->K && ids_of(run)[t] < 0; k++)
            mp_encode(cache3->dtype, cache3->data, t * run->c->K + k, 0 * (double)weights[t]);
    redo_from(run, MP_COMBINE);
}

/* The slot of a sentinel goes to the last expert, and its weight is 0. */
void sentinel_times_zero(const faulty_run *run) {
    const mp_tensor *cache3 = &run->trace->t[MP_CACHE3], *w2 = &run->in->t[MP_W2];
    const int64_t K = run->c->K, N = run->c->N, last = (run->c->E - 1) * K;
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        for (int64_t k = 0; k < K && run->given[t] >= run->c->E; k++)
            mp_encode(cache3->dtype, cache3->data, t * K + k,
                      0 * fabs(mp_decode(w2->dtype, w2->data, (last + k) * N)));
    redo_from(run, MP_COMBINE);
}

void odd_n_group_dropped(const faulty_run *run) {
    const int64_t N = run->c->N, done = pairs_of_groups(N);
    store_without(run, down_gemm(run), done, N - done);
}

void down_expert_offset_wraps(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    for (int64_t t = 0; t < gemm.problem.slots; t++) gemm.ids[t] %= 2;
    store_gemm(run, &gemm);
}

void slot_offset_wraps(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    for (int64_t t = 0; t < gemm.problem.slots; t++) gemm.map.cache_row[t] %= 32;
    store_gemm(run, &gemm);
}

void router_weight_in_bf16(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    for (int64_t t = 0; t < gemm.problem.slots; t++)
        gemm.weights[t] = (float)mp_round_to(MP_BF16, (double)gemm.weights[t]);
    store_gemm(run, &gemm);
}

void router_weight_without_topk(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    const float *weights = run->in->t[MP_TOPK_WEIGHTS].data;
    const int64_t topk = run->c->topk;
    for (int64_t t = 0; t < gemm.problem.slots; t++) gemm.weights[t] = weights[t / topk + t % topk];
    store_gemm(run, &gemm);
}

void narrowed_before_weight(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    gemm.epilogue.weights = NULL;
    mp_tensor sum = gemm_before_store(&gemm);
    const mp_tensor *cache3 = &run->trace->t[MP_CACHE3];
    const float *value = sum.data;
    for (int64_t i = 0; i < mp_tensor_count(&sum); i++)
        mp_encode(cache3->dtype, cache3->data, i,
                  (double)((float)mp_round_to(MP_FP16, (double)value[i]) * gemm.weights[i / run->c->K]));
    redo_from(run, MP_COMBINE);
    mp_tensor_free(&sum);
    free_gemm(&gemm);
}

/* (acc * weight) + bias instead of (acc + bias) * weight. */
void bias_after_weight(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    const mp_tensor *bias = gemm.epilogue.bias, *cache3 = &run->trace->t[MP_CACHE3];
    gemm.epilogue.bias = NULL;
    mp_tensor sum = gemm_before_store(&gemm);
    const float *value = sum.data;
    for (int64_t t = 0; t < gemm.problem.slots; t++)
        for (int64_t k = 0; k < run->c->K; k++)
            mp_encode(cache3->dtype, cache3->data, t * run->c->K + k,
                      (double)value[t * run->c->K + k] +
                          mp_decode(bias->dtype, bias->data, gemm.ids[t] * run->c->K + k));
    redo_from(run, MP_COMBINE);
    mp_tensor_free(&sum);
    free_gemm(&gemm);
}

void down_filtered_unwritten(const faulty_run *run) {
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        if (ids_of(run)[t] < 0) unwritten(run, MP_CACHE3, t, 0, run->c->K);
    redo_from(run, MP_COMBINE);
}

void down_tail_unmasked(const faulty_run *run) {
    store_with_tail(run, down_gemm(run));
}

void split_k_half_launched(const faulty_run *run) {
    store_without(run, down_gemm(run), run->c->N / 2, run->c->N - run->c->N / 2);
}

/* The down GEMM takes blocks of 64 where the slots were sorted in blocks of 16. */
void down_block_size_differs(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    const int32_t *sorted = run->trace->t[MP_SORTED_TOKEN_IDS].data,
                  *experts = run->trace->t[MP_EXPERT_IDS].data;
    const int64_t positions = run->trace->t[MP_SORTED_TOKEN_IDS].dim[1];
    for (int64_t p = 0; p < positions; p++)
        if (sorted[p] < gemm.problem.slots && experts[p / 64] >= 0) gemm.ids[sorted[p]] = experts[p / 64];
    store_gemm(run, &gemm);
}

/* The last chunk finds its ids at first instead of first*topk. */
void last_chunk_ids_without_topk(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    const int64_t first = MP_CHUNK_TOKENS;
    for (int64_t t = first * run->c->topk; t < gemm.problem.slots; t++)
        gemm.ids[t] = ids_of(run)[t - first * run->c->topk + first];
    store_gemm(run, &gemm);
}

/* ---- fused sum: down adds into the output ---- */

static void add_to_out(const faulty_run *run, int64_t i, double value) {
    const mp_tensor *out = &run->trace->t[MP_OUT];
    mp_encode(out->dtype, out->data, i, mp_decode(out->dtype, out->data, i) + value);
}

void fused_sum_accumulates_over_calls(const faulty_run *run) {
    for (int64_t i = 0; run->number > 0 && i < run->c->M * run->c->K; i++)
        add_to_out(run, i, mp_decode(run->c->dtype, run->trace->t[MP_OUT].data, i));
}

void fused_sum_onto_poison(const faulty_run *run) {
    for (int64_t i = 0; i < run->c->M * run->c->K; i++)
        add_to_out(run, i, mp_decode(MP_FP32, &run->poison, 0));
}

/* A slot whose expert the token had before is taken for done. */
void fused_sum_repeated_expert_once(const faulty_run *run) {
    const int64_t topk = run->c->topk, K = run->c->K;
    const int32_t *ids = ids_of(run);
    faulty_gemm gemm = down_gemm(run);
    mp_tensor rows = gemm_before_store(&gemm);
    for (int64_t t = 0; t < mp_case_slots(run->c); t++) {
        int64_t first = t / topk * topk;
        while (ids[first] != ids[t]) first++;
        for (int64_t k = 0; k < K && first < t; k++)
            add_to_out(run, t / topk * K + k, -mp_decode(MP_FP32, rows.data, t * K + k));
    }
    mp_tensor_free(&rows);
    free_gemm(&gemm);
}

/* The additions never happen: all that is left is the zeroing before them. */
void fused_sum_all_zero(const faulty_run *run) {
    memset(run->trace->t[MP_OUT].data, 0, mp_tensor_bytes(&run->trace->t[MP_OUT]));
}

/* A block of filtered slots stores zeros over what others have added. */
void fused_sum_zeroed_by_filtered(const faulty_run *run) {
    const size_t row = (size_t)run->c->K * mp_dtype_size(run->c->dtype);
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        if (ids_of(run)[t] < 0) memset(mp_tensor_row(&run->trace->t[MP_OUT], t / run->c->topk), 0, row);
}
