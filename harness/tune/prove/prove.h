/* SPDX-License-Identifier: Apache-2.0 */
/* A tuned file from its name to its proof: what the name says, what the compiler says, what a subject's runs
 * say. */
#ifndef MP_HARNESS_TUNE_PROVE_H
#define MP_HARNESS_TUNE_PROVE_H

#include "harness/tune/audit/audit.h"
#include "harness/tune/prove/race.h"
#include "harness/tune/prove/scale_steps.h"
#include "harness/tune/prove/verify.h"
#include "moeparity/suite.h"

typedef struct mp_tune_request {
    const char *path;
    const char *instead_of; /* the file that it replaces: only what changes; NULL: all */
    const char *model, *with;
    mp_tune_choice choice; /* instead_of is filled here */
    bool compile_only;     /* nothing is run */
    bool plan_only;        /* nor compiled */
    const char *against;   /* the file beside which keys are timed, "default" for none; NULL: no times */
    double threshold;      /* of the times: 0.05 */
    int rounds;
    /* How rows are run; settings.subject must be named. `begin`, which may be NULL, is called before each run
     * with the options, into which it puts what is to be told while it goes on. */
    mp_suite_options suite;
    void (*begin)(void *ctx, const mp_matrix *matrix, mp_suite_options *suite);
    void *ctx;
} mp_tune_request;

/* One shape of the target. */
typedef struct mp_tune_shape {
    mp_tune_target target;
    mp_tune_plan plan;
    mp_facts facts;
    mp_scale_steps steps; /* of the published kernel; none where another program's own is run */
    mp_verdict *verdicts; /* of the plan's rows; NULL: nothing was run */
    mp_verdict *alone;    /* of the rows of plan.alone; NULL: there are none */
    mp_race *races;       /* of the keys whose tiles differ from --against; NULL: none were asked for */
    size_t race_count;
    char not_timed[512]; /* why none could be; "" */
} mp_tune_shape;

typedef struct mp_tune_result {
    mp_tune_target target, instead_of, against;
    mp_tune_shape shape[MP_TUNE_SHAPES_MAX];
    int count;
    mp_audit audit; /* of the file and of its down file */
    bool ran;
    char not_run[512]; /* why nothing was run; "" */
} mp_tune_result;

/* *info as mp_suite_run wants and fills it. Free with mp_tune_result_free, after an error too. MP_EINPUT: the
 * file, its name, the model, what was said with it, the subject. What is wrong with a launch is no error. */
mp_status mp_tune_prove(const mp_tune_request *request, mp_tune_result *result, mp_run_info *info,
                        mp_error *err);
void mp_tune_result_free(mp_tune_result *result);

/* Over all launches of all shapes. */
typedef struct mp_tune_tally {
    size_t total, proven, refuted, unproven;
} mp_tune_tally;
mp_tune_tally mp_tune_count(const mp_tune_result *result);
/* MP_EXIT_OK: all are proven, and no key is slower than it may be; MP_EXIT_FAILURE: the audit finds an error,
 * one is refuted, or slower, or some are proven and others not, which is no proof of the file;
 * MP_EXIT_SKIPPED: none is, and none was run; MP_EXIT_BROKEN: the same where MOEPARITY_REQUIRE_GPU is set, or
 * it was interrupted. */
int mp_tune_exit_code(const mp_tune_result *result, const mp_run_info *info);

#endif
