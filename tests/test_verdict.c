/* SPDX-License-Identifier: Apache-2.0 */
/* harness/verdict.c: verdicts survive JSON without loss, broken JSON is refused, and the exit code carries
 * the outcome. */
#include "harness/fields.h"
#include "harness/verdict_json.h"
#include "harness/verdict_make.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double
next_figure(void) { /* ordinary numbers that need all 17 digits, and what JSON has no number for */
    static int n;
    switch (n++ % 7) {
    case 0: return (double)NAN;
    case 1: return (double)INFINITY;
    case 2: return -(double)INFINITY;
    case 3: return -0.0;
    case 4: return 0x1p-1074;
    default: return 1.0 / (n + 2);
    }
}

static mp_stage_figures full_figures(int64_t n) {
    return (mp_stage_figures){.judged = n % 2 == 1,
                              .compared = n,
                              .failed = n + 1,
                              .bit_equal = INT64_MAX - n,
                              .max_abs = next_figure(),
                              .max_ratio = next_figure(),
                              .max_drift = next_figure(),
                              .max_row_rms = next_figure(),
                              .rank = 3,
                              .shape = {n, 2, 5},
                              .worst_index = n,
                              .mispredicted = n + 2,
                              .first_index = n + 1,
                              .first_value = next_figure(),
                              .worst_value = next_figure(),
                              .worst_expected = next_figure(),
                              .worst_bound = next_figure(),
                              .saturated = n + 3,
                              .by_cpu = n + 4,
                              .quant_bound = next_figure(),
                              .time_ns = next_figure()};
}

/* Every field is set, to a value of its own. */
static void fill(mp_verdict *v) {
    mp_verdict_init(v);
    strcpy(v->name, "M=32 topk=2 act=silu");
    v->group = "smoke \"quoted\" \\ / \x01\n";
    v->subject = "host";
    v->contract = "IEEE_ANY_ORDER";
    v->config = "default 64x64x32";
    v->config_note = "a fallback";
    v->weaker = "guards of copies";
    v->covers = "judged: act; not judged: down (without w2)";
    v->blas = "plain loops";
    v->outcome = MP_TIMEOUT;
    v->reason = "gr\xc3\xb6\xc3\x9f"
                "er";
    for (int i = 0; i < MP_STAGE_COUNT; i++) v->stage[i] = full_figures(10 * i + 3);
    v->end_to_end = full_figures(77);
    for (int i = 0; i < MP_CHECK_COUNT; i++) {
        v->check[i].answer = (mp_answer)(i % 3);
        v->check[i].failures = i * 1000 - 5;
        mp_verdict_set(v, &v->check[i].text, "check %d", i);
    }
    v->pair_count = MP_MAX_PAIRS;
    for (int i = 0; i < MP_MAX_PAIRS; i++) {
        mp_pair_figures *p = &v->pair[i];
        mp_verdict_set(v, &p->text, "pair %d", i);
        mp_verdict_set(v, &p->note, "note %d", i);
        p->required = i % 2 == 0;
        p->bits_equal = i % 3 == 0;
        p->compared = i + 100;
        p->differing = i + 200;
        p->max_abs = next_figure();
        p->first[0] = (char)('A' + i);
    }
    v->seconds = 0.1;
    for (int i = 0; i < MP_PHASE_COUNT; i++) v->phase_seconds[i] = next_figure();
    v->peak_bytes = (int64_t)1 << 40;
    v->repro = "moeparity run --case 'M=32 topk=2 act=silu'";
    v->begins = "begins in gate_up: expert 3 only, 7 of its 7 rows, columns 64..127";
    v->history = "passes alone; failed after 2 rows of the same process";
    v->row = 123456789012;
    v->device = "GPU-7";
}

/* The texts of both are equal, and belong to each of them alone; moved away, the rest is equal byte for byte.
 */
static void assert_equal_texts(const char **a, const char **b) {
    assert_string_equal(*a, *b);
    assert_ptr_not_equal(*a, *b);
    *a = *b = "";
}

static void assert_equal_verdicts(mp_verdict *a, mp_verdict *b) {
    const mp_texts of_a = a->texts, of_b = b->texts;
    assert_equal_texts(&a->group, &b->group);
    assert_equal_texts(&a->subject, &b->subject);
    assert_equal_texts(&a->contract, &b->contract);
    assert_equal_texts(&a->config, &b->config);
    assert_equal_texts(&a->config_note, &b->config_note);
    assert_equal_texts(&a->weaker, &b->weaker);
    assert_equal_texts(&a->covers, &b->covers);
    assert_equal_texts(&a->blas, &b->blas);
    assert_equal_texts(&a->reason, &b->reason);
    assert_equal_texts(&a->repro, &b->repro);
    assert_equal_texts(&a->begins, &b->begins);
    assert_equal_texts(&a->history, &b->history);
    assert_equal_texts(&a->device, &b->device);
    for (int i = 0; i < MP_CHECK_COUNT; i++) assert_equal_texts(&a->check[i].text, &b->check[i].text);
    for (int i = 0; i < MP_MAX_PAIRS; i++) {
        assert_equal_texts(&a->pair[i].text, &b->pair[i].text);
        assert_equal_texts(&a->pair[i].note, &b->pair[i].note);
    }
    a->texts = b->texts = (mp_texts){0};
    assert_memory_equal(a, b, sizeof *a);
    a->texts = of_a;
    b->texts = of_b;
}

static void json_round_trip_is_exact(void **state) {
    (void)state;
    mp_verdict *before = malloc(sizeof *before), *after = malloc(sizeof *after);
    mp_error err = {0};
    memset(before, 0, sizeof *before); /* padding, too, for the comparison of bytes */
    memset(after, 0, sizeof *after);
    fill(before);
    json_t *json = mp_verdict_to_json(before);
    char *text = json_dumps(json, JSON_REAL_PRECISION(17));
    json_t *parsed = json_loads(text, 0, NULL);
    assert_non_null(parsed);
    if (mp_verdict_from_json(parsed, after, &err) != MP_OK) fail_msg("%s", err.text);
    assert_equal_verdicts(before, after);
    json_decref(json);
    json_decref(parsed);
    free(text);
    mp_verdict_free(before);
    mp_verdict_free(after);
    free(before);
    free(after);
}

/* Replaces every value of the object, one at a time, deeper levels included, by null and by nothing; `root`
 * must be refused each time, and the message must name the key. */
static int refuse_each(json_t *root, json_t *object) {
    static mp_verdict v;
    int tried = 0;
    json_t *keys = json_copy(object), *value; /* the object itself changes on the way */
    const char *name;
    json_object_foreach(keys, name, value) {
        for (int deleted = 0; deleted < 2; deleted++) {
            mp_error err = {0};
            if (deleted)
                json_object_del(object, name);
            else
                json_object_set_new(object, name, json_null());
            assert_int_equal(mp_verdict_from_json(root, &v, &err), MP_EINPUT);
            mp_verdict_free(&v);
            if (strstr(err.text, name) == NULL) fail_msg("'%s' is not named in: %s", name, err.text);
            tried++;
        }
        json_object_set(object, name, value);
        if (json_is_object(value)) tried += refuse_each(root, value);
        if (json_is_array(value)) tried += refuse_each(root, json_array_get(value, 0));
    }
    json_decref(keys);
    return tried;
}

static void incomplete_json_is_refused(void **state) {
    (void)state;
    static mp_verdict filled, v;
    mp_error err = {0};
    fill(&filled);
    json_t *json = mp_verdict_to_json(&filled);
    mp_verdict_free(&filled);
    /* 23 keys at the top, and the phases; the stages and end_to_end with 26; names of stages; the checks with
     * 3 and their names; a pair with 8: each tried twice */
    assert_int_equal(refuse_each(json, json), 2 * (23 + MP_PHASE_COUNT + (MP_STAGE_COUNT + 1) * 26 +
                                                   MP_STAGE_COUNT + MP_CHECK_COUNT * (3 + 1) + 8));
    assert_int_equal(mp_verdict_from_json(json, &v, &err), MP_OK); /* it was put together again */
    mp_verdict_free(&v);
    json_object_set_new(json, "outcome", json_string("GOOD"));
    assert_int_equal(mp_verdict_from_json(json, &v, &err), MP_EINPUT);
    mp_verdict_free(&v);
    json_object_set_new(json, "outcome", json_string("PASS"));
    json_array_append(json_object_get(json, "pairs"), json_array_get(json_object_get(json, "pairs"), 0));
    assert_int_equal(mp_verdict_from_json(json, &v, &err), MP_EINPUT);
    mp_verdict_free(&v);
    json_decref(json);
    assert_int_equal(mp_verdict_from_json(NULL, &v, &err), MP_EINPUT);
}

/* No text is cut, whatever its length; a text beyond all reason is not taken from another process. */
static void long_and_foreign_text(void **state) {
    (void)state;
    static mp_verdict v, back;
    mp_error err = {0};
    fill(&v);
    v.reason = "cut \xc3"; /* not UTF-8 */
    char *text = malloc(MP_FIELD_TEXT_MAX + 2);
    memset(text, 'x', MP_FIELD_TEXT_MAX + 1);
    text[MP_FIELD_TEXT_MAX + 1] = '\0';
    mp_verdict_set(&v, &v.check[MP_CHECK_BITS].text, "%s", text + 1);
    json_t *json = mp_verdict_to_json(&v);
    assert_int_equal(mp_verdict_from_json(json, &back, &err), MP_OK);
    assert_string_equal(back.reason, "cut ?");
    assert_string_equal(back.check[MP_CHECK_BITS].text, text + 1);
    mp_verdict_free(&back);
    json_object_set_new(json, "blas", json_string(text)); /* one byte too long */
    assert_int_equal(mp_verdict_from_json(json, &back, &err), MP_EINPUT);
    assert_string_equal(err.text, "verdict: blas: expected a text of at most 1048576 bytes");
    mp_verdict_free(&back);
    json_object_set_new(json, "blas", json_string(""));
    text[MP_CASE_TEXT_MAX] = '\0';
    json_object_set_new(json, "name", json_string(text));
    assert_int_equal(mp_verdict_from_json(json, &back, &err), MP_EINPUT);
    assert_string_equal(err.text, "verdict: name: expected a text of at most 1023 bytes");
    mp_verdict_free(&back);
    json_decref(json);
    mp_verdict_free(&v);
    free(text);
}

/* A text may be made of itself, and of others of its verdict. */
static void texts_are_set(void **state) {
    (void)state;
    static mp_verdict v;
    mp_verdict_init(&v);
    assert_string_equal(v.reason, "");
    assert_string_equal(v.pair[MP_MAX_PAIRS - 1].note, "");
    mp_verdict_set(&v, &v.reason, "%d", 7);
    mp_verdict_set(&v, &v.repro, "again");
    mp_verdict_set(&v, &v.reason, "%s %s%s", v.reason, v.repro, v.blas);
    assert_string_equal(v.reason, "7 again");
    mp_verdict_free(&v);
    assert_string_equal(v.reason, "");
    mp_verdict_free(&v); /* twice is once */
}

static void worst_stage(void **state) {
    (void)state;
    static mp_verdict v;
    mp_verdict_init(&v);
    v.stage[MP_ACT].max_ratio = 9;
    assert_int_equal(mp_verdict_worst_stage(&v), -1); /* none judged */
    v.stage[MP_GATE_UP] = (mp_stage_figures){.judged = true, .max_ratio = 0.25};
    v.stage[MP_DOWN] = (mp_stage_figures){.judged = true, .max_ratio = 0.5};
    v.stage[MP_COMBINE] = (mp_stage_figures){.judged = true, .max_ratio = 0.125};
    assert_int_equal(mp_verdict_worst_stage(&v), MP_DOWN);
    v.stage[MP_COMBINE].max_ratio = (double)INFINITY;
    assert_int_equal(mp_verdict_worst_stage(&v), MP_COMBINE);
    assert_int_equal(mp_verdict_drift_stage(&v), MP_GATE_UP); /* none drifts */
    v.stage[MP_DOWN].max_drift = 0.125;
    v.stage[MP_ALIGN] = (mp_stage_figures){.judged = true, .max_drift = 1};
    assert_int_equal(mp_verdict_drift_stage(&v), MP_DOWN);
    v.stage[MP_ALIGN].judged = false;
    for (int i = MP_GATE_UP; i <= MP_COMBINE; i++) { /* a NaN is the worst wherever it stands */
        mp_verdict w = v;
        w.stage[i] = (mp_stage_figures){.judged = true, .max_ratio = (double)NAN};
        assert_int_equal(mp_verdict_worst_stage(&w), i);
        w.stage[i].max_drift = (double)NAN;
        assert_int_equal(mp_verdict_drift_stage(&w), i);
    }
}

static void exit_codes(void **state) {
    (void)state;
    static const struct {
        int64_t count[MP_OUTCOME_COUNT]; /* passed, failed, skipped, crashed, timed out */
        int finished, interrupted, gpu_required, recording;
    } runs[] = {
        {{2, 0, 0, 0, 0}, 0, 3, 0, 0},   {{2, 0, 1, 0, 0}, 0, 3, 0, 77}, {{2, 1, 0, 0, 0}, 1, 1, 1, 1},
        {{2, 1, 0, 1, 1}, 1, 1, 1, 1},   {{2, 0, 0, 1, 0}, 3, 3, 3, 3},  {{2, 0, 0, 0, 1}, 3, 3, 3, 3},
        {{0, 0, 2, 0, 0}, 77, 3, 3, 77}, {{0, 0, 0, 0, 0}, 2, 3, 2, 2},  {{0, 1, 2, 0, 0}, 1, 1, 1, 1},
        {{0, 0, 2, 0, 1}, 3, 3, 3, 3},
    };
    const mp_run_info whole = {0}, interrupted = {.interrupted = true}, recording = {.recording = true};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        mp_tally tally = {0};
        for (int k = 0; k < MP_OUTCOME_COUNT; k++) tally.total += tally.count[k] = runs[i].count[k];
        unsetenv("MOEPARITY_REQUIRE_GPU");
        assert_int_equal(mp_exit_code(&tally, &whole), runs[i].finished);
        assert_int_equal(mp_exit_code(&tally, &interrupted), runs[i].interrupted);
        assert_int_equal(mp_exit_code(&tally, &recording), runs[i].recording);
        setenv("MOEPARITY_REQUIRE_GPU", "1", 1);
        assert_int_equal(mp_exit_code(&tally, &whole), runs[i].gpu_required);
        assert_int_equal(mp_exit_code_of(MP_EUNSUPPORTED), 3);
        unsetenv("MOEPARITY_REQUIRE_GPU");
    }
    assert_int_equal(mp_exit_code_of(MP_OK), 0);
    assert_int_equal(mp_exit_code_of(MP_EINPUT), 2);
    assert_int_equal(mp_exit_code_of(MP_EIO), 2);
    assert_int_equal(mp_exit_code_of(MP_EUNSUPPORTED), 77);
    assert_int_equal(mp_exit_code_of(MP_EDEVICE), 3);
    assert_int_equal(mp_exit_code_of(MP_EMEMORY), 3);
}

static void places_of_elements(void **state) {
    (void)state;
    const mp_case c = {.M = 5, .topk = 3};
    int64_t index[MP_MAX_RANK];
    mp_stage_figures f = {0};
    assert_int_equal(mp_stage_index(&f, 0, index), 0); /* no shape is told */
    mp_stage_set_shape(&f, &c, 15, 7);
    for (int64_t flat = 0; flat < 105; flat++) {
        assert_int_equal(mp_stage_index(&f, flat, index), 3);
        assert_int_equal((index[0] * 3 + index[1]) * 7 + index[2], flat);
        assert_true(index[1] < 3 && index[2] < 7);
    }
    mp_stage_set_shape(&f, &c, 5, 7);
    assert_int_equal(mp_stage_index(&f, 34, index), 2);
    assert_int_equal(index[0], 4);
    assert_int_equal(index[1], 6);
    assert_int_equal(mp_stage_index(&f, 35, index), 0); /* one behind the last */
    assert_int_equal(mp_stage_index(&f, -1, index), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_round_trip_is_exact),
        cmocka_unit_test(incomplete_json_is_refused),
        cmocka_unit_test(long_and_foreign_text),
        cmocka_unit_test(texts_are_set),
        cmocka_unit_test(worst_stage),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(places_of_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
