/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of reports in a browser without a screen: what is there once the scripts ran, driven by keys and
 * clicks, with hostile texts, in both colour schemes. Skipped where there is no Chromium. */
#include "tests/cli_support.h"

#include <stdbool.h>

enum { LOOKED_AT = 25 }; /* lines of page_driver.js */

/* Every text of a report may be a stranger's. */
static const char hostile[] =
    "</script><img src=x onerror='window.owned=1'><!-- <script>window.owned=1</script>";

static const char *browser(void) {
    static const char *const names[] = {"chromium", "chromium-browser", "google-chrome"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char command[128];
        snprintf(command, sizeof command, "command -v %s > /dev/null 2>&1", names[i]);
        if (system(command) == 0) return names[i];
    }
    return NULL;
}

/* 1,000 cases: the first has hostile texts and failed, as two others did. */
static void write_many(void) {
    enum { MANY = 1000, FAILED = 3 };
    json_t *report = json_load_file("two.json", 0, NULL), *list = json_object_get(report, "verdicts");
    json_t *first = json_array_get(list, 0), *usual = json_deep_copy(json_array_get(list, 1));
    static const char *const texts[] = {"group",       "subject", "reason", "begins", "contract",
                                        "config_note", "history", "weaker", "covers"};
    char name[256];
    snprintf(name, sizeof name, "M=8 %s", hostile);
    json_object_set_new(first, "name", json_string(name));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        json_object_set_new(first, texts[i], json_string(hostile));
    json_object_set_new(json_object_get(report, "run"), "host", json_string(hostile));
    json_object_set_new(json_object_get(report, "run"), "subject", json_string(hostile));
    const char *stage;
    json_t *figures;
    json_object_foreach(json_object_get(usual, "stages"), stage, figures) {
        json_object_del(figures, "picture");
    }
    json_object_set_new(usual, "group", json_string("rest"));
    json_array_remove(list, 1);
    for (int i = 1; i < MANY; i++) {
        json_t *one = json_deep_copy(usual);
        snprintf(name, sizeof name, "M=%d topk=2 act=silu", i);
        json_object_set_new(one, "name", json_string(name));
        json_array_append_new(list, one);
    }
    for (int i = 0; i < FAILED; i++) {
        json_t *one = json_array_get(list, (size_t)i * 300);
        json_object_set_new(one, "outcome", json_string("FAIL"));
        json_object_set_new(json_object_get(json_object_get(one, "checks"), "bound"), "answer",
                            json_string("failed"));
    }
    json_t *totals = json_object_get(report, "totals");
    json_object_set_new(totals, "cases", json_integer(MANY));
    json_object_set_new(totals, "failed", json_integer(FAILED));
    json_object_set_new(totals, "passed", json_integer(MANY - FAILED));
    json_object_set_new(totals, "exit_code", json_integer(1));
    assert_int_equal(json_dump_file(report, "many.json", 0), 0);
    json_decref(report);
    json_decref(usual);
}

static int make_reports(void **state) {
    if (set_up(state)) return -1;
    expect(
        "moeparity run --case 'M=8 topk=2 act=silu E=4 K=64 N=64' --case 'M=9 topk=2 act=silu E=4 K=64 N=64' "
        "--subject host --json two.json --html two.html",
        0, "2 passed", "");
    write_many();
    expect("moeparity report html many.html many.json", 0, "", "");
    return 0;
}

/* The page as it is once its scripts ran, without the report that it holds, in the file `dom`; nothing may
 * have been said on the console. */
static void browse(const char *page, const char *options) {
    char command[1024];
    snprintf(
        command, sizeof command,
        "HOME=$PWD timeout 120 %s --headless --no-sandbox --disable-gpu --user-data-dir=$PWD/profile "
        "--enable-logging=stderr --window-size=1400,900 %s --dump-dom \"file://$PWD/%s\" > whole 2> log && "
        "sed '/id=.reports/d' whole > dom && ! grep CONSOLE log",
        browser(), options, page);
    expect(command, 0, "", "");
}

static void the_page_does_what_a_user_asks(void **state) {
    (void)state;
    expect("sed '/<\\/body>/d; /<\\/html>/d' many.html > driven.html && "
           "(echo '<script>'; cat " MP_DRIVER "; echo '</script></body></html>') >> driven.html",
           0, "", "");
    browse("driven.html", "--blink-settings=preferredColorScheme=1");
    expect("grep -E '^(ok|FAILED) ' dom", 0, "ok few of many rows", "");
    if (strstr(out, "FAILED") != NULL) fail_msg("%s", out);
    assert_int_equal(count_of(out, "\nok ") + 1, LOOKED_AT);
}

static void the_colours_are_those_of_the_system(void **state) {
    (void)state;
    browse("two.html", "--blink-settings=preferredColorScheme=0");
    expect("grep -c '<html.*data-theme=.dark' dom", 0, "1", "");
    expect("moeparity report html both.html two.json " MP_TEST_DATA "/report-1.json", 0, "", "");
    browse("both.html#changed=only", "--blink-settings=preferredColorScheme=1");
    expect("grep -c '<html.*data-theme=.light' dom", 0, "1", "");
    expect("grep -o 'id=.count[^<]*' dom", 0, "4 cases", ""); /* two are gone, and two are new */
    expect("grep -o 'only [a-z]*<' dom | tr -d '\\n'", 0, "only second<only second<only first<only first<",
           "");
}

int main(void) {
    if (browser() == NULL) {
        printf("skipped: no Chromium here (Debian: apt-get install chromium)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_does_what_a_user_asks),
        cmocka_unit_test(the_colours_are_those_of_the_system),
    };
    return cmocka_run_group_tests(tests, make_reports, tear_down);
}
