/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity bisect set: which rows must run before the one that fails. */
#include "cli/bisect.h"
#include "cli/common.h"

#include "harness/bisect/rows.h"
#include "harness/verdict_json.h"
#include "harness/verdict_make.h"

#include <inttypes.h>
#include <stdio.h>

static void on_found(void *ctx, int64_t tries, double seconds, size_t before) {
    (void)ctx;
    printf("%7" PRId64 " tries %6.1f s  fails behind %zu row%s\n", tries, seconds, before,
           before == 1 ? "" : "s");
    fflush(stdout);
}

static void print_found(const mp_matrix *rows, const mp_rows_found *f) {
    char name[MP_CASE_TEXT_MAX], signature[MP_SIGNATURE_TEXT_MAX];
    mp_signature_text(&f->signature, signature);
    mp_cli_say(stdout, "row %zu, %s, fails (%s) %s", f->target, f->v.name, signature,
               f->alone ? "alone: it needs no row before it"
                        : "behind these rows, and not behind fewer of them:");
    for (size_t i = 0; i < f->count; i++) {
        mp_case_text(&rows->rows[f->before[i]].c, name, sizeof name);
        mp_cli_say(stdout, "    row %zu, %s", f->before[i], name);
    }
    if (!f->complete)
        mp_cli_say(stdout, "    %s: fewer may be enough",
                   f->interrupted ? "interrupted" : "--tries or --seconds are spent");
    mp_cli_say(stdout, "%" PRId64 " %s ran %" PRId64 " %s in %.1f s", f->tries,
               f->tries == 1 ? "process" : "processes", f->rows_run, f->rows_run == 1 ? "row" : "rows",
               f->seconds);
    if (f->v.begins[0]) mp_cli_say(stdout, "        %s", f->v.begins);
    mp_cli_say(stdout, "        %s", f->v.reason);
    if (!f->line[0]) mp_cli_say(stdout, "        no line has room for %zu rows", f->count);
}

static json_t *to_json(const mp_matrix *rows, const mp_rows_found *f, bool again) {
    char name[MP_CASE_TEXT_MAX], signature[MP_SIGNATURE_TEXT_MAX] = "";
    json_t *before = json_array();
    if (f->fails) mp_signature_text(&f->signature, signature);
    for (size_t i = 0; f->fails && i < f->count; i++) {
        mp_case_text(&rows->rows[f->before[i]].c, name, sizeof name);
        json_array_append_new(before, json_pack("{s:I, s:s}", "row", (json_int_t)f->before[i], "name", name));
    }
    return json_pack("{s:b, s:b, s:b, s:s, s:I, s:o, s:o, s:s, s:I, s:I, s:f, s:b}", "fails", f->fails,
                     "alone", f->alone, "complete", f->complete, "signature", signature, "row",
                     (json_int_t)f->target, "before", before, "verdict", mp_verdict_to_json(&f->v), "line",
                     f->line, "tries", (json_int_t)f->tries, "rows_run", (json_int_t)f->rows_run, "seconds",
                     f->seconds, "repeated", again);
}

int mp_cmd_bisect_set(const mp_args *args) {
    mp_error err = {0};
    mp_cli_bisected what;
    mp_rows_found found = {0};
    int code = MP_EXIT_OK;
    bool again = false;
    mp_status status = mp_cli_bisect_rows(args, &what, &err);
    if (status == MP_OK) status = mp_cli_output(mp_args_text(args, MP_OPT_JSON), NULL, 0, &err);
    const bool told =
        mp_args_given(args, MP_OPT_REPORT); /* the last row of its line is the one that failed */
    const mp_suite_options how = {.settings = what.settings};
    const mp_rows_options options = {.target = mp_args_given(args, MP_OPT_ROW)
                                                   ? (size_t)mp_args_number(args, MP_OPT_ROW)
                                               : told ? what.rows.count - 1
                                                      : MP_NO_CASE,
                                     .tries = mp_args_number(args, MP_OPT_TRIES),
                                     .seconds = (double)mp_args_number(args, MP_OPT_SECONDS),
                                     .found = on_found};
    if (status == MP_OK) status = mp_bisect_rows(&what.rows, &how, &options, &found, &err);
    if (status == MP_OK && found.fails) {
        print_found(&what.rows, &found);
        code = MP_EXIT_FAILURE;
        if (found.line[0])
            status = mp_cli_bisect_repeat(found.line, found.signature.outcome, found.count + 1,
                                          what.settings.timeout, &again, &err);
    } else if (status == MP_OK) {
        const bool skip = found.v.outcome == MP_SKIP;
        mp_cli_say(stdout, "%zu row%s in one process: %s%s", found.target + 1, found.target == 0 ? "" : "s",
                   skip ? "the last is skipped: " : "none fails", skip ? found.v.reason : "");
        if (skip) code = mp_exit_code_of(MP_EUNSUPPORTED);
    }
    if (status == MP_OK)
        status = mp_cli_bisect_json(args, "set", &found.info, to_json(&what.rows, &found, again), &err);
    mp_rows_found_free(&found);
    mp_cli_bisected_free(&what);
    if (status == MP_OK) return code;
    const int failure = mp_cli_fail(&err);
    return code == MP_EXIT_FAILURE ? MP_EXIT_FAILURE : failure;
}
