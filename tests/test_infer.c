/* SPDX-License-Identifier: Apache-2.0 */
/* harness/infer/: the arithmetic that a subject has been given is found; one that is wrong in no way that is
 * known is not; what the data cannot tell apart is said. */
#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "harness/infer/infer.h"
#include "moeparity/preset.h"
#include "ref/activation.h"
#include "ref/contract_words.h"
#include "ref/predict/predict.h"
#include "tests/faulty.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define WIDE "M=48 E=4 topk=4 K=512 N=256 act=silu data=wide"
#define SMALL "M=16 E=4 topk=4 K=256 N=128 act=silu data=wide "

/* ---- a subject that keeps a contract ---- */

static mp_contract kept; /* what the one under test computes by */
/* What it does not run. */
static bool no_scaling, no_single_stage;

static mp_status keeping_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    if (no_scaling && c->rsf != 1) return mp_fail(err, MP_EUNSUPPORTED, "the caller scales");
    if (no_single_stage && c->scope != MP_SCOPE_ALL)
        return mp_fail(err, MP_EUNSUPPORTED, "cache3, which this case has not");
    offer->contract = mp_contract_weakest();
    return mp_config_resolve(c, NULL, &offer->config, err);
}

static mp_status keeping_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s;
    mp_prediction prediction = {.contract = &kept};
    const mp_executor executor = mp_predict_executor(&prediction);
    return mp_run_stages(&executor, e->c, e->offer->config.up.block_size_m, e->t, err);
}

static mp_subject keeping(const char *preset, const char *const fields[][2], int count) {
    const mp_case c = mp_case_default();
    assert_int_equal(mp_contract_preset(preset, &c, &kept, NULL), MP_OK);
    for (int i = 0; i < count; i++)
        assert_int_equal(mp_contract_set(&kept, fields[i][0], fields[i][1], NULL), MP_OK);
    return (mp_subject){.name = "keeping", .describe = keeping_describe, .run = keeping_run};
}

/* ---- what was found ---- */

static json_t *infer(mp_subject *subject, const char *const cases[], unsigned stages) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    json_t *report = NULL;
    for (int i = 0; cases[i]; i++) assert_int_equal(mp_matrix_add(&matrix, cases[i], NULL, 0, &err), MP_OK);
    const mp_infer_options options = {.stages = stages, .repeat = 2};
    if (mp_infer(subject, &matrix, &options, &report, &err) != MP_OK) fail_msg("%s", err.text);
    mp_matrix_free(&matrix);
    mp_subject_close(subject);
    return report;
}

static const json_t *stage_of(const json_t *report, const char *name) {
    const json_t *stages = json_object_get(report, "stages"), *stage;
    size_t i;
    json_array_foreach(stages, i, stage) {
        if (strcmp(json_string_value(json_object_get(stage, "stage")), name) == 0) return stage;
    }
    fail_msg("no stage %s", name);
    return NULL;
}

static const json_t *question_of(const json_t *report, const char *stage, const char *name) {
    const json_t *questions = json_object_get(stage_of(report, stage), "questions"), *question;
    size_t i;
    json_array_foreach(questions, i, question) {
        if (strcmp(json_string_value(json_object_get(question, "question")), name) == 0) return question;
    }
    fail_msg("%s: no question '%s'", stage, name);
    return NULL;
}

static const char *best_of(const json_t *question, const char *axis) {
    return json_string_value(
        json_object_get(json_object_get(json_object_get(question, "best"), "values"), axis));
}

static void expect_best(const json_t *report, const char *stage, const char *name, const char *axis,
                        const char *value) {
    const json_t *question = question_of(report, stage, name);
    if (!json_is_true(json_object_get(question, "fits")) || !strstr(best_of(question, axis), value)) {
        char *best = json_dumps(json_object_get(question, "best"), 0);
        fail_msg("%s, %s: expected %s %s to fit, not %s", stage, name, axis, value, best);
        free(best);
    }
}

static bool fits_nothing(const json_t *report, const char *stage, const char *name) {
    return !json_is_true(json_object_get(question_of(report, stage, name), "fits"));
}

static int64_t number_of(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

static bool is_open(const json_t *report, const char *stage, const char *value) {
    const json_t *open = json_object_get(question_of(report, stage, "arithmetic"), "not_separated"), *item;
    size_t i;
    json_array_foreach(open, i, item) {
        if (strcmp(json_string_value(json_object_get(item, "value")), value) == 0) return true;
    }
    return false;
}

static const char *contract_of(const json_t *report) {
    return json_string_value(json_object_get(report, "contract"));
}

/* What the line promises, read as it would be read behind a plug-in. */
static mp_contract promised(const json_t *report, const char *text) {
    mp_case c = mp_case_default();
    mp_contract contract;
    assert_int_equal(mp_case_apply(&c, text, NULL), MP_OK);
    assert_int_equal(mp_contract_of_words(contract_of(report), &c, &contract, NULL), MP_OK);
    return contract;
}

enum { GEMMS = 1 << MP_GATE_UP | 1 << MP_DOWN, GATE_UP = 1 << MP_GATE_UP, DOWN = 1 << MP_DOWN };

/* ---- what a contract says ---- */

/* Every accumulator and model that is predicted, with the words of the contract that it is. */
static void every_predicted_sum_is_found(void **state) {
    (void)state;
    static const char *const fma[][2] = {{"gate_up.accumulator", "fma-ascending"},
                                         {"down.accumulator", "fma-ascending"}};
    static const char *const permuted[][2] = {{"gate_up.k_order", "permuted"}, {"down.k_order", "permuted"}};
    static const struct {
        const char *preset;
        const char *const (*fields)[2];
        const char *name, *keys;
    } sums[] = {{"sm_90", NULL, "sm_90 tensor core, sm_100 tensor core", "sm_90"},
                {"sm_80", NULL, "sm_80 tensor core", "sm_80"},
                {"sm_90", fma, "float32 fma, k ascending", "gate_up.accumulator=fma-ascending"},
                {"sm_90", permuted, "sm_90 tensor core, k permuted", "gate_up.k_order=permuted"}};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        mp_subject subject = keeping(sums[i].preset, sums[i].fields, sums[i].fields ? 2 : 0);
        json_t *report = infer(&subject, (const char *const[]){SMALL, SMALL "seed=1", NULL}, GEMMS);
        expect_best(report, "gate_up", "arithmetic", "sum", sums[i].name);
        expect_best(report, "down", "arithmetic", "sum", sums[i].name);
        if (strstr(sums[i].keys, "=") && !strstr(contract_of(report), sums[i].keys))
            fail_msg("no %s in %s", sums[i].keys, contract_of(report));
        json_decref(report);
    }
}

/* The contract in words is the one that the subject keeps: a run under it would pass. */
static void the_contract_is_told(void **state) {
    (void)state;
    mp_subject subject;
    assert_int_equal(mp_subject_open("host", &subject, NULL), MP_OK);
    json_t *report =
        infer(&subject,
              (const char *const[]){SMALL "bias=1", SMALL "filter=0.2 rsf=2.5 seed=1", WIDE, WIDE " seed=1",
                                    "M=16 E=4 topk=4 K=64 N=32 act=silu filter=0.2 layout=sorted",
                                    "M=16 E=4 topk=4 K=64 N=32 act=silu filter=0.2 layout=masked",
                                    "M=64 E=4 topk=4 act=silu scope=align", NULL},
              0);
    /* The C library's exp differs from ours in a few of a thousand million elements of bf16. */
    assert_non_null(strstr(contract_of(report), "sm_90 act.bits=reported"));
    assert_true(json_is_true(json_object_get(report, "fits")));
    assert_true(is_open(report, "act", "the C library's"));
    assert_int_equal(json_array_size(json_object_get(report, "unsaid")), 0);
    json_decref(report);
}

/* float32 operands: fma, tf32, and products that are rounded, are three things. */
static void float32_sums_are_told_apart(void **state) {
    (void)state;
    static const char *const tf32[][2] = {{"gate_up.accumulator", "tensor-core"},
                                          {"gate_up.group", "8"},
                                          {"gate_up.fraction_bits", "25"},
                                          {"gate_up.result_fraction_bits", "23"},
                                          {"gate_up.zero_exponent", "-133"}};
    static const char *const fma[][2] = {{"gate_up.accumulator", "fma-ascending"},
                                         {"down.accumulator", "fma-ascending"}};
    const char *const cases[] = {"M=8 E=4 topk=4 K=64 N=32 act=silu dtype=fp32 scope=gate_up", NULL};
    mp_subject subject = keeping("sm_90", tf32, 5);
    json_t *report = infer(&subject, cases, GATE_UP);
    expect_best(report, "gate_up", "arithmetic", "sum", "sm_90 tensor core, tf32");
    json_decref(report);
    subject = keeping("sm_90", fma, 2);
    report = infer(&subject, cases, GATE_UP);
    expect_best(report, "gate_up", "arithmetic", "sum", "float32 fma, k ascending");
    assert_false(is_open(report, "gate_up", "float32, product and sum rounded, k ascending"));
    json_decref(report);
}

/* ---- sums and epilogues that no contract predicts: computed here in plain loops ---- */

typedef float sum_fn(const float *a, const float *w, int64_t n);
typedef float finish_fn(float sum, float bias, float weight);

static float ascending(const float *a, const float *w, int64_t n) {
    float sum = 0;
    for (int64_t k = 0; k < n; k++) sum = fmaf(a[k], w[k], sum);
    return sum;
}
static float descending(const float *a, const float *w, int64_t n) {
    float sum = 0;
    for (int64_t k = n - 1; k >= 0; k--) sum = fmaf(a[k], w[k], sum);
    return sum;
}
static float split_in(const float *a, const float *w, int64_t n, int64_t length) {
    float sum = 0;
    for (int64_t k = 0; k < n; k += length) sum += ascending(a + k, w + k, n - k < length ? n - k : length);
    return sum;
}
static float split_2(const float *a, const float *w, int64_t n) {
    return split_in(a, w, n, n / 2);
}
static float split_4(const float *a, const float *w, int64_t n) {
    return split_in(a, w, n, n / 4);
}
static float split_8(const float *a, const float *w, int64_t n) {
    return split_in(a, w, n, n / 8);
}
static float promoted_32(const float *a, const float *w, int64_t n) {
    return split_in(a, w, n, 32);
}
static float eight_lanes(const float *a, const float *w, int64_t n) {
    float s[8] = {0};
    for (int64_t k = 0; k < n; k++) s[k % 8] = fmaf(a[k], w[k], s[k % 8]);
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}
static float pairwise(const float *a, const float *w, int64_t n) {
    return n == 1 ? a[0] * w[0] : pairwise(a, w, n / 2) + pairwise(a + n / 2, w + n / 2, n / 2);
}
static float in_float64(const float *a, const float *w, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += (double)a[k] * (double)w[k];
    return (float)sum;
}
/* Half wrong: the second half of k is added first. Near to the right one, and none that is known. */
static float halves_swapped(const float *a, const float *w, int64_t n) {
    float sum = 0;
    for (int64_t k = 0; k < n; k++) sum = fmaf(a[(k + 16) % n], w[(k + 16) % n], sum);
    return sum;
}

static float rounded(float v) {
    return (float)mp_round_to(MP_BF16, (double)v);
}
static float usual(float sum, float bias, float weight) {
    return (sum + bias) * weight;
}
static float weight_first(float sum, float bias, float weight) {
    return sum * weight + bias;
}
static float rounded_between(float sum, float bias, float weight) {
    return rounded(sum + bias) * weight;
}
static float rounded_first(float sum, float bias, float weight) {
    return (rounded(sum) + bias) * weight;
}
static float short_weight(float sum, float bias, float weight) {
    return (sum + bias) * rounded(weight);
}
static float no_bias(float sum, float bias, float weight) {
    (void)bias;
    return sum * weight;
}

static sum_fn *planted_sum;
static finish_fn *planted_finish;
static bool planted_cut; /* the store cuts */

/* down, alone: cache3 in bf16. */
static void plant_down(const faulty_run *run) {
    const mp_case *c = run->c;
    const mp_tensor *a = &run->in->t[MP_CACHE2], *w = &run->in->t[MP_W2], *b = &run->in->t[MP_B2],
                    *out = &run->trace->t[MP_CACHE3];
    const float *weights = run->in->t[MP_TOPK_WEIGHTS].data;
    float *row = malloc(2 * (size_t)c->N * sizeof *row), *column = row + c->N;
    assert_non_null(row);
    for (int64_t t = 0; t < mp_case_slots(c); t++) {
        const int64_t e = ids_of(run)[t];
        if (e < 0) continue;
        mp_decode_row_f32(a->dtype, a->data, t * c->N, c->N, row);
        for (int64_t k = 0; k < c->K; k++) {
            mp_decode_row_f32(w->dtype, w->data, (e * c->K + k) * c->N, c->N, column);
            const float bias = b->data ? (float)mp_decode(b->dtype, b->data, e * c->K + k) : 0;
            float v = planted_finish(planted_sum(row, column, c->N), bias, weights[t]);
            if (planted_cut) {
                uint32_t bits;
                memcpy(&bits, &v, sizeof bits);
                bits &= 0xFFFF0000u;
                memcpy(&v, &bits, sizeof bits);
            }
            mp_encode(out->dtype, out->data, t * c->K + k, (double)v);
        }
    }
    free(row);
}

#define DOWN_CASE "E=4 topk=4 K=64 act=silu scope=down data=wide "
#define DOWN_256 DOWN_CASE "N=256 "

static json_t *infer_down_in(const char *const cases[], sum_fn *sum, finish_fn *finish, bool cut) {
    static const fault planted = {.name = "planted", .plant = plant_down};
    planted_sum = sum;
    planted_finish = finish;
    planted_cut = cut;
    mp_subject subject = faulty_open(&planted);
    return infer(&subject, cases, DOWN);
}

static json_t *infer_down(sum_fn *sum, finish_fn *finish, bool cut) {
    return infer_down_in((const char *const[]){DOWN_256 "M=32 bias=1", DOWN_256 "M=32 bias=1 seed=1",
                                               DOWN_256 "M=64 seed=2", NULL},
                         sum, finish, cut);
}

static void sums_in_other_orders_are_found(void **state) {
    (void)state;
    static const struct {
        sum_fn *sum;
        const char *name, *keys, *tree;
    } sums[] = {
        {ascending, "float32 fma, k ascending", "fma-ascending", "sequential, ascending"},
        {descending, "float32 fma, k descending", "", "sequential, descending"},
        {split_2, "float32 fma, k ascending, split_k 2", "down.split_k=2", "2 parts of k"},
        {split_4, "float32 fma, k ascending, split_k 4", "down.split_k=4", "4 parts of k"},
        {split_8, "float32 fma, k ascending, split_k 8", "down.split_k=8", "8 parts of k"},
        {promoted_32, "float32 fma, k ascending, promoted every 32", "", "sequential, ascending"},
        {eight_lanes, "float32 fma, 8 lanes, then a tree", "",
         "8 lanes (k mod 8), each ascending; the lanes: "
         "((0+4)+(2+6))+((1+5)+(3+7))"},
        {pairwise, "float32, product and sum rounded, pairwise", "", "pairwise, neighbours first"},
        {in_float64, "float64", "down.accumulator=float64", ""},
    };
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        json_t *report = infer_down(sums[i].sum, usual, false);
        const json_t *tree = json_object_get(json_object_get(report, "trees"), "down");
        /* 256 terms in parts of 32 are 8 parts: the same sum by two names. */
        if (sums[i].sum != promoted_32)
            expect_best(report, "down", "arithmetic", "sum", sums[i].name);
        else
            assert_true(is_open(report, "down", sums[i].name));
        assert_non_null(strstr(contract_of(report), sums[i].keys));
        if (sums[i].tree[0]) {
            const char *text = json_string_value(json_object_get(tree, "tree"));
            if (!text || !strstr(text, sums[i].tree))
                fail_msg("%s: expected %s, not %s", sums[i].name, sums[i].tree, text ? text : "nothing");
        }
        json_decref(report);
    }
}

static void epilogues_and_stores_are_found(void **state) {
    (void)state;
    static const struct {
        finish_fn *finish;
        bool cut;
        const char *axis, *name;
        size_t unsaid;
    } ends[] = {{usual, false, "epilogue", "+ bias, * weight", 0},
                {weight_first, false, "epilogue", "* weight, + bias", 1},
                {rounded_between, false, "epilogue", "+ bias, rounded, * weight", 1},
                {rounded_first, false, "epilogue", "rounded, + bias, * weight", 1},
                {short_weight, false, "epilogue", "+ bias, * weight in the tensor's format", 1},
                {no_bias, false, "epilogue", "no bias, * weight", 1},
                {usual, true, "store", "towards zero", 1}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        json_t *report = infer_down(ascending, ends[i].finish, ends[i].cut);
        expect_best(report, "down", "arithmetic", ends[i].axis, ends[i].name);
        assert_string_equal(best_of(question_of(report, "down", "arithmetic"), ends[i].axis), ends[i].name);
        assert_int_equal(json_array_size(json_object_get(report, "unsaid")), ends[i].unsaid);
        json_decref(report);
    }
}

static void a_half_wrong_sum_fits_nothing(void **state) {
    (void)state;
    json_t *report = infer_down(halves_swapped, usual, false);
    const json_t *question = question_of(report, "down", "arithmetic"),
                 *best = json_object_get(question, "best");
    assert_false(json_is_true(json_object_get(report, "fits")));
    assert_false(json_is_true(json_object_get(question, "fits")));
    assert_string_equal(best_of(question, "sum"), "float32 fma, k ascending"); /* the nearest */
    assert_true(json_integer_value(json_object_get(best, "differing")) > 0);
    assert_non_null(strstr(json_string_value(json_object_get(best, "first")), "down: token"));
    assert_null(strstr(contract_of(report), "down.bits"));
    json_decref(report);
}

static float off_with_bias(float sum, float bias, float weight) {
    return (sum + bias) * weight + (bias != 0 ? 64.0f : 0.0f);
}

/* Right but in the case with a bias, where no element is right: nearer than what misses a few elements of the
 * first case, and is the same as another in the others (256 terms, promoted every 256). */
static void one_case_that_refutes_is_told(void **state) {
    (void)state;
    json_t *report = infer_down_in(
        (const char *const[]){DOWN_CASE "M=64 N=512", DOWN_256 "M=32 bias=1", DOWN_256 "M=8 seed=1", NULL},
        ascending, off_with_bias, false);
    const json_t *question = question_of(report, "down", "arithmetic"),
                 *best = json_object_get(question, "best"), *refuted = json_object_get(best, "refuted_by");
    assert_true(fits_nothing(report, "down", "arithmetic"));
    assert_string_equal(best_of(question, "sum"), "float32 fma, k ascending");
    assert_int_equal(number_of(best, "cases"), 3);
    assert_int_equal(number_of(best, "cases_without_difference"), 2);
    assert_int_equal(number_of(best, "compared_there"), (64 + 8) * 4 * 64);
    assert_non_null(strstr(json_string_value(json_object_get(refuted, "case")), "bias=1"));
    assert_true(number_of(refuted, "differing") >= 1000);
    json_decref(report);
}

/* Small integers, whose sums are exact in any order. */
static void what_the_data_leaves_together_is_said(void **state) {
    (void)state;
    mp_subject subject;
    assert_int_equal(mp_subject_open("host", &subject, NULL), MP_OK);
    json_t *report =
        infer(&subject,
              (const char *const[]){"M=16 E=4 topk=4 K=64 N=32 act=silu scope=gate_up data=integer", NULL},
              GATE_UP);
    assert_true(is_open(report, "gate_up", "float32 fma, k ascending"));
    assert_true(is_open(report, "gate_up", "float32 fma, k descending"));
    assert_non_null(strstr(contract_of(report), "gate_up.bits=reported")); /* not to be required */
    json_decref(report);
}

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

#define NAN_QUESTION "a NaN under a clamp"
#define ZERO_QUESTION "an up of -0"

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

/* ---- rows, repeats, batches, align ---- */

static uint32_t row_pattern; /* what plant_rows writes; 0 or the run's poison */
static bool row_is_poison;

static void plant_rows(const faulty_run *run) {
    const mp_tensor *t = &run->trace->t[MP_CACHE1];
    const size_t bytes = mp_tensor_row_bytes(t);
    for (int64_t slot = 0; t->data && slot < mp_case_slots(run->c); slot++)
        if (ids_of(run)[slot] < 0)
            mp_fill_pattern(mp_tensor_row(t, slot), bytes, row_is_poison ? run->poison : row_pattern);
}

static void rows_without_a_result_are_told(void **state) {
    (void)state;
    static const fault planted = {.name = "planted", .plant = plant_rows};
    static const struct {
        uint32_t pattern;
        bool poison;
        const char *name;
    } rows[] = {{0, false, "zero"}, {0, true, "untouched"}, {0x3F803F80, false, "anything"}};
    for (size_t i = 0; i < 3; i++) {
        row_pattern = rows[i].pattern;
        row_is_poison = rows[i].poison;
        mp_subject subject = faulty_open(&planted);
        json_t *report =
            infer(&subject,
                  (const char *const[]){"M=16 E=4 topk=4 K=64 N=32 act=silu scope=gate_up filter=0.3", NULL},
                  GATE_UP);
        expect_best(report, "gate_up", "rows of filtered slots", "value", rows[i].name);
        json_decref(report);
    }
}

static void plant_flicker(const faulty_run *run) {
    uint16_t *cache2 = run->trace->t[MP_CACHE2].data;
    if (cache2) cache2[0] = (uint16_t)(cache2[0] ^ (run->number & 1));
}

static void plant_batch(const faulty_run *run) {
    uint16_t *cache2 = run->trace->t[MP_CACHE2].data;
    if (cache2 && run->c->M == 1) cache2[0] ^= 1;
}

/* The first stage that differs is blamed, and not those behind it, which were given something else. */
static void repeats_and_batches_are_told(void **state) {
    (void)state;
    static const fault flicker = {.name = "planted", .plant = plant_flicker},
                       batch = {.name = "planted", .plant = plant_batch};
    const char *const cases[] = {"M=16 E=4 topk=2 K=64 N=32 act=silu", NULL};
    mp_subject subject = faulty_open(&flicker);
    json_t *report = infer(&subject, cases, 0);
    expect_best(report, "gate_up", "repeats", "value", "the same bits every time");
    expect_best(report, "act", "repeats", "value", "not always the same bits");
    assert_null(strstr(contract_of(report), "act.deterministic=1"));
    json_decref(report);
    subject = faulty_open(&batch);
    report = infer(&subject, cases, 0);
    expect_best(report, "gate_up", "other tokens in the batch", "value", "no influence");
    expect_best(report, "act", "other tokens in the batch", "value", "change a token's bits");
    expect_best(report, "act", "repeats", "value", "the same bits every time");
    json_decref(report);
}

static void plant_unstable(const faulty_run *run) {
    int32_t *sorted = run->trace->t[MP_SORTED_TOKEN_IDS].data;
    if (!sorted) return;
    const int32_t keep = sorted[0];
    sorted[0] = sorted[1];
    sorted[1] = keep;
}

static void plant_tail(const faulty_run *run) {
    const mp_tensor *t = &run->trace->t[MP_SORTED_TOKEN_IDS];
    if (t->data) ((int32_t *)t->data)[mp_tensor_count(t) - 1] = 7;
}

static void plant_lost_slot(const faulty_run *run) {
    int32_t *sorted = run->trace->t[MP_SORTED_TOKEN_IDS].data;
    if (sorted) sorted[0] = sorted[1];
}

static void align_is_told(void **state) {
    (void)state;
    static const fault unstable = {.name = "planted", .plant = plant_unstable},
                       tail = {.name = "planted", .plant = plant_tail},
                       lost = {.name = "planted", .plant = plant_lost_slot};
    const char *const cases[] = {"M=64 E=4 topk=2 act=silu scope=align", NULL};
    mp_subject subject = faulty_open(&unstable);
    json_t *report = infer(&subject, cases, 0);
    expect_best(report, "align", "order of an expert's slots", "value", "any order");
    expect_best(report, "align", "behind the last slot", "value", "pads");
    json_decref(report);
    subject = faulty_open(&tail);
    report = infer(&subject, cases, 0);
    expect_best(report, "align", "order of an expert's slots", "value", "ascending (stable)");
    expect_best(report, "align", "behind the last slot", "value", "anything");
    json_decref(report);
    subject = faulty_open(&lost);
    report = infer(&subject, cases, 0);
    assert_false(json_is_true(json_object_get(report, "fits")));
    json_decref(report);
}

/* What changes nothing is no hypothesis: relu2 has no functions, float32 is stored as it is. */
static void what_has_no_effect_is_not_asked(void **state) {
    (void)state;
    static const struct {
        const char *text, *stage;
        mp_stage bit;
    } all[] = {{"M=16 topk=2 N=64 act=relu2 gated=0 scope=act", "act", MP_ACT},
               {"M=16 topk=8 K=64 act=silu dtype=fp32 rsf=2.5 scope=combine", "combine", MP_COMBINE},
               {"M=16 topk=2 N=64 act=silu dtype=fp32 scope=act", "act", MP_ACT}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        mp_subject subject;
        assert_int_equal(mp_subject_open("host", &subject, NULL), MP_OK);
        json_t *report = infer(&subject, (const char *const[]){all[i].text, NULL}, 1u << all[i].bit);
        const json_t *question = question_of(report, all[i].stage, "arithmetic");
        assert_true(json_is_true(json_object_get(question, "fits")));
        assert_int_equal(json_array_size(json_object_get(question, "not_separated")), 0);
        json_decref(report);
    }
}

/* ---- what cannot be asked ---- */

static void a_contract_is_of_one_kind_of_case(void **state) {
    (void)state;
    mp_subject subject;
    mp_matrix matrix = {0};
    mp_error err = {0};
    json_t *report = NULL;
    assert_int_equal(mp_subject_open("host", &subject, NULL), MP_OK);
    mp_matrix_add(&matrix, "M=4 topk=2 act=silu", NULL, 0, NULL);
    mp_matrix_add(&matrix, "M=4 topk=2 act=silu dtype=fp16", NULL, 0, NULL);
    assert_int_equal(mp_infer(&subject, &matrix, &(mp_infer_options){0}, &report, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "cases of bf16 silu and fp16 silu"));
    assert_null(report);
    mp_matrix_free(&matrix);
    assert_int_equal(mp_infer_cases("dtype=fp61", &matrix, &err), MP_EINPUT);
    assert_int_equal(mp_infer_cases("dtype=fp16 act=gelu", &matrix, &err), MP_OK);
    assert_int_equal(matrix.count, 10);
    mp_matrix_free(&matrix);
}

/* Stages whose input nobody sees are not asked about, and said so. */
static void what_is_not_shown_is_not_seen(void **state) {
    (void)state;
    static const fault none = {.name = "planted"};
    mp_subject subject = faulty_open_exposing(&none, MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_OUT));
    json_t *report = infer(&subject, (const char *const[]){"M=16 E=4 topk=2 K=64 N=32 act=silu", NULL},
                           1 << MP_GATE_UP | 1 << MP_DOWN);
    assert_true(json_is_true(json_object_get(stage_of(report, "gate_up"), "seen")));
    assert_false(json_is_true(json_object_get(stage_of(report, "down"), "seen")));
    assert_true(json_is_true(json_object_get(report, "fits")));
    json_decref(report);
}

enum { CACHES = MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_CACHE3) };

/* Of a stage that nobody saw, the line promises nothing; of one that was seen, what was found. */
static void what_was_not_seen_is_not_promised(void **state) {
    (void)state;
    static const fault none = {.name = "planted"};
    static const char whole[] = "M=16 E=4 topk=2 K=64 N=32 act=silu",
                      combine[] = "M=16 topk=4 K=64 act=silu scope=combine";
    mp_subject subject = faulty_open_exposing(&none, CACHES | MP_IN_SET(MP_OUT));
    json_t *report = infer(&subject, (const char *const[]){whole, NULL}, 0);
    mp_contract line = promised(report, whole);
    assert_true(line.promise[MP_ACT].deterministic && line.promise[MP_COMBINE].batch_invariant);
    assert_false(line.promise[MP_ALIGN].deterministic || line.promise[MP_ALIGN].batch_invariant);
    json_decref(report);
    subject = faulty_open_exposing(&none, 0); /* all of them */
    report = infer(&subject, (const char *const[]){whole, NULL}, 0);
    line = promised(report, whole);
    assert_true(line.promise[MP_ALIGN].deterministic && line.promise[MP_ALIGN].batch_invariant);
    json_decref(report);
    subject = faulty_open(&none);
    report = infer(&subject, (const char *const[]){combine, NULL}, 0);
    line = promised(report, combine);
    for (int s = 0; s < MP_STAGE_COUNT; s++) assert_int_equal(line.promise[s].deterministic, s == MP_COMBINE);
    json_decref(report);
    subject = faulty_open_exposing(&none, MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_OUT));
    report = infer(&subject, (const char *const[]){whole, NULL}, 0);
    line = promised(report, whole);
    for (int s = 0; s < MP_STAGE_COUNT; s++) assert_int_equal(line.promise[s].deterministic, s == MP_GATE_UP);
    assert_string_equal(json_string_value(json_object_get(report, "expose")), "");
    json_decref(report);
}

/* Who shows the end alone is told what to show. */
static void nothing_seen_says_what_to_expose(void **state) {
    (void)state;
    static const fault none = {.name = "planted"};
    const char *const cases[] = {"M=16 E=4 topk=2 K=64 N=32 act=silu", NULL};
    mp_subject subject = faulty_open_exposing(&none, MP_IN_SET(MP_OUT));
    json_t *report = infer(&subject, cases, 0);
    assert_string_equal(json_string_value(json_object_get(report, "expose")), "cache1, cache2, cache3");
    assert_string_equal(contract_of(report), "any");
    json_decref(report);
    subject = faulty_open_exposing(&none, MP_IN_SET(MP_OUT));
    report = infer(&subject, cases, 1 << MP_ACT);
    assert_string_equal(json_string_value(json_object_get(report, "expose")), "cache1, cache2");
    json_decref(report);
}

/* A subject that leaves the scaling to its caller is asked without. */
static void unscaled_cases_are_asked_where_none_scales(void **state) {
    (void)state;
    mp_subject subject = keeping("sm_90", NULL, 0);
    no_scaling = true;
    json_t *report =
        infer(&subject, (const char *const[]){"M=64 topk=8 K=64 data=wide rsf=2.5 scope=combine", NULL}, 0);
    no_scaling = false;
    const json_t *cases = json_object_get(report, "cases"), *first = json_array_get(cases, 0),
                 *second = json_array_get(cases, 1);
    assert_int_equal(json_array_size(cases), 2);
    assert_string_equal(json_string_value(json_object_get(first, "skipped")), "the caller scales");
    assert_null(strstr(json_string_value(json_object_get(second, "name")), "rsf="));
    assert_string_equal(json_string_value(json_object_get(second, "skipped")), "");
    expect_best(report, "combine", "arithmetic", "sum", "ascending");
    /* the case, and 2048 tokens of 16 that are made for the sum */
    const json_t *best = json_object_get(question_of(report, "combine", "arithmetic"), "best");
    assert_int_equal(number_of(best, "compared"), 64 * 64 + 2048 * 16);
    json_decref(report);
}

/* From end to end alone: gates and ups come through gate_up, -0 too, and what cannot be asked is said to be
 * infer's wish. */
static void whole_pipelines_are_asked(void **state) {
    (void)state;
    static const char *const fields[][2] = {{"act.clamp_nan", "limit"}, {"act.up_plus_zero", "1"}};
    mp_subject subject = keeping("sm_90", fields, 2);
    no_single_stage = true;
    json_t *report = infer(&subject, (const char *const[]){"M=16 E=4 topk=2 K=64 N=32 act=clamp_silu", NULL},
                           1 << MP_ACT | 1 << MP_DOWN);
    no_single_stage = false;
    expect_best(report, "act", NAN_QUESTION, "value", "limit");
    expect_best(report, "act", ZERO_QUESTION, "value", "a factor of +0");
    const char *why =
        json_string_value(json_object_get(json_object_get(json_object_get(report, "trees"), "down"), "why"));
    assert_string_equal(why, "infer asks for down alone (scope=down), which the subject does not run");
    json_decref(report);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_predicted_sum_is_found),
        cmocka_unit_test(the_contract_is_told),
        cmocka_unit_test(float32_sums_are_told_apart),
        cmocka_unit_test(sums_in_other_orders_are_found),
        cmocka_unit_test(epilogues_and_stores_are_found),
        cmocka_unit_test(a_half_wrong_sum_fits_nothing),
        cmocka_unit_test(one_case_that_refutes_is_told),
        cmocka_unit_test(what_the_data_leaves_together_is_said),
        cmocka_unit_test(activations_are_found),
        cmocka_unit_test(nan_and_minus_zero_are_found),
        cmocka_unit_test(a_wrong_nan_or_zero_fits_nothing),
        cmocka_unit_test(combines_are_found),
        cmocka_unit_test(weights_in_combine_are_found),
        cmocka_unit_test(rows_without_a_result_are_told),
        cmocka_unit_test(repeats_and_batches_are_told),
        cmocka_unit_test(align_is_told),
        cmocka_unit_test(what_has_no_effect_is_not_asked),
        cmocka_unit_test(a_contract_is_of_one_kind_of_case),
        cmocka_unit_test(what_is_not_shown_is_not_seen),
        cmocka_unit_test(what_was_not_seen_is_not_promised),
        cmocka_unit_test(nothing_seen_says_what_to_expose),
        cmocka_unit_test(unscaled_cases_are_asked_where_none_scales),
        cmocka_unit_test(whole_pipelines_are_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
