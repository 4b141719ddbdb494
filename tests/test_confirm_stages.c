/* SPDX-License-Identifier: Apache-2.0 */
/* Activations, codes and sums over topk whose predicted bits a device compares: every verdict is what the
 * same prediction gives where the CPU makes and compares it. Built twice: for a GPU, without which it is
 * skipped, and with tests/offload_kernels.c for a device that is not there. */
#include "harness/judge/judge_bits.h"
#include "cases/graph_tables.h"
#include "moeparity/preset.h"
#include "ref/contract_words.h"
#include "tests/screen_support.h"

static mp_engine confirming, alone; /* neither predicts GEMMs; the second looks at nothing itself */
static int64_t confirmed[MP_STAGE_COUNT], refused[MP_STAGE_COUNT];

static void count(mp_stage stage, mp_status status, bool equal) {
    if (status == MP_OK) confirmed[stage] += equal;
    if (status == MP_EUNSUPPORTED) refused[stage]++;
}

static mp_status confirm_act(const mp_engine *self, const mp_act_bits *bits, const mp_tensor *got,
                             bool *equal, mp_error *err) {
    const mp_engine *engine = mp_offload_engine(offload);
    (void)self;
    const mp_status status = engine->confirm_act(engine, bits, got, equal, err);
    count(MP_ACT, status, *equal);
    return status;
}

static mp_status confirm_combine(const mp_engine *self, const mp_combine_bits *bits, const mp_tensor *got,
                                 bool *equal, mp_error *err) {
    const mp_engine *engine = mp_offload_engine(offload);
    (void)self;
    const mp_status status = engine->confirm_combine(engine, bits, got, equal, err);
    count(MP_COMBINE, status, *equal);
    return status;
}

/* Both quantisers are counted as quant_x. */
static mp_status confirm_quant(const mp_engine *self, const mp_quant_bits *bits, bool *equal, mp_error *err) {
    const mp_engine *engine = mp_offload_engine(offload);
    (void)self;
    const mp_status status = engine->confirm_quant(engine, bits, equal, err);
    count(MP_QUANT_X, status, *equal);
    return status;
}

static void judge_by(const mp_engine *engine, mp_verdict *v) {
    mp_error err = {0};
    mp_verdict_init(v);
    mp_offload_begin(offload, &f.in);
    if (mp_judge_bits(&f.c, &contract, NULL, &f.in, &trace, engine, v, &err)) fail_msg("%s", err.text);
}

/* Judged both ways; returns whether nothing differs. */
static bool judged_alike(const char *text) {
    mp_verdict there, here;
    int64_t differ = 0;
    judge_by(&confirming, &there);
    judge_by(&alone, &here);
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage_figures *a = &there.stage[s], *b = &here.stage[s];
        if (a->predicted != b->predicted || a->mispredicted != b->mispredicted ||
            a->first_index != b->first_index || a->max_ulps != b->max_ulps)
            fail_msg("%s, %s: %lld of %lld differ, %lld of %lld by the CPU", text, mp_stage_name((mp_stage)s),
                     (long long)a->mispredicted, (long long)a->predicted, (long long)b->mispredicted,
                     (long long)b->predicted);
        differ += b->mispredicted;
    }
    assert_int_equal(there.check[MP_CHECK_BITS].answer, here.check[MP_CHECK_BITS].answer);
    assert_string_equal(there.check[MP_CHECK_BITS].text, here.check[MP_CHECK_BITS].text);
    mp_verdict_free(&there);
    mp_verdict_free(&here);
    return differ == 0;
}

static const struct {
    const char *text, *contract; /* beside sm_90's, or NULL */
} cases[] = {
    {"M=33 topk=2 E=4 K=48 N=70 dtype=bf16", NULL},
    {"M=24 topk=3 E=5 K=40 N=33 dtype=fp16 filter=0.3 rsf=2.5 act=gelu", NULL},
    {"M=24 topk=2 E=4 K=40 N=33 dtype=fp32 act=gelu_tanh layout=sorted filter=0.2", NULL},
    {"M=24 topk=2 E=4 K=40 N=33 act=swiglu_oai interleaved=1 bias=1 layout=masked filter=0.3", NULL},
    {"M=24 topk=2 E=4 K=40 N=33 act=silu_clamp limit=0.1 dtype=fp16", NULL},
    {"M=24 topk=2 E=4 K=40 N=33 act=clamp_silu limit=0.1", "act.rounding=gate-rounded"},
    {"M=24 topk=2 E=4 N=33 act=swiglu_oai scope=act data=special", "act.clamp_nan=limit"},
    {"M=24 topk=2 E=4 N=33 act=relu2 gated=0 scope=act data=special", NULL},
    {"M=24 topk=2 E=4 N=33 scope=act data=wide dtype=fp16", "act.rounding=gate-rounded"},
    {"M=24 topk=4 E=6 K=80 N=16 apply_router_weight_in_combine=1 filter=0.4 shared=add rsf=0.3", NULL},
    {"M=24 topk=4 E=6 K=80 N=16 apply_router_weight_in_combine=1 shared=add", "combine.fma=1"},
    {"M=24 topk=8 E=9 K=80 N=16 dtype=fp32 rsf=2.827 shared=add", NULL},
    {"M=24 topk=5 E=9 K=80 scope=combine dtype=fp16 data=wide rsf=2.5", "combine.variant=round-then-scale"},
    {"M=24 topk=5 E=9 K=80 scope=combine data=special", NULL},
    {"M=24 topk=5 E=9 K=80 scope=combine dtype=fp16 data=overflow shared=add", "combine.shared=rounded"},
    {"M=24 topk=2 E=4 K=200 N=136 quant=fp8-block", NULL},
    {"M=24 topk=2 E=4 K=64 N=40 quant=fp8-channel filter=0.4 layout=sorted dtype=fp16", NULL},
    {"M=24 topk=2 E=4 K=64 N=40 quant=int8-channel data=special", NULL},
    {"M=24 topk=2 E=4 K=200 N=136 quant=fp8-block-ue8m0 layout=masked filter=0.2", NULL},
    {"M=24 topk=2 E=4 K=96 N=64 quant=mxfp8 data=wide", NULL},
    {"M=24 topk=2 E=4 K=64 N=48 quant=nvfp4", NULL},
    {"M=24 topk=2 E=4 K=64 N=48 quant=fp8-tensor-static", NULL},
    {"M=24 topk=2 E=4 K=64 N=48 quant=fp8-tensor filter=0.3", NULL},
};

static void start_under(size_t i) {
    mp_error err = {0};
    start(cases[i].text);
    contract = mp_contract_of_architecture(MP_HOST_ARCHITECTURE, &f.c);
    if (cases[i].contract && mp_contract_set_words(&contract, cases[i].contract, &err))
        fail_msg("%s", err.text);
    mp_trace_destroy(&trace);
    if (mp_host_predict(&contract, &f.c, &f.in, 16, MP_POISON_A, &trace, &err)) fail_msg("%s", err.text);
}

static void right_traces_are_confirmed(void **state) {
    (void)state;
    int64_t acts = 0, sums = 0, codes = 0;
    memset(confirmed, 0, sizeof confirmed);
    for (size_t i = 0; i < COUNT(cases); i++) {
        start_under(i);
        acts += mp_case_has_stage(&f.c, MP_ACT);
        sums += mp_case_has_stage(&f.c, MP_COMBINE);
        codes += mp_case_has_stage(&f.c, MP_QUANT_X) + mp_case_has_stage(&f.c, MP_QUANT_ACT);
        assert_true(judged_alike(cases[i].text));
        stop();
    }
    assert_int_equal(confirmed[MP_ACT], acts);
    assert_int_equal(confirmed[MP_COMBINE], sums);
    assert_true(codes == 16 && confirmed[MP_QUANT_X] == codes);
}

/* Of codes and scales, one bit of one of them. */
static void other_codes_are_found(void **state) {
    (void)state;
    static const mp_tensor_id ids[] = {MP_X_CODES,      MP_X_SCALE,      MP_X_TENSOR_SCALE,
                                       MP_CACHE2_CODES, MP_CACHE2_SCALE, MP_CACHE2_TENSOR_SCALE};
    for (size_t i = 0; i < COUNT(cases); i++) {
        start_under(i);
        for (size_t k = 0; k < COUNT(ids); k++) {
            const mp_tensor *t = &trace.t[ids[k]];
            const int32_t *of_slots = f.in.t[MP_TOPK_IDS].data;
            if (!t->data || f.c.layout != MP_ROUTE) continue;
            int64_t row = mp_tensor_rows(t) - 1; /* the last of a slot that is not filtered */
            while (mp_tensors[ids[k]].rows == MP_ROWS_CACHE && of_slots[row] < 0) row--;
            const int64_t at = (row + 1) * mp_tensor_row_length(t) - 1;
            const uint64_t code = mp_code_at(t->dtype, t->data, at);
            mp_put_code(t->dtype, t->data, at, code ^ 1);
            assert_false(judged_alike(cases[i].text));
            mp_put_code(t->dtype, t->data, at, code);
        }
        stop();
    }
}

static void other_bits_are_found(void **state) {
    (void)state;
    rng r = {7};
    for (size_t i = 0; i < COUNT(cases); i++) {
        start_under(i);
        const int32_t *ids = f.in.t[MP_TOPK_IDS].data;
        for (int round = 0; round < 6; round++) {
            const bool act = f.c.scope == MP_SCOPE_ACT || (f.c.scope == MP_SCOPE_ALL && round % 2);
            mp_tensor *t = &trace.t[act ? MP_CACHE2 : MP_OUT];
            const int64_t at = random_below(&r, mp_tensor_count(t));
            const uint64_t code = mp_code_at(t->dtype, t->data, at);
            mp_put_code(t->dtype, t->data, at, code ^ ((uint64_t)1 << random_below(&r, 16)));
            const bool alike = judged_alike(cases[i].text);
            if (!act || (f.c.layout == MP_ROUTE && ids[at / f.c.N] >= 0)) assert_false(alike);
            mp_put_code(t->dtype, t->data, at, code);
        }
        stop();
    }
}

/* What stores saturate the device does not say of, nor what exp it does not know. */
static void what_it_does_not_know_is_left(void **state) {
    (void)state;
    static const struct {
        const char *text, *contract;
        mp_stage stage;
    } others[] = {
        {"M=24 topk=2 E=4 N=33 scope=act", "act.function=triton", MP_ACT},
        {"M=24 topk=5 E=9 K=80 scope=combine dtype=fp64", NULL, MP_COMBINE},
    };
    for (size_t i = 0; i < COUNT(others); i++) {
        mp_error err = {0};
        start(others[i].text);
        contract = mp_contract_of_architecture(MP_HOST_ARCHITECTURE, &f.c);
        if (others[i].contract && mp_contract_set_words(&contract, others[i].contract, &err))
            fail_msg("%s", err.text);
        mp_trace_destroy(&trace);
        if (mp_host_predict(&contract, &f.c, &f.in, 16, MP_POISON_A, &trace, &err)) fail_msg("%s", err.text);
        memset(refused, 0, sizeof refused);
        assert_true(judged_alike(others[i].text));
        assert_int_equal(refused[others[i].stage], 1);
        stop();
    }
    start("M=24 topk=5 E=9 K=80 scope=combine dtype=fp16 data=overflow rsf=2.5");
    contract = mp_contract_of_architecture(MP_HOST_ARCHITECTURE, &f.c);
    contract.overflow = MP_OVERFLOW_SATURATE;
    memset(confirmed, 0, sizeof confirmed);
    assert_false(judged_alike("a sum that is Inf where stores saturate"));
    assert_int_equal(confirmed[MP_COMBINE], 0);
    stop();
}

static int open_engines(void **state) {
    const int failed = open_device(state);
    if (failed) return failed;
    confirming = alone = *mp_offload_engine(offload);
    confirming.predict_gemm = alone.predict_gemm = NULL;
    confirming.confirm_gemm = alone.confirm_gemm = NULL;
    confirming.confirm_act = confirm_act;
    confirming.confirm_combine = confirm_combine;
    confirming.confirm_quant = confirm_quant;
    alone.confirm_act = NULL;
    alone.confirm_combine = NULL;
    alone.confirm_quant = NULL;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_traces_are_confirmed), cmocka_unit_test(other_bits_are_found),
        cmocka_unit_test(other_codes_are_found), cmocka_unit_test(what_it_does_not_know_is_left)};
    return cmocka_run_group_tests(tests, open_engines, close_device);
}
