/* SPDX-License-Identifier: Apache-2.0 */
/* The summary of a run as Markdown tables, for the page that a CI job shows: counts, what failed and how to
 * run it again, what was skipped and why, and the rows that drift most. */
#include "base/file.h"
#include "reports/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MOST_FAILURES = 100, /* a page of GitHub holds 1 MiB; all of them are in the other reports */
    MOST_REASONS = 20,
    MOST_DRIFTS = 10,
    MOST_BYTES = 1000 /* of a text in a cell; commands are never cut */
};

/* ---- cells ---- */

/* Prose: nothing in it is markup, and it stays in its cell. */
static void put_prose(mp_text *out, const char *text) {
    char some[MOST_BYTES];
    mp_text_fit(some, sizeof some, "%s", text);
    for (const char *p = some; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7F)
            mp_text_add(out, " ");
        else
            mp_text_add(out, "%s%c", strchr("\\`*_{}[]<>#|~&@", c) ? "\\" : "", c);
    }
}

/* Code: what a reader copies is the text. It is fenced by one backtick more than it has in a row; a bar is
 * escaped even there, for it would end the cell. */
static void put_code(mp_text *out, const char *text) {
    size_t longest = 0, run = 0;
    for (const char *p = text; *p; p++) {
        run = *p == '`' ? run + 1 : 0;
        if (run > longest) longest = run;
    }
    for (size_t i = 0; i <= longest; i++) mp_text_add(out, "`");
    if (longest) mp_text_add(out, " ");
    for (const char *p = text; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        mp_text_add(out, c == '|' ? "\\|" : "%c", c < 0x20 || c == 0x7F ? ' ' : c);
    }
    if (longest) mp_text_add(out, " ");
    for (size_t i = 0; i <= longest; i++) mp_text_add(out, "`");
}

static void put_number(mp_text *out, double value) {
    if (isnan(value))
        mp_text_add(out, "nan");
    else
        mp_text_add(out, "%.3g", value);
}

/* ---- sections ---- */

static void put_head(mp_text *out, const mp_run_info *info, const mp_tally *tally) {
    const int64_t *count = tally->count;
    static const char *const words[] = {"passed", "FAILED", "bad usage", "BROKEN"};
    const int code = mp_exit_code(tally, info);
    mp_text_add(out, "### moeparity: %s\n\n", code == MP_EXIT_SKIPPED ? "skipped" : words[code]);
    mp_text_add(out, "| cases | passed | failed | skipped | crashed | timed out | seconds | exit code |\n"
                     "|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    mp_text_add(out, "| %lld | %lld | %lld | %lld | %lld | %lld | %.1f | %d |\n\n", (long long)tally->total,
                (long long)count[MP_PASS], (long long)count[MP_FAIL], (long long)count[MP_SKIP],
                (long long)count[MP_CRASH], (long long)count[MP_TIMEOUT], info->seconds, code);
    if (info->shards > 1)
        mp_text_add(out, "Shard %d/%d: %lld of %lld cases.\n\n", info->shard, info->shards,
                    (long long)tally->total, (long long)info->cases);
    else if (tally->total < info->cases)
        mp_text_add(out, "**%lld of %lld cases were not run.**\n\n", (long long)(info->cases - tally->total),
                    (long long)info->cases);
    if (info->interrupted) mp_text_add(out, "**Interrupted: these are the cases run so far.**\n\n");
}

static void put_run(mp_text *out, const mp_run_info *info) {
    put_code(out, info->command);
    mp_text_add(out, "<br>");
    if (info->subject[0]) {
        mp_text_add(out, "subject ");
        put_code(out, info->subject);
        mp_text_add(out, " on ");
        put_prose(out, info->device[0] ? info->device : info->host);
        mp_text_add(out, ", ");
        put_prose(out, info->versions);
        mp_text_add(out, "; reference ");
        put_prose(out, info->blas[0] ? info->blas : "plain loops");
        mp_text_add(out, "; ");
    }
    mp_text_add(out, "moeparity ");
    put_prose(out, info->version);
    mp_text_add(out, " (");
    put_prose(out, info->commit);
    mp_text_add(out, "), %s\n", info->date);
}

static bool is_failure(const mp_verdict *v) {
    return v->outcome != MP_PASS && v->outcome != MP_SKIP;
}

static void put_failures(mp_text *out, const mp_verdict *verdicts, size_t count) {
    size_t told = 0, all = 0;
    for (size_t i = 0; i < count; i++) all += is_failure(&verdicts[i]);
    if (all == 0) return;
    mp_text_add(out, "\n#### Failures\n\n| case | | what | run it again |\n|---|---|---|---|\n");
    for (size_t i = 0; i < count && told < MOST_FAILURES; i++) {
        const mp_verdict *v = &verdicts[i];
        if (!is_failure(v)) continue;
        told++;
        mp_text_add(out, "| ");
        put_code(out, v->name);
        mp_text_add(out, " | %s | ", mp_outcome_name(v->outcome));
        if (v->begins[0]) {
            put_prose(out, v->begins);
            mp_text_add(out, "<br>");
        }
        put_prose(out, v->reason);
        if (v->history[0]) {
            mp_text_add(out, "<br>");
            put_prose(out, v->history);
        }
        mp_text_add(out, " | ");
        put_code(out, v->repro);
        mp_text_add(out, " |\n");
    }
    if (told < all) mp_text_add(out, "\n%zu more are in the other reports.\n", all - told);
}

/* Every distinct reason, in order of first appearance, and how many cases have it. */
static void put_skips(mp_text *out, const mp_verdict *verdicts, size_t count) {
    const char *reason[MOST_REASONS];
    size_t cases[MOST_REASONS] = {0}, reasons = 0, rest = 0, all = 0;
    for (size_t i = 0; i < count; i++) {
        size_t r = 0;
        if (verdicts[i].outcome != MP_SKIP) continue;
        all++;
        while (r < reasons && strcmp(reason[r], verdicts[i].reason) != 0) r++;
        if (r == reasons && reasons < MOST_REASONS) reason[reasons++] = verdicts[i].reason;
        if (r < reasons)
            cases[r]++;
        else
            rest++;
    }
    if (all == 0) return;
    mp_text_add(out, "\n#### Skipped\n\n| cases | why |\n|---:|---|\n");
    for (size_t r = 0; r < reasons; r++) {
        mp_text_add(out, "| %zu | ", cases[r]);
        put_prose(out, reason[r]);
        mp_text_add(out, " |\n");
    }
    if (rest > 0) mp_text_add(out, "| %zu | other reasons |\n", rest);
}

/* The drift of a verdict, NaN as the largest of all; -1: none. */
static double drift_of(const mp_verdict *v) {
    const int stage = v->outcome == MP_PASS || v->outcome == MP_FAIL ? mp_verdict_drift_stage(v) : -1;
    const double drift = stage < 0 ? -1 : v->stage[stage].max_drift;
    return isnan(drift) ? (double)INFINITY : drift;
}

/* The rows with the largest drift, the largest first; of equals the first. */
static void put_drifts(mp_text *out, const mp_verdict *verdicts, size_t count) {
    size_t worst[MOST_DRIFTS], told = 0;
    for (size_t i = 0; i < count; i++) {
        const double drift = drift_of(&verdicts[i]);
        if (!(drift > 0)) continue;
        size_t at = told;
        while (at > 0 && drift > drift_of(&verdicts[worst[at - 1]])) at--;
        if (at == MOST_DRIFTS) continue;
        if (told < MOST_DRIFTS) told++;
        memmove(worst + at + 1, worst + at, (told - at - 1) * sizeof *worst);
        worst[at] = i;
    }
    if (told == 0) return;
    mp_text_add(out, "\n#### Largest drift\n\nHow far values were off before their last rounding, over "
                     "the bound of that.\n\n| case | stage | drift | error/bound |\n|---|---|---:|---:|\n");
    for (size_t i = 0; i < told; i++) {
        const mp_verdict *v = &verdicts[worst[i]];
        const int stage = mp_verdict_drift_stage(v);
        mp_text_add(out, "| ");
        put_code(out, v->name);
        mp_text_add(out, " | %s | ", mp_stage_name((mp_stage)stage));
        put_number(out, v->stage[stage].max_drift);
        mp_text_add(out, " | ");
        put_number(out, v->stage[stage].max_ratio);
        mp_text_add(out, " |\n");
    }
}

mp_status mp_report_markdown(const char *path, const mp_run_info *info, const mp_verdict *verdicts,
                             size_t count, mp_error *err) {
    const char *shared = getenv("GITHUB_STEP_SUMMARY");
    mp_text text = {0};
    mp_tally tally = {0};
    for (size_t i = 0; i < count; i++) mp_tally_add(&tally, &verdicts[i]);
    put_head(&text, info, &tally);
    put_run(&text, info);
    put_failures(&text, verdicts, count);
    put_skips(&text, verdicts, count);
    put_drifts(&text, verdicts, count);
    mp_text_add(&text, "\n");
    char *before = NULL;
    size_t size = 0;
    mp_status status =
        text.lost ? mp_fail(err, MP_EMEMORY, "no memory for the summary of %zu cases", count) : MP_OK;
    if (status == MP_OK && shared && *shared && mp_file_same(path, shared) && access(path, F_OK) == 0)
        status = mp_file_read(path, &before, &size, err);
    if (status == MP_OK)
        status = mp_file_replace_parts(
            path, (const mp_part[]){{before, size}, {mp_text_get(&text), text.length}}, 2, err);
    free(before);
    mp_text_free(&text);
    return status;
}
