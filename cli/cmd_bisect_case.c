/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity bisect case: a case that fails, made small. */
#include "cli/bisect.h"
#include "cli/common.h"

#include "harness/bisect/repro_files.h"
#include "harness/bisect/shrink.h"
#include "harness/verdict_json.h"
#include "harness/verdict_make.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The case, and how much goes with it. */
static void print_small(const mp_small *small, int64_t tries, double seconds) {
    char name[MP_CASE_TEXT_MAX], more[240] = "";
    size_t used = 0;
    mp_case_text(&small->c, name, sizeof name);
    if (small->befores > 0)
        used += (size_t)snprintf(more, sizeof more, "  behind %zu row%s", small->befores,
                                 small->befores == 1 ? "" : "s");
    for (size_t i = 0; i < small->afters && used < 80; i++)
        used += (size_t)snprintf(more + used, sizeof more - used, "  after %.30s", small->after[i]);
    for (size_t i = 0; i < small->pairs && used < 80; i++)
        used += (size_t)snprintf(more + used, sizeof more - used, "  = %.30s", small->pair[i]);
    if (small->edit)
        mp_text_fit(more + used, sizeof more - used, "  edit %.100s%s", small->edit,
                    strlen(small->edit) > 100 ? "..." : "");
    mp_cli_say(stdout, "%7" PRId64 " tries %6.1f s  %s%s", tries, seconds, name, more);
    fflush(stdout);
}

static void on_found(void *ctx, int64_t tries, double seconds, const mp_small *small, const char *line) {
    (void)ctx, (void)line;
    print_small(small, tries, seconds);
}

/* What the verdict of the smallest says of its failure. */
static void print_failure(const mp_verdict *v) {
    if (v->begins[0]) mp_cli_say(stdout, "        %s", v->begins);
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (v->check[i].answer == MP_FAILED)
            mp_cli_say(stdout, "        %s: %s", mp_check_name((mp_check)i), v->check[i].text);
    if (v->outcome != MP_FAIL) mp_cli_say(stdout, "        %s: %s", mp_outcome_name(v->outcome), v->reason);
}

static json_t *to_json(const mp_shrunk *r, const char *signature, bool again) {
    return json_pack("{s:b, s:s, s:o, s:o, s:s, s:s, s:i, s:I, s:f, s:b, s:b}", "fails", r->fails,
                     "signature", signature, "given", mp_verdict_to_json(&r->given), "smallest",
                     mp_verdict_to_json(mp_shrunk_verdict(r)), "line", r->line, "edit",
                     r->edit ? r->edit : "", "rows_before", (int)r->small.befores, "tries",
                     (json_int_t)r->tries, "seconds", r->seconds, "complete", r->complete, "repeated", again);
}

static mp_status write_files(const mp_shrunk *r, const mp_settings *settings, const mp_repro_files *files,
                             mp_error *err) {
    mp_suite_options how = {.settings = *settings};
    how.settings.edit = r->edit;
    if (strcmp(how.settings.subject, "auto") == 0) how.settings.subject = r->info.subject;
    const mp_status status = mp_repro_files_write(files, &r->rows, &how, mp_shrunk_verdict(r), r->line, err);
    if (status == MP_OK) mp_cli_say(stdout, "wrote %s and %s", files->data, files->program);
    return status;
}

/* After the search. *code: 0 where there was nothing to shrink, 1 where there was. */
static mp_status report(const mp_args *args, const mp_shrunk *r, const mp_settings *settings,
                        const mp_repro_files *files, int *code, mp_error *err) {
    char signature[MP_SIGNATURE_TEXT_MAX] = "";
    bool again = false;
    mp_status status = MP_OK;
    if (r->fails) {
        mp_signature_text(&r->signature, signature);
        mp_cli_say(stdout, "smallest %s, after %" PRId64 " tries in %.1f s: %s", mp_shrunk_verdict(r)->name,
                   r->tries, r->seconds,
                   r->complete      ? "no step makes it smaller"
                   : r->interrupted ? "interrupted"
                                    : "--tries or --seconds are spent");
        print_failure(mp_shrunk_verdict(r));
        status = mp_cli_bisect_repeat(r->line, r->signature.outcome, r->rows.count, settings->timeout, &again,
                                      err);
        if (status == MP_OK && files) status = write_files(r, settings, files, err);
        *code = MP_EXIT_FAILURE;
    } else {
        const bool skip = r->given.outcome == MP_SKIP;
        mp_cli_say(stdout, "%s: nothing to shrink: %s%s%s", r->given.name, skip ? "skipped: " : "it passes",
                   skip ? r->given.reason : "", "");
        *code = skip ? mp_exit_code_of(MP_EUNSUPPORTED) : MP_EXIT_OK;
    }
    const mp_status written = mp_cli_bisect_json(args, "case", &r->info, to_json(r, signature, again),
                                                 status == MP_OK ? err : NULL);
    return status == MP_OK ? written : status;
}

int mp_cmd_bisect_case(const mp_args *args) {
    mp_error err = {0};
    mp_cli_bisected what;
    mp_shrunk result = {0};
    int code = MP_EXIT_USAGE;
    const mp_shrink_options options = {.tries = mp_args_number(args, MP_OPT_TRIES),
                                       .seconds = (double)mp_args_number(args, MP_OPT_SECONDS),
                                       .values = !mp_args_given(args, MP_OPT_NO_VALUES),
                                       .found = on_found};
    mp_repro_files files = {0};
    const char *out = mp_args_text(args, MP_OPT_REPRO_OUT);
    mp_status status = mp_cli_bisect_rows(args, &what, &err);
    if (status == MP_OK && out) status = mp_repro_files_plan(out, &files, &err);
    if (status == MP_OK) status = mp_cli_output(mp_args_text(args, MP_OPT_JSON), NULL, 0, &err);
    const mp_suite_options how = {.settings = what.settings};
    if (status == MP_OK) status = mp_shrink_case(&what.rows, &how, &options, &result, &err);
    if (status == MP_OK) status = report(args, &result, &what.settings, out ? &files : NULL, &code, &err);
    mp_repro_files_drop(&files);
    mp_shrunk_free(&result);
    mp_cli_bisected_free(&what);
    if (status == MP_OK) return code;
    const int failure = mp_cli_fail(&err);
    return code == MP_EXIT_FAILURE ? MP_EXIT_FAILURE
                                   : failure; /* no file that could not be written hides one */
}
