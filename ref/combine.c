/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/combine.h"

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

void mp_sum_add(mp_sum *sum, long double term) {
    sum->terms++;
    sum->value += term;
    sum->mass += fabsl(term);
    if (isfinite(term)) sum->finite += fabsl(term);
}

mp_sum mp_combine_sum(const mp_combine_terms *x, int64_t token, int64_t column) {
    const mp_tensor *cache3 = x->cache3;
    const int64_t topk = cache3->dim[1], K = cache3->dim[2];
    mp_sum sum = {.shared = mp_combine_shared(x->shared_output, token, column)};
    for (int64_t slot = token * topk; slot < (token + 1) * topk; slot++) {
        if (x->topk_ids && x->topk_ids[slot] < 0) continue;
        const long double v = (long double)mp_decode(cache3->dtype, cache3->data, slot * K + column);
        mp_sum_add(&sum, x->weights ? (long double)x->weights[slot] * v : v);
    }
    return sum;
}

double mp_combine_rsf(const mp_case *c) {
    return c->dtype == MP_FP64 ? c->rsf : (double)(float)c->rsf;
}

_Static_assert(MP_COMBINE_VARIANT_COUNT == 3, "a new variant has a value, and a bound, of its own");

double mp_combine_value(const mp_case *c, mp_combine_variant variant, mp_sum sum) {
    const double rsf = mp_combine_rsf(c);
    if (variant == MP_COMBINE_ROUND_THEN_SCALE)
        sum.value = (long double)mp_round_to(c->dtype, (double)sum.value);
    return (double)((long double)rsf * sum.value + (long double)sum.shared);
}

/* Terms that have errors of their own hand them on, and may be larger by them. terms-1 additions (the first,
 * to zero, is exact) in any order: gamma_(terms-1)(u) * mass, u = 2^-24, 2^-53 for fp64 tensors, or the unit
 * roundoff of dtype when every addition rounds to it. ROUND_THEN_SCALE adds an ulp of dtype at the sum:
 * subject and reference both round it, and near a tie to different sides. Scaling adds one rounding: of the
 * step, or of dtype where every step rounds to it. The reference's own value was narrowed from long double to
 * float64: one more 2^-53.
 *
 * A router weight adds one rounding of each term before it is added, if it is not fused with the addition: of
 * the step, or of dtype where every step rounds to it. Below the normal numbers that is half of the smallest
 * subnormal, absolutely.
 *
 * The shared output is one more term, unscaled, and one more addition; a contract that says ROUNDED has the
 * sum without it rounded to dtype before, by half an ulp, which the reference does not: so its bound holds
 * for a kernel that does not either. Errors of before go through the last addition: step * error.
 *
 * rsf 1 and shared false: of the same sum before it is scaled, and before the shared output is added. */
static double bound_of(const mp_case *c, const mp_contract *contract, double rsf, bool shared,
                       const mp_sum *sum) {
    const double step = c->dtype == MP_FP64 ? 0x1p-53 : mp_step_roundoff(contract);
    const double u = contract->combine == MP_COMBINE_ELEMENT_DTYPE ? mp_unit_roundoff(c->dtype) : step;
    const double value = fabs((double)sum->value);
    const bool weighs = mp_stage_weighs(c, MP_COMBINE),
               narrow = contract->combine == MP_COMBINE_ELEMENT_DTYPE;
    const double additions = (sum->terms > 1 ? (double)(sum->terms - 1) : 0) + (shared ? 1 : 0);
    const double tiny = weighs ? (double)sum->terms * mp_half_ulp(narrow ? c->dtype : MP_FP32, 0) : 0;
    const double gamma = mp_gamma(additions + (weighs ? 1 : 0), u), handed = sum->error + tiny;
    double error = handed + gamma * ((double)sum->mass + handed);
    if (contract->combine == MP_COMBINE_ROUND_THEN_SCALE) error += 2 * mp_half_ulp(c->dtype, value + error);
    error *= rsf;
    if (rsf != 1.0)
        error +=
            (contract->combine == MP_COMBINE_ELEMENT_DTYPE ? u : step) * (rsf * value + error) + 0x1p-150;
    error += 0x1p-53 * rsf * value;
    if (!shared) return error;
    if (contract->combine_shared == MP_SHARED_ROUNDED) error += mp_half_ulp(c->dtype, rsf * value + error);
    return error + step * error + (mp_gamma(additions, u) + 0x1p-53) * fabs(sum->shared);
}

double mp_combine_bound(const mp_case *c, const mp_contract *contract, mp_sum sum) {
    return bound_of(c, contract, fabs(mp_combine_rsf(c)), c->shared == MP_SHARED_ADD, &sum);
}

bool mp_combine_may_overflow_inside(const mp_case *c, const mp_contract *contract, mp_sum sum) {
    const bool by_addition = contract->combine == MP_COMBINE_ELEMENT_DTYPE,
               before_scale = by_addition || contract->combine == MP_COMBINE_ROUND_THEN_SCALE;
    const double step =
                     contract->float64_steps || c->dtype == MP_FP64 ? (double)INFINITY : MP_FLOAT32_OVERFLOW,
                 largest = mp_dtype_format(c->dtype)->max_finite,
                 dtype = c->dtype == MP_FP64 ? (double)INFINITY : largest + mp_half_ulp(c->dtype, largest);
    const double value = fabs((double)sum.value), rsf = fabs(mp_combine_rsf(c));
    const bool cancels = value < (double)sum.mass, scaled = (float)c->rsf != 1.0f;
    const double terms = by_addition ? fmax(1, rsf) : 1; /* they may be scaled first */
    /* What the shared output is added to: in dtype, or a float32. */
    if (c->shared == MP_SHARED_ADD && isfinite(value)) {
        const double before = rsf * value + bound_of(c, contract, rsf, false, &sum);
        const bool narrow = before_scale || contract->combine_shared == MP_SHARED_ROUNDED;
        if (before >= (narrow ? fmin(dtype, step) : step)) return true;
    }
    /* Inf among the terms, and the others may come to Inf of the other sign before it is added. */
    if (isinf(value)) return (double)sum.finite >= (by_addition ? dtype : step);
    if (!cancels && !scaled) return false;
    const double error = bound_of(c, contract, 1, false, &sum);
    return (cancels && ((double)sum.mass + error) * terms >= (by_addition ? dtype : step)) ||
           (scaled && value + error >= (before_scale ? dtype : step));
}

void mp_combine_stage(const mp_case *c, mp_combine_variant variant, const mp_combine_terms *terms,
                      const mp_tensor *out) {
    const int64_t K = terms->cache3->dim[2];
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < terms->cache3->dim[0]; m++)
        for (int64_t k = 0; k < K; k++)
            mp_encode(out->dtype, out->data, m * K + k,
                      mp_combine_value(c, variant, mp_combine_sum(terms, m, k)));
}

mp_status mp_ref_stage_combine(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self, (void)err;
    const mp_combine_terms terms = mp_combine_terms_of(call->c, call->t, false);
    mp_combine_stage(call->c, MP_COMBINE_SCALE_THEN_ROUND, &terms, &call->t[MP_OUT]);
    return MP_OK;
}
