/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/checks/session.h"

#include "base/clock.h"
#include "base/kept_blocks.h"
#include "cases/edit.h"
#include "harness/answers.h"
#include "harness/checks/first_run.h"
#include "harness/judge/judge.h"
#include "harness/judge/judge_bits.h"
#include "harness/judge/sharper.h"
#include "harness/run/judge_file.h"
#include "harness/run/kept_weights.h"
#include "harness/run/memory.h"
#include "harness/phases.h"
#include "harness/picture.h"
#include "harness/progress.h"
#include "harness/run/repro.h"
#include "harness/run/strict.h"
#include "harness/subjects/confirm_fill.h"
#include "harness/subjects/copies.h"
#include "harness/subjects/lend.h"
#include "harness/verdict_make.h"
#include "kernels/cuda.h"
#include "moeparity/preset.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"

#include <math.h>
#include <string.h>

/* The first check that failed, or -1. */
static int first_failed(const mp_verdict *v) {
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (v->check[i].answer == MP_FAILED) return i;
    return -1;
}

static void conclude(mp_verdict *v) {
    const int failed = first_failed(v);
    bool judged = false;
    for (int i = 0; i < MP_STAGE_COUNT; i++) judged = judged || v->stage[i].judged;
    v->outcome = failed >= 0 ? MP_FAIL : judged ? MP_PASS : v->boundless ? MP_SKIP : MP_FAIL;
    if (failed >= 0)
        mp_verdict_set(v, &v->reason, "%s: %s", mp_check_name((mp_check)failed), v->check[failed].text);
    else if (!judged)
        mp_verdict_set(v, &v->reason, "%s",
                       v->boundless ? v->check[MP_CHECK_BOUND].text : "no stage was judged");
}

/* The case could not be finished. What had failed before stays failed; so has a tile that cannot run where
 * the case or a tuned file names it. Else a subject that cannot run here is a SKIP, and every other error
 * means that the subject could not be run: a CRASH. */
static void end_with(const mp_session *s, const mp_error *err) {
    mp_verdict *v = s->v;
    if (first_failed(v) >= 0) {
        conclude(v);
        mp_verdict_set(v, &v->reason, "%s; then: %s", v->reason, err->text);
        return;
    }
    const bool refused = s->tile_refused && err->status == MP_EUNSUPPORTED;
    v->outcome = refused ? MP_FAIL : err->status == MP_EUNSUPPORTED ? MP_SKIP : MP_CRASH;
    v->lacked_memory = v->lacked_memory || err->status == MP_EMEMORY;
    mp_verdict_set(v, &v->reason, "%s%s", refused ? MP_TILE_REFUSED : "", err->text);
}

/* No check needs this figure, and of a large case it takes a sixth of a verification, which leaves it out. */
static mp_status tell_end_to_end(mp_session *s, mp_error *err) {
    if (s->options->settings.golden_required) {
        /* Not measured: never a zero that looks like a result. */
        s->v->end_to_end = (mp_stage_figures){.max_abs = NAN, .max_row_rms = NAN, .worst_index = -1};
        return MP_OK;
    }
    return mp_measure_end_to_end(&s->row->c, &s->offer.contract, s->in, &s->first, s->engine, s->v, err);
}

/* The run that is judged, and that the others are compared with; *left is where it still lies for a judge on
 * the device. */
static mp_status run_first(mp_session *s, mp_left *left, mp_error *err) {
    mp_status status = mp_session_run(s, "", s->options->subject, &s->row->c, s->in, MP_POISON_A, left, err);
    if (status == MP_OK) status = s->offload ? mp_left_read(left, err) : mp_left_fetch(left, err);
    s->first = left->trace;
    left->trace = (mp_trace){0};
    return status == MP_OK ? mp_first_run_check_digests(s, err) : status;
}

static mp_status judge_first(mp_session *s, mp_error *err) {
    const mp_case *c = &s->row->c;
    mp_verdict *v = s->v;
    mp_left left = {0};
    mp_status status = run_first(s, &left, err);
    if (status == MP_OK) mp_lend_outputs(s->options->subject, &left, &s->first, s->offload);
    const mp_other_run first = {c, &s->offer, s->in, &s->first, MP_POISON_A};
    if (status == MP_OK) status = mp_session_judge_float64(s, &first, v, err);
    if (status == MP_OK) status = tell_end_to_end(s, err);
    if (status == MP_OK && s->options->settings.once && s->options->against)
        status = mp_compare_stages(s, err);
    else if (status == MP_OK)
        status = mp_judge_bits(c, &s->offer.contract, &s->offer.config, s->in, &s->first, s->engine, v, err);
    mp_offload_rest(s->offload);
    mp_left_destroy(&left);
    return status;
}

static mp_status run_checks(mp_session *s, mp_error *err) {
    mp_verdict *v = s->v;
    mp_status status = mp_inputs_check_ids(&s->row->c, s->in, err);
    if (status == MP_OK) status = judge_first(s, err);
    if (status != MP_OK || s->options->settings.once) {
        for (int i = 0; i < MP_CHECK_COUNT; i++)
            if (v->check[i].answer == MP_NOT_JUDGED)
                mp_check_not_judged(v, (mp_check)i, "one run was asked for, and no more");
        return status;
    }
    mp_progress("", "golden");
    if (status == MP_OK) status = mp_check_golden(s, err);
    if (status == MP_OK) status = mp_first_run_put_aside(s, err);
    if (status == MP_OK) status = mp_check_repeats(s, err);
    if (status == MP_OK) status = mp_check_pairs(s, err);
    if (status == MP_OK) status = mp_check_sequence(s, err);
    if (status == MP_OK) status = mp_check_ranks(s, err);
    if (status == MP_OK) status = mp_check_invariance(s, err);
    if (status == MP_OK) status = mp_check_against(s, err);
    return status == MP_OK ? mp_check_streams(s, err) : status;
}

/* What no run was handed must not have changed either. */
static void check_inputs(mp_session *s) {
    const mp_phase before = mp_phase_enter(MP_PHASE_DIGEST);
    const mp_tensor_id changed = mp_inputs_changed(s->in);
    if (changed != MP_TENSOR_COUNT)
        mp_check_fail(s->v, MP_CHECK_INPUT, "%s on the host changed", mp_tensor_name(changed));
    mp_phase_enter(before);
}

/* Nobody is failed by weights that a device made wrongly: that is the harness's own failure. */
static void confirm_inputs(mp_session *s) {
    mp_error err = {0};
    const mp_phase before = mp_phase_enter(MP_PHASE_DIGEST);
    if (mp_confirm_fill(s->options->subject, &s->row->c, s->in, &err) != MP_OK) {
        s->v->outcome = MP_CRASH;
        mp_verdict_set(s->v, &s->v->reason, "%s; without that: %s", err.text, s->v->reason);
    }
    mp_phase_enter(before);
}

/* What the subject says itself; and of a contract that says nothing how much a known one would be worth. */
static void tell_weaker(mp_session *s) {
    const mp_contract known = mp_host_contract(&s->row->c);
    const char *own = s->offer.weaker;
    mp_text wide = {0};
    if (strcmp(s->offer.contract.preset, MP_ANY_CONTRACT) == 0)
        mp_sharper_text(&s->row->c, &s->offer.contract, &known, &wide);
    mp_verdict_set(s->v, &s->v->weaker, "%s%s%s", own, *own && wide.length ? "; " : "", mp_text_get(&wide));
    mp_text_free(&wide);
}

/* Of a case out of a file all that its tensors answer: nothing is run. */
static mp_status run_file_checks(mp_session *s, mp_error *err) {
    static const mp_check unasked[] = {MP_CHECK_REPEAT,      MP_CHECK_GUARD,   MP_CHECK_INPUT,
                                       MP_CHECK_PERMUTATION, MP_CHECK_BATCH,   MP_CHECK_PAIR,
                                       MP_CHECK_POISON,      MP_CHECK_RANKS,   MP_CHECK_GRAPH,
                                       MP_CHECK_STREAMS,     MP_CHECK_SEQUENCE};
    const mp_case *c = &s->row->c;
    const mp_contract *contract = &s->offer.contract;
    const mp_other_run file = {c, &s->offer, s->in, &s->first, MP_POISON_A};
    mp_status status = mp_session_judge_float64(s, &file, s->v, err);
    if (status == MP_OK) status = tell_end_to_end(s, err);
    if (status == MP_OK) status = mp_judge_bits(c, contract, NULL, s->in, &s->first, s->engine, s->v, err);
    for (size_t i = 0; i < sizeof unasked / sizeof *unasked; i++)
        mp_check_not_judged(s->v, unasked[i], "a file: nothing was run");
    mp_check_not_judged(s->v, MP_CHECK_GOLDEN, MP_NO_GOLDEN);
    return status;
}

static void describe(mp_session *s) {
    mp_verdict *v = s->v;
    const mp_contract *contract = &s->offer.contract;
    const mp_config *config = &s->offer.config;
    char text[MP_CONTRACT_TEXT_MAX], up[64], down[64];
    s->deterministic = mp_contract_deterministic(contract, &s->row->c);
    s->batch_invariant = mp_contract_batch_invariant(contract, &s->row->c);
    mp_contract_text(contract, text, sizeof text);
    mp_tile_text(&config->up, up);
    mp_tile_text(&config->down, down);
    mp_verdict_set(v, &v->contract, "%s", text);
    mp_verdict_set(v, &v->config, "%s %s (%s)", up, down, config->source);
    mp_verdict_set(v, &v->config_note, "%s", config->warning);
}

/* An edit changes what the case says of its weights. */
static mp_kept_weights *weights_of(const mp_run_options *options) {
    return options->settings.edit ? NULL : options->weights;
}

/* Where a subject's device makes the weights, a judge on the CPU reads those of the experts that are used,
 * and one on the device of a few. A recording may store all, and an edit writes. */
static bool may_defer(const mp_run_options *o) {
    return mp_cuda_fills(o->subject->space) && !o->settings.edit && !o->keep;
}

static mp_status begin(mp_session *s, mp_inputs *in, mp_error *err) {
    mp_kept_weights *kept = weights_of(s->options);
    mp_status status = mp_session_describe(s, s->options->subject, &s->row->c, &s->offer, err);
    if (status == MP_OK) describe(s);
    const size_t there = mp_kept_for(kept, &s->row->c);
    if (status == MP_OK) status = mp_plan_memory(s, there, err);
    /* What one run has left waits for the next. */
    if (status == MP_OK) mp_blocks_keep(mp_case_host_bytes(&s->row->c, s->offer.config.up.block_size_m));
    const mp_phase before = mp_phase_enter(MP_PHASE_INPUTS);
    if (status == MP_OK) status = mp_kept_inputs(kept, &s->row->c, may_defer(s->options), in, err);
    if (status == MP_OK) status = mp_inputs_edit(&s->row->c, s->options->settings.edit, in, err);
    mp_phase_enter(MP_PHASE_DIGEST);
    if (status == MP_OK) mp_inputs_seal(in);
    mp_phase_enter(before);
    return status;
}

void mp_run_case(const mp_matrix_row *row, const mp_run_options *options, mp_verdict *v) {
    const double start = mp_seconds_now();
    mp_phases_begin();
    mp_error err = {0};
    mp_inputs in = {0};
    mp_session s = {.row = row, .options = options, .in = &in, .v = v};
    mp_settings settings = options->settings;
    if (options->subject) settings.subject = options->subject->name; /* what "auto" came to */
    settings.against = options->against ? options->against->name : NULL;

    mp_copies *own = NULL; /* weights stay for the runs of the case, if not for longer */
    if (options->subject && !options->subject->copies && options->subject->space)
        options->subject->copies = own = mp_copies_open(options->subject->space);
    mp_verdict_begin(row, NULL, 0, &settings, MP_PASS, v);
    v->pictured = settings.figures;
    s.offload = options->offload;
    s.engine = s.offload        ? mp_offload_engine(s.offload)
               : settings.plain ? &mp_engine_plain
                                : mp_engine_of_cpu();
    if (s.offload) mp_offload_begin(s.offload, &in);

    mp_status status = row->file ? mp_file_load(&s, &in, &err) : begin(&s, &in, &err);
    if (status == MP_OK) tell_weaker(&s);
    if (status == MP_OK) status = row->file ? run_file_checks(&s, &err) : run_checks(&s, &err);
    if (status == MP_OK && !row->file) check_inputs(&s);
    if (status == MP_OK)
        conclude(v);
    else
        end_with(&s, &err);
    if (v->outcome == MP_FAIL && !row->file) confirm_inputs(&s);
    mp_begins_conclude(v, &row->c);
    for (int i = 0; i < MP_STAGE_COUNT; i++)
        if (v->picture[i]) mp_picture_settle(v->picture[i]);
    if (settings.strict) mp_strict_apply(v, mp_strict_asked(row, options, &s.offer));
    if (options->keep && v->outcome == MP_PASS) options->keep(options->keep_ctx, &s.offer, &in, &s.first);
    mp_verdict_set(v, &v->blas, "%s", s.engine->name(s.engine));
    if (s.offload) mp_offload_begin(s.offload, NULL);
    mp_trace_destroy(&s.first);
    if (!row->file)
        mp_kept_take(weights_of(options), &row->c,
                     status == MP_OK && v->check[MP_CHECK_INPUT].answer != MP_FAILED, &in);
    mp_inputs_destroy(&in);
    mp_blocks_keep(0);
    mp_copies_close(own);
    if (own) options->subject->copies = NULL;
    mp_verdict_set_repro(row, options->before, options->before_count, &settings, v);
    v->seconds = mp_seconds_now() - start;
    mp_phases_end(v->phase_seconds);
}
