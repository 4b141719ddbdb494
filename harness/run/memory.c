/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/memory.h"

#include "base/host_memory.h"
#include "cases/graph_tables.h"
#include "cases/parts.h"
#include "harness/checks/first_run.h"
#include "harness/judge/judge_stage.h"
#include "harness/subjects/surroundings.h"
#include "harness/verdict_make.h"
#include "moeparity/inputs.h"
#include "moeparity/trace.h"
#include "ref/gemm_tasks.h"

#include <omp.h>

static size_t bytes_of(const mp_tensor *t) {
    return mp_tensor_count(t) > 0 ? mp_tensor_bytes(t) + 2 * MP_GUARD_BYTES : 0;
}

static size_t total_bytes(const mp_tensor *t) {
    size_t bytes = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) bytes += bytes_of(&t[id]);
    return bytes;
}

/* float64 slabs of a GEMM, in every thread. */
static size_t gemm_bytes(const mp_case *c) {
    enum { WEIGHTS = 3 /* numbers, magnitudes, squares */, SUMS = 5 /* mp_gemm_tile */ };
    int64_t most = 0;
    for (int down = 0; down < 2; down++) {
        const int64_t K = down ? c->N : c->K, n = down ? c->K : mp_case_w1_rows(c), rows = mp_dgemm_rows(K),
                      columns = mp_dgemm_columns(K) < n ? mp_dgemm_columns(K) : n,
                      numbers = (rows + WEIGHTS * columns) * K + SUMS * rows * columns;
        most = numbers > most ? numbers : most;
    }
    return (size_t)omp_get_max_threads() * sizeof(double) * (size_t)most;
}

/* float64 from end to end, in slabs of tokens. */
static size_t slab_bytes(const mp_case *c) {
    const size_t all =
        2 * sizeof(double) * (size_t)mp_case_slots(c) * (size_t)(mp_case_w1_rows(c) + c->N + 2 * c->K);
    return all < MP_SLAB_BYTES ? all : MP_SLAB_BYTES;
}

static size_t map_bytes(const mp_case *c) {
    return (size_t)mp_case_slots(c) * 64;
}

static size_t placed_bytes(const mp_case *c, const mp_tensor in[MP_TENSOR_COUNT],
                           const mp_tensor out[MP_TENSOR_COUNT]) {
    size_t bytes = 0, largest = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = in[id].rank > 0 ? &in[id] : &out[id];
        if (t->rank == 0) continue;
        const mp_placement place = mp_case_placement(c, (mp_tensor_id)id, t);
        bytes += place.bytes + 2 * MP_GUARD_BYTES + (place.packed ? 0 : mp_tensor_bytes(t));
        if (place.bytes > largest) largest = place.bytes;
    }
    return bytes + 2 * largest;
}

/* Of the rows of both runs that are compared. */
static size_t digests_bytes(const mp_tensor t[MP_TENSOR_COUNT]) {
    size_t bytes = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (t[id].rank > 0) bytes += 2 * sizeof(uint64_t) * (size_t)mp_tensor_rows(&t[id]);
    return bytes;
}

size_t mp_case_host_bytes(const mp_case *c, int block_size_m) {
    mp_inputs in;
    mp_trace trace;
    mp_inputs_plan(c, &in);
    mp_trace_plan(c, block_size_m, &trace);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) /* where hooks keep both states */
        if (mp_case_possible_outputs(c) & MP_IN_SET(id) && trace.t[id].rank == 0 && c->path == MP_RUNNER)
            trace.t[id] = mp_case_shape(c, (mp_tensor_id)id, block_size_m);
    size_t predicted = 0; /* the bits oracle holds one stage at a time */
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (bytes_of(&trace.t[id]) > predicted) predicted = bytes_of(&trace.t[id]);
    /* Beside the trace that is looked at: a predicted stage while that is the first run's, later the first
     * run, or what is left of it. */
    const size_t aside = mp_first_run_aside_bytes(NULL, c, block_size_m),
                 first = total_bytes(trace.t) - aside + (aside > 0 ? digests_bytes(trace.t) : 0),
                 beside = first > predicted ? first : predicted;
    /* Tensors that lie elsewhere than packed are copied on their way to the subject and back; their gaps are
     * looked at in two images, and weights are packed again where a subject wants it so. */
    const size_t placed = mp_case_places(c) ? placed_bytes(c, in.t, trace.t) : 0;
    return total_bytes(in.t) + bytes_of(&in.t[MP_X]) + total_bytes(trace.t) + beside + map_bytes(c) +
           slab_bytes(c) + gemm_bytes(c) + placed;
}

/* What the parts of a file that can be judged need beside its tensors. */
typedef struct file_needs {
    int block_size_m;
    size_t predicted; /* the largest part: its output, and what lies between */
    bool judged[MP_STAGE_COUNT], gemm, slabs;
} file_needs;

static mp_status add_part(void *ctx, const mp_judgement *j, mp_stage first, mp_stage last, mp_error *err) {
    file_needs *needs = ctx;
    size_t predicted = 0;
    (void)err;
    const mp_stage_set stages = mp_span_stages(j, last);
    if (mp_judgement_lacks(j, stages)) return MP_OK;
    for (int s = (int)first; s <= (int)last; s++) {
        if (!mp_in_stages(stages, s)) continue;
        const mp_tensor made = mp_case_shape(j->c, mp_stage_output(j->c, (mp_stage)s), needs->block_size_m);
        predicted += bytes_of(&made);
        needs->judged[s] = true;
    }
    if (predicted > needs->predicted) needs->predicted = predicted;
    needs->gemm = needs->gemm || needs->judged[MP_GATE_UP] || needs->judged[MP_DOWN];
    needs->slabs = needs->slabs || first != last;
    return MP_OK;
}

size_t mp_file_host_bytes(const mp_case *c, mp_tensor_set holds, int block_size_m) {
    const mp_judgement planned = mp_judgement_planned(c, holds);
    file_needs needs = {.block_size_m = block_size_m};
    mp_tensor t[MP_TENSOR_COUNT] = {0};
    mp_trace trace;
    mp_for_each_span(&planned, add_part, &needs, NULL);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) /* ids that are not there are stood in for */
        if ((holds | MP_IN_SET(MP_TOPK_IDS)) & MP_IN_SET(id))
            t[id] = mp_case_shape(c, (mp_tensor_id)id, block_size_m);
    bool whole = c->scope == MP_SCOPE_ALL;
    for (int s = MP_GATE_UP; s < MP_STAGE_COUNT; s++)
        whole = whole && (needs.judged[s] || !mp_case_has_stage(c, (mp_stage)s));
    mp_trace_plan(c, block_size_m, &trace);
    const size_t predicted = whole ? total_bytes(trace.t) : needs.predicted; /* from end to end, too */
    return total_bytes(t) + predicted + map_bytes(c) + (needs.slabs || whole ? slab_bytes(c) : 0) +
           (needs.gemm ? gemm_bytes(c) : 0);
}

/* A part has inputs of its own beside those of the whole; and the sums, in float64. */
static size_t beside_a_part(const mp_case *whole) {
    mp_inputs in;
    const mp_tensor out = mp_case_shape(whole, MP_OUT, 16);
    mp_inputs_plan(whole, &in);
    return total_bytes(in.t) + 4 * sizeof(double) * (size_t)mp_tensor_count(&out) + slab_bytes(whole);
}

/* Two batches beside the case's own, weights excepted, and a trace more (check_streams.c). */
static size_t beside_a_run(const mp_case *c, const mp_offer *offer) {
    mp_inputs in;
    mp_trace trace;
    size_t bytes = 0;
    if (!offer->graphs && !offer->overlaps) return 0;
    mp_inputs_plan(c, &in);
    mp_trace_plan(c, offer->config.up.block_size_m, &trace);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (mp_tensors[id].rows != MP_ROWS_WHOLE) bytes += 2 * bytes_of(&in.t[id]);
    return bytes + total_bytes(trace.t);
}

/* A case that runs before has tokens of its own; buffers of both, and the trace of each, are kept beside the
 * first run. */
static size_t beside_a_sequence(const mp_case *c, const mp_case *before, int block_size_m) {
    const mp_case *cases[] = {c, before};
    size_t inputs = 0, buffers = 0, traces = 0;
    for (int i = 0; i < 2; i++) {
        mp_inputs in;
        mp_trace trace;
        mp_inputs_plan(cases[i], &in);
        mp_trace_plan(cases[i], block_size_m, &trace);
        for (int id = 0; id < MP_TENSOR_COUNT; id++)
            if (mp_tensors[id].rows == MP_ROWS_WHOLE) in.t[id] = (mp_tensor){0};
        const size_t own = total_bytes(in.t), outputs = total_bytes(trace.t);
        if (i == 1) inputs = own; /* of the case itself there are some already */
        if (own + outputs > buffers) buffers = own + outputs;
        traces += outputs;
    }
    return inputs + buffers + traces;
}

/* The case, its variants, and what runs before it. */
static const mp_case *planned_case(const mp_matrix_row *row, size_t i) {
    return i == 0                 ? &row->c
           : i <= row->pair_count ? &row->pairs[i - 1]
                                  : &row->afters[i - 1 - row->pair_count];
}

mp_status mp_plan_memory(mp_session *s, size_t there, mp_error *err) {
    const mp_run_options *o = s->options;
    for (size_t i = 0; i <= s->row->pair_count + s->row->after_count; i++) {
        const mp_case *c = planned_case(s->row, i);
        mp_subject *const subjects[] = {o->subject, i == 0 ? o->against : NULL};
        for (int k = 0; k < 2 && subjects[k]; k++) {
            const mp_offer *offer;
            mp_status status = mp_session_offer(s, subjects[k], c, &offer, err);
            if (status == MP_EUNSUPPORTED && i > 0) continue; /* this variant will not be run */
            if (status != MP_OK) return status;
            size_t host = mp_case_host_bytes(c, offer->config.up.block_size_m) + offer->host_bytes;
            if (o->keep) host += mp_first_run_aside_bytes(NULL, c, offer->config.up.block_size_m);
            if (i > s->row->pair_count)
                host += beside_a_sequence(&s->row->c, c, offer->config.up.block_size_m);
            if (mp_case_is_part(&s->row->c, c)) host += beside_a_part(&s->row->c);
            if (i == 0 && k == 0) host += beside_a_run(c, offer);
            if (s->offload) host += MP_OFFLOAD_HOST_BYTES;
            const size_t device = mp_surroundings_device_bytes(subjects[k], c, offer) + offer->device_bytes;
            if ((int64_t)host > s->v->peak_bytes) s->v->peak_bytes = (int64_t)host;
            status = mp_memory_check(host - there, err);
            if (status == MP_OK && offer->device_available > 0 && device > offer->device_available)
                status = mp_fail(err, MP_EUNSUPPORTED, "needs %.1f GiB of device memory, %.1f GiB are free",
                                 (double)device / 0x1p30, (double)offer->device_available / 0x1p30);
            s->v->lacked_memory = status != MP_OK;
            if (status != MP_OK) return status;
        }
    }
    return MP_OK;
}
