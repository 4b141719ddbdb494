#include "harness/run/suite.h"

#include "base/clock.h"
#include "base/file.h"
#include "harness/run/run_case.h"
#include "harness/run/strict.h"
#include "ref/blas.h"

#include <errno.h>
#include <math.h>
#include <omp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    START_TIMEOUT_SECONDS = 900, /* opening a subject includes compiling the kernels of all cases */
    REPLY_SECONDS = 30,          /* for the rest of a message whose first byte has come */
    CLOSE_SECONDS = 30,          /* for a worker to close its subject */
    MOST_JOBS = 64
};

#define NO_MORE_CASES UINT64_MAX

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

/* Reads `size` bytes, none later than the deadline: a peer may hang in the middle of a message. */
static bool read_all(int fd, void *data, size_t size, double deadline) {
    for (char *p = data; size > 0;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        const double left = deadline - mp_seconds_now();
        if (left <= 0) return false;
        if (poll(&ready, 1, left < 1 ? (int)(left * 1000) + 1 : 1000) <= 0) continue;
        const ssize_t n = read(fd, p, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        size -= (size_t)n;
    }
    return true;
}

/* Messages are a length and a JSON text. */
static bool send_json(int fd, json_t *json) {
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    const uint32_t length = text ? (uint32_t)strlen(text) : 0;
    const bool sent = text && mp_write_all(fd, &length, sizeof length) && mp_write_all(fd, text, length);
    free(text);
    return sent;
}

static json_t *receive_json(int fd, double deadline) {
    uint32_t length = 0;
    if (!read_all(fd, &length, sizeof length, deadline) || length == 0 || length > (64u << 20)) return NULL;
    char *text = malloc(length);
    json_t *json = text && read_all(fd, text, length, deadline) ? json_loadb(text, length, 0, NULL) : NULL;
    free(text);
    return json;
}

/* ---- the worker's side ---- */

/* False where the tiles of the case cannot be read. That the subject cannot run it is another matter. */
static bool readable(mp_subject *subject, const mp_case *c, mp_error *err) {
    mp_offer offer;
    const mp_status status = mp_subject_describe(subject, c, &offer, err);
    return status != MP_EINPUT && status != MP_EIO;
}

static mp_status open_all(const mp_matrix *matrix, const mp_suite_options *o, mp_subject *subject,
                          mp_subject *against, mp_golden **golden, mp_error *err) {
    mp_status status = o->golden_path ? mp_golden_open(o->golden_path, golden, err) : MP_OK;
    if (status != MP_OK) return status;
    if (o->golden_path && mp_golden_fill_version(*golden) != MP_FILL_VERSION)
        return mp_fail(err, MP_EINPUT,
                       "%s was made with fill version %d, this program fills with version %d: record it anew",
                       o->golden_path, mp_golden_fill_version(*golden), MP_FILL_VERSION);
    size_t stored = 0;
    for (size_t i = 0; o->golden_path && i < matrix->count; i++) {
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&matrix->rows[i].c, name, sizeof name);
        stored += mp_golden_has(*golden, name);
    }
    if (o->golden_path && stored == 0)
        return mp_fail(
            err, MP_EINPUT,
            "%s holds none of the %zu cases to run: record them, or name the golden that belongs to them",
            o->golden_path, matrix->count);
    if (o->test_subject)
        *subject = *o->test_subject;
    else if ((status = mp_subject_open(o->subject, subject, err)) != MP_OK)
        return status;
    if (o->against && (status = mp_subject_open(o->against, against, err)) != MP_OK) return status;
    subject->query = against->query =
        (mp_config_query){.device = o->device, .triton = o->triton, .file = o->config_file};
    for (size_t i = 0; i < matrix->count;
         i++) { /* a tuned file that cannot be read is bad input: nothing is run */
        const mp_matrix_row *row = &matrix->rows[i];
        for (size_t p = 0; p <= row->pair_count; p++)
            if (!readable(subject, p ? &row->pairs[p - 1] : &row->c, err)) return MP_EINPUT;
        if (o->against && !readable(against, &row->c, err)) return MP_EINPUT;
    }
    if (!subject->prepare) return MP_OK;

    size_t count = 0;
    for (size_t i = 0; i < matrix->count; i++) count += 1 + matrix->rows[i].pair_count;
    mp_case *cases = malloc((count ? count : 1) * sizeof *cases);
    if (!cases) return mp_fail(err, MP_EMEMORY, "no memory for %zu cases", count);
    count = 0;
    for (size_t i = 0; i < matrix->count; i++) {
        cases[count++] = matrix->rows[i].c;
        for (size_t p = 0; p < matrix->rows[i].pair_count; p++) cases[count++] = matrix->rows[i].pairs[p];
    }
    status = subject->prepare(subject, cases, count, err);
    free(cases);
    return status;
}

static int jobs_of(const mp_matrix *matrix, const mp_suite_options *o) {
    const int most = matrix->count < MOST_JOBS ? (int)matrix->count : MOST_JOBS;
    return o->jobs < 1 || most < 1 ? 1 : o->jobs < most ? o->jobs : most;
}

mp_run_options mp_suite_run_options(const mp_suite_options *o, mp_subject *subject, mp_subject *against,
                                    const mp_matrix_row *after) {
    return (mp_run_options){.subject = subject,
                            .against = against && against->name ? against : NULL,
                            .golden_path = o->golden_path,
                            .golden_required = o->golden_required,
                            .golden_partial = o->golden_partial,
                            .strict = o->strict,
                            .device = o->device,
                            .triton = o->triton,
                            .config_file = o->config_file,
                            .repeat = o->repeat,
                            .plain = o->plain,
                            .timeout_seconds = o->timeout_seconds,
                            .after = after};
}

/* Never returns. Ends with _exit: the parent's buffers and handlers are not the worker's to flush. */
static _Noreturn void worker_main(pid_t parent, int requests, int replies, const mp_matrix *matrix,
                                  const mp_suite_options *o) {
    mp_subject subject = {0}, against = {0};
    mp_golden *golden = NULL;
    mp_error err = {0};
    signal(SIGINT, SIG_IGN); /* Ctrl-C is the parent's, and so is a terminal that closes */
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0); /* the parent died before the line above */
    if (!getenv("OMP_NUM_THREADS")) {  /* the workers share the cores: more threads than cores wait for each
                                          other */
        const int threads = omp_get_max_threads() / jobs_of(matrix, o);
        omp_set_num_threads(threads > 1 ? threads : 1);
    }
    const mp_status status = open_all(matrix, o, &subject, &against, &golden, &err);
    for (char *p = err.text; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?'; /* JSON is UTF-8; a path in a message need not be */
    json_t *hello =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s}", "status", (int)status, "error", err.text, "subject",
                  subject.name ? subject.name : "", "device", subject.device, "versions", subject.versions,
                  "blas", o->plain ? "plain loops" : mp_blas_name());
    if (!send_json(replies, hello) || status != MP_OK) _exit(0);

    mp_run_options options = mp_suite_run_options(o, &subject, &against, NULL);
    options.golden = golden;
    options.jobs = jobs_of(matrix, o);
    mp_verdict *v = malloc(sizeof *v);
    uint64_t index;
    while (v && read_all(requests, &index, sizeof index, (double)INFINITY) && index != NO_MORE_CASES) {
        mp_run_case(&matrix->rows[index], &options, v);
        options.after = &matrix->rows[index];
        const bool sent = send_json(replies, mp_verdict_to_json(v));
        mp_verdict_free(v);
        if (!sent) break;
    }
    free(v);
    mp_golden_close(golden);
    mp_subject_close(&against);
    if (!o->test_subject) mp_subject_close(&subject);
    _exit(0);
}

/* ---- the parent's side ---- */

typedef struct worker {
    pid_t pid; /* 0: not running */
    int requests, replies;
    bool busy;
    size_t index;
    const mp_matrix_row *after; /* what it ran before; NULL: nothing */
    double deadline;
} worker;

/* Collects the process if it ends within so many seconds: its id, or 0. */
static pid_t wait_for_end(pid_t pid, double seconds, int *status) {
    const double deadline = mp_seconds_now() + seconds;
    pid_t ended;
    while ((ended = waitpid(pid, status, WNOHANG)) == 0 && mp_seconds_now() < deadline) usleep(10000);
    return ended;
}

static void end_process(pid_t pid) {
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
}

static void worker_stop(worker *w, bool kill_it) {
    int status;
    if (w->pid == 0) return;
    const uint64_t message =
        NO_MORE_CASES; /* end of file would not do: later workers have inherited this pipe */
    const bool told = !kill_it && mp_write_all(w->requests, &message, sizeof message);
    close(w->requests);
    close(w->replies);
    if (!told || wait_for_end(w->pid, CLOSE_SECONDS, &status) == 0)
        end_process(w->pid); /* a sick device may hang the closing of its subject */
    *w = (worker){0};
}

/* Waits until `fd` has something to read. False after the deadline or Ctrl-C. */
static bool wait_readable(int fd, double deadline) {
    while (!interrupted) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const double left = deadline - mp_seconds_now();
        if (left <= 0) return false;
        const int n = poll(&p, 1, left < 0.2 ? (int)(left * 1000) + 1 : 200);
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return false;
    }
    return false;
}

static mp_status worker_start(worker *w, const mp_matrix *matrix, const mp_suite_options *o,
                              mp_run_info *info, mp_error *err) {
    int request[2] = {-1, -1}, reply[2] = {-1, -1};
    if (pipe(request) != 0 || pipe(reply) != 0) {
        if (request[0] >= 0) close(request[0]), close(request[1]);
        return mp_fail(err, MP_EIO, "cannot make a pipe to a worker: %s", strerror(errno));
    }
    fflush(NULL);
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        close(request[1]);
        close(reply[0]);
        worker_main(parent, request[0], reply[1], matrix, o);
    }
    close(request[0]);
    close(reply[1]);
    if (pid < 0) {
        close(request[1]);
        close(reply[0]);
        return mp_fail(err, MP_EIO, "cannot start a worker: %s", strerror(errno));
    }
    *w = (worker){.pid = pid, .requests = request[1], .replies = reply[0]};
    json_t *hello = wait_readable(w->replies, mp_seconds_now() + START_TIMEOUT_SECONDS)
                        ? receive_json(w->replies, mp_seconds_now() + REPLY_SECONDS)
                        : NULL;
    int status = MP_EDEVICE;
    const char *text = "", *subject = "", *device = "", *versions = "", *blas = "";
    mp_status result;
    if (!hello ||
        json_unpack(hello, "{s:i, s:s, s:s, s:s, s:s, s:s}", "status", &status, "error", &text, "subject",
                    &subject, "device", &device, "versions", &versions, "blas", &blas) != 0) {
        result = interrupted ? MP_OK
                             : mp_fail(err, MP_EDEVICE, "the worker died or hung while it opened subject %s",
                                       o->subject);
        worker_stop(w, true);
    } else if ((result = (mp_status)status) != MP_OK) {
        mp_fail(err, result, "%s", text);
        worker_stop(w, true);
    } else {
        mp_run_info_set(info, &info->subject, "%s", subject);
        mp_run_info_set(info, &info->device, "%s", device);
        mp_run_info_set(info, &info->versions, "%s", versions);
        mp_run_info_set(info, &info->blas, "%s", blas);
    }
    json_decref(hello);
    return result;
}

/* The verdict of a case that no worker lived to give; `after` is what that worker had run before it. */
static void verdict_without_worker(const mp_matrix_row *row, const mp_matrix_row *after,
                                   const mp_suite_options *o, mp_outcome outcome, const char *reason,
                                   mp_verdict *v) {
    mp_subject subject = {.name = o->subject}, against = {.name = o->against};
    const mp_run_options options = mp_suite_run_options(o, &subject, &against, after);
    mp_verdict_begin(row, &options, outcome, v);
    mp_verdict_set(v, &v->reason, "%s", reason);
    if (o->strict) mp_strict_apply(v, 0);
}

/* Collects a worker that broke off its reply; one that is not dead within a second hangs in the middle of it,
 * and is killed. */
static void describe_death(pid_t pid, char *text, size_t size) {
    int status = 0;
    const pid_t ended = wait_for_end(pid, 1, &status);
    if (ended == 0) {
        end_process(pid);
        snprintf(text, size, "the worker hung in the middle of its verdict");
        return;
    }
    if (ended == pid && WIFSIGNALED(status))
        snprintf(text, size, "the worker died of signal %d (%s)%s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), WTERMSIG(status) == SIGKILL ? ": out of memory?" : "");
    else
        snprintf(text, size, "the worker ended with exit code %d before its verdict",
                 ended == pid ? WEXITSTATUS(status) : -1);
}

/* Takes the reply of a worker that has something to read, or finds that it died. */
static void collect(worker *w, const mp_matrix *matrix, const mp_suite_options *o, mp_verdict *v) {
    mp_error err = {0};
    json_t *json = receive_json(w->replies, mp_seconds_now() + REPLY_SECONDS);
    w->busy = false;
    if (!json) {
        char reason[200];
        describe_death(w->pid, reason, sizeof reason);
        close(w->requests);
        close(w->replies);
        verdict_without_worker(&matrix->rows[w->index], w->after, o, MP_CRASH, reason, v);
        *w = (worker){0};
        return;
    }
    if (mp_verdict_from_json(json, v, &err) != MP_OK) {
        mp_verdict_free(v);
        verdict_without_worker(&matrix->rows[w->index], w->after, o, MP_CRASH, err.text, v);
        worker_stop(w, true);
    } else if (v->outcome == MP_CRASH) {
        worker_stop(w, true); /* a device error leaves the context unusable */
    } else {
        w->after = &matrix->rows[w->index];
    }
    json_decref(json);
}

static void report(const mp_suite_options *o, size_t index, const mp_verdict *v) {
    if (o->progress) o->progress(o->ctx, index, v);
}

/* --fail-fast: whether nothing is to follow this verdict. */
static bool ends_early(const mp_suite_options *o, const mp_verdict *v) {
    return o->fail_fast && v->name[0] && v->outcome != MP_PASS && v->outcome != MP_SKIP;
}

/* The subject cannot run here: every case is a SKIP, and says why. */
static void skip_all(const mp_matrix *matrix, const mp_suite_options *o, const char *why,
                     mp_verdict *verdicts) {
    for (size_t i = 0; i < matrix->count; i++) {
        verdict_without_worker(&matrix->rows[i], NULL, o, MP_SKIP, why, &verdicts[i]);
        report(o, i, &verdicts[i]);
    }
}

/* One round of waiting: every busy worker that has answered or died is collected, every one past its deadline
 * is killed. Returns how many verdicts came. */
static size_t wait_for_workers(worker *workers, int jobs, const mp_matrix *matrix, const mp_suite_options *o,
                               mp_verdict *verdicts) {
    struct pollfd fds[MOST_JOBS];
    size_t done = 0;
    for (int i = 0; i < jobs; i++)
        fds[i] = (struct pollfd){.fd = workers[i].busy ? workers[i].replies : -1, .events = POLLIN};
    if (poll(fds, (nfds_t)jobs, 200) < 0 || interrupted)
        return 0; /* a signal to the whole group ends the workers too: no crash of a case */
    for (int i = 0; i < jobs; i++) {
        worker *w = &workers[i];
        if (!w->busy) continue;
        const size_t index = w->index;
        if (fds[i].revents) {
            collect(w, matrix, o, &verdicts[index]);
        } else if (mp_seconds_now() > w->deadline) {
            char reason[100];
            snprintf(reason, sizeof reason, "no verdict after %g s", o->timeout_seconds);
            const mp_matrix_row *after = w->after;
            worker_stop(w, true);
            verdict_without_worker(&matrix->rows[index], after, o, MP_TIMEOUT, reason, &verdicts[index]);
        } else {
            continue;
        }
        report(o, index, &verdicts[index]);
        done++;
    }
    return done;
}

/* Signals that end a run: caught, so that the reports still get written. */
static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
enum { ENDS = sizeof ends / sizeof *ends };

static void catch_ends(int flags, struct sigaction old[ENDS]) {
    interrupted = 0;
    for (int i = 0; i < ENDS; i++) {
        sigaction(ends[i], NULL, &old[i]);
        if (old[i].sa_handler != SIG_IGN)
            sigaction(ends[i], &(struct sigaction){.sa_handler = on_interrupt, .sa_flags = flags},
                      NULL); /* nohup stays nohup */
    }
}

static void release_ends(const struct sigaction old[ENDS]) {
    for (int i = 0; i < ENDS; i++) sigaction(ends[i], &old[i], NULL);
}

/* Every number of the file, before anything runs: a golden that is damaged is bad input, not a failure of
 * some case. */
static mp_status check_golden_file(const char *path, mp_error *err) {
    mp_golden *golden = NULL;
    mp_status status = path ? mp_golden_open(path, &golden, err) : MP_OK;
    if (status == MP_OK && golden) status = mp_golden_check(golden, err);
    mp_golden_close(golden);
    return status;
}

/* Every case in this process: what a debugger or a memory checker wants to see. A crash ends the run, and so
 * does a second Ctrl-C; the first one waits for the case that runs. */
static mp_status run_in_process(const mp_matrix *matrix, const mp_suite_options *o, mp_verdict *verdicts,
                                mp_run_info *info, mp_error *err) {
    mp_subject subject = {0}, against = {0};
    mp_golden *golden = NULL;
    struct sigaction old[ENDS];
    const double start = mp_seconds_now();
    mp_error why = {0};
    catch_ends((int)SA_RESETHAND, old);
    mp_status status = open_all(matrix, o, &subject, &against, &golden, &why);
    if (status == MP_EUNSUPPORTED) {
        skip_all(matrix, o, why.text, verdicts);
        status = MP_OK;
    } else if (status != MP_OK) {
        if (err) *err = why;
    } else {
        mp_run_options options = mp_suite_run_options(o, &subject, &against, NULL);
        options.golden = golden;
        mp_run_info_set(info, &info->subject, "%s", subject.name);
        mp_run_info_set(info, &info->device, "%s", subject.device);
        mp_run_info_set(info, &info->versions, "%s", subject.versions);
        mp_run_info_set(info, &info->blas, "%s", o->plain ? "plain loops" : mp_blas_name());
        for (size_t i = 0; i < matrix->count && !interrupted; i++) {
            if (o->progress) o->progress(o->ctx, i, NULL);
            mp_run_case(&matrix->rows[i], &options, &verdicts[i]);
            options.after = &matrix->rows[i];
            if (o->progress) o->progress(o->ctx, i, &verdicts[i]);
            if (ends_early(o, &verdicts[i])) break;
        }
    }
    mp_golden_close(golden);
    mp_subject_close(&against);
    if (!o->test_subject) mp_subject_close(&subject);
    info->interrupted = interrupted != 0;
    info->seconds = mp_seconds_now() - start;
    release_ends(old);
    return status;
}

mp_status mp_suite_run(const mp_matrix *matrix, const mp_suite_options *options, mp_verdict *verdicts,
                       mp_run_info *info, mp_error *err) {
    worker workers[MOST_JOBS] = {0};
    mp_suite_options resolved = *options; /* with the subject that "auto" came to, for the repros */
    const mp_suite_options *o = &resolved;
    const int jobs = jobs_of(matrix, o);
    for (size_t i = 0; i < matrix->count; i++) mp_verdict_init(&verdicts[i]);
    const mp_status checked = check_golden_file(o->golden_path, err);
    if (checked != MP_OK) return checked;
    if (o->in_process) return run_in_process(matrix, o, verdicts, info, err);
    const double start = mp_seconds_now();
    struct sigaction old[ENDS], old_pipe;
    catch_ends(0, old);
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &old_pipe);

    mp_error why = {0};
    mp_status status = worker_start(&workers[0], matrix, o, info, &why);
    size_t next = 0, open = 0, matrix_end = matrix->count;
    if (status == MP_OK && info->subject[0]) resolved.subject = info->subject;
    if (status == MP_EUNSUPPORTED) {
        skip_all(matrix, o, why.text, verdicts);
        next = matrix->count;
        status = MP_OK;
    } else if (status != MP_OK) {
        if (err) *err = why;
    }
    while (status == MP_OK && !interrupted && (next < matrix_end || open > 0)) {
        for (int i = 0; i < jobs && next < matrix_end && !interrupted; i++) {
            worker *w = &workers[i];
            if (w->busy) continue;
            if (w->pid == 0 && worker_start(w, matrix, o, info, &why) != MP_OK) {
                verdict_without_worker(&matrix->rows[next], NULL, o, MP_CRASH, why.text, &verdicts[next]);
                report(o, next, &verdicts[next]);
                next++;
                continue;
            }
            if (w->pid == 0) break; /* interrupted while it started */
            report(o, next, NULL);
            *w = (worker){.pid = w->pid,
                          .requests = w->requests,
                          .replies = w->replies,
                          .busy = true,
                          .index = next,
                          .after = w->after,
                          .deadline = mp_seconds_now() + o->timeout_seconds};
            const uint64_t message = next++;
            mp_write_all(w->requests, &message,
                         sizeof message); /* a worker that died meanwhile is found when its reply is read */
            open++;
        }
        open -= wait_for_workers(workers, jobs, matrix, o, verdicts);
        for (size_t i = 0; i < next; i++)
            if (ends_early(o, &verdicts[i])) matrix_end = next; /* those that run are still waited for */
    }
    for (int i = 0; i < jobs; i++) worker_stop(&workers[i], interrupted);
    info->interrupted = interrupted != 0;
    info->seconds = mp_seconds_now() - start;
    release_ends(old);
    sigaction(SIGPIPE, &old_pipe, NULL);
    return status;
}
