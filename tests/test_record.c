/* SPDX-License-Identifier: Apache-2.0 */
/* harness/run/record.c in a run: a golden is written when every case has passed, else what was there stays.
 */
#include "tests/chaos.h"

#include "base/file.h"
#include "harness/run/golden_cases.h"
#include "harness/run/record.h"

static char path[64];
static mp_record_options options;

static int set_up(void **state) {
    const int result = chaos_set_up(state);
    fixture *f = *state;
    snprintf(path, sizeof path, "%s/\377.h5", f ? f->folder : ""); /* not UTF-8 */
    options = (mp_record_options){.path = path, .digest_above = SIZE_MAX, .inputs = true};
    strcpy(options.who.versions, "compiler 1");
    if (f) f->options.record = &options;
    return result;
}

static void a_recording_holds_all_cases(void **state) {
    fixture *f = *state;
    mp_golden *golden = NULL;
    for (int in_process = 0; in_process < 2; in_process++) {
        mp_texts names = {0};
        f->options.in_process = in_process == 1;
        if (chaos_run(f) != MP_OK) fail_msg("%s", f->err.text);
        if (mp_suite_golden_cases(path, true, 60, f->options.program, &names, &f->err))
            fail_msg("%s", f->err.text);
        assert_int_equal(names.count, CASES);
        for (int i = 0; i < CASES; i++) {
            char name[MP_CASE_TEXT_MAX];
            mp_case_text(&f->matrix.rows[i].c, name, sizeof name);
            assert_string_equal(names.text[i], name);
        }
        mp_texts_free(&names);
        assert_int_equal(mp_golden_open(path, &golden, &f->err), MP_OK);
        assert_string_equal(mp_golden_provenance(golden)->subject, "chaos");
        assert_string_equal(mp_golden_provenance(golden)->versions, "compiler 1");
        mp_golden_close(golden);
        assert_int_equal(unlink(path), 0);
    }
}

/* Nothing of the provenance is cut. */
static void versions_are_whole_or_refused(void **state) {
    fixture *f = *state;
    mp_subject subject = {.name = "mine"};
    mp_golden *golden = NULL;
    memset(subject.versions, 's', sizeof subject.versions - 1);
    memset(options.who.versions, 'c', 200);
    assert_int_equal(mp_record_begin(&options, &subject, NULL, &golden, &f->err), MP_OK);
    const char *versions = mp_golden_provenance(golden)->versions;
    assert_int_equal(strlen(versions), 255 + 2 + 200);
    assert_int_equal(versions[strlen(versions) - 1], 'c');
    mp_golden_close(golden);
    memset(options.who.versions, 'c', 300);
    assert_int_equal(mp_record_begin(&options, &subject, NULL, &golden, &f->err), MP_EINPUT);
    assert_null(golden);
    assert_non_null(strstr(f->err.text, "versions of 557 bytes; a golden file has room for 511"));
}

static void nothing_is_recorded_unless_all_pass(void **state) {
    fixture *f = *state;
    char *data;
    size_t size;
    f->options.settings.jobs = 3; /* one worker all the same */
    for (int m = NONE; m <= BAD_INPUT; m++) {
        assert_int_equal(mp_file_replace(path, "old", 3, &f->err), MP_OK);
        chaos_set("CHAOS_MISHAP", m);
        f->progress.interrupt_after = m == NONE ? 2 : 0;
        f->options.settings.timeout = m == HANG || m == HALF_A_MESSAGE ? 3 : 60;
        assert_int_equal(chaos_run(f), MP_OK);
        assert_int_equal(f->info.interrupted, m == NONE);
        assert_int_equal(f->progress.events, m == NONE ? 2 : VICTIM + 1);
        if (m != NONE) assert_int_not_equal(f->v[VICTIM].outcome, MP_PASS);
        assert_int_equal(mp_file_read(path, &data, &size, &f->err), MP_OK);
        assert_string_equal(data, "old");
        free(data);
    }
}

static void a_recording_that_cannot_be_written_is_an_error(void **state) {
    fixture *f = *state;
    options.path = "/nowhere/g.h5";
    assert_int_equal(chaos_run(f), MP_EIO);
    assert_non_null(strstr(f->err.text, "cannot write /nowhere/g.h5"));
}

int main(void) {
    if (mp_worker_requested()) return mp_worker_serve(chaos_open);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_recording_holds_all_cases, set_up, chaos_tear_down),
        cmocka_unit_test_setup_teardown(versions_are_whole_or_refused, set_up, chaos_tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_recorded_unless_all_pass, set_up, chaos_tear_down),
        cmocka_unit_test_setup_teardown(a_recording_that_cannot_be_written_is_an_error, set_up,
                                        chaos_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
