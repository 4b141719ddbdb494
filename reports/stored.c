/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/stored.h"

#include "base/file.h"
#include "harness/verdict_json.h"
#include "reports/report.h"

#include <stdlib.h>
#include <string.h>

/* What the first version had: it must be there. All else came later, and may be lacking. */
static const char *const first_in_run[] = {"version", "commit",   "command",     "subject",
                                           "device",  "versions", "date",        "blas",
                                           "host",    "seconds",  "interrupted", NULL};
static const char *const first_in_verdict[] = {
    "name",       "group", "subject", "contract", "config",     "blas",   "reason", "seconds",
    "peak_bytes", "repro", "outcome", "stages",   "end_to_end", "checks", "pairs",  NULL};
static const char *const first_stages[] = {"align", "gate_up", "act", "down", "combine", NULL};
static const char *const first_in_stage[] = {"judged",      "compared",    "failed",         "bit_equal",
                                             "max_abs",     "max_ratio",   "max_error_ulps", "max_row_rms",
                                             "worst_index", "worst_value", "worst_expected", "worst_bound",
                                             "time_ns",     "predicted",   "mispredicted",   "max_ulps",
                                             NULL};
static const char *const first_in_pair[] = {"text",      "required", "bits_equal", "compared",
                                            "differing", "max_abs",  "first",      NULL};

static bool is_among(const char *const *keys, const char *key) {
    while (*keys != NULL && strcmp(*keys, key) != 0) keys++;
    return *keys != NULL;
}

/* Puts into `object` what it lacks of the usual keys, but for those that must be there. */
static void complete(json_t *object, json_t *usual, const char *const *first) {
    const char *key;
    json_t *value;
    json_object_foreach(usual, key, value) {
        if (json_is_object(object) && json_object_get(object, key) == NULL && !is_among(first, key))
            json_object_set(object, key, value);
    }
}

/* Completes a verdict of an older report; usual: that about nothing. */
static void complete_verdict(json_t *verdict, json_t *usual) {
    const char *name;
    json_t *value;
    size_t i;
    complete(verdict, usual, first_in_verdict);
    json_t *stage = json_object_get(usual, "end_to_end");
    complete(json_object_get(verdict, "end_to_end"), stage, first_in_stage);
    json_object_foreach(json_object_get(verdict, "stages"), name, value) {
        complete(value, stage, first_in_stage);
    }
    complete(json_object_get(verdict, "stages"), json_object_get(usual, "stages"), first_stages);
    json_t *checks = json_object_get(verdict, "checks");
    json_object_foreach(json_object_get(usual, "checks"), name, value) {
        if (json_is_object(checks) && json_object_get(checks, name) == NULL)
            json_object_set_new(checks, name,
                                json_pack("{s:i, s:s, s:s}", "failures", 0, "text", MP_NO_SUCH_CHECK,
                                          "answer", "not judged"));
    }
    json_t *no_note = json_pack("{s:s}", "note", "");
    json_array_foreach(json_object_get(verdict, "pairs"), i, value) {
        complete(value, no_note, first_in_pair);
    }
    json_decref(no_note);
}

/* The verdict about nothing, which tells what a report of this version has. */
static json_t *usual_verdict(void) {
    mp_verdict nothing;
    mp_verdict_init(&nothing);
    return mp_verdict_to_json(&nothing);
}

/* The version, 1 or later; 1 said it under another name. */
static mp_status read_version(const json_t *json, int *version, mp_error *err) {
    const char *format = json_string_value(json_object_get(json, "format"));
    const json_t *told = json_object_get(json, "schema_version");
    if (told == NULL) told = json_object_get(json, "version");
    if (format == NULL || strcmp(format, "moeparity report") != 0)
        return mp_fail(err, MP_EINPUT, "no report: expected \"format\": \"moeparity report\"");
    if (!json_is_integer(told) || json_integer_value(told) < 1)
        return mp_fail(err, MP_EINPUT, "schema_version: expected an integer from 1 on");
    if (json_integer_value(told) > MP_REPORT_SCHEMA_VERSION)
        return mp_fail(err, MP_EINPUT, "schema_version %lld is later than what this program reads: %d",
                       (long long)json_integer_value(told), MP_REPORT_SCHEMA_VERSION);
    *version = (int)json_integer_value(told);
    return MP_OK;
}

/* A case passes where no check fails: a report that says otherwise was not written so. */
static mp_status check_outcome(const mp_verdict *v, mp_error *err) {
    for (int i = 0; v->outcome == MP_PASS && i < MP_CHECK_COUNT; i++)
        if (v->check[i].answer == MP_FAILED)
            return mp_fail(err, MP_EINPUT, "outcome: PASS, and the check %s failed",
                           mp_check_name((mp_check)i));
    return MP_OK;
}

/* The verdicts, one by one: a list of a million things that are none ends at the first. */
static mp_status read_verdicts(json_t *list, mp_stored_report *report, mp_error *err) {
    if (!json_is_array(list)) return mp_fail(err, MP_EINPUT, "verdicts: expected a list");
    json_t *usual = usual_verdict();
    const size_t all = json_array_size(list);
    size_t room = 0;
    mp_status status = MP_OK;
    for (size_t i = 0; i < all && status == MP_OK; i++) {
        if (i == room) {
            room = room == 0 ? 64 : 2 * room;
            mp_verdict *more = realloc(report->verdicts, room * sizeof *more);
            if (more == NULL) {
                status = mp_fail(err, MP_EMEMORY, "no memory for %zu verdicts", room);
                break;
            }
            report->verdicts = more;
        }
        json_t *verdict = json_array_get(list, i);
        complete_verdict(verdict, usual);
        status = mp_verdict_from_json(verdict, &report->verdicts[i], err);
        json_array_set_new(list, i, json_null()); /* both forms of many verdicts would be large */
        report->count = i + 1;
        if (status == MP_OK && report->verdicts[i].name[0] == '\0')
            status = mp_fail(err, MP_EINPUT, "name: expected that of a case");
        if (status == MP_OK) status = check_outcome(&report->verdicts[i], err);
        if (status != MP_OK) mp_error_prefix(err, "verdicts[%zu]", i);
    }
    json_decref(usual);
    return status;
}

/* The totals must be those of the verdicts. */
static mp_status read_totals(const json_t *totals, mp_stored_report *report, mp_error *err) {
    static const char *const keys[MP_OUTCOME_COUNT] = {"passed", "failed", "skipped", "crashed", "timed_out"};
    static const int codes[] = {MP_EXIT_OK, MP_EXIT_FAILURE, MP_EXIT_USAGE, MP_EXIT_BROKEN, MP_EXIT_SKIPPED};
    const json_t *code = json_object_get(totals, "exit_code"), *cases = json_object_get(totals, "cases");
    mp_tally tally = {0};
    for (size_t i = 0; i < report->count; i++) mp_tally_add(&tally, &report->verdicts[i]);
    if (!json_is_integer(cases) || json_integer_value(cases) != tally.total)
        return mp_fail(err, MP_EINPUT, "totals.cases: expected %lld, as there are verdicts",
                       (long long)tally.total);
    for (int i = 0; i < MP_OUTCOME_COUNT; i++) {
        const json_t *count = json_object_get(totals, keys[i]);
        if (!json_is_integer(count) || json_integer_value(count) != tally.count[i])
            return mp_fail(err, MP_EINPUT, "totals.%s: expected %lld, as many as among the verdicts", keys[i],
                           (long long)tally.count[i]);
    }
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (json_is_integer(code) && json_integer_value(code) == codes[i]) {
            report->exit_code = codes[i];
            return MP_OK;
        }
    return mp_fail(err, MP_EINPUT, "totals.exit_code: expected 0, 1, 2, 3 or 77");
}

static mp_status read_run(const json_t *json, mp_stored_report *report, mp_error *err) {
    mp_run_info nothing;
    mp_run_info_init(&nothing);
    json_t *run = json_object_get(json, "run"), *usual = mp_run_info_to_json(&nothing);
    complete(run, usual, first_in_run);
    const mp_status status = mp_run_info_from_json(run, &report->info, err);
    json_decref(usual);
    return status;
}

mp_status mp_stored_report_parse(const char *text, size_t size, mp_stored_report *report, json_t **kept,
                                 mp_error *err) {
    json_error_t why;
    *report = (mp_stored_report){0};
    mp_run_info_init(&report->info);
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    mp_status status =
        json == NULL
            ? mp_fail(err, MP_EINPUT, "line %d, column %d: no JSON: %s", why.line, why.column, why.text)
        : !json_is_object(json) ? mp_fail(err, MP_EINPUT, "no report: expected an object of JSON")
                                : read_version(json, &report->schema_version, err);
    if (status == MP_OK) status = read_run(json, report, err);
    if (status == MP_OK) status = read_verdicts(json_object_get(json, "verdicts"), report, err);
    if (status == MP_OK) status = read_totals(json_object_get(json, "totals"), report, err);
    json_decref(json);
    if (kept != NULL) *kept = status == MP_OK ? json_loadb(text, size, 0, NULL) : NULL; /* as it is there */
    return status != MP_OK || kept == NULL || *kept != NULL
               ? status
               : mp_fail(err, MP_EMEMORY, "no memory for a report of %zu bytes", size);
}

mp_status mp_stored_report_load(const char *path, mp_stored_report *report, json_t **kept, mp_error *err) {
    char *text = NULL;
    size_t size = 0;
    *report = (mp_stored_report){0};
    if (kept != NULL) *kept = NULL;
    mp_run_info_init(&report->info);
    mp_status status = mp_file_read(path, &text, &size, err);
    if (status != MP_OK) return status;
    status = mp_stored_report_parse(text, size, report, kept, err);
    if (status != MP_OK) mp_error_prefix(err, "%s", path);
    free(text);
    return status;
}

void mp_stored_report_free(mp_stored_report *report) {
    for (size_t i = 0; i < report->count; i++) mp_verdict_free(&report->verdicts[i]);
    free(report->verdicts);
    mp_run_info_free(&report->info);
    *report = (mp_stored_report){0};
    mp_run_info_init(&report->info);
}
