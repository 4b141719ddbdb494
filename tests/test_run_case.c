/* SPDX-License-Identifier: Apache-2.0 */
/* What is looked at around each of a case's runs, and what they take and tell. */
#include "base/host_memory.h"
#include "harness/progress.h"
#include "harness/run/memory.h"
#include "moeparity/preset.h"
#include "tests/spoiled.h"

#include <stdio.h>
#include <string.h>

static mp_status last_count_is_one_more(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (trace->t[MP_MASKED_M].data) ((int32_t *)trace->t[MP_MASKED_M].data)[c->E - 1]++;
    return MP_OK;
}

static void counts_are_judged_without_the_list_of_slots(void **state) {
    (void)state;
    const mp_tensor_set others =
        MP_IN_SET(MP_SORTED_TOKEN_IDS) | MP_IN_SET(MP_EXPERT_IDS) | MP_IN_SET(MP_NUM_TOKENS_POST_PADDED);
    const char *text = "M=8 topk=2 E=4 K=32 N=16 layout=masked filter=0.5";
    const mp_verdict *v = judge_by((spoiled){.hides = others}, text, NULL, NULL);
    if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
    assert_int_equal(v->check[MP_CHECK_INTEGER].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_INTEGER].text, "of align's tensors masked_m alone was judged");
    expect_failure(judge_by((spoiled){.hides = others, .spoil = last_count_is_one_more}, text, NULL, NULL),
                   MP_CHECK_INTEGER, "masked_m[3]");
}

/* The run of a token alone has inputs of its own. */
static mp_status writes_x_alone(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)trace, (void)err;
    if (c->M == 1) *(uint16_t *)now.t[MP_X].data ^= 1;
    return MP_OK;
}

static void an_input_overwritten_in_any_run_is_seen(void **state) {
    (void)state;
    expect_failure(judge_by((spoiled){.spoil = writes_x_alone}, "M=8 topk=2 K=32 N=16 act=silu", NULL, NULL),
                   MP_CHECK_INPUT, "token 0 alone: x changed");
}

/* A read of memory that nobody wrote, in a variant or for a lone token only: it shows where the buffers held
 * something else than in the first run. */
static mp_status runner_leaks(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (c->path == MP_RUNNER && now.poison != MP_POISON_A) ((uint16_t *)trace->t[MP_OUT].data)[0] ^= 1;
    return MP_OK;
}

static mp_status lone_token_leaks(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)err;
    if (c->M == 1 && now.poison != MP_POISON_A) ((uint16_t *)trace->t[MP_OUT].data)[0] ^= 1;
    return MP_OK;
}

static void later_runs_find_other_poison(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16 act=silu";
    expect_failure(judge(text, "path=runner", runner_leaks, false, NULL), MP_CHECK_PAIR, "path=runner");
    expect_failure(judge(text, NULL, lone_token_leaks, false, NULL), MP_CHECK_BATCH, "alone");
}

static mp_status says_nothing(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    return mp_config_resolve(c, NULL, &offer->config, err);
}

/* A subject that names no contract has promised what any sane kernel meets. */
static void without_a_contract_it_is_any(void **state) {
    (void)state;
    mp_subject subject = spoiled_subject(&(spoiled){0}, "silent");
    subject.describe = says_nothing;
    const mp_case c = mp_case_default();
    mp_contract any;
    mp_offer offer;
    mp_error err;
    assert_int_equal(mp_contract_preset("any", &c, &any, &err), MP_OK);
    if (mp_subject_describe(&subject, &c, &offer, &err) != MP_OK) fail_msg("%s", err.text);
    assert_string_equal(offer.contract.preset, "any");
    assert_true(mp_contract_digest(&offer.contract) == mp_contract_digest(&any));
}

/* Tiles that cannot be, and such as do not share one alignment, are the subject's fault. */
static void wrong_tiles_are_refused(void **state) {
    (void)state;
    const char *text = "M=4 topk=2 K=32 N=16 act=silu";
    const mp_verdict *v = judge_by((spoiled){.zero_tile = true}, text, NULL, NULL);
    assert_int_equal(v->outcome, MP_CRASH);
    assert_non_null(strstr(v->reason, "describes itself wrongly: BLOCK_SIZE_N=0"));
    v = judge_by((spoiled){.two_blocks = true}, text, NULL, NULL);
    assert_int_equal(v->outcome, MP_CRASH);
    assert_non_null(strstr(v->reason, "BLOCK_SIZE_M=16 of up and 32 of down: they share one alignment"));
}

/* ---- what it is at ---- */

static void note_phase(void *ctx, const char *stage, const char *what) {
    char phase[MP_PHASE_MAX], *told = ctx;
    mp_phase_text(stage, what, phase);
    strcat(strcat(told, phase), "\n");
}

/* Who waits is told every stage, of each run and of the judge. */
static void every_stage_is_told_while_it_goes_on(void **state) {
    (void)state;
    char told[4096] = "";
    mp_progress_listen(note_phase, told);
    judge_by((spoiled){0}, "M=4 topk=2 K=32 N=16 act=silu lora_adapters=2 quant=fp8-block", NULL, NULL);
    mp_progress_listen(NULL, NULL);
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        static const char *const whats[] = {"run", "judge", "run 2"};
        for (size_t i = 0; i < sizeof whats / sizeof *whats; i++) {
            char phase[64];
            snprintf(phase, sizeof phase, "%s %s\n", whats[i], mp_stage_name((mp_stage)s));
            if (!strstr(told, phase)) fail_msg("'%s' in:\n%s", phase, told);
        }
    }
}

/* ---- memory ---- */

static void expect_plan(const mp_verdict *v, mp_outcome outcome) {
    if (v->outcome != outcome) fail_msg("%s: %s", mp_outcome_name(v->outcome), v->reason);
    if (outcome == MP_SKIP) assert_non_null(strstr(v->reason, "GiB of host memory"));
}

/* Each of both subjects must fit in. That workers share what there is is the suite's to see to. */
static void a_case_without_room_is_skipped(void **state) {
    (void)state;
    const char *text = "M=4 topk=2 K=32 N=16 act=silu";
    const size_t available = mp_memory_available();
    if (available == 0) skip(); /* not known here */
    for (int large = 0; large < 2; large++) {
        const spoiled self = {.host_bytes = available / 10 * (large ? 20 : 6)};
        const mp_verdict *v = judge_by(self, text, NULL, &(mp_run_options){.settings.jobs = 8});
        expect_plan(v, large ? MP_SKIP : MP_PASS);
        assert_int_equal(v->lacked_memory, large);
    }
    for (int large = 0; large < 2; large++) {
        spoiled other = {.host_bytes = large ? 2 * available : 0};
        mp_subject against = spoiled_subject(&other, "other");
        expect_plan(judge_by((spoiled){0}, text, NULL, &(mp_run_options){.against = &against}),
                    large ? MP_SKIP : MP_PASS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_judged_without_the_list_of_slots),
        cmocka_unit_test(an_input_overwritten_in_any_run_is_seen),
        cmocka_unit_test(later_runs_find_other_poison),
        cmocka_unit_test(without_a_contract_it_is_any),
        cmocka_unit_test(wrong_tiles_are_refused),
        cmocka_unit_test(every_stage_is_told_while_it_goes_on),
        cmocka_unit_test(a_case_without_room_is_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
