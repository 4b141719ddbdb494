/* SPDX-License-Identifier: Apache-2.0 */
/* Activation and combine predicted on the device, beside what was stored: whether all of it is equal. A
 * device that takes anything for equal would be believed where it says so. So a few rows are predicted by the
 * CPU too, whose digests must be those that the device has made; and these rows are looked at once more, each
 * with one code that is another, which must be found. */
#include "offload/cross_check.h"
#include "offload/device/confirm_act.h"
#include "offload/device/confirm_combine.h"
#include "offload/confirm.h"
#include "offload/rows.h"
#include "ref/predict/predict.h"

#include <stdlib.h>
#include <string.h>

/* ---- what both have in common ---- */

typedef struct sample {
    int64_t count, row[MP_CROSS_CHECKED]; /* of all that were looked at */
    mp_tensor by_cpu, got;                /* [count, n] */
} sample;

/* All rows that `ids` does not leave out have n equal codes. */
static bool all_equal(const mp_confirmed_row *found, int64_t rows, const int32_t *ids, int64_t n) {
    for (int64_t r = 0; r < rows; r++)
        if (!(ids && ids[r] < 0) && (found[r].equal != n || found[r].predicted != found[r].got)) return false;
    return true;
}

/* Rows to look at again. got_row: where each is in `got`; NULL: the row itself. Freed by the caller, after an
 * error too. */
static mp_status choose(const mp_offload *o, int64_t rows, const int32_t *ids, const mp_tensor *got,
                        const int64_t *got_row, sample *s, mp_error *err) {
    int64_t place[MP_CROSS_CHECKED], there = 0, next = 0;
    for (int64_t r = 0; r < rows; r++) there += !(ids && ids[r] < 0);
    const int64_t chosen = mp_cross_check_choose(there, (uint64_t)o->predicted, MP_CROSS_CHECKED, place);
    there = 0;
    for (int64_t r = 0; r < rows && next < chosen; r++) { /* places ascend */
        if (ids && ids[r] < 0) continue;
        if (place[next] == there++) s->row[next++] = r;
    }
    s->count = next;
    s->got = s->by_cpu = mp_tensor_shape(got->dtype, 2, next, mp_tensor_row_length(got), 1);
    mp_status status = mp_tensor_alloc(&s->got, 0, err);
    if (status == MP_OK) status = mp_tensor_alloc(&s->by_cpu, 0, err);
    for (int64_t i = 0; i < next && status == MP_OK; i++)
        memcpy(mp_tensor_row(&s->got, i), mp_tensor_row(got, got_row ? got_row[s->row[i]] : s->row[i]),
               mp_tensor_row_bytes(got));
    return status;
}

static void free_sample(sample *s) {
    mp_tensor_free(&s->by_cpu);
    mp_tensor_free(&s->got);
}

static mp_status differs(const mp_offload *o, const sample *s, int64_t i, const mp_confirmed_row *found,
                         mp_error *err) {
    return mp_fail(err, MP_EDEVICE,
                   "bits looked at on %s: of row %lld %lld are equal, their digests %llX and, as stored, "
                   "%llX; by the CPU they are %llX and %llX",
                   mp_cuda_device_name(o->cuda), (long long)s->row[i], (long long)found->equal,
                   (unsigned long long)found->predicted, (unsigned long long)found->got,
                   (unsigned long long)mp_confirmed_digest(&s->by_cpu, i),
                   (unsigned long long)mp_confirmed_digest(&s->got, i));
}

/* What the device has found of these rows, of which so many elements are equal; at[i]: which of `found` it
 * is, NULL: the i-th. */
static mp_status check(const mp_offload *o, const sample *s, const mp_confirmed_row *found, const int64_t *at,
                       int64_t equal, mp_error *err) {
    for (int64_t i = 0; i < s->count; i++) {
        const mp_confirmed_row *f = &found[at ? at[i] : i];
        if (f->equal != equal || f->predicted != mp_confirmed_digest(&s->by_cpu, i) ||
            f->got != mp_confirmed_digest(&s->got, i))
            return differs(o, s, i, f, err);
    }
    return MP_OK;
}

/* Makes one code of each row another. */
static void spoil(const sample *s) {
    const int64_t n = mp_tensor_row_length(&s->got);
    for (int64_t i = 0; i < s->count; i++) {
        const int64_t at = i * n + (int64_t)(mp_bits((mp_u64)s->row[i], 0) % (mp_u64)n);
        mp_put_code(s->got.dtype, s->got.data, at, mp_code_at(s->got.dtype, s->got.data, at) ^ 1);
    }
}

/* ---- activation ---- */

static mp_status compare_act(mp_offload *o, const mp_act_bits *b, const mp_tensor *got,
                             mp_confirmed_row *found, mp_error *err) {
    const mp_case *c = b->c;
    mp_told_rows told = {.rows = b->slots, .row_bytes = sizeof *found};
    mp_confirm_act_params params = {.cache1_format = mp_describe_format(b->cache1->dtype),
                                    .got_format = mp_describe_format(got->dtype),
                                    .slots = b->slots,
                                    .N = mp_tensor_row_length(got),
                                    .width = mp_tensor_row_length(b->cache1),
                                    .step = c->interleaved ? 2 : 1,
                                    .act = (int)c->act,
                                    .gated = c->gated,
                                    .rounds_gate = b->rounds_gate,
                                    .clamps_nan = b->clamps_nan,
                                    .alpha = (float)c->alpha,
                                    .limit = (float)c->limit,
                                    .added = b->added};
    CUdeviceptr cache1, stored, ids, row;
    mp_status status = MP_OK;
    params.up = c->interleaved ? 1 : params.N;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring(o, b->cache1, MP_SCRATCH_A, &cache1, err));
    MP_DO(mp_offload_bring(o, got, MP_SCRATCH_GOT, &stored, err));
    MP_DO(mp_offload_bring_bytes(o, b->topk_ids, b->slots * 4, MP_SCRATCH_INPUT, &ids, err));
    MP_DO(mp_offload_bring_bytes(o, b->row, b->slots * 8, MP_SCRATCH_ROWS, &row, err));
    params.cache1 = cache1;
    params.got = stored;
    params.topk_ids = ids;
    params.row = row;
    params.confirmed = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/confirm_act.cu", "confirm_act",
                              MP_CONFIRM_ACT_THREADS, &params, found, err));
out:
    return status;
}

/* The slots of a sample alone, one behind the other. */
typedef struct few_slots {
    mp_tensor cache1;
    int32_t ids[MP_CROSS_CHECKED];
    int64_t row[MP_CROSS_CHECKED];
} few_slots;

static mp_status take_slots(const mp_act_bits *b, const sample *s, few_slots *few, mp_act_bits *of_few,
                            mp_error *err) {
    few->cache1 = mp_tensor_shape(b->cache1->dtype, 2, s->count, mp_tensor_row_length(b->cache1), 1);
    const mp_status status = mp_tensor_alloc(&few->cache1, 0, err);
    for (int64_t i = 0; i < s->count && status == MP_OK; i++) {
        memcpy(mp_tensor_row(&few->cache1, i), mp_tensor_row(b->cache1, b->row[s->row[i]]),
               mp_tensor_row_bytes(b->cache1));
        few->ids[i] = 0;
        few->row[i] = i;
    }
    *of_few = *b;
    of_few->cache1 = &few->cache1;
    of_few->topk_ids = few->ids;
    of_few->row = few->row;
    of_few->slots = s->count;
    return status;
}

static mp_status confirm_act(mp_offload *o, const mp_act_bits *b, const mp_tensor *got, bool *equal,
                             mp_error *err) {
    const int64_t N = mp_tensor_row_length(got);
    mp_confirmed_row *found = malloc((size_t)b->slots * sizeof *found), again[MP_CROSS_CHECKED];
    sample s = {0};
    few_slots few = {0};
    mp_act_bits of_few;
    mp_status status =
        found ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for what is equal of %lld", (long long)b->slots);
    MP_DO(status);
    MP_DO(compare_act(o, b, got, found, err));
    *equal = all_equal(found, b->slots, b->topk_ids, N);
    if (!*equal) goto out;
    MP_DO(choose(o, b->slots, b->topk_ids, got, b->row, &s, err));
    o->predicted++;
    if (s.count == 0) goto out;
    MP_DO(take_slots(b, &s, &few, &of_few, err));
    MP_DO(mp_predict_activated(&of_few, &s.by_cpu, err));
    MP_DO(check(o, &s, found, s.row, N, err));
    spoil(&s);
    MP_DO(compare_act(o, &of_few, &s.got, again, err));
    MP_DO(check(o, &s, again, NULL, N - 1, err));
out:
    mp_tensor_free(&few.cache1);
    free_sample(&s);
    free(found);
    return status;
}

mp_status mp_offload_confirm_act(const mp_engine *self, const mp_act_bits *b, const mp_tensor *got,
                                 bool *equal, mp_error *err) {
    *equal = false;
    if (b->slots < 1 || b->function != MP_ACT_IEEE || !mp_offload_reads_rows_of(b->cache1) ||
        !mp_offload_reads_rows_of(got))
        return mp_fail(err, MP_EUNSUPPORTED, "no such activation on a GPU");
    return mp_offload_ended(self->state, confirm_act(self->state, b, got, equal, err), err);
}

/* ---- combine ---- */

static mp_status compare_combine(mp_offload *o, const mp_combine_bits *b, const mp_tensor *got,
                                 mp_confirmed_row *found, mp_error *err) {
    const mp_tensor *terms = b->terms.cache3, *shared = b->terms.shared_output;
    const int64_t tokens = terms->dim[0], slots = tokens * terms->dim[1];
    mp_told_rows told = {.rows = tokens, .row_bytes = sizeof *found};
    mp_confirm_combine_params params = {.terms_format = mp_describe_format(terms->dtype),
                                        .got_format = mp_describe_format(got->dtype),
                                        .tokens = tokens,
                                        .topk = terms->dim[1],
                                        .K = terms->dim[2],
                                        .fma = b->fma,
                                        .round_sum = b->round_sum,
                                        .round_before_shared = b->round_before_shared,
                                        .rsf = (float)b->rsf};
    CUdeviceptr of_terms, stored, weights, ids, of_shared;
    mp_status status = MP_OK;
    if (shared && shared->data) params.shared_format = mp_describe_format(shared->dtype);
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring(o, terms, MP_SCRATCH_A, &of_terms, err));
    MP_DO(mp_offload_bring(o, got, MP_SCRATCH_GOT, &stored, err));
    MP_DO(mp_offload_bring_bytes(o, b->terms.weights, slots * 4, MP_SCRATCH_INPUT, &weights, err));
    MP_DO(mp_offload_bring_bytes(o, b->terms.topk_ids, slots * 4, MP_SCRATCH_INPUT + 1, &ids, err));
    MP_DO(mp_offload_bring(o, shared, MP_SCRATCH_INPUT + 2, &of_shared, err));
    params.terms = of_terms;
    params.got = stored;
    params.weights = weights;
    params.topk_ids = ids;
    params.shared = of_shared;
    params.confirmed = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/confirm_combine.cu", "confirm_combine",
                              MP_CONFIRM_COMBINE_THREADS, &params, found, err));
out:
    return status;
}

/* Rows of a sample out of [tokens, row_bytes], one behind the other; NULL stays NULL. Freed by the caller. */
static mp_status take_rows(const sample *s, const void *from, size_t row_bytes, void **to, mp_error *err) {
    if (!from) return MP_OK;
    *to = malloc((size_t)s->count * row_bytes);
    if (!*to) return mp_fail(err, MP_EMEMORY, "no memory for rows of %zu bytes", row_bytes);
    for (int64_t i = 0; i < s->count; i++)
        memcpy((char *)*to + (size_t)i * row_bytes, (const char *)from + (size_t)s->row[i] * row_bytes,
               row_bytes);
    return MP_OK;
}

/* The tokens of a sample alone. */
typedef struct few_tokens {
    mp_tensor cache3, shared;
    void *weights, *ids;
} few_tokens;

static mp_status take_tokens(const mp_combine_bits *b, const sample *s, few_tokens *few,
                             mp_combine_bits *of_few, mp_error *err) {
    const mp_combine_terms *t = &b->terms;
    const size_t topk = (size_t)t->cache3->dim[1];
    mp_status status = MP_OK;
    few->cache3 = *t->cache3;
    few->cache3.dim[0] = s->count;
    few->cache3.data = NULL;
    if (t->shared_output) few->shared = *t->shared_output;
    few->shared.dim[0] = s->count;
    few->shared.data = NULL;
    MP_DO(take_rows(s, t->cache3->data, topk * mp_tensor_row_bytes(t->cache3), &few->cache3.data, err));
    if (t->shared_output && t->shared_output->data)
        MP_DO(take_rows(s, t->shared_output->data, mp_tensor_row_bytes(t->shared_output), &few->shared.data,
                        err));
    MP_DO(take_rows(s, t->weights, topk * sizeof *t->weights, &few->weights, err));
    MP_DO(take_rows(s, t->topk_ids, topk * sizeof *t->topk_ids, &few->ids, err));
    *of_few = *b;
    of_few->terms = (mp_combine_terms){&few->cache3, &few->shared, few->weights, few->ids};
out:
    return status;
}

static mp_status confirm_combine(mp_offload *o, const mp_combine_bits *b, const mp_tensor *got, bool *equal,
                                 mp_error *err) {
    const int64_t tokens = b->terms.cache3->dim[0], K = b->terms.cache3->dim[2];
    mp_confirmed_row *found = malloc((size_t)tokens * sizeof *found), again[MP_CROSS_CHECKED];
    sample s = {0};
    few_tokens few = {0};
    mp_combine_bits of_few;
    mp_status status =
        found ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for what is equal of %lld", (long long)tokens);
    MP_DO(status);
    MP_DO(compare_combine(o, b, got, found, err));
    *equal = all_equal(found, tokens, NULL, K);
    if (!*equal) goto out;
    MP_DO(choose(o, tokens, NULL, got, NULL, &s, err));
    o->predicted++;
    MP_DO(take_tokens(b, &s, &few, &of_few, err));
    MP_DO(mp_predict_combined(&of_few, &s.by_cpu, err));
    MP_DO(check(o, &s, found, s.row, K, err));
    spoil(&s);
    MP_DO(compare_combine(o, &of_few, &s.got, again, err));
    MP_DO(check(o, &s, again, NULL, K - 1, err));
out:
    free(few.cache3.data);
    free(few.shared.data);
    free(few.weights);
    free(few.ids);
    free_sample(&s);
    free(found);
    return status;
}

mp_status mp_offload_confirm_combine(const mp_engine *self, const mp_combine_bits *b, const mp_tensor *got,
                                     bool *equal, mp_error *err) {
    *equal = false;
    if (b->terms.cache3->dim[0] < 1 || !mp_offload_reads_rows_of(got) ||
        !mp_offload_reads_rows_of(b->terms.cache3) || !mp_offload_reads_rows_of(b->terms.shared_output))
        return mp_fail(err, MP_EUNSUPPORTED, "no sums of these formats on a GPU");
    return mp_offload_ended(self->state, confirm_combine(self->state, b, got, equal, err), err);
}
