/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/surroundings.h"

#include "cases/graph_tables.h"
#include "ref/pipeline.h"

#include <stdio.h>
#include <string.h>

/* One run's buffers. t holds what the subject sees; a tensor in `own` was allocated here. */
typedef struct surroundings {
    const mp_space *space;
    const mp_case *c;
    const mp_offer *offer;
    mp_tensor t[MP_TENSOR_COUNT];
    mp_tensor_set own;
    void *workspace[MP_WORKSPACES];
    uint64_t digest[MP_TENSOR_COUNT]; /* of the inputs in `own` */
} surroundings;

static bool is_input(const surroundings *s, int id) {
    return mp_case_inputs(s->c) & MP_IN_SET(id);
}

/* In place, x is the output's buffer: it will change. */
static bool changes(const surroundings *s, int id) {
    return id == MP_X && s->c->mode == MP_MODE_INPLACE && s->t[MP_OUT].data;
}

static mp_status own_buffer(surroundings *s, int id, uint32_t poison, mp_error *err) {
    mp_tensor *t = &s->t[id];
    const mp_status status = s->space->alloc(s->space->self, mp_tensor_bytes(t), poison, &t->data, err);
    if (status == MP_OK)
        s->own |= MP_IN_SET(id);
    else
        mp_error_prefix(err, "%s%s", s->space->name, mp_tensor_name((mp_tensor_id)id));
    return status;
}

static mp_status give_outputs(surroundings *s, mp_trace *trace, uint32_t poison, mp_error *err) {
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!trace->t[id].data) continue;
        s->t[id] = trace->t[id];
        if (s->space != &mp_host_space) status = own_buffer(s, id, poison, err);
    }
    return status;
}

/* Align's tensors where align is no stage of the case: made on the host, then handed over like any input. */
static mp_status derive_inputs(const surroundings *s, const mp_inputs *in, mp_tensor derived[MP_TENSOR_COUNT],
                               mp_error *err) {
    const mp_tensor_set set = mp_case_derived_inputs(s->c);
    const int block_size_m = s->offer->config.up.block_size_m;
    mp_status status = MP_OK;
    memcpy(derived, in->t, sizeof in->t);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(set & MP_IN_SET(id))) continue;
        derived[id] = mp_case_shape(s->c, (mp_tensor_id)id, block_size_m);
        status = mp_tensor_alloc(&derived[id], MP_POISON_A, err);
    }
    return status == MP_OK && set ? mp_ref_align(s->c, block_size_m, derived, err) : status;
}

static mp_status give_inputs(surroundings *s, const mp_tensor in[MP_TENSOR_COUNT], mp_error *err) {
    const mp_space *space = s->space;
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!is_input(s, id) || !in[id].data) continue;
        const bool shared = space == &mp_host_space && !(mp_case_derived_inputs(s->c) & MP_IN_SET(id));
        const size_t bytes = mp_tensor_bytes(&in[id]);
        s->t[id] = in[id];
        if (changes(s, id)) {
            s->t[id].data = s->t[MP_OUT].data;
            status = space->write(space->self, s->t[id].data, in[id].data, bytes, err);
        } else if (!shared) {
            status = own_buffer(s, id, MP_POISON_A, err);
            if (status == MP_OK) status = space->write(space->self, s->t[id].data, in[id].data, bytes, err);
            if (status == MP_OK)
                status = space->digest(space->self, s->t[id].data, bytes, &s->digest[id], err);
        }
    }
    return status;
}

static mp_status give_workspaces(surroundings *s, uint32_t poison, mp_error *err) {
    mp_status status = MP_OK;
    for (int i = 0; i < MP_WORKSPACES && status == MP_OK; i++) {
        const size_t bytes = s->offer->workspace_bytes[i];
        if (bytes) status = s->space->alloc(s->space->self, bytes, poison, &s->workspace[i], err);
        if (status != MP_OK) mp_error_prefix(err, "%sworkspace %d of %zu bytes", s->space->name, i, bytes);
    }
    return status;
}

static mp_status check_buffer(const surroundings *s, const char *kind, const char *name, const void *data,
                              size_t bytes, mp_surroundings_report *report, mp_error *err) {
    bool intact = true;
    int64_t offset = 0;
    const mp_status status = s->space->guards(s->space->self, data, bytes, &intact, &offset, err);
    if (status == MP_OK && !intact && !report->guard[0])
        snprintf(report->guard, sizeof report->guard, "%s%s%s: byte %lld of a buffer of %zu was written",
                 s->space->name, kind, name, (long long)offset, bytes);
    return status;
}

static mp_status look_around(const surroundings *s, mp_surroundings_report *report, mp_error *err) {
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        const mp_tensor *t = &s->t[id];
        if (!t->data || changes(s, id)) continue;
        const size_t bytes = mp_tensor_bytes(t);
        status = check_buffer(s, is_input(s, id) ? "input " : "", mp_tensor_name((mp_tensor_id)id), t->data,
                              bytes, report, err);
        if (status != MP_OK || !is_input(s, id) || !(s->own & MP_IN_SET(id))) continue;
        uint64_t after = 0;
        status = s->space->digest(s->space->self, t->data, bytes, &after, err);
        if (status == MP_OK && after != s->digest[id] && !report->input[0])
            snprintf(report->input, sizeof report->input,
                     "%s%s changed: digest %016llx before, %016llx after", s->space->name,
                     mp_tensor_name((mp_tensor_id)id), (unsigned long long)s->digest[id],
                     (unsigned long long)after);
    }
    for (int i = 0; i < MP_WORKSPACES && status == MP_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "workspace %d", i);
        if (s->workspace[i])
            status = check_buffer(s, "", name, s->workspace[i], s->offer->workspace_bytes[i], report, err);
    }
    return status;
}

static mp_status collect_outputs(const surroundings *s, mp_trace *trace, mp_error *err) {
    mp_status status = MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (trace->t[id].data && s->t[id].data != trace->t[id].data)
            status = s->space->read(s->space->self, trace->t[id].data, s->t[id].data,
                                    mp_tensor_bytes(&trace->t[id]), err);
    return status;
}

mp_status mp_run_surrounded(mp_subject *subject, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                            uint32_t poison, mp_trace *trace, mp_surroundings_report *report, mp_error *err) {
    surroundings s = {.space = subject->space ? subject->space : &mp_host_space, .c = c, .offer = offer};
    mp_tensor derived[MP_TENSOR_COUNT] = {0};
    mp_tensor_set left = offer->exposes;
    *report = (mp_surroundings_report){0};
    mp_status status =
        mp_trace_create_some(c, offer->config.up.block_size_m, offer->exposes, poison, trace, err);
    if (status == MP_OK) status = give_outputs(&s, trace, poison, err);
    if (status == MP_OK) status = derive_inputs(&s, in, derived, err);
    derived[MP_TOPK_IDS] = *mp_inputs_as_given(in, MP_TOPK_IDS);
    if (status == MP_OK) status = give_inputs(&s, derived, err);
    if (status == MP_OK) status = give_workspaces(&s, poison, err);
    if (status == MP_OK) {
        mp_tensor view[MP_TENSOR_COUNT]; /* the subject's own: what it writes there reaches nobody */
        void *workspace[MP_WORKSPACES];
        memcpy(view, s.t, sizeof view);
        memcpy(workspace, s.workspace, sizeof workspace);
        const mp_execution execution = {.c = c,
                                        .offer = offer,
                                        .t = view,
                                        .workspace = workspace,
                                        .stage_ns = trace->stage_ns,
                                        .left = &left};
        status = subject->run(subject, &execution, err);
    }
    if (status == MP_OK) status = look_around(&s, report, err);
    if (status == MP_OK) status = collect_outputs(&s, trace, err);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!(left & MP_IN_SET(id))) { /* as if it had never been exposed */
            mp_tensor_free(&trace->t[id]);
            trace->t[id] = (mp_tensor){0};
        }
        if (s.own & MP_IN_SET(id)) s.space->free(s.space->self, s.t[id].data);
        if (mp_case_derived_inputs(c) & MP_IN_SET(id)) mp_tensor_free(&derived[id]);
    }
    for (int i = 0; i < MP_WORKSPACES; i++) s.space->free(s.space->self, s.workspace[i]);
    return status;
}

size_t mp_surroundings_device_bytes(const mp_subject *subject, const mp_case *c, const mp_offer *offer) {
    if (!subject->space || subject->space == &mp_host_space) return 0;
    const mp_tensor_set all = mp_case_inputs(c) | offer->exposes;
    size_t bytes = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor t = mp_case_shape(c, (mp_tensor_id)id, offer->config.up.block_size_m);
        if (all & MP_IN_SET(id) && !(id == MP_X && c->mode == MP_MODE_INPLACE))
            bytes += mp_tensor_bytes(&t) + 2 * MP_GUARD_BYTES;
    }
    for (int i = 0; i < MP_WORKSPACES; i++)
        if (offer->workspace_bytes[i]) bytes += offer->workspace_bytes[i] + 2 * MP_GUARD_BYTES;
    return bytes;
}
