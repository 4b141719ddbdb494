/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/judge.h"

#include "cli/common.h"
#include "cli/dry_run.h"
#include "cli/progress.h"
#include "harness/verdict_make.h"
#include "reports/report.h"

#include <stdio.h>
#include <stdlib.h>

/* Verdicts of rows that were not reached have no name: they are left out of the reports. */
static size_t keep_reached(mp_verdict *verdicts, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (verdicts[i].name[0]) {
            if (kept != i) {
                verdicts[kept] = verdicts[i];
                mp_verdict_init(&verdicts[i]);
            }
            kept++;
        }
    return kept;
}

/* Under SOURCE_DATE_EPOCH reports of equal results are equal byte for byte, so they tell no durations. */
static void forget_durations(mp_run_info *info, mp_verdict *verdicts, size_t count) {
    info->seconds = 0;
    for (size_t i = 0; i < count; i++) {
        verdicts[i].seconds = verdicts[i].end_to_end.time_ns = 0;
        for (int s = 0; s < MP_STAGE_COUNT; s++) verdicts[i].stage[s].time_ns = 0;
    }
}

/* Summary on the terminal, then the files. *code is the verdict, whatever becomes of the files. */
static mp_status report(const mp_args *args, mp_run_info *info, mp_verdict *verdicts, size_t all, int *code,
                        mp_error *err) {
    const char *json = mp_args_text(args, MP_OPT_JSON), *junit = mp_args_text(args, MP_OPT_JUNIT);
    bool fixed;
    mp_tally tally = {0};
    const size_t count = keep_reached(verdicts, all);
    for (size_t i = 0; i < count; i++) mp_tally_add(&tally, &verdicts[i]);
    mp_run_info_set(info, &info->versions, "%s%s%s", info->versions, info->versions[0] ? ", " : "",
                    mp_cli_compiler());
    mp_report_summary(stdout, info, &tally, verdicts, count);
    if (count < all && !info->interrupted) /* --fail-fast */
        printf("stopped after it: %zu of %zu cases were not run\n", all - count, all);
    *code = mp_exit_code(&tally, info->interrupted);
    if (*code == MP_EXIT_BROKEN && tally.count[MP_SKIP] == tally.total && !info->interrupted)
        fprintf(stderr, "moeparity: MOEPARITY_REQUIRE_GPU is set and every case was skipped\n");
    mp_status status = mp_cli_source_date(&fixed, NULL, err);
    if (status == MP_OK && fixed) forget_durations(info, verdicts, count);
    if (status == MP_OK && json) status = mp_report_json(json, info, verdicts, count, err);
    if (status == MP_OK && junit) status = mp_report_junit(junit, info, verdicts, count, err);
    return status;
}

static mp_status check_outputs(const mp_args *args, const char *golden, const char *const *sources,
                               size_t count, mp_error *err) {
    const char *json = mp_args_text(args, MP_OPT_JSON), *junit = mp_args_text(args, MP_OPT_JUNIT);
    const char *const inputs[] = {golden, mp_args_text(args, MP_OPT_CONFIG)};
    mp_status status = mp_cli_output(json, &junit, 1, err);
    if (status == MP_OK) status = mp_cli_output(json, inputs, 2, err);
    if (status == MP_OK) status = mp_cli_output(json, sources, count, err);
    if (status == MP_OK) status = mp_cli_output(junit, inputs, 2, err);
    return status == MP_OK ? mp_cli_output(junit, sources, count, err) : status;
}

int mp_cli_judge(const mp_args *args, const mp_matrix *matrix, const char *golden, bool required,
                 const char *const *sources, size_t source_count) {
    mp_suite_options suite = {.subject = mp_args_text(args, MP_OPT_SUBJECT),
                              .against = mp_args_text(args, MP_OPT_AGAINST),
                              .golden_path = golden,
                              .golden_required = required,
                              .golden_partial = mp_args_given(args, MP_OPT_GOLDEN_PARTIAL),
                              .strict = mp_args_given(args, MP_OPT_STRICT),
                              .device = mp_args_text(args, MP_OPT_DEVICE),
                              .triton = mp_args_text(args, MP_OPT_TRITON),
                              .config_file = mp_args_text(args, MP_OPT_CONFIG),
                              .repeat = (int)mp_args_number(args, MP_OPT_REPEAT),
                              .jobs = (int)mp_args_number(args, MP_OPT_JOBS),
                              .plain = mp_args_given(args, MP_OPT_PLAIN),
                              .in_process = mp_args_given(args, MP_OPT_IN_PROCESS),
                              .fail_fast = mp_args_given(args, MP_OPT_FAIL_FAST),
                              .timeout_seconds = (double)mp_args_number(args, MP_OPT_TIMEOUT),
                              .progress = mp_progress_case,
                              .phase = mp_progress_phase};
    mp_error err = {0};
    if (suite.in_process && suite.jobs > 1)
        return mp_cli_usage("--in-process and --jobs %d exclude each other", suite.jobs);
    if (suite.golden_partial && !golden) return mp_cli_usage("--golden-partial goes with --golden");
    if (mp_args_given(args, MP_OPT_QUIET) && mp_args_given(args, MP_OPT_VERBOSE))
        return mp_cli_usage("--quiet and --verbose exclude each other");

    mp_run_info info;
    mp_verdict *verdicts = NULL;
    int code = MP_EXIT_BROKEN;
    bool ran = false;
    mp_status status = mp_cli_run_info(args, &info, &err);
    if (status == MP_OK) status = check_outputs(args, golden, sources, source_count, &err);
    if (status == MP_OK && mp_args_given(args, MP_OPT_DRY_RUN)) {
        if ((status = mp_cli_dry_run(matrix, &suite, &err)) == MP_OK) code = MP_EXIT_OK;
        goto out;
    }
    if (status == MP_OK && !(verdicts = calloc(matrix->count, sizeof *verdicts)))
        status = mp_fail(&err, MP_EMEMORY, "no memory for %zu verdicts", matrix->count);
    mp_progress progress = mp_progress_begin(args, matrix, &suite, &info);
    suite.ctx = &progress;
    if (status == MP_OK) status = mp_suite_run(matrix, &suite, verdicts, &info, &err);
    mp_status_line_clear(&progress.line);
    ran = status == MP_OK;
    if (ran) status = report(args, &info, verdicts, matrix->count, &code, &err);
out:
    for (size_t i = 0; verdicts && i < matrix->count; i++) mp_verdict_free(&verdicts[i]);
    free(verdicts);
    mp_run_info_free(&info);
    if (status == MP_OK) return code;
    const int failure = mp_cli_fail(&err);
    if (!ran) return failure;
    return code == MP_EXIT_FAILURE
               ? MP_EXIT_FAILURE
               : MP_EXIT_BROKEN; /* a report that could not be written hides no failure, and is no success */
}
