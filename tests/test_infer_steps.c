/* SPDX-License-Identifier: Apache-2.0 */
/* harness/infer/: functions of activations, what NaN and -0 become, and sums over topk: planted. */
#include "ref/activation.h"
#include "tests/faulty.h"
#include "tests/infer_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the activation ---- */

/* Before the store, for some compute it in float64. */
typedef double activation_fn(const mp_case *c, float gate, float up);

static double gate_rounded(const mp_case *c, float gate, float up) {
    (void)c;
    return (double)(rounded(gate / (1 + expf(-gate))) * up);
}
static double by_reciprocal(const mp_case *c, float gate, float up) {
    (void)c;
    return (double)(gate * (1 / (1 + expf(-gate))) * up);
}
static double in_double(const mp_case *c, float gate, float up) {
    return mp_activate(c, (double)gate, (double)up, NULL);
}
static double wrong_beta(const mp_case *c, float gate, float up) {
    (void)c;
    return (double)(gate / (1 + expf(-1.0009765625f * gate)) * up);
}

static activation_fn *planted_activation;
static void plant_activation(const faulty_run *run) {
    const mp_case *c = run->c;
    const mp_tensor *cache1 = &run->in->t[MP_CACHE1], *cache2 = &run->trace->t[MP_CACHE2];
    for (int64_t t = 0; t < mp_case_slots(c); t++)
        for (int64_t n = 0; n < c->N && ids_of(run)[t] >= 0; n++) {
            const int64_t row = t * 2 * c->N;
            const float gate = (float)mp_decode(cache1->dtype, cache1->data, row + n),
                        up = (float)mp_decode(cache1->dtype, cache1->data, row + c->N + n);
            mp_encode(cache2->dtype, cache2->data, t * c->N + n, planted_activation(c, gate, up));
        }
}

#define SILU "M=64 topk=2 N=128 act=silu scope=act"
#define CLAMPED "M=16 topk=2 N=64 act=clamp_silu limit=3 scope=act"

static json_t *infer_act_of(activation_fn *activation, const char *text) {
    static const fault planted = {.name = "planted", .plant = plant_activation};
    planted_activation = activation;
    mp_subject subject = faulty_open(&planted);
    return infer(&subject, (const char *const[]){text, NULL}, 1 << MP_ACT);
}

static json_t *infer_act(activation_fn *activation) {
    return infer_act_of(activation, SILU);
}

/* Of values in bf16 these differ in some of a million: only inputs that are made for it tell them apart. */
static void activations_are_found(void **state) {
    (void)state;
    json_t *report = infer_act(gate_rounded);
    expect_best(report, "act", "arithmetic", "rounding", "gate-rounded");
    assert_non_null(strstr(contract_of(report), "act.rounding=gate-rounded"));
    json_decref(report);
    /* A sigmoid times the gate; whose expf is in it bf16 may not show. */
    report = infer_act(by_reciprocal);
    if (!strstr(best_of(question_of(report, "act", "arithmetic"), "functions"), "by a reciprocal")) {
        expect_best(report, "act", "arithmetic", "functions", "cuda-math-sigmoid");
        assert_true(is_open(report, "act", "the C library's, by a reciprocal"));
    }
    assert_false(is_open(report, "act", "ieee"));
    assert_false(is_open(report, "act", "cuda-math"));
    json_decref(report);
    report = infer_act(in_double);
    expect_best(report, "act", "arithmetic", "functions", "float64 throughout");
    assert_false(is_open(report, "act", "the C library's"));
    json_decref(report);
    report = infer_act(wrong_beta);
    assert_false(json_is_true(json_object_get(report, "fits")));
    json_decref(report);
}

/* The contract's values, under functions that round and multiply in different ways; of what means nothing to
 * the activation nothing is said. */
static void nan_and_minus_zero_are_found(void **state) {
    (void)state;
    static const struct {
        const char *act, *function, *rounding, *nan, *zero;
    } all[] = {
        {"silu_clamp", "ieee", "one-rounding", "kept", "0"},
        {"clamp_silu", "ieee", "one-rounding", "limit", "0"},
        {"clamp_silu", "cuda-math", "gate-rounded", "limit", "1"}, /* vLLM's swiglu */
        {"clamp_silu", "cuda-fast-math", "one-rounding", "kept", "1"},
        {"clamp_silu", "triton", "gate-rounded", "limit", "0"},
        {"clamp_silu", "torch-compile", "one-rounding", "limit", "1"},
        {"swiglu_oai", "cuda-math-product", "one-rounding", "limit", NULL},
        {"swiglu_oai", "triton", "one-rounding", "kept", NULL},
        {"silu", "cuda-math-product", "one-rounding", NULL, "1"},
        {"silu", "cuda-intrinsics", "gate-rounded", NULL, "0"},
        {"gelu", "cuda-math", "one-rounding", NULL, "1"},
        {"gelu_tanh", "cuda-fast-math", "one-rounding", NULL, "0"},
        {"gelu_tanh", "triton", "gate-rounded", NULL, "1"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *const fields[][2] = {{"act.function", all[i].function},
                                         {"act.rounding", all[i].rounding},
                                         {"act.clamp_nan", all[i].nan ? all[i].nan : "kept"},
                                         {"act.up_plus_zero", all[i].zero ? all[i].zero : "0"}};
        char text[128];
        snprintf(text, sizeof text, "M=16 topk=2 N=64 act=%s scope=act", all[i].act);
        mp_subject subject = keeping("sm_90", fields, 4);
        json_t *report = infer(&subject, (const char *const[]){text, NULL}, 0);
        if (!json_is_true(json_object_get(report, "fits"))) {
            char *found = json_dumps(report, 0);
            fail_msg("%s %s: %s", all[i].act, all[i].function, found);
            free(found);
        }
        if (all[i].nan) expect_best(report, "act", NAN_QUESTION, "value", all[i].nan);
        if (all[i].zero)
            expect_best(report, "act", ZERO_QUESTION, "value",
                        *all[i].zero == '1' ? "a factor of +0" : "a factor of -0");
        const mp_contract line = promised(report, text);
        if (all[i].nan)
            assert_int_equal(line.act_clamp_nan, kept.act_clamp_nan);
        else
            assert_null(strstr(contract_of(report), "clamp_nan"));
        if (all[i].zero)
            assert_int_equal(line.act_up_plus_zero, kept.act_up_plus_zero);
        else
            assert_null(strstr(contract_of(report), "up_plus_zero"));
        assert_true(line.promise[MP_ACT].bits > MP_BITS_NONE);
        json_decref(report);
    }
}

/* silu(min(gate, L)) * clamp(up) of an ordinary gate and up. */
static double clamped(const mp_case *c, float gate, float up) {
    const float limit = (float)c->limit, g = fminf(gate, limit);
    return (double)(g / (1 + expf(-g)) * fmaxf(fminf(up, limit), -limit));
}
static double lower_limit(const mp_case *c, float gate, float up) {
    return clamped(c, gate, isnan(up) ? -(float)c->limit : up); /* as fminf(fmaxf(up, -L), L) */
}
static double nan_gates_alone(const mp_case *c, float gate, float up) {
    return isnan(gate) ? (double)NAN : clamped(c, gate, up);
}
static double zero_without_sign(const mp_case *c, float gate, float up) {
    return up == 0 ? 0 : clamped(c, gate, up);
}

static void a_wrong_nan_or_zero_fits_nothing(void **state) {
    (void)state;
    json_t *report = infer_act_of(clamped, CLAMPED);
    expect_best(report, "act", NAN_QUESTION, "value", "limit");
    assert_true(json_is_true(json_object_get(report, "fits")));
    json_decref(report);
    report = infer_act_of(nan_gates_alone, CLAMPED); /* now so, now so: what the contract calls any */
    expect_best(report, "act", NAN_QUESTION, "value", "any");
    assert_int_equal(promised(report, CLAMPED).promise[MP_ACT].bits, MP_BITS_NONE);
    json_decref(report);
    report = infer_act_of(lower_limit, CLAMPED);
    assert_true(fits_nothing(report, "act", NAN_QUESTION));
    assert_false(fits_nothing(report, "act", ZERO_QUESTION));
    assert_false(fits_nothing(report, "act", "arithmetic")); /* which leaves these elements out */
    json_decref(report);
    report = infer_act_of(zero_without_sign, CLAMPED);
    assert_true(fits_nothing(report, "act", ZERO_QUESTION));
    assert_false(fits_nothing(report, "act", NAN_QUESTION));
    assert_false(fits_nothing(report, "act", "arithmetic"));
    assert_false(json_is_true(json_object_get(report, "fits")));
    json_decref(report);
}

/* ---- combine ---- */

static double slot_value(const faulty_run *run, int64_t token, int64_t column, int64_t j) {
    const mp_tensor *t = &run->in->t[MP_CACHE3];
    return mp_decode(t->dtype, t->data, (token * run->c->topk + j) * run->c->K + column);
}
static float combine_ascending(const faulty_run *run, int64_t m, int64_t k) {
    float sum = 0;
    for (int64_t j = 0; j < run->c->topk; j++) sum += (float)slot_value(run, m, k, j);
    return sum;
}
static float scale_then_round(const faulty_run *run, int64_t m, int64_t k) {
    return combine_ascending(run, m, k) * (float)run->c->rsf;
}
static float round_then_scale(const faulty_run *run, int64_t m, int64_t k) {
    return rounded(combine_ascending(run, m, k)) * (float)run->c->rsf;
}
static float element_dtype(const faulty_run *run, int64_t m, int64_t k) {
    float sum = 0;
    for (int64_t j = 0; j < run->c->topk; j++) sum = rounded(sum + (float)slot_value(run, m, k, j));
    return sum * (float)run->c->rsf;
}
static float scaled_terms(const faulty_run *run, int64_t m, int64_t k) {
    float sum = 0;
    for (int64_t j = 0; j < run->c->topk; j++) sum += (float)slot_value(run, m, k, j) * (float)run->c->rsf;
    return sum;
}
static float combine_descending(const faulty_run *run, int64_t m, int64_t k) {
    float sum = 0;
    for (int64_t j = run->c->topk - 1; j >= 0; j--) sum += (float)slot_value(run, m, k, j);
    return sum * (float)run->c->rsf;
}
static float combine_pairwise(const faulty_run *run, int64_t m, int64_t k) {
    float v[8] = {0};
    for (int64_t j = 0; j < run->c->topk; j++) v[j] = (float)slot_value(run, m, k, j);
    return (((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]))) * (float)run->c->rsf;
}
static float unscaled(const faulty_run *run, int64_t m, int64_t k) {
    return combine_ascending(run, m, k);
}
static float first_twice(const faulty_run *run, int64_t m, int64_t k) {
    return (combine_ascending(run, m, k) + (float)slot_value(run, m, k, 0)) * (float)run->c->rsf;
}

static combine_fn planted_combine;
static void plant_combine(const faulty_run *run) {
    store_combine(run, planted_combine);
}

#define COMBINE_CASE "M=64 topk=8 K=64 act=silu scope=combine rsf=2.5 data=wide"
static json_t *infer_combine(combine_fn combine, const char *text) {
    static const fault planted = {.name = "planted", .plant = plant_combine};
    planted_combine = combine;
    mp_subject subject = faulty_open(&planted);
    return infer(&subject, (const char *const[]){text, NULL}, 1 << MP_COMBINE);
}

static void combines_are_found(void **state) {
    (void)state;
    static const struct {
        combine_fn combine;
        const char *sum, *scaling, *tree, *keys;
    } all[] = {
        {scale_then_round, "ascending", "scale-then-round", "sequential, ascending", "combine.bits=required"},
        {round_then_scale, "ascending", "round-then-scale", "sequential, ascending",
         "combine.variant=round-then-scale"},
        {element_dtype, "ascending", "element-dtype", "sequential, ascending",
         "any "}, /* which says element-dtype */
        {scaled_terms, "ascending", "every term scaled first", NULL, ""},
        {combine_descending, "descending", "scale-then-round", "sequential, descending", ""},
        {combine_pairwise, "pairwise, neighbours first", "scale-then-round", "pairwise, neighbours first",
         ""},
        {unscaled, "ascending", "not scaled", "sequential, ascending", ""},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *report = infer_combine(all[i].combine, COMBINE_CASE);
        const json_t *question = question_of(report, "combine", "arithmetic"),
                     *tree = json_object_get(json_object_get(report, "trees"), "combine");
        expect_best(report, "combine", "arithmetic", "sum", all[i].sum);
        assert_string_equal(best_of(question, "sum"), all[i].sum);
        assert_string_equal(best_of(question, "scaling"), all[i].scaling);
        /* What rounds to bf16 after every addition does not show whether it was added in float64. */
        assert_int_equal(json_array_size(json_object_get(question, "not_separated")),
                         all[i].combine == element_dtype);
        if (all[i].tree) assert_string_equal(json_string_value(json_object_get(tree, "tree")), all[i].tree);
        assert_non_null(strstr(contract_of(report), all[i].keys));
        json_decref(report);
    }
    json_t *report = infer_combine(first_twice, COMBINE_CASE);
    assert_false(json_is_true(json_object_get(report, "fits")));
    json_decref(report);
}

static float weighed(const faulty_run *run, int64_t m, int64_t k, bool fused, bool backwards) {
    const int64_t topk = run->c->topk;
    float sum = 0;
    for (int64_t i = 0; i < topk; i++) {
        const int64_t j = backwards ? topk - 1 - i : i;
        const float w = combine_weight(run, m * topk + j), v = (float)slot_value(run, m, k, j);
        sum = fused ? fmaf(w, v, sum) : sum + w * v;
    }
    return sum * (float)run->c->rsf;
}
static float weighed_apart(const faulty_run *run, int64_t m, int64_t k) {
    return weighed(run, m, k, false, false);
}
static float weighed_by_fma(const faulty_run *run, int64_t m, int64_t k) {
    return weighed(run, m, k, true, false);
}
static float weighed_descending(const faulty_run *run, int64_t m, int64_t k) {
    return weighed(run, m, k, false, true);
}

static void weights_in_combine_are_found(void **state) {
    (void)state;
    static const struct {
        combine_fn combine;
        const char *sum, *keys;
    } all[] = {{weighed_apart, "ascending", "combine.bits=required"},
               {weighed_by_fma, "ascending, weights by fma", "combine.fma=1"},
               {weighed_descending, "descending", ""}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *report =
            infer_combine(all[i].combine, COMBINE_CASE " dtype=fp32 apply_router_weight_in_combine=1");
        expect_best(report, "combine", "arithmetic", "sum", all[i].sum);
        assert_string_equal(best_of(question_of(report, "combine", "arithmetic"), "scaling"),
                            "scale-then-round");
        if (!strstr(contract_of(report), all[i].keys)) fail_msg("%s", contract_of(report));
        json_decref(report);
    }
    json_t *report =
        infer_combine(scale_then_round, COMBINE_CASE " dtype=fp32 apply_router_weight_in_combine=1");
    assert_false(json_is_true(json_object_get(report, "fits")));
    json_decref(report);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_found),
        cmocka_unit_test(nan_and_minus_zero_are_found),
        cmocka_unit_test(a_wrong_nan_or_zero_fits_nothing),
        cmocka_unit_test(combines_are_found),
        cmocka_unit_test(weights_in_combine_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
