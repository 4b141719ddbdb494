/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void text_numbers_and_library_agree(void **state) {
    (void)state;
    char text[64];
    snprintf(text, sizeof text, "%d.%d.%d", MOEPARITY_VERSION_MAJOR, MOEPARITY_VERSION_MINOR,
             MOEPARITY_VERSION_PATCH);
    assert_string_equal(MOEPARITY_VERSION, text);
    assert_string_equal(mp_version(), text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(text_numbers_and_library_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
