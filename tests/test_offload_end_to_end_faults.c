/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline of offload/ with one kernel that is wrong: figures that it makes are refused, for they are not
 * those of the CPU. The device is that of tests/fake_cuda.h. */
#include "offload/device/balls.h"
#include "offload/device/params.h"
#include "offload/device/steps.h"
#include "tests/end_to_end_support.h"
#include "tests/fake_cuda.h"

#include <stdio.h>
#include <string.h>

static bool is(const char *entry, const char *name) {
    return strcmp(entry, name) == 0;
}

/* What lies there moves along by `by` bytes, and what leaves comes in again. */
static void rotate(CUdeviceptr at, long long bytes, long long by) {
    char *data = fake_memory(at), kept[256];
    memcpy(kept, data, (size_t)by);
    memmove(data, data + by, (size_t)(bytes - by));
    memcpy(data + bytes - by, kept, (size_t)by);
}

enum { TOKENS = 64, TOPK = 2, EXPERTS = 4, K = 64 };

/* Memory that nobody reads. */
static CUdeviceptr spare(void) {
    static double memory[TOKENS * TOPK];
    return (CUdeviceptr)(uintptr_t)memory;
}

static void filter_second_slots(CUdeviceptr topk_ids) {
    for (int t = 1; t < TOKENS * TOPK; t += TOPK) ((int *)fake_memory(topk_ids))[t] = -1;
}

/* Rows of activations that a GEMM of balls multiplies, and for each the rule beside for both. */
static long long rows_of(const mp_sum_balls_params *p) {
    return TOKENS * TOPK / p->slots_of_row;
}
static void one_rule_for_both(const mp_sum_balls_params *p) {
    mp_ball_sum_rule *rules = fake_memory(p->rules);
    for (long long r = 0; r < rows_of(p); r++) rules[2 * r] = rules[2 * r + 1];
}

#define PLANT(name, wrong_entry, type, change)                         \
    static void name(const char *entry, const void *params) {          \
        type p;                                                        \
        if (!is(entry, wrong_entry)) return fake.right(entry, params); \
        memcpy(&p, params, sizeof p);                                  \
        change;                                                        \
        fake.right(entry, &p);                                         \
    }
PLANT(without_the_clamp_of_up, "activate", mp_act64_params, p.act.clamps_up = 0)
PLANT(without_the_clamp_of_gate, "activate", mp_act64_params, p.act.clamps_gate = 0)
PLANT(without_the_clamp_of_silu, "activate", mp_act64_params, p.act.clamps_result = 0)
PLANT(up_of_the_next_element, "activate", mp_act64_params, p.up = 1)
PLANT(exp_of_another_beta, "activate", mp_act64_params, p.act.beta *= 1 + 0x1p-30)
PLANT(bias_left_out, "epilogue", mp_epilogue64_params, p.bias = 0)
PLANT(bias_of_the_next_column, "epilogue", mp_epilogue64_params, rotate(p.bias, EXPERTS *p.width * 2, 2))
PLANT(a_column_left_out, "epilogue", mp_epilogue64_params, p.n--)
PLANT(weights_of_the_token_behind, "measure_tokens", mp_output64_params,
      rotate(p.weights, TOKENS *TOPK * 4, TOPK * 4))
PLANT(weights_of_the_token_behind_in_down, "epilogue", mp_epilogue64_params,
      if (p.weights) rotate(p.weights, TOKENS *TOPK * 4, TOPK * 4))
PLANT(shared_output_left_out, "measure_tokens", mp_output64_params, p.shared = 0)
PLANT(another_scale, "measure_tokens", mp_output64_params, p.rsf *= 1 + 0x1p-30)
PLANT(the_output_of_the_token_behind, "measure_tokens", mp_output64_params,
      rotate(p.stored, TOKENS *K * 2, K * 2))
PLANT(a_slot_left_out, "measure_tokens", mp_output64_params, p.topk--)
PLANT(a_token_left_out, "measure_tokens", mp_output64_params, p.tokens--)
PLANT(slots_that_have_no_expert, "measure_tokens", mp_output64_params, filter_second_slots(p.topk_ids))

/* Balls. */
PLANT(radius_of_codes_halved, "quantise_balls", mp_quant_balls_params, p.rule.spread.halves_of_code /= 2)
PLANT(scales_of_the_row_behind, "quantise_balls", mp_quant_balls_params,
      rotate(p.groups, p.rows *(long long)sizeof(mp_quant_group), sizeof(mp_quant_group)))
PLANT(x_of_the_token_behind, "quantise_balls", mp_quant_balls_params,
      if (p.x) rotate(p.x, TOKENS *K * 2, K * 2))
PLANT(a_slot_that_counts_alone, "quantise_balls", mp_quant_balls_params, p.slots = 1)
PLANT(the_smallest_reach, "quantise_balls", mp_quant_balls_params, p.reach = spare())
PLANT(rules_of_the_row_behind, "sum_balls", mp_sum_balls_params,
      rotate(p.rules, rows_of(&p) * 2 * (long long)sizeof(mp_ball_sum_rule), 2 * sizeof(mp_ball_sum_rule)))
PLANT(the_rule_of_codes_for_both, "sum_balls", mp_sum_balls_params, one_rule_for_both(&p))
PLANT(ball_bias_left_out, "sum_balls", mp_sum_balls_params, p.bias = 0)
PLANT(ball_weights_left_out, "sum_balls", mp_sum_balls_params, p.weights = 0)
PLANT(a_store_that_is_exact, "sum_balls", mp_sum_balls_params, p.store.rounds = 0)
PLANT(a_format_that_ends_at_one, "sum_balls", mp_sum_balls_params, p.store.most = 1)
PLANT(ball_up_of_the_next_element, "activate_balls", mp_act_balls_params, p.up = 1)
PLANT(another_error_of_exp, "activate_balls", mp_act_balls_params, p.rule.eps *= 2)
PLANT(codes_by_the_contract, "activate_balls", mp_act_balls_params, p.beside = p.rule)
PLANT(ball_clamp_left_out, "activate_balls", mp_act_balls_params, p.rule.form.clamps_up = 0)
PLANT(an_activation_that_is_exact, "activate_balls", mp_act_balls_params, p.store.rounds = 0)
PLANT(ball_weights_of_the_token_behind, "bound_tokens", mp_output_balls_params,
      rotate(p.weights, TOKENS *TOPK * 4, TOPK * 4))
PLANT(ball_shared_left_out, "bound_tokens", mp_output_balls_params, p.shared = 0)
PLANT(another_scale_of_balls, "bound_tokens", mp_output_balls_params, p.range.rule.rsf *= 1 + 0x1p-30)
PLANT(additions_that_are_exact, "bound_tokens", mp_output_balls_params, p.range.rule.u = 0)
PLANT(an_output_that_is_exact, "bound_tokens", mp_output_balls_params, p.store.rounds = 0)
PLANT(a_bound_that_is_large, "bound_tokens", mp_output_balls_params, p.store.places.unit *= 2)
PLANT(balls_of_the_output_behind, "bound_tokens", mp_output_balls_params,
      rotate(p.stored, TOKENS *K * 2, K * 2))
PLANT(a_slot_of_balls_left_out, "bound_tokens", mp_output_balls_params, p.topk--)
PLANT(a_token_of_balls_left_out, "bound_tokens", mp_output_balls_params, p.tokens--)

/* Radii that are too small by 2^-30. */
static void smaller_radii(const char *entry, const void *params) {
    const mp_gemm64_params *p = params;
    fake.right(entry, params);
    if (!is(entry, "gemm_absolute")) return;
    const mp_row_tile *tile = fake_memory(p->tiles);
    double *value = fake_memory(p->value);
    for (long long t = 0; t < p->tile_count; t++)
        for (long long i = 0; i < tile[t].count * p->n; i++)
            value[(tile[t].row - tile[0].row) * p->n + i] *= 1 - 0x1p-30;
}

/* Of all tokens but the bounds are made, which are then the ones of before. */
static void bounds_left_out(const char *entry, const void *params) {
    const mp_output_balls_params *p = params;
    if (!is(entry, "bound_tokens")) {
        fake.right(entry, params);
        return;
    }
    mp_bound_figures *bounds = fake_memory(p->bounds), kept = bounds[p->tokens - 1];
    fake.right(entry, params);
    bounds[p->tokens - 1] = kept;
}

static void nothing(const char *entry, const void *params) {
    fake.right(entry, params);
}

static const struct {
    const char *name;
    void (*execute)(const char *entry, const void *params);
    const char *text, *says;
} planted[] = {
    {"nothing", nothing, "", NULL},
    {"clamp of up", without_the_clamp_of_up, "act=clamp_silu limit=0.05", "token"},
    {"clamp of gate", without_the_clamp_of_gate, "act=clamp_silu limit=0.05", "token"},
    {"clamp of silu", without_the_clamp_of_silu, "act=silu_clamp limit=0.05", "token"},
    {"another up", up_of_the_next_element, "", "token"},
    {"another beta", exp_of_another_beta, "", "token"},
    {"no bias", bias_left_out, "bias=1", "token"},
    {"bias of the next column", bias_of_the_next_column, "bias=1", "token"},
    {"a column left out", a_column_left_out, "", "token"},
    {"other weights in combine", weights_of_the_token_behind, "apply_router_weight_in_combine=1", "token"},
    {"other weights in down", weights_of_the_token_behind_in_down, "", "token"},
    {"no shared output", shared_output_left_out, "shared=add", "token"},
    {"another scale", another_scale, "rsf=2.5", "token"},
    {"another output", the_output_of_the_token_behind, "", "token"},
    {"a slot left out", a_slot_left_out, "mode=no_combine", "measured 64 of 128 elements of token 0"},
    {"a slot left out of the sum", a_slot_left_out, "", "token"},
    {"a token left out", a_token_left_out, "", "measured 0 of 64 elements of token 63"},
    {"a filtered slot", slots_that_have_no_expert, "", "token"},
    {"nothing", nothing, "quant=fp8-channel", NULL},
    {"half a code", radius_of_codes_halved, "quant=fp8-channel", "sums of bounds"},
    {"other scales", scales_of_the_row_behind, "quant=fp8-channel", "sums of bounds"},
    {"another x", x_of_the_token_behind, "quant=fp8-channel", "norm of values"},
    {"rows read by others' slots", a_slot_that_counts_alone, "quant=fp8-channel filter=0.5", "token"},
    {"no reach", the_smallest_reach, "quant=fp8-channel", "sums of bounds"},
    {"rules of another row", rules_of_the_row_behind, "quant=fp8-channel data=wide", "token"},
    {"the rule of codes", the_rule_of_codes_for_both, "quant=fp8-channel", "sums of bounds"},
    {"no bias of balls", ball_bias_left_out, "quant=fp8-channel bias=1", "norm of values"},
    {"no weights of balls", ball_weights_left_out, "quant=fp8-channel", "norm of values"},
    {"stores that are exact", a_store_that_is_exact, "quant=fp8-channel", "sums of bounds"},
    {"a format that ends at one", a_format_that_ends_at_one, "quant=fp8-channel", "sums of bounds"},
    {"another up of balls", ball_up_of_the_next_element, "quant=fp8-channel", "norm of values"},
    {"another exp", another_error_of_exp, "quant=fp8-channel", "sums of bounds"},
    {"codes by the contract", codes_by_the_contract, "quant=fp8-channel", "sums of bounds"},
    {"no clamp of balls", ball_clamp_left_out, "quant=fp8-channel act=clamp_silu limit=0.05", "token"},
    {"an exact activation", an_activation_that_is_exact, "quant=fp8-channel", "sums of bounds"},
    {"other weights of balls", ball_weights_of_the_token_behind,
     "quant=fp8-channel apply_router_weight_in_combine=1", "norm of values"},
    {"no shared output of balls", ball_shared_left_out, "quant=fp8-channel shared=add", "norm of values"},
    {"another scale of balls", another_scale_of_balls, "quant=fp8-channel rsf=2.5", "token"},
    {"exact additions", additions_that_are_exact, "quant=fp8-channel", "sums of bounds"},
    {"an exact output", an_output_that_is_exact, "quant=fp8-channel", "sums of bounds"},
    {"a larger bound", a_bound_that_is_large, "quant=fp8-channel", "sums of bounds"},
    {"another output of balls", balls_of_the_output_behind, "quant=fp8-channel", "norm of values"},
    {"a slot of balls left out", a_slot_of_balls_left_out, "quant=fp8-channel", "token"},
    {"a token of balls left out", a_token_of_balls_left_out, "quant=fp8-channel",
     "measured 0 of 64 elements of token 63"},
    {"smaller radii", smaller_radii, "quant=fp8-channel", "sums of bounds"},
    {"bounds that are not written", bounds_left_out, "quant=fp8-channel", "no bounds of token 63"},
};

static void each_is_refused(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *offload;
    if (mp_offload_open(4, &offload, &err) != MP_OK) fail_msg("%s", err.text);
    for (size_t i = 0; i < COUNT(planted); i++) {
        char text[160];
        host_run r;
        mp_stage_figures figures;
        snprintf(text, sizeof text, "M=64 E=4 topk=2 K=64 N=32 %s", planted[i].text);
        host_run_create(&r, text, offload);
        fake.execute = planted[i].execute;
        err = (mp_error){0};
        const mp_status status = end_to_end_by(&r, mp_offload_engine(offload), &figures, &err);
        fake.execute = fake.right;
        print_message("%-28s %s\n", planted[i].name, err.text);
        assert_int_equal(status, planted[i].says ? MP_EDEVICE : MP_OK);
        if (planted[i].says) assert_non_null(strstr(err.text, planted[i].says));
        host_run_free(&r, offload);
    }
    mp_offload_close(offload);
    assert_int_equal(fake.live, 0);
}

/* Errors that nobody made. */
static void larger_errors(const char *entry, const void *params) {
    const mp_output_balls_params *p = params;
    fake.right(entry, params);
    if (!is(entry, "bound_tokens")) return;
    mp_token_figures *figures = fake_memory(p->figures);
    for (long long m = 0; m < p->tokens; m++) figures[m].max_abs *= 2;
}

static bool alike(double a, double b) {
    return fabs(a - b) <= 1e-9 * fabs(b);
}

/* What a device says, whose kernels are wrong so, is refused, or the CPU's own figures are there instead. */
static mp_status judged_by(void (*wrong)(const char *entry, const void *params), const char *text) {
    mp_error err = {0};
    mp_offload *offload;
    host_run r;
    mp_stage_figures by_device, by_cpu;
    if (mp_offload_open(4, &offload, &err) != MP_OK) fail_msg("%s", err.text);
    host_run_create(&r, text, offload);
    const int launched = fake.launched;
    fake.execute = wrong;
    const mp_status status = end_to_end_by(&r, mp_offload_engine(offload), &by_device, &err);
    fake.execute = fake.right;
    assert_true(fake.launched > launched);
    if (status != MP_EDEVICE) {
        assert_int_equal(status, MP_OK);
        if (end_to_end_by(&r, mp_engine_of_cpu(), &by_cpu, &err)) fail_msg("%s", err.text);
        if (!alike(by_device.max_abs, by_cpu.max_abs) || !alike(by_device.max_ratio, by_cpu.max_ratio))
            fail_msg("%s: not seen", text);
    }
    host_run_free(&r, offload);
    mp_offload_close(offload);
    return status;
}

/* Tokens that go nowhere, or have no number but zero, say nothing of a device: others are compared. */
static void what_says_nothing_is_not_compared_alone(void **state) {
    (void)state;
    enum { SEEDS = 12 };
    static const struct {
        const char *text;
        void (*execute)(const char *entry, const void *params);
        int least; /* of the seeds */
    } of[] = {
        {"M=40 topk=1 filter=0.5 quant=fp8-channel", a_bound_that_is_large, SEEDS},
        {"M=40 topk=1 filter=0.9", exp_of_another_beta, SEEDS},
        {"M=300 topk=1 filter=0.9 quant=fp8-channel", a_bound_that_is_large, SEEDS},
        {"M=5 topk=2 data=special quant=nvfp4 dtype=fp16", a_bound_that_is_large, 1},
        {"M=5 topk=2 data=special rsf=2.5", another_scale, 1},
    };
    for (size_t i = 0; i < COUNT(of); i++) {
        int refused = 0;
        for (int seed = 0; seed < SEEDS; seed++) {
            char text[160];
            snprintf(text, sizeof text, "E=4 K=64 N=32 %s seed=%d", of[i].text, seed);
            refused += judged_by(of[i].execute, text) == MP_EDEVICE;
        }
        if (refused < of[i].least) fail_msg("%s: %d refused", of[i].text, refused);
    }
}

/* Where no radius of what the CPU computes is finite, figures would be compared with nothing: the CPU makes
 * its own, whatever the device says. */
static void what_cannot_be_compared_the_cpu_measures(void **state) {
    (void)state;
    assert_int_equal(
        judged_by(larger_errors, "M=4 E=4 topk=2 K=320 N=192 dtype=fp16 data=integer quant=nvfp4"), MP_OK);
}

/* Every call of the driver fails once: figures are right, or there are none, and nothing is left behind. */
static void every_call_of(const char *text) {
    mp_error err = {0};
    mp_stage_figures expected, figures;
    int calls = 0, refused = 0;
    for (int n = -1; n < calls || n < 0; n++) {
        mp_offload *offload;
        host_run r;
        fake.failing = -1;
        if (mp_offload_open(4, &offload, &err) != MP_OK) fail_msg("%s", err.text);
        host_run_create(&r, text, offload);
        fake.calls = 0;
        fake.failing = n;
        err = (mp_error){0};
        const mp_status status = end_to_end_by(&r, mp_offload_engine(offload), &figures, &err);
        if (n < 0) calls = fake.calls;
        if (n < 0) expected = figures;
        if (status == MP_OK) assert_true(figures.max_abs == expected.max_abs);
        if (status != MP_OK) assert_true(status == MP_EDEVICE && err.status == status && err.text[0]);
        refused += status != MP_OK;
        fake.failing = -1;
        host_run_free(&r, offload);
        mp_offload_close(offload);
        assert_int_equal(fake.live, 0);
    }
    assert_true(calls > 60 && refused > calls / 2);
}

static void every_call_may_fail(void **state) {
    (void)state;
    every_call_of("M=2 E=4 topk=2 K=16 N=8 shared=add bias=1");
    every_call_of("M=2 E=4 topk=2 K=16 N=8 quant=fp8-channel");
}

static size_t no_room(void) {
    return ((size_t)1 << 30) - ((size_t)64 << 20);
}

/* Without room the CPU makes the figures. */
static void without_memory_the_cpu_measures(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *offload;
    host_run r;
    mp_stage_figures by_device, by_cpu;
    if (mp_offload_open(4, &offload, &err) != MP_OK) fail_msg("%s", err.text);
    host_run_create(&r, "M=64 E=4 topk=2 K=64 N=32", offload);
    fake.used = no_room;
    const int launched = fake.launched;
    if (end_to_end_by(&r, mp_offload_engine(offload), &by_device, &err)) fail_msg("%s", err.text);
    assert_int_equal(fake.launched, launched);
    fake.used = NULL;
    if (end_to_end_by(&r, mp_engine_of_cpu(), &by_cpu, &err)) fail_msg("%s", err.text);
    assert_true(by_device.max_abs == by_cpu.max_abs && by_device.max_row_rms == by_cpu.max_row_rms);
    host_run_free(&r, offload);
    mp_offload_close(offload);
}

/* What stays on the device needs no memory of the host. */
static void nothing_is_pinned(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *offload;
    host_run r;
    mp_stage_figures figures;
    if (mp_offload_open(4, &offload, &err) != MP_OK) fail_msg("%s", err.text);
    host_run_create(&r, "M=64 E=4 topk=2 K=64 N=32", offload);
    const size_t before = fake.pinned;
    const int launched = fake.launched;
    if (end_to_end_by(&r, mp_offload_engine(offload), &figures, &err)) fail_msg("%s", err.text);
    assert_true(fake.launched > launched && figures.max_abs > 0);
    assert_int_equal(fake.pinned, before);
    host_run_free(&r, offload);
    mp_offload_close(offload);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_is_refused),
                                       cmocka_unit_test(what_says_nothing_is_not_compared_alone),
                                       cmocka_unit_test(what_cannot_be_compared_the_cpu_measures),
                                       cmocka_unit_test(every_call_may_fail),
                                       cmocka_unit_test(without_memory_the_cpu_measures),
                                       cmocka_unit_test(nothing_is_pinned)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
