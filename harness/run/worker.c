/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/worker.h"

#include "base/process.h"
#include "golden/files.h"
#include "harness/goldens/marks.h"
#include "harness/frame.h"
#include "harness/run/infer_run.h"
#include "harness/run/judge_file.h"
#include "harness/run/leave.h"
#include "harness/run/message.h"
#include "harness/run/program.h"
#include "harness/progress.h"
#include "harness/run/setup.h"
#include "harness/verdict_json.h"
#include "ref/blas.h"

#include <fcntl.h>
#include <omp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 1024 }; /* of a row */

static bool this_program;

void mp_worker_is_this_program(void) {
    this_program = true;
}

const char *const *mp_worker_program(const char *const *program) {
    static const char *argv[] = {"moeparity", "worker", NULL};
    const char *named = getenv("MOEPARITY_PROGRAM");
    if (program) return program;
    argv[0] = this_program ? "/proc/self/exe" : named && *named ? named : "moeparity";
    return argv;
}

bool mp_worker_requested(void) {
    return getenv(MP_WORKER_VARIABLE) != NULL;
}

/* A worker has one run, and speaks to one parent. */
typedef struct worker {
    mp_channel channel;
    mp_subject_opener *open_subject;
    mp_order order;
    mp_setup setup;
    bool opened;
    mp_matrix before; /* the row that was judged last: the next one's repro names it, and the run that asks
                         finds out which others belong to it */
} worker;

static bool tell(worker *w, json_t *message) {
    return mp_channel_push(&w->channel, message, NULL) == MP_OK && mp_channel_flush(&w->channel);
}

static void report_progress(void *ctx, const char *stage, const char *what) {
    tell(ctx,
         json_pack("{s:{s:o, s:o}}", "progress", "stage", mp_json_text(stage), "what", mp_json_text(what)));
}

/* The workers share the cores: more threads than cores wait for each other. */
static void share_cores(const mp_settings *o) {
    const int shared = omp_get_max_threads() / (o->jobs > 1 ? o->jobs : 1);
    if (o->threads > 0)
        omp_set_num_threads(o->threads);
    else if (!getenv("OMP_NUM_THREADS"))
        omp_set_num_threads(shared > 1 ? shared : 1);
}

/* A row may come with its own share: a large one has the cores that small ones have no use for. */
static void take_threads(const worker *w, const json_t *run) {
    const json_int_t threads = json_integer_value(json_object_get(run, "threads"));
    const bool free_to = w->order.options.settings.threads == 0 && !getenv("OMP_NUM_THREADS");
    if (free_to && threads > 0 && threads <= THREADS_MAX) omp_set_num_threads((int)threads);
}

/* For a run of several workers, which share the memory. */
static json_t *host_bytes(worker *w) {
    const mp_matrix *matrix = &w->order.matrix;
    if (w->order.options.settings.jobs <= 1) return NULL;
    json_t *rows = json_array();
    for (size_t i = 0; i < matrix->count; i++)
        json_array_append_new(
            rows, json_integer((json_int_t)(mp_setup_host_bytes(&w->setup, &matrix->rows[i]) & INT64_MAX)));
    return rows;
}

static mp_status serve_open(worker *w, const json_t *open, mp_error *err) {
    if (w->opened) return mp_fail(err, MP_EINPUT, "a worker opens one run");
    w->opened = true;
    mp_status status = mp_json_to_order(open, &w->order, err);
    if (status != MP_OK) return status;
    mp_suite_options *o = &w->order.options;
    o->open_subject = w->open_subject;
    share_cores(&o->settings);
    status = mp_setup_open(o, &w->order.matrix, w->order.check_golden, &w->setup, err);
    if (status == MP_OK)
        tell(w, mp_json_hello(&w->setup.subject, o->settings.plain ? "plain loops" : mp_blas_name(),
                              mp_text_get(&w->setup.files), host_bytes(w)));
    return status;
}

static mp_status serve_run(worker *w, const json_t *run, mp_error *err) {
    mp_matrix one = {0};
    mp_verdict *v = malloc(sizeof *v);
    mp_status status = v ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for a verdict");
    if (status == MP_OK && !w->opened)
        status = mp_fail(err, MP_EINPUT, "a case came before the run was opened");
    if (status == MP_OK) status = mp_json_to_row(run, &one, err);
    if (status == MP_OK && !one.rows[0].file && !w->setup.run.subject)
        status = mp_fail(err, MP_EINPUT, "a case without a file came, and no subject was opened");
    if (status == MP_OK) {
        const mp_matrix_row *last = w->before.rows;
        take_threads(w, run);
        w->setup.run.before = &last;
        w->setup.run.before_count = last ? 1 : 0;
        status = mp_setup_judge(&w->setup, &one.rows[0], v, err);
        if (status == MP_OK)
            tell(w, json_pack("{s:o, s:b}", "verdict", mp_verdict_to_json(v), "lacked_memory",
                              (int)v->lacked_memory));
        mp_verdict_free(v);
        mp_matrix_free(&w->before);
        w->before = one;
    }
    free(v);
    return status;
}

static mp_status serve_infer(worker *w, const json_t *request, mp_error *err) {
    mp_infer_options options;
    json_t *report = NULL;
    mp_status status = mp_json_to_infer(request, &options, err);
    if (status == MP_OK && (!w->setup.run.subject || w->order.matrix.count == 0))
        status = mp_fail(err, MP_EINPUT, "nothing was opened that could be inferred");
    if (status == MP_OK) status = mp_infer(w->setup.run.subject, &w->order.matrix, &options, &report, err);
    if (status == MP_OK) tell(w, json_pack("{s:o}", "inferred", report));
    return status;
}

static mp_status serve_leave(worker *w, const json_t *request, mp_error *err) {
    char path[PATH_MAX];
    mp_matrix one = {0};
    mp_leave_options options = {.path = path};
    mp_status status = mp_json_to_path(json_object_get(request, "path"), "path", path, err);
    if (status == MP_OK) status = mp_json_to_leave(request, &one, &options, err);
    if (status == MP_OK && (one.rows[0].file || !w->setup.run.subject))
        status = mp_fail(err, MP_EINPUT, "no subject was opened whose case could be left");
    if (status == MP_OK) status = mp_leave_case(&w->setup, &one.rows[0], &options, err);
    if (status == MP_OK) tell(w, json_pack("{s:{}}", "left"));
    mp_matrix_free(&one);
    return status;
}

static mp_status serve_commit(worker *w, mp_error *err) {
    if (!w->opened || !w->setup.options->record) return mp_fail(err, MP_EINPUT, "nothing is recorded");
    const mp_status status = mp_setup_commit(&w->setup, err);
    if (status == MP_OK) tell(w, json_pack("{s:{}}", "committed"));
    return status;
}

static mp_status serve_golden(worker *w, const json_t *request, mp_error *err) {
    char path[PATH_MAX];
    mp_golden *golden = NULL;
    json_t *names = json_array();
    mp_status status = mp_json_to_path(json_object_get(request, "path"), "path", path, err);
    if (status == MP_OK) {
        mp_progress("", "golden");
        status = mp_golden_open(path, &golden, err);
    }
    if (status == MP_OK && json_is_true(json_object_get(request, "check")))
        if ((status = mp_golden_check(golden, err)) == MP_OK) status = mp_golden_check_marks(golden, err);
    for (size_t i = 0; status == MP_OK && i < mp_golden_count(golden); i++)
        json_array_append_new(names, mp_json_text(mp_golden_at(golden, i)->name));
    mp_golden_close(golden);
    if (status == MP_OK) tell(w, json_pack("{s:O}", "cases", names));
    json_decref(names);
    return status;
}

static mp_status serve_file(worker *w, const json_t *request, mp_error *err) {
    char path[PATH_MAX], text[MP_CASE_TEXT_MAX];
    mp_status status = mp_json_to_path(json_object_get(request, "path"), "path", path, err);
    if (status == MP_OK)
        status = mp_file_check(path, json_string_value(json_object_get(request, "case")),
                               json_string_value(json_object_get(request, "contract")), text, err);
    if (status == MP_OK) tell(w, json_pack("{s:s}", "case", text));
    return status;
}

static mp_status serve_one(worker *w, const json_t *request, mp_error *err) {
    const json_t *body;
    if ((body = json_object_get(request, "open"))) return serve_open(w, body, err);
    if ((body = json_object_get(request, "run"))) return serve_run(w, body, err);
    if ((body = json_object_get(request, "golden"))) return serve_golden(w, body, err);
    if ((body = json_object_get(request, "file"))) return serve_file(w, body, err);
    if ((body = json_object_get(request, "infer"))) return serve_infer(w, body, err);
    if ((body = json_object_get(request, "leave"))) return serve_leave(w, body, err);
    if (json_object_get(request, "commit")) return serve_commit(w, err);
    const char *name = json_object_iter_key(json_object_iter((json_t *)request));
    return mp_fail(err, MP_EINPUT,
                   "unknown request '%s': expected open, run, infer, leave, commit, golden or file",
                   name ? name : "");
}

int mp_worker_serve(mp_subject_opener *open) {
    worker *w = calloc(1, sizeof *w);
    mp_error err = {0};
    mp_status status = MP_OK;
    if (!w) return 3;
    unsetenv(MP_WORKER_VARIABLE); /* programs that a subject starts are none */
    fcntl(MP_PROCESS_IN, F_SETFD, FD_CLOEXEC);
    fcntl(MP_PROCESS_OUT, F_SETFD, FD_CLOEXEC);
    w->channel = (mp_channel){.in = MP_PROCESS_IN, .out = MP_PROCESS_OUT};
    w->open_subject = open;
    mp_progress_listen(report_progress, w);
    while (status == MP_OK) {
        json_t *request = NULL;
        if ((status = mp_channel_next(&w->channel, &request, &err)) != MP_OK) break;
        if (!request && !mp_channel_receive(&w->channel)) break; /* the end: nothing more will come */
        if (request) status = serve_one(w, request, &err);
        json_decref(request);
    }
    if (status != MP_OK) tell(w, mp_json_failed(&err));
    mp_setup_close(&w->setup);
    mp_progress_listen(NULL, NULL);
    mp_order_free(&w->order);
    mp_matrix_free(&w->before);
    mp_channel_free(&w->channel);
    free(w);
    return 0;
}
