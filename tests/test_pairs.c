/* SPDX-License-Identifier: Apache-2.0 */
/* harness/checks/check_pairs.c: faults that show only in a variant of the case, and variants that prove
 * nothing. */
#include "moeparity/matrix.h"
#include "tests/spoiled.h"

#include <string.h>

/* With topk 1 the fused path has no sum: down's -0 is the output, and the other paths add it to +0. */
static void a_sum_of_one_term_has_no_minus_zero(void **state) {
    (void)state;
    const mp_verdict *v =
        judge("M=5 E=3 topk=1 K=3 N=1 dtype=fp16 data=wide", "path=chunked", NULL, false, NULL);
    if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
    assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_PASSED);
}

static mp_status input_changed_by_runner(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)trace, (void)err;
    if (c->path == MP_RUNNER) ((char *)now.t[MP_W1].data)[0] ^= 1;
    return MP_OK;
}

static mp_status ids_changed_by_runner(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (c->path == MP_RUNNER) ((int32_t *)trace->t[MP_SORTED_TOKEN_IDS].data)[0] ^= 1;
    return MP_OK;
}

static mp_status padding_written_when_sorted(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (c->layout != MP_SORTED) return MP_OK;
    const int64_t slots = mp_case_slots(c);
    const int32_t *sorted = trace->t[MP_SORTED_TOKEN_IDS].data;
    for (int64_t r = 0; r < trace->t[MP_CACHE1].dim[0]; r++)
        if (sorted[r] == slots) memset(mp_tensor_row(&trace->t[MP_CACHE1], r), 0, 2);
    return MP_OK;
}

static void variants_are_looked_at_all_around(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16 act=silu";
    expect_failure(
        judge_by((spoiled){.spoil = input_changed_by_runner, .device = true}, text, "path=runner", NULL),
        MP_CHECK_INPUT, "path=runner");
    expect_failure(judge(text, "path=runner", ids_changed_by_runner, false, NULL), MP_CHECK_INTEGER,
                   "path=runner");
    expect_failure(judge(text, "layout=sorted", padding_written_when_sorted, false, NULL), MP_CHECK_POISON,
                   "layout=sorted");
}

/* ---- nothing to compare ---- */

static void a_pair_without_tokens_has_nothing_to_compare(void **state) {
    (void)state;
    const mp_run_options strictly = {.settings = {.strict = true}};
    const mp_verdict *v = judge("M=0 topk=2 K=64 N=32", "tile=128x64x64x8x4x3", NULL, false, &strictly);
    if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
    assert_string_equal(v->check[MP_CHECK_PAIR].text, "tile=128x64x64x8x4x3: no tokens");
}

static void nothing_compared_is_not_equal(void **state) {
    (void)state;
    const mp_verdict *v = judge("M=8 topk=2 act=silu scope=align tile=16x64x64x1x4x3", "tile=64x64x64x1x4x3",
                                NULL, false, NULL);
    assert_int_equal(v->outcome, MP_PASS); /* align itself was judged */
    assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_NOT_JUDGED);
    assert_false(v->pair[0].bits_equal);
}

static void a_tile_that_a_variant_names_must_run(void **state) {
    (void)state;
    expect_failure(
        judge_by((spoiled){.no_tile = true}, "M=8 topk=2 K=32 N=16 act=silu", "tile=16x32x64x1x4x3", NULL),
        MP_CHECK_PAIR, "the tile that was asked for cannot run: not run: no such tile");
}

/* It ran the case, and never said that it had the variant. */
static void a_tile_that_is_not_offered_is_not_judged(void **state) {
    (void)state;
    const mp_verdict *v =
        judge_by((spoiled){.one_tile = true}, "M=8 topk=2 K=32 N=16 act=silu", "tile=16x32x64x1x4x3", NULL);
    assert_int_equal(v->outcome, MP_PASS);
    assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_NOT_JUDGED);
    assert_non_null(strstr(v->check[MP_CHECK_PAIR].text, "not run: this kernel has one tile"));
}

/* ---- the same call ---- */

static int runs;

static mp_status counted(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)trace, (void)err;
    runs = run + 1;
    return MP_OK;
}

static mp_status second_run_differs(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    if (run == 1) ((char *)trace->t[MP_OUT].data)[0] ^= 1;
    return counted(run, c, trace, err);
}

/* How many runs fewer where the subject says which variants are the same call; what is told is the same. */
static int runs_saved(const char *text, const char *pair, spoiler *spoil, const mp_run_options *options) {
    int64_t compared = 0;
    int all = 0;
    for (int same = 0; same < 2; same++) {
        const mp_verdict *v = judge_by((spoiled){.spoil = spoil, .same_calls = same}, text, pair, options);
        if (same) assert_int_equal(v->pair[0].compared, compared);
        assert_true(v->pair[0].compared > 0 && v->pair[0].bits_equal && v->pair[0].required);
        assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_PASSED);
        compared = v->pair[0].compared;
        if (!same) all = runs;
    }
    return all - runs;
}

static void a_variant_that_is_the_same_call_runs_once(void **state) {
    (void)state;
    const mp_run_options once = {.settings = {.repeat = 1}};
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "path=runner", counted, NULL), 1);
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "layout=sorted", counted, NULL), 0);
    assert_int_equal(runs_saved("M=8 topk=1 K=32 N=16", "path=runner", counted, NULL), 0); /* has a sum */
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "path=chunked", counted, NULL), 1);
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "path=runner", second_run_differs, NULL), 0);
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "path=runner", counted, &once), 0);
}

/* One chunk is the call that no chunks are, two are not. */
static void chunks_are_calls_of_their_own(void **state) {
    (void)state;
    const char *texts[] = {"M=65536 topk=2", "M=65537 topk=2"}, *pair = "path=chunked";
    mp_subject host;
    mp_error err = {0};
    assert_int_equal(mp_subject_open("host", &host, &err), MP_OK);
    for (int i = 0; i < 2; i++) {
        mp_matrix matrix = {0};
        assert_int_equal(mp_matrix_add(&matrix, texts[i], &pair, 1, &err), MP_OK);
        assert_int_equal(host.same_call(&matrix.rows[0].c, &matrix.rows[0].pairs[0]), i == 0);
        mp_matrix_free(&matrix);
    }
    mp_subject_close(&host);
}

static bool is_a_runner(const mp_case *c) {
    return c->path == MP_RUNNER;
}

/* A variant that shows what lies before the output says nothing of the output. */
static void a_variant_that_hides_the_output_does_not_pass(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16", *pair = "path=runner";
    spoiled self = {.hides = MP_IN_SET(MP_OUT), .hides_in = is_a_runner};
    const mp_verdict *v = judge_by(self, text, pair, NULL);
    assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_NOT_JUDGED);
    assert_string_equal(v->check[MP_CHECK_PAIR].text, "path=runner: does not show out");
    self.spoil = ids_changed_by_runner;
    expect_failure(judge_by(self, text, pair, NULL), MP_CHECK_INTEGER, "path=runner");
    self = (spoiled){.hides = MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE2), .hides_in = is_a_runner};
    assert_int_equal(judge_by(self, text, pair, NULL)->check[MP_CHECK_PAIR].answer, MP_PASSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_of_one_term_has_no_minus_zero),
        cmocka_unit_test(variants_are_looked_at_all_around),
        cmocka_unit_test(a_pair_without_tokens_has_nothing_to_compare),
        cmocka_unit_test(nothing_compared_is_not_equal),
        cmocka_unit_test(a_variant_that_hides_the_output_does_not_pass),
        cmocka_unit_test(a_tile_that_a_variant_names_must_run),
        cmocka_unit_test(a_tile_that_is_not_offered_is_not_judged),
        cmocka_unit_test(a_variant_that_is_the_same_call_runs_once),
        cmocka_unit_test(chunks_are_calls_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
