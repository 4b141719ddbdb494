/* SPDX-License-Identifier: Apache-2.0 */
/* Activation, combine and quantisers predicted on the device, beside what was stored: whether all of it is
 * equal. */
#include "offload/confirm_rows.h"
#include "offload/device/confirm_act.h"
#include "offload/device/confirm_combine.h"
#include "offload/device/confirm_quant.h"
#include "offload/rows.h"

/* ---- activation ---- */

static mp_status compare_act(mp_offload *o, const mp_confirm_question *q, mp_confirmed_row *found,
                             mp_error *err) {
    const mp_act_bits *b = q->bits;
    const mp_case *c = b->c;
    const mp_act_slots slots = {.cache1 = b->cache1,
                                .got = q->got,
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

static mp_status take_slots(const mp_confirm_question *q, mp_confirm_sample *s, mp_error *err) {
    const mp_act_bits *b = q->bits;
    mp_act_bits *again = &s->bits.act;
    s->read = mp_tensor_shape(b->cache1->dtype, 2, s->count, mp_tensor_row_length(b->cache1), 1);
    *again = *b;
    again->cache1 = &s->read;
    again->row = s->at;
    again->slots = s->count;
    mp_status status = MP_OK;
    mp_confirm_make_rows(s, b->cache1, b->row, 1);
    MP_DO(
        mp_confirm_take_rows(s, b->cache1->data, b->row, mp_tensor_row_bytes(b->cache1), &s->read.data, err));
    MP_DO(mp_confirm_take_rows(s, b->topk_ids, NULL, sizeof *b->topk_ids, &s->ids, err));
    again->topk_ids = s->ids;
out:
    return status;
}

static mp_status predict_act(const mp_confirm_question *q, const mp_tensor *out, mp_error *err) {
    return mp_predict_activated(q->bits, out, err);
}

static const mp_confirm_kind activation = {compare_act, predict_act, take_slots};

/* ---- combine ---- */

static mp_status compare_combine(mp_offload *o, const mp_confirm_question *q, mp_confirmed_row *found,
                                 mp_error *err) {
    const mp_combine_bits *b = q->bits;
    mp_confirm_combine_params params = {.fma = b->fma,
                                        .round_sum = b->round_sum,
                                        .round_before_shared = b->round_before_shared,
                                        .rsf = (float)b->rsf};
    mp_told_rows told = {.rows = b->terms.cache3->dim[0], .row_bytes = sizeof *found};
    mp_status status = MP_OK;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring_combine(o, &b->terms, q->got, &params.rows, err));
    params.confirmed = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/confirm_combine.cu", "confirm_combine",
                              MP_CONFIRM_COMBINE_THREADS, &params, found, err));
out:
    return status;
}

static mp_status take_tokens(const mp_confirm_question *q, mp_confirm_sample *s, mp_error *err) {
    const mp_combine_bits *b = q->bits;
    const mp_combine_terms *t = &b->terms;
    const size_t topk = (size_t)t->cache3->dim[1];
    mp_status status = MP_OK;
    s->read = mp_tensor_shape(t->cache3->dtype, 3, s->count, t->cache3->dim[1], t->cache3->dim[2]);
    mp_confirm_make_rows(s, t->cache3, NULL, t->cache3->dim[1]);
    MP_DO(mp_confirm_take_rows(s, t->cache3->data, NULL, topk * mp_tensor_row_bytes(t->cache3), &s->read.data,
                               err));
    if (t->shared_output) {
        s->shared = mp_tensor_shape(t->shared_output->dtype, 2, s->count, t->cache3->dim[2], 1);
        MP_DO(mp_confirm_take_rows(s, t->shared_output->data, NULL, mp_tensor_row_bytes(&s->shared),
                                   &s->shared.data, err));
    }
    MP_DO(mp_confirm_take_rows(s, t->weights, NULL, topk * sizeof *t->weights, &s->weights, err));
    MP_DO(mp_confirm_take_rows(s, t->topk_ids, NULL, topk * sizeof *t->topk_ids, &s->ids, err));
    s->bits.combine = *b;
    s->bits.combine.terms = (mp_combine_terms){&s->read, &s->shared, s->weights, s->ids};
out:
    return status;
}

static mp_status predict_combine(const mp_confirm_question *q, const mp_tensor *out, mp_error *err) {
    return mp_predict_combined(q->bits, out, err);
}

static const mp_confirm_kind combine = {compare_combine, predict_combine, take_tokens};

/* ---- quant_x, quant_act ---- */

static mp_status compare_quant(mp_offload *o, const mp_confirm_question *q, mp_confirmed_row *found,
                               mp_error *err) {
    const mp_quant_bits *b = q->bits;
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

static mp_status take_quantised(const mp_confirm_question *q, mp_confirm_sample *s, mp_error *err) {
    const mp_quant_bits *b = q->bits;
    mp_quant_bits *again = &s->bits.quant;
    const mp_quant_pass *p = b->pass;
    const size_t groups = (size_t)mp_quant_groups(p);
    s->read = mp_tensor_shape(p->from->dtype, 2, s->count, mp_tensor_row_length(p->from), 1);
    s->pass = *p;
    s->pass.from = &s->read;
    s->pass.codes = &s->got;
    s->pass.rows = s->count;
    s->pass.row = s->at;
    s->pass.topk_ids = NULL; /* none is left out */
    *again = *b;
    again->pass = &s->pass;
    mp_status status = MP_OK;
    mp_confirm_make_rows(s, p->from, p->row, 1);
    MP_DO(mp_confirm_take_rows(s, p->from->data, p->row, mp_tensor_row_bytes(p->from), &s->read.data, err));
    MP_DO(mp_confirm_take_rows(s, b->factors, NULL, groups * sizeof *b->factors, &s->factors, err));
    again->factors = s->factors;
out:
    return status;
}

static mp_status predict_quant(const mp_confirm_question *q, const mp_tensor *out, mp_error *err) {
    return mp_predict_quantised(q->bits, out, err);
}

static const mp_confirm_kind quantiser = {compare_quant, predict_quant, take_quantised};

/* ---- what the judge asks for ---- */

mp_status mp_offload_confirm_act(const mp_engine *self, const mp_act_bits *b, const mp_tensor *got,
                                 bool *equal, mp_error *err) {
    const mp_confirm_question q = {
        .kind = &activation, .bits = b, .got = got, .at = b->row, .ids = b->topk_ids, .rows = b->slots};
    *equal = false;
    if (b->slots < 1 || b->function != MP_ACT_IEEE || !mp_offload_reads_rows_of(b->cache1) ||
        !mp_offload_reads_rows_of(got))
        return mp_fail(err, MP_EUNSUPPORTED, "no such activation on a GPU");
    return mp_offload_ended(self->state, mp_confirm_rows(self->state, &q, equal, err), err);
}

mp_status mp_offload_confirm_combine(const mp_engine *self, const mp_combine_bits *b, const mp_tensor *got,
                                     bool *equal, mp_error *err) {
    const mp_confirm_question q = {.kind = &combine, .bits = b, .got = got, .rows = b->terms.cache3->dim[0]};
    *equal = false;
    if (q.rows < 1 || !mp_offload_reads_rows_of(got) || !mp_offload_reads_rows_of(b->terms.cache3) ||
        !mp_offload_reads_rows_of(b->terms.shared_output))
        return mp_fail(err, MP_EUNSUPPORTED, "no sums of these formats on a GPU");
    return mp_offload_ended(self->state, mp_confirm_rows(self->state, &q, equal, err), err);
}

mp_status mp_offload_confirm_quant(const mp_engine *self, const mp_quant_bits *b, bool *equal,
                                   mp_error *err) {
    const mp_quant_pass *p = b->pass;
    const mp_confirm_question q = {
        .kind = &quantiser, .bits = b, .got = p->codes, .at = p->row, .ids = p->topk_ids, .rows = p->rows};
    *equal = false;
    if (q.rows < 1 || !mp_offload_reads_rows_of(p->from))
        return mp_fail(err, MP_EUNSUPPORTED, "no such rows on a GPU");
    return mp_offload_ended(self->state, mp_confirm_rows(self->state, &q, equal, err), err);
}
