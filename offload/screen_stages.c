/* SPDX-License-Identifier: Apache-2.0 */
/* Activation and combine measured on the device, all rows at once. */
#include "offload/device/screen_act.h"
#include "offload/device/screen_combine.h"
#include "offload/rows.h"
#include "ref/engine.h"

/* ---- activation ---- */

static mp_status measure_act(mp_offload *o, const mp_act_screen *s, mp_row_figures *figures, mp_error *err) {
    mp_screen_act_params params = {.cache1_format = mp_describe_format(s->cache1->dtype),
                                   .got_format = mp_describe_format(s->got->dtype),
                                   .slots = s->slots,
                                   .N = mp_tensor_row_length(s->got),
                                   .width = mp_tensor_row_length(s->cache1),
                                   .rounds_gate = s->rounds_gate,
                                   .stored = s->stored,
                                   .rule = s->rule};
    mp_told_rows told = {.rows = s->slots, .row_bytes = sizeof *figures};
    CUdeviceptr cache1, got, ids, row;
    mp_status status = MP_OK;
    params.step = s->interleaved ? 2 : 1;
    params.up = s->interleaved ? 1 : params.N;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring(o, s->cache1, MP_SCRATCH_A, &cache1, err));
    MP_DO(mp_offload_bring(o, s->got, MP_SCRATCH_GOT, &got, err));
    MP_DO(mp_offload_bring_bytes(o, s->topk_ids, s->slots * 4, MP_SCRATCH_INPUT, &ids, err));
    MP_DO(mp_offload_bring_bytes(o, s->row, s->slots * 8, MP_SCRATCH_ROWS, &row, err));
    params.cache1 = cache1;
    params.got = got;
    params.topk_ids = ids;
    params.row = row;
    params.figures = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/screen_act.cu", "screen_act", MP_ACT_THREADS, &params,
                              figures, err));
out:
    return status;
}

mp_status mp_offload_measure_act(const mp_engine *self, const mp_act_screen *s, mp_row_figures *figures,
                                 mp_error *err) {
    const mp_gate_function f = s->rule.form.function;
    if (s->slots < 1 || !mp_offload_reads_rows_of(s->cache1) || !mp_offload_reads_rows_of(s->got) ||
        (f != MP_GATE_SWISH && f != MP_GATE_RELU2))
        return mp_fail(err, MP_EUNSUPPORTED, "no such activation");
    return mp_offload_ended(self->state, measure_act(self->state, s, figures, err), err);
}

/* ---- combine ---- */

static mp_status measure_combine(mp_offload *o, const mp_combine_screen *s, mp_row_figures *figures,
                                 mp_error *err) {
    const mp_tensor *terms = s->terms.cache3, *shared = s->terms.shared_output;
    const int64_t tokens = terms->dim[0], slots = tokens * terms->dim[1];
    mp_screen_combine_params params = {.terms_format = mp_describe_format(terms->dtype),
                                       .got_format = mp_describe_format(s->got->dtype),
                                       .tokens = tokens,
                                       .topk = terms->dim[1],
                                       .K = terms->dim[2],
                                       .stored = s->stored,
                                       .rule = s->rule};
    mp_told_rows told = {.rows = tokens, .row_bytes = sizeof *figures};
    CUdeviceptr of_terms, got, weights, ids, of_shared;
    mp_status status = MP_OK;
    if (shared && shared->data) params.shared_format = mp_describe_format(shared->dtype);
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring(o, terms, MP_SCRATCH_A, &of_terms, err));
    MP_DO(mp_offload_bring(o, s->got, MP_SCRATCH_GOT, &got, err));
    MP_DO(mp_offload_bring_bytes(o, s->terms.weights, slots * 4, MP_SCRATCH_INPUT, &weights, err));
    MP_DO(mp_offload_bring_bytes(o, s->terms.topk_ids, slots * 4, MP_SCRATCH_INPUT + 1, &ids, err));
    MP_DO(mp_offload_bring(o, shared, MP_SCRATCH_INPUT + 2, &of_shared, err));
    params.terms = of_terms;
    params.got = got;
    params.weights = weights;
    params.topk_ids = ids;
    params.shared = of_shared;
    params.figures = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/screen_combine.cu", "screen_combine",
                              MP_COMBINE_THREADS, &params, figures, err));
out:
    return status;
}

mp_status mp_offload_measure_combine(const mp_engine *self, const mp_combine_screen *s,
                                     mp_row_figures *figures, mp_error *err) {
    if (s->got->dim[0] < 1 || !mp_offload_reads_rows_of(s->got) ||
        !mp_offload_reads_rows_of(s->terms.cache3) || !mp_offload_reads_rows_of(s->terms.shared_output))
        return mp_fail(err, MP_EUNSUPPORTED, "no sums of these formats");
    return mp_offload_ended(self->state, measure_combine(self->state, s, figures, err), err);
}
