/* SPDX-License-Identifier: Apache-2.0 */
/* harness/infer/: the arithmetic that a subject has been given is found, and one that is wrong in no way that
 * is known is not; what the data cannot tell apart is said. Sums, activations and combines that no contract
 * predicts are in test_infer_sums.c and test_infer_steps.c. */
#include "harness/infer/infer.h"
#include "tests/faulty.h"
#include "tests/infer_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Every accumulator and model that is predicted, with the words of the contract that it is. */
static void every_predicted_sum_is_found(void **state) {
    (void)state;
    static const char *const fma[][2] = {{"gate_up.accumulator", "fma-ascending"},
                                         {"down.accumulator", "fma-ascending"}};
    static const char *const permuted[][2] = {{"gate_up.k_order", "permuted"}, {"down.k_order", "permuted"}};
    static const struct {
        const char *preset;
        const char *const (*fields)[2];
        const char *name, *keys;
    } sums[] = {{"sm_90", NULL, "sm_90 tensor core, sm_100 tensor core", "sm_90"},
                {"sm_80", NULL, "sm_80 tensor core", "sm_80"},
                {"sm_90", fma, "float32 fma, k ascending", "gate_up.accumulator=fma-ascending"},
                {"sm_90", permuted, "sm_90 tensor core, k permuted", "gate_up.k_order=permuted"}};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        mp_subject subject = keeping(sums[i].preset, sums[i].fields, sums[i].fields ? 2 : 0);
        json_t *report =
            infer(&subject, (const char *const[]){INFER_SMALL, INFER_SMALL "seed=1", NULL}, GEMMS);
        expect_best(report, "gate_up", "arithmetic", "sum", sums[i].name);
        expect_best(report, "down", "arithmetic", "sum", sums[i].name);
        if (strstr(sums[i].keys, "=") && !strstr(contract_of(report), sums[i].keys))
            fail_msg("no %s in %s", sums[i].keys, contract_of(report));
        json_decref(report);
    }
}

/* The contract in words is the one that the subject keeps: a run under it would pass. */
static void the_contract_is_told(void **state) {
    (void)state;
    mp_subject subject;
    assert_int_equal(mp_subject_open("host", &subject, NULL), MP_OK);
    json_t *report =
        infer(&subject,
              (const char *const[]){INFER_SMALL "bias=1", INFER_SMALL "filter=0.2 rsf=2.5 seed=1", INFER_WIDE,
                                    INFER_WIDE " seed=1",
                                    "M=16 E=4 topk=4 K=64 N=32 act=silu filter=0.2 layout=sorted",
                                    "M=16 E=4 topk=4 K=64 N=32 act=silu filter=0.2 layout=masked",
                                    "M=64 E=4 topk=4 act=silu scope=align", NULL},
              0);
    /* The C library's exp differs from ours in a few of a thousand million elements of bf16. */
    assert_non_null(strstr(contract_of(report), "sm_90 act.bits=reported"));
    assert_true(json_is_true(json_object_get(report, "fits")));
    assert_true(is_open(report, "act", "the C library's"));
    assert_int_equal(json_array_size(json_object_get(report, "unsaid")), 0);
    json_decref(report);
}

/* float32 operands: fma, tf32, and products that are rounded, are three things. */
static void float32_sums_are_told_apart(void **state) {
    (void)state;
    static const char *const tf32[][2] = {{"gate_up.accumulator", "tensor-core"},
                                          {"gate_up.group", "8"},
                                          {"gate_up.fraction_bits", "25"},
                                          {"gate_up.result_fraction_bits", "23"},
                                          {"gate_up.zero_exponent", "-133"}};
    static const char *const fma[][2] = {{"gate_up.accumulator", "fma-ascending"},
                                         {"down.accumulator", "fma-ascending"}};
    const char *const cases[] = {"M=8 E=4 topk=4 K=64 N=32 act=silu dtype=fp32 scope=gate_up", NULL};
    mp_subject subject = keeping("sm_90", tf32, 5);
    json_t *report = infer(&subject, cases, GATE_UP);
    expect_best(report, "gate_up", "arithmetic", "sum", "sm_90 tensor core, tf32");
    json_decref(report);
    subject = keeping("sm_90", fma, 2);
    report = infer(&subject, cases, GATE_UP);
    expect_best(report, "gate_up", "arithmetic", "sum", "float32 fma, k ascending");
    assert_false(is_open(report, "gate_up", "float32, product and sum rounded, k ascending"));
    json_decref(report);
}

/* ---- rows, repeats, batches, align ---- */

static uint32_t row_pattern; /* what plant_rows writes; 0 or the run's poison */
static bool row_is_poison;

static void plant_rows(const faulty_run *run) {
    const mp_tensor *t = &run->trace->t[MP_CACHE1];
    const size_t bytes = mp_tensor_row_bytes(t);
    for (int64_t slot = 0; t->data && slot < mp_case_slots(run->c); slot++)
        if (ids_of(run)[slot] < 0)
            mp_fill_pattern(mp_tensor_row(t, slot), bytes, row_is_poison ? run->poison : row_pattern);
}

static void rows_without_a_result_are_told(void **state) {
    (void)state;
    static const fault planted = {.name = "planted", .plant = plant_rows};
    static const struct {
        uint32_t pattern;
        bool poison;
        const char *name;
    } rows[] = {{0, false, "zero"}, {0, true, "untouched"}, {0x3F803F80, false, "anything"}};
    for (size_t i = 0; i < 3; i++) {
        row_pattern = rows[i].pattern;
        row_is_poison = rows[i].poison;
        mp_subject subject = faulty_open(&planted);
        json_t *report =
            infer(&subject,
                  (const char *const[]){"M=16 E=4 topk=4 K=64 N=32 act=silu scope=gate_up filter=0.3", NULL},
                  GATE_UP);
        expect_best(report, "gate_up", "rows of filtered slots", "value", rows[i].name);
        json_decref(report);
    }
}

static void plant_flicker(const faulty_run *run) {
    uint16_t *cache2 = run->trace->t[MP_CACHE2].data;
    if (cache2) cache2[0] = (uint16_t)(cache2[0] ^ (run->number & 1));
}

static void plant_batch(const faulty_run *run) {
    uint16_t *cache2 = run->trace->t[MP_CACHE2].data;
    if (cache2 && run->c->M == 1) cache2[0] ^= 1;
}

/* The first stage that differs is blamed, and not those behind it, which were given something else. */
static void repeats_and_batches_are_told(void **state) {
    (void)state;
    static const fault flicker = {.name = "planted", .plant = plant_flicker},
                       batch = {.name = "planted", .plant = plant_batch};
    const char *const cases[] = {"M=16 E=4 topk=2 K=64 N=32 act=silu", NULL};
    mp_subject subject = faulty_open(&flicker);
    json_t *report = infer(&subject, cases, 0);
    expect_best(report, "gate_up", "repeats", "value", "the same bits every time");
    expect_best(report, "act", "repeats", "value", "not always the same bits");
    assert_null(strstr(contract_of(report), "act.deterministic=1"));
    json_decref(report);
    subject = faulty_open(&batch);
    report = infer(&subject, cases, 0);
    expect_best(report, "gate_up", "other tokens in the batch", "value", "no influence");
    expect_best(report, "act", "other tokens in the batch", "value", "change a token's bits");
    expect_best(report, "act", "repeats", "value", "the same bits every time");
    json_decref(report);
}

static void plant_unstable(const faulty_run *run) {
    int32_t *sorted = run->trace->t[MP_SORTED_TOKEN_IDS].data;
    if (!sorted) return;
    const int32_t keep = sorted[0];
    sorted[0] = sorted[1];
    sorted[1] = keep;
}

static void plant_tail(const faulty_run *run) {
    const mp_tensor *t = &run->trace->t[MP_SORTED_TOKEN_IDS];
    if (t->data) ((int32_t *)t->data)[mp_tensor_count(t) - 1] = 7;
}

static void plant_lost_slot(const faulty_run *run) {
    int32_t *sorted = run->trace->t[MP_SORTED_TOKEN_IDS].data;
    if (sorted) sorted[0] = sorted[1];
}

static void align_is_told(void **state) {
    (void)state;
    static const fault unstable = {.name = "planted", .plant = plant_unstable},
                       tail = {.name = "planted", .plant = plant_tail},
                       lost = {.name = "planted", .plant = plant_lost_slot};
    const char *const cases[] = {"M=64 E=4 topk=2 act=silu scope=align", NULL};
    mp_subject subject = faulty_open(&unstable);
    json_t *report = infer(&subject, cases, 0);
    expect_best(report, "align", "order of an expert's slots", "value", "any order");
    expect_best(report, "align", "behind the last slot", "value", "pads");
    json_decref(report);
    subject = faulty_open(&tail);
    report = infer(&subject, cases, 0);
    expect_best(report, "align", "order of an expert's slots", "value", "ascending (stable)");
    expect_best(report, "align", "behind the last slot", "value", "anything");
    json_decref(report);
    subject = faulty_open(&lost);
    report = infer(&subject, cases, 0);
    assert_false(json_is_true(json_object_get(report, "fits")));
    json_decref(report);
}

/* What changes nothing is no hypothesis: relu2 has no functions, float32 is stored as it is. */
static void what_has_no_effect_is_not_asked(void **state) {
    (void)state;
    static const struct {
        const char *text, *stage;
        mp_stage bit;
    } all[] = {{"M=16 topk=2 N=64 act=relu2 gated=0 scope=act", "act", MP_ACT},
               {"M=16 topk=8 K=64 act=silu dtype=fp32 rsf=2.5 scope=combine", "combine", MP_COMBINE},
               {"M=16 topk=2 N=64 act=silu dtype=fp32 scope=act", "act", MP_ACT}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        mp_subject subject;
        assert_int_equal(mp_subject_open("host", &subject, NULL), MP_OK);
        json_t *report = infer(&subject, (const char *const[]){all[i].text, NULL}, 1u << all[i].bit);
        const json_t *question = question_of(report, all[i].stage, "arithmetic");
        assert_true(json_is_true(json_object_get(question, "fits")));
        assert_int_equal(json_array_size(json_object_get(question, "not_separated")), 0);
        json_decref(report);
    }
}

/* ---- what cannot be asked ---- */

static void a_contract_is_of_one_kind_of_case(void **state) {
    (void)state;
    mp_subject subject;
    mp_matrix matrix = {0};
    mp_error err = {0};
    json_t *report = NULL;
    assert_int_equal(mp_subject_open("host", &subject, NULL), MP_OK);
    mp_matrix_add(&matrix, "M=4 topk=2 act=silu", NULL, 0, NULL);
    mp_matrix_add(&matrix, "M=4 topk=2 act=silu dtype=fp16", NULL, 0, NULL);
    assert_int_equal(mp_infer(&subject, &matrix, &(mp_infer_options){0}, &report, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "cases of bf16 silu and fp16 silu"));
    assert_null(report);
    mp_matrix_free(&matrix);
    assert_int_equal(mp_infer_cases("dtype=fp61", &matrix, &err), MP_EINPUT);
    assert_int_equal(mp_infer_cases("dtype=fp16 act=gelu", &matrix, &err), MP_OK);
    assert_int_equal(matrix.count, 10);
    mp_matrix_free(&matrix);
}

/* Stages whose input nobody sees are not asked about, and said so. */
static void what_is_not_shown_is_not_seen(void **state) {
    (void)state;
    static const fault none = {.name = "planted"};
    mp_subject subject = faulty_open_exposing(&none, MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_OUT));
    json_t *report = infer(&subject, (const char *const[]){"M=16 E=4 topk=2 K=64 N=32 act=silu", NULL},
                           1 << MP_GATE_UP | 1 << MP_DOWN);
    assert_true(json_is_true(json_object_get(stage_of(report, "gate_up"), "seen")));
    assert_false(json_is_true(json_object_get(stage_of(report, "down"), "seen")));
    assert_true(json_is_true(json_object_get(report, "fits")));
    json_decref(report);
}

enum { CACHES = MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_CACHE3) };

/* Of a stage that nobody saw, the line promises nothing; of one that was seen, what was found. */
static void what_was_not_seen_is_not_promised(void **state) {
    (void)state;
    static const fault none = {.name = "planted"};
    static const char whole[] = "M=16 E=4 topk=2 K=64 N=32 act=silu",
                      combine[] = "M=16 topk=4 K=64 act=silu scope=combine";
    mp_subject subject = faulty_open_exposing(&none, CACHES | MP_IN_SET(MP_OUT));
    json_t *report = infer(&subject, (const char *const[]){whole, NULL}, 0);
    mp_contract line = promised(report, whole);
    assert_true(line.promise[MP_ACT].deterministic && line.promise[MP_COMBINE].batch_invariant);
    assert_false(line.promise[MP_ALIGN].deterministic || line.promise[MP_ALIGN].batch_invariant);
    json_decref(report);
    subject = faulty_open_exposing(&none, 0); /* all of them */
    report = infer(&subject, (const char *const[]){whole, NULL}, 0);
    line = promised(report, whole);
    assert_true(line.promise[MP_ALIGN].deterministic && line.promise[MP_ALIGN].batch_invariant);
    json_decref(report);
    subject = faulty_open(&none);
    report = infer(&subject, (const char *const[]){combine, NULL}, 0);
    line = promised(report, combine);
    for (int s = 0; s < MP_STAGE_COUNT; s++) assert_int_equal(line.promise[s].deterministic, s == MP_COMBINE);
    json_decref(report);
    subject = faulty_open_exposing(&none, MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_OUT));
    report = infer(&subject, (const char *const[]){whole, NULL}, 0);
    line = promised(report, whole);
    for (int s = 0; s < MP_STAGE_COUNT; s++) assert_int_equal(line.promise[s].deterministic, s == MP_GATE_UP);
    assert_string_equal(json_string_value(json_object_get(report, "expose")), "");
    json_decref(report);
}

/* Who shows the end alone is told what to show. */
static void nothing_seen_says_what_to_expose(void **state) {
    (void)state;
    static const fault none = {.name = "planted"};
    const char *const cases[] = {"M=16 E=4 topk=2 K=64 N=32 act=silu", NULL};
    mp_subject subject = faulty_open_exposing(&none, MP_IN_SET(MP_OUT));
    json_t *report = infer(&subject, cases, 0);
    assert_string_equal(json_string_value(json_object_get(report, "expose")), "cache1, cache2, cache3");
    assert_string_equal(contract_of(report), "any");
    json_decref(report);
    subject = faulty_open_exposing(&none, MP_IN_SET(MP_OUT));
    report = infer(&subject, cases, 1 << MP_ACT);
    assert_string_equal(json_string_value(json_object_get(report, "expose")), "cache1, cache2");
    json_decref(report);
}

/* A subject that leaves the scaling to its caller is asked without. */
static void unscaled_cases_are_asked_where_none_scales(void **state) {
    (void)state;
    mp_subject subject = keeping("sm_90", NULL, 0);
    no_scaling = true;
    json_t *report =
        infer(&subject, (const char *const[]){"M=64 topk=8 K=64 data=wide rsf=2.5 scope=combine", NULL}, 0);
    no_scaling = false;
    const json_t *cases = json_object_get(report, "cases"), *first = json_array_get(cases, 0),
                 *second = json_array_get(cases, 1);
    assert_int_equal(json_array_size(cases), 2);
    assert_string_equal(json_string_value(json_object_get(first, "skipped")), "the caller scales");
    assert_null(strstr(json_string_value(json_object_get(second, "name")), "rsf="));
    assert_string_equal(json_string_value(json_object_get(second, "skipped")), "");
    expect_best(report, "combine", "arithmetic", "sum", "ascending");
    /* the case, and 2048 tokens of 16 that are made for the sum */
    const json_t *best = json_object_get(question_of(report, "combine", "arithmetic"), "best");
    assert_int_equal(number_of(best, "compared"), 64 * 64 + 2048 * 16);
    json_decref(report);
}

/* From end to end alone: gates and ups come through gate_up, -0 too, and what cannot be asked is said to be
 * infer's wish. */
static void whole_pipelines_are_asked(void **state) {
    (void)state;
    static const char *const fields[][2] = {{"act.clamp_nan", "limit"}, {"act.up_plus_zero", "1"}};
    mp_subject subject = keeping("sm_90", fields, 2);
    no_single_stage = true;
    json_t *report = infer(&subject, (const char *const[]){"M=16 E=4 topk=2 K=64 N=32 act=clamp_silu", NULL},
                           1 << MP_ACT | 1 << MP_DOWN);
    no_single_stage = false;
    expect_best(report, "act", NAN_QUESTION, "value", "limit");
    expect_best(report, "act", ZERO_QUESTION, "value", "a factor of +0");
    const char *why =
        json_string_value(json_object_get(json_object_get(json_object_get(report, "trees"), "down"), "why"));
    assert_string_equal(why, "infer asks for down alone (scope=down), which the subject does not run");
    json_decref(report);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_predicted_sum_is_found),
        cmocka_unit_test(the_contract_is_told),
        cmocka_unit_test(float32_sums_are_told_apart),
        cmocka_unit_test(rows_without_a_result_are_told),
        cmocka_unit_test(repeats_and_batches_are_told),
        cmocka_unit_test(align_is_told),
        cmocka_unit_test(what_has_no_effect_is_not_asked),
        cmocka_unit_test(a_contract_is_of_one_kind_of_case),
        cmocka_unit_test(what_is_not_shown_is_not_seen),
        cmocka_unit_test(what_was_not_seen_is_not_promised),
        cmocka_unit_test(nothing_seen_says_what_to_expose),
        cmocka_unit_test(unscaled_cases_are_asked_where_none_scales),
        cmocka_unit_test(whole_pipelines_are_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
