#include "harness/judge/judge.h"

#include "harness/judge/judge_stage.h"
#include "ref/activation.h"
#include "ref/combine.h"
#include "ref/pipeline.h"

#include <math.h>
#include <stdlib.h>

/* Where act(gate) of a gate that is not zero is zero within its bound and multiplies Inf, the product is Inf
 * with the signs of both or, if float32 or float64 gave zero, NaN: both are right, whichever float64 came
 * to. */
static bool vanishes_before_inf(const mp_stage_judge *s, double g, double u, double *value) {
    if (isfinite(*value) || !isinf(u) || !isfinite(g) || g == 0 ||
        !mp_activation_may_vanish(s->c, s->contract, g))
        return false;
    *value = signbit(g) == signbit(u) ? INFINITY : -INFINITY;
    return true;
}

/* Columns n0 .. n0+n of slot t's row: cache1 -> expectations -> cache2. */
static void judge_activation_piece(const mp_stage_judge *s, const mp_tensor *cache1, int64_t t, int64_t row,
                                   int64_t n0, int64_t n, mp_measure *part) {
    const mp_case *c = s->c;
    const int64_t width1 = mp_tensor_row_length(cache1);
    const mp_dtype *gate_dtype = s->contract->act_rounding == MP_ACT_GATE_ROUNDED ? &c->dtype : NULL;
    double value[MP_ROW_PIECE], error[MP_ROW_PIECE];
    bool or_nan[MP_ROW_PIECE], special = false;
    for (int64_t j = 0; j < n; j++) {
        const double g = mp_decode(cache1->dtype, cache1->data, row * width1 + mp_gate_column(c, n0 + j));
        const double u =
            c->gated ? mp_decode(cache1->dtype, cache1->data, row * width1 + mp_up_column(c, n0 + j)) : 1;
        value[j] = mp_activate(c, g, u, gate_dtype);
        error[j] = mp_activation_bound(c, s->contract, g, u);
        or_nan[j] = vanishes_before_inf(s, g, u, &value[j]);
        special = special || or_nan[j];
    }
    const int64_t position = row * c->N + n0, index = t * c->N + n0;
    if (!special) {
        mp_measure_row(part, s->got->dtype, s->got->data, position, index, n, value, error, s->rounded,
                       s->poison, s->sums + t * 3);
        return;
    }
    for (int64_t j = 0; j < n; j++)
        mp_measure_element(
            part, s->got->dtype, s->got->data, position + j, index + j,
            &(mp_expectation){
                .value = value[j], .error = error[j], .rounded = s->rounded, .or_nan = or_nan[j]},
            s->poison, s->sums + t * 3);
}

static mp_status judge_activation(mp_stage_judge *s, const mp_inputs *in, const mp_tensor *cache1,
                                  const mp_trace *trace, const int64_t *row, mp_verdict *v, mp_error *err) {
    const mp_case *c = s->c;
    const int32_t *topk_ids = in->t[MP_TOPK_IDS].data;
    const int64_t slots = mp_case_slots(c);
    const mp_status status = mp_stage_judge_start(s, slots, c->N, err);
    if (status != MP_OK) return status;
#pragma omp parallel
    {
        mp_measure part;
        mp_measure_start(&part);
#pragma omp for schedule(static)
        for (int64_t t = 0; t < slots; t++)
            for (int64_t n = 0; n < c->N && topk_ids[t] >= 0; n += MP_ROW_PIECE)
                judge_activation_piece(s, cache1, t, row[t], n,
                                       c->N - n < MP_ROW_PIECE ? c->N - n : MP_ROW_PIECE, &part);
        mp_stage_judge_merge(s, &part);
    }
    mp_stage_judge_finish(s, trace, v);
    return MP_OK;
}

static mp_status judge_combine(mp_stage_judge *s, const mp_tensor *cache3, const mp_trace *trace,
                               mp_verdict *v, mp_error *err) {
    const mp_case *c = s->c;
    const mp_status status = mp_stage_judge_start(s, c->M, c->K, err);
    if (status != MP_OK) return status;
#pragma omp parallel
    {
        mp_measure part;
        mp_measure_start(&part);
        double value[MP_ROW_PIECE], error[MP_ROW_PIECE];
#pragma omp for schedule(static)
        for (int64_t m = 0; m < c->M; m++)
            for (int64_t first = 0; first < c->K; first += MP_ROW_PIECE) {
                const int64_t here = c->K - first < MP_ROW_PIECE ? c->K - first : MP_ROW_PIECE,
                              at = m * c->K + first;
                for (int64_t j = 0; j < here; j++) {
                    const mp_sum sum = mp_combine_sum(cache3, m, first + j);
                    value[j] = mp_combine_value(c, s->contract->combine, sum);
                    error[j] = mp_combine_bound(c, s->contract, sum);
                }
                mp_measure_row(&part, s->got->dtype, s->got->data, at, at, here, value, error, s->rounded,
                               s->poison, s->sums + m * 3);
            }
        mp_stage_judge_merge(s, &part);
    }
    mp_stage_judge_finish(s, trace, v);
    return MP_OK;
}

/* Final output against the exact pipeline, in slabs of tokens whose float64 intermediates take at most this
 * much. */
enum { END_TO_END_BYTES = 256 << 20 };

static mp_status measure_end_to_end(const mp_case *c, const mp_inputs *in, const mp_trace *trace,
                                    mp_engine engine, mp_verdict *v, mp_error *err) {
    const mp_tensor *got = &trace->t[MP_OUT];
    const int64_t per_token = c->topk * (mp_case_w1_rows(c) + c->N + 2 * c->K) * (int64_t)sizeof(double);
    int64_t slab = END_TO_END_BYTES / per_token;
    slab = slab < 1 ? 1 : slab > c->M ? c->M : slab;
    const int64_t width = mp_tensor_count(got) / c->M; /* elements of a token */
    mp_tensor exact = c->mode == MP_NO_COMBINE ? mp_tensor_shape(MP_FP64, 3, slab, c->topk, c->K)
                                               : mp_tensor_shape(MP_FP64, 2, slab, c->K, 1);
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
    v->end_to_end = f;
    return status;
}

/* Every stage is judged from what the one before it left. */
static mp_status require_planned(const mp_case *c, const mp_trace *trace, mp_error *err) {
    mp_trace plan;
    mp_trace_plan(c, trace->block_size_m, &plan);
    for (int i = 0; i < MP_TRACE_COUNT; i++)
        if (mp_trace_has(&plan, (mp_trace_tensor)i) && trace->t[i].data == NULL)
            return mp_fail(err, MP_EUNSUPPORTED,
                           "the subject leaves no %s: judging end to end only is not supported yet",
                           mp_trace_tensor_name((mp_trace_tensor)i));
    return MP_OK;
}

mp_status mp_judge(const mp_case *c, const mp_contract *contract, const mp_inputs *in, const mp_trace *trace,
                   uint32_t poison, mp_engine engine, mp_verdict *v, mp_error *err) {
    mp_slot_map map = {0};
    mp_status status = MP_OK;
    mp_stage_judge base = {.c = c,
                           .contract = contract,
                           .poison = poison,
                           .rounded =
                               (c->dtype != MP_FP32 && c->dtype != MP_FP64) || contract->float64_steps};
    const mp_tensor *out = &trace->t[MP_OUT];
    if ((status = require_planned(c, trace, err)) != MP_OK) return status;
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
    if (lost > 0) { /* a sorted layout without some of its slots: align has failed, and the rows of the caches
                       are not known */
        mp_check_fail(v, MP_CHECK_BOUND, "gate_up: %lld slots have no row in the sorted layout",
                      (long long)lost);
        goto out;
    }

    mp_stage_judge s = base;
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
    if ((status = mp_judge_gemm(&s, &gate_up, trace, engine, v, err)) != MP_OK) goto out;

    s = base;
    s.which = MP_ACT;
    s.got = &trace->t[MP_CACHE2];
    if ((status = judge_activation(&s, in, &trace->t[MP_CACHE1], trace, map.cache_row, v, err)) != MP_OK)
        goto out;

    s = base;
    s.which = MP_DOWN;
    s.epilogue = mp_down_epilogue(c, in);
    const mp_gemm_problem down = mp_down_problem(in, &trace->t[MP_CACHE2], map.cache_row, slots);
    if (c->fused_sum) {
        s.got = out;
        status = mp_judge_fused_sum(&s, &down, trace, engine, v, err);
    } else {
        const mp_tensor direct = mp_out_as_cache3(c, out);
        s.got = mp_case_down_writes_out(c) ? &direct : &trace->t[MP_CACHE3];
        status = mp_judge_gemm(&s, &down, trace, engine, v, err);
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
