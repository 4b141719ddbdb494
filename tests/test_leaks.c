/* SPDX-License-Identifier: Apache-2.0 */
/* What is a leak of device memory, and what is not: over a driver that the test makes itself. */
#include "base/clock.h"
#include "harness/subjects/leaks.h"
#include "tests/fake_cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

/* Bytes of the device: what the subject has kept, and what others take, a piece each millisecond. */
static size_t kept, piece;
static double began;

static size_t used(void) {
    const double milliseconds = 1e3 * (mp_seconds_now() - began);
    return kept + piece * (size_t)milliseconds;
}

/* A subject: what its run leaves taken, and of this what is in reserve, after so many runs. */
typedef size_t (*amount)(int run);

static size_t nothing(int run) {
    (void)run;
    return 0;
}
static size_t a_mebibyte_each(int run) {
    return (size_t)run * MIB;
}
static size_t a_mebibyte_every_third(int run) {
    return (size_t)(run / 3) * MIB;
}
/* Every fifth shape is a new one. */
static size_t some_shapes(int run) {
    return (size_t)((run + 4) / 5) * MIB;
}

/* The number of the run that was one too many, 0 for none. */
static int found(mp_cuda *cuda, int runs, amount taken, amount cached, long microseconds, mp_error *err) {
    mp_leaks leaks = {0};
    kept = 0;
    began = mp_seconds_now();
    for (int run = 1; run <= runs; run++) {
        assert_int_equal(mp_leaks_begin(&leaks, cuda, err), MP_OK);
        kept = taken(run);
        nanosleep(&(struct timespec){.tv_nsec = 1000 * microseconds}, NULL);
        const mp_status status = mp_leaks_end(&leaks, cuda, cached(run), "mine", err);
        if (status == MP_OK) continue;
        assert_int_equal(status, MP_EDEVICE);
        return run;
    }
    return 0;
}

static void a_leak_is_found_at_its_twentieth_run(void **state) {
    mp_error err = {0};
    assert_int_equal(found(*state, 100, a_mebibyte_each, nothing, 0, &err), 20);
    assert_non_null(strstr(
        err.text, "mine leaks memory of the device: 20 of its 20 runs left less free, 20.0 MiB in all"));
    assert_int_equal(found(*state, 100, a_mebibyte_every_third, nothing, 0, &err), 60);
}

static void caches_are_no_leak(void **state) {
    mp_error err = {0};
    assert_int_equal(found(*state, 200, some_shapes, nothing, 0, &err), 0);
    assert_int_equal(found(*state, 200, a_mebibyte_each, a_mebibyte_each, 0, &err), 0);
}

/* It says what it has in reserve, and keeps as much again for nothing. */
static size_t twice(int run) {
    return 2 * a_mebibyte_each(run);
}

static void a_leak_beside_a_cache_is_found(void **state) {
    mp_error err = {0};
    assert_int_equal(found(*state, 100, twice, a_mebibyte_each, 0, &err), 20);
    assert_non_null(strstr(err.text, "20.0 MiB in all"));
}

static void what_others_take_is_no_leak(void **state) {
    mp_error err = {0};
    piece = 4096;
    assert_int_equal(found(*state, 200, nothing, nothing, 2000, &err), 0);
    assert_true(used() > 200 * piece);
    piece = 0;
}

/* The first runs compile. Later ones that take as long are judged. */
static void slow_runs_that_leak_are_found_later(void **state) {
    mp_error err = {0};
    const double before = mp_seconds_now();
    mp_leaks leaks = {0};
    kept = 0;
    for (int run = 1; run <= 20; run++) {
        assert_int_equal(mp_leaks_begin(&leaks, *state, &err), MP_OK);
        leaks.began -= 100; /* as if it had taken so long */
        kept += MIB;
        assert_int_equal(mp_leaks_end(&leaks, *state, 0, "mine", &err), MP_OK);
    }
    assert_true(mp_seconds_now() - before < 50);
    assert_int_equal(leaks.runs, 0);
    assert_int_equal(mp_leaks_begin(&leaks, *state, &err), MP_OK);
    leaks.began -= 0.4;
    kept += MIB;
    const double last = mp_seconds_now();
    assert_int_equal(mp_leaks_end(&leaks, *state, 0, "mine", &err), MP_OK);
    assert_true(mp_seconds_now() - last >= 1.2);
    assert_int_equal(leaks.grew, 1);
}

static int open_device(void **state) {
    mp_error err = {0};
    mp_cuda *cuda;
    if (mp_cuda_open(&cuda, &err) != MP_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    *state = cuda;
    fake.used = used;
    return 0;
}

static int close_device(void **state) {
    mp_cuda_close(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leak_is_found_at_its_twentieth_run), cmocka_unit_test(caches_are_no_leak),
        cmocka_unit_test(a_leak_beside_a_cache_is_found),       cmocka_unit_test(what_others_take_is_no_leak),
        cmocka_unit_test(slow_runs_that_leak_are_found_later),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
