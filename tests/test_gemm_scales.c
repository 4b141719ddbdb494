/* SPDX-License-Identifier: Apache-2.0 */
/* Scales at the ends of float32: what overflows, or is lost, on the way to a result that is within it. And
 * scales that are generated: they leave results that can be judged. */
#include "cases/scheme.h"
#include "tests/bench_support.h"

#include <stdio.h>

static const char *const words[] = {"product",     "a-then-w",     "w-then-a",
                                    "product-fma", "a-then-w-fma", "w-then-a-fma"};

static void prepare(bench *b, const char *text, const char *scaling, float w) {
    open_bench(b, text);
    say(b, "gate_up.scaling", scaling);
    const mp_tensor *scale = &b->in.t[MP_W1_SCALE];
    for (int64_t i = 0; i < mp_tensor_count(scale); i++) ((float *)scale->data)[i] = w;
}

/* Rows of x: the first has scale `a`, the others 1; w has w everywhere; codes are `code` throughout. */
static void start(bench *b, const char *quant, const char *scaling, float a, float w, double code) {
    char text[160];
    snprintf(text, sizeof text, "M=4 E=2 topk=2 K=256 N=64 scope=gate_up quant=%s", quant);
    prepare(b, text, scaling, w);
    const mp_tensor *x = &b->in.t[MP_X_SCALE], *codes[] = {&b->in.t[MP_X_CODES], &b->in.t[MP_W1]};
    const int64_t row = mp_tensor_row_length(x);
    for (int64_t i = 0; i < mp_tensor_count(x); i++) ((float *)x->data)[i] = i < row ? a : 1;
    for (int t = 0; t < 2; t++)
        for (int64_t i = 0; i < mp_tensor_count(codes[t]); i++)
            mp_encode(codes[t]->dtype, codes[t]->data, i, code);
    assert_int_equal(predict(b), MP_OK);
}

static double got(const bench *b) {
    return mp_decode(b->c.dtype, b->trace.t[MP_CACHE1].data, 0);
}

static mp_answer bound_of(const bench *b) {
    const mp_verdict *v = verdict_of(b);
    if (v->check[MP_CHECK_BITS].answer == MP_FAILED) fail_msg("%s", v->check[MP_CHECK_BITS].text);
    const mp_answer bound = v->check[MP_CHECK_BOUND].answer;
    if (bound != MP_FAILED) assert_int_not_equal(v->check[MP_CHECK_NAN].answer, MP_FAILED);
    return bound;
}

/* Another number, in the first row or in one whose scale is 1; by the bound alone. */
static mp_answer with(bench *b, int64_t row, double value) {
    const int64_t at = row * mp_tensor_row_length(&b->trace.t[MP_CACHE1]) + 3;
    void *data = b->trace.t[MP_CACHE1].data;
    const double before = mp_decode(b->c.dtype, data, at);
    mp_encode(b->c.dtype, data, at, value);
    const mp_answer bound = verdict_of(b)->check[MP_CHECK_BOUND].answer;
    mp_encode(b->c.dtype, data, at, before);
    return bound;
}

static const struct {
    const char *what;
    float a, w;
    double code;
    bool open[3]; /* by the first three words: nothing is known of the row */
} rows[] = {
    {"huge * huge", 0x1p70f, 0x1p60f, 0x1p-9, {true, false, false}}, /* 2^130 times 2^-10 */
    {"huge * tiny", 0x1p122f, 0x1p-100f, 8, {false, true, false}},   /* 2^14 times 2^122 */
    {"tiny * huge", 0x1p-100f, 0x1p122f, 8, {false, false, true}},   /* and the other way around */
    {"tiny * tiny", 0x1p-80f, 0x1p-70f, 8, {false, false, false}},   /* 2^-150 times 2^14 */
    {"least * huge", 0x1.8p-149f, 0x1p118f, 1, {false, false, false}} /* subnormal before it is large */,
    {"huge * least", 0x1p118f, 0x1.8p-149f, 1, {false, false, false}},
    {"lost * huge", 0x1p-140f, 0x1p118f, 0x1p-9, {false, false, false}}, /* 2^-150 before it is large */
    {"one", 1, 1, 1, {false, false, false}},
};

static void a_right_subject_never_fails(void **state) {
    (void)state;
    static const char *const schemes[] = {"fp8-block", "fp8-channel", "int8-block", "int8-channel"};
    for (size_t s = 0; s < COUNT(schemes); s++)
        for (size_t i = 0; i < COUNT(rows); i++)
            for (size_t word = 0; word < COUNT(words); word++) {
                bench b;
                const bool whole =
                    schemes[s][0] == 'i' && rows[i].code < 1; /* of int8 codes 1 is the least */
                start(&b, schemes[s], words[word], rows[i].a, rows[i].w, whole ? 1 : rows[i].code);
                if (bound_of(&b) == MP_FAILED)
                    fail_msg("%s, %s, %s: %s", schemes[s], words[word], rows[i].what,
                             verdict_of(&b)->check[MP_CHECK_BOUND].text);
                /* Of who does not say how he scales each is right. */
                b.contract.gate_up.scaling = MP_SCALING_ANY;
                if (bound_of(&b) == MP_FAILED)
                    fail_msg("%s, %s under any, %s: %s", schemes[s], words[word], rows[i].what,
                             verdict_of(&b)->check[MP_CHECK_BOUND].text);
                close_bench(&b);
            }
}

/* Elsewhere always; in the row itself where the order is one that does not leave the range. */
static void a_wrong_number_fails(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int word = 0; word < 3; word++) {
            bench b;
            start(&b, "fp8-channel", words[word], rows[i].a, rows[i].w, rows[i].code);
            const double sum = 256 * rows[i].code * rows[i].code, other = sum * (double)rows[i].w,
                         here = other * (double)rows[i].a;
            assert_true(isfinite((double)(float)here));
            if (with(&b, 2 * b.c.topk, isfinite((double)(float)other) ? other * 1.5 + 0x1p-90 : 1) !=
                MP_FAILED)
                fail_msg("%s, %s: an error in another row is not seen", words[word], rows[i].what);
            const mp_answer wanted = rows[i].open[word] ? MP_PASSED : MP_FAILED;
            if (with(&b, 0, here * 1e4 + 0x1p-90) != wanted)
                fail_msg("%s, %s: %s", words[word], rows[i].what, verdict_of(&b)->check[MP_CHECK_BOUND].text);
            if (rows[i].open[word]) {
                assert_true(isinf(got(&b)));
                assert_non_null(strstr(verdict_of(&b)->check[MP_CHECK_BOUND].text, "overflowed on the way"));
            }
            close_bench(&b);
        }
}

/* A scale that is Inf meets a sum in the kernel, and every code in float64: what comes out is no number. */
static void an_infinite_scale_leaves_no_number(void **state) {
    (void)state;
    bench b;
    start(&b, "fp8-block", "product", INFINITY, 1, 1);
    ((uint8_t *)b.in.t[MP_X_CODES].data)[5] = 0; /* 0 * Inf */
    assert_true(isinf(got(&b)));
    assert_int_not_equal(bound_of(&b), MP_FAILED);
    assert_int_equal(with(&b, 0, 1), MP_FAILED);
    assert_int_not_equal(with(&b, 0, (double)NAN), MP_FAILED);
    assert_int_equal(with(&b, 2 * b.c.topk, (double)INFINITY), MP_FAILED);
    close_bench(&b);
}

/* Nobody sees cache1: a right subject passes, whatever is lost or overflows before it is multiplied. */
static void a_right_subject_that_hides_sums_never_fails(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t word = 0; word < 3; word++) { /* a scale of a whole row fuses nothing */
            bench b;
            prepare(&b, "M=4 E=2 topk=2 K=256 N=128 quant=fp8-channel", words[word], rows[i].w);
            const mp_tensor *x = &b.in.t[MP_X];
            for (int64_t k = 0; k < b.c.K; k++) /* the first row's scale becomes about that */
                mp_encode(x->dtype, x->data, k, mp_decode(x->dtype, x->data, k) * 128 * (double)rows[i].a);
            assert_int_equal(predict(&b), MP_OK);
            mp_tensor_free(&b.trace.t[MP_CACHE1]);
            const mp_verdict *v = verdict_of(&b);
            for (int check = 0; check < MP_CHECK_COUNT; check++)
                if (v->check[check].answer == MP_FAILED)
                    fail_msg("%s, %s: %s", words[word], rows[i].what, v->check[check].text);
            close_bench(&b);
        }
}

/* A row whose outputs are all NaN, or zeros, tests nothing. */
static void generated_scales_give_numbers(void **state) {
    (void)state;
    static const char *const data[] = {"normal", "integer", "special", "wide", "codes"};
    for (int scheme = MP_SCHEME_NONE + 1; scheme < MP_SCHEME_COUNT; scheme++)
        for (int down = 0; down < 2; down++)
            for (size_t d = 0; d < COUNT(data); d++) {
                const char *scope = down ? "down" : "gate_up";
                char text[160];
                snprintf(text, sizeof text, "M=17 E=4 topk=2 K=320 N=192 quant=%s scope=%s data=%s",
                         mp_schemes[scheme].name, scope, data[d]);
                if (scheme == MP_SCHEME_FP8_TENSOR) continue; /* there it is fp8-tensor-static */
                bench b;
                open_bench(&b, text);
                assert_int_equal(predict(&b), MP_OK);
                const mp_tensor *out = &b.trace.t[down ? MP_CACHE3 : MP_CACHE1];
                int64_t numbers = 0;
                for (int64_t i = 0; i < mp_tensor_count(out); i++) {
                    const double v = mp_decode(out->dtype, out->data, i);
                    numbers += isfinite(v) && v != 0;
                }
                if (2 * numbers <= mp_tensor_count(out))
                    fail_msg("'%s': %lld of %lld outputs are numbers other than 0", text, (long long)numbers,
                             (long long)mp_tensor_count(out));
                close_bench(&b);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_scales_give_numbers),
        cmocka_unit_test(a_right_subject_never_fails),
        cmocka_unit_test(a_right_subject_that_hides_sums_never_fails),
        cmocka_unit_test(a_wrong_number_fails),
        cmocka_unit_test(an_infinite_scale_leaves_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
