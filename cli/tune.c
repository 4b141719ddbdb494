/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tune.h"

#include "cli/common.h"
#include "cli/progress.h"
#include "reports/report.h"

#include <stdlib.h>
#include <string.h>

mp_tune_request mp_cli_tune_request(const mp_args *args, const char *path) {
    const char *subject = mp_args_text(args, MP_OPT_TUNE_SUBJECT);
    return (mp_tune_request){
        .path = path,
        .model = mp_args_text(args, MP_OPT_TUNE_MODEL),
        .with = mp_args_text(args, MP_OPT_TUNE_WITH),
        .compile_only = mp_args_given(args, MP_OPT_TUNE_STATIC),
        .plan_only = mp_args_given(args, MP_OPT_DRY_RUN),
        .against = mp_args_text(args, MP_OPT_TUNE_AGAINST),
        .threshold = (double)mp_args_number(args, MP_OPT_TUNE_THRESHOLD) / 100,
        .rounds = (int)mp_args_number(args, MP_OPT_TUNE_ROUNDS),
        .choice = {.each = mp_args_given(args, MP_OPT_TUNE_EACH),
                   .own_tiles = mp_args_given(args, MP_OPT_TUNE_OWN_TILES),
                   .most =
                       mp_args_given(args, MP_OPT_TUNE_MOST) ? mp_args_number(args, MP_OPT_TUNE_MOST) : 0},
        .suite = {.in_process = mp_args_given(args, MP_OPT_IN_PROCESS),
                  .settings = {.subject = strcmp(subject, "auto") == 0 ? "cuda" : subject,
                               .repeat = (int)mp_args_number(args, MP_OPT_REPEAT),
                               .timeout = (double)mp_args_number(args, MP_OPT_TIMEOUT),
                               .jobs = 1}},
    };
}

typedef struct telling {
    const mp_args *args;
    const mp_run_info *info;
    mp_progress progress;
    mp_suite_options suite;
} telling;

/* Rows that fail are printed, with their repro; the table of the file tells the others. */
static void begin(void *ctx, const mp_matrix *matrix, mp_suite_options *suite) {
    telling *t = ctx;
    mp_status_line_clear(&t->progress.line);
    suite->progress = mp_progress_case;
    suite->phase = mp_progress_phase;
    suite->ctx = &t->progress;
    t->suite = *suite;
    t->progress = mp_progress_begin(t->args, matrix, &t->suite, t->info);
    t->progress.quiet = true;
}

mp_status mp_cli_tune_prove(const mp_args *args, mp_tune_request *request, mp_tune_result *result,
                            mp_run_info *info, mp_error *err) {
    telling t = {.args = args, .info = info};
    request->begin = begin;
    request->ctx = &t;
    const mp_status status = mp_tune_prove(request, result, info, err);
    mp_status_line_clear(&t.progress.line);
    return status;
}

mp_status mp_cli_tune_report(const char *path, const mp_tune_result *result, const mp_run_info *info,
                             mp_error *err) {
    size_t count = 0;
    if (!path) return MP_OK;
    for (int i = 0; i < result->count; i++) count += result->shape[i].plan.matrix.count;
    mp_verdict *all = calloc(count + 1, sizeof *all); /* borrowed: their owners free them */
    if (!all) return mp_fail(err, MP_EMEMORY, "no memory for a report of %zu rows", count);
    count = 0;
    for (int i = 0; i < result->count; i++)
        for (size_t k = 0; result->shape[i].verdicts && k < result->shape[i].plan.matrix.count; k++)
            if (result->shape[i].verdicts[k].name[0]) all[count++] = result->shape[i].verdicts[k];
    const mp_status status = mp_report_json(path, info, all, count, err);
    free(all);
    return status;
}
