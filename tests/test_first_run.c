/* SPDX-License-Identifier: Apache-2.0 */
/* The first run of a case is kept as digests of rows once it was judged: what is found of the others is what
 * its numbers would have shown, and the host's memory holds one trace at a time. */
#include "harness/checks/first_run.h"
#include "tests/spoiled.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NUMBERS, DIGESTS }; /* what is kept of the first run */

static mp_run_options keeping(int what, int repeat) {
    return (mp_run_options){.settings = {.repeat = repeat},
                            .outputs_kept_bytes = what == NUMBERS ? SIZE_MAX : 1};
}

/* One bit of a tensor, in these of a case's own runs. */
static struct {
    mp_tensor_id id;
    int64_t row;
    unsigned runs; /* bits */
    int64_t M;     /* of the case: smaller batches are left alone */
} flip;

static mp_status flip_bit(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)err;
    mp_tensor *t = &trace->t[flip.id];
    if (t->data && c->M == flip.M && flip.runs >> run & 1)
        ((unsigned char *)mp_tensor_row(t, flip.row))[mp_tensor_row_bytes(t) - 1] ^= 1;
    return MP_OK;
}

typedef struct told {
    mp_outcome outcome;
    char reason[1024], begins[512], check[MP_CHECK_COUNT][1024];
} told;

static told verdict_of(const char *text, const char *pair, bool device, const mp_run_options *options) {
    const mp_verdict *v = judge_by((spoiled){.spoil = flip_bit, .device = device}, text, pair, options);
    told t = {.outcome = v->outcome};
    snprintf(t.reason, sizeof t.reason, "%s", v->reason);
    snprintf(t.begins, sizeof t.begins, "%s", v->begins);
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        snprintf(t.check[i], sizeof t.check[i], "%d %s", v->check[i].answer, v->check[i].text);
    return t;
}

static void expect_same(const told *a, const told *b) {
    assert_int_equal(a->outcome, b->outcome);
    assert_string_equal(a->reason, b->reason);
    assert_string_equal(a->begins, b->begins);
    for (int i = 0; i < MP_CHECK_COUNT; i++) assert_string_equal(a->check[i], b->check[i]);
}

/* Of each tensor with a bit that is another in these runs. */
static void expect_told_alike(bool device, unsigned runs, const char *pair) {
    static const mp_tensor_id tensors[] = {MP_CACHE1, MP_CACHE2, MP_CACHE3, MP_OUT};
    const char *text = "M=9 topk=2 K=64 N=32";
    const mp_run_options numbers = keeping(NUMBERS, 2), digests = keeping(DIGESTS, 2);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        flip.id = tensors[i];
        flip.row = 7;
        flip.runs = runs;
        flip.M = 9;
        const told a = verdict_of(text, pair, device, &numbers), b = verdict_of(text, pair, device, &digests);
        assert_int_equal(a.outcome, b.outcome);
        if (runs == 0) assert_int_equal(a.outcome, MP_PASS);
        if (runs != 1 << 1) continue;
        expect_same(&a, &b); /* the repeat alone: the run that is recalled is the first one again */
        assert_non_null(strstr(a.check[MP_CHECK_REPEAT], " column "));
    }
}

/* Stage, row, column, both values and how many differ, of a repeat and of a variant; and a pass is one. Of a
 * subject on a device, too, where its memory makes the digests. */
static void a_later_run_is_told_as_beside_the_numbers(void **state) {
    (void)state;
    for (int device = 0; device < 2; device++)
        for (unsigned runs = 0; runs < 8; runs += 2) {
            expect_told_alike(device, runs, NULL);
            expect_told_alike(device, runs, "layout=sorted");
        }
}

/* Where the contract promises no order, and somebody demands bits that repeat. */
static void demanded_bits_are_compared_by_digests_too(void **state) {
    (void)state;
    flip.id = MP_OUT;
    flip.row = 7;
    flip.M = 9;
    for (int device = 0; device < 2; device++)
        for (unsigned runs = 0; runs <= 2; runs += 2) {
            mp_run_options digests = keeping(DIGESTS, 2);
            digests.settings.deterministic = true;
            flip.runs = runs;
            const mp_verdict *v = judge_by((spoiled){.spoil = flip_bit, .device = device, .unordered = true},
                                           "M=9 topk=2 K=64 N=32", NULL, &digests);
            if (runs)
                expect_failure(v, MP_CHECK_REPEAT, "first combine: token 7 column 63: ");
            else
                assert_int_equal(v->check[MP_CHECK_REPEAT].answer, MP_PASSED);
        }
}

/* Nothing that runs later is what the first run was: its row is known, and that it differs; not its
 * numbers. */
static void a_first_run_that_never_comes_again_is_told_by_its_rows(void **state) {
    (void)state;
    flip.id = MP_CACHE1;
    flip.row = 7;
    flip.runs = 1;
    flip.M = 9;
    const mp_run_options digests = keeping(DIGESTS, 2);
    const told t = verdict_of("M=9 topk=2 K=64 N=32", NULL, false, &digests);
    assert_int_equal(t.outcome, MP_FAIL);
    const char *repeat = t.check[MP_CHECK_REPEAT];
    if (!strstr(repeat, "1 of 4052 elements differ, first gate_up: token 3 slot 1, expert ") ||
        !strstr(repeat, "; 1 rows are told by their digests"))
        fail_msg("%s", repeat);
}

/* ---- a variant that sums, where the case has down's row as it is, which may hold -0 ---- */

static bool has_negative_zero; /* the first run, in the output of its first token */

static mp_status look_for_negative_zero(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)err;
    const uint16_t *row = mp_tensor_row(&trace->t[MP_OUT], 0);
    for (int64_t k = 0; k < c->K && run == 0; k++) has_negative_zero |= row[k] == 0x8000;
    return MP_OK;
}

/* Rows that come again are compared by their numbers: of a variant of the batch, and of one of fewer tokens,
 * which runs by both poisons. On a device the numbers are fetched for each of its runs. */
static void zeros_of_either_sign_are_equal_where_the_row_comes_again(void **state) {
    (void)state;
    static const char *const variants[] = {"path=chunked", "M=4 path=chunked"};
    for (int what = NUMBERS; what <= DIGESTS; what++)
        for (int i = 0; i < 4; i++) {
            const mp_run_options options = keeping(what, 2);
            has_negative_zero = false;
            const mp_verdict *v =
                judge_by((spoiled){.spoil = look_for_negative_zero, .device = i / 2},
                         "M=5 E=3 topk=1 K=16 N=1 dtype=fp16 data=wide seed=0", variants[i % 2], &options);
            if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
            assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_PASSED);
            assert_true(has_negative_zero && v->pair[0].bits_equal);
        }
}

static int chunked_runs;

/* Of a row of out the last place, which is within the bounds of sums in fp32: in the first run, and in the
 * second of a variant that sums. */
static mp_status change_the_first(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)err;
    const bool sums = mp_case_has_stage(c, MP_COMBINE);
    if (sums) chunked_runs++;
    if (sums ? chunked_runs == 2 : run == 0) *(uint32_t *)mp_tensor_row(&trace->t[MP_OUT], 3) ^= 1;
    return MP_OK;
}

/* A row that does not come again may differ in a sign of zero, or in more: the pair is not judged, though the
 * other poison's row has the digest of the first one. */
static void rows_that_do_not_come_again_leave_such_a_pair_open(void **state) {
    (void)state;
    static const char *const variants[] = {"path=chunked", "M=5 path=chunked"};
    const mp_run_options digests = keeping(DIGESTS, 2);
    for (int i = 0; i < 8; i++) {
        const bool unordered = i & 1, smaller = i & 2; /* without an order the repeat may differ */
        chunked_runs = 0;
        const mp_verdict *v =
            judge_by((spoiled){.spoil = change_the_first, .unordered = unordered, .device = i / 4},
                     "M=9 topk=1 K=64 N=32 dtype=fp32", variants[smaller], &digests);
        if (v->outcome != (unordered ? MP_PASS : MP_FAIL)) fail_msg("%s", v->reason);
        assert_int_equal(chunked_runs, 1 + smaller);
        assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_NOT_JUDGED);
        if (!strstr(v->check[MP_CHECK_PAIR].text, "path=chunked: not compared: 1 rows of out, "))
            fail_msg("%s", v->check[MP_CHECK_PAIR].text);
        assert_false(v->pair[0].bits_equal);
        assert_int_equal(v->pair[0].differing, 0);
    }
}

/* ---- memory ---- */

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { SANITIZED = true }; /* what is freed is not given back at once */
#else
enum { SANITIZED = false };
#endif

/* Pages of the process: `of` 0: of its address space, 1: in memory. */
static size_t own_bytes(int of) {
    size_t pages[2] = {0, 0};
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%zu %zu", &pages[0], &pages[1]) != 2) fail_msg("/proc/self/statm");
    fclose(file);
    return pages[of] * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t held[2]; /* bytes in memory behind the first two runs */

static mp_status look_at_memory(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)trace, (void)err;
    if (run < 2) held[run] = own_bytes(1);
    return MP_OK;
}

/* Behind the repeat as much is held as behind the first run, and not a trace more. */
static void two_traces_are_not_held_at_once(void **state) {
    (void)state;
    if (SANITIZED) skip();
    enum { TRACE_BYTES = 16384 * 2 * 640 * 2 }; /* more than malloc ever keeps to itself */
    for (int what = NUMBERS; what <= DIGESTS; what++) {
        const mp_run_options options = keeping(what, 2);
        const mp_verdict *v = judge("M=16384 topk=2 N=640 scope=act", NULL, look_at_memory, false, &options);
        if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
        const bool both = held[1] > held[0] && held[1] - held[0] > TRACE_BYTES / 2;
        if (both != (what == NUMBERS))
            fail_msg("%zu bytes behind the first run, %zu behind the second", held[0], held[1]);
    }
}

static struct rlimit unlimited;

/* The repeat is another one, and little memory is left behind it. */
static mp_status flip_and_limit(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    enum { LITTLE = 4 << 20 };
    const struct rlimit limit = {own_bytes(0) + LITTLE, unlimited.rlim_max};
    if (run == 1 && setrlimit(RLIMIT_AS, &limit) != 0) fail_msg("setrlimit");
    return flip_bit(run, c, trace, err);
}

static void without_memory_for_two_the_rows_are_told(void **state) {
    (void)state;
    if (SANITIZED) skip();
    flip.id = MP_CACHE2;
    flip.row = 12345;
    flip.runs = 2;
    flip.M = 16384;
    const mp_run_options options = keeping(DIGESTS, 2);
    assert_int_equal(getrlimit(RLIMIT_AS, &unlimited), 0);
    const mp_verdict *v = judge("M=16384 topk=2 N=512 scope=act", NULL, flip_and_limit, false, &options);
    setrlimit(RLIMIT_AS, &unlimited);
    expect_failure(v, MP_CHECK_REPEAT, "first act: token 6172 slot 1, expert ");
    expect_failure(v, MP_CHECK_REPEAT, "; 1 rows are told by their digests");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_run_is_told_as_beside_the_numbers),
        cmocka_unit_test(demanded_bits_are_compared_by_digests_too),
        cmocka_unit_test(a_first_run_that_never_comes_again_is_told_by_its_rows),
        cmocka_unit_test(zeros_of_either_sign_are_equal_where_the_row_comes_again),
        cmocka_unit_test(rows_that_do_not_come_again_leave_such_a_pair_open),
        cmocka_unit_test(two_traces_are_not_held_at_once),
        cmocka_unit_test(without_memory_for_two_the_rows_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
