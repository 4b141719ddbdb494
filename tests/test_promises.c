/* SPDX-License-Identifier: Apache-2.0 */
/* What a contract promises is looked at, and what it does not is let be. */
#include "cases/slots.h"
#include "moeparity/preset.h"
#include "ref/activation.h"
#include "tests/spoiled.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void promise_zeros(mp_contract *contract) {
    contract->filtered[MP_ACT] = contract->padding = MP_ROW_ZERO;
}

static void promise_nothing_of_filtered_rows(mp_contract *contract) {
    for (int s = 0; s < MP_STAGE_COUNT; s++) contract->filtered[s] = MP_ROW_ANYTHING;
}

static void promise_no_tail(mp_contract *contract) {
    contract->align_tail = false;
}

static void promise_neither(mp_contract *contract) {
    promise_nothing_of_filtered_rows(contract);
    promise_no_tail(contract);
}

static void promise_bf16_additions(mp_contract *contract) {
    contract->combine = MP_COMBINE_ELEMENT_DTYPE;
}

/* Rows of act without a result become zeros, but for the last of them in run `bad`. */
static int bad;
static mp_status zero_rows(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)err;
    const int32_t *ids = now.t[MP_TOPK_IDS].data;
    const int64_t slots = mp_case_slots(c);
    mp_tensor *caches[] = {&trace->t[MP_CACHE1], &trace->t[MP_CACHE2]};
    for (int k = 0; k < 2; k++) {
        if (!caches[k]->data) continue; /* act alone: cache1 is an input */
        int64_t last = -1, slot_of[4096], row[64];
        mp_trace_slot_rows(c, trace->t, row);
        mp_slots_of_rows(row, slots, slot_of, mp_tensor_rows(caches[k]));
        for (int64_t r = 0; r < mp_tensor_rows(caches[k]); r++) {
            const bool padding = slot_of[r] < 0, filtered = !padding && ids[slot_of[r]] < 0;
            if (!padding && !(filtered && k == 1)) continue;
            memset(mp_tensor_row(caches[k], r), 0, 2 * (size_t)mp_tensor_row_length(caches[k]));
            last = r;
        }
        if (run == bad && k == 1) ((uint16_t *)mp_tensor_row(caches[k], last))[1] = 1;
    }
    return MP_OK;
}

static void promised_zeros_are_looked_at(void **state) {
    (void)state;
    static const char *const texts[] = {"M=8 topk=2 K=32 N=16 filter=0.5 act=silu",
                                        "M=8 topk=2 K=32 N=16 act=silu layout=sorted"};
    for (int i = 0; i < 2; i++) {
        const spoiled self = {.spoil = zero_rows, .promise = promise_zeros};
        bad = -1;
        assert_int_equal(judge_by(self, texts[i], NULL, NULL)->outcome, MP_PASS);
        bad = 0;
        expect_failure(judge_by(self, texts[i], NULL, NULL), MP_CHECK_POISON, "of cache2 is not zeros");
    }
}

static mp_status no_zeros_in_the_output(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    const int32_t *ids = now.t[MP_TOPK_IDS].data;
    int64_t slot = 0;
    while (slot < mp_case_slots(c) && ids[slot] >= 0) slot++;
    ((uint16_t *)mp_tensor_row(&trace->t[MP_OUT], slot))[3] = 0x4000;
    return MP_OK;
}

/* By the judge too, whatever lies between: of a file nobody else looks at them. */
static void promised_zeros_are_judged_whatever_is_shown(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16 filter=0.5 mode=no_combine",
               *act = "M=8 topk=2 N=16 filter=0.5 act=silu scope=act";
    const mp_tensor_set caches = MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_CACHE3);
    spoiled self = {.hides = caches};
    assert_int_equal(judge_by(self, text, NULL, NULL)->outcome, MP_PASS);
    self.spoil = no_zeros_in_the_output;
    expect_failure(judge_by(self, text, NULL, NULL), MP_CHECK_BOUND, "gate_up..down: ");
    self.hides = 0;
    expect_failure(judge_by(self, text, NULL, NULL), MP_CHECK_BOUND, "down: ");
    self = (spoiled){.spoil = zero_rows, .promise = promise_zeros};
    bad = 0;
    expect_failure(judge_by(self, act, NULL, NULL), MP_CHECK_BOUND, "act: ");
}

/* The host writes them, as its contract says, and they are predicted. */
static void promise_zeros_and_bits(mp_contract *contract) {
    promise_zeros(contract);
    contract->promise[MP_ACT].bits = MP_BITS_REQUIRED;
}

static void promised_zeros_are_predicted(void **state) {
    (void)state;
    spoiled self = {.promise = promise_zeros_and_bits};
    const mp_verdict *v = judge_by(self, "M=8 topk=2 N=32 filter=0.5 act=silu scope=act", NULL, NULL);
    if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
    assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_PASSED);
    assert_int_equal(v->stage[MP_ACT].predicted, 8 * 2 * 32);
    self.spoil = zero_rows;
    bad = 0;
    expect_failure(judge_by(self, "M=8 topk=2 N=32 filter=0.5 act=silu scope=act", NULL, NULL), MP_CHECK_BITS,
                   "instead of 0");
}

/* Rows of filtered slots, and what lies behind the end of align's lists, are other in every run. */
static mp_status other_rubbish(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)err;
    const int32_t *ids = now.t[MP_TOPK_IDS].data;
    const int32_t used = *(const int32_t *)trace->t[MP_NUM_TOKENS_POST_PADDED].data;
    mp_tensor *sorted = &trace->t[MP_SORTED_TOKEN_IDS];
    for (int64_t t = 0; t < mp_case_slots(c); t++)
        if (ids[t] < 0) memset(mp_tensor_row(&trace->t[MP_CACHE3], t), run + 1, (size_t)c->K * 2);
    for (int64_t p = used; p < sorted->dim[1]; p++) ((int32_t *)sorted->data)[p] = run;
    return MP_OK;
}

static void what_is_not_promised_is_not_compared(void **state) {
    (void)state;
    const char *filtered = "M=8 topk=2 K=32 N=16 filter=0.3 act=silu",
               *plain = "M=8 topk=2 K=32 N=16 act=silu";
    spoiled self = {.spoil = other_rubbish, .promise = promise_nothing_of_filtered_rows};
    assert_int_equal(judge_by(self, filtered, NULL, NULL)->outcome, MP_FAIL); /* the tail is promised */
    self.promise = promise_no_tail;
    assert_int_equal(judge_by(self, plain, NULL, NULL)->outcome, MP_PASS);
    assert_int_equal(judge_by(self, filtered, NULL, NULL)->outcome, MP_FAIL); /* and here the zeros are */
    self.promise = promise_neither;
    assert_int_equal(judge_by(self, filtered, NULL, NULL)->outcome, MP_PASS);
}

#define ELSEWHERE "ep_size=4 ep_rank=1 routing=first" /* all slots are rank 0's */
static void promise_nothing_but_bits(mp_contract *contract) {
    promise_nothing_of_filtered_rows(contract);
    for (int s = 0; s < MP_STAGE_COUNT; s++) contract->promise[s].bits = MP_BITS_REQUIRED;
}

/* A variant is compared by what both contracts promise, its own and the case's. */
static mp_status rubbish_when_sorted(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)err;
    const int32_t *ids = now.t[MP_TOPK_IDS].data;
    for (int64_t t = 0; c->layout == MP_SORTED && t < mp_case_slots(c); t++)
        if (ids[t] < 0) memset(mp_tensor_row(&trace->t[MP_CACHE3], t), run + 1, (size_t)c->K * 2);
    return MP_OK;
}

static void a_variant_has_a_contract_of_its_own(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16 filter=0.3 act=silu",
               *sorted = "M=8 topk=2 K=32 N=16 filter=0.3 act=silu layout=sorted";
    spoiled self = {.spoil = rubbish_when_sorted};
    expect_failure(judge_by(self, text, "layout=sorted", NULL), MP_CHECK_POISON, "layout=sorted");
    self.promise_sorted = promise_nothing_of_filtered_rows;
    assert_int_equal(judge_by(self, text, "layout=sorted", NULL)->check[MP_CHECK_PAIR].answer, MP_PASSED);
    assert_int_equal(judge_by(self, sorted, "layout=route", NULL)->check[MP_CHECK_PAIR].answer, MP_PASSED);
}

/* Act alone by clamps that make their limit of a NaN, as fminf does, or keep it. The host does either, as its
 * contract says. */
static void clamp_nans(const mp_case *c, mp_trace *trace, bool keep) {
    const mp_tensor *in = &now.t[MP_CACHE1];
    mp_tensor *out = &trace->t[MP_CACHE2];
    for (int64_t t = 0; t < mp_case_slots(c); t++)
        for (int64_t n = 0; n < c->N; n++) {
            const double g = mp_decode(in->dtype, in->data, 2 * t * c->N + mp_gate_column(c, n)),
                         u = mp_decode(in->dtype, in->data, 2 * t * c->N + mp_up_column(c, n));
            if (isnan(g) || isnan(u))
                mp_encode(out->dtype, out->data, t * c->N + n,
                          keep ? NAN : mp_activate(c, mp_clamped_nan(g), mp_clamped_nan(u), NULL));
        }
}

static mp_status nan_becomes_the_limit(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    clamp_nans(c, trace, false);
    return MP_OK;
}

static mp_status nan_is_kept(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    clamp_nans(c, trace, true);
    return MP_OK;
}

static mp_clamp_nan clamped;
static void promise_clamped(mp_contract *contract) {
    contract->act_clamp_nan = clamped;
}

static void the_nan_of_a_clamp_is_what_the_contract_says(void **state) {
    (void)state;
    static const char *const texts[] = {"M=128 topk=1 N=512 data=exhaustive scope=act act=swiglu_oai",
                                        "M=128 topk=1 N=512 data=exhaustive scope=act act=silu_clamp",
                                        "M=128 topk=1 N=512 data=exhaustive scope=act act=clamp_silu"};
    const spoiled kept = {.promise = promise_clamped, .spoil = nan_is_kept},
                  limit = {.promise = promise_clamped, .spoil = nan_becomes_the_limit};
    for (int i = 0; i < 3; i++)
        for (clamped = 0; clamped < MP_CLAMP_NAN_COUNT; clamped++) {
            if (clamped == MP_CLAMP_NAN_LIMIT)
                expect_failure(judge_by(kept, texts[i], NULL, NULL), MP_CHECK_BOUND, "nan instead of ");
            else
                assert_int_equal(judge_by(kept, texts[i], NULL, NULL)->outcome, MP_PASS);
            if (clamped == MP_CLAMP_NAN_KEPT)
                expect_failure(judge_by(limit, texts[i], NULL, NULL), MP_CHECK_BOUND, "instead of nan");
            else
                assert_int_equal(judge_by(limit, texts[i], NULL, NULL)->outcome, MP_PASS);
        }
}

/* In a span, too: whether a NaN is kept or clamped, what follows from it is expected; where either may be,
 * nothing is known of it. */
static void a_span_knows_of_clamped_nans(void **state) {
    (void)state;
    spoiled self = {.promise = promise_clamped, .hides = MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_CACHE3)};
    for (clamped = 0; clamped < MP_CLAMP_NAN_COUNT; clamped++)
        assert_int_equal(
            judge_by(self, "M=16 topk=2 K=32 N=16 act=swiglu_oai data=special", NULL, NULL)->outcome,
            MP_PASS);
}

/* An error bound that cannot be had is no pass, whatever the other stages are. */
static mp_status wrong_sum(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)c, (void)err;
    memset(trace->t[MP_OUT].data, 0x11, mp_tensor_bytes(&trace->t[MP_OUT]));
    return MP_OK;
}

static void a_stage_without_a_bound_leaves_the_check_open(void **state) {
    (void)state;
    const spoiled self = {.spoil = wrong_sum, .promise = promise_bf16_additions};
    const char *text = "M=4 E=512 topk=512 K=16 N=8 act=silu";
    const mp_verdict *v = judge_by(self, text, NULL, NULL);
    assert_int_equal(v->check[MP_CHECK_BOUND].answer, MP_NOT_JUDGED);
    assert_non_null(strstr(v->check[MP_CHECK_BOUND].text, "combine: no bound can be had"));
    expect_failure(judge_by(self, text, NULL, &(mp_run_options){.settings.strict = true}), MP_CHECK_BOUND,
                   "combine: no bound can be had");
}

/* Where that is the only stage there is nothing to judge: a SKIP, for nothing is known to be wrong; but what
 * can be said of the case still fails it. */
static mp_status last_row_unwritten(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)c, (void)err;
    memset(mp_tensor_row(&trace->t[MP_OUT], c->M), 0x11, 1);
    return MP_OK;
}

static void a_case_without_a_bound_is_skipped(void **state) {
    (void)state;
    spoiled self = {.promise = promise_bf16_additions};
    const char *text = "scope=combine M=4 E=512 topk=512 K=16";
    const mp_verdict *v = judge_by(self, text, NULL, NULL);
    assert_int_equal(v->outcome, MP_SKIP);
    assert_non_null(strstr(v->reason, "combine: no bound can be had of so many additions"));
    v = judge_by(self, text, NULL, &(mp_run_options){.settings.strict = true});
    assert_int_equal(v->outcome, MP_FAIL);
    assert_non_null(strstr(v->reason, "strict: skipped: combine: no bound can be had"));
    self.spoil = last_row_unwritten;
    expect_failure(judge_by(self, text, NULL, NULL), MP_CHECK_GUARD, "out: byte 128");
    self = (spoiled){.spoil = wrong_sum};
    expect_failure(judge_by(self, text, NULL, NULL), MP_CHECK_BOUND, "combine: ");
}

/* Every slot is another rank's, and nothing is promised of its row; or no numbers are shown. */
static void what_compares_no_number_passes_no_check_of_numbers(void **state) {
    (void)state;
    static const mp_check of_numbers[] = {MP_CHECK_BOUND, MP_CHECK_RMS, MP_CHECK_NAN, MP_CHECK_BITS};
    const struct {
        spoiled self;
        const char *text, *why;
        mp_check strict; /* what it fails: where all was looked at, numbers are not asked for */
    } rows[] = {
        {{.promise = promise_nothing_but_bits},
         "M=8 topk=2 E=8 N=32 scope=act " ELSEWHERE,
         "nothing to compare",
         MP_CHECK_REPEAT},
        {{.promise = promise_nothing_but_bits},
         "M=8 topk=2 E=8 K=32 N=16 scope=gate_up " ELSEWHERE,
         "nothing to compare",
         MP_CHECK_REPEAT},
        {{.hides = MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_CACHE3) | MP_IN_SET(MP_OUT)},
         "M=8 topk=2 K=32 N=16",
         "nothing is exposed from gate_up on",
         MP_CHECK_BOUND},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mp_verdict *v = judge_by(rows[i].self, rows[i].text, NULL, NULL);
        assert_int_equal(v->outcome, MP_PASS);
        for (size_t k = 0; k < sizeof of_numbers / sizeof *of_numbers; k++)
            assert_int_equal(v->check[of_numbers[k]].answer, MP_NOT_JUDGED);
        assert_string_equal(v->check[MP_CHECK_BOUND].text, rows[i].why);
        assert_string_equal(v->check[MP_CHECK_RMS].text, rows[i].why);
        v = judge_by(rows[i].self, rows[i].text, NULL, &(mp_run_options){.settings.strict = true});
        expect_failure(v, rows[i].strict, "strict: not judged: nothing");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promised_zeros_are_looked_at),
        cmocka_unit_test(promised_zeros_are_judged_whatever_is_shown),
        cmocka_unit_test(promised_zeros_are_predicted),
        cmocka_unit_test(what_is_not_promised_is_not_compared),
        cmocka_unit_test(a_variant_has_a_contract_of_its_own),
        cmocka_unit_test(the_nan_of_a_clamp_is_what_the_contract_says),
        cmocka_unit_test(a_span_knows_of_clamped_nans),
        cmocka_unit_test(a_stage_without_a_bound_leaves_the_check_open),
        cmocka_unit_test(a_case_without_a_bound_is_skipped),
        cmocka_unit_test(what_compares_no_number_passes_no_check_of_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
