/* SPDX-License-Identifier: Apache-2.0 */
/* harness/checks/check_invariance.c: faults that show only in another batch, or for a token alone. */
#include "tests/spoiled.h"

#include <stdio.h>
#include <string.h>

static mp_status zero_then_unsupported(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run;
    memset(trace->t[MP_OUT].data, 0, mp_tensor_bytes(&trace->t[MP_OUT]));
    return c->M == 1 ? mp_fail(err, MP_EUNSUPPORTED, "this tile does not fit the device") : MP_OK;
}

static mp_status only_alone_unsupported(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)trace;
    return c->M == 1 ? mp_fail(err, MP_EUNSUPPORTED, "this tile does not fit the device") : MP_OK;
}

static void a_later_skip_does_not_hide_a_failure(void **state) {
    (void)state;
    const mp_verdict *v = judge("M=8 topk=2 K=32 N=16 act=silu", NULL, zero_then_unsupported, false, NULL);
    expect_failure(v, MP_CHECK_BOUND, "combine");
    v = judge("M=8 topk=2 K=32 N=16 act=silu", NULL, only_alone_unsupported, false, NULL);
    assert_int_equal(v->outcome, MP_PASS);
    assert_int_equal(v->check[MP_CHECK_BATCH].answer, MP_NOT_JUDGED);
    assert_non_null(strstr(v->check[MP_CHECK_BATCH].text, "does not fit"));
}

/* The batch whose tokens get other bits. */
static int64_t odd_batch;

static mp_status odd_in_one_batch(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (c->M == odd_batch) ((uint16_t *)trace->t[MP_OUT].data)[0] ^= 1;
    return MP_OK;
}

/* A token is compared with itself in batches of several sizes, whatever that of the case is. */
static void batches_of_other_sizes_are_run(void **state) {
    (void)state;
    static const int64_t seen[] = {1, 2, 3, 4, 8, 32}, unseen = 5;
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
        char what[32] = "token 0 alone";
        odd_batch = seen[i];
        if (odd_batch > 1) snprintf(what, sizeof what, "a batch of %d tokens", (int)odd_batch);
        expect_failure(judge("M=33 topk=2 K=32 N=16", NULL, odd_in_one_batch, false, NULL), MP_CHECK_BATCH,
                       what);
    }
    odd_batch = unseen;
    const mp_verdict *v = judge("M=33 topk=2 K=32 N=16", NULL, odd_in_one_batch, false, NULL);
    assert_int_equal(v->check[MP_CHECK_BATCH].answer, MP_PASSED);
}

static bool is_small(const mp_case *c) {
    return c->M < 8;
}

static mp_status other_cache_when_small(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (c->M < 8) ((uint16_t *)trace->t[MP_CACHE1].data)[0] ^= 1;
    return MP_OK;
}

/* Equal bits of what lies before an output that a batch does not show say nothing of it. */
static void a_batch_that_hides_the_output_does_not_pass(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16";
    spoiled self = {.hides = MP_IN_SET(MP_OUT), .hides_in = is_small};
    const mp_verdict *v = judge_by(self, text, NULL, NULL);
    assert_int_equal(v->check[MP_CHECK_PERMUTATION].answer, MP_PASSED);
    assert_int_equal(v->check[MP_CHECK_BATCH].answer, MP_NOT_JUDGED);
    assert_string_equal(v->check[MP_CHECK_BATCH].text, "token 0 alone: does not show out");
    self.spoil = other_cache_when_small;
    expect_failure(judge_by(self, text, NULL, NULL), MP_CHECK_BATCH, "token 0 alone: ");
    self = (spoiled){.hides = ~MP_IN_SET(MP_OUT), .hides_in = is_small};
    assert_int_equal(judge_by(self, text, NULL, NULL)->check[MP_CHECK_BATCH].answer, MP_PASSED);
}

static int64_t lonely; /* the token whose bits depend on its being alone */

static mp_status one_token_differs_alone(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    const mp_tensor *x = &now.t[MP_X];
    const size_t row = (size_t)c->K * mp_dtype_size(c->dtype);
    if (c->M == 1 && memcmp(x->data, now.first_x + (size_t)lonely * row, row) == 0)
        ((uint16_t *)trace->t[MP_OUT].data)[0] ^= 1;
    return MP_OK;
}

static void the_first_the_middle_and_the_last_token_run_alone(void **state) {
    (void)state;
    static const int64_t tokens[] = {0, 4, 7};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        char where[32];
        lonely = tokens[i];
        snprintf(where, sizeof where, "token %d alone", (int)lonely);
        expect_failure(judge("M=8 topk=2 K=32 N=16 act=silu", NULL, one_token_differs_alone, false, NULL),
                       MP_CHECK_BATCH, where);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_skip_does_not_hide_a_failure),
        cmocka_unit_test(batches_of_other_sizes_are_run),
        cmocka_unit_test(a_batch_that_hides_the_output_does_not_pass),
        cmocka_unit_test(the_first_the_middle_and_the_last_token_run_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
