/* SPDX-License-Identifier: Apache-2.0 */
/* combine: the order of the sum over topk, what is rounded and where routed_scaling_factor multiplies, how it
 * is stored; where it applies the router weights, whether a product is rounded before it is added. Slots
 * whose id is -1 are left out. */
#include "harness/infer/infer_stage.h"
#include "ref/combine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum order { ASCENDING, DESCENDING, PAIRWISE, HALVES } order;

static const struct {
    const char *name, *keys;
    order order;
    bool float64, fma; /* fma: with router weights alone, which are not multiplied before */
} orders[] = {
    {"ascending", "", ASCENDING, false, false},
    {"descending", NULL, DESCENDING, false, false},
    {"pairwise, neighbours first", NULL, PAIRWISE, false, false},
    {"pairwise, j and j + half first", NULL, HALVES, false, false},
    {"ascending, in float64", "float64_steps=1", ASCENDING, true, false},
    {"ascending, weights by fma", "combine.fma=1", ASCENDING, false, true},
};
enum { ORDERS = sizeof orders / sizeof *orders };

/* Those of the contract's list by their numbers, then what it has no word for. */
enum { SCALED_TERMS = MP_COMBINE_VARIANT_COUNT, UNSCALED, VARIANTS };
_Static_assert(MP_COMBINE_VARIANT_COUNT == 3, "a new variant is computed here, too");

/* A step of the sum in its precision. */
static double narrow(bool float64, double value) {
    return float64 ? value : (double)(float)value;
}

static double add(int variant, bool float64, mp_dtype dtype, double a, double b) {
    const double sum =
        narrow(float64, a + b); /* of two float32 the float64 sum, rounded, is the float32 sum */
    return variant == MP_COMBINE_ELEMENT_DTYPE ? mp_round_to(dtype, sum) : sum;
}

static double sum_of(order how, int variant, bool float64, mp_dtype dtype, double *term, int64_t n) {
    if (n == 0) return 0;
    if (how == PAIRWISE || how == HALVES) {
        while (n > 1) {
            const int64_t half = (n + 1) / 2;
            for (int64_t j = 0; j < n / 2; j++) {
                const int64_t a = how == PAIRWISE ? 2 * j : j, b = how == PAIRWISE ? 2 * j + 1 : j + half;
                term[j] = add(variant, float64, dtype, term[a], term[b]);
            }
            if (n % 2 && how == PAIRWISE) term[half - 1] = term[n - 1];
            n = half;
        }
        return term[0] + 0.0;
    }
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
        sum = add(variant, float64, dtype, sum, term[how == ASCENDING ? j : n - 1 - j]);
    return sum;
}

/* The terms times the router weights. */
static void weigh(int variant, bool float64, mp_dtype dtype, const float *weight, double *term, int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        term[j] = narrow(float64, term[j] * (double)weight[j]);
        if (variant == MP_COMBINE_ELEMENT_DTYPE) term[j] = mp_round_to(dtype, term[j]);
    }
}

/* Ascending, each product and its addition one operation. */
static double sum_by_fma(mp_dtype dtype, const float *weight, const double *term, int64_t n) {
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
        sum = dtype == MP_FP64 ? fma((double)weight[j], term[j], sum)
                               : (double)fmaf(weight[j], (float)term[j], (float)sum);
    return sum;
}

/* One element before its store. weight: of the terms, or NULL. */
static double combine(const mp_case *c, mp_dtype dtype, int o, int variant, const float *weight, double *term,
                      int64_t n) {
    const bool float64 = orders[o].float64 || dtype == MP_FP64;
    const double rsf = mp_combine_rsf(c);
    if (weight && !orders[o].fma) weigh(variant, float64, dtype, weight, term, n);
    if (variant == SCALED_TERMS)
        for (int64_t j = 0; j < n; j++) term[j] = narrow(float64, term[j] * rsf);
    const double sum = orders[o].fma ? sum_by_fma(dtype, weight, term, n)
                                     : sum_of(orders[o].order, variant, float64, dtype, term, n);
    if (variant == SCALED_TERMS || variant == UNSCALED) return sum;
    if (variant == MP_COMBINE_ROUND_THEN_SCALE) return narrow(float64, mp_round_to(dtype, sum) * rsf);
    return narrow(float64, sum * rsf);
}

/* A fused product is of router weights, and is neither scaled nor rounded to dtype before it is added. */
static bool may_be(const mp_case *c, int o, int variant) {
    return !orders[o].fma ||
           (mp_stage_weighs(c, MP_COMBINE) && variant != SCALED_TERMS && variant != MP_COMBINE_ELEMENT_DTYPE);
}

static void set_variant(const mp_infer_run *r, int question, int variant, int *value) {
    mp_contract contract = mp_contract_weakest();
    char text[64], keys[96];
    mp_evidence_value v = {.name = variant == SCALED_TERMS ? "every term scaled first" : "not scaled"};
    if (variant < MP_COMBINE_VARIANT_COUNT) {
        contract.combine = (mp_combine_variant)variant;
        v.name = mp_contract_field(&contract, "combine.variant", text);
        snprintf(keys, sizeof keys, "combine.variant=%s", text);
        v.keys = keys;
    }
    *value = mp_evidence_value_of(r->evidence, question, 1, v);
}

/* All elements under one order and variant, and every store. */
static bool compare(const mp_infer_run *r, int o, int variant, mp_tally_rows tally[MP_STORE_COUNT]) {
    const mp_case *c = r->c;
    const mp_tensor *cache3 = mp_as_read(r->t, MP_CACHE3), *out = &r->t[MP_OUT];
    const int32_t *ids = r->t[MP_TOPK_IDS].data;
    const float *weights = mp_stage_weighs(c, MP_COMBINE) ? r->t[MP_TOPK_WEIGHTS].data : NULL;
    const int64_t K = c->K, topk = c->topk;
    double *rows = malloc(((size_t)(topk * K) + 2 * (size_t)K + (size_t)topk) * sizeof *rows);
    float *weight = malloc((size_t)topk * sizeof *weight);
    const bool complete = rows && weight;
    if (!complete) goto out;
    double *result = rows + topk * K, *codes = result + K, *term = codes + K;
    for (int64_t m = 0; m < c->M; m++) {
        bool enough = true;
        for (int s = 0; s < MP_STORE_COUNT; s++) enough = enough && mp_tally_is_enough(&tally[s]);
        if (enough) break;
        int64_t n = 0;
        for (int64_t j = 0; j < topk; j++)
            if (ids[m * topk + j] >= 0) {
                if (weights) weight[n] = weights[m * topk + j];
                mp_decode_row(cache3->dtype, cache3->data, (m * topk + j) * K, K, rows + n++ * K);
            }
        for (int64_t k = 0; k < K; k++) {
            for (int64_t j = 0; j < n; j++) term[j] = rows[j * K + k];
            result[k] = combine(c, out->dtype, o, variant, weights ? weight : NULL, term, n);
        }
        for (int s = 0; s < MP_STORE_COUNT; s++) {
            if (mp_tally_is_enough(&tally[s])) continue;
            mp_store_row((mp_store)s, out->dtype, K, result, codes);
            mp_tally_row(&tally[s], m, out, m, codes);
        }
    }
out:
    free(weight);
    free(rows);
    return complete;
}

mp_status mp_infer_combine(const mp_infer_run *r, mp_error *err) {
    static const char *const axes[] = {"sum", "scaling", "store", NULL};
    const int question = mp_ask(r->evidence, MP_COMBINE, "arithmetic", axes);
    mp_tally_rows tally[ORDERS * VARIANTS][MP_STORE_COUNT] = {{{0}}};
    bool failed = question < 0;
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < ORDERS * VARIANTS; i++)
        if (may_be(r->c, i / VARIANTS, i % VARIANTS) && !compare(r, i / VARIANTS, i % VARIANTS, tally[i])) {
#pragma omp atomic write
            failed = true;
        }
    if (failed) return mp_fail(err, MP_EMEMORY, "infer: no memory for the rows of a token");
    const mp_dtype dtype = r->t[MP_OUT].dtype;
    for (int i = 0; i < ORDERS * VARIANTS; i++)
        for (int s = 0; s < MP_STORE_COUNT; s++) {
            const int o = i / VARIANTS, variant = i % VARIANTS;
            const bool rounds = variant == MP_COMBINE_ROUND_THEN_SCALE || variant == MP_COMBINE_ELEMENT_DTYPE,
                       narrows = orders[o].float64 && dtype != MP_FP64;
            if (mp_store_is_exact(dtype) && (rounds || (s != MP_STORE_NEAREST && !narrows))) continue;
            if (orders[o].float64 && dtype == MP_FP64) continue; /* as the first one */
            if (!may_be(r->c, o, variant)) continue;
            int value[MP_EVIDENCE_AXES];
            value[0] =
                mp_evidence_value_of(r->evidence, question, 0,
                                     (mp_evidence_value){.name = orders[o].name, .keys = orders[o].keys});
            set_variant(r, question, i % VARIANTS, &value[1]);
            value[2] = mp_store_value(r->evidence, question, 2, (mp_store)s);
            mp_tally_take(r, MP_COMBINE, question, value, &tally[i][s]);
        }
    return MP_OK;
}
