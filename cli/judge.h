/* SPDX-License-Identifier: Apache-2.0 */
/* What `run`, `judge`, `golden verify` and `golden record` have in common: a matrix of cases, judged and
 * reported. */
#ifndef MP_CLI_JUDGE_H
#define MP_CLI_JUDGE_H

#include "cli/args.h"
#include "moeparity/suite.h"

typedef struct mp_cli_run {
    const mp_matrix *matrix; /* all of its rows are executed, or all are judged from files */
    const char *golden;      /* the file to compare with; NULL: none */
    bool golden_required;    /* it must hold what it is compared with */
    const char *const
        *sources; /* the files that the cases come from: none that is written may replace them */
    size_t source_count;
    /* Called with what was judged, when the summary is printed; may be NULL. */
    void (*judged)(void *ctx, const mp_verdict *verdicts, size_t count, const mp_run_info *info);
    void *ctx;
    mp_record_options *record; /* NULL: nothing is recorded; its `who` is filled here */
    const char *instead_of;    /* the golden whose place the recording is to take; NULL: none */
} mp_cli_run;

/* Judges the matrix under the options of the line, prints rows and summary, writes the reports, and returns
 * the exit code. */
int mp_cli_judge(const mp_args *args, const mp_cli_run *run);

/* All of `moeparity run`: the cases of the line. judged and ctx as above. */
int mp_cli_run_cases(const mp_args *args,
                     void (*judged)(void *ctx, const mp_verdict *verdicts, size_t count,
                                    const mp_run_info *info),
                     void *ctx);

/* Whether options of the line exclude each other: MP_EXIT_USAGE after saying so, else MP_EXIT_OK. */
int mp_cli_judge_usage(const mp_args *args, const mp_settings *settings);

#endif
