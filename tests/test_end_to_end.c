/* SPDX-License-Identifier: Apache-2.0 */
/* The output against float64 that quantises no activation: the composed bound holds for every scheme, is
 * nearly reached where errors cannot cancel, and is left by a fault. */
#include "cases/scheme.h"
#include "harness/judge/judge.h"
#include "moeparity/run_case.h"
#include "tests/faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static mp_verdict verdict; /* large */

static const mp_verdict *judge_under(const fault *f, const char *contract, const char *text) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    if (mp_matrix_add(&matrix, text, NULL, 0, &err) != MP_OK) fail_msg("%s: %s", text, err.text);
    mp_subject subject = faulty_open_under(f, contract, 0);
    const mp_run_options options = {.subject = &subject};
    mp_verdict_free(&verdict);
    mp_run_case(&matrix.rows[0], &options, &verdict);
    mp_subject_close(&subject);
    mp_matrix_free(&matrix);
    return &verdict;
}

static const mp_verdict *judge(const fault *f, const char *text) {
    return judge_under(f, "", text);
}

static const fault nothing = {.name = "nothing wrong"};

/* Sums of 96 and 64 terms: a hundredth of the bound is usual. One term, onehot, reaches it nearly; what is
 * then left is that a code is rarely as far from its number as it can be. */
static void the_bound_holds_for_every_scheme(void **state) {
    (void)state;
    static const char *const ways[] = {
        "data=normal",
        "data=onehot",
        "data=wide",
        "data=special",
        "data=integer",
        "dtype=fp16 act=swiglu_oai interleaved=1 bias=1 filter=0.4 layout=sorted",
        "layout=masked filter=0.3 rsf=2.5",
        "mode=no_combine filter=0.3",
        "topk=1 apply_router_weight_on_input=1",
        "routing=padded path=runner",
        "fused_sum=1 topk=4"};
    for (int s = 0; s < MP_SCHEME_COUNT; s++) {
        if (!mp_schemes[s].quantises_activations) continue;
        double most = 0;
        for (size_t w = 0; w < COUNT(ways); w++) {
            char text[256];
            snprintf(text, sizeof text, "M=7 E=4 K=96 N=64 quant=%s %s", mp_schemes[s].name, ways[w]);
            const mp_verdict *v = judge(&nothing, text);
            const mp_stage_figures *f = &v->end_to_end;
            if (v->outcome != MP_PASS) fail_msg("%s: %s", text, v->reason);
            if (f->failed || !(f->max_ratio <= 1))
                fail_msg("%s: %lld elements beyond the bound, by %g", text, (long long)f->failed,
                         f->max_ratio);
            /* One Inf leaves nothing known of rows that share a scale with it. */
            if (f->quant_bound == 0 && strstr(text, "data=special")) continue;
            if (!(f->quant_bound > 0) || !isfinite(f->quant_bound)) fail_msg("%s: no bound", text);
            /* Not absurd: errors of so few terms are no ten thousandth of what they may be. */
            if (!(f->max_ratio > 1e-4)) fail_msg("%s: %g of the bound", text, f->max_ratio);
            if (w == 0) print_message("%-18s normal %.4f", mp_schemes[s].name, f->max_ratio);
            if (w == 1) print_message("  onehot %.4f", f->max_ratio);
            most = fmax(most, f->max_ratio);
        }
        print_message("  most %.4f\n", most);
        assert_true(most > 0.1);
    }
}

/* Of another's quantiser, or one that nobody names, it holds as well, from the scales that are shown. */
static void the_bound_holds_for_quantisers_of_others(void **state) {
    (void)state;
    static const struct {
        const char *scheme, *contract;
    } others[] = {{"fp8-tensor", "quantiser=sgl-fp8-tensor"},    {"fp8-tensor", "quantiser=any"},
                  {"fp8-channel", "quantiser=vllm-fp8-token"},   {"fp8-block", "quantiser=vllm-fp8-group"},
                  {"int8-channel", "quantiser=vllm-int8-token"}, {"nvfp4", "quantiser=any"}};
    for (size_t i = 0; i < COUNT(others); i++) {
        char text[256];
        snprintf(text, sizeof text, "M=7 E=4 K=96 N=64 filter=0.3 quant=%s", others[i].scheme);
        const mp_verdict *v = judge_under(&nothing, others[i].contract, text);
        const mp_stage_figures *f = &v->end_to_end;
        print_message("%-12s %-28s %.4f\n", others[i].scheme, others[i].contract, f->max_ratio);
        if (v->outcome != MP_PASS) fail_msg("%s: %s", text, v->reason);
        assert_int_equal(f->failed, 0);
        assert_true(f->quant_bound > 0 && f->max_ratio > 1e-4 && f->max_ratio <= 1);
    }
}

/* An element of the first token is off, one of the last more, one of token `hidden` most. */
static int64_t hidden;

static void add_to(const faulty_run *run, int64_t token, float error) {
    if (token >= run->c->M) return; /* a batch of fewer */
    const mp_tensor *out = &run->trace->t[MP_OUT];
    const int64_t at = token * run->c->K + 3;
    mp_encode(out->dtype, out->data, at, mp_decode(out->dtype, out->data, at) + error);
}

static void three_tokens_off(const faulty_run *run) {
    add_to(run, 0, 64);
    add_to(run, hidden, 4096);
    add_to(run, run->c->M - 1, 512);
}

/* Of many tokens so many are measured, the first and the last among them; all of as many. */
static void many_tokens_are_sampled(void **state) {
    (void)state;
    const fault f = {.name = "three tokens off", .plant = three_tokens_off};
    const struct {
        int64_t M, hidden, measured;
        double least;
    } runs[] = {{MP_END_TO_END_TOKENS, 3000, MP_END_TO_END_TOKENS, 4000},
                {MP_END_TO_END_TOKENS + 1000, 4400, MP_END_TO_END_TOKENS, 4000},
                {30000, 5000, MP_END_TO_END_TOKENS, 500}};
    for (size_t i = 0; i < COUNT(runs); i++) {
        char text[96];
        hidden = runs[i].hidden;
        snprintf(text, sizeof text, "M=%lld E=2 topk=2 K=16 N=8", (long long)runs[i].M);
        const mp_verdict *v = judge(&f, text);
        assert_int_equal(v->outcome, MP_FAIL); /* the checks see every token */
        assert_int_equal(v->stage[MP_COMBINE].compared, runs[i].M * 16);
        assert_int_equal(v->end_to_end.compared, runs[i].measured * 16);
        assert_true(v->end_to_end.max_abs > runs[i].least && v->end_to_end.max_abs < 1.1 * runs[i].least);
    }
}

/* Where nothing quantises activations, nothing is explained by it. */
static void weights_alone_have_no_bound_of_codes(void **state) {
    (void)state;
    const mp_verdict *v = judge(&nothing, "M=7 E=4 K=96 N=64 quant=int4-w4a16");
    assert_true(v->end_to_end.compared > 0 && v->end_to_end.max_abs > 0);
    assert_true(v->end_to_end.quant_bound == 0 && v->end_to_end.max_ratio == 0);
}

/* Of a scale that is made, one code at least of those that share it is the last; where one clips, many. */
static void saturated_codes_are_counted(void **state) {
    (void)state;
    const mp_stage_figures *x = &judge(&nothing, "M=7 E=4 K=96 N=64 quant=fp8-channel")->stage[MP_QUANT_X];
    assert_in_range(x->saturated, 7, 7 * 96 / 20);
    x = &judge(&nothing, "M=7 E=4 K=96 N=64 quant=fp8-tensor-static data=wide")->stage[MP_QUANT_X];
    assert_in_range(x->saturated, 7 * 96 / 10, 7 * 96 - 1);
}

/* Faults of scales leave the bound where sums cannot hide them, and the figure fails nothing by itself: it is
 * no check. */
static void a_fault_leaves_the_bound(void **state) {
    (void)state;
    static const fault planted[] = {
        {"the scales of expert 0", scale_of_expert_zero, "M=7 E=4 K=96 N=64 quant=fp8-channel data=onehot",
         NULL, 0, MP_GATE_UP},
        {"the scale of another block", scale_of_the_next_block,
         "M=7 E=4 K=96 N=64 quant=int8-block group=32 data=onehot", NULL, 0, MP_GATE_UP},
        {"codes that are NaN", codes_are_not_held, "M=7 E=4 K=96 N=64 quant=fp8-tensor-static data=wide",
         NULL, 0, MP_QUANT_X}};
    for (size_t i = 0; i < COUNT(planted); i++) {
        const mp_stage_figures *f = &judge(&planted[i], planted[i].case_text)->end_to_end;
        print_message("%-24s %lld of %lld beyond, err/bound %g\n", planted[i].name, (long long)f->failed,
                      (long long)f->compared, f->max_ratio);
        if (f->failed == 0 || f->max_ratio <= 1) fail_msg("%s: not seen", planted[i].name);
    }
    mp_verdict_free(&verdict);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_bound_holds_for_every_scheme),
                                       cmocka_unit_test(the_bound_holds_for_quantisers_of_others),
                                       cmocka_unit_test(many_tokens_are_sampled),
                                       cmocka_unit_test(weights_alone_have_no_bound_of_codes),
                                       cmocka_unit_test(saturated_codes_are_counted),
                                       cmocka_unit_test(a_fault_leaves_the_bound)};
    return cmocka_run_group_tests_name("harness.end_to_end", tests, NULL, NULL);
}
