/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void failures_carry_their_text(void **state) {
    (void)state;
    mp_error err = {0};
    assert_int_equal(mp_fail(&err, MP_EINPUT, "M is %d, expected >= 1", -3), MP_EINPUT);
    assert_int_equal(err.status, MP_EINPUT);
    assert_string_equal(err.text, "M is -3, expected >= 1");
    mp_error_prefix(&err, "%s:%d", "seed.yaml", 4);
    assert_string_equal(err.text, "seed.yaml:4: M is -3, expected >= 1");
    assert_int_equal(mp_fail(&err, MP_EIO, "again: %s", err.text),
                     MP_EIO); /* an argument may be the old text */
    assert_string_equal(err.text, "again: seed.yaml:4: M is -3, expected >= 1");
}

static void broken_promises_name_their_place(void **state) {
    (void)state;
    mp_error err = {0};
    mp_error_set(&err, MP_EINTERNAL, "/some/where/base/file.c", 7, "lost\nand found");
    assert_string_equal(err.text, "lost and found (base/file.c:7)");
    mp_error_set(&err, MP_EDEVICE, "file.c", 8, "gone");
    assert_string_equal(err.text, "gone (file.c:8)");
}

static void no_error_object_is_fine(void **state) {
    (void)state;
    assert_int_equal(mp_fail(NULL, MP_EMEMORY, "x"), MP_EMEMORY);
    mp_error_prefix(NULL, "x");
}

static void long_texts_are_cut(void **state) {
    (void)state;
    mp_error err = {0};
    char longest[3 * MP_ERROR_TEXT_MAX];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    mp_fail(&err, MP_EINTERNAL, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    mp_error_prefix(&err, "front");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "front: aaa", 10);
    mp_error_prefix(&err, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_carry_their_text),
        cmocka_unit_test(broken_promises_name_their_place),
        cmocka_unit_test(no_error_object_is_fine),
        cmocka_unit_test(long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
