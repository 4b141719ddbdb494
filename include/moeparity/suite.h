/* SPDX-License-Identifier: Apache-2.0 */
/* A whole matrix: cases run in worker processes under a watchdog, replaced after a crash or a hang; the run
 * goes on. */
#ifndef MOEPARITY_SUITE_H
#define MOEPARITY_SUITE_H

#include "moeparity/golden.h"
#include "moeparity/matrix.h"
#include "moeparity/settings.h"
#include "moeparity/subject.h"
#include "moeparity/verdict.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Beside --timeout, for a start that compiles kernels: those of all cases, on all cores. */
#define MP_KERNELS_SECONDS 900.0

#define MP_NO_CASE SIZE_MAX

/* Opens the subject of that name: mp_subject_open, or a function of a program with subjects of its own, which
 * passes on to it the names that it does not know. */
typedef mp_status mp_subject_opener(const char *name, mp_subject *s, mp_error *err);

/* Recording a golden file out of a run. */
typedef struct mp_record_options {
    const char *path;
    size_t digest_above; /* larger tensors become one digest a row */
    bool inputs;         /* store the inputs too */
    /* version, commit, date; device: that of a subject without one (the CPU); versions: what is added to
     * those of the subject (the compiler). The rest is filled from the subject. */
    mp_provenance who;
    /* Each case is kept in the folder PATH.part as soon as it has passed, and from there it is put into the
     * file with all of `cases`, by their names in this order: those of the matrix, and those that an
     * interrupted recording has left there. `mixed`: others may have recorded these, under other contracts.
     * Without keep all is held in memory until the end, and cases are those of the matrix. */
    bool keep, mixed;
    const char *const *cases;
    size_t case_count;
} mp_record_options;

typedef struct mp_suite_options {
    mp_settings settings;
    bool in_process; /* no workers and no watchdog: for debuggers and memory checkers */
    bool fail_fast;  /* after the first case that fails, crashes or hangs no further one is begun */
    /* Records the cases, one after the other in one worker, which must all pass: at the first that does not,
     * the run ends, and nothing is written. The file is written when every case has passed and no signal came
     * before. NULL: no recording. */
    const mp_record_options *record;
    /* The program that is started as a worker, ended by NULL. NULL: moeparity itself where this is it;
     * else MOEPARITY_PROGRAM, else `moeparity` on PATH. A program with subjects of its own names itself,
     * {"/proc/self/exe", NULL}, and serves: see worker.h. */
    const char *const *program;
    mp_subject_opener *open_subject; /* in process; NULL: mp_subject_open */
    /* Called in the parent: before a case is handed to a worker (v == NULL), and with its verdict. May be
     * NULL. */
    void (*progress)(void *ctx, size_t index, const mp_verdict *v);
    /* Called in the parent when a worker says what it is at ("judge gate_up"), and about once a second while
     * it goes on; `seconds` since the case was handed out. index MP_NO_CASE: it starts. May be NULL. */
    void (*phase)(void *ctx, size_t index, const char *what, double seconds);
    void *ctx;
} mp_suite_options;

/* Runs rows, those that share large weights one after the other; verdicts[i] belongs to row i: all are
 * initialised here (what they held is not freed) and freed by the caller, after an error too. A row that was
 * not reached (Ctrl-C, fail_fast) has an empty name. *info, which is initialised: subject, device, versions,
 * blas, seconds and interrupted are filled. MP_EINPUT when the subject's name or the golden file is wrong
 * (nothing was run). A subject that cannot run here makes every case a SKIP with the reason. */
mp_status mp_suite_run(const mp_matrix *matrix, const mp_suite_options *options, mp_verdict *verdicts,
                       mp_run_info *info, mp_error *err);

#ifdef __cplusplus
}
#endif

#endif
