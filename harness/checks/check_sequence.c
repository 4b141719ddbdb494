/* SPDX-License-Identifier: Apache-2.0 */
/* The case again on buffers that another case has just used, as calls of a server follow each other: the same
 * addresses, outputs and workspaces as the other one left them, inputs written over its own. What a run takes
 * over from the one before shows here, and nowhere else: everywhere else it meets poison. */
#include "harness/checks/session.h"

#include "harness/answers.h"
#include "harness/phases.h"
#include "harness/progress.h"
#include "harness/subjects/buffers.h"

#include <stdio.h>

/* Loads and runs a case, and looks around it. */
static mp_status run_in(mp_session *s, mp_buffers *buffers, const char *what, const mp_case *c,
                        const mp_offer *offer, const mp_inputs *in, mp_error *err) {
    mp_subject *subject = s->options->subject;
    mp_surroundings_report report = {0};
    mp_progress("", what);
    const mp_phase before = mp_phase_enter(MP_PHASE_UPLOAD);
    mp_status status = mp_buffers_load(buffers, c, offer, in, err);
    if (status == MP_OK) {
        const mp_execution execution = mp_buffers_execution(buffers);
        mp_phase_enter(MP_PHASE_RUN);
        status = subject->run(subject, &execution, err);
    }
    mp_phase_enter(MP_PHASE_LOOK);
    if (status == MP_OK) status = mp_buffers_look(buffers, &report, err);
    if (report.guard[0]) mp_check_fail(s->v, MP_CHECK_GUARD, "%s: %s", what, report.guard);
    if (report.input[0]) mp_check_fail(s->v, MP_CHECK_INPUT, "%s: %s", what, report.input);
    const mp_tensor_id changed =
        status == MP_OK && !report.input[0] ? mp_inputs_changed(s->in) : MP_TENSOR_COUNT;
    if (changed != MP_TENSOR_COUNT)
        mp_check_fail(s->v, MP_CHECK_INPUT, "%s: %s changed", what, mp_tensor_name(changed));
    mp_phase_enter(before);
    return status;
}

/* The case itself: the bits of its first run, or what the contract promises of them, and float64's bounds;
 * align's integers in any case, for they may come in another order each time. */
static mp_status judge_again(mp_session *s, const char *what, mp_left *left, int64_t *judged, mp_error *err) {
    const mp_other_run again = {&s->row->c, &s->offer, s->in, &left->trace, MP_POISON_B};
    const mp_judged_part part = s->deterministic ? MP_JUDGE_ALIGN : MP_JUDGE_ALL;
    mp_comparison found = {0};
    mp_status status = mp_session_judge(s, &again, part, MP_CHECK_SEQUENCE, what, judged, err);
    if (status == MP_OK) status = mp_compare_repeated(s, left, &found, err);
    *judged += found.compared;
    if (status == MP_OK) mp_session_expect_equal(s, MP_CHECK_SEQUENCE, what, &found);
    return status;
}

/* One sequence: `before`, and then the case. The first is judged too: it may as well be the one that lives on
 * what the case has left behind in its runs until now (a grid, a sort). */
static mp_status run_after(mp_session *s, const mp_case *before, const char *what, int64_t *judged,
                           mp_error *err) {
    const mp_offer *offer;
    mp_inputs in = {0};
    mp_trace first = {0};
    mp_left again = {0};
    mp_buffers *buffers = NULL;
    mp_buffer_sizes sizes = {0};
    char itself[MP_CASE_TEXT_MAX + 48];
    snprintf(itself, sizeof itself, "%s: that run itself", what);
    mp_status status = mp_session_offer(s, s->options->subject, before, &offer, err);
    const mp_phase outside = mp_phase_enter(MP_PHASE_INPUTS);
    if (status == MP_OK) status = mp_inputs_create_beside(before, s->in, mp_session_defers_from(s), &in, err);
    mp_phase_enter(MP_PHASE_UPLOAD);
    if (status == MP_OK) {
        mp_buffer_sizes_add(before, offer, &sizes);
        mp_buffer_sizes_add(&s->row->c, &s->offer, &sizes);
        status = mp_buffers_open(s->options->subject, &sizes, MP_BUFFERS_KEPT, MP_POISON_B, &buffers, err);
    }
    if (status == MP_OK) status = run_in(s, buffers, itself, before, offer, &in, err);
    mp_phase_enter(MP_PHASE_DOWNLOAD);
    if (status == MP_OK) status = mp_buffers_collect(buffers, &first, err);
    if (status == MP_OK) status = run_in(s, buffers, what, &s->row->c, &s->offer, s->in, err);
    if (status == MP_OK) status = mp_buffers_collect(buffers, &again.trace, err);
    mp_buffers_close(buffers);
    mp_phase_enter(outside);
    if (status == MP_OK) status = judge_again(s, what, &again, judged, err);
    mp_left_destroy(&again);
    const mp_other_run run = {before, offer, &in, &first, MP_POISON_B};
    if (status == MP_OK)
        status = mp_session_judge(s, &run, MP_JUDGE_ALL, MP_CHECK_SEQUENCE, itself, NULL, err);
    mp_trace_destroy(&first);
    mp_inputs_destroy(&in);
    return status;
}

mp_status mp_check_sequence(mp_session *s, mp_error *err) {
    const mp_matrix_row *row = s->row;
    bool open = row->after_count == 0;
    if (open) mp_check_not_judged(s->v, MP_CHECK_SEQUENCE, "no case given that runs before");
    for (size_t i = 0; i < row->after_count; i++) {
        mp_error why = {0};
        int64_t judged = 0;
        char what[MP_CASE_TEXT_MAX + 16];
        snprintf(what, sizeof what, "after %s", row->after_text[i]);
        const mp_status status = run_after(s, &row->afters[i], what, &judged, &why);
        if (status == MP_EUNSUPPORTED || (status == MP_OK && judged == 0)) {
            open = true;
            mp_check_not_judged(s->v, MP_CHECK_SEQUENCE, "%s: %s", what,
                                status != MP_OK ? why.text
                                : row->c.M == 0 ? "no tokens"
                                                : "nothing to compare");
        } else if (status != MP_OK) {
            if (err) *err = why;
            mp_error_prefix(err, "%s", what);
            return status;
        }
    }
    if (!open) mp_check_pass(s->v, MP_CHECK_SEQUENCE);
    return MP_OK;
}
