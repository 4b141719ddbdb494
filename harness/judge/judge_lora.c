/* SPDX-License-Identifier: Apache-2.0 */
/* LoRA's stages against float64.
 *
 * With u the unit roundoff of a step (2^-24, or 2^-53 with float64 steps) and e = rel * mass + abs the error of
 * an accumulation under the contract (ref/bounds.c):
 *
 *   shrink   |h - h*| <= e. The last rounding is the store's. In q parts that are each rounded to dtype and
 *            added in dtype, 2q - 1 roundings to dtype touch any term, and each part's own error is within e:
 *            gamma_(2q-1)(u_dtype) * (1 + rel) * mass more.
 *   expand   d = w * acc: |d - d*| <= |w| e + u (|d*| + |w| e), the epilogue's; rounded to dtype, half an ulp of
 *            the largest that d may be more. c + d is an addition in float32: u * (|c + d*| + that) more, and
 *            the last rounding is the store's.
 *
 * c, h and in are what the subject has there. Rows without an adapter are c, exactly. */
#include "cases/lora.h"
#include "harness/judge/judge.h"
#include "harness/judge/span.h"
#include "ref/lora.h"

#include <math.h>

typedef struct lora_judge {
    mp_stage_judge s;
    mp_lora_gemm g;
    mp_sum_bound accumulation;
} lora_judge;

/* The largest finite magnitude among the elements. */
static double largest_magnitude(const mp_tensor *t) {
    double largest = 0;
#pragma omp parallel for reduction(max : largest) schedule(static)
    for (int64_t i = 0; i < mp_tensor_count(t); i++) {
        const double value = fabs(mp_decode(t->dtype, t->data, i));
        if (isfinite(value) && value > largest) largest = value;
    }
    return largest;
}

static bool shrinks(const lora_judge *l) {
    return !l->g.base;
}

/* An element of a stage from its float64 sum. */
static mp_expectation expect(const lora_judge *l, double acc, double mass, int64_t v, int64_t at) {
    const mp_contract *contract = l->s.j->contract;
    const mp_dtype dtype = l->g.out.dtype;
    const double u = mp_step_roundoff(contract), e = l->accumulation.rel * mass + l->accumulation.abs;
    const bool wide = contract->float64_steps;
    mp_expectation x = {.value = acc, .error = e, .rounded = l->s.rounded};
    x.open = !wide && isfinite(mass) && mass + e >= MP_FLOAT32_OVERFLOW;
    if (shrinks(l)) {
        const double parts = contract->shrink.split_k;
        if (contract->shrink_parts_rounded && parts > 1)
            x.error += mp_gamma(2 * parts - 1, mp_unit_roundoff(dtype)) * (1 + l->accumulation.rel) * mass;
        return x;
    }
    const double base = mp_decode(l->g.base->dtype, l->g.base->data, at);
    double d, error;
    mp_epilogue_expect(contract, &l->g.epilogue, acc, e, 0, 0, v, &d, &error);
    if (contract->lora_add == MP_LORA_ADD_ROUNDED && mp_store_rounds(contract, dtype)) {
        error += mp_half_ulp(dtype, fabs(d) + error);
        x.open = x.open || (isfinite(d) && fabs(d) + error > mp_dtype_format(dtype)->max_finite);
    }
    x.value = base + d;
    x.error = error + u * (fabs(x.value) + error);
    return x;
}

static void judge_tile(void *ctx, const mp_gemm_tile *tile) {
    lora_judge *l = ctx;
    mp_stage_judge *s = &l->s;
    mp_measure part;
    mp_stage_judge_part(s, &part);
    for (int64_t i = 0; i < tile->count; i++) {
        const int64_t v = tile->slot[i];
        double sums[3] = {0, 0, 0};
        for (int64_t n = 0; n < tile->n; n++) {
            const int64_t at = mp_lora_element(&l->g, v, tile->n0 + n), k = i * tile->n + n;
            const mp_expectation e = expect(l, tile->value[k], tile->mass[k], v, at);
            mp_measure_element(&part, s->got->dtype, s->got->data, at, at, &e, s->j->poison, sums);
        }
        mp_stage_judge_add_sums(s, v / l->g.slices, sums);
    }
    mp_stage_judge_merge(s, &part);
}

/* Rows of slots without an adapter: what was there before, or of a shrink and of filtered slots zeros, where the
 * contract says so. */
static void judge_other_rows(lora_judge *l) {
    mp_stage_judge *s = &l->s;
    const int32_t *ids = s->j->t[MP_TOPK_IDS].data;
    const bool zeros = s->j->contract->filtered[s->stage] == MP_ROW_ZERO;
    for (int64_t v = 0; v < l->g.problem.slots; v += l->g.slices) {
        const int64_t slot = v / l->g.slices;
        const bool zero = shrinks(l) || ids[slot] < 0;
        if (l->g.problem.topk_ids[v] >= 0 || (zero && !zeros)) continue;
        double sums[3] = {0, 0, 0};
        for (int64_t at = slot * s->width; at < (slot + 1) * s->width; at++) {
            const mp_expectation e = {.value = zero ? 0 : mp_decode(l->g.base->dtype, l->g.base->data, at),
                                      .positive_zero = zero};
            mp_measure_element(&s->measure, s->got->dtype, s->got->data, at, at, &e, s->j->poison, sums);
        }
        mp_stage_judge_add_sums(s, slot, sums);
    }
}

static mp_status judge(const mp_judgement *j, mp_stage stage, mp_error *err) {
    const mp_stage_call call = {.c = j->c, .t = j->t, .map = &j->map};
    lora_judge l;
    mp_status status = mp_lora_gemm_create(&call, stage, &l.g, err);
    if (status != MP_OK) goto out;
    const mp_tensor *a = l.g.problem.a.codes, *w = l.g.problem.w.codes;
    l.accumulation = mp_gemm_bound(mp_stage_gemm_contract(j->contract, stage), w->dtype, w->dim[2],
                                   fmax(largest_magnitude(a), largest_magnitude(w)));
    if (!isfinite(l.accumulation.rel)) {
        mp_stage_has_no_bound(j, stage, "so many terms");
        goto out;
    }
    if ((status = mp_stage_judge_start(j, stage, stage, &l.s, err)) != MP_OK) goto out;
    status = mp_gemm_float64(j->engine, &l.g.problem, true, judge_tile, &l, err);
    if (status != MP_OK) {
        mp_stage_judge_drop(&l.s);
        goto out;
    }
    judge_other_rows(&l);
    mp_stage_judge_finish(&l.s);
out:
    mp_lora_gemm_free(&l.g);
    return status;
}

mp_status mp_judge_stage_shrink_gate_up(const mp_judgement *j, mp_error *err) {
    return judge(j, MP_SHRINK_GATE_UP, err);
}

mp_status mp_judge_stage_expand_gate_up(const mp_judgement *j, mp_error *err) {
    return judge(j, MP_EXPAND_GATE_UP, err);
}

mp_status mp_judge_stage_shrink_down(const mp_judgement *j, mp_error *err) {
    return judge(j, MP_SHRINK_DOWN, err);
}

mp_status mp_judge_stage_expand_down(const mp_judgement *j, mp_error *err) {
    return judge(j, MP_EXPAND_DOWN, err);
}

/* ---- inside a span ---- */

/* Nothing is known of what a stage of LoRA makes of balls. */
static mp_status propagate(mp_span *j, int64_t width, mp_balls *out, mp_error *err) {
    const int64_t rows = mp_case_slots(&j->part);
    const mp_status status = mp_balls_create(out, rows, width, false, err);
    for (int64_t i = 0; status == MP_OK && i < rows * width; i++)
        *mp_ball_at(&out->sure, i) = (double)INFINITY;
    return status;
}

mp_status mp_propagate_shrink_gate_up(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    (void)in;
    return propagate(j, mp_lora_slices(&j->part) * j->part.lora_rank, out, err);
}

mp_status mp_propagate_expand_gate_up(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    (void)in;
    return propagate(j, mp_case_w1_rows(&j->part), out, err);
}

mp_status mp_propagate_shrink_down(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    (void)in;
    return propagate(j, j->part.lora_rank, out, err);
}

mp_status mp_propagate_expand_down(mp_span *j, const mp_balls *in, mp_balls *out, mp_error *err) {
    (void)in;
    return propagate(j, j->part.K, out, err);
}
