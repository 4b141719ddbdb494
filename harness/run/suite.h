/* A whole matrix: cases run in worker processes under a watchdog, replaced after a crash or a hang; the run
 * goes on. */
#ifndef MP_HARNESS_SUITE_H
#define MP_HARNESS_SUITE_H

#include "cases/matrix.h"
#include "harness/verdict.h"

typedef struct mp_suite_options {
    const char *subject, *against; /* names; against may be NULL */
    const char *golden_path;       /* NULL: none */
    bool golden_required;          /* a case that cannot be compared with the golden fails */
    int repeat, jobs;              /* runs of a case; worker processes */
    bool plain;                    /* judge with plain loops */
    bool in_process;               /* no workers and no watchdog: for debuggers and memory checkers */
    double timeout_seconds;        /* of one case */
    bool golden_partial;           /* the golden need not hold every case */
    bool strict;                   /* what was asked for and not judged fails, and so does a skip */
    bool fail_fast;                /* stop after the first case that fails, crashes or hangs */
    const char *device, *triton, *config_file; /* for which machine tiles are looked up, or the file they come
                                                  from; NULL: not said */
    /* Called in the parent: before a case is handed to a worker (v == NULL), and with its verdict. May be
     * NULL. */
    void (*progress)(void *ctx, size_t index, const mp_verdict *v);
    /* Called in the parent while a case runs, with what it does and for how long. May be NULL. */
    void (*phase)(void *ctx, size_t index, const char *what, double seconds);
    void *ctx;
    /* Tests bring their own: taken instead of opening `subject` when not NULL. */
    struct mp_subject *test_subject;
} mp_suite_options;

/* Runs rows in order; verdicts[i] belongs to row i: all are initialised here (what they held is not freed)
 * and freed by the caller, after an error too. A row that was not reached (Ctrl-C) has an empty name. *info,
 * which is initialised: subject, device, versions, blas, seconds and interrupted are filled. MP_EINPUT when
 * the subject's name or the golden file is wrong (nothing was run). A subject that cannot run here makes
 * every case a SKIP with the reason. */
mp_status mp_suite_run(const mp_matrix *matrix, const mp_suite_options *options, mp_verdict *verdicts,
                       mp_run_info *info, mp_error *err);

/* The options of one case of the suite, for subjects that are open, or only named where nothing is run.
 * `after` ran before it in the same process (NULL: nothing). */
struct mp_run_options mp_suite_run_options(const mp_suite_options *o, struct mp_subject *subject,
                                           struct mp_subject *against, const mp_matrix_row *after);

#endif
