/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/spoiled.h"

#include "moeparity/matrix.h"

#include <string.h>

spoiled_run_facts now;

static mp_tensor_set hidden_in(const spoiled *self, const mp_case *c) {
    return !self->hides_in || self->hides_in(c) ? self->hides : 0;
}

static mp_status spoiled_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    spoiled *self = s->self;
    const mp_status status = self->host.describe(&self->host, c, offer, err);
    for (int i = 0; i < MP_STAGE_COUNT && self->unordered; i++)
        offer->contract.promise[i].deterministic = offer->contract.promise[i].batch_invariant = false;
    if (self->any_order) offer->contract.stable_align = offer->contract.align_tail = false;
    if (self->block_size_m)
        offer->config.up.block_size_m = offer->config.down.block_size_m = self->block_size_m;
    offer->exposes &= ~hidden_in(self, c);
    offer->host_bytes += self->host_bytes;
    if (self->zero_tile) offer->config.up.block_size_n = 0;
    if (self->two_blocks) offer->config.down.block_size_m = 2 * offer->config.up.block_size_m;
    if (self->promise) self->promise(&offer->contract);
    if (self->promise_sorted && c->layout == MP_SORTED) self->promise_sorted(&offer->contract);
    if (self->one_tile && c->tile.block_size_m)
        return mp_fail(err, MP_EUNSUPPORTED, "this kernel has one tile");
    return status;
}

static mp_status spoiled_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    spoiled *self = s->self;
    mp_trace trace = {
        .block_size_m = e->offer->config.up.block_size_m}; /* what a spoiler changes in it is the subject's */
    if (self->no_tile && e->c->tile.block_size_m)
        return mp_fail(err, MP_EUNSUPPORTED, "no such tile in this kernel");
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (e->offer->exposes & MP_IN_SET(id)) trace.t[id] = e->t[id];
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (trace.t[id].data && (id != MP_OUT || e->c->mode != MP_MODE_INPLACE))
            memcpy(&now.poison, trace.t[id].data, sizeof now.poison);
    now.c = e->c;
    now.t = e->t;
    if (self->runs == 0) now.first_x = e->t[MP_X].data;
    mp_execution whole = *e;
    mp_tensor t[MP_TENSOR_COUNT]; /* what is not shown is its own */
    mp_trace own = {0};
    memcpy(t, e->t, sizeof t);
    const mp_tensor_set hidden = mp_case_outputs(e->c) & hidden_in(self, e->c);
    mp_status status =
        mp_trace_create_some(e->c, e->offer->config.up.block_size_m, hidden, MP_POISON_A, &own, err);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (hidden & MP_IN_SET(id)) t[id] = own.t[id];
    whole.t = t;
    if (status == MP_OK) status = self->host.run(&self->host, &whole, err);
    if (status == MP_OK) status = self->spoil(self->runs++, e->c, &trace, err);
    mp_trace_destroy(&own);
    return status;
}

static mp_space device;    /* the host's memory under another name */
static mp_verdict verdict; /* large */

static mp_status digest_half(void *self, const mp_rows_region *rows, int count, mp_error *err) {
    (void)self, (void)err;
    for (int i = 0; i < count; i++)
        for (int64_t r = 0; r < rows[i].rows; r++)
            rows[i].digest[r] = mp_space_row_digest(
                (const char *)rows[i].data + (size_t)r * rows[i].row_bytes, rows[i].row_bytes / 2);
    return MP_OK;
}

static mp_status nothing(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)c, (void)trace, (void)err;
    return MP_OK;
}

mp_subject spoiled_subject(spoiled *self, const char *name) {
    mp_error err = {0};
    if (!self->spoil) self->spoil = nothing;
    if (mp_subject_open("host", &self->host, &err) != MP_OK) fail_msg("%s", err.text);
    return (mp_subject){.name = name,
                        .self = self,
                        .space = self->device ? &device : NULL,
                        .describe = spoiled_describe,
                        .run = spoiled_run,
                        .same_call = self->same_calls ? self->host.same_call : NULL};
}

const mp_verdict *judge_by(spoiled self, const char *text, const char *pair, const mp_run_options *more) {
    device = mp_host_space;
    device.name = "device copy of ";
    if (self.half_digests) device.digest_rows = digest_half;
    mp_subject subject = spoiled_subject(&self, "spoiled");
    mp_matrix matrix = {0};
    mp_error err = {0};
    const bool follows = pair && strncmp(pair, "after ", 6) == 0;
    if (mp_matrix_add(&matrix, text, &pair, pair && !follows ? 1 : 0, &err) != MP_OK ||
        (follows && mp_matrix_add_after(&matrix, text, pair + 6, &err) != MP_OK))
        fail_msg("%s", err.text);
    mp_run_options options = more ? *more : (mp_run_options){0};
    options.subject = &subject;
    options.settings.plain = true;
    mp_verdict_free(&verdict);
    mp_run_case(&matrix.rows[0], &options, &verdict);
    mp_matrix_free(&matrix);
    return &verdict;
}

const mp_verdict *judge(const char *text, const char *pair, spoiler *spoil, bool unordered,
                        const mp_run_options *more) {
    return judge_by((spoiled){.spoil = spoil, .unordered = unordered}, text, pair, more);
}

void expect_failure(const mp_verdict *v, mp_check check, const char *where) {
    if (v->outcome != MP_FAIL || v->check[check].answer != MP_FAILED)
        fail_msg("%s: %s", mp_outcome_name(v->outcome), v->reason);
    if (!strstr(v->check[check].text, where))
        fail_msg("'%s' does not name '%s'", v->check[check].text, where);
}
