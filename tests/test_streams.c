/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that are replayed from a graph, and two at once: right ones pass, and each planted fault fails. */
#include "moeparity/run_case.h"
#include "tests/streamed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SMALL "M=40 topk=2 E=8 K=32 N=32 "

static void judge(const char *text, streamed_fault fault, const char *fields, bool strict, mp_verdict *v) {
    mp_matrix_row row = {.c = mp_case_default(), .group = ""};
    mp_error err = {0};
    if (mp_case_parse(&row.c, text, &err) != MP_OK) fail_msg("%s", err.text);
    mp_subject subject = streamed_open(fault, fields);
    const mp_run_options options = {.subject = &subject, .settings.strict = strict};
    mp_run_case(&row, &options, v);
    mp_subject_close(&subject);
}

static void right_runs_pass_in_every_layout(void **state) {
    (void)state;
    static const char *const texts[] = {SMALL,
                                        SMALL "filter=0.3",
                                        SMALL "routing=padded layout=sorted",
                                        "M=40 topk=1 E=1 K=32 N=32 routing=first",
                                        SMALL "routing=duplicates",
                                        SMALL "mode=inplace",
                                        SMALL "mode=no_combine",
                                        "M=40 topk=4 E=8 K=32 N=32 fused_sum=1 rsf=2.5",
                                        SMALL "bias=1 dtype=fp16 ep_size=4 ep_rank=2",
                                        SMALL "data=unused routing=empty",
                                        SMALL "data=special",
                                        SMALL "ep_size=4 ep_rank=1 expert_map=round_robin",
                                        SMALL "ep_size=4 ep_rank=1 sentinel=any",
                                        SMALL "layout=masked",
                                        SMALL "layout=masked routing=duplicates",
                                        SMALL "buffer_offset=1",
                                        SMALL "shared=slot",
                                        SMALL "shared=add",
                                        "M=40 topk=2 E=8 scope=align",
                                        SMALL "scope=gate_up",
                                        "M=40 topk=2 E=8 N=32 scope=act",
                                        SMALL "scope=down",
                                        "M=40 topk=2 K=32 scope=combine",
                                        "M=1 topk=1 E=1 K=8 N=8"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mp_verdict v;
        judge(texts[i], STREAMED_RIGHT, NULL, false, &v);
        if (v.outcome != MP_PASS || v.check[MP_CHECK_GRAPH].answer != MP_PASSED ||
            v.check[MP_CHECK_STREAMS].answer != MP_PASSED)
            fail_msg("%s: %s; graph: %s; streams: %s", texts[i], v.reason, v.check[MP_CHECK_GRAPH].text,
                     v.check[MP_CHECK_STREAMS].text);
        mp_verdict_free(&v);
    }
}

/* Which of both checks fails, and with what; the other one passes where it cannot see the fault. */
static void each_fault_fails_its_check(void **state) {
    (void)state;
    static const struct {
        streamed_fault fault;
        mp_check check;
        const char *text;
    } rows[] = {
        {STREAMED_FROZEN_COUNT, MP_CHECK_GRAPH, "replayed after other inputs: "},
        {STREAMED_FROZEN_IDS, MP_CHECK_GRAPH, "replayed after other inputs: "},
        {STREAMED_ADDS, MP_CHECK_GRAPH, "replayed after other inputs: "},
        {STREAMED_FLAG_BY_HOST, MP_CHECK_GRAPH, "replayed after other inputs: "},
        {STREAMED_DEFAULT_STREAM, MP_CHECK_GRAPH, "replayed after other inputs: "},
        {STREAMED_WAITS, MP_CHECK_GRAPH, "what it begins cannot be recorded: a stream is being recorded"},
        {STREAMED_WAITS_UNSEEN, MP_CHECK_GRAPH,
         "what it begins cannot be recorded: what was begun is refused"},
        {STREAMED_ALLOCATES, MP_CHECK_GRAPH, "what it begins cannot be recorded: no memory in a recording"},
        {STREAMED_SPOILS_X, MP_CHECK_INPUT, "replayed with other inputs: x changed: digest "},
        {STREAMED_SPOILS_GUARD, MP_CHECK_GUARD,
         "replayed with other inputs: out: byte 2560 of a buffer of 2560 "},
        {STREAMED_ONE_SCRATCH, MP_CHECK_STREAMS, "other inputs beside this run: "},
        {STREAMED_ONE_COUNTER, MP_CHECK_STREAMS, "beside another run: "},
    };
    static const char *const contracts[] = {NULL, "combine.deterministic=0"}; /* bits; bounds */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < 2; k++) {
            mp_verdict v;
            const bool in_both = rows[i].fault == STREAMED_ADDS; /* whose buffers are used again */
            const mp_check other = rows[i].check == MP_CHECK_STREAMS ? MP_CHECK_GRAPH : MP_CHECK_STREAMS;
            judge(SMALL, rows[i].fault, contracts[k], false, &v);
            const mp_check_result *found = &v.check[rows[i].check];
            if (v.outcome != MP_FAIL || found->answer != MP_FAILED ||
                strncmp(found->text, rows[i].text, strlen(rows[i].text)) != 0)
                fail_msg("fault %d: %s %s: %s", (int)rows[i].fault, mp_outcome_name(v.outcome), v.reason,
                         found->text);
            for (int c = 0; c < MP_CHECK_COUNT; c++)
                if (c != (int)rows[i].check && v.check[c].answer == MP_FAILED && !in_both &&
                    !(rows[i].fault == STREAMED_SPOILS_X && c == MP_CHECK_GRAPH)) /* which reads that x */
                    fail_msg("fault %d: %s: %s", (int)rows[i].fault, mp_check_name((mp_check)c),
                             v.check[c].text);
            assert_int_equal(v.check[other].answer, in_both ? MP_FAILED : MP_PASSED);
            mp_verdict_free(&v);
        }
}

static void other_inputs_are_another_batch_on_the_same_weights(void **state) {
    (void)state;
    static const char *const texts[] = {SMALL,
                                        SMALL "filter=0.5",
                                        SMALL "routing=first",
                                        "M=40 topk=9 E=8 K=32 N=32 routing=duplicates",
                                        SMALL "data=unused routing=padded",
                                        "M=40 topk=2 K=32 scope=combine"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mp_case c = mp_case_default();
        mp_inputs in, other;
        mp_error err = {0};
        int64_t routed = 0, others = 0;
        if (mp_case_parse(&c, texts[i], &err) != MP_OK || mp_inputs_create(&c, &in, &err) != MP_OK ||
            mp_inputs_other(&c, &in, SIZE_MAX, &other, &err) != MP_OK ||
            mp_inputs_check_ids(&c, &other, &err) != MP_OK)
            fail_msg("%s: %s", texts[i], err.text);
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            const mp_tensor *a = &in.t[id], *b = &other.t[id];
            const bool whole = id == MP_W1 || id == MP_W2;
            assert_int_equal(a->data != NULL, b->data != NULL);
            assert_int_equal(mp_tensor_bytes(a), mp_tensor_bytes(b));
            if (!a->data) continue;
            assert_int_equal(a->data == b->data, whole);
            if (!whole) assert_memory_not_equal(a->data, b->data, mp_tensor_bytes(a));
        }
        for (int64_t s = 0; s < mp_case_slots(&c); s++) {
            routed += ((const int32_t *)in.t[MP_TOPK_IDS].data)[s] >= 0;
            others += ((const int32_t *)other.t[MP_TOPK_IDS].data)[s] >= 0;
        }
        assert_int_equal(others, mp_case_slots(&c));
        assert_true(routed <= others);
        mp_inputs_destroy(&other);
        mp_inputs_destroy(&in);
    }
}

static void what_cannot_be_asked_is_not_judged(void **state) {
    (void)state;
    static const struct {
        streamed_fault fault;
        const char *text, *graph, *streams;
    } rows[] = {
        {STREAMED_NO_GRAPHS, SMALL, "the subject offers no graphs here", NULL},
        {STREAMED_NO_OVERLAP, SMALL, NULL, "the subject offers no runs at once here"},
        {STREAMED_REFUSES, SMALL, "not in this layout", "not in this layout"},
        {STREAMED_NEVER_AT_ONCE, SMALL, NULL, "it waits for what it begins: nothing overlapped"},
        {STREAMED_RIGHT, "M=0 topk=2 E=8 K=32 N=32", "no tokens", "no tokens"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int strict = 0; strict < 2; strict++) {
            mp_verdict v;
            const char *const texts[] = {rows[i].graph, rows[i].streams};
            judge(rows[i].text, rows[i].fault, NULL, strict, &v);
            /* what it offers and does not do is not judged, which a strict run does not take */
            const bool asked = rows[i].fault == STREAMED_REFUSES || rows[i].fault == STREAMED_NEVER_AT_ONCE;
            assert_int_equal(v.outcome, strict && asked ? MP_FAIL : MP_PASS);
            for (int c = 0; c < 2 && !(strict && asked); c++) {
                const mp_check_result *found = &v.check[c ? MP_CHECK_STREAMS : MP_CHECK_GRAPH];
                assert_int_equal(found->answer, texts[c] ? MP_NOT_JUDGED : MP_PASSED);
                assert_string_equal(found->text, texts[c] ? texts[c] : "");
            }
            mp_verdict_free(&v);
        }
}

static void a_subject_without_streams_cannot_offer_them(void **state) {
    (void)state;
    mp_subject subject = streamed_open(STREAMED_RIGHT, NULL);
    const mp_case c = mp_case_default();
    mp_offer offer;
    mp_error err = {0};
    subject.begin = NULL;
    assert_int_equal(mp_subject_describe(&subject, &c, &offer, &err), MP_EDEVICE);
    assert_non_null(strstr(err.text, "subject streamed offers graphs, and has no begin"));
    mp_subject_close(&subject);
}

/* Bits of align in any order cannot be compared: its integers are judged, or a graph that has kept the ids of
 * another routing would pass. */
static void align_in_any_order_is_judged(void **state) {
    (void)state;
    static const char *const text = "M=40 topk=2 E=8 scope=align", *const fields = "align.stable=0";
    mp_verdict v;
    judge(text, STREAMED_RIGHT, fields, false, &v);
    assert_int_equal(v.outcome, MP_PASS);
    assert_int_equal(v.check[MP_CHECK_GRAPH].answer, MP_PASSED);
    assert_int_equal(v.check[MP_CHECK_STREAMS].answer, MP_PASSED);
    mp_verdict_free(&v);
    judge(text, STREAMED_FROZEN_IDS, fields, false, &v);
    assert_int_equal(v.outcome, MP_FAIL);
    assert_int_equal(v.check[MP_CHECK_GRAPH].answer, MP_FAILED);
    assert_non_null(strstr(v.check[MP_CHECK_GRAPH].text, "replayed after other inputs: integer: align: "));
    mp_verdict_free(&v);
}

/* Every slot is another rank's, and nothing is promised of their rows: not so in the other batch, which runs
 * beside it. */
static void what_leaves_nothing_to_compare_does_not_pass(void **state) {
    (void)state;
    static const char *const contracts[] = {
        "gate_up.filtered=anything",
        "gate_up.filtered=anything gate_up.accumulator=any gate_up.deterministic=0"};
    for (size_t i = 0; i < 2; i++) {
        mp_verdict v;
        judge(SMALL "scope=gate_up ep_size=4 ep_rank=1 routing=first", STREAMED_RIGHT, contracts[i], false,
              &v);
        assert_int_equal(v.check[MP_CHECK_GRAPH].answer, MP_NOT_JUDGED);
        assert_string_equal(v.check[MP_CHECK_GRAPH].text, "nothing to compare");
        assert_int_equal(v.check[MP_CHECK_BOUND].answer, MP_NOT_JUDGED);
        assert_string_equal(v.check[MP_CHECK_BOUND].text, "nothing to compare");
        mp_verdict_free(&v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_runs_pass_in_every_layout),
        cmocka_unit_test(each_fault_fails_its_check),
        cmocka_unit_test(other_inputs_are_another_batch_on_the_same_weights),
        cmocka_unit_test(what_cannot_be_asked_is_not_judged),
        cmocka_unit_test(a_subject_without_streams_cannot_offer_them),
        cmocka_unit_test(align_in_any_order_is_judged),
        cmocka_unit_test(what_leaves_nothing_to_compare_does_not_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
