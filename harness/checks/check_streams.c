/* SPDX-License-Identifier: Apache-2.0 */
/* A run as engines run it: replayed from a graph that was recorded while other numbers were in the buffers,
 * and beside a run of other numbers in other buffers. What a kernel took from the host when it was recorded,
 * what it left for the next run to trip over, and what two runs share, show. */
#include "harness/checks/session.h"

#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "harness/phases.h"
#include "harness/progress.h"
#include "harness/subjects/buffers.h"

#include <stdlib.h>

/* Numbers that runs are given, and what they come to alone. */
typedef struct numbers {
    mp_inputs in;
    const mp_trace *alone;
} numbers;

/* Buffers, and the stream that what is in them is run on. */
typedef struct lane {
    mp_buffers *buffers;
    void *stream;
} lane;

typedef struct lanes {
    mp_session *s;
    const mp_streams *streams;
    numbers own, other; /* the case's, and those of another batch */
    mp_trace other_alone;
    lane lane[2]; /* the second one for runs at once alone */
} lanes;

static mp_status open_lane(const lanes *l, lane *a, mp_error *err) {
    mp_buffer_sizes sizes = {0};
    mp_buffer_sizes_add(&l->s->row->c, &l->s->offer, &sizes);
    const mp_phase before = mp_phase_enter(MP_PHASE_UPLOAD);
    const mp_status status =
        mp_buffers_open(l->s->options->subject, &sizes, MP_BUFFERS_KEPT, MP_POISON_B, &a->buffers, err);
    mp_phase_enter(before);
    return status == MP_OK ? l->streams->open(l->streams->self, &a->stream, err) : status;
}

static void close_lane(const lanes *l, lane *a) {
    l->streams->close(l->streams->self, a->stream);
    mp_buffers_close(a->buffers);
}

static mp_status load(const lanes *l, const lane *a, const mp_inputs *in, mp_error *err) {
    const mp_phase before = mp_phase_enter(MP_PHASE_UPLOAD);
    const mp_status status = mp_buffers_load(a->buffers, &l->s->row->c, &l->s->offer, in, err);
    mp_phase_enter(before);
    return status;
}

static mp_status begin(const lanes *l, const lane *a, mp_error *err) {
    mp_subject *subject = l->s->options->subject;
    const mp_execution execution = mp_buffers_execution(a->buffers);
    const mp_phase before = mp_phase_enter(MP_PHASE_RUN);
    const mp_status status = subject->begin(subject, &execution, a->stream, err);
    mp_phase_enter(before);
    return status;
}

static mp_status wait_for_all(const lanes *l, mp_error *err) {
    const mp_phase before = mp_phase_enter(MP_PHASE_RUN);
    const mp_status status = l->streams->wait(l->streams->self, err);
    mp_phase_enter(before);
    return status;
}

static void tell(const lanes *l, const mp_surroundings_report *report, const char *what) {
    if (report->guard[0]) mp_check_fail(l->s->v, MP_CHECK_GUARD, "%s: %s", what, report->guard);
    if (report->input[0]) mp_check_fail(l->s->v, MP_CHECK_INPUT, "%s: %s", what, report->input);
}

static mp_status look(const lanes *l, const lane *a, const char *what, mp_error *err) {
    mp_surroundings_report report;
    const mp_phase before = mp_phase_enter(MP_PHASE_LOOK);
    const mp_status status = mp_buffers_look(a->buffers, &report, err);
    mp_phase_enter(before);
    if (status == MP_OK) tell(l, &report, what);
    return status;
}

/* ---- what a run has left ---- */

static mp_status compare_bits(const lanes *l, const numbers *n, mp_check check, const char *what,
                              mp_left *left, int64_t *compared, mp_error *err) {
    mp_session *s = l->s;
    mp_comparison found = {0};
    const mp_side alone = {&s->row->c, &s->offer.contract, n->alone, NULL},
                  now = {&s->row->c, &s->offer.contract, &left->trace, NULL};
    const mp_status status =
        mp_session_compare(s, &alone, &now, left, s->row->c.M, n->in.t[MP_TOPK_IDS].data,
                           mp_session_same_align(s, &s->row->c, &left->trace), &found, err);
    *compared += found.compared;
    if (status == MP_OK) mp_session_expect_equal(s, check, what, &found);
    return status;
}

/* Looks, and leaves what there is to compare. */
static mp_status mark(const lanes *l, const lane *a, const char *what, mp_left *left, mp_error *err) {
    mp_surroundings_report report;
    const mp_phase before = mp_phase_enter(MP_PHASE_LOOK);
    *left = (mp_left){.buffers = a->buffers, .lent = true};
    const mp_status status = mp_buffers_mark(a->buffers, &report, &left->trace, err);
    mp_phase_enter(before);
    if (status == MP_OK) tell(l, &report, what);
    return status;
}

/* What the run in the lane has made of the numbers: the bits that they come to alone or, where no order is
 * promised, what keeps its bounds; align's integers in any case, for they may come in another order each
 * time. *compared grows by the elements that were looked at. */
static mp_status expect(const lanes *l, const lane *a, const numbers *n, mp_check check, const char *what,
                        int64_t *compared, mp_error *err) {
    const bool bits = l->s->deterministic;
    mp_left left = {0};
    const mp_other_run run = {&l->s->row->c, &l->s->offer, &n->in, &left.trace, MP_POISON_B};
    mp_status status = mark(l, a, what, &left, err);
    if (status == MP_OK && !bits) status = mp_left_fetch(&left, err);
    if (status == MP_OK)
        status =
            mp_session_judge(l->s, &run, bits ? MP_JUDGE_ALIGN : MP_JUDGE_ALL, check, what, compared, err);
    if (status == MP_OK && bits) status = compare_bits(l, n, check, what, &left, compared, err);
    mp_left_destroy(&left);
    return status;
}

/* The answer of a check whose runs have all been looked at. */
static void answer(const lanes *l, mp_check check, int64_t compared) {
    if (compared > 0)
        mp_check_pass(l->s->v, check);
    else
        mp_check_not_judged(l->s->v, check, "nothing to compare");
}

static bool failed(const lanes *l, mp_check check) {
    return l->s->v->check[check].answer == MP_FAILED;
}

/* ---- a graph ---- */

/* *graph is NULL where the subject cannot be recorded, which the check says. */
static mp_status record(const lanes *l, const lane *a, void **graph, mp_error *err) {
    const mp_streams *streams = l->streams;
    mp_error why = {0}, refused = {0};
    *graph = NULL;
    const mp_status status = streams->record(streams->self, a->stream, err);
    if (status != MP_OK) return status;
    const mp_status begun = begin(l, a, &why);
    const mp_status recorded = streams->recorded(streams->self, a->stream, graph, &refused);
    if (begun == MP_OK && recorded == MP_OK) return MP_OK;
    if (begun == MP_EUNSUPPORTED)
        mp_check_not_judged(l->s->v, MP_CHECK_GRAPH, "%s", why.text);
    else
        mp_check_fail(l->s->v, MP_CHECK_GRAPH, "what it begins cannot be recorded: %s%s%s", why.text,
                      begun != MP_OK && recorded != MP_OK ? "; " : "", refused.text);
    streams->discard(streams->self, *graph);
    *graph = NULL;
    return MP_OK;
}

static mp_status replay(const lanes *l, const lane *a, void *graph, mp_error *err) {
    mp_status status = wait_for_all(l, err); /* for what was loaded */
    if (status == MP_OK) status = l->streams->launch(l->streams->self, graph, a->stream, err);
    return status == MP_OK ? wait_for_all(l, err) : status;
}

/* Every token like the first one: few experts have slots, and there are few row blocks, or none. */
static mp_status load_few(const lanes *l, const lane *a, mp_error *err) {
    const mp_case *c = &l->s->row->c;
    int64_t *first = calloc((size_t)c->M, sizeof *first);
    mp_inputs few = {0};
    mp_status status = first ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory to select tokens");
    const mp_phase before = mp_phase_enter(MP_PHASE_INPUTS);
    if (status == MP_OK) status = mp_inputs_select(c, l->s->in, first, c->M, &few, err);
    mp_phase_enter(before);
    if (status == MP_OK) status = load(l, a, &few, err);
    mp_inputs_destroy(&few);
    free(first);
    return status;
}

/* Recorded while a smaller routing lies in the buffers, and replayed with a larger one, then with the case's
 * own, which finds the buffers as that has left them, and once more. */
static mp_status check_graph(const lanes *l, mp_error *err) {
    static const char *const what[] = {"replayed after other inputs", "replayed once more"};
    const lane *a = &l->lane[0];
    const int replays = l->s->deterministic ? 2 : 1; /* bounds take their time */
    void *graph = NULL;
    int64_t compared = 0;
    mp_progress("", "graph");
    mp_status status = load_few(l, a, err);
    if (status == MP_OK) status = wait_for_all(l, err);
    if (status == MP_OK) status = record(l, a, &graph, err);
    if (status == MP_OK && graph) {
        status = load(l, a, &l->other.in, err);
        if (status == MP_OK) status = replay(l, a, graph, err);
        if (status == MP_OK) status = look(l, a, "replayed with other inputs", err);
        for (int i = 0; i < replays && status == MP_OK && !failed(l, MP_CHECK_GRAPH); i++) {
            if (i == 0 || l->s->row->c.mode == MP_MODE_INPLACE) status = load(l, a, &l->own.in, err);
            if (status == MP_OK) status = replay(l, a, graph, err);
            if (status == MP_OK) status = expect(l, a, &l->own, MP_CHECK_GRAPH, what[i], &compared, err);
        }
        if (status == MP_OK) answer(l, MP_CHECK_GRAPH, compared);
        if (status != MP_OK) mp_error_prefix(err, "replayed from a graph");
    }
    l->streams->discard(l->streams->self, graph);
    return status;
}

/* ---- two streams ---- */

static mp_status run_alone(lanes *l, const lane *a, mp_error *err) {
    mp_status status = load(l, a, &l->other.in, err);
    if (status == MP_OK) status = wait_for_all(l, err);
    if (status == MP_OK) status = begin(l, a, err);
    if (status == MP_OK) status = wait_for_all(l, err);
    mp_left left = {0};
    if (status == MP_OK) status = mark(l, a, "other inputs alone", &left, err);
    if (status == MP_OK) status = mp_left_fetch(&left, err);
    l->other_alone = left.trace;
    return status;
}

static mp_status run_both(const lanes *l, const numbers *first, const numbers *second, bool *overlapped,
                          mp_error *err) {
    const mp_streams *streams = l->streams;
    void *const both[] = {l->lane[0].stream, l->lane[1].stream};
    mp_error why = {0};
    mp_status status = load(l, &l->lane[0], &first->in, err);
    if (status == MP_OK) status = load(l, &l->lane[1], &second->in, err);
    if (status == MP_OK) status = wait_for_all(l, err);
    if (status == MP_OK) status = streams->hold(streams->self, both, err);
    if (status != MP_OK) return status;
    mp_status begun = begin(l, &l->lane[0], &why);
    if (begun == MP_OK) begun = begin(l, &l->lane[1], &why);
    const bool in_time = streams->release(streams->self);
    *overlapped = *overlapped || in_time;
    status = wait_for_all(l, err);
    if (begun != MP_OK && err) *err = why;
    return begun != MP_OK ? begun : status;
}

/* The numbers change lanes each time: whoever stores nothing leaves the others' results. */
static mp_status check_overlap(lanes *l, mp_error *err) {
    mp_verdict *v = l->s->v;
    const int rounds = l->s->deterministic ? 2 : 1;
    bool overlapped = false;
    int64_t compared = 0;
    mp_progress("", "streams");
    mp_status status = run_alone(l, &l->lane[1], err);
    for (int i = 0; i < rounds && status == MP_OK && !failed(l, MP_CHECK_STREAMS); i++) {
        const numbers *first = i % 2 ? &l->own : &l->other, *second = i % 2 ? &l->other : &l->own;
        const lane *own = &l->lane[i % 2 ? 0 : 1], *other = &l->lane[i % 2 ? 1 : 0];
        status = run_both(l, first, second, &overlapped, err);
        if (status == MP_OK)
            status = expect(l, own, &l->own, MP_CHECK_STREAMS, "beside another run", &compared, err);
        if (status == MP_OK)
            status =
                expect(l, other, &l->other, MP_CHECK_STREAMS, "other inputs beside this run", &compared, err);
    }
    if (status == MP_EUNSUPPORTED) {
        mp_check_not_judged(v, MP_CHECK_STREAMS, "%s", err ? err->text : "");
        return MP_OK;
    }
    if (status != MP_OK) mp_error_prefix(err, "two runs at once");
    if (status == MP_OK && !overlapped)
        mp_check_not_judged(v, MP_CHECK_STREAMS, "it waits for what it begins: nothing overlapped");
    if (status == MP_OK) answer(l, MP_CHECK_STREAMS, compared);
    return status;
}

/* ---- both ---- */

static mp_status check_both(lanes *l, bool graphs, bool overlaps, mp_error *err) {
    const mp_phase before = mp_phase_enter(MP_PHASE_INPUTS);
    mp_status status =
        mp_inputs_other(&l->s->row->c, l->s->in, mp_session_defers_from(l->s), &l->other.in, err);
    mp_phase_enter(before);
    l->own = (numbers){*l->s->in, &l->s->first};
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        l->own.in.borrowed[id] = mp_tensors[id].rows == MP_ROWS_WHOLE;
    l->other.alone = &l->other_alone;
    if (status == MP_OK) status = open_lane(l, &l->lane[0], err);
    if (status == MP_OK && graphs) status = check_graph(l, err);
    if (status == MP_OK && overlaps) status = open_lane(l, &l->lane[1], err);
    if (status == MP_OK && overlaps) status = check_overlap(l, err);
    close_lane(l, &l->lane[1]);
    close_lane(l, &l->lane[0]);
    mp_trace_destroy(&l->other_alone);
    mp_inputs_destroy(&l->other.in);
    return status;
}

/* Why the check is not judged, or NULL. */
static const char *why_not(const mp_session *s, bool offered, const char *what) {
    if (!s->options->subject->begin) return "the subject has no streams";
    return !offered ? what : s->row->c.M == 0 ? "no tokens" : NULL;
}

/* Whether the device has room for the buffers twice. */
static bool has_room(const mp_session *s) {
    const mp_offer *offer = &s->offer;
    const size_t once = mp_surroundings_device_bytes(s->options->subject, &s->row->c, offer);
    return offer->device_available == 0 || 2 * once + offer->device_bytes <= offer->device_available;
}

mp_status mp_check_streams(mp_session *s, mp_error *err) {
    const char *no_graph = why_not(s, s->offer.graphs, "the subject offers no graphs here"),
               *no_overlap = why_not(s, s->offer.overlaps, "the subject offers no runs at once here");
    if (!no_overlap && !has_room(s)) {
        no_overlap = "the device has no room for the buffers of two runs";
        s->offer.overlaps = false; /* nobody can ask for it */
    }
    if (no_graph) mp_check_not_judged(s->v, MP_CHECK_GRAPH, "%s", no_graph);
    if (no_overlap) mp_check_not_judged(s->v, MP_CHECK_STREAMS, "%s", no_overlap);
    if (no_graph && no_overlap) return MP_OK;
    lanes l = {.s = s, .streams = s->options->subject->streams};
    return check_both(&l, !no_graph, !no_overlap, err);
}
