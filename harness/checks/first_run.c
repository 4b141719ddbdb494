/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/checks/first_run.h"

#include "base/host_memory.h"
#include "harness/phases.h"
#include "moeparity/space.h"
#include "offload/cross_check.h"

#include <stdlib.h>

#define OUTPUTS_KEPT_BYTES ((size_t)64 << 20)

size_t mp_first_run_aside_bytes(const mp_run_options *o, const mp_case *c, int block_size_m) {
    const size_t kept = o && o->outputs_kept_bytes ? o->outputs_kept_bytes : OUTPUTS_KEPT_BYTES;
    mp_trace trace;
    size_t bytes = 0;
    mp_trace_plan(c, block_size_m, &trace);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (mp_is_compared_by_digests(&trace.t[id], (mp_tensor_id)id)) bytes += mp_tensor_bytes(&trace.t[id]);
    return (o && o->keep) || bytes <= kept ? 0 : bytes;
}

static mp_status digest_rows(mp_trace *trace, int id, mp_error *err) {
    const mp_tensor *t = &trace->t[id];
    if (trace->row_digest[id]) return MP_OK;
    uint64_t *digest = malloc((size_t)mp_tensor_rows(t) * sizeof *digest);
    if (!digest)
        return mp_fail(err, MP_EMEMORY, "no memory for digests of %lld rows", (long long)mp_tensor_rows(t));
    trace->row_digest[id] = digest;
    const mp_rows_region rows = {t->data, mp_tensor_row_bytes(t), mp_tensor_rows(t), digest};
    return mp_host_space.digest_rows(mp_host_space.self, &rows, 1, err);
}

mp_status mp_first_run_check_digests(const mp_session *s, mp_error *err) {
    const mp_trace *first = &s->first;
    int64_t row[MP_CROSS_CHECKED];
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = &first->t[id];
        if (!t->data || !first->row_digest[id]) continue;
        const int64_t chosen =
            mp_cross_check_choose(mp_tensor_rows(t), (uint64_t)s->row->c.seed, MP_CROSS_CHECKED, row);
        for (int64_t i = 0; i < chosen; i++) {
            const uint64_t there = first->row_digest[id][row[i]],
                           here = mp_space_row_digest(mp_tensor_row(t, row[i]), mp_tensor_row_bytes(t));
            if (there != here)
                return mp_fail(err, MP_EDEVICE,
                               "%s%s: the digest of row %lld is %016llx, on the host %016llx",
                               s->options->subject->space->name, mp_tensor_name((mp_tensor_id)id),
                               (long long)row[i], (unsigned long long)there, (unsigned long long)here);
        }
    }
    return MP_OK;
}

mp_status mp_first_run_put_aside(mp_session *s, mp_error *err) {
    mp_trace *first = &s->first;
    mp_status status = MP_OK;
    if (!mp_first_run_aside_bytes(s->options, &s->row->c, first->block_size_m)) return MP_OK;
    const mp_phase before = mp_phase_enter(MP_PHASE_COMPARE);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!first->t[id].data || !mp_is_compared_by_digests(&first->t[id], (mp_tensor_id)id)) continue;
        status = digest_rows(first, id, err);
        if (status == MP_OK) mp_tensor_free(&first->t[id]);
    }
    mp_phase_enter(before);
    return status;
}

/* Whether digests are all that is left of some tensor, and how much memory its numbers take. */
static bool is_aside(const mp_trace *trace, size_t *bytes) {
    *bytes = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (trace->row_digest[id] && !trace->t[id].data) *bytes += mp_tensor_bytes(&trace->t[id]);
    return *bytes > 0;
}

mp_status mp_first_run_recall(mp_session *s, mp_error *err) {
    mp_left again = {0};
    mp_error why = {0};
    size_t bytes;
    if (!is_aside(&s->first, &bytes) || mp_memory_check(bytes, NULL) != MP_OK) return MP_OK;
    mp_status status = mp_session_run(s, "the first run again", s->options->subject, &s->row->c, s->in,
                                      MP_POISON_A, &again, &why);
    if (status == MP_OK) status = mp_left_fetch(&again, &why);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (s->first.t[id].data || !again.trace.t[id].data) continue;
        s->first.t[id].data = again.trace.t[id].data;
        again.trace.t[id].data = NULL;
    }
    mp_left_destroy(&again);
    if (status == MP_OK || status == MP_EMEMORY || status == MP_EUNSUPPORTED) return MP_OK;
    if (err) *err = why;
    return status;
}

mp_status mp_rows_digest_like(const mp_trace *other, mp_trace *trace, mp_error *err) {
    mp_status status = MP_OK;
    const mp_phase before = mp_phase_enter(MP_PHASE_COMPARE);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (other->row_digest[id] && !other->t[id].data && trace->t[id].data)
            status = digest_rows(trace, id, err);
    mp_phase_enter(before);
    return status;
}
