/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity tune verify: every launch of a tuned file, compiled, run and judged; tune diff: those that
 * change. */
#include "cli/common.h"
#include "cli/tune.h"
#include "reports/tune.h"

#include <stdlib.h>

static void tell(const mp_args *args, const mp_tune_request *request, const mp_tune_result *result,
                 const mp_run_info *info) {
    if (request->plan_only)
        mp_report_tune_plan(stdout, result);
    else
        mp_report_tune(stdout, result, info, mp_args_given(args, MP_OPT_TUNE_VERBOSE));
}

/* Proves and tells; what is written to --json must be none of `files`. */
static int prove(const mp_args *args, mp_tune_request *request, const char *const *files, size_t count) {
    const char *json = mp_args_text(args, MP_OPT_JSON);
    mp_tune_result *result = calloc(1, sizeof *result);
    mp_run_info info;
    mp_error err = {0};
    int code = MP_EXIT_USAGE;
    bool told = false;
    mp_status status = mp_cli_run_info(args, &info, &err);
    if (status == MP_OK && !result) status = mp_fail(&err, MP_EMEMORY, "no memory for a result");
    if (status == MP_OK) status = mp_cli_output(json, files, count, &err);
    if (status == MP_OK) status = mp_cli_tune_prove(args, request, result, &info, &err);
    if (status == MP_OK) {
        tell(args, request, result, &info);
        told = true;
        code = request->plan_only ? MP_EXIT_OK : mp_tune_exit_code(result, &info);
        if (request->compile_only && code == MP_EXIT_SKIPPED) code = MP_EXIT_OK;
        if (json && result->ran) status = mp_cli_tune_report(json, result, &info, &err);
    }
    if (status != MP_OK) {
        const int failure = mp_cli_fail(&err);
        code = !told ? failure : code == MP_EXIT_FAILURE ? code : MP_EXIT_BROKEN;
    }
    if (result) mp_tune_result_free(result);
    free(result);
    mp_run_info_free(&info);
    return code;
}

int mp_cmd_tune_verify(const mp_args *args) {
    const char *const file = args->operands[0];
    mp_tune_request request = mp_cli_tune_request(args, file);
    return prove(args, &request, &file, 1);
}

/* The ranges that change, then the proof of their launches. */
int mp_cmd_tune_diff(const mp_args *args) {
    const char *const files[] = {args->operands[0], args->operands[1]};
    mp_tune_target *targets = calloc(2, sizeof *targets);
    mp_tune_change *changes = NULL;
    size_t count = 0;
    mp_error err = {0};
    mp_tune_request request = mp_cli_tune_request(args, files[1]);
    request.instead_of = files[0];
    mp_status status = targets ? MP_OK : mp_fail(&err, MP_EMEMORY, "no memory for two files");
    for (int i = 0; i < 2 && status == MP_OK; i++) status = mp_tune_target_read(files[i], &targets[i], &err);
    if (status == MP_OK) status = mp_tune_changes(&targets[0], &targets[1], &changes, &count, &err);
    if (status == MP_OK) mp_report_tune_changes(stdout, &targets[0], &targets[1], changes, count);
    free(changes);
    free(targets);
    if (status != MP_OK) return mp_cli_fail(&err);
    if (count == 0) return MP_EXIT_OK;
    fputc('\n', stdout);
    return prove(args, &request, files, 2);
}
