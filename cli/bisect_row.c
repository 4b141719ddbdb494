/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bisect_row.h"

#include "cli/common.h"
#include "harness/verdict_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void show_phase(void *ctx, size_t index, const char *what, double seconds) {
    mp_bisect_row *b = ctx;
    (void)index;
    mp_status_line_show(&b->line, "bisect %s: %.40s %.0f s", b->word, what, seconds);
}

mp_status mp_bisect_row_open(const mp_args *args, const char *word, mp_bisect_row *b, mp_error *err) {
    *b = (mp_bisect_row){.args = args, .word = word, .line = mp_status_line_open()};
    b->how = (mp_suite_options){.phase = show_phase, .ctx = b};
    mp_status status = mp_cli_run_info(args, &b->info, err);
    if (status == MP_OK && args->case_count == 0 && !mp_args_given(args, MP_OPT_REPORT))
        status = mp_fail(err, MP_EINPUT,
                         "no case: give --case 'M=32 topk=2 act=silu', or --report and a JSON report");
    if (status == MP_OK) status = mp_cli_bisect_rows(args, &b->what, err);
    if (status == MP_OK && b->what.rows.count > 1)
        status = mp_fail(err, MP_EINPUT,
                         "this failure takes %zu cases in one process: expected one alone (moeparity bisect "
                         "set finds those that are needed)",
                         b->what.rows.count);
    b->how.settings = b->what.settings;
    if (status == MP_OK)
        status = mp_cli_output(mp_args_text(args, MP_OPT_JSON),
                               (const char *const[]){mp_args_text(args, MP_OPT_REPORT)}, 1, err);
    return status;
}

void mp_bisect_row_close(mp_bisect_row *b) {
    mp_status_line_clear(&b->line);
    mp_cli_bisected_free(&b->what);
    mp_run_info_free(&b->info);
}

int mp_bisect_row_end(mp_bisect_row *b, mp_status status, json_t *report,
                      void (*print)(const json_t *report, bool verbose), mp_error *err) {
    mp_status_line_clear(&b->line);
    if (status != MP_OK) return mp_cli_fail(err);
    mp_cli_say(stdout, "case     %s", mp_report_text(report, "case"));
    mp_cli_say(stdout, "subject  %s%s%s", b->info.subject, b->info.device[0] ? " on " : "", b->info.device);
    print(report, mp_args_given(b->args, MP_OPT_BISECT_VERBOSE));
    const int code = mp_report_flag(report, "found") ? MP_EXIT_FAILURE : MP_EXIT_OK;
    if (mp_cli_bisect_json(b->args, b->word, &b->info, json_incref(report), err) == MP_OK) return code;
    mp_cli_fail(err);
    return code == MP_EXIT_OK ? MP_EXIT_BROKEN : code; /* what was found, whatever becomes of the file */
}

const char *mp_report_text(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

int64_t mp_report_number(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

bool mp_report_flag(const json_t *object, const char *name) {
    return json_is_true(json_object_get(object, name));
}
