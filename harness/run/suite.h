/* SPDX-License-Identifier: Apache-2.0 */
/* A whole matrix: cases run in worker processes under a watchdog, replaced after a crash or a hang; the run
 * goes on. */
#ifndef MP_HARNESS_SUITE_H
#define MP_HARNESS_SUITE_H

#include "cases/matrix.h"
#include "harness/run/record.h"
#include "harness/subjects/subject.h"
#include "harness/verdict.h"

/* Beside --timeout, for a start that compiles kernels: those of all cases, on all cores. */
#define MP_KERNELS_SECONDS 900.0

#define MP_NO_CASE SIZE_MAX

/* Opens the subject of that name: mp_subject_open, or a function of a program with subjects of its own, which
 * passes on to it the names that it does not know. */
typedef mp_status mp_subject_opener(const char *name, mp_subject *s, mp_error *err);

typedef struct mp_suite_options {
    const char *subject, *against; /* names; against may be NULL */
    const char *golden_path;       /* NULL: none */
    bool golden_required;          /* verification: repros are of `golden verify` */
    int repeat, jobs;              /* runs of a case; worker processes */
    int threads;     /* of each worker; 0: the workers share the cores, unless OMP_NUM_THREADS is set */
    bool plain;      /* judge with plain loops */
    bool in_process; /* no workers and no watchdog: for debuggers and memory checkers */
    double timeout_seconds; /* of one case, and of the start of a worker (with MP_KERNELS_SECONDS more once it
                               compiles) */
    bool golden_partial;    /* what cannot be compared with the golden is not judged; else it fails */
    bool strict;            /* what was asked for and not judged fails, and so does a skip */
    bool fail_fast;         /* after the first case that fails, crashes or hangs no further one is begun */
    const char *device, *triton, *config_file; /* for which machine tiles are looked up, or the file they come
                                                  from; NULL: not said */
    /* Records the cases, one after the other in one worker, which must all pass: at the first that does not,
     * the run ends, and nothing is written. The file is written when every case has passed and no signal came
     * before. NULL: no recording. */
    const mp_record_options *record;
    /* The program that is started as a worker, ended by NULL. NULL: moeparity itself where this is it (see
     * mp_worker_is_this_program); else MOEPARITY_PROGRAM, else `moeparity` on PATH. A program with subjects
     * of its own names itself, {"/proc/self/exe", NULL}, and serves: see worker.h. */
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

/* Runs rows in order; verdicts[i] belongs to row i: all are initialised here (what they held is not freed)
 * and freed by the caller, after an error too. A row that was not reached (Ctrl-C, fail_fast) has an empty
 * name. *info, which is initialised: subject, device, versions, blas, seconds and interrupted are filled.
 * MP_EINPUT when the subject's name or the golden file is wrong (nothing was run). A subject that cannot run
 * here makes every case a SKIP with the reason. */
mp_status mp_suite_run(const mp_matrix *matrix, const mp_suite_options *options, mp_verdict *verdicts,
                       mp_run_info *info, mp_error *err);

/* The options of one case of the suite, for subjects that are open, or only named where nothing is run.
 * `after` ran before it in the same process (NULL: nothing). */
struct mp_run_options mp_suite_run_options(const mp_suite_options *o, mp_subject *subject,
                                           mp_subject *against, const mp_matrix_row *after);

/* The names of the cases that a golden file holds, added to *names (NULL: not asked for). A worker reads
 * them: libhdf5 may crash or hang on a file that was forged. check: every number of the file is read as well.
 * MP_EINPUT for a file that is missing, foreign, damaged, or that the worker crashed on; MP_EIO when it is
 * not read after timeout_seconds. err must not be NULL. */
mp_status mp_suite_golden_cases(const char *path, bool check, double timeout_seconds,
                                const char *const *program, mp_texts *names, mp_error *err);

#endif
