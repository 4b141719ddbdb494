#include "harness/judge.h"

#include "base/clones.h"
#include "harness/measure.h"
#include "ref/activation.h"
#include "ref/combine.h"
#include "ref/pipeline.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void mp_check_fail(mp_verdict *v, mp_check check, const char *format, ...) {
    mp_check_result *result = &v->check[check];
    result->answer = MP_FAILED;
    if (result->failures++ > 0) return;
    va_list args;
    va_start(args, format);
    vsnprintf(result->text, sizeof result->text, format, args);
    va_end(args);
}

void mp_check_pass(mp_verdict *v, mp_check check) {
    mp_check_result *result = &v->check[check];
    if (result->answer != MP_FAILED) *result = (mp_check_result){.answer = MP_PASSED};
}

void mp_check_not_judged(mp_verdict *v, mp_check check, const char *reason) {
    mp_check_result *result = &v->check[check];
    if (result->answer == MP_NOT_JUDGED) snprintf(result->text, sizeof result->text, "%s", reason);
}

/* Everything a stage's measurement needs; shared by the threads. Rows are slots (or tokens); sums holds three sums a row. */
typedef struct stage {
    const mp_case *c;
    const mp_contract *contract;
    mp_stage which;
    const mp_tensor *got;
    const int64_t *got_row; /* row of `got` for each slot; NULL: the slot itself */
    uint32_t poison;
    mp_measure measure;
    double *sums;
    int64_t rows, width;
    /* GEMMs */
    mp_epilogue epilogue;
    mp_sum_bound accumulation;
    bool exact; /* every sum is exact in float32 in any order: the result is one determined number */
    bool rounded; /* the store rounds to dtype: float32 results are stored in fp32 as they are */
    /* fused sum: per token and column, the sum over slots of value, error bound and magnitude */
    double *fused;
} stage;

enum { ROW_PIECE = 256 }; /* columns whose expectations are held at a time */

static mp_status stage_start(stage *s, int64_t rows, int64_t width, mp_error *err) {
    mp_measure_start(&s->measure);
    s->rows = rows;
    s->width = width;
    s->sums = calloc((size_t)(rows > 0 ? rows : 1) * 3, sizeof *s->sums);
    return s->sums ? MP_OK : mp_fail(err, MP_EMEMORY, "judge: no memory for sums of %lld rows", (long long)rows);
}

static void add_row_sums(stage *s, int64_t row, const double sums[3]) {
    for (int i = 0; i < 3; i++) {
#pragma omp atomic
        s->sums[row * 3 + i] += sums[i];
    }
}

static void merge(stage *s, const mp_measure *part) {
#pragma omp critical(mp_judge_merge)
    mp_measure_merge(&s->measure, part);
}

/* "token 3 slot 1 column 17" of a flat index in [rows, width]. */
static void place(const stage *s, int64_t index, char *text, size_t size) {
    const int64_t row = index / s->width, column = index % s->width;
    if (s->rows == s->c->M)
        snprintf(text, size, "%s: token %lld column %lld", mp_stage_name(s->which), (long long)row, (long long)column);
    else
        snprintf(text, size, "%s: token %lld slot %lld column %lld", mp_stage_name(s->which), (long long)(row / s->c->topk),
                 (long long)(row % s->c->topk), (long long)column);
}

/* Turns the measurement into figures and answers, and frees the sums. */
static void stage_finish(stage *s, const mp_trace *trace, mp_verdict *v) {
    mp_measure *m = &s->measure;
    char where[128];
    m->f.judged = true;
    m->f.time_ns = trace->stage_ns[s->which];
    int64_t bad_row = -1;
    for (int64_t r = 0; r < s->rows; r++) {
        const double error = sqrt(s->sums[r * 3]), bound = sqrt(s->sums[r * 3 + 1]), value = sqrt(s->sums[r * 3 + 2]);
        const double relative = error == 0 ? 0 : error / value;
        if (isnan(relative) || relative > m->f.max_row_rms) m->f.max_row_rms = relative;
        if (!(error <= bound * (1 + 0x1p-40)) && bad_row < 0) bad_row = r; /* the sums themselves round */
    }
    if (m->f.failed > 0) {
        place(s, m->f.worst_index, where, sizeof where);
        mp_check_fail(v, MP_CHECK_BOUND, "%s: %.9g instead of %.9g +- %.3g; %lld of %lld elements fail", where, m->f.worst_value, m->f.worst_expected,
                      m->f.worst_bound, (long long)m->f.failed, (long long)m->f.compared);
    } else {
        mp_check_pass(v, MP_CHECK_BOUND);
    }
    if (bad_row >= 0) {
        place(s, bad_row * s->width, where, sizeof where);
        mp_check_fail(v, MP_CHECK_RMS, "%s: the row's rms error %.3g exceeds its bound %.3g", where, sqrt(s->sums[bad_row * 3]),
                      sqrt(s->sums[bad_row * 3 + 1]));
    } else {
        mp_check_pass(v, MP_CHECK_RMS);
    }
    if (m->nan_failures > 0) {
        place(s, m->first_nan, where, sizeof where);
        mp_check_fail(v, MP_CHECK_NAN, "%s: %.9g instead of %.9g; %lld elements", where, m->nan_got, m->nan_expected, (long long)m->nan_failures);
    } else {
        mp_check_pass(v, MP_CHECK_NAN);
    }
    if (m->poison_failures > 0) {
        place(s, m->first_poison, where, sizeof where);
        mp_check_fail(v, MP_CHECK_POISON, "%s: never written; %lld elements still hold the poison", where, (long long)m->poison_failures);
    }
    v->stage[s->which] = m->f;
    free(s->sums);
    s->sums = NULL;
}

/* Codes without their sign are ordered as the magnitudes they stand for: the largest finite one, by integers. */
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
        const uint64_t here = mp_dtype_size(t->dtype) == 2 ? largest_code_16(row, length, (uint16_t)most) : largest_code_32(row, length, (uint32_t)most);
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

/* Whether all sums of the GEMM are exact in float32 whatever the order: a single term each (onehot), or integer operands whose magnitudes sum to less than
 * 2^24 (checked per element with its mass in expect()). */
static bool sums_are_exact(const mp_case *c, const mp_gemm_problem *p) {
    if (c->data == MP_ONEHOT) return true;
    if (c->data != MP_INTEGER) return false;
    for (int64_t r = 0; r < mp_tensor_rows(p->w); r++)
        if (!row_is_integer(p->w, r)) return false;
    for (int64_t t = 0; t < p->slots; t++)
        if (p->topk_ids[t] >= 0 && p->a_row[t] >= 0 && !row_is_integer(p->a, p->a_row[t])) return false;
    return true;
}

/* The error of the float32 accumulation goes through the epilogue: + bias and * weight each add one rounding of the step; the
 * store to dtype rounds once, to fp32 it copies the accumulator. With exact sums the float32 epilogue is computed, and the error is zero. */
static void expect(const stage *s, double acc, double mass, int64_t expert, int64_t column, int64_t slot, double *value, double *error) {
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
    stage *s = ctx;
    mp_measure part;
    mp_measure_start(&part);
    double value[ROW_PIECE], error[ROW_PIECE];
    for (int64_t i = 0; i < tile->count; i++) {
        const int64_t slot = tile->slot[i], row = s->got_row ? s->got_row[slot] : slot;
        double sums[3] = {0, 0, 0};
        for (int64_t first = 0; first < tile->n; first += ROW_PIECE) {
            const int64_t here = tile->n - first < ROW_PIECE ? tile->n - first : ROW_PIECE, column = tile->n0 + first, from = i * tile->n + first;
            for (int64_t j = 0; j < here; j++)
                expect(s, tile->value[from + j], tile->mass[from + j], tile->expert, column + j, slot, &value[j], &error[j]);
            mp_measure_row(&part, s->got->dtype, s->got->data, row * s->width + column, slot * s->width + column, here, value, error, s->rounded,
                           s->poison, sums);
        }
        add_row_sums(s, slot, sums);
    }
    merge(s, &part);
}

/* Rows of filtered slots are exact zeros. */
static void judge_filtered_zeros(stage *s, const mp_gemm_problem *p) {
    const mp_expectation zero = {0};
    for (int64_t t = 0; t < p->slots; t++) {
        const int64_t row = s->got_row ? s->got_row[t] : t;
        if (p->topk_ids[t] >= 0 || row < 0) continue;
        double sums[3] = {0, 0, 0};
        for (int64_t j = 0; j < s->width; j++)
            mp_measure_element(&s->measure, s->got->dtype, s->got->data, row * s->width + j, t * s->width + j, &zero, s->poison, sums);
        add_row_sums(s, t, sums);
    }
}

static void gemm_bounds(stage *s, const mp_gemm_problem *p) {
    const double largest = fmax(largest_magnitude(p->a), largest_magnitude(p->w));
    s->accumulation = mp_contract_gemm_bound(s->contract, p->w->dtype, p->w->dim[2], largest);
    s->exact = sums_are_exact(s->c, p);
}

static mp_status judge_gemm(stage *s, const mp_gemm_problem *p, const mp_trace *trace, mp_engine engine, mp_verdict *v, mp_error *err) {
    mp_status status = stage_start(s, p->slots, p->w->dim[1], err);
    if (status != MP_OK) return status;
    gemm_bounds(s, p);
    status = mp_gemm_float64(engine, p, true, judge_tile, s, err);
    if (status != MP_OK) {
        free(s->sums);
        return status;
    }
    judge_filtered_zeros(s, p);
    stage_finish(s, trace, v);
    return MP_OK;
}

/* Columns n0 .. n0+n of slot t's row: cache1 -> expectations -> cache2. */
static void judge_activation_piece(const stage *s, const mp_tensor *cache1, int64_t t, int64_t row, int64_t n0, int64_t n, mp_measure *part) {
    const mp_case *c = s->c;
    const int64_t width1 = mp_tensor_row_length(cache1);
    const mp_dtype *gate_dtype = s->contract->act_rounding == MP_ACT_GATE_ROUNDED ? &c->dtype : NULL;
    double value[ROW_PIECE], error[ROW_PIECE];
    bool or_nan[ROW_PIECE], special = false;
    for (int64_t j = 0; j < n; j++) {
        const double g = mp_decode(cache1->dtype, cache1->data, row * width1 + mp_gate_column(c, n0 + j));
        const double u = c->gated ? mp_decode(cache1->dtype, cache1->data, row * width1 + mp_up_column(c, n0 + j)) : 1;
        value[j] = mp_activate(c, g, u, gate_dtype);
        error[j] = mp_activation_bound(c, s->contract, g, u);
        or_nan[j] = isinf(value[j]) && isinf(u) && mp_activation_may_vanish(c, s->contract, g);
        special = special || or_nan[j];
    }
    const int64_t position = row * c->N + n0, index = t * c->N + n0;
    if (!special) {
        mp_measure_row(part, s->got->dtype, s->got->data, position, index, n, value, error, s->rounded, s->poison, s->sums + t * 3);
        return;
    }
    for (int64_t j = 0; j < n; j++)
        mp_measure_element(part, s->got->dtype, s->got->data, position + j, index + j,
                           &(mp_expectation){.value = value[j], .error = error[j], .rounded = s->rounded, .or_nan = or_nan[j]}, s->poison, s->sums + t * 3);
}

static mp_status judge_activation(stage *s, const mp_inputs *in, const mp_tensor *cache1, const mp_trace *trace, const int64_t *row, mp_verdict *v, mp_error *err) {
    const mp_case *c = s->c;
    const int32_t *topk_ids = in->t[MP_TOPK_IDS].data;
    const int64_t slots = mp_case_slots(c);
    const mp_status status = stage_start(s, slots, c->N, err);
    if (status != MP_OK) return status;
#pragma omp parallel
    {
        mp_measure part;
        mp_measure_start(&part);
#pragma omp for schedule(static)
        for (int64_t t = 0; t < slots; t++)
            for (int64_t n = 0; n < c->N && topk_ids[t] >= 0; n += ROW_PIECE)
                judge_activation_piece(s, cache1, t, row[t], n, c->N - n < ROW_PIECE ? c->N - n : ROW_PIECE, &part);
        merge(s, &part);
    }
    stage_finish(s, trace, v);
    return MP_OK;
}

static mp_status judge_combine(stage *s, const mp_tensor *cache3, const mp_trace *trace, mp_verdict *v, mp_error *err) {
    const mp_case *c = s->c;
    const mp_status status = stage_start(s, c->M, c->K, err);
    if (status != MP_OK) return status;
#pragma omp parallel
    {
        mp_measure part;
        mp_measure_start(&part);
        double value[ROW_PIECE], error[ROW_PIECE];
#pragma omp for schedule(static)
        for (int64_t m = 0; m < c->M; m++)
            for (int64_t first = 0; first < c->K; first += ROW_PIECE) {
                const int64_t here = c->K - first < ROW_PIECE ? c->K - first : ROW_PIECE, at = m * c->K + first;
                for (int64_t j = 0; j < here; j++) {
                    const mp_sum sum = mp_combine_sum(cache3, m, first + j);
                    value[j] = mp_combine_value(c, s->contract->combine, sum);
                    error[j] = mp_combine_bound(c, s->contract, sum);
                }
                mp_measure_row(&part, s->got->dtype, s->got->data, at, at, here, value, error, s->rounded, s->poison, s->sums + m * 3);
            }
        merge(s, &part);
    }
    stage_finish(s, trace, v);
    return MP_OK;
}

/* Fused sum: down adds rnd(acc) into out, each addition rounds to dtype, any order, then * rsf. From cache2 in one go: value = rsf * sum_j v_j with
 * errors e_j and half an ulp for each store; additions cost gamma_topk(u_dtype) * sum (|v_j| + e_j); the scaling and its store one rounding to dtype more. */
static void collect_fused(void *ctx, const mp_gemm_tile *tile) {
    stage *s = ctx;
    for (int64_t i = 0; i < tile->count; i++)
        for (int64_t j = 0; j < tile->n; j++) {
            const int64_t slot = tile->slot[i], column = tile->n0 + j;
            double value, error;
            expect(s, tile->value[i * tile->n + j], tile->mass[i * tile->n + j], tile->expert, column, slot, &value, &error);
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

static mp_status judge_fused_sum(stage *s, const mp_gemm_problem *p, const mp_trace *trace, mp_engine engine, mp_verdict *v, mp_error *err) {
    const mp_case *c = s->c;
    const double u = mp_unit_roundoff(c->dtype), rsf = (double)(float)c->rsf;
    mp_status status = stage_start(s, c->M, c->K, err);
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
        mp_measure_element(&s->measure, s->got->dtype, s->got->data, i, i, &e, s->poison, s->sums + i / c->K * 3);
    }
    stage_finish(s, trace, v);
out:
    free(s->fused);
    free(s->sums);
    return status;
}

/* Final output against the exact pipeline, in slabs of tokens whose float64 intermediates take at most this much. */
enum { END_TO_END_BYTES = 256 << 20 };

static mp_status measure_end_to_end(const mp_case *c, const mp_inputs *in, const mp_trace *trace, mp_engine engine, mp_verdict *v, mp_error *err) {
    const mp_tensor *got = &trace->t[MP_OUT];
    const int64_t per_token = c->topk * (mp_case_w1_rows(c) + c->N + 2 * c->K) * (int64_t)sizeof(double);
    int64_t slab = END_TO_END_BYTES / per_token;
    slab = slab < 1 ? 1 : slab > c->M ? c->M : slab;
    const int64_t width = mp_tensor_count(got) / c->M; /* elements of a token */
    mp_tensor exact = c->mode == MP_NO_COMBINE ? mp_tensor_shape(MP_FP64, 3, slab, c->topk, c->K) : mp_tensor_shape(MP_FP64, 2, slab, c->K, 1);
    mp_status status = mp_tensor_alloc(&exact, MP_POISON_A, err);
    mp_stage_figures f = {.worst_index = -1};
    for (int64_t first = 0; status == MP_OK && first < c->M; first += slab) {
        const int64_t count = c->M - first < slab ? c->M - first : slab;
        mp_tensor window = exact;
        window.dim[0] = count;
        if ((status = mp_ref_exact(c, in, engine, first, count, &window, err)) != MP_OK) break;
        const double *value = exact.data;
        double max_abs = 0, max_rms = 0;
        bool nan_seen = false;
#pragma omp parallel for reduction(max : max_abs, max_rms) reduction(|| : nan_seen) schedule(static)
        for (int64_t m = 0; m < count; m++) {
            double error2 = 0, value2 = 0;
            for (int64_t i = 0; i < width; i++) {
                const double expected = value[m * width + i], stored = mp_decode(got->dtype, got->data, (first + m) * width + i);
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
    v->end_to_end = f;
    return status;
}

mp_status mp_judge(const mp_case *c, const mp_contract *contract, const mp_inputs *in, const mp_trace *trace, uint32_t poison,
                   mp_engine engine, mp_verdict *v, mp_error *err) {
    mp_slot_map map = {0};
    mp_status status = MP_OK;
    stage base = {.c = c, .contract = contract, .poison = poison,
                  .rounded = (c->dtype != MP_FP32 && c->dtype != MP_FP64) || contract->float64_steps};
    const mp_tensor *out = &trace->t[MP_OUT];
    if (c->scope == MP_SCOPE_COMBINE) {
        base.which = MP_SUM;
        base.got = out;
        return judge_combine(&base, &in->t[MP_IN_CACHE3], trace, v, err);
    }
    if (c->scope != MP_SCOPE_ACT) mp_judge_align(c, contract, in, trace, v);
    if (c->scope == MP_SCOPE_ALIGN) return MP_OK;

    if ((status = mp_slot_map_create(c, trace, &map, err)) != MP_OK) return status;
    const int64_t slots = mp_case_slots(c);
    int64_t lost = 0;
    for (int64_t t = 0; t < slots; t++) lost += map.cache_row[t] < 0;
    if (lost > 0) { /* a sorted layout without some of its slots: align has failed, and the rows of the caches are not known */
        mp_check_fail(v, MP_CHECK_BOUND, "gate_up: %lld slots have no row in the sorted layout", (long long)lost);
        goto out;
    }

    stage s = base;
    if (c->scope == MP_SCOPE_ACT) {
        s.which = MP_ACT;
        s.got = &trace->t[MP_CACHE2];
        status = judge_activation(&s, in, &in->t[MP_IN_CACHE1], trace, map.cache_row, v, err);
        goto out;
    }
    s.which = MP_GATE_UP;
    s.got = &trace->t[MP_CACHE1];
    s.got_row = map.cache_row;
    s.epilogue = mp_gate_up_epilogue(c, in);
    const mp_gemm_problem gate_up = mp_gate_up_problem(in, map.x_row, slots);
    if ((status = judge_gemm(&s, &gate_up, trace, engine, v, err)) != MP_OK) goto out;

    s = base;
    s.which = MP_ACT;
    s.got = &trace->t[MP_CACHE2];
    if ((status = judge_activation(&s, in, &trace->t[MP_CACHE1], trace, map.cache_row, v, err)) != MP_OK) goto out;

    s = base;
    s.which = MP_DOWN;
    s.epilogue = mp_down_epilogue(c, in);
    const mp_gemm_problem down = mp_down_problem(in, &trace->t[MP_CACHE2], map.cache_row, slots);
    if (c->fused_sum) {
        s.got = out;
        status = judge_fused_sum(&s, &down, trace, engine, v, err);
    } else {
        const mp_tensor direct = mp_out_as_cache3(c, out);
        s.got = mp_case_down_writes_out(c) ? &direct : &trace->t[MP_CACHE3];
        status = judge_gemm(&s, &down, trace, engine, v, err);
    }
    if (status != MP_OK) goto out;

    if (!mp_case_down_writes_out(c)) {
        s = base;
        s.which = MP_SUM;
        s.got = out;
        if ((status = judge_combine(&s, &trace->t[MP_CACHE3], trace, v, err)) != MP_OK) goto out;
    }
    status = measure_end_to_end(c, in, trace, engine, v, err);
out:
    free(map.memory);
    return status;
}
