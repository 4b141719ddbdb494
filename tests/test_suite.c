/* SPDX-License-Identifier: Apache-2.0 */
/* harness/run/suite.c: whatever one case does to its worker, the other cases are judged and its own verdict
 * says what happened. */
#include "tests/chaos.h"

#include "base/clock.h"
#include "base/host_memory.h"
#include "moeparity/golden.h"

#include <omp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static const struct {
    mp_outcome outcome;
    const char *reason;
} expected[MISHAPS] = {
    [NONE] = {MP_PASS, ""},
    [SEGFAULT] = {MP_CRASH,
                  "the worker died of signal 11 (Segmentation fault) before its verdict (mischief gate_up)"},
    [ABORT] = {MP_CRASH, "the worker died of signal 6"},
    [TERMINATED] = {MP_CRASH, "the worker died of signal 15"}, /* the suite catches it, its workers do not */
    [EXIT] = {MP_CRASH, "the worker ended with exit code 7 before its verdict"},
    [LIBRARY_EXIT] = {MP_CRASH, "the worker ended with exit code 1 before its verdict"},
    [HANG] = {MP_TIMEOUT, "no verdict after 3 s (mischief gate_up)"},
    [HALF_A_MESSAGE] = {MP_TIMEOUT, "no verdict after 3 s"},
    [NO_MESSAGE] = {MP_CRASH, "a message that is no JSON came: "},
    [NO_DEVICE] = {MP_CRASH, "CUDA_ERROR_ILLEGAL_ADDRESS"},
    [NO_MEMORY] = {MP_CRASH, "cannot allocate 1 byte"},
    [NO_MEMORY_ONCE] = {MP_PASS, ""},
    [NOT_SUPPORTED] = {MP_SKIP, "not here"},
    [KILLED] = {MP_CRASH, "the worker died of signal 9"},
    [KILLED_ONCE] = {MP_PASS, ""},
    [BAD_INPUT] = {MP_CRASH, "refused"},
};

static void judge_mishap(fixture *f, mishap what, int jobs) {
    chaos_set("CHAOS_MISHAP", (int)what);
    unlink(f->told);
    f->options.settings.jobs = jobs;
    f->options.settings.timeout = expected[what].outcome == MP_TIMEOUT
                                      ? 3
                                      : 60; /* an innocent case takes 10 ms, but the machine may be busy */
    if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
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
        /* The victim fails alone as well: it owes nothing to the cases before it. */
        const char *first = strstr(v->repro, "--case ");
        assert_non_null(first);
        assert_null(strstr(first + 1, "--case "));
        assert_string_equal(v->history, "");
        assert_int_equal(f->progress.started[i], 1);
        assert_int_equal(f->progress.judged[i], 1);
        assert_int_equal(f->progress.phases[i] > 0, i == VICTIM);
        assert_int_equal(strstr(v->reason, "with no other worker beside it") != NULL,
                         i == VICTIM && what == KILLED && jobs > 1);
        mp_tally_add(&tally, v);
    }
    assert_true(jobs > 1 || f->progress.in_order);
    if (what == NO_MEMORY_ONCE || what == KILLED_ONCE)
        assert_int_equal(access(f->told, F_OK), 0); /* it came twice */
    assert_true(f->progress.starting > 0);
    assert_false(f->info.interrupted);
    assert_string_equal(f->info.subject, "chaos");
    const mp_outcome o = expected[what].outcome;
    assert_int_equal(mp_exit_code(&tally, &f->info), o == MP_CRASH || o == MP_TIMEOUT ? 3 : 0);
}

static void one_worker(void **state) {
    for (mishap m = NONE; m < MISHAPS; m++)
        if (m != NO_MEMORY_ONCE && m != KILLED_ONCE) judge_mishap(*state, m, 1);
}

static void three_workers(void **state) {
    for (mishap m = NONE; m < MISHAPS; m++) judge_mishap(*state, m, 3);
}

/* Where nobody else had the memory that it lacked, that is the verdict. */
static void alone_a_lack_of_memory_is_no_others(void **state) {
    fixture *f = *state;
    chaos_set("CHAOS_MISHAP", NO_MEMORY_ONCE);
    f->options.settings.jobs = 1;
    if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
    assert_int_equal(f->v[VICTIM].outcome, MP_CRASH);
    assert_string_equal(f->v[VICTIM].reason, "cannot allocate 2 bytes");
}

/* Rows whose subject says that it takes more than half of the memory wait for each other. */
static void what_a_subject_takes_of_the_memory_counts(void **state) {
    fixture *f = *state;
    enum { MOST = 60 };
    if (mp_memory_available() == 0) skip(); /* not known here */
    chaos_set("CHAOS_HOST_PERCENT", MOST);
    chaos_set("CHAOS_PAUSE_MS", 20);
    judge_mishap(f, NONE, 3);
}

static void more_workers_than_cases(void **state) {
    judge_mishap(*state, ABORT, 64);
}

/* A child of fork alone would wait for threads that it does not have. */
static void threads_of_the_caller_are_no_matter(void **state) {
    fixture *f = *state;
    int threads = 0;
#pragma omp parallel num_threads(4) reduction(+ : threads)
    threads++;
    assert_int_equal(threads, 4);
    f->options.settings.threads = 2;
    judge_mishap(f, NONE, 1);
}

static void no_descriptor_leaks_into_a_worker(void **state) {
    fixture *f = *state;
    enum { LEAK = 77 };
    assert_int_equal(dup2(STDERR_FILENO, LEAK), LEAK);
    chaos_set("CHAOS_DESCRIPTOR", LEAK);
    judge_mishap(f, NONE, 1);
    close(LEAK);
}

static void interruption_keeps_what_is_done(void **state) {
    fixture *f = *state;
    for (int jobs = 1; jobs <= 2; jobs++) {
        chaos_set("CHAOS_MISHAP", HANG); /* a worker is busy when the signal comes, and would be for ever */
        f->options.settings.jobs = jobs;
        f->progress.interrupt_after = 2;
        assert_int_equal(chaos_run(f), MP_OK);
        assert_true(f->info.interrupted);
        assert_true(f->info.seconds < 10);
        for (int i = 0; i < 2; i++) assert_int_equal(f->v[i].outcome, MP_PASS);
        assert_string_not_equal(f->v[0].name, "");
        assert_string_not_equal(f->v[1].name, "");
        assert_string_equal(f->v[VICTIM].name, "");
        assert_string_equal(f->v[CASES - 1].name, "");
    }
}

static void after_the_first_failure_nothing_is_begun(void **state) {
    fixture *f = *state;
    f->options.fail_fast = true;
    for (int in_process = 0; in_process < 2; in_process++)
        for (mishap m = NO_MEMORY; m <= NOT_SUPPORTED; m++) {
            const bool ends = expected[m].outcome == MP_CRASH;
            chaos_set("CHAOS_MISHAP", (int)m);
            f->options.in_process = in_process == 1;
            assert_int_equal(chaos_run(f), MP_OK);
            for (int i = 0; i < CASES; i++) {
                assert_int_equal(f->progress.started[i], ends ? i <= VICTIM : 1);
                assert_int_equal(f->v[i].name[0] != '\0', ends ? i <= VICTIM : 1);
            }
            assert_int_equal(f->v[VICTIM].outcome, expected[m].outcome);
        }
}

static void in_process_a_signal_waits_for_the_case_that_runs(void **state) {
    fixture *f = *state;
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    f->options.in_process = true;
    for (int i = 0; i < 3; i++) {
        chaos_set("CHAOS_SIGNAL", signals[i]);
        chaos_set("CHAOS_RAISES", 1);
        assert_int_equal(chaos_run(f), MP_OK);
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
    chaos_set("CHAOS_SIGNAL", SIGINT);
    chaos_set("CHAOS_RAISES", 2);
    f->options.in_process = true;
    int status = 0;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        omp_set_num_threads(1); /* a pool of threads is missing from what was forked */
        mp_suite_run(&f->matrix, &f->options, f->v, &f->info, &f->err);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

static void in_process_an_ignored_signal_stays_ignored(void **state) {
    fixture *f = *state;
    chaos_set("CHAOS_SIGNAL", SIGHUP);
    chaos_set("CHAOS_RAISES", 1);
    f->options.in_process = true;
    signal(SIGHUP, SIG_IGN);
    const mp_status status = chaos_run(f);
    signal(SIGHUP, SIG_DFL);
    assert_int_equal(status, MP_OK);
    assert_false(f->info.interrupted);
    assert_int_equal(f->progress.events, CASES);
}

/* Once its parent is dead, this process may collect the worker. */
static void a_hanging_worker_dies_with_its_parent(void **state) {
    fixture *f = *state;
    int worker = 0;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    chaos_set("CHAOS_MISHAP", HANG);
    fflush(NULL);
    const pid_t parent = fork();
    if (parent == 0) {
        mp_suite_run(&f->matrix, &f->options, f->v, &f->info, &f->err);
        _exit(0);
    }
    assert_true(parent > 0); /* kill(-1) is for everybody */
    for (const double late = mp_seconds_now() + 60; worker == 0 && mp_seconds_now() < late; usleep(10000)) {
        FILE *told = fopen(f->told, "r");
        if (told && fscanf(told, "%d\n", &worker) != 1) worker = 0;
        if (told) fclose(told);
    }
    assert_true(worker > 0);
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    pid_t gone = 0;
    for (const double late = mp_seconds_now() + 10; gone == 0 && mp_seconds_now() < late; usleep(10000))
        gone = waitpid(worker, NULL, WNOHANG);
    if (gone == 0) kill(worker, SIGKILL); /* a child of this process, and alive */
    assert_int_equal(gone, worker);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

/* The parent tells how to repeat a case that its worker did not survive: no less than the worker tells of a
 * case that it judged. */
static void the_repro_of_a_crash_lacks_nothing(void **state) {
    fixture *f = *state;
    char path[64], expected_repro[4096];
    snprintf(path, sizeof path, "%s/g.h5", f->folder);
    mp_golden *golden = NULL;
    const mp_contract contract = mp_contract_weakest();
    const mp_trace nothing = {.block_size_m = 16}; /* enough to hold the case */
    assert_int_equal(mp_golden_create(path, &(mp_provenance){0}, 0, &golden, &f->err), MP_OK);
    assert_int_equal(mp_golden_write(golden, &f->matrix.rows[0].c, &contract, "", &nothing, NULL, &f->err),
                     MP_OK);
    assert_int_equal(mp_golden_commit(golden, &f->err), MP_OK);

    chaos_set("CHAOS_MISHAP", ABORT);
    f->options.settings.subject = "auto"; /* came to chaos */
    f->options.settings.against = "ref";
    f->options.settings.golden = path;
    f->options.settings.golden_partial = true;
    f->options.settings.repeat = 3;
    f->options.settings.device = "NVIDIA H200";
    f->options.settings.triton = "3.6.0";
    if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
    for (int i = 0; i < CASES; i++) {
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&f->matrix.rows[i].c, name, sizeof name);
        snprintf(expected_repro, sizeof expected_repro,
                 "moeparity run --case '%s' --subject chaos --against ref --golden %s --device "
                 "'NVIDIA H200' --triton 3.6.0 --repeat 3 --timeout 60 --plain --golden-partial",
                 name, path);
        assert_string_equal(f->v[i].repro, expected_repro);
    }
    assert_int_equal(f->v[VICTIM].outcome, MP_CRASH);
    assert_string_equal(f->v[VICTIM].subject, "chaos");
}

static void a_strict_suite_fails_what_is_skipped(void **state) {
    fixture *f = *state;
    f->options.settings.strict = true;
    chaos_set("CHAOS_MISHAP", NOT_SUPPORTED);
    if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
    for (int i = 0; i < CASES; i++) assert_int_equal(f->v[i].outcome, i == VICTIM ? MP_FAIL : MP_PASS);
    assert_string_equal(f->v[VICTIM].reason, "strict: skipped: not here");
    assert_non_null(strstr(f->v[VICTIM].repro, " --strict"));
    setenv("CUDA_VISIBLE_DEVICES", "", 1); /* hidden devices are no devices */
    f->options.settings.subject = "cuda";
    if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
    for (int i = 0; i < CASES; i++) {
        assert_int_equal(f->v[i].outcome, MP_FAIL);
        assert_int_equal(strncmp(f->v[i].reason, "strict: skipped: ", 17), 0);
    }
}

/* What is not said is the usual. */
static void a_zeroed_struct_has_defaults(void **state) {
    fixture *f = *state;
    for (int in_process = 0; in_process < 2; in_process++) {
        f->options.in_process = in_process == 1;
        f->options.settings.repeat = f->options.settings.jobs = 0;
        f->options.settings.timeout = 0;
        if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
        for (int i = 0; i < CASES; i++) {
            assert_int_equal(f->v[i].outcome, MP_PASS);
            assert_int_equal(f->v[i].check[MP_CHECK_REPEAT].answer, MP_PASSED);
            assert_null(strstr(f->v[i].repro, "--repeat"));
            assert_null(strstr(f->v[i].repro, "--timeout"));
        }
    }
}

int main(void) {
    if (mp_worker_requested()) return mp_worker_serve(chaos_open);
    const struct CMUnitTest tests[] = {
        chaos_test(one_worker),
        chaos_test(three_workers),
        chaos_test(alone_a_lack_of_memory_is_no_others),
        chaos_test(what_a_subject_takes_of_the_memory_counts),
        chaos_test(more_workers_than_cases),
        chaos_test(threads_of_the_caller_are_no_matter),
        chaos_test(no_descriptor_leaks_into_a_worker),
        chaos_test(interruption_keeps_what_is_done),
        chaos_test(after_the_first_failure_nothing_is_begun),
        chaos_test(in_process_a_signal_waits_for_the_case_that_runs),
        chaos_test(in_process_a_second_signal_ends_it),
        chaos_test(in_process_an_ignored_signal_stays_ignored),
        chaos_test(a_hanging_worker_dies_with_its_parent),
        chaos_test(the_repro_of_a_crash_lacks_nothing),
        chaos_test(a_strict_suite_fails_what_is_skipped),
        chaos_test(a_zeroed_struct_has_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
