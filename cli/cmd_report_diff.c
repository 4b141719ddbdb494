/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity report diff: what changed between two JSON reports. */
#include "base/file.h"
#include "cli/common.h"
#include "reports/diff.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* --threshold, a number from 0. */
static mp_status threshold_of(const mp_args *args, double *threshold, mp_error *err) {
    const char *text = mp_args_text(args, MP_OPT_DIFF_THRESHOLD);
    char *end;
    *threshold = strtod(text, &end);
    if (isdigit((unsigned char)text[0]) && *end == '\0' && *threshold >= 0 && *threshold <= 1e300)
        return MP_OK;
    return mp_fail(err, MP_EINPUT, "--threshold '%s': expected a number from 0, as 0.01", text);
}

static mp_status write_json(const char *path, const mp_report_diff *diff, const char *const names[2],
                            mp_error *err) {
    json_t *json = mp_report_diff_to_json(diff, names);
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
    const mp_status status = text != NULL ? mp_file_replace(path, text, strlen(text), err)
                                          : mp_fail(err, MP_EMEMORY, "no memory for %s", path);
    free(text);
    json_decref(json);
    return status;
}

int mp_cmd_report_diff(const mp_args *args) {
    const char *const *names = (const char *const *)args->operands;
    const char *json = mp_args_text(args, MP_OPT_JSON);
    mp_stored_report report[2] = {0};
    mp_report_diff diff = {0};
    mp_error err = {0};
    double threshold;
    mp_status status = threshold_of(args, &threshold, &err);
    if (status == MP_OK) status = mp_cli_output(json, names, 2, &err);
    for (int i = 0; i < 2 && status == MP_OK; i++)
        status = mp_stored_report_load(names[i], &report[i], NULL, &err);
    if (status == MP_OK) status = mp_report_compare(&report[0], &report[1], threshold, &diff, &err);
    if (status == MP_OK && json) status = write_json(json, &diff, names, &err);
    int code = MP_EXIT_OK;
    if (status == MP_OK) {
        mp_report_diff_print(stdout, &diff, names, mp_args_given(args, MP_OPT_DIFF_QUIET));
        const bool strict = mp_args_given(args, MP_OPT_DIFF_STRICT);
        if (mp_report_diff_is_worse(&diff) || (strict && diff.count[MP_CHANGE_NONE] < diff.case_count))
            code = MP_EXIT_FAILURE;
    } else {
        code = mp_cli_fail(&err);
    }
    mp_report_diff_free(&diff);
    for (int i = 0; i < 2; i++) mp_stored_report_free(&report[i]);
    return code;
}
