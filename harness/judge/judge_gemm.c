/* SPDX-License-Identifier: Apache-2.0 */
/* The GEMMs, gate_up and down, against float64. */
#include "harness/judge/judge_gemm.h"

#include "base/clones.h"
#include "harness/judge/judge.h"

#include <math.h>

/* Codes without their sign are ordered as the magnitudes they stand for: the largest finite one, by
 * integers. */
MP_CLONES static uint64_t largest_code_16(const uint16_t *codes, int64_t n, uint16_t most) {
    uint16_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t magnitude = codes[i] & 0x7FFF, finite = magnitude <= most ? magnitude : 0;
        largest = finite > largest ? finite : largest;
    }
    return largest;
}

MP_CLONES static uint64_t largest_code_32(const uint32_t *codes, int64_t n, uint32_t most) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t magnitude = codes[i] & 0x7FFFFFFF, finite = magnitude <= most ? magnitude : 0;
        largest = finite > largest ? finite : largest;
    }
    return largest;
}

double mp_largest_magnitude(const mp_tensor *t) {
    const int64_t rows = mp_tensor_rows(t), length = mp_tensor_row_length(t);
    const uint64_t most = mp_encode_code(t->dtype, mp_dtype_format(t->dtype)->max_finite);
    const size_t size = mp_dtype_size(t->dtype);
    double largest = 0;
#pragma omp parallel for reduction(max : largest) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const void *row = mp_tensor_row(t, r);
        double here = 0;
        if (size == 2) {
            here = mp_decode_code(t->dtype, largest_code_16(row, length, (uint16_t)most));
        } else if (size == 4) {
            here = mp_decode_code(t->dtype, largest_code_32(row, length, (uint32_t)most));
        } else {
            for (int64_t i = 0; i < length; i++) {
                const double value = fabs(mp_decode(t->dtype, row, i));
                if (isfinite(value) && value > here) here = value;
            }
        }
        largest = here > largest ? here : largest;
    }
    return largest;
}

static bool row_is_integer(const mp_tensor *t, int64_t row) {
    const int64_t length = mp_tensor_row_length(t);
    for (int64_t i = 0; i < length; i++) {
        const double v = mp_decode(t->dtype, t->data, row * length + i);
        if (v != rint(v)) return false;
    }
    return true;
}

/* Whether all sums of the GEMM are exact in float32 whatever the order: a single term each (onehot), or
 * integer operands whose magnitudes sum to less than 2^24 (checked per element with its mass in expect()). */
static bool sums_are_exact(const mp_case *c, const mp_gemm_problem *p) {
    if (!mp_operand_is_plain(&p->a) || !mp_operand_is_plain(&p->w)) return false;
    if (c->data == MP_ONEHOT) return true;
    if (c->data != MP_INTEGER) return false;
    for (int64_t r = 0; r < mp_tensor_rows(p->w.codes); r++)
        if (!row_is_integer(p->w.codes, r)) return false;
    for (int64_t t = 0; t < p->slots; t++)
        if (p->topk_ids[t] >= 0 && p->a_row[t] >= 0 && !row_is_integer(p->a.codes, p->a_row[t])) return false;
    return true;
}

typedef struct gemm_bounds {
    mp_sum_bound accumulation;
    bool exact; /* every sum is exact in float32 in any order: the result is one determined number */
} gemm_bounds;

static gemm_bounds bounds_of(const mp_judgement *j, mp_stage stage, const mp_gemm_problem *p) {
    const double largest = fmax(mp_largest_magnitude(p->a.codes), mp_largest_magnitude(p->w.codes));
    return (gemm_bounds){.accumulation = mp_gemm_bound(mp_stage_gemm_contract(j->contract, stage),
                                                       p->w.codes->dtype, p->w.codes->dim[2], largest),
                         .exact = sums_are_exact(j->c, p)};
}

/* One GEMM being judged. */
typedef struct gemm_judge {
    mp_stage_judge s;
    mp_stage_gemm gemm;
    gemm_bounds bounds;
} gemm_judge;

/* With exact sums the float32 epilogue is computed, and the error is zero. */
static void expect(const gemm_judge *g, double acc, double mass, int64_t expert, int64_t column, int64_t slot,
                   double *value, double *error) {
    const mp_contract *contract = g->s.j->contract;
    if (g->bounds.exact && mass < 0x1p24 && !contract->float64_steps) {
        float result = (float)acc;
        mp_epilogue_row_f32(&g->gemm.epilogue, expert, column, 1, slot, &result);
        *value = (double)result;
        *error = 0;
        return;
    }
    const double acc_error = g->bounds.accumulation.rel * mass + g->bounds.accumulation.abs;
    mp_epilogue_expect(contract, &g->gemm.epilogue, acc, acc_error, expert, column, slot, value, error);
}

static void judge_tile(void *ctx, const mp_gemm_tile *tile) {
    gemm_judge *g = ctx;
    mp_stage_judge *s = &g->s;
    mp_measure part;
    mp_stage_judge_part(s, &part);
    double value[MP_ROW_PIECE], error[MP_ROW_PIECE];
    for (int64_t i = 0; i < tile->count; i++) {
        const int64_t slot = tile->slot[i], row = s->got_row ? s->got_row[slot] : slot;
        double sums[3] = {0, 0, 0};
        for (int64_t first = 0; first < tile->n; first += MP_ROW_PIECE) {
            const int64_t here = tile->n - first < MP_ROW_PIECE ? tile->n - first : MP_ROW_PIECE,
                          column = tile->n0 + first, from = i * tile->n + first;
            for (int64_t k = 0; k < here; k++)
                expect(g, tile->value[from + k], tile->mass[from + k], tile->expert, column + k, slot,
                       &value[k], &error[k]);
            mp_measure_row(&part, s->got->dtype, s->got->data, row * s->width + column,
                           slot * s->width + column, here, value, error, s->rounded, s->j->poison, sums);
        }
        mp_stage_judge_add_sums(s, slot, sums);
    }
    mp_stage_judge_merge(s, &part);
}

/* Rows of filtered slots are written as zeros: +0, not the result of some arithmetic. */
static void judge_filtered_zeros(mp_stage_judge *s, const mp_gemm_problem *p) {
    const mp_expectation zero = {.positive_zero = true};
    if (s->j->contract->filtered[s->stage] != MP_ROW_ZERO) return;
    for (int64_t t = 0; t < p->slots; t++) {
        const int64_t row = s->got_row ? s->got_row[t] : t;
        if (p->topk_ids[t] >= 0 || row < 0) continue;
        double sums[3] = {0, 0, 0};
        for (int64_t k = 0; k < s->width; k++)
            mp_measure_element(&s->measure, s->got->dtype, s->got->data, row * s->width + k, t * s->width + k,
                               &zero, s->j->poison, sums);
        mp_stage_judge_add_sums(s, t, sums);
    }
}

static mp_status judge_gemm(const mp_judgement *j, mp_stage stage, mp_error *err) {
    const mp_stage_call call = {.c = j->c, .t = j->t, .map = &j->map};
    gemm_judge g = {.gemm = mp_gemm_of_stage(&call, stage)};
    g.bounds = bounds_of(j, stage, &g.gemm.problem);
    if (!isfinite(g.bounds.accumulation.rel)) {
        mp_stage_has_no_bound(j, stage, "so many terms");
        return MP_OK;
    }
    mp_status status = mp_stage_judge_start(j, stage, stage, &g.s, err);
    if (status != MP_OK) return status;
    status = mp_gemm_float64(j->engine, &g.gemm.problem, true, judge_tile, &g, err);
    if (status != MP_OK) {
        mp_stage_judge_drop(&g.s);
        return status;
    }
    judge_filtered_zeros(&g.s, &g.gemm.problem);
    mp_stage_judge_finish(&g.s);
    return MP_OK;
}

mp_status mp_judge_stage_gate_up(const mp_judgement *j, mp_error *err) {
    return judge_gemm(j, MP_GATE_UP, err);
}

mp_status mp_judge_stage_down(const mp_judgement *j, mp_error *err) {
    return judge_gemm(j, MP_DOWN, err);
}
