/* harness/verdict.c: verdicts survive JSON without loss, broken JSON is refused, and the exit code carries
 * the outcome. */
#include "harness/verdict.h"

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
                              .max_row_rms = next_figure(),
                              .worst_index = -n,
                              .worst_value = next_figure(),
                              .worst_expected = next_figure(),
                              .worst_bound = next_figure(),
                              .time_ns = next_figure()};
}

/* Every field is set, to a value of its own. */
static void fill(mp_verdict *v) {
    memset(v, 0, sizeof *v);
    strcpy(v->name, "M=32 topk=2 act=silu");
    strcpy(v->group, "smoke \"quoted\" \\ / \x01\n");
    strcpy(v->subject, "host");
    strcpy(v->contract, "IEEE_ANY_ORDER");
    strcpy(v->config, "default 64x64x32");
    strcpy(v->blas, "plain loops");
    v->outcome = MP_TIMEOUT;
    strcpy(v->reason, "gr\xc3\xb6\xc3\x9f"
                      "er");
    for (int i = 0; i < MP_STAGE_COUNT; i++) v->stage[i] = full_figures(10 * i + 3);
    v->end_to_end = full_figures(77);
    for (int i = 0; i < MP_CHECK_COUNT; i++) {
        v->check[i].answer = (mp_answer)(i % 3);
        v->check[i].failures = i * 1000 - 5;
        v->check[i].text[0] = (char)('a' + i);
    }
    v->pair_count = MP_MAX_PAIRS;
    for (int i = 0; i < MP_MAX_PAIRS; i++) {
        mp_pair_figures *p = &v->pair[i];
        p->text[0] = (char)('a' + i);
        p->required = i % 2 == 0;
        p->bits_equal = i % 3 == 0;
        p->compared = i + 100;
        p->differing = i + 200;
        p->max_abs = next_figure();
        p->first[0] = (char)('A' + i);
    }
    v->seconds = 0.1;
    v->peak_bytes = (int64_t)1 << 40;
    strcpy(v->repro, "moeparity run --case 'M=32 topk=2 act=silu'");
}

static void json_round_trip_is_exact(void **state) {
    (void)state;
    mp_verdict *before = malloc(sizeof *before), *after = malloc(sizeof *after);
    mp_error err = {0};
    fill(before);
    json_t *json = mp_verdict_to_json(before);
    char *text = json_dumps(json, JSON_REAL_PRECISION(17));
    json_t *parsed = json_loads(text, 0, NULL);
    assert_non_null(parsed);
    memset(after, 0xA5, sizeof *after);
    if (mp_verdict_from_json(parsed, after, &err) != MP_OK) fail_msg("%s", err.text);
    assert_memory_equal(before, after, sizeof *before);
    json_decref(json);
    json_decref(parsed);
    free(text);
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
    static mp_verdict v;
    mp_error err = {0};
    fill(&v);
    json_t *json = mp_verdict_to_json(&v);
    /* 16 keys at the top; 5 stages and end_to_end with 16; 5 names; 13 checks with 3 and their names; a pair
     * with 7: each tried twice */
    assert_int_equal(refuse_each(json, json), 2 * (16 + 6 * 16 + 5 + 13 * (3 + 1) + 7));
    assert_int_equal(mp_verdict_from_json(json, &v, &err), MP_OK); /* it was put together again */
    json_object_set_new(json, "outcome", json_string("GOOD"));
    assert_int_equal(mp_verdict_from_json(json, &v, &err), MP_EINPUT);
    json_object_set_new(json, "outcome", json_string("PASS"));
    json_array_append(json_object_get(json, "pairs"), json_array_get(json_object_get(json, "pairs"), 0));
    assert_int_equal(mp_verdict_from_json(json, &v, &err), MP_EINPUT);
    json_decref(json);
    assert_int_equal(mp_verdict_from_json(NULL, &v, &err), MP_EINPUT);
}

static void long_and_foreign_text(void **state) {
    (void)state;
    static mp_verdict v, back;
    mp_error err = {0};
    fill(&v);
    strcpy(v.reason, "cut \xc3"); /* not UTF-8 */
    json_t *json = mp_verdict_to_json(&v);
    assert_int_equal(mp_verdict_from_json(json, &back, &err), MP_OK);
    assert_string_equal(back.reason, "cut ?");
    char text[sizeof v.blas + 1];
    memset(text, 'x', sizeof text);
    text[sizeof v.blas] = '\0';
    json_object_set_new(json, "blas", json_string(text)); /* one byte too long */
    assert_int_equal(mp_verdict_from_json(json, &back, &err), MP_EINPUT);
    text[sizeof v.blas - 1] = '\0';
    json_object_set_new(json, "blas", json_string(text));
    assert_int_equal(mp_verdict_from_json(json, &back, &err), MP_OK);
    json_decref(json);
}

static void worst_stage(void **state) {
    (void)state;
    static mp_verdict v;
    memset(&v, 0, sizeof v);
    v.stage[MP_ACT].max_ratio = 9;
    assert_int_equal(mp_verdict_worst_stage(&v), -1); /* none judged */
    v.stage[MP_GATE_UP] = (mp_stage_figures){.judged = true, .max_ratio = 0.25};
    v.stage[MP_DOWN] = (mp_stage_figures){.judged = true, .max_ratio = 0.5};
    v.stage[MP_SUM] = (mp_stage_figures){.judged = true, .max_ratio = 0.125};
    assert_int_equal(mp_verdict_worst_stage(&v), MP_DOWN);
    v.stage[MP_SUM].max_ratio = (double)INFINITY;
    assert_int_equal(mp_verdict_worst_stage(&v), MP_SUM);
    for (int i = MP_GATE_UP; i <= MP_SUM; i++) { /* a NaN is the worst wherever it stands */
        mp_verdict w = v;
        w.stage[i] = (mp_stage_figures){.judged = true, .max_ratio = (double)NAN};
        assert_int_equal(mp_verdict_worst_stage(&w), i);
    }
}

static int exit_code_of(const char *outcomes) {
    static mp_verdict v;
    mp_tally tally = {0};
    for (; *outcomes != '\0'; outcomes++) {
        v.outcome = (mp_outcome)(strchr("PFSCT", *outcomes) - "PFSCT");
        mp_tally_add(&tally, &v);
    }
    return mp_tally_exit_code(&tally);
}

static void exit_codes(void **state) {
    (void)state;
    assert_int_equal(exit_code_of(""), 2);
    assert_int_equal(exit_code_of("PP"), 0);
    assert_int_equal(exit_code_of("SPS"), 0);
    assert_int_equal(exit_code_of("SS"), 77);
    assert_int_equal(exit_code_of("PFP"), 1);
    assert_int_equal(exit_code_of("SF"), 1);
    assert_int_equal(exit_code_of("PC"), 3);
    assert_int_equal(exit_code_of("ST"), 3);
    assert_int_equal(exit_code_of("CFTSP"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_round_trip_is_exact),
        cmocka_unit_test(incomplete_json_is_refused),
        cmocka_unit_test(long_and_foreign_text),
        cmocka_unit_test(worst_stage),
        cmocka_unit_test(exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
