/* Faults that show only in a later run of a case: a repeat, a variant, a token alone. Whatever run they are in, the case must not pass. */
#include "cases/matrix.h"
#include "harness/run_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* HDF5 1.10 itself does not free the driver record of a file that it made in memory; our own allocations stay under LeakSanitizer's eye. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libhdf5\n";
}

/* The host subject; `spoil` sees every trace it leaves, the number of the run and the case that was run. */
typedef struct spoiled {
    mp_subject host;
    mp_status (*spoil)(int run, const mp_case *c, mp_trace *trace, mp_error *err);
    int runs;
    bool unordered; /* the contract does not promise determinism */
} spoiled;

static mp_status spoiled_resolve(mp_subject *s, const mp_case *c, mp_contract *contract, mp_config *config, mp_error *err) {
    spoiled *self = s->self;
    const mp_status status = self->host.resolve(&self->host, c, contract, config, err);
    if (self->unordered) contract->deterministic = contract->batch_invariant = false;
    return status;
}

static mp_status spoiled_plan(mp_subject *s, const mp_case *c, mp_memory *memory, mp_error *err) {
    spoiled *self = s->self;
    return self->host.plan(&self->host, c, memory, err);
}

static mp_status spoiled_run(mp_subject *s, const mp_case *c, const mp_inputs *in, uint32_t poison, mp_trace *trace, mp_error *err) {
    spoiled *self = s->self;
    const mp_status status = self->host.run(&self->host, c, in, poison, trace, err);
    return status == MP_OK && self->spoil ? self->spoil(self->runs++, c, trace, err) : status;
}

static mp_verdict verdict; /* large */

static const mp_verdict *judge(const char *text, const char *pair, mp_status (*spoil)(int, const mp_case *, mp_trace *, mp_error *), bool unordered,
                               const mp_run_options *more) {
    spoiled self = {.spoil = spoil, .unordered = unordered};
    mp_subject subject = {.name = "spoiled", .self = &self, .resolve = spoiled_resolve, .plan = spoiled_plan, .run = spoiled_run};
    mp_matrix matrix = {0};
    mp_error err = {0};
    if (mp_subject_open("host", &self.host, &err) != MP_OK) fail_msg("%s", err.text);
    if (mp_matrix_add(&matrix, text, &pair, pair ? 1 : 0, &err) != MP_OK) fail_msg("%s", err.text);
    mp_run_options options = more ? *more : (mp_run_options){0};
    options.subject = &subject;
    options.repeat = 2;
    options.plain = true;
    mp_run_case(&matrix.rows[0], &options, &verdict);
    mp_matrix_free(&matrix);
    return &verdict;
}

static void expect_failure(const mp_verdict *v, mp_check check, const char *where) {
    if (v->outcome != MP_FAIL || v->check[check].answer != MP_FAILED) fail_msg("%s: %s", mp_outcome_name(v->outcome), v->reason);
    if (!strstr(v->check[check].text, where)) fail_msg("'%s' does not name '%s'", v->check[check].text, where);
}

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

static mp_status input_changed_by_runner(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (c->path == MP_RUNNER) snprintf(trace->input_report, sizeof trace->input_report, "device copy of w1 changed");
    return MP_OK;
}

static mp_status ids_changed_by_runner(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (c->path == MP_RUNNER) ((int32_t *)trace->t[MP_SORTED_TOKEN_IDS].data)[0] ^= 1;
    return MP_OK;
}

static mp_status padding_written_when_sorted(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (c->layout != MP_SORTED) return MP_OK;
    const int64_t slots = mp_case_slots(c);
    const int32_t *sorted = trace->t[MP_SORTED_TOKEN_IDS].data;
    for (int64_t r = 0; r < trace->t[MP_CACHE1].dim[0]; r++)
        if (sorted[r] == slots) memset(mp_tensor_row(&trace->t[MP_CACHE1], r), 0, 2);
    return MP_OK;
}

static void variants_are_looked_at_all_around(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16 act=silu";
    expect_failure(judge(text, "path=runner", input_changed_by_runner, false, NULL), MP_CHECK_INPUT, "path=runner");
    expect_failure(judge(text, "path=runner", ids_changed_by_runner, false, NULL), MP_CHECK_INTEGER, "path=runner");
    expect_failure(judge(text, "layout=sorted", padding_written_when_sorted, false, NULL), MP_CHECK_POISON, "layout=sorted");
}

static void nothing_compared_is_not_equal(void **state) {
    (void)state;
    const mp_verdict *v = judge("M=8 topk=2 act=silu scope=align tile=16x64x64x1x4x3", "tile=64x64x64x1x4x3", NULL, false, NULL);
    assert_int_equal(v->outcome, MP_PASS); /* align itself was judged */
    assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_NOT_JUDGED);
    assert_false(v->pair[0].bits_equal);
}

static mp_status wrong_in_the_second_run(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    if (run == 1) ((int32_t *)trace->t[MP_EXPERT_IDS].data)[0] ^= 1;
    return MP_OK;
}

static mp_status other_bits_in_the_second_run(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    if (run == 1) ((uint16_t *)trace->t[MP_CACHE2].data)[3] ^= 1;
    return MP_OK;
}

static void an_unordered_sum_excuses_the_sum_only(void **state) {
    (void)state;
    const char *text = "M=4 E=4 topk=4 K=32 N=16 act=silu fused_sum=1";
    assert_int_equal(judge(text, NULL, NULL, true, NULL)->outcome, MP_PASS);
    expect_failure(judge(text, NULL, wrong_in_the_second_run, true, NULL), MP_CHECK_INTEGER, "expert_ids");
    assert_int_equal(judge(text, NULL, other_bits_in_the_second_run, true, NULL)->outcome, MP_FAIL);
}

/* Records the case by the honest host, leaving out one tensor. */
static mp_golden *golden_without(const char *path, const char *text, mp_trace_tensor left_out) {
    mp_case c = mp_case_default();
    mp_error err = {0};
    mp_inputs in;
    mp_trace trace;
    mp_subject host;
    mp_contract contract;
    mp_config config;
    mp_golden *golden = NULL;
    char words[256];
    const mp_provenance who = {.subject = "host"};
    assert_int_equal(mp_case_parse(&c, text, &err), MP_OK);
    assert_int_equal(mp_subject_open("host", &host, &err), MP_OK);
    assert_int_equal(host.resolve(&host, &c, &contract, &config, &err), MP_OK);
    assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
    assert_int_equal(host.run(&host, &c, &in, MP_POISON_A, &trace, &err), MP_OK);
    mp_contract_text(&contract, words, sizeof words);
    assert_int_equal(mp_golden_create(path, &who, SIZE_MAX, &golden, &err), MP_OK);
    mp_trace part = trace;
    if (left_out < MP_TRACE_COUNT) part.t[left_out].data = NULL;
    assert_int_equal(mp_golden_write(golden, &c, words, "", &part, NULL, &err), MP_OK);
    assert_int_equal(mp_golden_commit(golden, &err), MP_OK);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    assert_int_equal(mp_golden_open(path, &golden, &err), MP_OK);
    return golden;
}

static void a_golden_that_lacks_a_tensor_verifies_nothing(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 act=silu";
    char path[64];
    snprintf(path, sizeof path, "run_case.%d.h5", (int)getpid());
    for (int left_out = MP_CACHE1; left_out <= MP_TRACE_COUNT; left_out++) {
        mp_golden *golden = golden_without(path, text, (mp_trace_tensor)left_out);
        const mp_run_options options = {.golden = golden, .golden_required = true, .golden_path = path};
        const mp_verdict *v = judge(text, NULL, NULL, false, &options);
        if (left_out < MP_TRACE_COUNT)
            expect_failure(v, MP_CHECK_GOLDEN, mp_trace_tensor_name((mp_trace_tensor)left_out));
        else
            assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
        mp_golden_close(golden);
    }
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_skip_does_not_hide_a_failure),
        cmocka_unit_test(variants_are_looked_at_all_around),
        cmocka_unit_test(nothing_compared_is_not_equal),
        cmocka_unit_test(an_unordered_sum_excuses_the_sum_only),
        cmocka_unit_test(a_golden_that_lacks_a_tensor_verifies_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
