/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bisect_row.h"

#include "base/file.h"
#include "cli/common.h"
#include "harness/verdict_json.h"
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
    *b = (mp_bisect_row){.word = word,
                         .how = {.settings = mp_cli_settings(args), .phase = show_phase, .ctx = b},
                         .line = mp_status_line_open(),
                         .json = mp_args_text(args, MP_OPT_BISECT_JSON)};
    mp_status status = mp_cli_run_info(args, &b->info, err);
    if (status == MP_OK && args->case_count == 0)
        status = mp_fail(err, MP_EINPUT, "no case: give --case 'M=32 topk=2 act=silu'");
    if (status == MP_OK) status = mp_matrix_add(&b->row, args->cases[0].text, NULL, 0, err);
    if (status == MP_OK && b->row.rows[0].c.data == MP_FROM_FILE)
        status =
            mp_fail(err, MP_EINPUT, "data=file: the numbers of such a case are in a file, and no family");
    if (status == MP_OK && b->json) status = mp_file_writable(b->json, err);
    return status;
}

void mp_bisect_row_close(mp_bisect_row *b) {
    mp_status_line_clear(&b->line);
    mp_matrix_free(&b->row);
    mp_run_info_free(&b->info);
}

static mp_status write_json(const mp_bisect_row *b, const json_t *report, mp_error *err) {
    char format[40];
    snprintf(format, sizeof format, "moeparity bisect %s", b->word);
    json_t *json =
        json_pack("{s:s, s:i, s:o}", "format", format, "version", 1, "run", mp_run_info_to_json(&b->info));
    if (json) json_object_update(json, (json_t *)report);
    char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
    const mp_status status = text ? mp_file_replace(b->json, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for the JSON report %s", b->json);
    free(text);
    json_decref(json);
    return status;
}

int mp_bisect_row_end(mp_bisect_row *b, mp_status status, const json_t *report,
                      void (*print)(const json_t *report, bool verbose), bool verbose, mp_error *err) {
    mp_status_line_clear(&b->line);
    if (status != MP_OK) return mp_cli_fail(err);
    mp_cli_say(stdout, "case     %s", mp_report_text(report, "case"));
    mp_cli_say(stdout, "subject  %s%s%s", b->info.subject, b->info.device[0] ? " on " : "", b->info.device);
    print(report, verbose);
    const int code = mp_report_flag(report, "found") ? MP_EXIT_FAILURE : MP_EXIT_OK;
    if (!b->json || write_json(b, report, err) == MP_OK) return code;
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
