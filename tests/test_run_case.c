/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that show only in a later run of a case: a repeat, a variant, a token alone. Whatever run they are
 * in, the case must not pass. */
#include "cases/slots.h"
#include "harness/progress.h"
#include "harness/run/memory.h"
#include "harness/subjects/surroundings.h"
#include "moeparity/matrix.h"
#include "moeparity/preset.h"
#include "moeparity/run_case.h"
#include "ref/activation.h"
#include "ref/predict/predict.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* HDF5 1.10 itself does not free the driver record of a file that it made in memory; our own allocations stay
 * under LeakSanitizer's eye. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libhdf5\n";
}

/* The host subject; `spoil` sees every trace it leaves, the number of the run and the case that was run. */
typedef struct spoiled {
    mp_subject host;
    mp_status (*spoil)(int run, const mp_case *c, mp_trace *trace, mp_error *err);
    int runs;
    bool unordered;                         /* the contract does not promise determinism */
    bool any_order;                         /* nor the order of an expert's slots in align */
    int block_size_m;                       /* of the host's runs, in place of the configuration's; 0: that */
    bool zero_tile;                         /* the configuration lacks a number */
    bool two_blocks;                        /* its tiles do not share an alignment */
    bool device;                            /* the subject's tensors are copies */
    bool no_tile;                           /* no variant of the tile can run */
    bool one_tile;                          /* nor is one offered */
    void (*promise)(mp_contract *contract); /* instead of what the host promises; NULL: that */
    void (*promise_sorted)(mp_contract *);  /* what it promises of the sorted layout, where that differs */
    mp_tensor_set hides;                    /* outputs that it does not show */
    size_t host_bytes;                      /* memory that it says it takes */
} spoiled;

/* What a spoiler may want to know of the run it spoils. */
static struct {
    uint32_t poison;
    const mp_case *c;
    const mp_tensor *t;  /* the tensors of this run */
    const char *first_x; /* of the first one */
} now;

static mp_status spoiled_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    spoiled *self = s->self;
    const mp_status status = self->host.describe(&self->host, c, offer, err);
    for (int i = 0; i < MP_STAGE_COUNT && self->unordered; i++)
        offer->contract.promise[i].deterministic = offer->contract.promise[i].batch_invariant = false;
    if (self->any_order) offer->contract.stable_align = offer->contract.align_tail = false;
    if (self->block_size_m)
        offer->config.up.block_size_m = offer->config.down.block_size_m = self->block_size_m;
    offer->exposes &= ~self->hides;
    offer->host_bytes += self->host_bytes;
    if (self->zero_tile) offer->config.up.block_size_n = 0;
    if (self->two_blocks) offer->config.down.block_size_m = 2 * offer->config.up.block_size_m;
    if (self->promise) self->promise(&offer->contract);
    if (self->promise_sorted && c->layout == MP_SORTED) self->promise_sorted(&offer->contract);
    if (self->one_tile && c->tile.block_size_m)
        return mp_fail(err, MP_EUNSUPPORTED, "this kernel has one tile");
    return status;
}

static mp_status spoiled_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    spoiled *self = s->self;
    mp_trace trace = {
        .block_size_m = e->offer->config.up.block_size_m}; /* what a spoiler changes in it is the subject's */
    if (self->no_tile && e->c->tile.block_size_m)
        return mp_fail(err, MP_EUNSUPPORTED, "no such tile in this kernel");
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (e->offer->exposes & MP_IN_SET(id)) trace.t[id] = e->t[id];
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (trace.t[id].data && (id != MP_OUT || e->c->mode != MP_MODE_INPLACE))
            memcpy(&now.poison, trace.t[id].data, sizeof now.poison);
    now.c = e->c;
    now.t = e->t;
    if (self->runs == 0) now.first_x = e->t[MP_X].data;
    mp_execution whole = *e;
    mp_tensor t[MP_TENSOR_COUNT]; /* what is not shown is its own */
    mp_trace own = {0};
    memcpy(t, e->t, sizeof t);
    const mp_tensor_set hidden = mp_case_outputs(e->c) & self->hides;
    mp_status status =
        mp_trace_create_some(e->c, e->offer->config.up.block_size_m, hidden, MP_POISON_A, &own, err);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (hidden & MP_IN_SET(id)) t[id] = own.t[id];
    whole.t = t;
    if (status == MP_OK) status = self->host.run(&self->host, &whole, err);
    if (status == MP_OK) status = self->spoil(self->runs++, e->c, &trace, err);
    mp_trace_destroy(&own);
    return status;
}

static mp_space device;    /* the host's memory under another name */
static mp_verdict verdict; /* large */

typedef mp_status spoiler(int run, const mp_case *c, mp_trace *trace, mp_error *err);

static mp_status nothing(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)c, (void)trace, (void)err;
    return MP_OK;
}

/* The subject around `self`, whose host is opened here. */
static mp_subject spoiled_subject(spoiled *self, const char *name) {
    mp_error err = {0};
    if (!self->spoil) self->spoil = nothing;
    if (mp_subject_open("host", &self->host, &err) != MP_OK) fail_msg("%s", err.text);
    return (mp_subject){.name = name,
                        .self = self,
                        .space = self->device ? &device : NULL,
                        .describe = spoiled_describe,
                        .run = spoiled_run};
}

static const mp_verdict *judge_by(spoiled self, const char *text, const char *pair,
                                  const mp_run_options *more) {
    device = mp_host_space;
    device.name = "device copy of ";
    mp_subject subject = spoiled_subject(&self, "spoiled");
    mp_matrix matrix = {0};
    mp_error err = {0};
    const bool follows = pair && strncmp(pair, "after ", 6) == 0;
    if (mp_matrix_add(&matrix, text, &pair, pair && !follows ? 1 : 0, &err) != MP_OK ||
        (follows && mp_matrix_add_after(&matrix, text, pair + 6, &err) != MP_OK))
        fail_msg("%s", err.text);
    mp_run_options options = more ? *more : (mp_run_options){0};
    options.subject = &subject;
    options.settings.plain = true;
    mp_verdict_free(&verdict);
    mp_run_case(&matrix.rows[0], &options, &verdict);
    mp_matrix_free(&matrix);
    return &verdict;
}

static const mp_verdict *judge(const char *text, const char *pair, spoiler *spoil, bool unordered,
                               const mp_run_options *more) {
    return judge_by((spoiled){.spoil = spoil, .unordered = unordered}, text, pair, more);
}

static void expect_failure(const mp_verdict *v, mp_check check, const char *where) {
    if (v->outcome != MP_FAIL || v->check[check].answer != MP_FAILED)
        fail_msg("%s: %s", mp_outcome_name(v->outcome), v->reason);
    if (!strstr(v->check[check].text, where))
        fail_msg("'%s' does not name '%s'", v->check[check].text, where);
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

/* ---- what a contract promises ---- */

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

/* What is available is shared by the workers, and each of both subjects must fit in. */
static void a_case_without_room_is_skipped(void **state) {
    (void)state;
    static const struct {
        int percent, jobs;
        mp_outcome outcome;
    } rows[] = {{60, 0, MP_PASS}, {60, 1, MP_PASS}, {60, 2, MP_SKIP}, {20, 2, MP_PASS}, {20, 8, MP_SKIP}};
    const char *text = "M=4 topk=2 K=32 N=16 act=silu";
    const size_t available = mp_memory_available();
    if (available == 0) skip(); /* not known here */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const spoiled self = {.host_bytes = available / 100 * (size_t)rows[i].percent};
        expect_plan(judge_by(self, text, NULL, &(mp_run_options){.settings.jobs = rows[i].jobs}),
                    rows[i].outcome);
    }
    for (int large = 0; large < 2; large++) {
        spoiled other = {.host_bytes = large ? 2 * available : 0};
        mp_subject against = spoiled_subject(&other, "other");
        expect_plan(judge_by((spoiled){0}, text, NULL, &(mp_run_options){.against = &against}),
                    large ? MP_SKIP : MP_PASS);
    }
}

/* ---- goldens ---- */

/* Records the case by the honest host, with one tensor changed by `edit` or left out, under the contract of
 * this name (NULL: the host's). */
static mp_golden *golden_of(const char *path, const char *text, const char *as_contract,
                            mp_tensor_id left_out, void (*edit)(mp_trace *trace)) {
    mp_case c = mp_case_default();
    mp_error err = {0};
    mp_inputs in;
    mp_trace trace;
    mp_subject host;
    mp_offer offer;
    mp_surroundings_report report;
    mp_golden *golden = NULL;
    const mp_provenance who = {.subject = "host"};
    assert_int_equal(mp_case_parse(&c, text, &err), MP_OK);
    assert_int_equal(mp_subject_open("host", &host, &err), MP_OK);
    assert_int_equal(mp_subject_describe(&host, &c, &offer, &err), MP_OK);
    assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
    assert_int_equal(mp_run_surrounded(&host, &c, &offer, &in, MP_POISON_A, &trace, &report, &err), MP_OK);
    if (as_contract) assert_int_equal(mp_contract_preset(as_contract, &c, &offer.contract, &err), MP_OK);
    assert_int_equal(mp_golden_create(path, &who, SIZE_MAX, &golden, &err), MP_OK);
    mp_trace part = trace;
    if (left_out < MP_TENSOR_COUNT) part.t[left_out].data = NULL;
    if (edit) edit(&part);
    assert_int_equal(mp_golden_write(golden, &c, &offer.contract, "", &part, NULL, &err), MP_OK);
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
    snprintf(path, sizeof path, "run_case.tmp.%d.h5", (int)getpid());
    const mp_case c = mp_case_default();
    for (int left_out = 0; left_out <= MP_TENSOR_COUNT; left_out++) {
        const bool output = left_out == MP_TENSOR_COUNT || mp_case_outputs(&c) & MP_IN_SET(left_out);
        if (!output || left_out < MP_CACHE1) continue; /* align's are told otherwise */
        mp_golden *golden = golden_of(path, text, NULL, (mp_tensor_id)left_out, NULL);
        const mp_run_options options = {.golden = golden,
                                        .settings = {.golden = path, .golden_required = true}};
        const mp_verdict *v = judge(text, NULL, NULL, false, &options);
        if (left_out < MP_TENSOR_COUNT)
            expect_failure(v, MP_CHECK_GOLDEN, mp_tensor_name((mp_tensor_id)left_out));
        else
            assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
        mp_golden_close(golden);
    }
    unlink(path);
}

/* What a verification leaves out is told as not measured, and is all that it leaves out. */
static void a_verification_measures_all_but_end_to_end(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 act=silu";
    char path[64];
    snprintf(path, sizeof path, "run_case.tmp.%d.h5", (int)getpid());
    mp_golden *golden = golden_of(path, text, NULL, MP_TENSOR_COUNT, NULL);
    const mp_case c = mp_case_default();
    mp_run_options options = {.golden = golden, .settings = {.golden = path}};
    const mp_verdict *run = judge(text, NULL, NULL, false, &options);
    assert_int_equal(run->outcome, MP_PASS);
    assert_true(run->end_to_end.compared > 0);
    assert_true(run->end_to_end.max_abs > 0 && run->end_to_end.max_row_rms > 0);
    mp_answer answer[MP_CHECK_COUNT];
    int64_t compared[MP_STAGE_COUNT];
    for (int i = 0; i < MP_CHECK_COUNT; i++) answer[i] = run->check[i].answer;
    for (int i = 0; i < MP_STAGE_COUNT; i++) compared[i] = run->stage[i].compared;

    options.settings.golden_required = true;
    const mp_verdict *v = judge(text, NULL, NULL, false, &options);
    assert_int_equal(v->outcome, MP_PASS);
    assert_int_equal(v->end_to_end.compared, 0);
    assert_true(isnan(v->end_to_end.max_abs) && isnan(v->end_to_end.max_row_rms));
    for (int i = 0; i < MP_CHECK_COUNT; i++) assert_int_equal(v->check[i].answer, answer[i]);
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        assert_int_equal(v->stage[i].compared, compared[i]);
        assert_int_equal(v->stage[i].judged, mp_case_has_stage(&c, (mp_stage)i));
    }
    mp_golden_close(golden);
    unlink(path);
}

static bool strict; /* the runs beside a golden are strict */

/* Judges the case against a golden of it. */
static const mp_verdict *judge_beside(spoiled self, const char *text, const char *as_contract,
                                      void (*edit)(mp_trace *trace), bool whole) {
    char path[64];
    snprintf(path, sizeof path, "run_case.tmp.%d.h5", (int)getpid());
    mp_golden *golden = golden_of(path, text, as_contract, MP_TENSOR_COUNT, edit);
    const mp_run_options options = {.golden = golden,
                                    .settings = {.golden = path, .golden_partial = !whole, .strict = strict}};
    const mp_verdict *v = judge_by(self, text, NULL, &options);
    mp_golden_close(golden);
    unlink(path);
    return v;
}

static void exchange_ids(mp_trace *trace) {
    int32_t *sorted = trace->t[MP_SORTED_TOKEN_IDS].data;
    const int32_t first = sorted[0];
    sorted[0] = sorted[1];
    sorted[1] = first;
}

static void fewer_tokens(mp_trace *trace) {
    trace->t[MP_OUT].dim[0]--;
}

static void promise_unordered_sum(mp_contract *contract) {
    contract->promise[MP_COMBINE] = (mp_stage_promise){MP_BITS_NONE, false, false};
}

static void other_cache(mp_trace *trace) {
    ((uint16_t *)trace->t[MP_CACHE1].data)[3] ^= 1;
}

static void other_sum(mp_trace *trace) {
    ((uint16_t *)trace->t[MP_OUT].data)[9] ^= 1;
}

static void what_differs_from_a_golden_is_found(void **state) {
    (void)state;
    const char *text = "M=8 E=1 topk=1 K=32 N=16 rsf=2";
    assert_int_equal(judge_beside((spoiled){0}, text, NULL, NULL, true)->check[MP_CHECK_GOLDEN].answer,
                     MP_PASSED);
    expect_failure(judge_beside((spoiled){0}, text, NULL, exchange_ids, false), MP_CHECK_GOLDEN,
                   "sorted_token_ids: align: sorted_token_ids[0] of chunk 0: 0 (00000000) instead of 1 "
                   "(00000001); 2 of ");
    expect_failure(judge_beside((spoiled){0}, text, NULL, fewer_tokens, false), MP_CHECK_GOLDEN,
                   "out: bf16[7,32] -> bf16[8,32]");
    expect_failure(judge_beside((spoiled){0}, text, NULL, other_sum, false), MP_CHECK_GOLDEN,
                   "out: combine: token 0 column 9: ");
}

/* Another tile pads otherwise: the ids, and in sorted layout the caches, have other rows then. The rest must
 * still be equal. */
static void another_tile_is_compared_where_it_can_be(void **state) {
    (void)state;
    static const char *const texts[] = {"M=8 topk=2 K=32 N=16 act=silu",
                                        "M=8 topk=2 K=32 N=16 act=silu layout=sorted"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(judge_beside((spoiled){.block_size_m = 128}, texts[i], NULL, NULL, true)
                             ->check[MP_CHECK_GOLDEN]
                             .answer,
                         MP_PASSED);
        expect_failure(judge_beside((spoiled){.block_size_m = 128}, texts[i], NULL, other_sum, true),
                       MP_CHECK_GOLDEN, "out: combine: token 0 column 9: ");
    }
}

/* A golden of another contract promises nothing, whatever its bits are: it fails, or where a part is enough
 * it is not judged. */
static void a_golden_that_promises_nothing_does_not_pass(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16 act=silu";
    const mp_verdict *v = judge_beside((spoiled){0}, text, "ieee-any-order", other_sum, false);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_NOT_JUDGED);
    assert_non_null(
        strstr(v->check[MP_CHECK_GOLDEN].text, "recorded under another contract (accumulator: IEEE"));
    expect_failure(judge_beside((spoiled){0}, text, "ieee-any-order", other_sum, true), MP_CHECK_GOLDEN,
                   "; out: combine: token 0 column 9: ");
    expect_failure(judge_beside((spoiled){0}, text, "ieee-any-order", NULL, true), MP_CHECK_GOLDEN,
                   "; every bit is equal");
    v = judge_beside((spoiled){0}, text, "ieee-any-order", NULL, false);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_NOT_JUDGED);
    /* a stage that promises nothing of its bits takes its own tensor out, and those behind it */
    v = judge_beside((spoiled){.unordered = true}, text, NULL, other_sum, false);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_NOT_JUDGED);
    assert_non_null(strstr(v->check[MP_CHECK_GOLDEN].text, "out (the order of additions is not fixed)"));
    v = judge_beside((spoiled){.promise = promise_unordered_sum}, text, NULL, other_sum, true);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text,
                        "not compared: out (the order of additions is not fixed)");
    expect_failure(judge_beside((spoiled){.promise = promise_unordered_sum}, text, NULL, other_cache, true),
                   MP_CHECK_GOLDEN, "cache1: gate_up: token 0 slot 0 column 3, ");
}

/* What the golden holds and the subject does not show is named, and what is shown must be equal. A strict run
 * has asked for all of it, unless a part is enough. */
static void what_a_subject_hides_from_a_golden_is_told(void **state) {
    (void)state;
    const char *text = "M=8 topk=2 K=32 N=16 act=silu";
    const spoiled out_alone = {.hides = ~MP_IN_SET(MP_OUT)},
                  most = {.hides = MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE2)},
                  less = {.hides = MP_IN_SET(MP_CACHE1), .promise = promise_unordered_sum};
    const mp_verdict *v = judge_beside(out_alone, text, NULL, NULL, true);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text,
                        "the subject does not show sorted_token_ids, expert_ids, num_tokens_post_padded, "
                        "cache1, cache2, cache3");
    v = judge_beside(less, text, NULL, NULL, true);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text,
                        "not compared: out (the order of additions is not fixed); the subject does not show "
                        "cache1");
    expect_failure(judge_beside(out_alone, text, NULL, other_sum, true), MP_CHECK_GOLDEN, "out: combine: ");
    expect_failure(judge_beside(most, text, "ieee-any-order", NULL, true), MP_CHECK_GOLDEN,
                   "; what could be compared is equal");
    strict = true;
    expect_failure(judge_beside(most, text, NULL, NULL, true), MP_CHECK_GOLDEN,
                   "strict: not judged: the subject does not show cache1, cache2");
    v = judge_beside(most, text, NULL, NULL, false);
    assert_int_equal(v->outcome, MP_PASS);
    assert_int_equal(v->check[MP_CHECK_GOLDEN].answer, MP_PASSED);
    assert_string_equal(v->check[MP_CHECK_GOLDEN].text, "the subject does not show cache1, cache2");
    assert_int_equal(judge_beside((spoiled){0}, text, NULL, NULL, true)->outcome, MP_PASS);
    strict = false;
}

static mp_status says_nothing(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    return mp_config_resolve(c, NULL, &offer->config, err);
}

/* A subject that names no contract has promised what any sane kernel meets. */
static void without_a_contract_it_is_any(void **state) {
    (void)state;
    mp_subject subject = {.name = "silent", .describe = says_nothing, .run = spoiled_run};
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
        mp_error err = {0};
        mp_matrix matrix = {0};
        mp_subject host;
        snprintf(text, sizeof text, "M=32 topk=4 act=silu K=96 N=96 data=%s", families[i / COUNT]);
        snprintf(after, sizeof after, "data=%s", families[i % COUNT]);
        assert_int_equal(mp_matrix_add(&matrix, text, NULL, 0, &err), MP_OK);
        assert_int_equal(mp_matrix_add_after(&matrix, text, after, &err), MP_OK);
        assert_int_equal(mp_subject_open("host", &host, &err), MP_OK);
        const mp_run_options options = {.subject = &host, .settings = {.plain = true, .repeat = 1}};
        mp_verdict_free(&verdict);
        mp_run_case(&matrix.rows[0], &options, &verdict);
        if (verdict.check[MP_CHECK_SEQUENCE].answer != MP_PASSED)
            fail_msg("%s, after %s: %s", text, after, verdict.check[MP_CHECK_SEQUENCE].text);
        mp_subject_close(&host);
        mp_matrix_free(&matrix);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_weights_of_another_family_are_not_exact),
        cmocka_unit_test(a_sum_of_one_term_has_no_minus_zero),
        cmocka_unit_test(counts_are_judged_without_the_list_of_slots),
        cmocka_unit_test(a_pair_without_tokens_has_nothing_to_compare),
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
        cmocka_unit_test(promised_zeros_are_looked_at),
        cmocka_unit_test(promised_zeros_are_predicted),
        cmocka_unit_test(what_is_not_promised_is_not_compared),
        cmocka_unit_test(a_variant_has_a_contract_of_its_own),
        cmocka_unit_test(the_nan_of_a_clamp_is_what_the_contract_says),
        cmocka_unit_test(a_span_knows_of_clamped_nans),
        cmocka_unit_test(a_stage_without_a_bound_leaves_the_check_open),
        cmocka_unit_test(a_case_without_a_bound_is_skipped),
        cmocka_unit_test(an_input_overwritten_in_any_run_is_seen),
        cmocka_unit_test(a_tile_that_a_variant_names_must_run),
        cmocka_unit_test(a_tile_that_is_not_offered_is_not_judged),
        cmocka_unit_test(every_stage_is_told_while_it_goes_on),
        cmocka_unit_test(a_case_runs_behind_one_of_another_family),
        cmocka_unit_test(a_case_without_room_is_skipped),
        cmocka_unit_test(what_differs_from_a_golden_is_found),
        cmocka_unit_test(another_tile_is_compared_where_it_can_be),
        cmocka_unit_test(what_a_subject_hides_from_a_golden_is_told),
        cmocka_unit_test(a_golden_that_promises_nothing_does_not_pass),
        cmocka_unit_test(a_golden_that_lacks_a_tensor_verifies_nothing),
        cmocka_unit_test(a_verification_measures_all_but_end_to_end),
        cmocka_unit_test(without_a_contract_it_is_any),
        cmocka_unit_test(wrong_tiles_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
