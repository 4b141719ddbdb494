/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that show only in a later run of a case: a repeat, a variant, a token alone. Whatever run they are
 * in, the case must not pass. And what a case's runs take and tell. */
#include "base/host_memory.h"
#include "harness/progress.h"
#include "harness/run/memory.h"
#include "moeparity/matrix.h"
#include "moeparity/preset.h"
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

/* The case before has the case's weights, whose sums are not exact because its own tokens' would be. */
static void sums_of_weights_of_another_family_are_not_exact(void **state) {
    (void)state;
    const mp_verdict *v = judge("M=5 topk=4 K=64 N=64 data=wide",
                                "after data=onehot M=33 seed=9223372036854775807", NULL, false, NULL);
    if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
    assert_int_equal(v->check[MP_CHECK_SEQUENCE].answer, MP_PASSED);
}

/* With topk 1 the fused path has no sum: down's -0 is the output, and the other paths add it to +0. */
static void a_sum_of_one_term_has_no_minus_zero(void **state) {
    (void)state;
    const mp_verdict *v =
        judge("M=5 E=3 topk=1 K=3 N=1 dtype=fp16 data=wide", "path=chunked", NULL, false, NULL);
    if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
    assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_PASSED);
}

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

static void a_pair_without_tokens_has_nothing_to_compare(void **state) {
    (void)state;
    const mp_run_options strictly = {.settings = {.strict = true}};
    const mp_verdict *v = judge("M=0 topk=2 K=64 N=32", "tile=128x64x64x8x4x3", NULL, false, &strictly);
    if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
    assert_string_equal(v->check[MP_CHECK_PAIR].text, "tile=128x64x64x8x4x3: no tokens");
}

static mp_status input_changed_by_runner(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)trace, (void)err;
    if (c->path == MP_RUNNER) ((char *)now.t[MP_W1].data)[0] ^= 1;
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
    expect_failure(
        judge_by((spoiled){.spoil = input_changed_by_runner, .device = true}, text, "path=runner", NULL),
        MP_CHECK_INPUT, "path=runner");
    expect_failure(judge(text, "path=runner", ids_changed_by_runner, false, NULL), MP_CHECK_INTEGER,
                   "path=runner");
    expect_failure(judge(text, "layout=sorted", padding_written_when_sorted, false, NULL), MP_CHECK_POISON,
                   "layout=sorted");
}

static int runs;

static mp_status counted(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)trace, (void)err;
    runs = run + 1;
    return MP_OK;
}

static mp_status second_run_differs(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    if (run == 1) ((char *)trace->t[MP_OUT].data)[0] ^= 1;
    return counted(run, c, trace, err);
}

/* How many runs fewer where the subject says which variants are the same call; what is told is the same. */
static int runs_saved(const char *text, const char *pair, spoiler *spoil, const mp_run_options *options) {
    int64_t compared = 0;
    int all = 0;
    for (int same = 0; same < 2; same++) {
        const mp_verdict *v = judge_by((spoiled){.spoil = spoil, .same_calls = same}, text, pair, options);
        if (same) assert_int_equal(v->pair[0].compared, compared);
        assert_true(v->pair[0].compared > 0 && v->pair[0].bits_equal && v->pair[0].required);
        assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_PASSED);
        compared = v->pair[0].compared;
        if (!same) all = runs;
    }
    return all - runs;
}

static void a_variant_that_is_the_same_call_runs_once(void **state) {
    (void)state;
    const mp_run_options once = {.settings = {.repeat = 1}};
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "path=runner", counted, NULL), 1);
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "layout=sorted", counted, NULL), 0);
    assert_int_equal(runs_saved("M=8 topk=1 K=32 N=16", "path=runner", counted, NULL), 0); /* has a sum */
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "path=chunked", counted, NULL), 1);
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "path=runner", second_run_differs, NULL), 0);
    assert_int_equal(runs_saved("M=8 topk=2 K=32 N=16", "path=runner", counted, &once), 0);
}

/* One chunk is the call that no chunks are, two are not. */
static void chunks_are_calls_of_their_own(void **state) {
    (void)state;
    const char *texts[] = {"M=65536 topk=2", "M=65537 topk=2"}, *pair = "path=chunked";
    mp_subject host;
    mp_error err = {0};
    assert_int_equal(mp_subject_open("host", &host, &err), MP_OK);
    for (int i = 0; i < 2; i++) {
        mp_matrix matrix = {0};
        assert_int_equal(mp_matrix_add(&matrix, texts[i], &pair, 1, &err), MP_OK);
        assert_int_equal(host.same_call(&matrix.rows[0].c, &matrix.rows[0].pairs[0]), i == 0);
        mp_matrix_free(&matrix);
    }
    mp_subject_close(&host);
}

static void nothing_compared_is_not_equal(void **state) {
    (void)state;
    const mp_verdict *v = judge("M=8 topk=2 act=silu scope=align tile=16x64x64x1x4x3", "tile=64x64x64x1x4x3",
                                NULL, false, NULL);
    assert_int_equal(v->outcome, MP_PASS); /* align itself was judged */
    assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_NOT_JUDGED);
    assert_false(v->pair[0].bits_equal);
}

/* A run that repeats nothing, since nothing is promised or no row has a result, has not repeated. */
static void a_repeat_that_compared_nothing_is_not_judged(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
        bool unordered;
    } rows[] = {{"M=8 topk=2 N=16 scope=act", "the contract promises no bits that repeat", true},
                {"M=8 topk=2 N=16 scope=act filter=1", "nothing to compare", false},
                {"M=8 topk=2 N=16 scope=act", "", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int strict = 0; strict < 2; strict++) {
            const mp_run_options options = {.settings = {.repeat = 3, .strict = strict}};
            const mp_verdict *v =
                judge_by((spoiled){.unordered = rows[i].unordered}, rows[i].text, NULL, &options);
            const mp_check_result *repeat = &v->check[MP_CHECK_REPEAT];
            const bool asked = strict && !rows[i].unordered && rows[i].why[0];
            assert_int_equal(v->outcome, asked ? MP_FAIL : MP_PASS);
            assert_int_equal(repeat->answer, asked ? MP_FAILED : rows[i].why[0] ? MP_NOT_JUDGED : MP_PASSED);
            if (!strstr(repeat->text, rows[i].why)) fail_msg("%s: %s", rows[i].text, repeat->text);
        }
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

/* The sum, twice as large as it is. */
static mp_status doubled_in_the_second_run(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    const mp_tensor *out = &trace->t[MP_OUT];
    for (int64_t i = 0; run == 1 && i < mp_tensor_count(out); i++)
        mp_encode(out->dtype, out->data, i, 2 * mp_decode(out->dtype, out->data, i));
    return MP_OK;
}

static void an_unordered_sum_keeps_its_bounds_in_every_run(void **state) {
    (void)state;
    expect_failure(
        judge("M=4 E=4 topk=4 K=32 N=16 act=silu fused_sum=1", NULL, doubled_in_the_second_run, true, NULL),
        MP_CHECK_BOUND, "with another poison");
}

/* One bit of the sum: an order of additions that is another one, in two runs of seven. */
static mp_status another_sum_now_and_then(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    if (run == 2 || run == 4) ((uint16_t *)mp_tensor_row(&trace->t[MP_OUT], 1))[3] ^= 1;
    if (run == 4) ((uint16_t *)mp_tensor_row(&trace->t[MP_OUT], 3))[0] ^= 1;
    return MP_OK;
}

/* Where no order is promised it may be another one from run to run, unless that is demanded; the runs and the
 * tokens that differ are named. */
static void determinism_can_be_demanded(void **state) {
    (void)state;
    const char *text = "M=4 E=4 topk=4 K=32 N=16 act=silu fused_sum=1";
    static const struct {
        bool demanded, unordered, differs;
        mp_answer answer;
    } rows[] = {{false, true, true, MP_NOT_JUDGED},
                {true, true, true, MP_FAILED},
                {true, true, false, MP_PASSED},
                {true, false, false, MP_PASSED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mp_run_options options = {
            .settings = {.repeat = 8, .deterministic = rows[i].demanded, .strict = rows[i].demanded}};
        const mp_verdict *v =
            judge(text, NULL, rows[i].differs ? another_sum_now_and_then : NULL, rows[i].unordered, &options);
        assert_int_equal(v->check[MP_CHECK_REPEAT].answer, rows[i].answer);
        assert_int_equal(v->outcome, rows[i].answer == MP_FAILED ? MP_FAIL : MP_PASS);
        if (rows[i].answer != MP_FAILED) continue;
        expect_failure(v, MP_CHECK_REPEAT, "2 of 7 repeats differ, in 2 of 4 tokens: 1 3 (the contract");
        expect_failure(v, MP_CHECK_REPEAT, "token 1 column 3");
        assert_non_null(strstr(v->repro, "--repeat 8 --deterministic"));
    }
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

static void one_run_says_nothing_about_repeating(void **state) {
    (void)state;
    const mp_run_options once = {.settings.repeat = 1};
    const mp_verdict *v = judge("M=4 topk=2 K=32 N=16", NULL, NULL, false, &once);
    assert_int_equal(v->outcome, MP_PASS);
    assert_int_equal(v->check[MP_CHECK_REPEAT].answer, MP_NOT_JUDGED);
    assert_string_equal(v->check[MP_CHECK_REPEAT].text, "one run only");
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

/* One expert has all slots: any order of them is right where none is promised. */
static mp_status exchanged_slots(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)c, (void)err;
    int32_t *sorted = trace->t[MP_SORTED_TOKEN_IDS].data;
    if (run != 1) return MP_OK;
    const int32_t first = sorted[0];
    sorted[0] = sorted[1];
    sorted[1] = first;
    return MP_OK;
}

static void an_order_that_is_not_promised_may_change(void **state) {
    (void)state;
    const char *text = "M=8 E=1 topk=1 K=32 N=16 rsf=2";
    assert_int_equal(
        judge_by((spoiled){.spoil = exchanged_slots, .any_order = true}, text, NULL, NULL)->outcome, MP_PASS);
    assert_int_equal(judge_by((spoiled){.spoil = exchanged_slots}, text, NULL, NULL)->outcome, MP_FAIL);
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
                   MP_CHECK_INPUT, "token 0 alone: the inputs changed");
}

static void a_tile_that_a_variant_names_must_run(void **state) {
    (void)state;
    expect_failure(
        judge_by((spoiled){.no_tile = true}, "M=8 topk=2 K=32 N=16 act=silu", "tile=16x32x64x1x4x3", NULL),
        MP_CHECK_PAIR, "the tile that was asked for cannot run: not run: no such tile");
}

/* It ran the case, and never said that it had the variant. */
static void a_tile_that_is_not_offered_is_not_judged(void **state) {
    (void)state;
    const mp_verdict *v =
        judge_by((spoiled){.one_tile = true}, "M=8 topk=2 K=32 N=16 act=silu", "tile=16x32x64x1x4x3", NULL);
    assert_int_equal(v->outcome, MP_PASS);
    assert_int_equal(v->check[MP_CHECK_PAIR].answer, MP_NOT_JUDGED);
    assert_non_null(strstr(v->check[MP_CHECK_PAIR].text, "not run: this kernel has one tile"));
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
        cmocka_unit_test(a_sum_of_one_term_has_no_minus_zero),
        cmocka_unit_test(counts_are_judged_without_the_list_of_slots),
        cmocka_unit_test(a_pair_without_tokens_has_nothing_to_compare),
        cmocka_unit_test(a_variant_that_is_the_same_call_runs_once),
        cmocka_unit_test(chunks_are_calls_of_their_own),
        cmocka_unit_test(a_later_skip_does_not_hide_a_failure),
        cmocka_unit_test(variants_are_looked_at_all_around),
        cmocka_unit_test(nothing_compared_is_not_equal),
        cmocka_unit_test(a_repeat_that_compared_nothing_is_not_judged),
        cmocka_unit_test(an_unordered_sum_excuses_the_sum_only),
        cmocka_unit_test(an_unordered_sum_keeps_its_bounds_in_every_run),
        cmocka_unit_test(determinism_can_be_demanded),
        cmocka_unit_test(batches_of_other_sizes_are_run),
        cmocka_unit_test(one_run_says_nothing_about_repeating),
        cmocka_unit_test(later_runs_find_other_poison),
        cmocka_unit_test(the_first_the_middle_and_the_last_token_run_alone),
        cmocka_unit_test(an_order_that_is_not_promised_may_change),
        cmocka_unit_test(an_input_overwritten_in_any_run_is_seen),
        cmocka_unit_test(a_tile_that_a_variant_names_must_run),
        cmocka_unit_test(a_tile_that_is_not_offered_is_not_judged),
        cmocka_unit_test(every_stage_is_told_while_it_goes_on),
        cmocka_unit_test(a_case_runs_behind_one_of_another_family),
        cmocka_unit_test(a_case_without_room_is_skipped),
        cmocka_unit_test(without_a_contract_it_is_any),
        cmocka_unit_test(wrong_tiles_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
