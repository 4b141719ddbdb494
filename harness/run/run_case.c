/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/checks/session.h"

#include "base/clock.h"
#include "base/text.h"
#include "cases/case_tools.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"
#include "harness/judge/judge_bits.h"
#include "harness/run/memory.h"
#include "harness/progress.h"
#include "harness/run/repro.h"
#include "harness/run/strict.h"
#include "harness/subjects/surroundings.h"
#include "harness/verdict_make.h"
#include "kernels/lookup.h"
#include "ref/blas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_option(mp_text *text, const char *option, const char *value) {
    if (!value) return;
    mp_text_add(text, " %s ", option);
    mp_text_add_word(text, value);
}

static void add_case(mp_text *text, const mp_matrix_row *row, bool pairs) {
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(&row->c, name, sizeof name);
    add_option(text, "--case", name);
    for (size_t i = 0; pairs && i < row->pair_count; i++) add_option(text, "--pair", row->pair_text[i]);
}

void mp_repro(const mp_matrix_row *row, const mp_run_options *o, mp_text *text) {
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) { /* tiles may come from there */
        const char *variable, *folder = mp_tuned_folder(i, &variable);
        const bool used = mp_tile_is_auto(&row->c.tile) || (o->after && mp_tile_is_auto(&o->after->c.tile));
        if (!folder || !used) continue;
        mp_text_add(text, "%s=", variable);
        mp_text_add_word(text, folder);
        mp_text_add(text, " ");
    }
    if (o->golden_required) { /* what cannot be compared fails there, and only there */
        mp_text_add(text, "moeparity golden verify ");
        mp_text_add_word(text, o->golden_path);
    } else {
        mp_text_add(text, "moeparity run");
    }
    if (o->after) add_case(text, o->after, !o->golden_required);
    add_case(text, row, !o->golden_required);
    add_option(text, "--subject", o->subject->name);
    add_option(text, "--against", o->against ? o->against->name : NULL);
    add_option(text, "--golden", o->golden_required ? NULL : o->golden_path);
    add_option(text, "--device", o->device);
    add_option(text, "--triton", o->triton);
    add_option(text, "--config", o->config_file);
    if (mp_repeats(o) != MP_REPEAT) mp_text_add(text, " --repeat %d", o->repeat);
    if (o->timeout_seconds > 0 && o->timeout_seconds != MP_TIMEOUT_SECONDS)
        mp_text_add(text, " --timeout %.0f", o->timeout_seconds);
    if (o->plain) mp_text_add(text, " --plain");
    if (o->golden_partial) mp_text_add(text, " --golden-partial");
    if (o->strict) mp_text_add(text, " --strict");
}

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
    v->outcome = judged && failed < 0 ? MP_PASS : MP_FAIL;
    if (failed >= 0)
        mp_verdict_set(v, &v->reason, "%s: %s", mp_check_name((mp_check)failed), v->check[failed].text);
    else if (!judged)
        mp_verdict_set(v, &v->reason, "no stage was judged");
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
    mp_verdict_set(v, &v->reason, "%s%s", refused ? "the tile that was asked for cannot run: " : "",
                   err->text);
}

/* The largest of the case and its variants must fit, for the subject and for the one it is compared with. */
static mp_status plan_memory(mp_session *s, mp_error *err) {
    const mp_run_options *o = s->options;
    const size_t available = mp_memory_available() / (size_t)(o->jobs > 1 ? o->jobs : 1);
    for (size_t i = 0; i <= s->row->pair_count; i++) {
        const mp_case *c = i == 0 ? &s->row->c : &s->row->pairs[i - 1];
        mp_subject *const subjects[] = {o->subject, i == 0 ? o->against : NULL};
        for (int k = 0; k < 2 && subjects[k]; k++) {
            const mp_offer *offer;
            const mp_status status = mp_session_offer(s, subjects[k], c, &offer, err);
            if (status == MP_EUNSUPPORTED && i > 0) continue; /* this variant will not be run */
            if (status != MP_OK) return status;
            const size_t host = mp_case_host_bytes(c, offer->config.up.block_size_m) + offer->host_bytes;
            const size_t device = mp_surroundings_device_bytes(subjects[k], c, offer) + offer->device_bytes;
            if ((int64_t)host > s->v->peak_bytes) s->v->peak_bytes = (int64_t)host;
            if (available > 0 && host > available)
                return mp_fail(err, MP_EUNSUPPORTED, "needs %.1f GiB of host memory, %.1f GiB are available",
                               (double)host / 0x1p30, (double)available / 0x1p30);
            if (offer->device_available > 0 && device > offer->device_available)
                return mp_fail(err, MP_EUNSUPPORTED, "needs %.1f GiB of device memory, %.1f GiB are free",
                               (double)device / 0x1p30, (double)offer->device_available / 0x1p30);
        }
    }
    return MP_OK;
}

static mp_status run_checks(mp_session *s, mp_error *err) {
    const mp_case *c = &s->row->c;
    mp_verdict *v = s->v;
    s->digest = mp_inputs_digest(s->in);
    mp_status status = mp_inputs_check_ids(c, s->in, err);
    if (status == MP_OK)
        status = mp_session_run(s, "", s->options->subject, c, s->in, MP_POISON_A, &s->first, err);
    if (status == MP_OK)
        status = mp_judge(c, &s->offer.contract, &s->offer.config, s->in, &s->first, MP_POISON_A, s->engine,
                          v, err);
    if (status == MP_OK)
        status = mp_judge_bits(c, &s->offer.contract, &s->offer.config, s->in, &s->first, v, err);
    if (status == MP_OK) status = mp_check_repeats(s, err);
    if (status == MP_OK) status = mp_check_pairs(s, err);
    if (status == MP_OK) status = mp_check_invariance(s, err);
    if (status == MP_OK) status = mp_check_against(s, err);
    mp_progress("", "golden");
    if (status == MP_OK) status = mp_check_golden(s, err);
    return status;
}

/* What passed needs nothing before it to be repeated; what did not may owe it to the case before. */
static void set_repro(const mp_matrix_row *row, const mp_run_options *options, mp_verdict *v) {
    mp_run_options alone = *options;
    mp_text repro = {0};
    if (v->outcome == MP_PASS || v->outcome == MP_SKIP) alone.after = NULL;
    mp_repro(row, &alone, &repro);
    mp_verdict_set(v, &v->repro, "%s", mp_text_get(&repro));
    mp_text_free(&repro);
}

void mp_verdict_begin(const mp_matrix_row *row, const mp_run_options *options, mp_outcome outcome,
                      mp_verdict *v) {
    mp_verdict_init(v);
    v->outcome = outcome;
    mp_case_text(&row->c, v->name, sizeof v->name);
    mp_verdict_set(v, &v->group, "%s", row->group ? row->group : "");
    mp_verdict_set(v, &v->subject, "%s", options->subject->name);
    set_repro(row, options, v);
}

void mp_run_case(const mp_matrix_row *row, const mp_run_options *options, mp_verdict *v) {
    const double start = mp_seconds_now();
    mp_error err = {0};
    mp_inputs in = {0};
    mp_session s = {.row = row, .options = options, .in = &in, .v = v};
    mp_subject *subject = options->subject;

    mp_verdict_begin(row, options, MP_PASS, v);
    s.engine = options->plain || mp_blas_load(NULL) != MP_OK ? MP_ENGINE_PLAIN : MP_ENGINE_BLAS;
    mp_verdict_set(v, &v->blas, "%s", s.engine == MP_ENGINE_BLAS ? mp_blas_name() : "plain loops");

    mp_status status = mp_subject_describe(subject, &row->c, &s.offer, &err);
    if (status == MP_OK) {
        char text[MP_CONTRACT_TEXT_MAX], up[64], down[64];
        s.deterministic = mp_contract_deterministic(&s.offer.contract, &row->c);
        s.batch_invariant = mp_contract_batch_invariant(&s.offer.contract, &row->c);
        mp_contract_text(&s.offer.contract, text, sizeof text);
        mp_verdict_set(v, &v->contract, "%s", text);
        mp_tile_text(&s.offer.config.up, up);
        mp_tile_text(&s.offer.config.down, down);
        mp_verdict_set(v, &v->config, "%s %s (%s)", up, down, s.offer.config.source);
        mp_verdict_set(v, &v->config_note, "%s", s.offer.config.warning);
        status = plan_memory(&s, &err);
    }
    if (status == MP_OK) status = mp_inputs_create(&row->c, &in, &err);
    if (status == MP_OK) status = run_checks(&s, &err);
    if (status == MP_OK)
        conclude(v);
    else
        end_with(&s, &err);
    mp_begins_conclude(v, &row->c);
    if (options->strict) mp_strict_apply(v, mp_strict_asked(row, options, &s.offer.contract));
    if (options->keep && v->outcome == MP_PASS) options->keep(options->keep_ctx, &s.offer, &in, &s.first);
    mp_trace_destroy(&s.first);
    mp_inputs_destroy(&in);
    set_repro(row, options, v);
    v->seconds = mp_seconds_now() - start;
}
