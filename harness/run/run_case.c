#include "harness/checks/session.h"

#include "base/clock.h"
#include "harness/judge/judge.h"
#include "harness/judge/judge_bits.h"
#include "harness/run/memory.h"
#include "harness/run/surroundings.h"
#include "ref/blas.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(char *text, size_t size, const char *format, ...) {
    const size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

/* A word for a POSIX shell. */
static void append_quoted(char *text, size_t size, const char *word) {
    append(text, size, "'");
    for (const char *p = word; *p; p++) append(text, size, *p == '\'' ? "'\\''" : "%c", *p);
    append(text, size, "'");
}

void mp_repro(const mp_matrix_row *row, const mp_run_options *options, char *text, size_t size) {
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(&row->c, name, sizeof name);
    text[0] = '\0';
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) { /* tiles may come from there */
        const char *variable, *folder = mp_tuned_folder(i, &variable);
        if (!folder || !mp_tile_is_auto(&row->c.tile)) continue;
        append(text, size, "%s=", variable);
        append_quoted(text, size, folder);
        append(text, size, " ");
    }
    if (options->golden_required) { /* what cannot be compared fails there, and only there */
        append(text, size, "moeparity golden verify ");
        append_quoted(text, size, options->golden_path);
        append(text, size, " --subject %s --match '%s'", options->subject->name, name);
        return;
    }
    append(text, size, "moeparity run --case '%s' --subject %s", name, options->subject->name);
    for (size_t i = 0; i < row->pair_count; i++) append(text, size, " --pair '%s'", row->pair_text[i]);
    if (options->against) append(text, size, " --against %s", options->against->name);
    if (options->golden_path) {
        append(text, size, " --golden ");
        append_quoted(text, size, options->golden_path);
    }
    if (options->repeat != 2) append(text, size, " --repeat %d", options->repeat);
    if (options->plain) append(text, size, " --plain");
}

/* Align's integers of a run that is not judged as a whole. */
static mp_status check_align(const mp_session *s, const char *what, const mp_case *c,
                             const mp_contract *contract, const mp_inputs *in, const mp_trace *trace,
                             mp_error *err) {
    if (!trace->t[MP_SORTED_TOKEN_IDS].data) return MP_OK;
    mp_verdict *own = calloc(1, sizeof *own);
    if (!own) return mp_fail(err, MP_EMEMORY, "no memory for a verdict");
    mp_judge_align(c, contract, in, trace, own);
    if (own->check[MP_CHECK_INTEGER].answer == MP_FAILED)
        mp_check_fail(s->v, MP_CHECK_INTEGER, "%s%s", what, own->check[MP_CHECK_INTEGER].text);
    free(own);
    return MP_OK;
}

/* What the subject says of a case: asked once for the case itself, and once for each other one that is run.
 */
static mp_status offer_of(mp_session *s, mp_subject *subject, const mp_case *c, const mp_offer **offer,
                          mp_error *err) {
    const bool base = subject == s->options->subject && mp_case_compare(c, &s->row->c) == 0;
    const bool known = s->described == subject && mp_case_compare(c, &s->described_case) == 0;
    *offer = base ? &s->offer : &s->described_offer;
    if (base || known) return MP_OK;
    s->described = NULL;
    const mp_status status = mp_subject_describe(subject, c, &s->described_offer, err);
    if (status != MP_OK) return status;
    s->described = subject;
    s->described_case = *c;
    return MP_OK;
}

mp_status mp_session_run(mp_session *s, const char *what, mp_subject *subject, const mp_case *c,
                         const mp_inputs *in, uint32_t poison, mp_trace *trace, mp_error *err) {
    char prefix[220] = "", text[200];
    if (what[0]) snprintf(prefix, sizeof prefix, "%.200s: ", what);
    mp_surroundings_report report;
    const mp_offer *offer;
    *trace = (mp_trace){0};
    mp_status status = offer_of(s, subject, c, &offer, err);
    if (status == MP_OK) status = mp_run_surrounded(subject, c, offer, in, poison, trace, &report, err);
    if (status == MP_EUNSUPPORTED && offer->config.tile_named) s->tile_refused = true;
    if (status != MP_OK) return status;
    if (report.guard[0])
        mp_check_fail(s->v, MP_CHECK_GUARD, "%s%s", prefix, report.guard);
    else
        mp_check_pass(s->v, MP_CHECK_GUARD);
    if (report.input[0])
        mp_check_fail(s->v, MP_CHECK_INPUT, "%s%s", prefix, report.input);
    else if (mp_inputs_digest(s->in) != s->digest) /* a selection borrows its weights from there */
        mp_check_fail(s->v, MP_CHECK_INPUT, "%sthe inputs changed", prefix);
    else
        mp_check_pass(s->v, MP_CHECK_INPUT);
    if (mp_unwritten_intact(c, &offer->contract, in, trace, poison, text, sizeof text))
        mp_check_pass(s->v, MP_CHECK_POISON);
    else
        mp_check_fail(s->v, MP_CHECK_POISON, "%s%s", prefix, text);
    return what[0] ? check_align(s, prefix, c, &offer->contract, in, trace, err) : MP_OK;
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
        snprintf(v->reason, sizeof v->reason, "%s: %s", mp_check_name((mp_check)failed),
                 v->check[failed].text);
    else if (!judged)
        snprintf(v->reason, sizeof v->reason, "no stage was judged");
}

/* The case could not be finished. What had failed before stays failed; so has a tile that cannot run where
 * the case or a tuned file names it. Else a subject that cannot run here is a SKIP, and every other error
 * means that the subject could not be run: a CRASH. */
static void end_with(const mp_session *s, const mp_error *err) {
    mp_verdict *v = s->v;
    if (first_failed(v) >= 0) {
        conclude(v);
        append(v->reason, sizeof v->reason, "; then: %s", err->text);
        return;
    }
    const bool refused = s->tile_refused && err->status == MP_EUNSUPPORTED;
    v->outcome = refused ? MP_FAIL : err->status == MP_EUNSUPPORTED ? MP_SKIP : MP_CRASH;
    snprintf(v->reason, sizeof v->reason, "%s%s", refused ? "the tile that was asked for cannot run: " : "",
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
            const mp_status status = offer_of(s, subjects[k], c, &offer, err);
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
        status = mp_judge(c, &s->offer.contract, s->in, &s->first, MP_POISON_A, s->engine, v, err);
    if (status == MP_OK)
        status = mp_judge_bits(c, &s->offer.contract, &s->offer.config, s->in, &s->first, v, err);
    if (status == MP_OK) status = mp_check_repeats(s, err);
    if (status == MP_OK) status = mp_check_pairs(s, err);
    if (status == MP_OK) status = mp_check_invariance(s, err);
    if (status == MP_OK) status = mp_check_against(s, err);
    if (status == MP_OK) status = mp_check_golden(s, err);
    return status;
}

void mp_run_case(const mp_matrix_row *row, const mp_run_options *options, mp_verdict *v) {
    const double start = mp_seconds_now();
    mp_error err = {0};
    mp_inputs in = {0};
    mp_session s = {.row = row, .options = options, .in = &in, .v = v};
    mp_subject *subject = options->subject;

    *v = (mp_verdict){0};
    mp_case_text(&row->c, v->name, sizeof v->name);
    snprintf(v->group, sizeof v->group, "%s", row->group ? row->group : "");
    snprintf(v->subject, sizeof v->subject, "%s", subject->name);
    mp_repro(row, options, v->repro, sizeof v->repro);
    s.engine = options->plain || mp_blas_load(NULL) != MP_OK ? MP_ENGINE_PLAIN : MP_ENGINE_BLAS;
    snprintf(v->blas, sizeof v->blas, "%s", s.engine == MP_ENGINE_BLAS ? mp_blas_name() : "plain loops");

    mp_status status = mp_subject_describe(subject, &row->c, &s.offer, &err);
    if (status == MP_OK) {
        char up[64], down[64];
        s.deterministic = mp_contract_deterministic(&s.offer.contract, &row->c);
        s.batch_invariant = mp_contract_batch_invariant(&s.offer.contract, &row->c);
        mp_contract_text(&s.offer.contract, v->contract, sizeof v->contract);
        mp_tile_text(&s.offer.config.up, up);
        mp_tile_text(&s.offer.config.down, down);
        snprintf(v->config, sizeof v->config, "%s %s (%s)", up, down, s.offer.config.source);
        snprintf(v->config_note, sizeof v->config_note, "%s", s.offer.config.warning);
        status = plan_memory(&s, &err);
    }
    if (status == MP_OK) status = mp_inputs_create(&row->c, &in, &err);
    if (status == MP_OK) status = run_checks(&s, &err);
    mp_trace_destroy(&s.first);
    mp_inputs_destroy(&in);
    if (status == MP_OK)
        conclude(v);
    else
        end_with(&s, &err);
    v->seconds = mp_seconds_now() - start;
}
