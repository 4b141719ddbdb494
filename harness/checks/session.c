/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/checks/session.h"

#include "cases/case_tools.h"
#include "cases/deferred.h"
#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "harness/checks/first_run.h"
#include "harness/judge/judge.h"
#include "harness/judge/judge_stage.h"
#include "harness/phases.h"
#include "harness/subjects/copies.h"
#include "harness/subjects/lend.h"
#include "harness/progress.h"
#include "kernels/cuda.h"

#include <stdio.h>
#include <stdlib.h>

mp_status mp_session_describe(const mp_session *s, mp_subject *subject, const mp_case *c, mp_offer *offer,
                              mp_error *err) {
    const char *words = subject == s->options->subject ? s->options->settings.contract : NULL;
    const mp_status status = mp_subject_describe_as(subject, c, words, offer, err);
    if (offer->device_available) {
        const int jobs = s->options->settings.jobs;
        /* weights that stay make room when it is needed; half of all is left to runs and to the judge */
        offer->device_available += mp_copies_bytes(subject->copies);
        mp_copies_keep(subject->copies, offer->device_available / 2 / (size_t)(jobs > 1 ? jobs : 1));
    }
    return status;
}

size_t mp_session_defers_from(const mp_session *s) {
    return mp_cuda_fills(s->options->subject->space) ? MP_DEFER_FROM_BYTES : SIZE_MAX;
}

mp_status mp_session_offer(mp_session *s, mp_subject *subject, const mp_case *c, const mp_offer **offer,
                           mp_error *err) {
    const bool base = subject == s->options->subject && mp_case_compare(c, &s->row->c) == 0;
    const bool known = s->described == subject && mp_case_compare(c, &s->described_case) == 0;
    *offer = base ? &s->offer : &s->described_offer;
    if (base || known) return MP_OK;
    s->described = NULL;
    const mp_status status = mp_session_describe(s, subject, c, &s->described_offer, err);
    if (status != MP_OK) return status;
    s->described = subject;
    s->described_case = *c;
    return MP_OK;
}

/* Whether a run is handed inputs as they lie, not copies that are looked after where they are. */
static bool gets_inputs(const mp_subject *subject) {
    return !subject->space || subject->space == &mp_host_space;
}

/* Of a tensor that is not the case's own input, which has its digest: a selection borrows the weights. 0 for
 * those. */
static uint64_t digest_of_other(const mp_session *s, const mp_inputs *in, int id) {
    const mp_tensor *t = &in->t[id];
    return t->data && t->data != s->in->t[id].data ? mp_tensor_digest(t) : 0;
}

/* The first input that a run has changed, or MP_TENSOR_COUNT. `before`: digest_of_other of each. */
static mp_tensor_id changed_input(const mp_session *s, const mp_inputs *in,
                                  const uint64_t before[MP_TENSOR_COUNT]) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (digest_of_other(s, in, id) != before[id]) return (mp_tensor_id)id;
    return mp_inputs_changed(s->in);
}

mp_status mp_session_run(mp_session *s, const char *what, mp_subject *subject, const mp_case *c,
                         const mp_inputs *in, uint32_t poison, mp_left *left, mp_error *err) {
    char text[200];
    const char *colon = what[0] ? ": " : "";
    mp_surroundings_report report;
    const mp_offer *offer;
    *left = (mp_left){0};
    mp_progress("", what[0] ? what : "run");
    mp_status status = mp_session_offer(s, subject, c, &offer, err);
    if (status != MP_OK) return status;
    const mp_phase before = mp_phase_enter(MP_PHASE_DIGEST);
    uint64_t digest[MP_TENSOR_COUNT] = {0};
    for (int id = 0; id < MP_TENSOR_COUNT && gets_inputs(subject); id++)
        digest[id] = digest_of_other(s, in, id);
    mp_phase_enter(before);
    status = mp_run_marked(subject, c, offer, in, poison, left, &report, err);
    if (status == MP_EUNSUPPORTED && offer->config.tile_named) s->tile_refused = true;
    if (status != MP_OK) return status;
    if (report.guard[0])
        mp_check_fail(s->v, MP_CHECK_GUARD, "%s%s%s", what, colon, report.guard);
    else
        mp_check_pass(s->v, MP_CHECK_GUARD);
    mp_phase_enter(MP_PHASE_DIGEST);
    const mp_tensor_id changed = gets_inputs(subject) ? changed_input(s, in, digest) : MP_TENSOR_COUNT;
    mp_phase_enter(MP_PHASE_LOOK);
    if (report.input[0])
        mp_check_fail(s->v, MP_CHECK_INPUT, "%s%s%s", what, colon, report.input);
    else if (changed != MP_TENSOR_COUNT)
        mp_check_fail(s->v, MP_CHECK_INPUT, "%s%s%s changed", what, colon, mp_tensor_name(changed));
    else
        mp_check_pass(s->v, MP_CHECK_INPUT);
    if (mp_resultless_rows_kept(c, &offer->contract, in, &left->trace, poison, text, sizeof text))
        mp_check_pass(s->v, MP_CHECK_POISON);
    else
        mp_check_fail(s->v, MP_CHECK_POISON, "%s%s%s", what, colon, text);
    mp_phase_enter(before);
    if (!what[0]) return MP_OK; /* the first run is judged as a whole */
    const mp_other_run run = {c, offer, in, &left->trace, poison};
    return mp_session_judge(s, &run, MP_JUDGE_ALIGN, MP_CHECK_COUNT, what, NULL, err);
}

mp_status mp_session_compare(mp_session *s, const mp_side *a, const mp_side *b, mp_left *left, int64_t tokens,
                             const int32_t *ids, bool align, mp_comparison *found, mp_error *err) {
    mp_status status = MP_OK;
    found->numbers_gone = false;
    if (found->stages) status = mp_left_fetch(left, err); /* figures of equal numbers too */
    if (status == MP_OK) status = mp_rows_digest_like(a->trace, &left->trace, err);
    if (status == MP_OK) status = mp_compare(a, b, tokens, ids, align, found, err);
    if (status != MP_OK || !found->undecided) return status;
    status = mp_left_fetch(left, err);
    if (status == MP_OK && a->trace == &s->first) status = mp_first_run_recall(s, err);
    found->numbers_gone = true;
    return status == MP_OK ? mp_compare(a, b, tokens, ids, align, found, err) : status;
}

/* The tiles of a case out of a file are not known. */
static mp_status judge_by(const mp_engine *engine, const mp_other_run *run, mp_verdict *v, mp_error *err) {
    const mp_config *config = run->offer->config.up.block_size_m > 0 ? &run->offer->config : NULL;
    return mp_judge(run->c, &run->offer->contract, config, run->in, run->trace, run->poison, engine, v, err);
}

mp_status mp_session_judge_float64(const mp_session *s, const mp_other_run *run, mp_verdict *v,
                                   mp_error *err) {
    bool before[MP_CHECK_COUNT], failed = false;
    for (int i = 0; i < MP_CHECK_COUNT; i++) before[i] = v->check[i].answer == MP_FAILED;
    if (s->options->subject) mp_lend_inputs(s->options->subject, run->c, run->in, s->offload);
    mp_status status = judge_by(s->engine, run, v, err);
    for (int i = 0; i < MP_CHECK_COUNT; i++) failed |= v->check[i].answer == MP_FAILED && !before[i];
    if (status != MP_OK || !s->offload || !failed) return status;
    const mp_engine *cpu = mp_engine_of_cpu();
    mp_verdict *again = malloc(sizeof *again);
    if (!again) return mp_fail(err, MP_EMEMORY, "no memory for a verdict");
    mp_verdict_init(again);
    status = judge_by(cpu, run, again, err);
    for (int i = 0; i < MP_CHECK_COUNT && status == MP_OK; i++)
        if (v->check[i].answer == MP_FAILED && !before[i] && again->check[i].answer != MP_FAILED)
            status = mp_fail(err, MP_EDEVICE, "the judge on the device is wrong: %s: %s; not so by %s",
                             mp_check_name((mp_check)i), v->check[i].text, cpu->name(cpu));
    for (int i = 0; i < MP_CHECK_COUNT && status == MP_EDEVICE; i++)
        if (!before[i]) v->check[i].answer = MP_NOT_JUDGED;
    mp_verdict_free(again);
    free(again);
    return status;
}

mp_status mp_session_judge(mp_session *s, const mp_other_run *run, mp_judged_part part, mp_check check,
                           const char *what, int64_t *judged, mp_error *err) {
    mp_verdict *own = malloc(sizeof *own);
    if (!own) return mp_fail(err, MP_EMEMORY, "no memory for a verdict");
    mp_verdict_init(own);
    mp_status status = MP_OK;
    if (part == MP_JUDGE_ALL)
        status = mp_session_judge_float64(s, run, own, err);
    else if (run->trace->t[MP_SORTED_TOKEN_IDS].data)
        mp_judge_align(run->c, &run->offer->contract, run->in, run->trace, own);
    for (int i = 0; i < MP_STAGE_COUNT && judged; i++) *judged += own->stage[i].compared;
    if (judged) *judged += own->check[MP_CHECK_INTEGER].answer != MP_NOT_JUDGED;
    for (int i = 0; i < MP_CHECK_COUNT && status == MP_OK; i++) {
        const mp_check_result *found = &own->check[i];
        if (found->answer != MP_FAILED) continue;
        if (check == MP_CHECK_COUNT)
            mp_check_fail(s->v, (mp_check)i, "%s: %s", what, found->text);
        else
            mp_check_fail(s->v, check, "%s: %s: %s", what, mp_check_name((mp_check)i), found->text);
    }
    mp_offload_rest(s->offload);
    mp_verdict_free(own);
    free(own);
    return status;
}

void mp_session_begins(mp_session *s, mp_stage stage, const char *pattern) {
    const mp_case *c = &s->row->c;
    const mp_judgement j = mp_judgement_planned(c, mp_case_inputs(c) | s->offer.exposes);
    mp_begins(s->v, mp_span_first(&j, stage), stage, pattern);
}

void mp_session_expect_equal(mp_session *s, mp_check check, const char *what, const mp_comparison *found) {
    if (found->differing == 0) return;
    mp_session_begins(s, found->stage, found->pattern);
    char alone[160] = "";
    if (found->rows_alone > 0)
        snprintf(alone, sizeof alone,
                 "; %lld rows are told by their digests: the first run did not come again",
                 (long long)found->rows_alone);
    mp_check_fail(s->v, check, "%s: %lld of %lld elements differ, first %s%s", what,
                  (long long)found->differing, (long long)found->compared, found->first, alone);
}

const char *mp_session_hidden_result(const mp_session *s, const mp_trace *trace) {
    mp_stage last = MP_COMBINE;
    while (!mp_case_has_stage(&s->row->c, last)) last--;
    const mp_tensor_id id = mp_stage_output(&s->row->c, last);
    return mp_trace_shows(&s->first, id) && trace->t[id].rank == 0 ? mp_tensor_name(id) : NULL;
}

bool mp_session_same_align(const mp_session *s, const mp_case *c, const mp_trace *trace) {
    return s->offer.contract.stable_align && trace->block_size_m == s->first.block_size_m &&
           mp_case_chunks(c) == mp_case_chunks(&s->row->c);
}
