/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/combine.h"

#include "base/threads.h"
#include "ref/bounds.h"
#include "ref/pipeline.h"

#include <math.h>

double mp_combine_shared(const mp_tensor *shared_output, int64_t token, int64_t column) {
    if (!shared_output || !shared_output->data) return 0;
    return mp_decode(shared_output->dtype, shared_output->data, token * shared_output->dim[1] + column);
}

mp_combine_terms mp_combine_terms_of(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT],
                                     bool skips_filtered) {
    const bool weighs = mp_stage_weighs(c, MP_COMBINE);
    return (mp_combine_terms){.cache3 = mp_as_read(t, MP_CACHE3),
                              .shared_output = &t[MP_SHARED_OUTPUT],
                              .weights = weighs ? t[MP_TOPK_WEIGHTS].data : NULL,
                              .topk_ids = weighs || skips_filtered ? t[MP_TOPK_IDS].data : NULL};
}

void mp_combine_sums(const mp_combine_terms *x, int64_t token, int64_t first, int64_t n, mp_sum *sums) {
    const mp_tensor *cache3 = x->cache3;
    const int64_t topk = cache3->dim[1], K = cache3->dim[2];
    double term[MP_COMBINE_PIECE];
    for (int64_t k = 0; k < n; k++)
        sums[k] = (mp_sum){.shared = mp_combine_shared(x->shared_output, token, first + k)};
    for (int64_t slot = token * topk; slot < (token + 1) * topk; slot++) {
        if (x->topk_ids && x->topk_ids[slot] < 0) continue;
        mp_decode_row(cache3->dtype, cache3->data, slot * K + first, n, term);
        for (int64_t k = 0; k < n && x->weights; k++)
            mp_sum_add_weighed(&sums[k], (double)x->weights[slot], term[k]);
        for (int64_t k = 0; k < n && !x->weights; k++) mp_sum_add(&sums[k], term[k], 0);
    }
}

double mp_combine_rsf(const mp_case *c) {
    return c->dtype == MP_FP64 ? c->rsf : (double)(float)c->rsf;
}

_Static_assert(MP_COMBINE_VARIANT_COUNT == 3, "a new variant has a value, and a bound, of its own");

double mp_combine_value(const mp_case *c, mp_combine_variant variant, mp_sum sum) {
    if (variant == MP_COMBINE_ROUND_THEN_SCALE) {
        sum.value = mp_round_to(c->dtype, mp_sum_value(&sum));
        sum.rest = 0;
    }
    return mp_sum_scaled(&sum, mp_combine_rsf(c));
}

mp_combine_rule mp_combine_rule_of(const mp_case *c, const mp_contract *contract) {
    const double step = c->dtype == MP_FP64 ? 0x1p-53 : mp_step_roundoff(contract);
    const bool narrow = contract->combine == MP_COMBINE_ELEMENT_DTYPE;
    return (mp_combine_rule){.weighs = mp_stage_weighs(c, MP_COMBINE),
                             .shares = c->shared == MP_SHARED_ADD,
                             .rounds_before_scale = contract->combine == MP_COMBINE_ROUND_THEN_SCALE,
                             .rounds_before_share = contract->combine_shared == MP_SHARED_ROUNDED,
                             .narrow = narrow,
                             .rsf = mp_combine_rsf(c),
                             .step = step,
                             .u = narrow ? mp_unit_roundoff(c->dtype) : step,
                             .lost = mp_half_ulp(narrow ? c->dtype : MP_FP32, 0),
                             .places = mp_places_of(c->dtype)};
}

double mp_combine_bound(const mp_case *c, const mp_contract *contract, mp_sum sum) {
    const mp_combine_rule rule = mp_combine_rule_of(c, contract);
    return mp_combine_error_of(&rule, &sum);
}

mp_combine_range mp_combine_range_of(const mp_case *c, const mp_contract *contract) {
    const bool by_addition = contract->combine == MP_COMBINE_ELEMENT_DTYPE,
               before_scale = by_addition || contract->combine == MP_COMBINE_ROUND_THEN_SCALE,
               narrow = before_scale || contract->combine_shared == MP_SHARED_ROUNDED;
    const double step =
                     contract->float64_steps || c->dtype == MP_FP64 ? (double)INFINITY : MP_FLOAT32_OVERFLOW,
                 largest = mp_dtype_format(c->dtype)->max_finite,
                 dtype = c->dtype == MP_FP64 ? (double)INFINITY : largest + mp_half_ulp(c->dtype, largest);
    return (mp_combine_range){.rule = mp_combine_rule_of(c, contract),
                              .by_addition = by_addition,
                              .before_scale = before_scale,
                              .scaled = (float)c->rsf != 1.0f,
                              .shared = narrow ? fmin(dtype, step) : step,
                              .step = step,
                              .dtype = dtype};
}

bool mp_combine_may_overflow_inside(const mp_case *c, const mp_contract *contract, mp_sum sum) {
    const mp_combine_range range = mp_combine_range_of(c, contract);
    return mp_combine_leaves_range(&range, &sum);
}

void mp_combine_stage(const mp_case *c, mp_combine_variant variant, const mp_combine_terms *terms,
                      const mp_tensor *out) {
    const int64_t K = terms->cache3->dim[2];
    mp_tensor_make_rows(terms->cache3, NULL, mp_tensor_rows(terms->cache3));
#pragma omp parallel for schedule(static) if (mp_worth_threads(terms->cache3->dim[0], 4 * c->topk * K))
    for (int64_t m = 0; m < terms->cache3->dim[0]; m++)
        for (int64_t first = 0; first < K; first += MP_COMBINE_PIECE) {
            const int64_t n = K - first < MP_COMBINE_PIECE ? K - first : MP_COMBINE_PIECE;
            mp_sum sums[MP_COMBINE_PIECE];
            mp_combine_sums(terms, m, first, n, sums);
            for (int64_t k = 0; k < n; k++)
                mp_encode(out->dtype, out->data, m * K + first + k, mp_combine_value(c, variant, sums[k]));
        }
}

mp_status mp_ref_stage_combine(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self, (void)err;
    const mp_combine_terms terms = mp_combine_terms_of(call->c, call->t, false);
    mp_combine_stage(call->c, MP_COMBINE_SCALE_THEN_ROUND, &terms, &call->t[MP_OUT]);
    return MP_OK;
}
