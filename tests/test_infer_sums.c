/* SPDX-License-Identifier: Apache-2.0 */
/* harness/infer/: sums in other orders, and epilogues, that no contract predicts: planted in plain loops. */
#include "tests/faulty.h"
#include "tests/infer_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_in_other_orders_are_found),
        cmocka_unit_test(epilogues_and_stores_are_found),
        cmocka_unit_test(a_half_wrong_sum_fits_nothing),
        cmocka_unit_test(one_case_that_refutes_is_told),
        cmocka_unit_test(what_the_data_leaves_together_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
