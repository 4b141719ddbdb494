/* SPDX-License-Identifier: Apache-2.0 */
/* docs/report.schema.json: what it says of a report holds of real ones, and it says all there is in them. */
#include "tests/cli_support.h"

#include "tests/json_schema.h"

/* Reports of every outcome that a machine without a GPU can have but a crash. */
static const char *const reports[] = {"pass.json", "fail.json", "skip.json", "edge.json", "file.json"};

static int make_reports(void **state) {
    if (set_up(state)) return -1;
    expect("moeparity run ok.yaml --subject host --against ref --figures --json pass.json", 0, "4 passed",
           "");
    expect("moeparity golden record g.h5 --case M=8 --subject ref -q && "
           "moeparity golden verify g.h5 --subject host --json fail.json",
           1, "1 failed", "");
    expect("moeparity run ok.yaml --subject cuda --json skip.json", 77, "4 skipped", "");
    expect("moeparity run $CASES/stages.yaml $CASES/edge.yaml --tier smoke --subject host --json edge.json",
           0, "0 failed", "");
    expect("moeparity export --case 'M=2 N=8 scope=act' --outputs --out f.h5 && "
           "moeparity judge f.h5 --json file.json",
           0, "1 passed", "");
    return 0;
}

static void real_reports_fit(void **state) {
    (void)state;
    json_t *schema = json_file(MP_SCHEMA);
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++) {
        schema_failure why = {""};
        json_t *report = json_file(reports[i]);
        if (!schema_fits(schema, schema, report, reports[i], &why)) fail_msg("%s", why.text);
        json_decref(report);
    }
    json_decref(schema);
}

/* Takes every key out of the object, then those of what lies below: each time the schema must say so. */
static int refuse_each(const json_t *schema, json_t *root, json_t *object) {
    int tried = 0;
    const char *key;
    json_t *keys = json_copy(object), *value;
    json_object_foreach(keys, key, value) {
        schema_failure why = {""};
        /* Pictures are there with --figures alone, levels in a histogram where they have elements. */
        const bool optional = strcmp(key, "picture") == 0 || key[1] == '\0';
        json_object_del(object, key);
        if (!optional && schema_fits(schema, schema, root, "report", &why))
            fail_msg("nothing misses '%s'", key);
        json_object_set(object, key, json_true());
        if (!json_is_boolean(value) && schema_fits(schema, schema, root, "report", &why))
            fail_msg("'%s' may be a boolean", key);
        json_object_set(object, key, value);
        tried++;
        if (json_is_object(value)) tried += refuse_each(schema, root, value);
        if (json_is_object(json_array_get(value, 0)))
            tried += refuse_each(schema, root, json_array_get(value, 0));
    }
    json_decref(keys);
    return tried;
}

static void nothing_may_be_missing(void **state) {
    (void)state;
    json_t *schema = json_file(MP_SCHEMA), *report = json_file("pass.json");
    schema_failure why = {""};
    assert_true(refuse_each(schema, report, report) > 150);
    json_object_set_new(report, "surprise", json_true());
    assert_false(schema_fits(schema, schema, report, "report", &why));
    assert_string_equal(why.text, "report.surprise: not in the schema");
    json_decref(report);
    json_decref(schema);
}

/* The same by somebody else's reading of the standard. */
static void another_validator_agrees(void **state) {
    (void)state;
    if (system("python3 -c 'import jsonschema' 2> /dev/null") != 0) {
        print_message("skipped: no python3 with jsonschema\n");
        skip();
    }
    write_file("check.py",
               "import json, sys\nfrom jsonschema import Draft202012Validator as V\n"
               "schema = json.load(open(sys.argv[1]))\nV.check_schema(schema)\n"
               "for name in sys.argv[2:]: V(schema).validate(json.load(open(name)))\n"
               "report = json.load(open(sys.argv[2]))\ndel report['verdicts'][0]['stages']['act']['shape']\n"
               "assert not V(schema).is_valid(report)\n");
    expect("python3 check.py " MP_SCHEMA " pass.json fail.json skip.json edge.json", 0, "", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_reports_fit),
        cmocka_unit_test(nothing_may_be_missing),
        cmocka_unit_test(another_validator_agrees),
    };
    return cmocka_run_group_tests(tests, make_reports, tear_down);
}
