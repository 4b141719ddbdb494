/* SPDX-License-Identifier: Apache-2.0 */
/* harness/bisect/attempt.c: rows in a new process each time, whatever they do to it. */
#include "tests/chaos.h"

#include "harness/bisect/attempt.h"

/* Rows first .. first+count of the fixture's matrix, in one process. */
static mp_status attempt(fixture *f, size_t first, size_t count, mp_verdict *v, size_t *at) {
    const mp_matrix rows = {.rows = f->matrix.rows + first, .count = count};
    return mp_attempt(&rows, &f->options, v, at, &f->info, &f->err);
}

static void verdict_is_of_the_last_row(void **state) {
    fixture *f = *state;
    mp_verdict v;
    size_t at = 99;
    assert_int_equal(attempt(f, 0, CASES, &v, &at), MP_OK);
    assert_int_equal(v.outcome, MP_PASS);
    assert_int_equal(at, CASES - 1);
    assert_non_null(strstr(v.name, "seed=4"));
    assert_string_equal(f->info.subject, "chaos");
    mp_verdict_free(&v);
}

static void row_that_kills_its_process_is_named(void **state) {
    fixture *f = *state;
    static const struct {
        mishap what;
        mp_outcome outcome;
        const char *reason;
    } mishaps[] = {{SEGFAULT, MP_CRASH, "the worker died of signal 11 (Segmentation fault)"},
                   {NO_DEVICE, MP_CRASH, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                   {NO_MESSAGE, MP_CRASH, "a message that is no JSON came"},
                   {HANG, MP_TIMEOUT, "no verdict after 2 s"}};
    for (size_t i = 0; i < sizeof mishaps / sizeof *mishaps; i++) {
        mp_verdict v;
        size_t at = 99;
        chaos_set("CHAOS_MISHAP", (int)mishaps[i].what);
        f->options.settings.timeout = mishaps[i].what == HANG ? 2 : 60;
        assert_int_equal(attempt(f, 1, CASES - 1, &v, &at), MP_OK);
        assert_int_equal(at, VICTIM - 1); /* the rows behind it do not run */
        if (v.outcome != mishaps[i].outcome || !strstr(v.reason, mishaps[i].reason))
            fail_msg("mishap %d: %s %s", (int)mishaps[i].what, mp_outcome_name(v.outcome), v.reason);
        assert_non_null(strstr(v.name, "seed=2"));
        mp_verdict_free(&v);
        /* The next attempt owes nothing to it. */
        assert_int_equal(attempt(f, VICTIM + 1, 1, &v, NULL), MP_OK);
        assert_int_equal(v.outcome, MP_PASS);
        mp_verdict_free(&v);
    }
}

static void what_cannot_start_is_an_error(void **state) {
    fixture *f = *state;
    mp_verdict v;
    chaos_set("CHAOS_START", START_DIES);
    assert_int_equal(attempt(f, 0, 1, &v, NULL), MP_EDEVICE);
    chaos_set("CHAOS_START", START);
    f->options.settings.subject = "nobody";
    assert_int_equal(attempt(f, 0, 1, &v, NULL), MP_EINPUT);
    assert_non_null(strstr(f->err.text, "nobody"));
    assert_int_equal(attempt(f, 0, 0, &v, NULL), MP_EINPUT);
    mp_verdict_free(&v);
}

static void skip_is_a_verdict(void **state) {
    fixture *f = *state;
    mp_verdict v;
    chaos_set("CHAOS_MISHAP", NOT_SUPPORTED);
    assert_int_equal(attempt(f, VICTIM, 1, &v, NULL), MP_OK);
    assert_int_equal(v.outcome, MP_SKIP);
    assert_string_equal(v.reason, "not here");
    mp_verdict_free(&v);
}

int main(void) {
    if (mp_worker_requested()) return mp_worker_serve(chaos_open);
    const struct CMUnitTest tests[] = {
        chaos_test(verdict_is_of_the_last_row),
        chaos_test(row_that_kills_its_process_is_named),
        chaos_test(what_cannot_start_is_an_error),
        chaos_test(skip_is_a_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
