/* SPDX-License-Identifier: Apache-2.0 */
/* reports/stored.c: what was written is read again, reports of older versions too, and everything else is
 * refused with its place. */
#include "base/file.h"
#include "harness/verdict_json.h"
#include "harness/verdict_make.h"
#include "reports/report.h"
#include "reports/stored.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/moeparity_stored_XXXXXX";
static mp_error err;
static mp_stored_report report;

static int create_file(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

/* A pass, and a failure with NaN and texts that JSON must escape. */
static void write_report(void) {
    mp_verdict v[2];
    mp_run_info info;
    mp_run_info_init(&info);
    mp_run_info_set(&info, &info.command, "moeparity run 'a \"b\"'");
    info.seconds = 0.1;
    for (int i = 0; i < 2; i++) {
        mp_verdict_init(&v[i]);
        snprintf(v[i].name, sizeof v[i].name, "M=%d topk=2 act=silu", i + 8);
        v[i].outcome = i == 0 ? MP_PASS : MP_FAIL;
    }
    mp_verdict_set(&v[1], &v[1].reason, "bound: \n</script>");
    v[1].stage[MP_ACT] = (mp_stage_figures){.judged = true,
                                            .compared = 6,
                                            .rank = 2,
                                            .shape = {2, 3},
                                            .worst_index = 5,
                                            .max_ratio = (double)NAN,
                                            .max_drift = 0.1};
    v[1].pair_count = 1;
    mp_verdict_set(&v[1], &v[1].pair[0].text, "path=runner");
    assert_int_equal(mp_report_json(path, &info, v, 2, &err), MP_OK);
    mp_verdict_free(&v[0]);
    mp_verdict_free(&v[1]);
    mp_run_info_free(&info);
}

static void what_was_written_is_read(void **state) {
    (void)state;
    json_t *json, *again;
    write_report();
    assert_int_equal(mp_stored_report_load(path, &report, &json, &err), MP_OK);
    assert_int_equal(report.count, 2);
    assert_int_equal(report.schema_version, MP_REPORT_SCHEMA_VERSION);
    assert_int_equal(report.exit_code, MP_EXIT_FAILURE);
    assert_string_equal(report.info.command, "moeparity run 'a \"b\"'");
    assert_string_equal(report.verdicts[1].reason, "bound: \n</script>");
    assert_true(isnan(report.verdicts[1].stage[MP_ACT].max_ratio));
    assert_true(report.verdicts[1].stage[MP_ACT].max_drift == 0.1);
    assert_int_equal(mp_report_json(path, &report.info, report.verdicts, report.count, &err), MP_OK);
    again = json_load_file(path, 0, NULL);
    assert_true(json_equal(json, again)); /* nothing was lost on the way */
    json_decref(again);
    json_decref(json);
    mp_stored_report_free(&report);
    assert_int_equal(report.count, 0);
}

static void the_first_version_is_read(void **state) {
    (void)state;
    json_t *json;
    assert_int_equal(mp_stored_report_load(MP_TEST_DATA "/report-1.json", &report, &json, &err), MP_OK);
    assert_int_equal(report.schema_version, 1);
    assert_int_equal(report.count, 2);
    const mp_verdict *v = &report.verdicts[1];
    assert_string_equal(v->name, "M=32 topk=1 act=silu");
    assert_true(v->stage[MP_GATE_UP].max_ratio > 0.5 && v->stage[MP_GATE_UP].rank == 0);
    assert_int_equal(v->check[MP_CHECK_BOUND].answer, MP_PASSED);
    assert_int_equal(v->check[MP_CHECK_RANKS].answer, MP_NOT_JUDGED);
    assert_string_equal(v->check[MP_CHECK_RANKS].text, "the report is older than this check");
    assert_string_equal(v->history, "");
    json_decref(json);
    mp_stored_report_free(&report);
}

/* The report with the value at `place` ("verdicts.1.stages.act.max_abs") replaced, or taken out. */
static void refused(const char *place, json_t *value, const char *message) {
    char keys[128], *rest = keys, *last = NULL;
    write_report();
    json_t *json = json_load_file(path, 0, NULL), *at = json;
    snprintf(keys, sizeof keys, "%s", place);
    for (char *key; (key = strsep(&rest, ".")) != NULL; last = key)
        if (last != NULL)
            at = json_is_array(at) ? json_array_get(at, (size_t)atoi(last)) : json_object_get(at, last);
    assert_true(json_is_object(at));
    if (value != NULL)
        json_object_set_new(at, last, value);
    else
        json_object_del(at, last);
    assert_int_equal(json_dump_file(json, path, 0), 0);
    json_decref(json);
    assert_int_equal(mp_stored_report_load(path, &report, NULL, &err), MP_EINPUT);
    if (strstr(err.text, message) == NULL || strstr(err.text, path) == NULL)
        fail_msg("expected '%s' and the path in: %s", message, err.text);
    mp_stored_report_free(&report);
}

static void other_values_are_refused(void **state) {
    (void)state;
    refused("format", json_string("something else"), "expected \"format\": \"moeparity report\"");
    refused("format", NULL, "expected \"format\"");
    refused("schema_version", json_integer(99), "schema_version 99 is later than what this program reads");
    refused("schema_version", json_string("2"), "schema_version: expected an integer");
    refused("schema_version", json_integer(0), "schema_version: expected an integer from 1 on");
    refused("run", json_array(), "run: expected an object");
    refused("run.host", NULL, "run: host: expected a text");
    refused("run.seconds", json_string("soon"), "run: seconds: expected a number");
    refused("verdicts", json_object(), "verdicts: expected a list");
    refused("verdicts.1.name", json_string(""), "verdicts[1]: name: expected that of a case");
    refused("verdicts.1.outcome", json_string("fine"), "verdicts[1]: verdict: outcome: 'fine' is not one");
    refused("verdicts.0.checks.bound.answer", json_string("failed"),
            "verdicts[0]: outcome: PASS, and the check bound failed");
    refused("verdicts.1.stages.act", json_null(), "verdicts[1]: verdict: stages.act: judged");
    refused("verdicts.1.stages.act.max_abs", NULL, "verdicts[1]: verdict: stages.act: max_abs: expected");
    refused("verdicts.1.checks", json_integer(3), "verdicts[1]: verdict: checks.bound");
    refused("verdicts.1.checks.bound.answer", json_true(), "verdicts[1]: verdict: checks.bound: answer");
    refused("totals.cases", json_integer(3), "totals.cases: expected 2");
    refused("totals.failed", json_integer(0), "totals.failed: expected 1");
    refused("totals.exit_code", json_integer(4), "totals.exit_code: expected 0, 1, 2, 3 or 77");
    refused("totals", NULL, "totals.cases: expected 2");
}

static void refused_text(const char *text, size_t size, const char *message) {
    assert_int_equal(mp_file_replace(path, text, size, &err), MP_OK);
    assert_int_equal(mp_stored_report_load(path, &report, NULL, &err), MP_EINPUT);
    if (strstr(err.text, message) == NULL) fail_msg("expected '%s' in: %s", message, err.text);
    mp_stored_report_free(&report);
}

static void other_files_are_refused(void **state) {
    (void)state;
    enum { MANY = 1000000 };
    static const char head[] = "{\"format\":\"moeparity report\",\"schema_version\":2,\"run\":{";
    char *text;
    size_t size;
    write_report();
    assert_int_equal(mp_file_read(path, &text, &size, &err), MP_OK);
    refused_text(text, size / 2, "no JSON"); /* cut */
    free(text);
    refused_text("", 0, "line 1, column 0: no JSON");
    refused_text("\211HDF\r\n\032\n", 8, "no JSON");
    refused_text("[]", 2, "expected an object of JSON");
    refused_text("{\"format\":1,\"format\":2}", 23, "duplicate object key");
    refused_text(head, sizeof head - 1, "no JSON");
    char *deep = malloc(MANY); /* must not go as deep as the stack */
    assert_non_null(deep);
    memset(deep, '[', MANY);
    refused_text(deep, MANY, "maximum parsing depth");
    free(deep);
    static const char none[] = "\"verdicts\":[";
    json_t *json = json_load_file(MP_TEST_DATA "/report-1.json", 0, NULL);
    json_object_set_new(json, "verdicts", json_array());
    text = json_dumps(json, JSON_COMPACT);
    char *place = strstr(text, none), *many = malloc(strlen(text) + 3 * (size_t)MANY + 1);
    assert_true(place != NULL && many != NULL);
    place += strlen(none);
    char *end = mempcpy(many, text, (size_t)(place - text));
    for (int i = 0; i < MANY; i++) end = mempcpy(end, i == 0 ? "{}" : ",{}", i == 0 ? 2 : 3);
    strcpy(end, place);
    refused_text(many, strlen(many), "verdicts[0]: verdict: name: expected a text");
    free(many);
    free(text);
    json_decref(json);
    assert_int_equal(mp_stored_report_load("/tmp", &report, NULL, &err), MP_EIO);
    mp_stored_report_free(&report);
    assert_int_equal(mp_stored_report_load("/tmp/none/at/all", &report, NULL, &err), MP_EIO);
    mp_stored_report_free(&report);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(the_first_version_is_read),
        cmocka_unit_test(other_values_are_refused),
        cmocka_unit_test(other_files_are_refused),
    };
    return cmocka_run_group_tests(tests, create_file, remove_file);
}
