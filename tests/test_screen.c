/* SPDX-License-Identifier: Apache-2.0 */
/* What a device measures itself, GEMMs where it sums them and other stages: every verdict and every figure is
 * what the same sums give where they are measured here. Built twice: for a GPU, without which it is skipped,
 * and with tests/offload_kernels.c for a device that is not there. */
#include "tests/screen_support.h"

static mp_engine unmeasured;  /* the same without measures of its own */
static int64_t parts, alone;  /* of rows that it showed, and those without sums */
static int64_t there, by_cpu; /* elements that it measured, and those that were measured here again */

typedef struct watch {
    mp_gemm_visit visit;
    void *ctx;
} watch;

static void count(void *ctx, const mp_gemm_tile *tile) {
    const watch *w = ctx;
#pragma omp atomic
    parts += tile->count;
#pragma omp atomic
    alone += tile->value ? 0 : tile->count;
    w->visit(w->ctx, tile);
}

static mp_status measure_and_count(const mp_engine *self, const mp_gemm_problem *p,
                                   const mp_gemm_screen *screen, mp_gemm_visit visit, void *ctx,
                                   mp_error *err) {
    const mp_engine *engine = mp_offload_engine(offload);
    watch w = {visit, ctx};
    (void)self;
    return engine->measure_gemm(engine, p, screen, count, &w, err);
}

static int64_t combined; /* tokens whose figures counted */

static mp_status measure_combine_and_count(const mp_engine *self, const mp_combine_screen *screen,
                                           mp_row_figures *figures, mp_error *err) {
    const mp_engine *engine = mp_offload_engine(offload);
    (void)self;
    const mp_status status = engine->measure_combine(engine, screen, figures, err);
    for (int64_t m = 0; m < screen->got->dim[0] && status == MP_OK; m++)
        combined += figures[m].passed == screen->got->dim[1];
    return status;
}

static int64_t activated; /* slots whose figures counted */

static mp_status measure_act_and_count(const mp_engine *self, const mp_act_screen *screen,
                                       mp_row_figures *figures, mp_error *err) {
    const mp_engine *engine = mp_offload_engine(offload);
    (void)self;
    const mp_status status = engine->measure_act(engine, screen, figures, err);
    for (int64_t t = 0; t < screen->slots && status == MP_OK; t++)
        activated += figures[t].passed == mp_tensor_row_length(screen->got);
    return status;
}

static int64_t quantised; /* rows of codes whose figures counted */

static mp_status measure_quant_and_count(const mp_engine *self, const mp_quant_screen *screen,
                                         mp_quant_figures *figures, mp_error *err) {
    const mp_engine *engine = mp_offload_engine(offload);
    (void)self;
    const mp_status status = engine->measure_quant(engine, screen, figures, err);
    for (int64_t r = 0; r < screen->pass->rows && status == MP_OK; r++)
        quantised += figures[r].row.passed == mp_tensor_row_length(screen->pass->codes);
    return status;
}

static void assert_same(double a, double b, const char *text, mp_stage stage, const char *what) {
    if (a != b && !(isnan(a) && isnan(b)))
        fail_msg("%s, %s: %s %.17g, measured here %.17g", text, mp_stage_name(stage), what, a, b);
}

static void assert_same_verdict(const char *text, const mp_verdict *a, const mp_verdict *b) {
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage_figures *x = &a->stage[s], *y = &b->stage[s];
#define SAME(figure) assert_same((double)x->figure, (double)y->figure, text, (mp_stage)s, #figure)
        SAME(judged), SAME(compared), SAME(failed), SAME(bit_equal), SAME(max_abs), SAME(max_ratio);
        SAME(max_drift), SAME(max_error_ulps), SAME(worst_index), SAME(worst_value), SAME(worst_expected);
        SAME(worst_bound), SAME(saturated);
#undef SAME
        /* of sums in another order */
        if (!(fabs(x->max_row_rms - y->max_row_rms) <= 1e-12 * y->max_row_rms))
            assert_same(x->max_row_rms, y->max_row_rms, text, (mp_stage)s, "max_row_rms");
    }
    for (int c = 0; c < MP_CHECK_COUNT; c++) {
        assert_int_equal(a->check[c].answer, b->check[c].answer);
        assert_string_equal(a->check[c].text, b->check[c].text);
    }
}

/* Judged both ways; returns whether it passed. */
static bool judged_alike(const char *text) {
    mp_engine counting = *mp_offload_engine(offload);
    mp_verdict screened, here;
    mp_error err = {0};
    counting.measure_gemm = measure_and_count;
    counting.measure_act = measure_act_and_count;
    counting.measure_combine = measure_combine_and_count;
    counting.measure_quant = measure_quant_and_count;
    if (judge(&counting, &screened, &err)) fail_msg("%s: %s", text, err.text);
    if (judge(&unmeasured, &here, &err)) fail_msg("%s: %s", text, err.text);
    assert_same_verdict(text, &screened, &here);
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage_figures *x = &screened.stage[s];
        assert_in_range(x->by_cpu, 0, x->compared);
        assert_int_equal(here.stage[s].by_cpu, 0);
        by_cpu += x->by_cpu;
        there += x->by_cpu > 0 ? x->compared : 0;
    }
    const bool passed =
        here.check[MP_CHECK_BOUND].answer == MP_PASSED && here.check[MP_CHECK_POISON].answer != MP_FAILED;
    mp_verdict_free(&screened);
    mp_verdict_free(&here);
    return passed;
}

static const char *const cases[] = {
    "M=33 topk=2 E=4 K=96 N=72 dtype=bf16",
    "M=70 topk=3 E=5 K=70 N=40 dtype=fp16 bias=1 filter=0.3 rsf=2.5",
    "M=130 topk=2 E=3 K=64 N=65 dtype=fp32 bias=1 layout=sorted",
    "M=20 topk=2 E=4 K=200 N=130 dtype=bf16 routing=hot",
    "M=20 topk=2 E=4 K=64 N=64 dtype=fp16 data=onehot bias=1",
    "M=20 topk=2 E=4 K=64 N=64 dtype=bf16 data=integer",
    "M=24 topk=2 E=4 K=64 N=64 dtype=bf16 data=wide",
    "M=24 topk=2 E=4 K=64 N=64 dtype=fp16 data=special",
    "M=24 topk=2 E=4 K=64 N=64 dtype=bf16 data=limits bias=1",
    "M=24 topk=2 E=4 K=64 N=64 dtype=fp16 data=overflow",
    "M=40 topk=2 E=4 K=256 N=128 dtype=bf16 quant=fp8-block",
    "M=40 topk=2 E=4 K=256 N=128 dtype=bf16 quant=fp8-block data=special",
    "M=40 topk=2 E=4 K=128 N=64 dtype=bf16 quant=int8-channel bias=1",
    "M=40 topk=2 E=4 K=128 N=64 dtype=bf16 quant=nvfp4",
    "M=40 topk=2 E=4 K=128 N=64 dtype=fp16 quant=mxfp8 filter=0.3",
    "M=40 topk=2 E=4 K=200 N=72 dtype=bf16 quant=int8-block layout=sorted",
    "M=40 topk=2 E=4 K=200 N=72 dtype=fp16 quant=fp8-block-ue8m0 data=wide",
    "M=40 topk=2 E=4 K=128 N=64 dtype=bf16 quant=fp8-tensor-static layout=masked filter=0.2",
    "M=40 topk=2 E=4 K=128 N=64 dtype=bf16 quant=fp8-tensor",
    "M=40 topk=2 E=4 K=128 N=64 dtype=bf16 quant=mxfp4-mxfp8 data=special",
    "M=40 topk=2 E=4 K=128 N=64 dtype=fp16 quant=int4-w4a16",
    "M=1 topk=2 E=2 K=2 N=1 dtype=bf16",
    "M=24 topk=4 E=6 K=80 N=16 dtype=bf16 apply_router_weight_in_combine=1 filter=0.4 shared=add rsf=0.3",
    "M=24 topk=8 E=9 K=80 N=16 dtype=fp32 rsf=2.827 shared=add",
    "M=24 topk=2 E=4 K=64 N=70 dtype=bf16 act=swiglu_oai interleaved=1 bias=1 layout=sorted filter=0.2",
    "M=24 topk=2 E=4 K=64 N=70 dtype=fp16 act=silu_clamp limit=0.1",
    "M=24 topk=2 E=4 K=64 N=70 dtype=fp32 act=clamp_silu limit=0.1 layout=masked filter=0.3",
    "M=24 topk=2 E=4 K=64 N=70 dtype=bf16 act=gelu",
    "M=24 topk=2 E=4 N=70 dtype=bf16 act=relu2 gated=0 scope=act data=special",
    "M=24 topk=2 E=4 N=70 dtype=fp16 gated=0 scope=act data=wide",
    "M=24 topk=5 E=9 K=80 scope=combine dtype=fp16 data=wide",
    "M=24 topk=5 E=9 K=80 scope=combine dtype=fp16 data=overflow rsf=2.5",
};

static void right_traces(void **state) {
    (void)state;
    parts = alone = combined = activated = quantised = there = by_cpu = 0;
    for (size_t i = 0; i < COUNT(cases); i++) {
        start(cases[i]);
        assert_true(judged_alike(cases[i]));
        stop();
    }
    assert_true(alone > parts / 2); /* most of what is right travels as figures */
    assert_true(combined > 300 && activated > 600 && quantised > 900);
    assert_true(by_cpu > there / 100 && by_cpu < there / 2); /* samples, and what is special */
}

/* Elements of the outputs are anything at all: every one of them is found by the CPU. */
static void spoilt_traces(void **state) {
    (void)state;
    enum { ROUNDS = 8, MOST = 10 };
    rng r = {5};
    int failed = 0;
    for (size_t i = 0; i < COUNT(cases); i++) {
        start(cases[i]);
        for (int round = 0; round < ROUNDS; round++) {
            const mp_tensor_id ids[ROUNDS] = {MP_CACHE1,  MP_OUT,     MP_CACHE2,       MP_CACHE3,
                                              MP_X_CODES, MP_X_SCALE, MP_CACHE2_CODES, MP_CACHE2_SCALE};
            mp_tensor *t = &trace.t[f.c.scope == MP_SCOPE_ALL   ? ids[round]
                                    : f.c.scope == MP_SCOPE_ACT ? MP_CACHE2
                                                                : MP_OUT];
            int64_t at[MOST];
            uint64_t code[MOST];
            const int count = 1 + round % 4 * 3;
            if (round >= 4 && (!t->data || f.c.scope != MP_SCOPE_ALL)) continue; /* no codes */
            if (!t->data) fail_msg("%s: nothing to spoil", cases[i]);
            for (int k = 0; k < count; k++) {
                at[k] = random_below(&r, mp_tensor_count(t));
                code[k] = mp_code_at(t->dtype, t->data, at[k]);
                mp_put_code(t->dtype, t->data, at[k], i % 4 == 3 ? MP_POISON_A : random_bits(&r));
            }
            failed += !judged_alike(cases[i]);
            for (int k = count - 1; k >= 0; k--) mp_put_code(t->dtype, t->data, at[k], code[k]);
        }
        stop();
    }
    assert_true(failed > (int)COUNT(cases) * 4 * 2 / 3);
}

static int open_engine(void **state) {
    const int failed = open_device(state);
    if (failed) return failed;
    unmeasured = *mp_offload_engine(offload);
    unmeasured.measure_gemm = NULL;
    unmeasured.measure_act = NULL;
    unmeasured.measure_combine = NULL;
    unmeasured.measure_quant = NULL;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(right_traces), cmocka_unit_test(spoilt_traces)};
    return cmocka_run_group_tests(tests, open_engine, close_device);
}
