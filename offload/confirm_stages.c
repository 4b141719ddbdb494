/* SPDX-License-Identifier: Apache-2.0 */
/* Activation, combine and quantisers predicted on the device, beside what was stored: whether all of it is
 * equal. A device that takes anything for equal would be believed where it says so. So a few rows are
 * predicted by the CPU too, whose digests must be those that the device has made; and these rows are looked
 * at once more, each with one code that is another, which must be found. */
#include "offload/cross_check.h"
#include "offload/device/confirm_act.h"
#include "offload/device/confirm_combine.h"
#include "offload/device/confirm_quant.h"
#include "offload/confirm.h"
#include "offload/rows.h"
#include "ref/predict/predict.h"

#include <stdlib.h>
#include <string.h>

/* What is looked at: one of the three, the others are NULL. Rows are slots or tokens. */
typedef struct question {
    const mp_act_bits *act;
    const mp_combine_bits *combine;
    const mp_quant_bits *quant;
    const mp_tensor *got; /* what was stored */
    const int64_t *at;    /* [rows] of got: where each is; NULL: row t is row t */
    const int32_t *ids;   /* [rows], negative of those that are left out; NULL: none are */
    int64_t rows;
} question;

/* A few rows of a question, and a question of these alone. */
typedef struct sample {
    int64_t count, row[MP_CROSS_CHECKED]; /* of all that were looked at */
    mp_tensor by_cpu, got;                /* [count, n] */
    mp_tensor read, shared;               /* what the stage reads; of a combine, and its shared output */
    void *weights, *ids, *factors;
    int64_t at[MP_CROSS_CHECKED]; /* 0, 1, ...: a few slots lie one behind the other */
    mp_act_bits act;
    mp_combine_bits combine;
    mp_quant_bits quant;
    mp_quant_pass pass;
    question again; /* of one of them */
} sample;

/* Rows of a sample, each of so many bytes, one behind the other; at: where they are in `from`, NULL: where
 * the sample says. NULL stays NULL. Freed by the caller. */
static mp_status take_rows(const sample *s, const void *from, const int64_t *at, size_t bytes, void **to,
                           mp_error *err) {
    if (!from) return MP_OK;
    *to = malloc((size_t)s->count * bytes);
    if (!*to) return mp_fail(err, MP_EMEMORY, "no memory for rows of %zu bytes", bytes);
    for (int64_t i = 0; i < s->count; i++) {
        const int64_t row = at ? at[s->row[i]] : s->row[i];
        memcpy((char *)*to + (size_t)i * bytes, (const char *)from + (size_t)row * bytes, bytes);
    }
    return MP_OK;
}

/* Has them made first, where nobody has them yet: `each` rows of t for one of the sample. */
static void make_rows(const sample *s, const mp_tensor *t, const int64_t *at, int64_t each) {
    for (int64_t i = 0; i < s->count; i++) {
        mp_tensor here = *t;
        here.data = mp_tensor_row(t, (at ? at[s->row[i]] : s->row[i]) * each);
        mp_tensor_make_rows(&here, NULL, each);
    }
}

static void free_sample(sample *s) {
    free(s->by_cpu.data);
    free(s->got.data);
    free(s->read.data);
    free(s->shared.data);
    free(s->weights);
    free(s->ids);
    free(s->factors);
}

/* ---- activation ---- */

static mp_status compare_act(mp_offload *o, const mp_act_bits *b, const mp_tensor *got,
                             mp_confirmed_row *found, mp_error *err) {
    const mp_case *c = b->c;
    const mp_act_slots slots = {.cache1 = b->cache1,
                                .got = got,
                                .topk_ids = b->topk_ids,
                                .row = b->row,
                                .slots = b->slots,
                                .interleaved = c->interleaved,
                                .rounds_gate = b->rounds_gate};
    mp_confirm_act_params params = {.act = (int)c->act,
                                    .gated = c->gated,
                                    .clamps_nan = b->clamps_nan,
                                    .alpha = (float)c->alpha,
                                    .limit = (float)c->limit,
                                    .added = b->added};
    mp_told_rows told = {.rows = b->slots, .row_bytes = sizeof *found};
    mp_status status = MP_OK;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring_act(o, &slots, &params.rows, err));
    params.confirmed = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/confirm_act.cu", "confirm_act",
                              MP_CONFIRM_ACT_THREADS, &params, found, err));
out:
    return status;
}

static mp_status take_slots(const mp_act_bits *b, sample *s, mp_error *err) {
    s->read = mp_tensor_shape(b->cache1->dtype, 2, s->count, mp_tensor_row_length(b->cache1), 1);
    s->act = *b;
    s->act.cache1 = &s->read;
    s->act.row = s->at;
    s->act.slots = s->count;
    s->again.act = &s->act;
    mp_status status = MP_OK;
    make_rows(s, b->cache1, b->row, 1);
    MP_DO(take_rows(s, b->cache1->data, b->row, mp_tensor_row_bytes(b->cache1), &s->read.data, err));
    MP_DO(take_rows(s, b->topk_ids, NULL, sizeof *b->topk_ids, &s->ids, err));
    s->act.topk_ids = s->ids;
out:
    return status;
}

/* ---- combine ---- */

static mp_status compare_combine(mp_offload *o, const mp_combine_bits *b, const mp_tensor *got,
                                 mp_confirmed_row *found, mp_error *err) {
    mp_confirm_combine_params params = {.fma = b->fma,
                                        .round_sum = b->round_sum,
                                        .round_before_shared = b->round_before_shared,
                                        .rsf = (float)b->rsf};
    mp_told_rows told = {.rows = b->terms.cache3->dim[0], .row_bytes = sizeof *found};
    mp_status status = MP_OK;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring_combine(o, &b->terms, got, &params.rows, err));
    params.confirmed = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/confirm_combine.cu", "confirm_combine",
                              MP_CONFIRM_COMBINE_THREADS, &params, found, err));
out:
    return status;
}

static mp_status take_tokens(const mp_combine_bits *b, sample *s, mp_error *err) {
    const mp_combine_terms *t = &b->terms;
    const size_t topk = (size_t)t->cache3->dim[1];
    mp_status status = MP_OK;
    s->read = mp_tensor_shape(t->cache3->dtype, 3, s->count, t->cache3->dim[1], t->cache3->dim[2]);
    make_rows(s, t->cache3, NULL, t->cache3->dim[1]);
    MP_DO(take_rows(s, t->cache3->data, NULL, topk * mp_tensor_row_bytes(t->cache3), &s->read.data, err));
    if (t->shared_output) {
        s->shared = mp_tensor_shape(t->shared_output->dtype, 2, s->count, t->cache3->dim[2], 1);
        MP_DO(take_rows(s, t->shared_output->data, NULL, mp_tensor_row_bytes(&s->shared), &s->shared.data,
                        err));
    }
    MP_DO(take_rows(s, t->weights, NULL, topk * sizeof *t->weights, &s->weights, err));
    MP_DO(take_rows(s, t->topk_ids, NULL, topk * sizeof *t->topk_ids, &s->ids, err));
    s->combine = *b;
    s->combine.terms = (mp_combine_terms){&s->read, &s->shared, s->weights, s->ids};
    s->again.combine = &s->combine;
out:
    return status;
}

/* ---- quant_x, quant_act ---- */

static mp_status compare_quant(mp_offload *o, const mp_quant_bits *b, mp_confirmed_row *found,
                               mp_error *err) {
    const mp_quant_pass *p = b->pass;
    const int64_t bytes = p->rows * mp_quant_groups(p) * (int64_t)sizeof *b->factors;
    mp_confirm_quant_params params = {.how = b->how, .given = p->q.given};
    mp_told_rows told = {.rows = p->rows, .row_bytes = sizeof *found};
    mp_status status = MP_OK;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring_quant(o, p, &params.rows, err));
    MP_DO(mp_offload_bring_bytes(o, b->factors, bytes, MP_SCRATCH_GROUPS, &params.factors, err));
    params.confirmed = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/confirm_quant.cu", "confirm_quant",
                              MP_CONFIRM_QUANT_THREADS, &params, found, err));
out:
    return status;
}

static mp_status take_quantised(const mp_quant_bits *b, sample *s, mp_error *err) {
    const mp_quant_pass *p = b->pass;
    const size_t groups = (size_t)mp_quant_groups(p);
    s->read = mp_tensor_shape(p->from->dtype, 2, s->count, mp_tensor_row_length(p->from), 1);
    s->pass = *p;
    s->pass.from = &s->read;
    s->pass.codes = &s->got;
    s->pass.rows = s->count;
    s->pass.row = s->at;
    s->pass.topk_ids = NULL; /* none is left out */
    s->quant = *b;
    s->quant.pass = &s->pass;
    s->again.quant = &s->quant;
    mp_status status = MP_OK;
    make_rows(s, p->from, p->row, 1);
    MP_DO(take_rows(s, p->from->data, p->row, mp_tensor_row_bytes(p->from), &s->read.data, err));
    MP_DO(take_rows(s, b->factors, NULL, groups * sizeof *b->factors, &s->factors, err));
    s->quant.factors = s->factors;
out:
    return status;
}

/* ---- what they have in common ---- */

static mp_status compare(mp_offload *o, const question *q, mp_confirmed_row *found, mp_error *err) {
    if (q->quant) return compare_quant(o, q->quant, found, err);
    return q->act ? compare_act(o, q->act, q->got, found, err)
                  : compare_combine(o, q->combine, q->got, found, err);
}

static mp_status predict(const question *q, const mp_tensor *out, mp_error *err) {
    if (q->quant) return mp_predict_quantised(q->quant, out, err);
    return q->act ? mp_predict_activated(q->act, out, err) : mp_predict_combined(q->combine, out, err);
}

/* What the rows of a sample are made of. */
static mp_status take(const question *q, sample *s, mp_error *err) {
    if (q->quant) return take_quantised(q->quant, s, err);
    return q->act ? take_slots(q->act, s, err) : take_tokens(q->combine, s, err);
}

static bool is_left_out(const question *q, int64_t row) {
    return (q->ids && q->ids[row] < 0) || (q->at && q->at[row] < 0);
}

/* All rows that are not left out have n equal codes. */
static bool all_equal(const question *q, const mp_confirmed_row *found, int64_t n) {
    for (int64_t r = 0; r < q->rows; r++)
        if (!is_left_out(q, r) && (found[r].equal != n || found[r].predicted != found[r].got)) return false;
    return true;
}

/* Rows to look at again; none where all are left out. */
static mp_status choose(const mp_offload *o, const question *q, sample *s, mp_error *err) {
    const int64_t n = mp_tensor_row_length(q->got);
    int64_t place[MP_CROSS_CHECKED], there = 0;
    for (int64_t r = 0; r < q->rows; r++) there += !is_left_out(q, r);
    const int64_t chosen = mp_cross_check_choose(there, (uint64_t)o->predicted, MP_CROSS_CHECKED, place);
    there = 0;
    for (int64_t r = 0; r < q->rows && s->count < chosen; r++) { /* places ascend */
        if (is_left_out(q, r)) continue;
        if (place[s->count] == there++) s->row[s->count++] = r;
    }
    for (int64_t i = 0; i < s->count; i++) s->at[i] = i;
    s->got = s->by_cpu = mp_tensor_shape(q->got->dtype, 2, s->count, n, 1);
    s->again = (question){.got = &s->got, .rows = s->count};
    mp_status status = MP_OK;
    if (s->count == 0) goto out;
    s->by_cpu.data = calloc(1, mp_tensor_bytes(&s->by_cpu));
    if (!s->by_cpu.data) status = mp_fail(err, MP_EMEMORY, "no memory for rows by the CPU");
    MP_DO(status);
    MP_DO(take_rows(s, q->got->data, q->at, mp_tensor_row_bytes(q->got), &s->got.data, err));
    MP_DO(take(q, s, err));
out:
    return status;
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

/* Whether all is equal; where it is, the device must find a few rows as the CPU does, and what is spoiled in
 * them. */
static mp_status confirm(mp_offload *o, const question *q, bool *equal, mp_error *err) {
    const int64_t n = mp_tensor_row_length(q->got);
    mp_confirmed_row *found = malloc((size_t)q->rows * sizeof *found), again[MP_CROSS_CHECKED];
    sample s = {0};
    mp_status status =
        found ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for what is equal of %lld", (long long)q->rows);
    MP_DO(status);
    MP_DO(compare(o, q, found, err));
    *equal = all_equal(q, found, n);
    if (!*equal) goto out;
    MP_DO(choose(o, q, &s, err));
    o->predicted++;
    if (s.count == 0) goto out;
    MP_DO(predict(&s.again, &s.by_cpu, err));
    MP_DO(check(o, &s, found, s.row, n, err));
    spoil(&s);
    MP_DO(compare(o, &s.again, again, err));
    MP_DO(check(o, &s, again, NULL, n - 1, err));
out:
    free_sample(&s);
    free(found);
    return status;
}

mp_status mp_offload_confirm_act(const mp_engine *self, const mp_act_bits *b, const mp_tensor *got,
                                 bool *equal, mp_error *err) {
    const question q = {.act = b, .got = got, .at = b->row, .ids = b->topk_ids, .rows = b->slots};
    *equal = false;
    if (b->slots < 1 || b->function != MP_ACT_IEEE || !mp_offload_reads_rows_of(b->cache1) ||
        !mp_offload_reads_rows_of(got))
        return mp_fail(err, MP_EUNSUPPORTED, "no such activation on a GPU");
    return mp_offload_ended(self->state, confirm(self->state, &q, equal, err), err);
}

mp_status mp_offload_confirm_combine(const mp_engine *self, const mp_combine_bits *b, const mp_tensor *got,
                                     bool *equal, mp_error *err) {
    const question q = {.combine = b, .got = got, .rows = b->terms.cache3->dim[0]};
    *equal = false;
    if (q.rows < 1 || !mp_offload_reads_rows_of(got) || !mp_offload_reads_rows_of(b->terms.cache3) ||
        !mp_offload_reads_rows_of(b->terms.shared_output))
        return mp_fail(err, MP_EUNSUPPORTED, "no sums of these formats on a GPU");
    return mp_offload_ended(self->state, confirm(self->state, &q, equal, err), err);
}

mp_status mp_offload_confirm_quant(const mp_engine *self, const mp_quant_bits *b, bool *equal,
                                   mp_error *err) {
    const mp_quant_pass *p = b->pass;
    const question q = {.quant = b, .got = p->codes, .at = p->row, .ids = p->topk_ids, .rows = p->rows};
    *equal = false;
    if (q.rows < 1 || !mp_offload_reads_rows_of(p->from))
        return mp_fail(err, MP_EUNSUPPORTED, "no such rows on a GPU");
    return mp_offload_ended(self->state, confirm(self->state, &q, equal, err), err);
}
