/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of the float64 pipeline: values, and what they come to beside the output. */
#include "offload/device/steps.h"
#include "offload/end_to_end.h"
#include "ref/activation.h"
#include "ref/combine.h"

static mp_status launch(const mp_device_pipeline *p, const char *entry, int64_t elements, void *params,
                        mp_error *err) {
    return mp_offload_launch(p->o, "offload/device/steps.cu", entry,
                             mp_blocks_of_elements(elements, MP_ELEMENT_THREADS), MP_ELEMENT_THREADS, params,
                             err);
}

mp_status mp_value_epilogue(const mp_device_pipeline *p, const mp_pipeline_gemm *g, const mp_piece *piece,
                            mp_error *err) {
    const bool up = g->stage == MP_GATE_UP;
    const size_t first = (size_t)mp_grouped_gemm_first(&g->sums, piece);
    mp_epilogue64_params params = {
        .sums = mp_pipeline_scratch(p, MP_SCRATCH_RESULTS),
        .slots = mp_pipeline_scratch(p, MP_SCRATCH_SLOTS) + first * sizeof(int64_t),
        .topk_ids = p->topk_ids + (size_t)g->first * sizeof(int32_t),
        .weights = mp_stage_weighs(&p->c, g->stage) ? p->weights + (size_t)g->first * sizeof(float) : 0,
        .bias = p->bias[!up],
        .to = mp_pipeline_scratch(p, up ? MP_SCRATCH_GATE_UP : MP_SCRATCH_DOWN),
        .rows = piece->rows,
        .n = piece->n,
        .n0 = piece->n0,
        .width = g->sums.p->w.codes->dim[1]};
    if (params.bias) params.bias_format = mp_describe_format(p->t[up ? MP_B1 : MP_B2].dtype);
    return launch(p, "epilogue", piece->rows * piece->n, &params, err);
}

mp_status mp_value_activate(const mp_device_pipeline *p, int64_t slots, mp_error *err) {
    const mp_case *c = &p->c;
    mp_act64_params params = {.from = mp_pipeline_scratch(p, MP_SCRATCH_GATE_UP),
                              .to = mp_pipeline_scratch(p, MP_SCRATCH_ACT),
                              .act = mp_act_form_of(c),
                              .slots = slots,
                              .N = c->N,
                              .width = mp_case_w1_rows(c),
                              .step = mp_gate_step(c),
                              .up = mp_up_behind_gate(c)};
    return launch(p, "activate", slots * c->N, &params, err);
}

mp_status mp_value_measure(const mp_device_pipeline *p, int64_t first, int64_t count, mp_dtype stored,
                           mp_error *err) {
    const mp_case *c = &p->c;
    const size_t slot = (size_t)(first * c->topk);
    mp_output64_params params = {
        .rows = mp_pipeline_scratch(p, MP_SCRATCH_DOWN),
        .topk_ids = p->topk_ids + slot * sizeof(int32_t),
        .weights = mp_stage_weighs(c, MP_COMBINE) ? p->weights + slot * sizeof(float) : 0,
        .shared = p->shared,
        .stored = p->stored,
        .figures = mp_pipeline_scratch(p, MP_SCRATCH_FIGURES) + (size_t)first * sizeof(mp_token_figures),
        .stored_format = mp_describe_format(stored),
        .rsf = mp_combine_rsf(c),
        .tokens = count,
        .topk = c->topk,
        .K = c->K,
        .first = first,
        .combines = mp_case_has_stage(c, MP_COMBINE)};
    if (p->shared) params.shared_format = mp_describe_format(p->t[MP_SHARED_OUTPUT].dtype);
    return launch(p, "measure_tokens", count * MP_ELEMENT_THREADS, &params, err);
}
