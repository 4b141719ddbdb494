/* harness/run/suite.c: whatever one case does to its worker, the other cases are judged and its own verdict
 * says what happened. */
#include "golden/golden.h"
#include "harness/subjects/subject.h"
#include "harness/run/suite.h"

#include <dirent.h>
#include <errno.h>
#include <omp.h>
#include <poll.h>
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
typedef enum mishap {
    NONE,
    SEGFAULT,
    ABORT,
    TERMINATED,
    EXIT,
    HANG,
    NO_DEVICE,
    NO_MEMORY,
    NOT_SUPPORTED,
    BAD_INPUT,
    MISHAPS
} mishap;

/* The host subject, but for what it does to the case with seed VICTIM. */
typedef struct chaos {
    mp_subject host;
    mishap mishap;
    bool context_lost;  /* after a device error nothing works any more in that process */
    int raises, raised; /* so many times its run raises this signal, which reaches the suite where there is no
                           worker */
    int hanging;        /* a pipe that is told which process hangs; 0: none */
} chaos;

static mp_status chaos_resolve(mp_subject *s, const mp_case *c, mp_contract *contract, mp_config *config,
                               mp_error *err) {
    chaos *self = s->self;
    return self->host.resolve(&self->host, c, contract, config, err);
}

static mp_status chaos_plan(mp_subject *s, const mp_case *c, mp_memory *memory, mp_error *err) {
    chaos *self = s->self;
    return self->host.plan(&self->host, c, memory, err);
}

static mp_status chaos_run(mp_subject *s, const mp_case *c, const mp_inputs *in, uint32_t poison,
                           mp_trace *trace, mp_error *err) {
    chaos *self = s->self;
    if (self->context_lost) return mp_fail(err, MP_EDEVICE, "the context is lost");
    for (; c->seed == VICTIM && self->raises > 0; self->raises--) raise(self->raised);
    if (c->seed == VICTIM) switch (self->mishap) {
        case SEGFAULT:
            signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would turn it into an exit */
            raise(SIGSEGV);
            break;
        case ABORT: abort();
        case TERMINATED: raise(SIGTERM); break;
        case EXIT: _exit(7);
        case HANG:
            if (self->hanging && write(self->hanging, &(pid_t){getpid()}, sizeof(pid_t)) < 0) _exit(8);
            for (;;) pause();
        case NO_DEVICE:
            self->context_lost = true;
            return mp_fail(err, MP_EDEVICE, "CUDA_ERROR_ILLEGAL_ADDRESS");
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
    [TERMINATED] = {MP_CRASH, "the worker died of signal 15"}, /* the suite catches it, its workers do not */
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

/* Frees what the last run left. */
static void forget(fixture *f) {
    for (int i = 0; i < CASES; i++) mp_verdict_free(&f->v[i]);
    mp_run_info_free(&f->info);
}

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
    f->subject = (mp_subject){
        .name = "chaos", .self = &f->chaos, .resolve = chaos_resolve, .plan = chaos_plan, .run = chaos_run};
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
    forget(f);
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

enum { HANDLERS = 4 };
static void signal_handlers(struct sigaction handlers[HANDLERS]) {
    const int signals[HANDLERS] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (int i = 0; i < HANDLERS; i++) sigaction(signals[i], NULL, &handlers[i]);
}

static mp_status run(fixture *f) {
    const int files = open_files();
    struct sigaction before[HANDLERS], after[HANDLERS];
    signal_handlers(before);
    const mp_status status = mp_suite_run(&f->matrix, &f->options, f->v, &f->info, &f->err);
    assert_int_equal(open_files(), files);
    signal_handlers(after);
    for (int i = 0; i < HANDLERS; i++) assert_ptr_equal(after[i].sa_handler, before[i].sa_handler);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no worker is left, dead or alive */
    assert_int_equal(errno, ECHILD);
    return status;
}

static void judge_mishap(fixture *f, mishap what, int jobs) {
    f->chaos.mishap = what;
    f->options.jobs = jobs;
    f->options.timeout_seconds =
        what == HANG ? 3 : 60; /* an innocent case takes 10 ms, but the machine may be busy */
    f->progress = (progress){.in_order = true};
    forget(f);
    if (run(f) != MP_OK) fail_msg("%s", f->err.text);
    mp_tally tally = {0};
    for (int i = 0; i < CASES; i++) {
        const mp_verdict *v = &f->v[i];
        char name[MP_CASE_TEXT_MAX];
        const mp_outcome outcome = i == VICTIM ? expected[what].outcome : MP_PASS;
        mp_case_text(&f->matrix.rows[i].c, name, sizeof name);
        if (v->outcome != outcome)
            fail_msg("mishap %d, jobs %d, case %d: %s %s", (int)what, jobs, i, mp_outcome_name(v->outcome),
                     v->reason);
        if (i == VICTIM && strncmp(v->reason, expected[what].reason, strlen(expected[what].reason)) != 0)
            fail_msg("mishap %d: %s", (int)what, v->reason);
        assert_string_equal(v->name, name);
        assert_non_null(strstr(v->repro, "moeparity run"));
        assert_non_null(strstr(v->repro, name));
        assert_int_equal(f->progress.started[i], 1);
        assert_int_equal(f->progress.judged[i], 1);
        mp_tally_add(&tally, v);
    }
    assert_true(jobs > 1 || f->progress.in_order);
    assert_false(f->info.interrupted);
    assert_string_equal(f->info.subject, "chaos");
    const mp_outcome o = expected[what].outcome;
    assert_int_equal(mp_exit_code(&tally, false), o == MP_FAIL                       ? 1
                                                  : o == MP_CRASH || o == MP_TIMEOUT ? 3
                                                                                     : 0);
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
    for (int jobs = 1; jobs <= 2; jobs++) {
        f->chaos.mishap = HANG; /* a worker is busy when the signal comes, and would be for ever */
        f->options.jobs = jobs;
        f->progress = (progress){.in_order = true, .interrupt_after = 2};
        forget(f);
        assert_int_equal(run(f), MP_OK);
        assert_true(f->info.interrupted);
        assert_true(f->info.seconds < 10);
        for (int i = 0; i < 2; i++) assert_int_equal(f->v[i].outcome, MP_PASS);
        assert_string_not_equal(f->v[0].name, "");
        assert_string_not_equal(f->v[1].name, "");
        assert_string_equal(f->v[VICTIM].name, "");
        assert_string_equal(f->v[CASES - 1].name, "");
    }
}

/* On one thread: a pool of them, once started, would be missing from every worker forked later. */
static mp_status run_in_process(fixture *f) {
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    f->options.in_process = true;
    const mp_status status = run(f);
    omp_set_num_threads(threads);
    return status;
}

static void in_process_a_signal_waits_for_the_case_that_runs(void **state) {
    fixture *f = *state;
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) {
        f->chaos.raised = signals[i];
        f->chaos.raises = 1;
        forget(f);
        assert_int_equal(run_in_process(f), MP_OK);
        assert_true(f->info.interrupted);
        for (int k = 0; k < CASES; k++) {
            assert_int_equal(f->v[k].name[0] != '\0', k <= VICTIM);
            assert_int_equal(f->v[k].outcome, MP_PASS);
        }
    }
}

/* There is no watchdog to end a case that hangs. */
static void in_process_a_second_signal_ends_it(void **state) {
    fixture *f = *state;
    f->chaos.raised = SIGINT;
    f->chaos.raises = 2;
    f->options.in_process = true;
    int status = 0;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        mp_suite_run(&f->matrix, &f->options, f->v, &f->info, &f->err);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

static void in_process_an_ignored_signal_stays_ignored(void **state) {
    fixture *f = *state;
    f->chaos.raised = SIGHUP;
    f->chaos.raises = 1;
    signal(SIGHUP, SIG_IGN);
    const mp_status status = run_in_process(f);
    signal(SIGHUP, SIG_DFL);
    assert_int_equal(status, MP_OK);
    assert_false(f->info.interrupted);
    assert_int_equal(f->progress.events, CASES);
}

/* The pipe ends when the last process that could write into it is gone. */
static void a_hanging_worker_dies_with_its_parent(void **state) {
    fixture *f = *state;
    int ends[2];
    pid_t worker = 0;
    assert_int_equal(pipe(ends), 0);
    f->chaos.mishap = HANG;
    f->chaos.hanging = ends[1];
    fflush(NULL);
    const pid_t parent = fork();
    if (parent == 0) {
        mp_suite_run(&f->matrix, &f->options, f->v, &f->info, &f->err);
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &worker, sizeof worker), sizeof worker);
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    const bool gone = poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, 10000) == 1;
    if (!gone) kill(worker, SIGKILL);
    close(ends[0]);
    assert_true(gone);
}

/* The parent tells how to repeat a case that its worker did not survive: no less than the worker tells of a
 * case that it judged. The crash's names the case that the worker ran before, which may have left something.
 */
static void the_repro_of_a_crash_lacks_nothing(void **state) {
    fixture *f = *state;
    char path[] = "/tmp/moeparity.XXXXXX", expected_repro[CASES][4096];
    close(mkstemp(path));
    mp_golden *golden = NULL;
    const mp_trace nothing = {.block_size_m = 16}; /* enough to hold the case */
    assert_int_equal(mp_golden_create(path, &(mp_provenance){0}, 0, &golden, &f->err), MP_OK);
    assert_int_equal(mp_golden_write(golden, &f->matrix.rows[0].c, "", "", &nothing, NULL, &f->err), MP_OK);
    assert_int_equal(mp_golden_commit(golden, &f->err), MP_OK);

    f->chaos.mishap = ABORT;
    f->options.subject = "auto"; /* came to chaos */
    f->options.against = "ref";
    f->options.golden_path = path;
    f->options.golden_partial = true;
    f->options.repeat = 3;
    if (run(f) != MP_OK) fail_msg("%s", f->err.text);
    unlink(path);
    for (int i = 0; i < CASES; i++) {
        char before[MP_CASE_TEXT_MAX] = "", name[MP_CASE_TEXT_MAX];
        if (i == VICTIM) mp_case_text(&f->matrix.rows[i - 1].c, before, sizeof before);
        mp_case_text(&f->matrix.rows[i].c, name, sizeof name);
        snprintf(expected_repro[i], sizeof expected_repro[i],
                 "moeparity run%s%s%s --case '%s' --subject chaos --against ref --golden %s --repeat 3 "
                 "--timeout 60 --plain --golden-partial",
                 i == VICTIM ? " --case '" : "", before, i == VICTIM ? "'" : "", name, path);
        assert_string_equal(f->v[i].repro, expected_repro[i]);
    }
    assert_int_equal(f->v[VICTIM].outcome, MP_CRASH);
    assert_string_equal(f->v[VICTIM].subject, "chaos");
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
    assert_int_equal(mp_exit_code(&tally, false), 77);
}

static void nothing_ran(fixture *f, const char *message) {
    assert_int_equal(run(f), MP_EINPUT);
    if (!strstr(f->err.text, message)) fail_msg("%s", f->err.text);
    assert_int_equal(f->progress.events, 0);
    for (int i = 0; i < CASES; i++) assert_string_equal(f->v[i].name, "");
}

/* What runs beside the case that failed is still judged; nothing is begun after it. */
static void fail_fast_stops(void **state) {
    fixture *f = *state;
    f->options.fail_fast = true;
    for (int how = 0; how < 3; how++) { /* one worker, three, none */
        f->chaos.mishap = NO_DEVICE;
        f->options.jobs = how == 1 ? 3 : 1;
        f->progress = (progress){.in_order = true};
        forget(f);
        assert_int_equal(how == 2 ? run_in_process(f) : run(f), MP_OK);
        assert_int_equal(f->v[VICTIM].outcome, MP_CRASH);
        assert_false(f->info.interrupted);
        int reached = 0;
        for (int i = 0; i < CASES; i++) {
            assert_int_equal(f->v[i].name[0] != '\0', f->progress.judged[i]);
            assert_int_equal(f->progress.started[i], f->progress.judged[i]);
            reached += f->progress.judged[i];
        }
        if (how != 1) assert_int_equal(reached, VICTIM + 1);
        if (how == 1) assert_in_range(reached, VICTIM + 1, VICTIM + 3);
    }
}

static void a_strict_suite_fails_what_is_skipped(void **state) {
    fixture *f = *state;
    f->options.strict = true;
    f->chaos.mishap = NOT_SUPPORTED;
    if (run(f) != MP_OK) fail_msg("%s", f->err.text);
    for (int i = 0; i < CASES; i++) assert_int_equal(f->v[i].outcome, i == VICTIM ? MP_FAIL : MP_PASS);
    assert_string_equal(f->v[VICTIM].reason, "strict: skipped: not here");
    assert_non_null(strstr(f->v[VICTIM].repro, " --strict"));
    forget(f);
    setenv("CUDA_VISIBLE_DEVICES", "", 1); /* hidden devices are no devices */
    f->options.test_subject = NULL;
    f->options.subject = "cuda";
    if (run(f) != MP_OK) fail_msg("%s", f->err.text);
    for (int i = 0; i < CASES; i++) {
        assert_int_equal(f->v[i].outcome, MP_FAIL);
        assert_int_equal(strncmp(f->v[i].reason, "strict: skipped: ", 17), 0);
    }
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
    signal(SIGINT, SIG_DFL);                        /* ignored in a shell's background, and under nohup */
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_worker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(three_workers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_workers_than_cases, set_up, tear_down),
        cmocka_unit_test_setup_teardown(interruption_keeps_what_is_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_process_a_signal_waits_for_the_case_that_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_process_a_second_signal_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_process_an_ignored_signal_stays_ignored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hanging_worker_dies_with_its_parent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_repro_of_a_crash_lacks_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_subject_that_cannot_run_here_skips_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fail_fast_stops, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_strict_suite_fails_what_is_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_subject_runs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_second_subject_runs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_golden_runs_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
