/* SPDX-License-Identifier: Apache-2.0 */
/* combine: the order of the sum over topk, what is rounded and where routed_scaling_factor multiplies, how it
 * is stored. Slots whose id is -1 are left out. */
#include "harness/infer/infer_stage.h"
#include "ref/combine.h"

#include <stdio.h>
#include <stdlib.h>

typedef enum order { ASCENDING, DESCENDING, PAIRWISE, HALVES } order;

static const struct {
    const char *name, *keys;
    order order;
    bool float64;
} orders[] = {
    {"ascending", "", ASCENDING, false},
    {"descending", NULL, DESCENDING, false},
    {"pairwise, neighbours first", NULL, PAIRWISE, false},
    {"pairwise, j and j + half first", NULL, HALVES, false},
    {"ascending, in float64", "float64_steps=1", ASCENDING, true},
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

/* One element before its store. */
static double combine(const mp_case *c, mp_dtype dtype, int o, int variant, double *term, int64_t n) {
    const bool float64 = orders[o].float64 || dtype == MP_FP64;
    const double rsf = mp_combine_rsf(c);
    if (variant == SCALED_TERMS)
        for (int64_t j = 0; j < n; j++) term[j] = narrow(float64, term[j] * rsf);
    const double sum = sum_of(orders[o].order, variant, float64, dtype, term, n);
    if (variant == SCALED_TERMS || variant == UNSCALED) return sum;
    if (variant == MP_COMBINE_ROUND_THEN_SCALE) return narrow(float64, mp_round_to(dtype, sum) * rsf);
    return narrow(float64, sum * rsf);
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
    const int64_t K = c->K, topk = c->topk;
    double *rows = malloc(((size_t)(topk * K) + 2 * (size_t)K + (size_t)topk) * sizeof *rows);
    if (!rows) return false;
    double *result = rows + topk * K, *codes = result + K, *term = codes + K;
    for (int64_t m = 0; m < c->M; m++) {
        bool enough = true;
        for (int s = 0; s < MP_STORE_COUNT; s++) enough = enough && mp_tally_is_enough(&tally[s]);
        if (enough) break;
        int64_t n = 0;
        for (int64_t j = 0; j < topk; j++)
            if (ids[m * topk + j] >= 0)
                mp_decode_row(cache3->dtype, cache3->data, (m * topk + j) * K, K, rows + n++ * K);
        for (int64_t k = 0; k < K; k++) {
            for (int64_t j = 0; j < n; j++) term[j] = rows[j * K + k];
            result[k] = combine(c, out->dtype, o, variant, term, n);
        }
        for (int s = 0; s < MP_STORE_COUNT; s++) {
            if (mp_tally_is_enough(&tally[s])) continue;
            mp_store_row((mp_store)s, out->dtype, K, result, codes);
            mp_tally_row(&tally[s], m, out, m, codes);
        }
    }
    free(rows);
    return true;
}

mp_status mp_infer_combine(const mp_infer_run *r, mp_error *err) {
    static const char *const axes[] = {"sum", "scaling", "store", NULL};
    const int question = mp_ask(r->evidence, MP_COMBINE, "arithmetic", axes);
    mp_tally_rows tally[ORDERS * VARIANTS][MP_STORE_COUNT] = {{{0}}};
    bool failed = question < 0;
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < ORDERS * VARIANTS; i++)
        if (!compare(r, i / VARIANTS, i % VARIANTS, tally[i])) {
#pragma omp atomic write
            failed = true;
        }
    if (failed) return mp_fail(err, MP_EMEMORY, "infer: no memory for the rows of a token");
    for (int i = 0; i < ORDERS * VARIANTS; i++)
        for (int s = 0; s < MP_STORE_COUNT; s++) {
            const int o = i / VARIANTS;
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
