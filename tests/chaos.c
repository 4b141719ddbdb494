/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/chaos.h"

#include "base/host_memory.h"
#include "base/process.h"
#include "harness/progress.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static mp_subject host;
static bool context_lost; /* after a device error nothing works any more in that process */
static int raised;        /* how often its run has raised CHAOS_SIGNAL */

static int told_by(const char *variable) {
    const char *text = getenv(variable);
    return text ? atoi(text) : 0;
}

void chaos_set(const char *variable, int value) {
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    setenv(variable, text, 1);
}

static mp_status describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    const mp_status status = host.describe(&host, c, offer, err);
    offer->host_bytes += mp_memory_available() / 100 * (size_t)told_by("CHAOS_HOST_PERCENT");
    return status;
}

static _Noreturn void hang(void) {
    for (;;) pause();
}

/* Which process it is that hangs. */
static void tell(void) {
    const char *path = getenv("CHAOS_TOLD");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
}

static void say(const char *bytes, size_t size) {
    if (write(MP_PROCESS_OUT, bytes, size) != (ssize_t)size) _exit(8);
}

static mp_status suffer(mp_error *err) {
    mp_progress("gate_up", "mischief");
    switch ((mishap)told_by("CHAOS_MISHAP")) {
    case SEGFAULT:
        signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would turn it into an exit */
        raise(SIGSEGV);
        break;
    case ABORT: signal(SIGABRT, SIG_DFL), abort();
    case TERMINATED: raise(SIGTERM); break;
    case EXIT: _exit(7);
    case LIBRARY_EXIT: _exit(1); /* a plain exit would run the leak checker of a sanitizer */
    case HANG: tell(), hang();
    case HALF_A_MESSAGE: say("\100\0\0\0{\"ver", 9), hang();
    case NO_MESSAGE: say("\4\0\0\0{,,}", 8), hang();
    case NO_DEVICE: context_lost = true; return mp_fail(err, MP_EDEVICE, "CUDA_ERROR_ILLEGAL_ADDRESS");
    case NO_MEMORY: return mp_fail(err, MP_EMEMORY, "cannot allocate 1 byte");
    case NO_MEMORY_ONCE:
        if (access(getenv("CHAOS_TOLD"), F_OK) == 0) break;
        tell();
        return mp_fail(err, MP_EMEMORY, "cannot allocate 2 bytes");
    case KILLED_ONCE:
        if (access(getenv("CHAOS_TOLD"), F_OK) == 0) break;
        tell();
        raise(SIGKILL);
        break;
    case KILLED: raise(SIGKILL); break;
    case NOT_SUPPORTED: return mp_fail(err, MP_EUNSUPPORTED, "not here");
    case BAD_INPUT: return mp_fail(err, MP_EINPUT, "refused");
    default: break;
    }
    return MP_OK;
}

/* Who says that it takes most of the memory, and runs beside another one that does. */
static mp_status crowd(bool enter, mp_error *err) {
    const char *path = getenv("CHAOS_TOLD");
    if (told_by("CHAOS_HOST_PERCENT") == 0) return MP_OK;
    if (!enter) {
        unlink(path);
        return MP_OK;
    }
    const int mine = open(path, O_CREAT | O_EXCL | O_WRONLY, 0666);
    if (mine < 0) return mp_fail(err, MP_EDEVICE, "two at once");
    close(mine);
    return MP_OK;
}

static mp_status run(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s;
    const int inherited = told_by("CHAOS_DESCRIPTOR");
    const bool victim = e->c->seed == VICTIM;
    mp_status status = context_lost ? mp_fail(err, MP_EDEVICE, "the context is lost") : MP_OK;
    if (inherited && fcntl(inherited, F_GETFD) >= 0)
        status = mp_fail(err, MP_EDEVICE, "descriptor %d leaked into the worker", inherited);
    if (status == MP_OK) status = crowd(true, err);
    usleep(1000 * (useconds_t)told_by("CHAOS_PAUSE_MS"));
    if (status == MP_OK) crowd(false, err);
    for (; victim && raised < told_by("CHAOS_RAISES"); raised++) raise(told_by("CHAOS_SIGNAL"));
    if (status == MP_OK && victim) status = suffer(err);
    return status == MP_OK ? host.run(&host, e, err) : status;
}

static mp_status begin(mp_error *err) {
    const char *path = getenv("CHAOS_STARTED");
    const int first = path ? open(path, O_CREAT | O_EXCL | O_WRONLY, 0666) : -1;
    if (first >= 0) close(first);
    switch ((start)told_by("CHAOS_START")) {
    case START_HANGS: tell(), hang();
    case START_DIES: signal(SIGSEGV, SIG_DFL), raise(SIGSEGV); break;
    case START_EXITS: _exit(1);
    case LATER_HANGS:
        if (first < 0) hang();
        break;
    case LATER_DIES: return first < 0 ? mp_fail(err, MP_EDEVICE, "no second start") : MP_OK;
    default: break;
    }
    return MP_OK;
}

mp_status chaos_open(const char *name, mp_subject *s, mp_error *err) {
    if (strcmp(name, "chaos") != 0 && strcmp(name, "auto") != 0) return mp_subject_open(name, s, err);
    *s = (mp_subject){.name = "chaos", .describe = describe, .run = run};
    raised = 0;
    const mp_status status = begin(err);
    return status == MP_OK ? mp_subject_open("host", &host, err) : status;
}

static void on_progress(void *ctx, size_t index, const mp_verdict *v) {
    progress *p = ctx;
    assert_in_range(index, 0, CASES - 1);
    if (!v) {
        p->started[index]++;
        return;
    }
    p->judged[index]++;
    p->in_order = p->in_order && index == (size_t)p->events;
    p->events++;
    if (p->events == p->interrupt_after) raise(SIGINT);
}

static void on_phase(void *ctx, size_t index, const char *what, double seconds) {
    progress *p = ctx;
    assert_true(seconds >= 0);
    if (index == MP_NO_CASE)
        p->starting += strcmp(what, "subject") == 0;
    else
        p->phases[index] += strcmp(what, "mischief gate_up") == 0;
}

/* Frees what the last run left. */
static void forget(fixture *f) {
    for (int i = 0; i < CASES; i++) mp_verdict_free(&f->v[i]);
    mp_run_info_free(&f->info);
}

int chaos_set_up(void **state) {
    static const char *const self[] = {"/proc/self/exe", NULL};
    static const char *const variables[] = {"CHAOS_MISHAP",      "CHAOS_START",      "CHAOS_RAISES",
                                            "CHAOS_SIGNAL",      "CHAOS_DESCRIPTOR", "CHAOS_PAUSE_MS",
                                            "CHAOS_HOST_PERCENT"};
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!f) return -1;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) unsetenv(variables[i]);
    strcpy(f->folder, "/tmp/moeparity.XXXXXX");
    if (!mkdtemp(f->folder)) return -1;
    snprintf(f->started, sizeof f->started, "%s/started", f->folder);
    snprintf(f->told, sizeof f->told, "%s/told", f->folder);
    setenv("CHAOS_STARTED", f->started, 1);
    setenv("CHAOS_TOLD", f->told, 1);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* the crashes are meant */
    signal(SIGINT, SIG_DFL);                        /* ignored in a shell's background, and under nohup */
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    for (int i = 0; i < CASES; i++) {
        char text[MP_CASE_TEXT_MAX];
        snprintf(text, sizeof text, "M=4 E=2 topk=1 K=16 N=8 seed=%d", i);
        if (mp_matrix_add(&f->matrix, text, NULL, 0, &f->err)) return -1;
    }
    f->options =
        (mp_suite_options){.settings = {.subject = "chaos", .threads = 1, .plain = true, .timeout = 60},
                           .program = self,
                           .open_subject = chaos_open,
                           .progress = on_progress,
                           .phase = on_phase,
                           .ctx = &f->progress};
    return 0;
}

int chaos_tear_down(void **state) {
    fixture *f = *state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", f->folder);
    forget(f);
    mp_matrix_free(&f->matrix);
    free(f);
    return system(command);
}

static int open_files(void) {
    int count = 0;
    DIR *here = opendir("/proc/self/fd");
    assert_non_null(here);
    while (readdir(here)) count++;
    closedir(here);
    return count;
}

enum { HANDLERS = 4 };
static void signal_handlers(struct sigaction handlers[HANDLERS]) {
    const int signals[HANDLERS] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (int i = 0; i < HANDLERS; i++) sigaction(signals[i], NULL, &handlers[i]);
}

mp_status chaos_run(fixture *f) {
    const int files = open_files(), interrupt_after = f->progress.interrupt_after;
    struct sigaction before[HANDLERS], after[HANDLERS];
    signal_handlers(before);
    unlink(f->started);
    forget(f);
    f->progress = (progress){.in_order = true, .interrupt_after = interrupt_after};
    const mp_status status = mp_suite_run(&f->matrix, &f->options, f->v, &f->info, &f->err);
    assert_int_equal(open_files(), files);
    signal_handlers(after);
    for (int i = 0; i < HANDLERS; i++) assert_ptr_equal(after[i].sa_handler, before[i].sa_handler);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no worker is left, dead or alive */
    assert_int_equal(errno, ECHILD);
    return status;
}

void chaos_nothing_ran(fixture *f, const char *message) {
    assert_int_equal(chaos_run(f), MP_EINPUT);
    if (!strstr(f->err.text, message)) fail_msg("%s", f->err.text);
    assert_int_equal(f->progress.events, 0);
    for (int i = 0; i < CASES; i++) assert_string_equal(f->v[i].name, "");
}
