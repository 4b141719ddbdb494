/* SPDX-License-Identifier: Apache-2.0 */
/* harness/checks/check_sequence.c: the case behind one of another data family, on the same weights. */
#include "tests/spoiled.h"

#include <stdio.h>

/* The case before has the case's weights, whose sums are not exact because its own tokens' would be. */
static void sums_of_weights_of_another_family_are_not_exact(void **state) {
    (void)state;
    const mp_verdict *v = judge("M=5 topk=4 K=64 N=64 data=wide",
                                "after data=onehot M=33 seed=9223372036854775807", NULL, false, NULL);
    if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
    assert_int_equal(v->check[MP_CHECK_SEQUENCE].answer, MP_PASSED);
}

/* The family says what the tokens are; the weights are of the other case's. */
static void a_case_runs_behind_one_of_another_family(void **state) {
    (void)state;
    static const char *const families[] = {"normal", "integer", "wide", "onehot", "special", "unused"};
    enum { COUNT = sizeof families / sizeof *families };
    for (int i = 0; i < COUNT * COUNT; i++) {
        char text[64], after[32];
        snprintf(text, sizeof text, "M=32 topk=4 act=silu K=96 N=96 data=%s", families[i / COUNT]);
        snprintf(after, sizeof after, "after data=%s", families[i % COUNT]);
        const mp_verdict *v = judge_by((spoiled){0}, text, after, &(mp_run_options){.settings.repeat = 1});
        if (v->check[MP_CHECK_SEQUENCE].answer != MP_PASSED)
            fail_msg("%s, %s: %s", text, after, v->check[MP_CHECK_SEQUENCE].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_weights_of_another_family_are_not_exact),
        cmocka_unit_test(a_case_runs_behind_one_of_another_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
