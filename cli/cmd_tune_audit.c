/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity tune audit: what is wrong with files of tuned configurations. */
#include "cli/common.h"

#include "base/clock.h"
#include "harness/tune/audit/baseline.h"
#include "moeparity/version.h"
#include "reports/audit.h"

#include <stdlib.h>

/* What is written, in the order of writing. */
typedef struct outputs {
    const char *json, *sarif, *junit, *baseline;
} outputs;

/* No output is another one, or a file that is read. */
static mp_status check_outputs(const mp_args *args, const outputs *o, const char *known, mp_error *err) {
    const char *const paths[] = {o->json, o->sarif, o->junit, o->baseline};
    mp_status status = MP_OK;
    for (size_t i = 0; status == MP_OK && i < 4; i++) {
        status = mp_cli_output(paths[i], paths, i, err);
        if (status == MP_OK && i < 3) status = mp_cli_output(paths[i], &known, 1, err);
        if (status == MP_OK)
            status = mp_cli_output(paths[i], (const char *const *)args->operands, (size_t)args->operand_count,
                                   err);
    }
    return status;
}

static mp_status write_all(const outputs *o, const mp_audit *audit, bool baseline, mp_error *err) {
    mp_status status = o->json ? mp_report_audit_json(o->json, audit, mp_version(), err) : MP_OK;
    if (status == MP_OK && o->sarif)
        status = mp_report_audit_sarif(o->sarif, audit, mp_version(), baseline, err);
    if (status == MP_OK && o->junit) status = mp_report_audit_junit(o->junit, audit, err);
    if (status == MP_OK && o->baseline) status = mp_baseline_write(o->baseline, audit, err);
    return status;
}

int mp_cmd_tune_audit(const mp_args *args) {
    const outputs o = {mp_args_text(args, MP_OPT_JSON), mp_args_text(args, MP_OPT_SARIF),
                       mp_args_text(args, MP_OPT_JUNIT), mp_args_text(args, MP_OPT_WRITE_BASELINE)};
    const char *known = mp_args_text(args, MP_OPT_BASELINE);
    const mp_audit_options options = {.triton = mp_args_text(args, MP_OPT_TUNE_TRITON)};
    const double start = mp_seconds_now();
    mp_audit audit = {0};
    mp_error err = {0};
    size_t gone = 0;
    if (mp_args_given(args, MP_OPT_RULES)) {
        if (args->operand_count > 0) return mp_cli_usage("--rules lists the rules, and audits no files");
        mp_report_audit_rules(stdout);
        return MP_EXIT_OK;
    }
    if (args->operand_count == 0)
        return mp_cli_usage("tune audit: no files: name tuned files or folders of them");
    mp_status status = check_outputs(args, &o, known, &err);
    if (status == MP_OK)
        status = mp_audit_paths(args->operands, (size_t)args->operand_count, &options, &audit, &err);
    if (status == MP_OK && known) status = mp_baseline_apply(known, &audit, &gone, &err);
    if (status == MP_OK) {
        const bool quiet = mp_args_given(args, MP_OPT_QUIET),
                   verbose = mp_args_given(args, MP_OPT_AUDIT_VERBOSE);
        mp_report_audit_text(stdout, &audit,
                             verbose ? MP_SEVERITY_NOTE
                             : quiet ? MP_SEVERITY_ERROR
                                     : MP_SEVERITY_WARNING);
        mp_report_audit_summary(stdout, &audit, gone, mp_seconds_now() - start);
        status = write_all(&o, &audit, known, &err);
    }
    const bool fails = audit.fresh[MP_SEVERITY_ERROR] > 0;
    mp_audit_free(&audit);
    if (status != MP_OK) return mp_cli_fail(&err);
    return fails ? MP_EXIT_FAILURE : MP_EXIT_OK;
}
