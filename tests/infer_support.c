/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/infer_support.h"

#include "cases/case_tools.h"
#include "harness/infer/infer.h"
#include "moeparity/preset.h"
#include "ref/contract_words.h"
#include "ref/pipeline.h"
#include "ref/predict/predict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

mp_contract kept;
bool no_scaling, no_single_stage;

static mp_status keeping_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    if (no_scaling && c->rsf != 1) return mp_fail(err, MP_EUNSUPPORTED, "the caller scales");
    if (no_single_stage && c->scope != MP_SCOPE_ALL)
        return mp_fail(err, MP_EUNSUPPORTED, "cache3, which this case has not");
    offer->contract = mp_contract_weakest();
    return mp_config_resolve(c, NULL, &offer->config, err);
}

static mp_status keeping_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s;
    mp_prediction prediction = {.contract = &kept};
    const mp_executor executor = mp_predict_executor(&prediction);
    return mp_run_stages(&executor, e->c, e->offer->config.up.block_size_m, e->t, err);
}

mp_subject keeping(const char *preset, const char *const fields[][2], int count) {
    const mp_case c = mp_case_default();
    assert_int_equal(mp_contract_preset(preset, &c, &kept, NULL), MP_OK);
    for (int i = 0; i < count; i++)
        assert_int_equal(mp_contract_set(&kept, fields[i][0], fields[i][1], NULL), MP_OK);
    return (mp_subject){.name = "keeping", .describe = keeping_describe, .run = keeping_run};
}

json_t *infer(mp_subject *subject, const char *const cases[], unsigned stages) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    json_t *report = NULL;
    for (int i = 0; cases[i]; i++) assert_int_equal(mp_matrix_add(&matrix, cases[i], NULL, 0, &err), MP_OK);
    const mp_infer_options options = {.stages = stages, .repeat = 2};
    if (mp_infer(subject, &matrix, &options, &report, &err) != MP_OK) fail_msg("%s", err.text);
    mp_matrix_free(&matrix);
    mp_subject_close(subject);
    return report;
}

const json_t *stage_of(const json_t *report, const char *name) {
    const json_t *stages = json_object_get(report, "stages"), *stage;
    size_t i;
    json_array_foreach(stages, i, stage) {
        if (strcmp(json_string_value(json_object_get(stage, "stage")), name) == 0) return stage;
    }
    fail_msg("no stage %s", name);
    return NULL;
}

const json_t *question_of(const json_t *report, const char *stage, const char *name) {
    const json_t *questions = json_object_get(stage_of(report, stage), "questions"), *question;
    size_t i;
    json_array_foreach(questions, i, question) {
        if (strcmp(json_string_value(json_object_get(question, "question")), name) == 0) return question;
    }
    fail_msg("%s: no question '%s'", stage, name);
    return NULL;
}

const char *best_of(const json_t *question, const char *axis) {
    return json_string_value(
        json_object_get(json_object_get(json_object_get(question, "best"), "values"), axis));
}

void expect_best(const json_t *report, const char *stage, const char *name, const char *axis,
                 const char *value) {
    const json_t *question = question_of(report, stage, name);
    if (!json_is_true(json_object_get(question, "fits")) || !strstr(best_of(question, axis), value)) {
        char *best = json_dumps(json_object_get(question, "best"), 0);
        fail_msg("%s, %s: expected %s %s to fit, not %s", stage, name, axis, value, best);
        free(best);
    }
}

bool fits_nothing(const json_t *report, const char *stage, const char *name) {
    return !json_is_true(json_object_get(question_of(report, stage, name), "fits"));
}

int64_t number_of(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

bool is_open(const json_t *report, const char *stage, const char *value) {
    const json_t *open = json_object_get(question_of(report, stage, "arithmetic"), "not_separated"), *item;
    size_t i;
    json_array_foreach(open, i, item) {
        if (strcmp(json_string_value(json_object_get(item, "value")), value) == 0) return true;
    }
    return false;
}

const char *contract_of(const json_t *report) {
    return json_string_value(json_object_get(report, "contract"));
}

mp_contract promised(const json_t *report, const char *text) {
    mp_case c = mp_case_default();
    mp_contract contract;
    assert_int_equal(mp_case_apply(&c, text, NULL), MP_OK);
    assert_int_equal(mp_contract_of_words(contract_of(report), &c, &contract, NULL), MP_OK);
    return contract;
}
