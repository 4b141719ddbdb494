/* harness/suite.c: whatever one case does to its worker, the other cases are judged and its own verdict says what happened. */
#include "harness/subject.h"
#include "harness/suite.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CASES = 5, VICTIM = 2 };
typedef enum mishap { NONE, SEGFAULT, ABORT, EXIT, HANG, NO_DEVICE, NO_MEMORY, NOT_SUPPORTED, BAD_INPUT, MISHAPS } mishap;

/* The host subject, but for what it does to the case with seed VICTIM. */
typedef struct chaos {
    mp_subject host;
    mishap mishap;
    bool context_lost; /* after a device error nothing works any more in that process */
} chaos;

static mp_status chaos_resolve(mp_subject *s, const mp_case *c, mp_contract *contract, mp_config *config, mp_error *err) {
    chaos *self = s->self;
    return self->host.resolve(&self->host, c, contract, config, err);
}

static mp_status chaos_plan(mp_subject *s, const mp_case *c, mp_memory *memory, mp_error *err) {
    chaos *self = s->self;
    return self->host.plan(&self->host, c, memory, err);
}

static mp_status chaos_run(mp_subject *s, const mp_case *c, const mp_inputs *in, uint32_t poison, mp_trace *trace, mp_error *err) {
    chaos *self = s->self;
    if (self->context_lost) return mp_fail(err, MP_EDEVICE, "the context is lost");
    if (c->seed == VICTIM) switch (self->mishap) {
        case SEGFAULT:
            signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would turn it into an exit */
            raise(SIGSEGV);
            break;
        case ABORT: abort();
        case EXIT: _exit(7);
        case HANG:
            for (;;) pause();
        case NO_DEVICE: self->context_lost = true; return mp_fail(err, MP_EDEVICE, "CUDA_ERROR_ILLEGAL_ADDRESS");
        case NO_MEMORY: return mp_fail(err, MP_EMEMORY, "cannot allocate 1 byte");
        case NOT_SUPPORTED: return mp_fail(err, MP_EUNSUPPORTED, "not here");
        case BAD_INPUT: return mp_fail(err, MP_EINPUT, "refused");
        default: break;
        }
    return self->host.run(&self->host, c, in, poison, trace, err);
}

static const struct {
    mp_outcome outcome;
    const char *reason;
} expected[MISHAPS] = {
    [NONE] = {MP_PASS, ""},
    [SEGFAULT] = {MP_CRASH, "the worker died of signal 11"},
    [ABORT] = {MP_CRASH, "the worker died of signal 6"},
    [EXIT] = {MP_CRASH, "the worker ended with exit code 7 before its verdict"},
    [HANG] = {MP_TIMEOUT, "no verdict after 3 s"},
    [NO_DEVICE] = {MP_CRASH, "CUDA_ERROR_ILLEGAL_ADDRESS"},
    [NO_MEMORY] = {MP_CRASH, "cannot allocate 1 byte"},
    [NOT_SUPPORTED] = {MP_SKIP, "not here"},
    [BAD_INPUT] = {MP_CRASH, "refused"},
};

/* What the progress callback saw. */
typedef struct progress {
    int started[CASES], judged[CASES], events;
    bool in_order;
    int interrupt_after; /* verdicts; 0: never */
} progress;

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

typedef struct fixture {
    mp_matrix matrix;
    chaos chaos;
    mp_subject subject;
    mp_verdict v[CASES];
    mp_run_info info;
    progress progress;
    mp_suite_options options;
    mp_error err;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!f) return -1;
    for (int i = 0; i < CASES; i++) {
        char text[MP_CASE_TEXT_MAX];
        snprintf(text, sizeof text, "M=4 E=2 topk=1 K=16 N=8 seed=%d", i);
        if (mp_matrix_add(&f->matrix, text, NULL, 0, &f->err)) return -1;
    }
    if (mp_subject_open("host", &f->chaos.host, &f->err)) return -1;
    f->subject = (mp_subject){.name = "chaos", .self = &f->chaos, .resolve = chaos_resolve, .plan = chaos_plan, .run = chaos_run};
    f->progress.in_order = true;
    f->options = (mp_suite_options){.subject = "chaos",
                                    .repeat = 2,
                                    .jobs = 1,
                                    .plain = true,
                                    .timeout_seconds = 60,
                                    .progress = on_progress,
                                    .ctx = &f->progress,
                                    .test_subject = &f->subject};
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    mp_matrix_free(&f->matrix);
    free(f);
    return 0;
}

static int open_files(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

static mp_status run(fixture *f) {
    const int files = open_files();
    const mp_status status = mp_suite_run(&f->matrix, &f->options, f->v, &f->info, &f->err);
    assert_int_equal(open_files(), files);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no worker is left, dead or alive */
    assert_int_equal(errno, ECHILD);
    return status;
}

static void judge_mishap(fixture *f, mishap what, int jobs) {
    f->chaos.mishap = what;
    f->options.jobs = jobs;
    f->options.timeout_seconds = what == HANG ? 3 : 60; /* an innocent case takes 10 ms, but the machine may be busy */
    f->progress = (progress){.in_order = true};
    memset(f->v, 0, sizeof f->v);
    if (run(f) != MP_OK) fail_msg("%s", f->err.text);
    mp_tally tally = {0};
    for (int i = 0; i < CASES; i++) {
        const mp_verdict *v = &f->v[i];
        char name[MP_CASE_TEXT_MAX];
        const mp_outcome outcome = i == VICTIM ? expected[what].outcome : MP_PASS;
        mp_case_text(&f->matrix.rows[i].c, name, sizeof name);
        if (v->outcome != outcome) fail_msg("mishap %d, jobs %d, case %d: %s %s", (int)what, jobs, i, mp_outcome_name(v->outcome), v->reason);
        if (i == VICTIM && strncmp(v->reason, expected[what].reason, strlen(expected[what].reason)) != 0) fail_msg("mishap %d: %s", (int)what, v->reason);
        assert_string_equal(v->name, name);
        assert_non_null(strstr(v->repro, "moeparity run --case '"));
        assert_non_null(strstr(v->repro, name));
        assert_int_equal(f->progress.started[i], 1);
        assert_int_equal(f->progress.judged[i], 1);
        mp_tally_add(&tally, v);
    }
    assert_true(jobs > 1 || f->progress.in_order);
    assert_false(f->info.interrupted);
    assert_string_equal(f->info.subject, "chaos");
    const mp_outcome o = expected[what].outcome;
    assert_int_equal(mp_tally_exit_code(&tally), o == MP_FAIL ? 1 : o == MP_CRASH || o == MP_TIMEOUT ? 3 : 0);
}

static void one_worker(void **state) {
    for (mishap m = NONE; m < MISHAPS; m++) judge_mishap(*state, m, 1);
}

static void three_workers(void **state) {
    for (mishap m = NONE; m < MISHAPS; m++) judge_mishap(*state, m, 3);
}

static void more_workers_than_cases(void **state) {
    judge_mishap(*state, ABORT, 64);
}

static void interruption_keeps_what_is_done(void **state) {
    fixture *f = *state;
    struct sigaction after;
    for (int jobs = 1; jobs <= 2; jobs++) {
        f->chaos.mishap = HANG; /* a worker is busy when the signal comes, and would be for ever */
        f->options.jobs = jobs;
        f->progress = (progress){.in_order = true, .interrupt_after = 2};
        memset(f->v, 0, sizeof f->v);
        assert_int_equal(run(f), MP_OK);
        assert_true(f->info.interrupted);
        assert_true(f->info.seconds < 10);
        for (int i = 0; i < 2; i++) assert_int_equal(f->v[i].outcome, MP_PASS);
        assert_string_not_equal(f->v[0].name, "");
        assert_string_not_equal(f->v[1].name, "");
        assert_string_equal(f->v[VICTIM].name, "");
        assert_string_equal(f->v[CASES - 1].name, "");
    }
    sigaction(SIGINT, NULL, &after);
    assert_ptr_equal(after.sa_handler, SIG_DFL); /* as it was before any suite ran */
}

/* Hidden devices are no devices: this holds on a machine with a GPU as well. */
static void a_subject_that_cannot_run_here_skips_all(void **state) {
    fixture *f = *state;
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
    f->options.test_subject = NULL;
    f->options.subject = "cuda";
    if (run(f) != MP_OK) fail_msg("%s", f->err.text);
    mp_tally tally = {0};
    for (int i = 0; i < CASES; i++) {
        assert_int_equal(f->v[i].outcome, MP_SKIP);
        assert_string_not_equal(f->v[i].reason, "");
        assert_string_equal(f->v[i].reason, f->v[0].reason);
        assert_int_equal(f->progress.judged[i], 1);
        mp_tally_add(&tally, &f->v[i]);
    }
    assert_int_equal(mp_tally_exit_code(&tally), 77);
}

static void nothing_ran(fixture *f, const char *message) {
    assert_int_equal(run(f), MP_EINPUT);
    if (!strstr(f->err.text, message)) fail_msg("%s", f->err.text);
    assert_int_equal(f->progress.events, 0);
    for (int i = 0; i < CASES; i++) assert_string_equal(f->v[i].name, "");
}

static void an_unknown_subject_runs_nothing(void **state) {
    fixture *f = *state;
    f->options.test_subject = NULL;
    f->options.subject = "nonsense";
    nothing_ran(f, "unknown subject 'nonsense'");
}

static void an_unknown_second_subject_runs_nothing(void **state) {
    fixture *f = *state;
    f->options.against = "nonsense";
    nothing_ran(f, "unknown subject 'nonsense'");
}

static void a_broken_golden_runs_nothing(void **state) {
    fixture *f = *state;
    char path[] = "/tmp/moeparity.XXXXXX";
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, "no HDF5", 7), 7);
    close(fd);
    f->options.golden_path = path;
    nothing_ran(f, path);
    unlink(path);
    nothing_ran(f, path); /* it is missing now */
}

int main(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* the crashes are meant */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_worker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(three_workers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_workers_than_cases, set_up, tear_down),
        cmocka_unit_test_setup_teardown(interruption_keeps_what_is_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_subject_that_cannot_run_here_skips_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_subject_runs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_second_subject_runs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_golden_runs_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
