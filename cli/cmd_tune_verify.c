/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity tune verify: every launch of a tuned file, compiled, run and judged. */
#include "cli/common.h"
#include "cli/tune.h"
#include "reports/tune.h"

#include <stdlib.h>

int mp_cmd_tune_verify(const mp_args *args) {
    const char *json = mp_args_text(args, MP_OPT_TUNE_JSON), *const file = args->operands[0];
    mp_tune_request request = mp_cli_tune_request(args);
    mp_tune_result *result = calloc(1, sizeof *result);
    mp_run_info info;
    mp_error err = {0};
    int code = MP_EXIT_USAGE;
    mp_status status = mp_cli_run_info(args, &info, &err);
    if (status == MP_OK && !result) status = mp_fail(&err, MP_EMEMORY, "no memory for a result");
    if (status == MP_OK) status = mp_cli_output(json, &file, 1, &err);
    if (status == MP_OK) status = mp_cli_tune_prove(args, &request, result, &info, &err);
    if (status == MP_OK && request.plan_only) {
        mp_report_tune_plan(stdout, result);
        code = MP_EXIT_OK;
    } else if (status == MP_OK) {
        mp_report_tune(stdout, result, &info, mp_args_given(args, MP_OPT_TUNE_VERBOSE));
        code = mp_tune_exit_code(result, &info);
        if (request.compile_only && code == MP_EXIT_SKIPPED && mp_tune_count(result).refuted == 0)
            code = MP_EXIT_OK;
        status = mp_cli_tune_report(json, result, &info, &err);
        if (status != MP_OK && code == MP_EXIT_OK) code = MP_EXIT_BROKEN;
    }
    if (status != MP_OK) {
        const int failure = mp_cli_fail(&err);
        if (code == MP_EXIT_USAGE) code = failure;
    }
    if (result) mp_tune_result_free(result);
    free(result);
    mp_run_info_free(&info);
    return code;
}
