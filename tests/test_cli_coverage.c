/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity coverage from outside: what is produced, what is missing, exit codes, and the JSON. */
#include "tests/cli_support.h"

static void what_is_produced_is_counted(void **state) {
    (void)state;
    expect("moeparity coverage ok.yaml", 0, "     3  topk-1 ", "");
    assert_non_null(strstr(out, "     1  tokens-3 "));
    assert_non_null(strstr(out, "     3  runner ")); /* a pair's */
    assert_non_null(strstr(out, "     -  k-even-groups "));
    assert_non_null(strstr(out, "\n4 cases produce "));
    expect("moeparity coverage --case 'M=3 topk=1 E=1' --pair path=runner", 0, "     1  runner ", "");
    expect("moeparity coverage ok.yaml --match topk=2", 0, "\n1 case produces ", "");
    /* every condition is a line, produced or not; --missing leaves out those that are */
    expect("moeparity coverage ok.yaml > all; moeparity coverage ok.yaml --missing > missing; "
           "test $(grep -c . missing) -lt $(grep -c . all) && ! grep -q ' topk-1 ' missing && "
           "grep -q k-even-groups missing",
           0, "", "");
    expect("moeparity coverage edge --tier smoke", 0, " cases produce ", ""); /* by its name */
}

static void what_is_required_and_missing_fails(void **state) {
    (void)state;
    expect("moeparity coverage ok.yaml --require 'topk-1 tokens-3,k-odd-groups'", 0,
           "; of those that are required 0 are missing", "");
    expect("moeparity coverage ok.yaml --require 'topk-1 topk-9'", 1, "topk is 9 (required)", "");
    assert_non_null(strstr(out, "; of those that are required 1 are missing"));
    assert_int_equal(count_of(out, "(required)"), 1);
    expect("moeparity coverage ok.yaml --require ci", 1, "(required)", "");
    assert_null(strstr(out, "beyond 2^31 elements (required)"));
    expect("moeparity coverage ok.yaml --require all", 1, "beyond 2^31 elements (required)", "");
    write_file("names", "# what we need\ntopk-1 tokens-3 # and this\n\n  topk-2\r\n");
    expect("moeparity coverage ok.yaml --require-from names", 0, "required 0 are missing", "");
    write_file("more", "topk-1\nfiltered\n");
    expect("moeparity coverage ok.yaml --require-from more", 1, "filtered", "");
    expect("moeparity coverage ok.yaml --require-from names --require filtered", 1, "(required)", "");
}

static void bad_input_is_refused(void **state) {
    (void)state;
    expect("moeparity coverage", 2, "", "no cases: name a matrix file");
    expect("moeparity coverage broken.yaml", 2, "", "broken.yaml:");
    expect("moeparity coverage nowhere.yaml", 2, "", "nowhere.yaml");
    expect("moeparity coverage ok.yaml --require k-odd-group", 2, "", "did you mean 'k-odd-groups'?");
    expect("moeparity coverage ok.yaml --require ' , '", 2, "", "no names of conditions");
    expect("moeparity coverage ok.yaml --require ''", 2, "", "--require");
    expect("moeparity coverage ok.yaml --require-from nowhere", 2, "", "nowhere");
    write_file("comment", "# nothing\n");
    expect("moeparity coverage ok.yaml --require-from comment", 2, "", "comment: no names of conditions");
    write_file("wrong", "topk-1\nno-such\n");
    expect("moeparity coverage ok.yaml --require-from wrong", 2, "", "wrong: 'no-such' is no condition");
    expect("printf 'topk-1\\0x' > zero; moeparity coverage ok.yaml --require-from zero", 2, "",
           "zero: a zero byte");
    expect("moeparity coverage ok.yaml --json ok.yaml", 2, "", "ok.yaml");
    expect("moeparity coverage ok.yaml --jobs 2", 2, "", "--jobs");
    expect("moeparity coverage --case 'M=3 data=file'", 2, "", "data=file");
}

static void the_json_holds_the_same(void **state) {
    (void)state;
    expect("moeparity coverage ok.yaml --require topk-9 --json c.json", 1, "", "");
    json_t *all = json_file("c.json");
    const json_t *conditions = json_object_get(all, "conditions"), *condition;
    size_t i, found = 0;
    assert_string_equal(json_string_value(json_object_get(all, "format")), "moeparity coverage");
    assert_int_equal(json_integer_value(json_object_get(all, "cases")), 4);
    json_array_foreach(conditions, i, condition) {
        const char *name = json_string_value(json_object_get(condition, "name"));
        const json_int_t cases = json_integer_value(json_object_get(condition, "cases"));
        const json_t *first = json_object_get(condition, "first");
        assert_true(json_is_string(first) == (cases > 0));
        assert_true(json_is_true(json_object_get(condition, "required")) == !strcmp(name, "topk-9"));
        if (strcmp(name, "tokens-3") == 0) {
            found++;
            assert_int_equal(cases, 1);
            assert_string_equal(json_string_value(first), "M=3 E=2 topk=1 K=16 N=8 act=silu");
        }
        if (strcmp(name, "x-beyond-2^31") == 0) {
            found++;
            assert_string_equal(json_string_value(json_object_get(condition, "tier")), "full");
        }
    }
    assert_int_equal(found, 2);
    json_decref(all);
    no_temporary_files();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_produced_is_counted),
        cmocka_unit_test(what_is_required_and_missing_fails),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(the_json_holds_the_same),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
