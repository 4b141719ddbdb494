/* SPDX-License-Identifier: Apache-2.0 */
/* What changed between two reports, for people and for scripts. */
#include "reports/diff.h"

#include "base/printable.h"

#include <inttypes.h>
#include <string.h>

typedef struct change_text {
    const char *what, *before, *now;
} change_text;

/* Calls take for each text of the runs that changed. */
typedef void take_change(void *ctx, const char *what, const char *before, const char *now);
static void each_of_runs(const mp_report_diff *diff, take_change *take, void *ctx) {
    const mp_run_info *a = &diff->first->info, *b = &diff->second->info;
    const change_text texts[] = {
        {"subject", a->subject, b->subject},
        {"device", a->device, b->device},
        {"version", a->version, b->version},
        {"commit", a->commit, b->commit},
        {"versions", a->versions, b->versions},
        {"reference", a->blas, b->blas},
        {"CPU", a->host, b->host},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(texts[i].before, texts[i].now) != 0)
            take(ctx, texts[i].what, texts[i].before, texts[i].now);
}

static void bits_text(const mp_stage_figures *f, char text[96]) {
    if (f->predicted == 0)
        snprintf(text, 96, "not predicted");
    else if (f->mispredicted == 0)
        snprintf(text, 96, "equal");
    else if (f->max_ulps == INT64_MAX)
        snprintf(text, 96, "%" PRId64 " of %" PRId64 " differ, some by a NaN", f->mispredicted, f->predicted);
    else
        snprintf(text, 96, "%" PRId64 " of %" PRId64 " differ, by at most %" PRId64 " ulp", f->mispredicted,
                 f->predicted, f->max_ulps);
}

static void stage_figure(take_change *take, void *ctx, const char *stage, const char *name, double a,
                         double b) {
    char what[64], before[32], now[32];
    snprintf(what, sizeof what, "%s: %s", stage, name);
    snprintf(before, sizeof before, "%.4g", a);
    snprintf(now, sizeof now, "%.4g", b);
    take(ctx, what, before, now);
}

/* Calls take for all that changed of a case. */
static void each_of_case(const mp_report_diff *diff, const mp_case_change *c, take_change *take, void *ctx) {
    static const char *const answers[] = {"not judged", "passed", "failed"};
    const mp_verdict *a = c->first, *b = c->second;
    if (a == NULL || b == NULL) return;
    if (a->outcome != b->outcome)
        take(ctx, "outcome", mp_outcome_name(a->outcome), mp_outcome_name(b->outcome));
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (mp_changed_answer(&a->check[i], &b->check[i]))
            take(ctx, mp_check_name((mp_check)i), answers[a->check[i].answer], answers[b->check[i].answer]);
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        const mp_stage_figures *f = &a->stage[i], *g = &b->stage[i];
        const char *stage = mp_stage_name((mp_stage)i);
        char what[64], before[96], now[96];
        if (f->judged != g->judged)
            take(ctx, stage, f->judged ? "judged" : "not judged", g->judged ? "judged" : "not judged");
        if (f->judged && g->judged && mp_changed_figure(diff, f->max_ratio, g->max_ratio))
            stage_figure(take, ctx, stage, "err/bound", f->max_ratio, g->max_ratio);
        if (f->judged && g->judged && mp_report_diff_has_drift(diff) &&
            mp_changed_figure(diff, f->max_drift, g->max_drift))
            stage_figure(take, ctx, stage, "drift", f->max_drift, g->max_drift);
        if (!mp_changed_bits(f, g)) continue;
        snprintf(what, sizeof what, "%s: bits", stage);
        bits_text(f, before);
        bits_text(g, now);
        take(ctx, what, before, now);
    }
    if (strcmp(a->subject, b->subject) != 0) take(ctx, "subject", a->subject, b->subject);
    if (strcmp(a->contract, b->contract) != 0) take(ctx, "contract", a->contract, b->contract);
    if (strcmp(a->config, b->config) != 0) take(ctx, "tiles", a->config, b->config);
}

/* ---- for people ---- */

/* Of a stranger's text one line that no terminal obeys. */
static void put(FILE *out, const char *text) {
    char line[1024];
    mp_text_printable(text, line, sizeof line);
    fputs(line, out);
}

static void put_change(void *ctx, const char *what, const char *before, const char *now) {
    FILE *out = ctx;
    fprintf(out, "        %s: ", what);
    put(out, before[0] != '\0' ? before : "(nothing)");
    fputs(" -> ", out);
    put(out, now[0] != '\0' ? now : "(nothing)");
    fputc('\n', out);
}

static void put_case(FILE *out, const mp_report_diff *diff, const mp_case_change *c) {
    const mp_verdict *v = c->second != NULL ? c->second : c->first;
    fprintf(out, "%-7s ", mp_change_name(c->change));
    put(out, v->name);
    if (c->first == NULL || c->second == NULL) fprintf(out, "  (%s)", mp_outcome_name(v->outcome));
    fputc('\n', out);
    each_of_case(diff, c, put_change, out);
    if (c->change != MP_CHANGE_WORSE) return;
    fputs("        ", out);
    put(out, v->reason);
    fputs("\n        repro: ", out);
    put(out, v->repro);
    fputc('\n', out);
}

static void put_run(FILE *out, const char *name, const mp_stored_report *report) {
    const mp_run_info *run = &report->info;
    put(out, name);
    fputs(": ", out);
    put(out, run->subject);
    fputs(" on ", out);
    put(out, run->device[0] != '\0' ? run->device : run->host);
    fputs(", commit ", out);
    put(out, run->commit);
    fputs(", ", out);
    put(out, run->date);
    fprintf(out, ", %zu case%s%s\n", report->count, report->count == 1 ? "" : "s",
            run->interrupted ? ", interrupted" : "");
}

void mp_report_diff_print(FILE *out, const mp_report_diff *diff, const char *const names[2], bool quiet) {
    if (!quiet) {
        put_run(out, names[0], diff->first);
        put_run(out, names[1], diff->second);
        each_of_runs(diff, put_change, out);
        for (size_t i = 0; i < diff->case_count; i++)
            if (diff->cases[i].change != MP_CHANGE_NONE) put_case(out, diff, &diff->cases[i]);
    }
    fprintf(out, "%zu case%s: %zu the same", diff->case_count, diff->case_count == 1 ? "" : "s",
            diff->count[MP_CHANGE_NONE]);
    for (int i = 0; i < MP_CHANGE_NONE; i++)
        if (diff->count[i] > 0) fprintf(out, ", %zu %s", diff->count[i], mp_change_name((mp_change)i));
    fputc('\n', out);
}

/* ---- for scripts ---- */

static void add_change(void *ctx, const char *what, const char *before, const char *now) {
    json_array_append_new(ctx, json_pack("{s:s, s:s, s:s}", "what", what, "before", before, "now", now));
}

json_t *mp_report_diff_to_json(const mp_report_diff *diff, const char *const names[2]) {
    json_t *runs = json_array(), *cases = json_array(), *counts = json_object();
    each_of_runs(diff, add_change, runs);
    for (int i = 0; i < MP_CHANGE_COUNT; i++)
        json_object_set_new(counts, mp_change_name((mp_change)i), json_integer((json_int_t)diff->count[i]));
    for (size_t i = 0; i < diff->case_count; i++) {
        const mp_case_change *c = &diff->cases[i];
        const mp_verdict *v = c->second != NULL ? c->second : c->first;
        if (c->change == MP_CHANGE_NONE) continue;
        json_t *changes = json_array();
        each_of_case(diff, c, add_change, changes);
        json_array_append_new(cases,
                              json_pack("{s:s, s:s, s:s?, s:s?, s:s, s:s, s:o}", "change",
                                        mp_change_name(c->change), "name", v->name, "before",
                                        c->first != NULL ? mp_outcome_name(c->first->outcome) : NULL, "now",
                                        c->second != NULL ? mp_outcome_name(c->second->outcome) : NULL,
                                        "reason", v->reason, "repro", v->repro, "changes", changes));
    }
    return json_pack("{s:s, s:i, s:[s, s], s:f, s:b, s:o, s:o, s:o}", "format", "moeparity report diff",
                     "schema_version", 1, "reports", names[0], names[1], "threshold", diff->threshold,
                     "worse", mp_report_diff_is_worse(diff), "runs", runs, "counts", counts, "cases", cases);
}
