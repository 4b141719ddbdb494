/* SPDX-License-Identifier: Apache-2.0 */
/* Spans, slab by slab: buffers are used again and hold anything, which must be in no result; and a second
 * contract is carried beside the first one, whose radii it leaves as they are. */
#include "harness/judge/span.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

/* All balls of the output. */
typedef struct collected {
    int64_t width;
    double *value, *sure, *det;
} collected;

static void collect(void *ctx, mp_span *span, const mp_balls *out, int64_t first_row) {
    const collected *to = ctx;
    (void)span;
    assert_int_equal(out->width, to->width);
    for (int64_t i = 0; i < out->rows * out->width; i++) {
        const int64_t at = first_row * out->width + i;
        const mp_ball b = mp_ball_get(out, i);
        to->value[at] = b.value;
        to->sure[at] = b.sure;
        to->det[at] = b.det;
    }
}

typedef struct run {
    fixture f;
    mp_contract contract;
    mp_trace trace;
    mp_judgement judgement;
    mp_verdict v;
} run;
static run r; /* large */

static void start(const char *text) {
    mp_error err;
    r = (run){.f = made(text)};
    r.contract = mp_host_contract(&r.f.c);
    if (mp_host_run(&r.f.c, &r.f.in, 16, MP_POISON_A, &r.trace, &err)) fail_msg("%s", err.text);
    if (mp_judgement_open(&r.f.c, &r.contract, NULL, &r.f.in, &r.trace, MP_POISON_A, &mp_engine_plain, &r.v,
                          &r.judgement, &err))
        fail_msg("%s", err.text);
}

static void stop(void) {
    mp_judgement_close(&r.judgement);
    mp_trace_destroy(&r.trace);
    mp_inputs_destroy(&r.f.in);
    mp_verdict_free(&r.v);
}

/* Buffers that hold a number which would show wherever it is read. */
static void spoil(mp_ball_pool *pool) {
    enum { BUFFERS = 24, NUMBERS = 4096 };
    double *buffer[BUFFERS];
    mp_error err;
    for (int i = 0; i < BUFFERS; i++) {
        if (mp_ball_pool_take(pool, NUMBERS, &buffer[i], &err)) fail_msg("%s", err.text);
        for (int k = 0; k < NUMBERS; k++) buffer[i][k] = 1e200;
    }
    for (int i = 0; i < BUFFERS; i++) mp_ball_pool_give(pool, buffer[i]);
}

static collected propagated(const mp_contract *beside, int64_t slab) {
    const mp_case *c = &r.f.c;
    const int64_t count = mp_tensor_count(&r.judgement.t[MP_OUT]);
    mp_span span = {.shown_scales = true, .beside = beside, .slab = slab};
    mp_stage last = MP_COMBINE;
    mp_error err;
    while (!mp_case_has_stage(c, last)) last--;
    if (slab) spoil(&span.pool);
    collected all = {c->K, allocated(count, sizeof(double)), allocated(count, sizeof(double)),
                     allocated(count, sizeof(double))};
    if (mp_span_propagate(&span, &r.judgement, MP_ALL_STAGES, last, count, collect, &all, &err))
        fail_msg("%s", err.text);
    return all;
}

static void dispose(collected *c) {
    free(c->value);
    free(c->sure);
    free(c->det);
}

/* To within a share of b; the same numbers, also where they are none, with a share of 0. */
static void assert_near(const double *a, const double *b, double share, const char *text, const char *what) {
    const int64_t count = mp_tensor_count(&r.judgement.t[MP_OUT]);
    for (int64_t i = 0; i < count; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(fabs(a[i] - b[i]) <= share * fabs(b[i])))
            fail_msg("%s: %s of element %lld is %.17g instead of %.17g", text, what, (long long)i, a[i],
                     b[i]);
}

static const char *const texts[] = {
    "M=11 E=4 K=40 N=24 filter=0.4",
    "M=11 E=4 K=40 N=24 filter=0.4 layout=masked bias=1",
    "M=11 E=4 K=40 N=24 filter=0.4 mode=no_combine data=onehot",
    "M=11 E=4 K=40 N=24 topk=1 filter=0.4 layout=sorted gated=0 act=relu2",
    "M=11 E=4 K=64 N=32 filter=0.4 quant=fp8-channel",
    "M=11 E=4 K=64 N=32 filter=0.4 quant=int8-block group=32 layout=masked data=wide",
    "M=11 E=4 K=64 N=32 filter=0.4 quant=nvfp4 rsf=2.5",
    "M=11 E=4 K=64 N=32 filter=0.3 lora_adapters=2 lora_rank=8",
    "M=11 E=4 K=64 N=32 filter=0.3 lora_adapters=2 lora_rank=8 quant=fp8-channel"};

/* Plain loops sum in one order whatever the slab: the same values. The largest number of a slab has a small
 * part in the radii of all its sums. */
static void slabs_leave_nothing_behind(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        for (int second = 0; second < 2; second++) {
            start(texts[i]);
            const mp_contract *beside = second ? &r.contract : NULL;
            collected whole = propagated(beside, 0), slabs = propagated(beside, 3);
            assert_near(slabs.value, whole.value, 0, texts[i], "the value");
            assert_near(slabs.sure, whole.sure, 1e-3, texts[i], "sure");
            assert_near(slabs.det, whole.det, 1e-3, texts[i], "det");
            dispose(&whole);
            dispose(&slabs);
            stop();
        }
}

/* Where both are the same contract what is beside lacks the stores' roundings, and they alone. */
static void a_contract_beside_changes_no_radius(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        start(texts[i]);
        const int64_t count = mp_tensor_count(&r.judgement.t[MP_OUT]);
        int64_t finite = 0, smaller = 0;
        collected alone = propagated(NULL, 0), both = propagated(&r.contract, 0);
        for (int64_t k = 0; k < count; k++) {
            if (!isfinite(alone.value[k]) || !isfinite(both.value[k]) || !isfinite(both.sure[k])) continue;
            assert_true(fabs(both.sure[k] - alone.sure[k]) <= 1e-12 * alone.sure[k]);
            assert_true(both.det[k] >= 0 && both.det[k] <= both.sure[k]);
            finite++;
            smaller += both.det[k] < both.sure[k];
        }
        assert_true(finite > 0 && smaller > 0);
        dispose(&alone);
        dispose(&both);
        stop();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(slabs_leave_nothing_behind),
                                       cmocka_unit_test(a_contract_beside_changes_no_radius)};
    return cmocka_run_group_tests_name("harness.span_slabs", tests, NULL, NULL);
}
