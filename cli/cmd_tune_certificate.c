/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity tune certificate: the proof of a tuned file, written down. */
#include "cli/common.h"
#include "cli/tune.h"
#include "reports/certificate.h"
#include "reports/tune.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static mp_status check_outputs(const char *const written[3], const char *file, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < 3 && status == MP_OK; i++) {
        status = mp_cli_output(written[i], written + i + 1, 2 - i, err);
        if (status == MP_OK) status = mp_cli_output(written[i], &file, 1, err);
    }
    return status;
}

static bool is_blank(const char *text) {
    while (isspace((unsigned char)*text)) text++;
    return *text == '\0';
}

int mp_cmd_tune_certificate(const mp_args *args) {
    const char *const written[] = {mp_args_text(args, MP_OPT_JSON), mp_args_text(args, MP_OPT_TUNE_OUT),
                                   mp_args_text(args, MP_OPT_TUNE_MARKDOWN)};
    const char *report = written[0], *out = written[1], *markdown = written[2],
               *by = mp_args_text(args, MP_OPT_TUNE_BY);
    mp_tune_request request = mp_cli_tune_request(args, args->operands[0]);
    mp_run_info info;
    mp_error err = {0};
    json_t *certificate = NULL;
    int code = MP_EXIT_USAGE;
    bool told = false;
    if (!out) return mp_cli_usage("tune certificate: expected --out CERT.json");
    if (!by || is_blank(by)) return mp_cli_usage("tune certificate: expected --by NAME: who signs it off");
    if (request.plan_only) return mp_cli_usage("tune certificate: --dry-run proves nothing to write down");
    mp_tune_result *result = calloc(1, sizeof *result);
    mp_status status = mp_cli_run_info(args, &info, &err);
    if (status == MP_OK && !result) status = mp_fail(&err, MP_EMEMORY, "no memory for a result");
    if (status == MP_OK) status = check_outputs(written, args->operands[0], &err);
    if (status == MP_OK) status = mp_cli_tune_prove(args, &request, result, &info, &err);
    if (status == MP_OK) {
        mp_report_tune(stdout, result, &info, mp_args_given(args, MP_OPT_TUNE_VERBOSE));
        told = true;
        code = mp_tune_exit_code(result, &info);
        status = mp_cli_tune_report(report, result, &info, &err);
    }
    if (status == MP_OK)
        status = mp_certificate_make(&request, result, &info, by, report, &certificate, &err);
    if (status == MP_OK) status = mp_certificate_write(out, certificate, &err);
    if (status == MP_OK && markdown) status = mp_certificate_markdown(markdown, certificate, &err);
    if (status == MP_OK) mp_cli_say(stdout, "certificate %s, signed off by %s", out, by);
    if (status != MP_OK) {
        const int failure = mp_cli_fail(&err);
        code = !told ? failure : code == MP_EXIT_FAILURE ? code : MP_EXIT_BROKEN;
    }
    json_decref(certificate);
    if (result) mp_tune_result_free(result);
    free(result);
    mp_run_info_free(&info);
    return code;
}
