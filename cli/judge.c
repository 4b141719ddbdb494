/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/judge.h"

#include "cli/common.h"
#include "cli/dry_run.h"
#include "cli/progress.h"
#include "cli/recording.h"
#include "cli/reports.h"
#include "cli/shard.h"
#include "harness/run/deal.h"
#include "harness/run/repro.h"
#include "harness/run/settings.h"
#include "harness/verdict_make.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Summary on the terminal, then the files. *code is the verdict, whatever becomes of the files. */
static mp_status report(const mp_args *args, const mp_cli_run *run, const mp_share *share,
                        const mp_cli_recording *recording, mp_run_info *info, mp_verdict *verdicts, int *code,
                        mp_error *err) {
    mp_tally tally = {0};
    const size_t all = share->matrix.count, count = keep_reached(verdicts, all);
    for (size_t i = 0; i < count; i++) mp_tally_add(&tally, &verdicts[i]);
    mp_run_info_set(info, &info->versions, "%s%s%s", info->versions, info->versions[0] ? ", " : "",
                    mp_cli_compiler());
    mp_report_summary(stdout, info, &tally, verdicts, count);
    if (count < all && !info->interrupted) /* --fail-fast, or a recording */
        printf("stopped after it: %zu of %zu cases were not run\n", all - count, all);
    *code = mp_exit_code(&tally, info);
    if (run->judged) run->judged(run->ctx, verdicts, count, info);
    const int64_t broken = tally.count[MP_CRASH] + tally.count[MP_TIMEOUT];
    if (*code == MP_EXIT_BROKEN && broken == 0 && !info->interrupted)
        fprintf(stderr, "moeparity: MOEPARITY_REQUIRE_GPU is set and %s case was skipped\n",
                tally.count[MP_SKIP] == tally.total ? "every" : "a");
    if (run->record)
        mp_cli_recording_end(run->record, run->instead_of, recording, &tally, info->interrupted, verdicts,
                             all);
    return mp_cli_write_reports(args, info, verdicts, count, err);
}

/* No file that is written is one that is read, or another one that is written. */
static mp_status check_outputs(const mp_args *args, const mp_cli_run *run, mp_error *err) {
    const char *const inputs[] = {run->golden, mp_args_text(args, MP_OPT_CONFIG)};
    const char *golden = run->record ? run->record->path : NULL;
    mp_status status = mp_cli_check_reports(args, golden, inputs, 2, err);
    if (status == MP_OK) status = mp_cli_check_reports(args, golden, run->sources, run->source_count, err);
    return status;
}

static void set_provenance(const mp_run_info *info, mp_provenance *who) {
    snprintf(who->version, sizeof who->version, "%s", info->version);
    snprintf(who->commit, sizeof who->commit, "%s", info->commit);
    snprintf(who->date, sizeof who->date, "%s", info->date);
    snprintf(who->device, sizeof who->device, "%s", info->host);
    snprintf(who->versions, sizeof who->versions, "%s", mp_cli_compiler());
}

int mp_cli_judge_usage(const mp_args *args, const mp_settings *settings) {
    if (mp_args_given(args, MP_OPT_IN_PROCESS) && settings->jobs > 1)
        return mp_cli_usage("--in-process and --jobs %d exclude each other", settings->jobs);
    if (mp_args_given(args, MP_OPT_IN_PROCESS) && settings->devices)
        return mp_cli_usage("--in-process and --devices exclude each other: CUDA_VISIBLE_DEVICES says which");
    if (settings->golden_partial && !settings->golden)
        return mp_cli_usage("--golden-partial goes with --golden");
    if (settings->deterministic && settings->repeat == 1)
        return mp_cli_usage("--deterministic and --repeat 1 exclude each other");
    if (mp_args_given(args, MP_OPT_QUIET) && mp_args_given(args, MP_OPT_VERBOSE))
        return mp_cli_usage("--quiet and --verbose exclude each other");
    return MP_EXIT_OK;
}

/* What reports say of the run beside its verdicts, as far as it is known before. */
static void set_info(const mp_suite_options *suite, const mp_share *share, mp_run_info *info) {
    mp_text settings = {0};
    mp_settings_text(&suite->settings, &settings);
    mp_run_info_set(info, &info->settings, "%s",
                    mp_text_get(&settings) + (settings.length > 0)); /* a blank */
    mp_run_info_set(info, &info->matrix, "%s", share->digest);
    if (share->names) mp_run_info_set(info, &info->names, "%016" PRIx64, share->names);
    info->cases = (int64_t)share->cases;
    info->shard = share->shard.index;
    info->shards = share->shard.count;
    info->recording = suite->record != NULL;
    mp_text_free(&settings);
}

/* --jobs auto, the usual: as many as the share is worth. Figures of time are of a worker that is alone. */
static int workers_of(const mp_args *args, const mp_matrix *matrix, const mp_suite_options *suite) {
    if (suite->settings.jobs > 0) return suite->settings.jobs;
    return args->command == MP_CMD_BENCH_SUITE ? 1 : mp_deal_workers(matrix, suite);
}

/* Runs the rows of the share. verdicts: as many, whose `row` is set. */
static mp_status run_share(const mp_args *args, const mp_share *share, mp_suite_options *suite,
                           mp_verdict *verdicts, mp_run_info *info, mp_error *err) {
    const mp_matrix *matrix = &share->matrix;
    if (matrix->count == 0) return MP_OK; /* more shards than cases */
    mp_progress progress = mp_progress_begin(args, matrix, suite, info);
    suite->ctx = &progress;
    const mp_status status = mp_suite_run(matrix, suite, verdicts, info, err);
    mp_status_line_clear(&progress.line);
    for (size_t i = 0; i < matrix->count; i++) verdicts[i].row = (int64_t)share->place[i];
    return status;
}

int mp_cli_judge(const mp_args *args, const mp_cli_run *run) {
    mp_suite_options suite = {.settings = mp_cli_settings(args),
                              .in_process = mp_args_given(args, MP_OPT_IN_PROCESS),
                              .fail_fast = mp_args_given(args, MP_OPT_FAIL_FAST),
                              .record = run->record,
                              .progress = mp_progress_case,
                              .phase = mp_progress_phase};
    mp_share share = {0};
    mp_cli_recording recording = {.held = -1};
    mp_error err = {0};
    mp_run_info info;
    mp_verdict *verdicts = NULL;
    bool ran = false;
    if (!suite.settings.subject) suite.settings.subject = "file"; /* of a command that runs none */
    suite.settings.golden = run->golden;                          /* found by its name */
    suite.settings.golden_required = run->golden_required;
    if (mp_args_text(args, MP_OPT_HTML)) suite.settings.figures = true; /* a page is to show something */
    int code = mp_cli_judge_usage(args, &suite.settings);
    if (code != MP_EXIT_OK) return code;

    mp_status status = mp_cli_run_info(args, &info, &err);
    if (status == MP_OK) status = check_outputs(args, run, &err);
    if (status == MP_OK) status = mp_cli_share(args, run->matrix, stdout, &share, &err);
    if (status == MP_OK && mp_args_given(args, MP_OPT_DRY_RUN)) {
        status = mp_cli_dry_run(&share.matrix, &suite.settings, &err);
        goto out;
    }
    if (status == MP_OK && run->record)
        status = mp_cli_recording_begin(args, &share, run->record, &recording, &err);
    if (status == MP_OK && !(verdicts = calloc(share.matrix.count + 1, sizeof *verdicts)))
        status = mp_fail(&err, MP_EMEMORY, "no memory for %zu verdicts", share.matrix.count);
    if (run->record) set_provenance(&info, &run->record->who);
    suite.settings.jobs = workers_of(args, &share.matrix, &suite);
    set_info(&suite, &share, &info);
    if (status == MP_OK) status = run_share(args, &share, &suite, verdicts, &info, &err);
    ran = status == MP_OK;
    if (ran) status = report(args, run, &share, &recording, &info, verdicts, &code, &err);
out:
    for (size_t i = 0; verdicts && i < share.matrix.count; i++) mp_verdict_free(&verdicts[i]);
    free(verdicts);
    mp_run_info_free(&info);
    mp_share_free(&share);
    mp_cli_recording_free(run->record, &recording);
    if (status == MP_OK) return code;
    const int failure = mp_cli_fail(&err);
    if (!ran) return failure;
    return code == MP_EXIT_FAILURE
               ? MP_EXIT_FAILURE
               : MP_EXIT_BROKEN; /* a report that could not be written hides no failure, and is no success */
}
