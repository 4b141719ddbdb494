/* SPDX-License-Identifier: Apache-2.0 */
/* harness/run/engine_choice.c, and what a run makes of it, on the device of tests/fake_cuda.h. */
#include "harness/run/engine_choice.h"
#include "harness/run/setup.h"
#include "kernels/cuda.h"
#include "moeparity/suite.h"
#include "moeparity/verdict.h"
#include "offload/cross_check.h"
#include "offload/device/params.h"
#include "tests/fake_cuda.h"
#include "tests/ref_support.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

static char cache[] = "/tmp/test_engine_choice.XXXXXX";

static mp_case parsed(const char *text) {
    mp_error err = {0};
    mp_case c = mp_case_default();
    if (mp_case_parse(&c, text, &err) != MP_OK) fail_msg("%s", err.text);
    return c;
}

static void large_cases_pay(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool pays, pays_there;
    } cases[] = {{"M=32", false, false},
                 {"M=4375 topk=2", false, false},
                 {"M=1 E=128 topk=8 K=2048 N=768", false, false},
                 {"M=32 E=128 topk=8 K=2048 N=768", false, true},
                 {"M=1 E=256 topk=8 K=7168 N=2048", false, false},
                 {"M=2 E=256 topk=8 K=7168 N=2048", false, true},
                 {"M=4096 E=128 topk=8 K=2048 N=768", true, true},
                 {"M=1024 E=8 topk=2 K=4096 N=7168", true, true},
                 {"M=4096 E=128 topk=8 K=2048 N=768 scope=down", true, true},
                 {"M=4096 E=128 topk=8 N=768 scope=act", false, false},
                 {"M=131073 E=8 topk=8 N=2056 act=relu2 gated=0 scope=act", true, true},
                 {"M=131073 E=8 topk=8 K=2048 scope=combine", true, true}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const mp_case c = parsed(cases[i].text);
        if (mp_engine_pays(&c, false) != cases[i].pays) fail_msg("%s", cases[i].text);
        if (mp_engine_pays(&c, true) != cases[i].pays_there) fail_msg("%s, weights there", cases[i].text);
    }
}

static void names_are_known(void **state) {
    (void)state;
    mp_error err = {0};
    static const char *const known[] = {NULL, "auto", "cpu", "device"};
    for (size_t i = 0; i < COUNT(known); i++)
        assert_int_equal(mp_engine_choice_check(&(mp_settings){.engine = known[i]}, &err), MP_OK);
    assert_int_equal(mp_engine_choice_check(&(mp_settings){.engine = "gpu"}, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "engine 'gpu': expected auto, cpu or device"));
    assert_int_equal(mp_engine_choice_check(&(mp_settings){.engine = "device", .plain = true}, &err),
                     MP_EINPUT);
}

/* The device is opened once, for the first case that pays, and not at all where nobody wants it. */
static void the_device_is_opened_when_it_pays(void **state) {
    (void)state;
    mp_error err = {0};
    mp_engine_choice choice;
    const mp_case small = parsed("M=32"), large = parsed("M=4096 E=128 topk=8 K=2048 N=768");
    const mp_settings usual = {0}, cpu = {.engine = "cpu"}, plain = {.plain = true},
                      device = {.engine = "device"};
    fake.calls = 0;
    assert_int_equal(mp_engine_choice_begin(&choice, &usual, &err), MP_OK);
    assert_null(mp_engine_choose(&choice, &usual, NULL, &small));
    assert_null(mp_engine_choose(&choice, &cpu, NULL, &large));
    assert_null(mp_engine_choose(&choice, &plain, NULL, &large));
    assert_int_equal(fake.calls, 0);
    mp_offload *offload = mp_engine_choose(&choice, &usual, NULL, &large);
    assert_non_null(offload);
    assert_ptr_equal(mp_engine_choose(&choice, &usual, NULL, &large), offload);
    assert_null(mp_engine_choose(&choice, &usual, NULL, &small));
    mp_engine_choice_end(&choice);
    assert_int_equal(mp_engine_choice_begin(&choice, &device, &err), MP_OK);
    assert_non_null(mp_engine_choose(&choice, &device, NULL, &small));
    mp_engine_choice_end(&choice);
    assert_int_equal(fake.live, 0);
}

static int compiled(void) {
    int count = 0;
    DIR *folder = opendir(cache);
    assert_non_null(folder);
    for (const struct dirent *e; (e = readdir(folder));) count += strstr(e->d_name, ".cubin") != NULL;
    closedir(folder);
    return count;
}

/* Nine kernels without options, and the two that predict a tensor core, where a row is for the device: once
 * for all rows that share them. */
static void what_judges_is_compiled_ahead(void **state) {
    (void)state;
    static const struct {
        const char *engine, *rows[3];
        int compiled;
    } runs[] = {
        {"auto", {"M=32 topk=2", "M=32 topk=3"}, 0},
        {"cpu", {"M=4096 E=128 topk=8 K=2048 N=768"}, 0},
        {"auto", {"M=32 topk=2", "M=4096 E=128 topk=8 K=2048 N=768", "M=8192 E=128 topk=8 K=2048 N=768"}, 11},
        {"auto", {"M=4096 E=128 topk=8 K=2048 N=768 dtype=fp32"}, 12}};
    mp_error err = {0};
    mp_subject host;
    assert_int_equal(mp_subject_open("host", &host, &err), MP_OK);
    for (size_t i = 0; i < COUNT(runs); i++) {
        mp_engine_choice choice;
        mp_matrix matrix = {0};
        const mp_settings settings = {.subject = "host", .engine = runs[i].engine};
        for (int r = 0; r < 3 && runs[i].rows[r]; r++)
            assert_int_equal(mp_matrix_add(&matrix, runs[i].rows[r], NULL, 0, &err), MP_OK);
        assert_int_equal(mp_engine_choice_begin(&choice, &settings, &err), MP_OK);
        mp_engine_prepare(&choice, &settings, &host, &matrix);
        mp_engine_choice_end(&choice); /* waits for it */
        assert_int_equal(compiled(), runs[i].compiled);
        mp_matrix_free(&matrix);
    }
    mp_subject_close(&host);
    assert_int_equal(fake.live, 0);
}

/* Smaller batches, too, whose tile is another one: M=20 of 4 experts has not that of few tokens. */
static void what_runs_is_compiled_ahead(void **state) {
    (void)state;
    mp_error err = {0};
    mp_matrix matrix = {0};
    mp_setup setup;
    mp_verdict v = {0};
    const mp_suite_options options = {.settings = {.subject = "cuda", .engine = "cpu"}};
    assert_int_equal(mp_matrix_add(&matrix, "M=20 topk=2 E=4 K=64 N=32", NULL, 0, &err), MP_OK);
    const int before = compiled();
    if (mp_setup_open(&options, &matrix, false, &setup, &err) != MP_OK) fail_msg("%s", err.text);
    const int ahead = compiled();
    assert_true(ahead > before);
    mp_run_case(&matrix.rows[0], &setup.run, &v);
    assert_int_not_equal(v.check[MP_CHECK_BATCH].answer, MP_NOT_JUDGED);
    assert_int_equal(compiled(), ahead);
    mp_verdict_free(&v);
    mp_setup_close(&setup);
    mp_matrix_free(&matrix);
    assert_int_equal(fake.live, 0);
}

/* What makes inputs on the device, where they are large: 71.7 MB of x, and 61.4 MB, below 64 MiB. */
static void what_fills_is_compiled_ahead(void **state) {
    (void)state;
    static const char *const rows[] = {"M=60000 topk=2", "M=70000 topk=2"};
    const mp_suite_options options = {.settings = {.subject = "cuda", .engine = "cpu"}};
    int ahead[2];
    for (int i = 0; i < 2; i++) {
        mp_error err = {0};
        mp_matrix matrix = {0};
        mp_setup setup;
        assert_int_equal(mp_matrix_add(&matrix, rows[i], NULL, 0, &err), MP_OK);
        if (mp_setup_open(&options, &matrix, false, &setup, &err) != MP_OK) fail_msg("%s", err.text);
        ahead[i] = compiled();
        mp_setup_close(&setup);
        mp_matrix_free(&matrix);
    }
    assert_int_equal(ahead[1], ahead[0] + 1);
    assert_int_equal(fake.live, 0);
}

/* What cannot be opened is not tried again; where it was asked for by name it is told. */
static void without_a_device_the_cpu_judges(void **state) {
    (void)state;
    mp_error err = {0};
    mp_engine_choice choice;
    const mp_case large = parsed("M=4096 E=128 topk=8 K=2048 N=768");
    const mp_settings usual = {0}, device = {.engine = "device"};
    fake.calls = 0;
    fake.failing = 0;
    assert_int_equal(mp_engine_choice_begin(&choice, &usual, &err), MP_OK);
    assert_null(mp_engine_choose(&choice, &usual, NULL, &large));
    const int calls = fake.calls;
    assert_null(mp_engine_choose(&choice, &usual, NULL, &large));
    assert_int_equal(fake.calls, calls);
    mp_engine_choice_end(&choice);
    fake.calls = 0;
    assert_int_equal(mp_engine_choice_begin(&choice, &device, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "--engine device"));
    fake.failing = -1;
    mp_engine_choice_end(&choice);
}

/* ---- runs ---- */

static const char *const lines[] = {"M=16 E=4 topk=2 K=64 N=32",
                                    "M=9 E=4 topk=2 K=48 N=16 quant=fp8-channel"};
enum { LINES = 2 };

static void run(const char *engine, mp_verdict v[LINES], mp_run_info *info) {
    mp_error err = {0};
    mp_matrix matrix = {0};
    const mp_suite_options options = {.settings = {.subject = "host", .engine = engine}, .in_process = true};
    for (int i = 0; i < LINES; i++)
        if (mp_matrix_add(&matrix, lines[i], NULL, 0, &err) != MP_OK) fail_msg("%s", err.text);
    mp_run_info_init(info);
    if (mp_suite_run(&matrix, &options, v, info, &err) != MP_OK) fail_msg("%s", err.text);
    mp_matrix_free(&matrix);
}

static void verdicts_free(mp_verdict v[LINES], mp_run_info *info) {
    for (int i = 0; i < LINES; i++) mp_verdict_free(&v[i]);
    mp_run_info_free(info);
}

/* The same verdicts and figures as by the CPU, and the report says who judged. */
static void a_run_is_judged_on_the_device(void **state) {
    (void)state;
    static mp_verdict by_device[LINES], by_cpu[LINES]; /* large */
    mp_run_info info[2];
    const int launched = fake.launched;
    run("device", by_device, &info[0]);
    assert_true(fake.launched > launched);
    run("cpu", by_cpu, &info[1]);
    for (int i = 0; i < LINES; i++) {
        if (by_device[i].outcome != MP_PASS) fail_msg("%s: %s", lines[i], by_device[i].reason);
        assert_non_null(strstr(by_device[i].blas, "float64 on Fake GPU"));
        assert_null(strstr(by_cpu[i].blas, "Fake GPU"));
        for (int s = 0; s < MP_STAGE_COUNT; s++) {
            assert_int_equal(by_device[i].stage[s].judged, by_cpu[i].stage[s].judged);
            assert_true(fabs(by_device[i].stage[s].max_ratio - by_cpu[i].stage[s].max_ratio) < 1e-6);
        }
    }
    assert_non_null(strstr(info[0].blas, "float64 on Fake GPU"));
    assert_null(strstr(info[1].blas, "Fake GPU"));
    verdicts_free(by_device, &info[0]);
    verdicts_free(by_cpu, &info[1]);
    assert_int_equal(fake.live, 0);
}

static bool spoiled;

static void lose_gemms(const char *entry, const void *params) {
    if (strcmp(entry, "decode") == 0) fake.right(entry, params);
}

/* A judge that is wrong is a CRASH: no PASS, and no FAIL of the subject. */
static void a_judge_that_is_wrong_is_a_crash(void **state) {
    (void)state;
    static mp_verdict v[LINES];
    mp_run_info info;
    fake.execute = lose_gemms;
    run("device", v, &info);
    for (int i = 0; i < LINES; i++) {
        assert_int_equal(v[i].outcome, MP_CRASH);
        assert_non_null(strstr(v[i].reason, "the judge on the device is wrong"));
    }
    fake.execute = fake.right;
    verdicts_free(v, &info);
}

/* Of the first slot that the CPU does not compute again, in the first GEMM of a case. */
static void spoil_one(const char *entry, const void *params) {
    const mp_gemm64_params *p = params;
    fake.right(entry, params);
    if (strcmp(entry, "gemm_values_and_masses") != 0 || spoiled) return;
    const mp_row_tile *tile = fake_memory(p->tiles), *last = tile + p->tile_count - 1;
    int64_t checked[MP_CROSS_CHECKED], row = 0;
    const int64_t count = mp_cross_check_choose(last->row + last->count, 1, MP_CROSS_CHECKED, checked);
    for (int64_t i = 0; i < count && checked[i] == row; i++) row++;
    ((double *)fake_memory(p->value))[row * p->n] += 1;
    spoiled = true;
}

/* And so is one whose error the sample does not hold: what fails by it does not fail by the CPU. */
static void what_fails_is_judged_again(void **state) {
    (void)state;
    static mp_verdict v[LINES];
    mp_run_info info;
    fake.execute = spoil_one;
    spoiled = false;
    run("device", v, &info);
    assert_int_equal(v[0].outcome, MP_CRASH);
    if (!strstr(v[0].reason, "wrong: bound: gate_up")) fail_msg("%s", v[0].reason);
    assert_int_equal(v[1].outcome, MP_PASS);
    fake.execute = fake.right;
    verdicts_free(v, &info);
}

/* ---- a subject whose tensors lie on the device ---- */

static struct {
    mp_cuda *cuda;
    mp_status (*run)(mp_subject *s, const mp_execution *e, mp_error *err);
    void (*close)(mp_subject *s);
    bool spoils; /* its runs write over w2 when they are done with it */
} there;

static mp_status run_there(mp_subject *s, const mp_execution *e, mp_error *err) {
    const mp_status status = there.run(s, e, err);
    if (there.spoils) mp_encode(MP_BF16, e->t[MP_W2].data, 0, 100);
    return status;
}

static void close_there(mp_subject *s) {
    if (there.close) there.close(s);
    mp_cuda_close(there.cuda);
}

/* The host's arithmetic on memory of the device, which the fake one shares with the host. */
static mp_status open_there(const char *name, mp_subject *s, mp_error *err) {
    mp_status status = mp_subject_open(name, s, err);
    if (status == MP_OK) status = mp_cuda_open(&there.cuda, err);
    if (status != MP_OK) return status;
    there.run = s->run;
    there.close = s->close;
    s->run = run_there;
    s->close = close_there;
    s->space = mp_cuda_space(there.cuda);
    return MP_OK;
}

static mp_outcome run_line_there(const char *engine, char reason[400]) {
    static mp_verdict v;
    mp_error err = {0};
    mp_matrix matrix = {0};
    mp_run_info info;
    const mp_suite_options options = {.settings = {.subject = "host", .engine = engine, .once = true},
                                      .open_subject = open_there,
                                      .in_process = true};
    if (mp_matrix_add(&matrix, lines[0], NULL, 0, &err) != MP_OK) fail_msg("%s", err.text);
    mp_run_info_init(&info);
    if (mp_suite_run(&matrix, &options, &v, &info, &err) != MP_OK) fail_msg("%s", err.text);
    const mp_outcome outcome = v.outcome;
    snprintf(reason, 400, "%s", v.reason);
    mp_matrix_free(&matrix);
    mp_verdict_free(&v);
    mp_run_info_free(&info);
    assert_int_equal(fake.live, 0);
    return outcome;
}

/* Of inputs and of the judged run's outputs nothing travels for the judge: float64 from end to end, and the
 * order of slots in each GEMM, are less than w2 alone. */
static void what_lies_there_is_judged_there(void **state) {
    (void)state;
    char reason[400];
    const mp_case c = parsed(lines[0]);
    const mp_tensor w2 = mp_case_shape(&c, MP_W2, 16);
    size_t before = fake.uploaded;
    if (run_line_there("cpu", reason) != MP_PASS) fail_msg("%s", reason);
    const size_t own = fake.uploaded - before;
    before = fake.uploaded;
    const int launched = fake.launched;
    if (run_line_there("device", reason) != MP_PASS) fail_msg("%s", reason);
    assert_true(fake.launched - launched > 4);
    assert_true(fake.uploaded - before > own);
    assert_true(fake.uploaded - before - own < mp_tensor_bytes(&w2));
}

/* A subject that writes over an input fails for it; the judge takes the input from the host. */
static void what_was_written_over_is_not_lent(void **state) {
    (void)state;
    char reason[400];
    there.spoils = true;
    const mp_outcome outcome = run_line_there("device", reason);
    there.spoils = false;
    assert_int_equal(outcome, MP_FAIL);
    if (!strstr(reason, "input: device buffer w2 changed") || strstr(reason, "judge")) fail_msg("%s", reason);
}

int main(void) {
    char command[64];
    if (!mkdtemp(cache) || setenv("MOEPARITY_CACHE", cache, 1) != 0) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(large_cases_pay),
                                       cmocka_unit_test(names_are_known),
                                       cmocka_unit_test(the_device_is_opened_when_it_pays),
                                       cmocka_unit_test(what_judges_is_compiled_ahead),
                                       cmocka_unit_test(what_runs_is_compiled_ahead),
                                       cmocka_unit_test(what_fills_is_compiled_ahead),
                                       cmocka_unit_test(without_a_device_the_cpu_judges),
                                       cmocka_unit_test(a_run_is_judged_on_the_device),
                                       cmocka_unit_test(a_judge_that_is_wrong_is_a_crash),
                                       cmocka_unit_test(what_fails_is_judged_again),
                                       cmocka_unit_test(what_lies_there_is_judged_there),
                                       cmocka_unit_test(what_was_written_over_is_not_lent)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -r %s", cache);
    return system(command) != 0 ? 1 : failed;
}
