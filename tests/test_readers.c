/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads inputs on the host asks for them first (mp_tensor_make): the reference, the prediction and every
 * judge, of inputs of which nothing is there until somebody asks. Who forgets it dies here. */
#include "base/maker.h"
#include "cases/deferred.h"
#include "harness/verdict_make.h"
#include "tests/bench_support.h"

/* What is the same whoever had the inputs; the judge's bounds follow from their largest numbers, which a
 * device looks for and nobody here: figures that bounds are in are left out. */
static void expect_same(const char *text, const mp_verdict *a, const mp_verdict *b) {
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage_figures *x = &a->stage[s], *y = &b->stage[s];
        if (x->judged != y->judged || x->compared != y->compared || x->failed != y->failed ||
            x->predicted != y->predicted || x->mispredicted != y->mispredicted ||
            x->bit_equal != y->bit_equal)
            fail_msg("%s: %s", text, mp_stage_name((mp_stage)s));
    }
    assert_true(a->end_to_end.compared == b->end_to_end.compared);
    assert_true(a->end_to_end.max_abs == b->end_to_end.max_abs ||
                (isnan(a->end_to_end.max_abs) && isnan(b->end_to_end.max_abs)));
    assert_int_equal(a->check[MP_CHECK_BITS].answer, b->check[MP_CHECK_BITS].answer);
    assert_int_equal(b->check[MP_CHECK_BOUND].answer, a->check[MP_CHECK_BOUND].answer);
}

/* Inputs for one reader, of which nothing is there yet where they are deferred. */
static const mp_inputs *anew(const mp_case *c, bool deferring, mp_inputs *in) {
    mp_error err = {0};
    if (in->t[MP_TOPK_IDS].data) assert_true(mp_inputs_unchanged(in));
    mp_inputs_destroy(in);
    assert_int_equal(deferring ? mp_inputs_create_deferring(c, 1, in, &err) : mp_inputs_create(c, in, &err),
                     MP_OK);
    mp_inputs_seal(in);
    return in;
}

static void judge(const mp_case *c, bool deferring, mp_verdict *v) {
    const mp_engine *engine = &mp_engine_plain;
    mp_inputs in = {0};
    mp_config config;
    mp_trace trace, exact;
    mp_error err = {0};
    mp_contract contract = mp_host_contract(c);
    for (int s = 0; s < MP_STAGE_COUNT; s++) contract.promise[s].bits = MP_BITS_REQUIRED;
    mp_verdict_init(v);
    assert_int_equal(mp_config_resolve(c, NULL, &config, &err), MP_OK);
    const int bm = config.up.block_size_m;
    if (mp_host_run(c, anew(c, deferring, &in), bm, MP_POISON_A, &trace, &err) != MP_OK ||
        mp_ref_run(c, anew(c, deferring, &in), bm, engine, MP_POISON_A, &exact, &err) != MP_OK ||
        mp_judge(c, &contract, NULL, anew(c, deferring, &in), &trace, MP_POISON_A, engine, v, &err) !=
            MP_OK ||
        mp_judge_bits(c, &contract, &config, anew(c, deferring, &in), &trace, engine, v, &err) != MP_OK ||
        mp_measure_end_to_end(c, &contract, anew(c, deferring, &in), &trace, engine, v, &err) != MP_OK)
        fail_msg("%s", err.text);
    mp_inputs_destroy(&in);
    mp_trace_destroy(&exact);
    mp_trace_destroy(&trace);
}

static void readers_ask_for_what_they_read(void **state) {
    (void)state;
    static const char *const texts[] = {
        "M=17 E=4 topk=2 K=64 N=48",
        "M=17 E=4 topk=2 K=64 N=48 mode=inplace",
        "M=17 E=4 topk=2 K=64 N=48 mode=no_combine data=integer",
        "M=17 E=4 topk=2 K=64 N=48 data=onehot dtype=fp16",
        "M=17 E=4 topk=2 K=64 N=48 data=special bias=1",
        "M=17 E=4 topk=2 K=64 N=48 dtype=fp32 data=wide",
        "M=17 E=4 topk=2 K=64 N=48 scope=gate_up",
        "M=17 topk=2 N=48 scope=act data=limits",
        "M=17 topk=2 N=24 scope=act data=exhaustive",
        "M=17 E=4 topk=2 K=64 N=48 scope=down data=integer",
        "M=17 topk=2 K=64 scope=combine",
        "M=17 topk=3 K=64 scope=combine dtype=fp32 data=special",
        "M=17 E=4 topk=2 K=256 N=128 quant=fp8-block",
        "M=17 E=4 topk=2 K=256 N=128 quant=fp8-tensor data=codes",
        "M=17 E=4 topk=2 K=256 N=128 quant=int8-channel data=integer",
        "M=17 E=4 topk=2 K=256 N=128 quant=nvfp4",
        "M=17 E=4 topk=2 K=256 N=128 quant=int4-w4a16-zp",
        "M=17 E=4 topk=2 K=256 N=128 quant=mxfp8 scope=gate_up",
        "M=17 E=4 topk=2 K=256 N=128 quant=int8-block scope=down data=codes",
        "M=17 E=4 topk=2 K=64 N=48 lora_adapters=3 lora_rank=8",
        "M=17 E=4 topk=2 K=64 N=48 lora_adapters=3 lora_rank=8 lora_outer=shared gated=0",
        "M=17 E=4 topk=2 K=64 lora_adapters=3 lora_rank=8 scope=shrink_gate_up",
        "M=17 E=4 topk=2 K=64 lora_adapters=3 lora_rank=8 scope=expand_down"};
    mp_verdict *now = malloc(sizeof *now), *later = malloc(sizeof *later);
    int deferred = 0;
    for (size_t i = 0; i < COUNT(texts); i++) {
        const mp_case c = case_of(texts[i]);
        mp_inputs none = {0};
        anew(&c, true, &none);
        for (int id = 0; id < MP_TENSOR_COUNT; id++) deferred += none.t[id].maker != NULL;
        mp_inputs_destroy(&none);
        judge(&c, false, now);
        judge(&c, true, later);
        expect_same(texts[i], now, later);
        mp_verdict_free(later);
        mp_verdict_free(now);
    }
    assert_true(deferred > 50);
    free(later);
    free(now);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_ask_for_what_they_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
