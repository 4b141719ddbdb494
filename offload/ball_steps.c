/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of the float64 pipeline where activations are quantised: values, how far the subject's may be from
 * them, and what both come to beside the output. */
#include "cases/scheme.h"
#include "offload/device/balls.h"
#include "offload/end_to_end.h"

#include <stdlib.h>

static mp_status launch(const mp_device_pipeline *p, const char *entry, int64_t threads, void *params,
                        mp_error *err) {
    return mp_offload_launch(p->o, "offload/device/balls.cu", entry,
                             mp_blocks_of_elements(threads, MP_BALL_THREADS), MP_BALL_THREADS, params, err);
}

/* Of a slab, all of it. */
static mp_ball_rows rows_in(const mp_device_pipeline *p, mp_scratch which) {
    const mp_case *c = &p->c;
    const int64_t slots = p->slab * c->topk, rows = which == MP_SCRATCH_QUANT_X ? p->slab : slots,
                  width = which == MP_SCRATCH_GATE_UP ? mp_case_w1_rows(c)
                          : which == MP_SCRATCH_ACT   ? c->N
                                                      : c->K;
    return (mp_ball_rows){mp_pipeline_scratch(p, which), rows * width, width};
}

size_t mp_ball_bytes_of_token(const mp_device_pipeline *p) {
    const size_t x = (size_t)mp_blocks_of(p->c.K, p->rules->quant_x.group),
                 act = (size_t)(p->c.topk * mp_blocks_of(p->c.N, p->rules->quant_act.group)),
                 of_row = sizeof(double) + 2 * sizeof(mp_ball_sum_rule);
    return (x > act ? x : act) * sizeof(mp_quant_group) + (size_t)p->c.topk * of_row;
}

/* What is known of the groups of these rows, into MP_SCRATCH_GROUPS. */
static mp_status bring_groups(const mp_device_pipeline *p, mp_stage stage, int64_t first, int64_t rows,
                              int64_t groups, mp_error *err) {
    mp_device_buffer *buffer = &p->o->scratch[MP_SCRATCH_GROUPS];
    const size_t bytes = (size_t)(rows * groups) * sizeof(mp_quant_group);
    mp_quant_group *known = malloc(bytes);
    mp_status status = known ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for %zu bytes of scales", bytes);
    if (status != MP_OK) return status;
    p->rules->groups(p->rules->ctx, stage, first, rows, known);
    MP_DO(mp_offload_reserve(p->o, buffer, bytes, err));
    MP_DO(mp_offload_copy_in(p->o, buffer->at, known, bytes, err));
out:
    free(known);
    return status;
}

mp_status mp_ball_quantise(const mp_device_pipeline *p, mp_stage stage, int64_t first, int64_t count,
                           mp_error *err) {
    const mp_driver *driver = p->o->cuda->driver;
    const bool x = stage == MP_QUANT_X;
    const int64_t topk = p->c.topk;
    const mp_quant_stage_rule *rule = x ? &p->rules->quant_x : &p->rules->quant_act;
    const mp_ball_rows to = rows_in(p, x ? MP_SCRATCH_QUANT_X : MP_SCRATCH_ACT);
    const int64_t rows = x ? count : count * topk, groups = mp_blocks_of(to.width, rule->group);
    mp_device_buffer *reach = &p->o->scratch[MP_SCRATCH_REACH];
    mp_quant_balls_params params = {.topk_ids = p->topk_ids + (size_t)(first * topk) * sizeof(int32_t),
                                    .from = to,
                                    .to = to,
                                    .rule = rule->balls,
                                    .rows = rows,
                                    .slots = x ? topk : 1,
                                    .group = rule->group};
    mp_status status = MP_OK;
    if (x) {
        params.x_format = mp_describe_format(p->t[MP_X].dtype);
        params.x = p->x + (size_t)first * mp_tensor_row_bytes(&p->t[MP_X]);
    }
    MP_DO(bring_groups(p, stage, x ? first : first * topk, rows, groups, err));
    params.groups = mp_pipeline_scratch(p, MP_SCRATCH_GROUPS);
    MP_DO(mp_offload_reserve(p->o, reach, (size_t)rows * sizeof(double), err));
    params.reach = reach->at;
    MP_CU(cuMemsetD8Async(reach->at, 0, (size_t)rows * sizeof(double), p->o->stream));
    MP_DO(launch(p, "quantise_balls", rows * groups * 32, &params, err));
out:
    return status;
}

/* Of rows whose reach the quantiser has left. */
static mp_status bring_sum_rules(const mp_device_pipeline *p, mp_stage stage, int64_t rows, mp_error *err) {
    const mp_driver *driver = p->o->cuda->driver;
    mp_device_buffer *buffer = &p->o->scratch[MP_SCRATCH_RULES];
    const size_t bytes = (size_t)rows * 2 * sizeof(mp_ball_sum_rule);
    double *reach = malloc((size_t)rows * sizeof *reach);
    mp_ball_sum_rule *rules = malloc(bytes);
    mp_status status = MP_OK;
    if (!reach || !rules) {
        status = mp_fail(err, MP_EMEMORY, "no memory for rules of %lld rows", (long long)rows);
        goto out;
    }
    MP_CU(cuMemcpyDtoHAsync_v2(reach, mp_pipeline_scratch(p, MP_SCRATCH_REACH), (size_t)rows * sizeof *reach,
                               p->o->stream));
    MP_CU(cuStreamSynchronize(p->o->stream));
    for (int64_t r = 0; r < rows; r++) p->rules->sums(p->rules->ctx, stage, reach[r], rules + 2 * r);
    MP_CU(cuCtxSetCurrent(p->o->cuda->context)); /* who makes weights has one of its own */
    MP_DO(mp_offload_reserve(p->o, buffer, bytes, err));
    MP_DO(mp_offload_copy_in(p->o, buffer->at, rules, bytes, err));
out:
    free(reach);
    free(rules);
    return status;
}

mp_status mp_ball_prepare_gemm(const mp_device_pipeline *p, mp_pipeline_gemm *g, int64_t rows,
                               mp_error *err) {
    const mp_ball_rows from = rows_in(p, g->stage == MP_GATE_UP ? MP_SCRATCH_QUANT_X : MP_SCRATCH_ACT);
    g->sums.with_mass = true;
    for (int i = 0; i < 3; i++) g->sums.there[i] = from.value + (size_t)(i * from.numbers) * sizeof(double);
    return bring_sum_rules(p, g->stage, rows, err);
}

mp_status mp_ball_epilogue(const mp_device_pipeline *p, const mp_pipeline_gemm *g, const mp_piece *piece,
                           mp_error *err) {
    const bool up = g->stage == MP_GATE_UP;
    const size_t first = (size_t)mp_grouped_gemm_first(&g->sums, piece);
    mp_sum_balls_params params = {
        .sums = mp_pipeline_scratch(p, MP_SCRATCH_RESULTS),
        .slots = mp_pipeline_scratch(p, MP_SCRATCH_SLOTS) + first * sizeof(int64_t),
        .topk_ids = p->topk_ids + (size_t)g->first * sizeof(int32_t),
        .weights = mp_stage_weighs(&p->c, g->stage) ? p->weights + (size_t)g->first * sizeof(float) : 0,
        .bias = p->bias[!up],
        .to = rows_in(p, up ? MP_SCRATCH_GATE_UP : MP_SCRATCH_DOWN),
        .rules = mp_pipeline_scratch(p, MP_SCRATCH_RULES),
        .slots_of_row = up ? p->c.topk : 1,
        .store = p->rules->stored[g->stage],
        .rows = piece->rows,
        .n = piece->n,
        .n0 = piece->n0};
    if (params.bias) params.bias_format = mp_describe_format(p->t[up ? MP_B1 : MP_B2].dtype);
    return launch(p, "sum_balls", piece->rows * piece->n, &params, err);
}

mp_status mp_ball_activate(const mp_device_pipeline *p, int64_t slots, mp_error *err) {
    mp_act_balls_params params = {.from = rows_in(p, MP_SCRATCH_GATE_UP),
                                  .to = rows_in(p, MP_SCRATCH_ACT),
                                  .rule = p->rules->act[0],
                                  .beside = p->rules->act[1],
                                  .nan = p->rules->nan,
                                  .store = p->rules->stored[MP_ACT],
                                  .slots = slots,
                                  .step = mp_gate_step(&p->c),
                                  .up = mp_up_behind_gate(&p->c)};
    return launch(p, "activate_balls", slots * p->c.N, &params, err);
}

mp_status mp_ball_measure(const mp_device_pipeline *p, int64_t first, int64_t count, mp_dtype stored,
                          mp_error *err) {
    const mp_case *c = &p->c;
    const size_t slot = (size_t)(first * c->topk);
    mp_output_balls_params params = {
        .rows = rows_in(p, MP_SCRATCH_DOWN),
        .topk_ids = p->topk_ids + slot * sizeof(int32_t),
        .weights = mp_stage_weighs(c, MP_COMBINE) ? p->weights + slot * sizeof(float) : 0,
        .shared = p->shared,
        .stored = p->stored,
        .figures = mp_pipeline_scratch(p, MP_SCRATCH_FIGURES) + (size_t)first * sizeof(mp_token_figures),
        .bounds = mp_pipeline_scratch(p, MP_SCRATCH_BOUNDS) + (size_t)first * sizeof(mp_bound_figures),
        .stored_format = mp_describe_format(stored),
        .range = p->rules->combine[0],
        .beside = p->rules->combine[1],
        .store = p->rules->out,
        .tokens = count,
        .topk = c->topk,
        .first = first,
        .combines = mp_case_has_stage(c, MP_COMBINE)};
    if (p->shared) params.shared_format = mp_describe_format(p->t[MP_SHARED_OUTPUT].dtype);
    return launch(p, "bound_tokens", count * MP_BALL_THREADS, &params, err);
}
