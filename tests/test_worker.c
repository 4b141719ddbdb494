/* SPDX-License-Identifier: Apache-2.0 */
/* harness/run: starts of workers, the protocol with workers of all kinds. */
#include "tests/chaos.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "harness/frame.h"
#include "harness/run/golden_cases.h"
#include "harness/verdict_json.h"

#include <signal.h>

/* ---- workers that are none of ours ---- */

typedef enum fake {
    NEWER = 1,      /* messages and fields that this version does not know */
    OTHER_PROTOCOL, /* one that cannot be spoken with */
    COMPILES,       /* longer than the timeout, and says so */
    SILENT,
    READS_AND_DIES, /* of the golden */
    READS_FOR_EVER,
    OUT_OF_STEP,
    WRONG_CASE,
    DIES_IDLE,       /* after every verdict */
    DIES_AFTER_HELLO /* without a case */
} fake;

static void say(mp_channel *channel, json_t *message) {
    if (mp_channel_push(channel, message, NULL) != MP_OK || !mp_channel_flush(channel)) _exit(9);
}

static json_t *hear(mp_channel *channel) {
    json_t *message = NULL;
    while (mp_channel_next(channel, &message, NULL) == MP_OK && !message)
        if (!mp_channel_receive(channel)) _exit(0);
    return message;
}

static json_t *pass(const json_t *run, const char *name) {
    mp_verdict v;
    const char *text = json_string_value(json_object_get(run, "case"));
    mp_verdict_init(&v);
    snprintf(v.name, sizeof v.name, "%s", name ? name : text ? text : "");
    json_t *verdict = mp_verdict_to_json(&v);
    json_object_set_new(verdict, "mood", json_string("fine"));
    return json_pack("{s:o}", "verdict", verdict);
}

static _Noreturn void be(fake what) {
    mp_channel c = {.in = MP_PROCESS_IN, .out = MP_PROCESS_OUT};
    json_decref(hear(&c));
    switch (what) {
    case SILENT:
        for (;;) pause();
    case READS_AND_DIES:
    case READS_FOR_EVER:
        say(&c, json_pack("{s:{s:s}}", "progress", "what", "golden"));
        signal(SIGSEGV, SIG_DFL);
        if (what == READS_AND_DIES) raise(SIGSEGV);
        for (;;) pause();
    case OUT_OF_STEP:
        if (write(c.out, "HTTP/1.1 400 Bad Request", 24) != 24) _exit(9);
        for (;;) pause();
    case COMPILES:
        say(&c, json_pack("{s:{s:s}}", "progress", "what", "kernels"));
        sleep(2);
        break;
    case NEWER: say(&c, json_pack("{s:{s:i}}", "weather", "degrees", 21)); break;
    case DIES_AFTER_HELLO: say(&c, json_pack("{s:{s:s}}", "progress", "what", "subject")); break;
    default: break;
    }
    say(&c, json_pack("{s:{s:i, s:s, s:[i]}}", "hello", "protocol", what == OTHER_PROTOCOL ? 2 : 1, "subject",
                      "fake", "ranks", 0));
    if (what == DIES_AFTER_HELLO) _exit(7);
    for (;;) {
        json_t *message = hear(&c), *run = json_object_get(message, "run");
        if (run) say(&c, pass(run, what == WRONG_CASE ? "M=99" : NULL));
        json_decref(message);
        if (run && what == DIES_IDLE) _exit(7);
    }
}

static mp_status run_fake(fixture *f, fake what) {
    char text[16];
    snprintf(text, sizeof text, "%d", (int)what);
    setenv("FAKE", text, 1);
    const mp_status status = chaos_run(f);
    unsetenv("FAKE");
    return status;
}

static void what_is_not_known_is_ignored(void **state) {
    fixture *f = *state;
    if (run_fake(f, NEWER) != MP_OK) fail_msg("%s", f->err.text);
    assert_string_equal(f->info.subject, "fake");
    for (int i = 0; i < CASES; i++)
        if (f->v[i].outcome != MP_PASS) fail_msg("%s", f->v[i].reason);
}

static void fails(fixture *f, mp_status status, const char *message) {
    if (status == MP_OK || f->err.status != status || !strstr(f->err.text, message))
        fail_msg("not '%s' but: %s", message, f->err.text);
    assert_int_equal(f->progress.events, 0);
}

static void another_protocol_is_refused(void **state) {
    fixture *f = *state;
    fails(f, run_fake(f, OTHER_PROTOCOL), "the worker speaks protocol 2; expected 1");
    fails(f, run_fake(f, OUT_OF_STEP), "a message of 1347703880 bytes came");
}

static void a_verdict_about_another_case_is_none(void **state) {
    fixture *f = *state;
    assert_int_equal(run_fake(f, WRONG_CASE), MP_OK);
    for (int i = 0; i < CASES; i++) {
        assert_int_equal(f->v[i].outcome, MP_CRASH);
        assert_non_null(strstr(f->v[i].reason, "the worker judged another case: M=99"));
    }
}

/* What libhdf5 does with a forged file, it does to the worker: the golden is bad input. */
static void a_crash_over_a_golden_is_bad_input(void **state) {
    fixture *f = *state;
    const char *message = "g.h5: libhdf5 crashed while it was read (signal 11): damaged or forged";
    f->options.settings.golden = "g.h5";
    assert_int_equal(run_fake(f, READS_AND_DIES), MP_EINPUT);
    fails(f, MP_EINPUT, message);
    f->options.settings.timeout = 2;
    assert_int_equal(run_fake(f, READS_FOR_EVER), MP_EIO);
    fails(f, MP_EIO, "g.h5: not read after 2 s");
    setenv("FAKE", "5", 1);
    assert_int_equal(mp_suite_golden_cases("g.h5", true, 0, f->options.program, NULL, &f->err), MP_EINPUT);
    unsetenv("FAKE");
    fails(f, MP_EINPUT, message);
}

/* The request does not fit into the pipe, and its rest meets nobody: no reason to die without a word. */
static void a_worker_that_does_not_listen_kills_nobody(void **state) {
    fixture *f = *state;
    static char path[300001];
    const char *const program[] = {"true", NULL};
    struct sigaction after;
    memset(path, 'x', sizeof path - 1);
    for (int i = 0; i < 20; i++) { /* whether it is gone when the rest is written is a matter of luck */
        assert_int_equal(mp_suite_golden_cases(path, false, 60, program, NULL, &f->err), MP_EDEVICE);
        fails(f, MP_EDEVICE, "the worker ended with exit code 0 before it answered");
    }
    sigaction(SIGPIPE, NULL, &after);
    assert_ptr_equal(after.sa_handler, SIG_DFL);
}

/* A program that ignores SIGCHLD is not told how its children ended. */
static void an_end_that_is_not_known_is_none(void **state) {
    fixture *f = *state;
    chaos_set("CHAOS_MISHAP", SEGFAULT);
    signal(SIGCHLD, SIG_IGN);
    const mp_status status = chaos_run(f);
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(status, MP_OK);
    for (int i = 0; i < CASES; i++) assert_int_equal(f->v[i].outcome, i == VICTIM ? MP_CRASH : MP_PASS);
    const char *reason = "the worker ended, it is not known how (SIGCHLD is ignored, or another part of this "
                         "program collected it) before its verdict";
    if (!strstr(f->v[VICTIM].reason, reason)) fail_msg("%s", f->v[VICTIM].reason);
}

/* ---- workers that die without a case ---- */

/* Long enough for the worker to be gone. */
static void slow_progress(void *ctx, size_t index, const mp_verdict *v) {
    progress *p = ctx;
    p->started[index] += v == NULL;
    p->judged[index] += v != NULL;
    p->events += v != NULL;
    if (v) usleep(200000);
}

static void slow_phase(void *ctx, size_t index, const char *what, double seconds) {
    (void)ctx, (void)index, (void)what, (void)seconds;
    usleep(200000);
}

/* The next case is not to blame, and never sees it. */
static void a_worker_that_dies_idle_is_replaced(void **state) {
    fixture *f = *state;
    f->options.progress = slow_progress;
    for (f->options.settings.jobs = 1; f->options.settings.jobs <= 2; f->options.settings.jobs++) {
        if (run_fake(f, DIES_IDLE) != MP_OK) fail_msg("%s", f->err.text);
        for (int i = 0; i < CASES; i++) {
            if (f->v[i].outcome != MP_PASS) fail_msg("%s", f->v[i].reason);
            assert_int_equal(f->progress.judged[i], 1);
        }
    }
}

/* It had the cases before in its memory: a second worker would write a file without them. */
static void with_an_idle_recorder_the_recording_is_lost(void **state) {
    fixture *f = *state;
    char path[64];
    snprintf(path, sizeof path, "%s/g.h5", f->folder);
    const mp_record_options record = {.path = path};
    f->options.progress = slow_progress;
    f->options.record = &record;
    assert_int_equal(run_fake(f, DIES_IDLE), MP_EDEVICE);
    const char *message = "the worker ended with exit code 7 between two cases: what it recorded is lost";
    if (!strstr(f->err.text, message)) fail_msg("%s", f->err.text);
    assert_int_equal(f->progress.events, 1);
}

/* None is started for ever. */
static void one_that_dies_before_its_first_case_did_not_start(void **state) {
    fixture *f = *state;
    f->options.phase = slow_phase;
    if (run_fake(f, DIES_AFTER_HELLO) != MP_OK) fail_msg("%s", f->err.text);
    for (int i = 0; i < CASES; i++) {
        assert_int_equal(f->v[i].outcome, MP_CRASH);
        if (!strstr(f->v[i].reason, "the worker ended with exit code 7 before its first case"))
            fail_msg("%s", f->v[i].reason);
    }
}

/* ---- starts ---- */

static double seconds_of(fixture *f, mp_status *status) {
    const double start_time = mp_seconds_now();
    *status = chaos_run(f);
    return mp_seconds_now() - start_time;
}

static void a_start_that_fails_ends_the_run(void **state) {
    fixture *f = *state;
    mp_status status;
    chaos_set("CHAOS_START", START_DIES);
    fails(f, chaos_run(f), "the worker died of signal 11 (Segmentation fault) before it answered (subject)");
    chaos_set("CHAOS_START", START_EXITS);
    fails(f, chaos_run(f), "the worker ended with exit code 1 before it answered (subject)");
    chaos_set("CHAOS_START", START_HANGS);
    f->options.settings.timeout = 2;
    f->options.settings.jobs = 3;
    assert_true(seconds_of(f, &status) < 12);
    assert_int_equal(status, MP_EDEVICE);
    char *told;
    size_t size;
    assert_int_equal(mp_file_read(f->told, &told, &size, &f->err), MP_OK);
    assert_int_equal(strchr(told, '\n') - told + 1, size); /* one pid: the others wait for the first */
    free(told);
    fails(f, status, "the worker has not answered after 2 s (subject)");
    f->options.settings.jobs = 1;
    f->options.settings.timeout = 1;
    if (run_fake(f, COMPILES) != MP_OK) fail_msg("%s", f->err.text); /* beyond the timeout, and may be */
}

/* One that hangs or dies at its start costs a run with other workers nothing. */
static void a_later_start_is_not_waited_for(void **state) {
    fixture *f = *state;
    mp_status status;
    f->options.settings.jobs = 3;
    chaos_set("CHAOS_PAUSE_MS", 50); /* the others fail while the first one still has cases */
    for (start s = LATER_HANGS; s <= LATER_DIES; s++) {
        chaos_set("CHAOS_START", (int)s);
        assert_true(seconds_of(f, &status) < 30);
        if (status != MP_OK) fail_msg("%s", f->err.text);
        for (int i = 0; i < CASES; i++) assert_int_equal(f->v[i].outcome, MP_PASS);
    }
}

/* After a crash nothing can be started any more: what is left could not be run. */
static void without_a_worker_cases_crash(void **state) {
    fixture *f = *state;
    mp_status status;
    chaos_set("CHAOS_MISHAP", SEGFAULT);
    f->options.settings.timeout = 2;
    for (start s = LATER_HANGS; s <= LATER_DIES; s++) {
        chaos_set("CHAOS_START", (int)s);
        assert_true(seconds_of(f, &status) < 20);
        assert_int_equal(status, MP_OK);
        for (int i = 0; i < CASES; i++) {
            assert_int_equal(f->v[i].outcome, i < VICTIM ? MP_PASS : MP_CRASH);
            if (i <= VICTIM) continue;
            assert_non_null(
                strstr(f->v[i].reason, s == LATER_HANGS ? "not answered after" : "no second start"));
            assert_int_equal(f->progress.judged[i], 1);
        }
    }
}

static void programs(void **state) {
    fixture *f = *state;
    const char *const *self = f->options.program;
    f->options.program = (const char *const[]){"/nowhere/moeparity", "worker", NULL};
    chaos_nothing_ran(f, "cannot run /nowhere/moeparity: No such file or directory");
    f->options.program = (const char *const[]){"no-program-of-this-name", NULL};
    chaos_nothing_ran(f, "cannot run no-program-of-this-name: there is no such program on PATH");
    f->options.program = (const char *const[]){"true", NULL};
    fails(f, chaos_run(f), "the worker ended with exit code 0 before it answered");
    f->options.program = NULL;
    setenv("MOEPARITY_PROGRAM", self[0], 1);
    if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
    for (int i = 0; i < CASES; i++) assert_int_equal(f->v[i].outcome, MP_PASS);
    unsetenv("MOEPARITY_PROGRAM");
    f->options.program = self;
    setenv(MP_WORKER_VARIABLE, "1", 1); /* as if this program had been started as a worker */
    chaos_nothing_ran(f, "this program was started as a worker, and does not serve");
    unsetenv(MP_WORKER_VARIABLE);
}

/* What the environment of a worker says about threads that wait. */
static void expect_waiting(fixture *f, const char *expected) {
    char *told = NULL;
    size_t size;
    fails(f, chaos_run(f), "the worker ended with exit code 0 before it answered");
    assert_int_equal(mp_file_read(f->told, &told, &size, &f->err), MP_OK);
    assert_string_equal(told, expected);
    free(told);
}

/* A worker's threads do not spin for long, unless the user says so, in either way. */
static void how_threads_wait_is_said_unless_the_user_does(void **state) {
    fixture *f = *state;
    const char *policy = getenv("OMP_WAIT_POLICY");
    char *as_it_was = policy ? strdup(policy) : NULL;
    f->options.program = (const char *const[]){
        "sh", "-c", "echo \"spins $GOMP_SPINCOUNT, policy $OMP_WAIT_POLICY\" > \"$CHAOS_TOLD\"", NULL};
    unsetenv("OMP_WAIT_POLICY");
    unsetenv("GOMP_SPINCOUNT");
    expect_waiting(f, "spins 3000, policy \n");
    setenv("GOMP_SPINCOUNT", "7", 1);
    expect_waiting(f, "spins 7, policy \n");
    unsetenv("GOMP_SPINCOUNT");
    setenv("OMP_WAIT_POLICY", "active", 1);
    expect_waiting(f, "spins , policy active\n");
    if (as_it_was)
        setenv("OMP_WAIT_POLICY", as_it_was, 1);
    else
        unsetenv("OMP_WAIT_POLICY");
    free(as_it_was);
}

/* Hidden devices are no devices: this holds on a machine with a GPU as well. */
static void a_subject_that_cannot_run_here_skips_all(void **state) {
    fixture *f = *state;
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
    f->options.settings.subject = "cuda";
    if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
    mp_tally tally = {0};
    for (int i = 0; i < CASES; i++) {
        assert_int_equal(f->v[i].outcome, MP_SKIP);
        assert_string_not_equal(f->v[i].reason, "");
        assert_string_equal(f->v[i].reason, f->v[0].reason);
        assert_int_equal(f->progress.judged[i], 1);
        mp_tally_add(&tally, &f->v[i]);
    }
    assert_int_equal(mp_exit_code(&tally, &f->info), 77);
}

static void bad_input_runs_nothing(void **state) {
    fixture *f = *state;
    f->options.settings.subject = "nonsense";
    chaos_nothing_ran(f, "unknown subject 'nonsense'");
    f->options.settings.subject = "chaos";
    f->options.settings.against = "nonsense";
    chaos_nothing_ran(f, "unknown subject 'nonsense'");
    f->options.settings.against = NULL;
    f->options.settings.golden = f->started;
    chaos_nothing_ran(f, f->started); /* it is missing */
    f->options.settings.golden = f->told;
    assert_int_equal(mp_file_replace(f->told, "no HDF5", 7, &f->err), MP_OK);
    chaos_nothing_ran(f, f->told);
}

/* ---- what a run prepares ---- */

static int prepared[2]; /* cases, of chaos and of the other one */
static mp_status describes;

static mp_status count_prepared(mp_subject *s, const mp_case *cases, size_t count, mp_error *err) {
    (void)cases, (void)err;
    prepared[strcmp(s->name, "other") == 0] += (int)count;
    return MP_OK;
}

static mp_status refuse(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s, (void)c, (void)offer;
    return mp_fail(err, describes, "no tiles");
}

static mp_status open_preparing(const char *name, mp_subject *s, mp_error *err) {
    const mp_status status = chaos_open("chaos", s, err);
    s->prepare = count_prepared;
    if (describes != MP_OK) s->describe = refuse;
    if (strcmp(name, "other") == 0) s->name = "other";
    return status;
}

/* Kernels are compiled before the first case, those of both subjects: later it would be a case's time. The
 * other subject runs neither variants nor the batches of 1, 2 and 3 of the four tokens. */
static void both_subjects_prepare(void **state) {
    fixture *f = *state;
    const char *pair[] = {"path=runner"};
    describes = MP_OK;
    prepared[0] = prepared[1] = 0;
    mp_matrix_free(&f->matrix);
    assert_int_equal(mp_matrix_add(&f->matrix, "M=4 E=2 topk=1 K=16 N=8", pair, 1, &f->err), MP_OK);
    f->options.in_process = true;
    f->options.open_subject = open_preparing;
    f->options.settings.against = "other";
    if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
    assert_int_equal(prepared[0], 2 + 3);
    assert_int_equal(prepared[1], 1);
}

static void why_tiles_cannot_be_read_is_passed_on(void **state) {
    fixture *f = *state;
    const mp_status why[] = {MP_EINPUT, MP_EIO};
    f->options.in_process = true;
    f->options.open_subject = open_preparing;
    for (int i = 0; i < 2; i++) {
        describes = why[i];
        assert_int_equal(chaos_run(f), why[i]);
        fails(f, why[i], "no tiles");
    }
}

int main(void) {
    const char *what = getenv("FAKE");
    if (mp_worker_requested() && what) be((fake)atoi(what));
    if (mp_worker_requested()) return mp_worker_serve(chaos_open);
    const struct CMUnitTest tests[] = {
        chaos_test(what_is_not_known_is_ignored),
        chaos_test(another_protocol_is_refused),
        chaos_test(a_verdict_about_another_case_is_none),
        chaos_test(a_crash_over_a_golden_is_bad_input),
        chaos_test(a_worker_that_does_not_listen_kills_nobody),
        chaos_test(an_end_that_is_not_known_is_none),
        chaos_test(a_worker_that_dies_idle_is_replaced),
        chaos_test(with_an_idle_recorder_the_recording_is_lost),
        chaos_test(one_that_dies_before_its_first_case_did_not_start),
        chaos_test(a_start_that_fails_ends_the_run),
        chaos_test(a_later_start_is_not_waited_for),
        chaos_test(without_a_worker_cases_crash),
        chaos_test(programs),
        chaos_test(how_threads_wait_is_said_unless_the_user_does),
        chaos_test(a_subject_that_cannot_run_here_skips_all),
        chaos_test(bad_input_runs_nothing),
        chaos_test(both_subjects_prepare),
        chaos_test(why_tiles_cannot_be_read_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
