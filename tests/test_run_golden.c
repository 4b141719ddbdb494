/* SPDX-License-Identifier: Apache-2.0 */
/* A run beside a golden: what differs is found, and what was not compared is told. */
#include "harness/subjects/surroundings.h"
#include "moeparity/preset.h"
#include "tests/spoiled.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* HDF5 1.10 itself does not free the driver record of a file that it made in memory; our own allocations stay
 * under LeakSanitizer's eye. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libhdf5\n";
}

static void (*recorded_promise)(mp_contract *contract); /* of goldens, NULL: the host's */
static size_t digest_above = SIZE_MAX;                  /* in them */

/* Records the case by the honest host, with one tensor changed by `edit` or left out, under the contract of
 * this name (NULL: the host's). */
static mp_golden *golden_of(const char *path, const char *text, const char *as_contract,
                            mp_tensor_id left_out, void (*edit)(mp_trace *trace)) {
    mp_case c = mp_case_default();
    mp_error err = {0};
    mp_inputs in;
    mp_trace trace;
    mp_subject host;
    mp_offer offer;
    mp_surroundings_report report;
    mp_golden *golden = NULL;
    const mp_provenance who = {.subject = "host"};
    assert_int_equal(mp_case_parse(&c, text, &err), MP_OK);
    assert_int_equal(mp_subject_open("host", &host, &err), MP_OK);
    assert_int_equal(mp_subject_describe(&host, &c, &offer, &err), MP_OK);
    assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
    assert_int_equal(mp_run_surrounded(&host, &c, &offer, &in, MP_POISON_A, &trace, &report, &err), MP_OK);
    if (as_contract) assert_int_equal(mp_contract_preset(as_contract, &c, &offer.contract, &err), MP_OK);
    if (recorded_promise) recorded_promise(&offer.contract);
    assert_int_equal(mp_golden_create(path, &who, digest_above, &golden, &err), MP_OK);
    mp_trace part = trace;
    if (left_out < MP_TENSOR_COUNT) part.t[left_out].data = NULL;
    if (edit) edit(&part);
    assert_int_equal(mp_golden_write(golden, &c, &offer.contract, "", &part, NULL, &err), MP_OK);
    assert_int_equal(mp_golden_commit(golden, &err), MP_OK);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    assert_int_equal(mp_golden_open(path, &golden, &err), MP_OK);
    return golden;
}

static void a_golden_that_lacks_a_tensor_verifies_nothing(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 act=silu";
    char path[64];
    snprintf(path, sizeof path, "run_case.tmp.%d.h5", (int)getpid());
    const mp_case c = mp_case_default();
    for (int left_out = 0; left_out <= MP_TENSOR_COUNT; left_out++) {
        const bool output = left_out == MP_TENSOR_COUNT || mp_case_outputs(&c) & MP_IN_SET(left_out);
        if (!output || left_out < MP_CACHE1) continue; /* align's are told otherwise */
        mp_golden *golden = golden_of(path, text, NULL, (mp_tensor_id)left_out, NULL);
        const mp_run_options options = {.golden = golden,
                                        .settings = {.golden = path, .golden_required = true}};
        const mp_verdict *v = judge(text, NULL, NULL, false, &options);
        if (left_out < MP_TENSOR_COUNT)
            expect_failure(v, MP_CHECK_GOLDEN, mp_tensor_name((mp_tensor_id)left_out));
        else
            assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
        mp_golden_close(golden);
    }
    unlink(path);
}

/* What a verification leaves out is told as not measured, and is all that it leaves out. */
static void a_verification_measures_all_but_end_to_end(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 act=silu";
    char path[64];
    snprintf(path, sizeof path, "run_case.tmp.%d.h5", (int)getpid());
    mp_golden *golden = golden_of(path, text, NULL, MP_TENSOR_COUNT, NULL);
    const mp_case c = mp_case_default();
    mp_run_options options = {.golden = golden, .settings = {.golden = path}};
    const mp_verdict *run = judge(text, NULL, NULL, false, &options);
    assert_int_equal(run->outcome, MP_PASS);
    assert_true(run->end_to_end.compared > 0);
    assert_true(run->end_to_end.max_abs > 0 && run->end_to_end.max_row_rms > 0);
    mp_answer answer[MP_CHECK_COUNT];
    int64_t compared[MP_STAGE_COUNT];
    for (int i = 0; i < MP_CHECK_COUNT; i++) answer[i] = run->check[i].answer;
    for (int i = 0; i < MP_STAGE_COUNT; i++) compared[i] = run->stage[i].compared;

    options.settings.golden_required = true;
    const mp_verdict *v = judge(text, NULL, NULL, false, &options);
    assert_int_equal(v->outcome, MP_PASS);
    assert_int_equal(v->end_to_end.compared, 0);
    assert_true(isnan(v->end_to_end.max_abs) && isnan(v->end_to_end.max_row_rms));
    for (int i = 0; i < MP_CHECK_COUNT; i++) assert_int_equal(v->check[i].answer, answer[i]);
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        assert_int_equal(v->stage[i].compared, compared[i]);
        assert_int_equal(v->stage[i].judged, mp_case_has_stage(&c, (mp_stage)i));
    }
    mp_golden_close(golden);
    unlink(path);
}

static bool strict; /* the runs beside a golden are strict */

/* Judges the case against a golden of it. */
static const mp_verdict *judge_beside(spoiled self, const char *text, const char *as_contract,
                                      void (*edit)(mp_trace *trace), bool whole) {
    char path[64];
    snprintf(path, sizeof path, "run_case.tmp.%d.h5", (int)getpid());
    mp_golden *golden = golden_of(path, text, as_contract, MP_TENSOR_COUNT, edit);
    const mp_run_options options = {.golden = golden,
                                    .settings = {.golden = path, .golden_partial = !whole, .strict = strict}};
    const mp_verdict *v = judge_by(self, text, NULL, &options);
    mp_golden_close(golden);
    unlink(path);
    return v;
}

static void exchange_ids(mp_trace *trace) {
    int32_t *sorted = trace->t[MP_SORTED_TOKEN_IDS].data;
    const int32_t first = sorted[0];
    sorted[0] = sorted[1];
    sorted[1] = first;
}

static void other_count(mp_trace *trace) {
    *(int32_t *)trace->t[MP_NUM_TOKENS_POST_PADDED].data += 64;
}

static void fewer_tokens(mp_trace *trace) {
    trace->t[MP_OUT].dim[0]--;
}

static void promise_unordered_sum(mp_contract *contract) {
    contract->promise[MP_COMBINE] = (mp_stage_promise){MP_BITS_NONE, false, false};
}

static void other_cache(mp_trace *trace) {
    ((uint16_t *)trace->t[MP_CACHE1].data)[3] ^= 1;
}

static void other_sum(mp_trace *trace) {
    ((uint16_t *)trace->t[MP_OUT].data)[9] ^= 1;
}

static void what_differs_from_a_golden_is_found(void **state) {
    (void)state;
    const char *text = "M=8 E=1 topk=1 K=32 N=16 rsf=2";
    assert_int_equal(judge_beside((spoiled){0}, text, NULL, NULL, true)->check[MP_CHECK_GOLDEN].answer,
                     MP_PASSED);
    expect_failure(judge_beside((spoiled){0}, text, NULL, exchange_ids, false), MP_CHECK_GOLDEN,
                   "sorted_token_ids: align: sorted_token_ids[0] of chunk 0: 0 (00000000) instead of 1 "
                   "(00000001); 2 of ");
    expect_failure(judge_beside((spoiled){0}, text, NULL, fewer_tokens, false), MP_CHECK_GOLDEN,
                   "out: bf16[7,32] -> bf16[8,32]");
    expect_failure(judge_beside((spoiled){0}, text, NULL, other_sum, false), MP_CHECK_GOLDEN,
                   "out: combine: token 0 column 9: ");
}

/* Another tile pads otherwise: the ids, and in sorted layout the caches, have other rows then. The rest must
 * still be equal. */
static void another_tile_is_compared_where_it_can_be(void **state) {
    (void)state;
    static const char *const texts[] = {"M=8 topk=2 K=32 N=16 act=silu",
                                        "M=8 topk=2 K=32 N=16 act=silu layout=sorted"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(judge_beside((spoiled){.block_size_m = 128}, texts[i], NULL, NULL, true)
                             ->check[MP_CHECK_GOLDEN]
                             .answer,
                         MP_PASSED);
        expect_failure(judge_beside((spoiled){.block_size_m = 128}, texts[i], NULL, other_sum, true),
                       MP_CHECK_GOLDEN, "out: combine: token 0 column 9: ");
    }
}

/* A golden of another contract promises nothing, whatever its bits are: it fails, or where a part is enough
 * it is not judged. */
static void a_golden_that_promises_nothing_does_not_pass(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16 act=silu";
    const mp_verdict *v = judge_beside((spoiled){0}, text, "ieee-any-order", other_sum, false);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_NOT_JUDGED);
    assert_non_null(
        strstr(v->check[MP_CHECK_GOLDEN].text, "recorded under another contract (accumulator: IEEE"));
    expect_failure(judge_beside((spoiled){0}, text, "ieee-any-order", other_sum, true), MP_CHECK_GOLDEN,
                   "; out: combine: token 0 column 9: ");
    expect_failure(judge_beside((spoiled){0}, text, "ieee-any-order", NULL, true), MP_CHECK_GOLDEN,
                   "; every bit is equal; to be compared, promise that contract by --contract, or record");
    v = judge_beside((spoiled){0}, text, "ieee-any-order", NULL, false);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_NOT_JUDGED);
    /* a stage that promises nothing of its bits takes its own tensor out, and those behind it */
    v = judge_beside((spoiled){.unordered = true}, text, NULL, other_sum, false);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_NOT_JUDGED);
    assert_non_null(strstr(v->check[MP_CHECK_GOLDEN].text, "out (the order of additions is not fixed)"));
    v = judge_beside((spoiled){.promise = promise_unordered_sum}, text, NULL, other_sum, true);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text,
                        "not compared: out (the order of additions is not fixed)");
    expect_failure(judge_beside((spoiled){.promise = promise_unordered_sum}, text, NULL, other_cache, true),
                   MP_CHECK_GOLDEN, "cache1: gate_up: token 0 slot 0 column 3, ");
}

/* What the golden holds and the subject does not show is named, and what is shown must be equal. A strict run
 * has asked for all of it, unless a part is enough. */
static void what_a_subject_hides_from_a_golden_is_told(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16 act=silu";
    const spoiled out_alone = {.hides = ~MP_IN_SET(MP_OUT)},
                  most = {.hides = MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE2)},
                  less = {.hides = MP_IN_SET(MP_CACHE1), .promise = promise_unordered_sum};
    const mp_verdict *v = judge_beside(out_alone, text, NULL, NULL, true);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text,
                        "the subject does not show sorted_token_ids, expert_ids, num_tokens_post_padded, "
                        "cache1, cache2, cache3");
    v = judge_beside(less, text, NULL, NULL, true);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text,
                        "not compared: out (the order of additions is not fixed); the subject does not show "
                        "cache1");
    expect_failure(judge_beside(out_alone, text, NULL, other_sum, true), MP_CHECK_GOLDEN, "out: combine: ");
    expect_failure(judge_beside(most, text, "ieee-any-order", NULL, true), MP_CHECK_GOLDEN,
                   "; what could be compared is equal");
    strict = true;
    expect_failure(judge_beside(most, text, NULL, NULL, true), MP_CHECK_GOLDEN,
                   "strict: not judged: the subject does not show cache1, cache2");
    v = judge_beside(most, text, NULL, NULL, false);
    assert_int_equal(v->outcome, MP_PASS);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text, "the subject does not show cache1, cache2");
    assert_int_equal(judge_beside((spoiled){0}, text, NULL, NULL, true)->outcome, MP_PASS);
    strict = false;
}

static void promise_no_tail(mp_contract *contract) {
    contract->align_tail = false;
}

static void other_tail(mp_trace *trace) {
    ((int32_t *)trace->t[MP_SORTED_TOKEN_IDS].data)[trace->t[MP_SORTED_TOKEN_IDS].dim[1] - 1] ^= 1;
}

/* A digest is of a whole row. Where nothing is promised of a list's end, another one may be of another list:
 * no more than an equal one says that the list is equal. */
static void digests_of_lists_with_any_end_say_what_they_can(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16", *alone = "M=8 topk=2 scope=align";
    const spoiled self = {.promise = promise_no_tail};
    recorded_promise = promise_no_tail;
    assert_int_equal(judge_beside(self, text, NULL, other_tail, true)->check[MP_CHECK_GOLDEN].answer,
                     MP_PASSED);
    expect_failure(judge_beside(self, text, NULL, exchange_ids, true), MP_CHECK_GOLDEN, "sorted_token_ids");
    digest_above = 0;
    const mp_verdict *v = judge_beside(self, text, NULL, NULL, true);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text, "");
    v = judge_beside(self, text, NULL, exchange_ids, true);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text,
                        "not compared: sorted_token_ids (its digests are of any end, too)");
    digest_above = 64; /* num_tokens_post_padded is stored whole */
    expect_failure(judge_beside(self, alone, NULL, other_count, true), MP_CHECK_GOLDEN,
                   "num_tokens_post_padded");
    digest_above = SIZE_MAX;
    recorded_promise = NULL;
}

/* All slots are another rank's, and nothing is promised of their rows. */
static void promise_no_filtered_rows(mp_contract *contract) {
    for (int s = 0; s < MP_STAGE_COUNT; s++) contract->filtered[s] = MP_ROW_ANYTHING;
}

static void rows_of_which_nothing_is_promised_pass_no_golden(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 E=8 K=32 N=16 scope=gate_up ep_size=4 ep_rank=1 routing=first";
    recorded_promise = promise_no_filtered_rows;
    const mp_verdict *v =
        judge_beside((spoiled){.promise = promise_no_filtered_rows}, text, NULL, other_cache, true);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_NOT_JUDGED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text, "nothing could be compared");
    recorded_promise = NULL;
    expect_failure(judge_beside((spoiled){0}, text, NULL, other_cache, true), MP_CHECK_GOLDEN, "cache1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_differs_from_a_golden_is_found),
        cmocka_unit_test(another_tile_is_compared_where_it_can_be),
        cmocka_unit_test(what_a_subject_hides_from_a_golden_is_told),
        cmocka_unit_test(a_golden_that_promises_nothing_does_not_pass),
        cmocka_unit_test(a_golden_that_lacks_a_tensor_verifies_nothing),
        cmocka_unit_test(a_verification_measures_all_but_end_to_end),
        cmocka_unit_test(digests_of_lists_with_any_end_say_what_they_can),
        cmocka_unit_test(rows_of_which_nothing_is_promised_pass_no_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
