/* The GEMMs, gate_up and down, against float64: with a row a slot, or summed into the output. */
#include "harness/judge/judge_stage.h"

#include "base/clones.h"

#include <math.h>
#include <stdlib.h>

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

/* Of a bf16, fp16 or fp32 tensor. */
static double largest_magnitude(const mp_tensor *t) {
    const int64_t rows = mp_tensor_rows(t), length = mp_tensor_row_length(t);
    const uint64_t most = mp_encode_code(t->dtype, mp_dtype_format(t->dtype)->max_finite);
    uint64_t largest = 0;
#pragma omp parallel for reduction(max : largest) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const void *row = mp_tensor_row(t, r);
        const uint64_t here = mp_dtype_size(t->dtype) == 2 ? largest_code_16(row, length, (uint16_t)most)
                                                           : largest_code_32(row, length, (uint32_t)most);
        largest = here > largest ? here : largest;
    }
    return mp_decode_code(t->dtype, largest);
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
    if (c->data == MP_ONEHOT) return true;
    if (c->data != MP_INTEGER) return false;
    for (int64_t r = 0; r < mp_tensor_rows(p->w); r++)
        if (!row_is_integer(p->w, r)) return false;
    for (int64_t t = 0; t < p->slots; t++)
        if (p->topk_ids[t] >= 0 && p->a_row[t] >= 0 && !row_is_integer(p->a, p->a_row[t])) return false;
    return true;
}

/* The error of the float32 accumulation goes through the epilogue: + bias and * weight each add one rounding
 * of the step; the store to dtype rounds once, to fp32 it copies the accumulator. With exact sums the float32
 * epilogue is computed, and the error is zero. */
static void expect(const mp_stage_judge *s, double acc, double mass, int64_t expert, int64_t column,
                   int64_t slot, double *value, double *error) {
    const double u = mp_contract_step_roundoff(s->contract);
    const mp_tensor *bias = s->epilogue.bias;
    const double b = bias ? mp_decode(bias->dtype, bias->data, expert * bias->dim[1] + column) : 0;
    const double w = s->epilogue.weights ? (double)s->epilogue.weights[slot] : 1;
    if (s->exact && mass < 0x1p24 && !s->contract->float64_steps) {
        float result = (float)acc;
        if (bias) result += (float)b;
        if (s->epilogue.weights) result *= (float)w;
        *value = (double)result;
        *error = 0;
        return;
    }
    double v = acc, e = s->accumulation.rel * mass + s->accumulation.abs;
    if (bias) {
        v += b;
        e += u * (fabs(v) + e);
    }
    if (s->epilogue.weights) {
        v *= w;
        e *= fabs(w);
        e += u * (fabs(v) + e) + 0x1p-150;
    }
    *value = v;
    *error = e;
}

static void judge_tile(void *ctx, const mp_gemm_tile *tile) {
    mp_stage_judge *s = ctx;
    mp_measure part;
    mp_measure_start(&part);
    double value[MP_ROW_PIECE], error[MP_ROW_PIECE];
    for (int64_t i = 0; i < tile->count; i++) {
        const int64_t slot = tile->slot[i], row = s->got_row ? s->got_row[slot] : slot;
        double sums[3] = {0, 0, 0};
        for (int64_t first = 0; first < tile->n; first += MP_ROW_PIECE) {
            const int64_t here = tile->n - first < MP_ROW_PIECE ? tile->n - first : MP_ROW_PIECE,
                          column = tile->n0 + first, from = i * tile->n + first;
            for (int64_t j = 0; j < here; j++)
                expect(s, tile->value[from + j], tile->mass[from + j], tile->expert, column + j, slot,
                       &value[j], &error[j]);
            mp_measure_row(&part, s->got->dtype, s->got->data, row * s->width + column,
                           slot * s->width + column, here, value, error, s->rounded, s->poison, sums);
        }
        mp_stage_judge_add_sums(s, slot, sums);
    }
    mp_stage_judge_merge(s, &part);
}

/* Rows of filtered slots are written as zeros: +0, not the result of some arithmetic. */
static void judge_filtered_zeros(mp_stage_judge *s, const mp_gemm_problem *p) {
    const mp_expectation zero = {.positive_zero = true};
    for (int64_t t = 0; t < p->slots; t++) {
        const int64_t row = s->got_row ? s->got_row[t] : t;
        if (p->topk_ids[t] >= 0 || row < 0) continue;
        double sums[3] = {0, 0, 0};
        for (int64_t j = 0; j < s->width; j++)
            mp_measure_element(&s->measure, s->got->dtype, s->got->data, row * s->width + j, t * s->width + j,
                               &zero, s->poison, sums);
        mp_stage_judge_add_sums(s, t, sums);
    }
}

static void gemm_bounds(mp_stage_judge *s, const mp_gemm_problem *p) {
    const double largest = fmax(largest_magnitude(p->a), largest_magnitude(p->w));
    s->accumulation = mp_contract_gemm_bound(s->contract, p->w->dtype, p->w->dim[2], largest);
    s->exact = sums_are_exact(s->c, p);
}

mp_status mp_judge_gemm(mp_stage_judge *s, const mp_gemm_problem *p, const mp_trace *trace, mp_engine engine,
                        mp_verdict *v, mp_error *err) {
    mp_status status = mp_stage_judge_start(s, p->slots, p->w->dim[1], err);
    if (status != MP_OK) return status;
    gemm_bounds(s, p);
    status = mp_gemm_float64(engine, p, true, judge_tile, s, err);
    if (status != MP_OK) {
        free(s->sums);
        return status;
    }
    judge_filtered_zeros(s, p);
    mp_stage_judge_finish(s, trace, v);
    return MP_OK;
}

/* Fused sum: down adds rnd(acc) into out, each addition rounds to dtype, any order, then * rsf. From cache2
 * in one go: value = rsf * sum_j v_j with errors e_j and half an ulp for each rnd. At most topk additions and
 * the scaling's product round: gamma_(topk+1)(u_dtype) * sum (|v_j| + e_j); the output's own store is the
 * rounding that every expectation has. mp_case_validate keeps topk * u_dtype below 1/8, where this still says
 * something. */
static void collect_fused(void *ctx, const mp_gemm_tile *tile) {
    mp_stage_judge *s = ctx;
    for (int64_t i = 0; i < tile->count; i++)
        for (int64_t j = 0; j < tile->n; j++) {
            const int64_t slot = tile->slot[i], column = tile->n0 + j;
            double value, error;
            expect(s, tile->value[i * tile->n + j], tile->mass[i * tile->n + j], tile->expert, column, slot,
                   &value, &error);
            if (s->rounded) error += mp_half_ulp(s->got->dtype, fabs(value) + error);
            double *sum = s->fused + (slot / s->c->topk * s->width + column) * 3;
#pragma omp atomic
            sum[0] += value;
#pragma omp atomic
            sum[1] += error;
#pragma omp atomic
            sum[2] += fabs(value) + error;
        }
}

mp_status mp_judge_fused_sum(mp_stage_judge *s, const mp_gemm_problem *p, const mp_trace *trace,
                             mp_engine engine, mp_verdict *v, mp_error *err) {
    const mp_case *c = s->c;
    const double u = mp_unit_roundoff(c->dtype), rsf = (double)(float)c->rsf;
    mp_status status = mp_stage_judge_start(s, c->M, c->K, err);
    if (status != MP_OK) return status;
    s->fused = calloc((size_t)(c->M * c->K) * 3, sizeof *s->fused);
    if (!s->fused) {
        status = mp_fail(err, MP_EMEMORY, "judge: no memory for the sums of %lld tokens", (long long)c->M);
        goto out;
    }
    gemm_bounds(s, p);
    s->exact = false; /* the additions round */
    if ((status = mp_gemm_float64(engine, p, true, collect_fused, s, err)) != MP_OK) goto out;
    for (int64_t i = 0; i < c->M * c->K; i++) {
        const double *sum = s->fused + i * 3;
        mp_expectation e = {.value = rsf * sum[0], .rounded = true};
        e.error = fabs(rsf) * (sum[1] + mp_gamma((double)c->topk + 1, u) * sum[2]);
        mp_measure_element(&s->measure, s->got->dtype, s->got->data, i, i, &e, s->poison,
                           s->sums + i / c->K * 3);
    }
    mp_stage_judge_finish(s, trace, v);
out:
    free(s->fused);
    free(s->sums);
    return status;
}
