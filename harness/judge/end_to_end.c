/* SPDX-License-Identifier: Apache-2.0 */
/* The final output against float64 from the inputs. Each stage's own figures do not add up to this one.
 *
 * Float64 quantises no activation. Where the case does, a bound of the difference is composed from stage to
 * stage (judge_span.c), all of them one span from the inputs on:
 *
 *   quant_x    a code stands for a number within q(x) = mp_quant_error of x, at the scale that was used;
 *   gate_up    a sum over k of numbers that are off by q(x_k) is off by at most sum q(x_k) |w_k|, and the
 *              accumulation by its own bound of the magnitudes there are;
 *   act        the worst that the activation makes of gate and up within these radii;
 *   quant_act  a number v within r of its float64 value becomes one within r + q(|v| + r): q grows with |v|;
 *   down, combine  as gate_up; and each store of a tensor adds its rounding.
 *
 * A right subject is never beyond it: max_ratio is at most 1. With every accumulation and store exact,
 * quantising activations alone is left: quant_bound. Scales are those that the subject shows, which quant_x
 * and quant_act are judged by; of scales that it does not show, the largest possible. Errors of many terms
 * never all have their worst sign: max_ratio of a right subject is far below 1, a hundredth is usual. */
#include "harness/judge/judge.h"
#include "harness/judge/span.h"
#include "harness/phases.h"
#include "harness/progress.h"
#include "cases/scheme.h"
#include "ref/pipeline.h"

#include <math.h>

/* Final output against the exact pipeline. */
static mp_status measure(const mp_judgement *j, mp_error *err) {
    const mp_case *c = j->c;
    const mp_tensor *got = &j->t[MP_OUT];
    if (c->M == 0) return MP_OK;
    const int64_t slab = mp_slab_tokens(c, mp_case_w1_rows(c) + c->N + 2 * c->K);
    const int64_t width = mp_tensor_count(got) / c->M; /* elements of a token */
    mp_tensor exact = c->mode == MP_MODE_NO_COMBINE ? mp_tensor_shape(MP_FP64, 3, slab, c->topk, c->K)
                                                    : mp_tensor_shape(MP_FP64, 2, slab, c->K, 1);
    mp_status status = mp_tensor_alloc(&exact, MP_POISON_A, err);
    mp_stage_figures f = {.worst_index = -1};
    for (int64_t first = 0; status == MP_OK && first < c->M; first += slab) {
        const int64_t count = c->M - first < slab ? c->M - first : slab;
        mp_tensor window = exact;
        window.dim[0] = count;
        if ((status = mp_ref_exact(c, j->in, j->engine, first, count, &window, err)) != MP_OK) break;
        const double *value = exact.data;
        double max_abs = 0, max_rms = 0;
        bool nan_seen = false;
#pragma omp parallel for reduction(max : max_abs, max_rms) reduction(|| : nan_seen) schedule(static)
        for (int64_t m = 0; m < count; m++) {
            double error2 = 0, value2 = 0;
            for (int64_t i = 0; i < width; i++) {
                const double expected = value[m * width + i],
                             stored = mp_decode(got->dtype, got->data, (first + m) * width + i);
                if (!isfinite(expected)) {
                    nan_seen = nan_seen || isfinite(stored);
                    continue;
                }
                const double error = fabs(stored - expected);
                nan_seen = nan_seen || !isfinite(error);
                max_abs = fmax(max_abs, error);
                error2 += error * error;
                value2 += expected * expected;
            }
            if (error2 > 0) max_rms = fmax(max_rms, sqrt(error2 / value2));
        }
        f.compared += count * width;
        f.max_abs = nan_seen || isnan(f.max_abs) ? NAN : fmax(f.max_abs, max_abs);
        f.max_row_rms = nan_seen || isnan(f.max_row_rms) ? NAN : fmax(f.max_row_rms, max_rms);
    }
    mp_tensor_free(&exact);
    j->v->end_to_end = f;
    return status;
}

/* ---- the bound of what quantises activations ---- */

typedef void bound_take(mp_stage_figures *f, double got, double half, double value, double sure, int64_t at);

typedef struct bounded {
    mp_stage_figures *f;
    bound_take *take;
} bounded;

/* Elements without a finite bound are left out. */
static void take_slab(void *ctx, mp_span *span, const mp_balls *out, int64_t first_row) {
    const bounded *b = ctx;
    const mp_tensor *got = &span->j->t[MP_OUT];
    const int32_t *ids = span->j->t[MP_TOPK_IDS].data;
    const bool slots = mp_stage_rows_are_slots(span->last),
               rounded = mp_store_rounds(span->j->contract, got->dtype);
    for (int64_t r = 0; r < out->rows; r++)
        for (int64_t k = 0; k < out->width && !(slots && ids[first_row + r] < 0); k++) {
            const int64_t i = r * out->width + k, at = (first_row + r) * out->width + k;
            const double value = *mp_ball_at(&out->value, i), sure = *mp_ball_at(&out->sure, i);
            const double reach = fabs(value) + sure,
                         half = rounded && isfinite(reach) ? mp_half_ulp(got->dtype, reach) : 0;
            if (!(reach + half <= mp_dtype_format(got->dtype)->max_finite)) continue; /* Inf may be right */
            b->take(b->f, mp_decode(got->dtype, got->data, at), half, value, sure, at);
        }
}

static void take_ratio(mp_stage_figures *f, double got, double half, double value, double sure, int64_t at) {
    const double bound = sure + half, error = fabs(got - value), ratio = error == 0 ? 0 : error / bound;
    if (!(error <= bound)) f->failed++;
    if (isnan(f->max_ratio) || (f->worst_index >= 0 && ratio <= f->max_ratio)) return;
    f->max_ratio = ratio;
    f->worst_index = at;
    f->worst_value = got;
    f->worst_expected = value;
    f->worst_bound = bound;
}

static void take_largest(mp_stage_figures *f, double got, double half, double value, double sure,
                         int64_t at) {
    (void)got, (void)half, (void)value, (void)at;
    f->quant_bound = fmax(f->quant_bound, sure);
}

static mp_status compose(const mp_judgement *j, bool exact, bounded *to, mp_error *err) {
    mp_stage last = MP_COMBINE;
    while (!mp_case_has_stage(j->c, last)) last--;
    mp_span span = {.sure_alone = true, .shown_scales = true, .exact_stores = exact};
    return mp_span_propagate(&span, j, MP_ALL_STAGES, last, mp_tensor_count(&j->t[MP_OUT]), take_slab, to,
                             err);
}

/* The same arithmetic, of real numbers but for the quantisers. */
static mp_contract exact_but_for_codes(const mp_contract *contract) {
    mp_contract exact = *contract;
    exact.gate_up = exact.down = exact.shrink = exact.expand =
        (mp_gemm_contract){.accumulator = MP_ACC_FLOAT64, .split_k = 1, .scaling = contract->down.scaling};
    exact.float64_steps = true;
    exact.act_function = MP_ACT_IEEE;
    exact.act_rounding = MP_ACT_ONE_ROUNDING;
    exact.combine = MP_COMBINE_SCALE_THEN_ROUND;
    return exact;
}

static mp_status bound_by_quantisers(const mp_judgement *j, mp_error *err) {
    mp_stage_figures *f = &j->v->end_to_end;
    const mp_contract contract = exact_but_for_codes(j->contract);
    mp_judgement exact = *j;
    exact.contract = &contract;
    mp_status status = compose(j, false, &(bounded){f, take_ratio}, err);
    if (status == MP_OK) status = compose(&exact, true, &(bounded){f, take_largest}, err);
    return status;
}

mp_status mp_measure_end_to_end(const mp_case *c, const mp_contract *contract, const mp_inputs *in,
                                const mp_trace *trace, const mp_engine *engine, mp_verdict *v,
                                mp_error *err) {
    mp_judgement j;
    if (c->scope != MP_SCOPE_ALL || !trace->t[MP_OUT].data) return MP_OK;
    const mp_phase before = mp_phase_enter(MP_PHASE_MODEL);
    mp_status status = mp_judgement_open(c, contract, NULL, in, trace, MP_POISON_A, engine, v, &j, err);
    if (status == MP_OK && !mp_judgement_lacks(&j, MP_ALL_STAGES) && mp_judgement_lost_slots(&j) == 0) {
        mp_progress("", "judge");
        status = measure(&j, err);
        if (status == MP_OK && c->M > 0 && mp_scheme_of(c)->quantises_activations)
            status = bound_by_quantisers(&j, err);
    }
    mp_judgement_close(&j);
    mp_phase_enter(before);
    return status;
}
