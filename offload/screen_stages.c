/* SPDX-License-Identifier: Apache-2.0 */
/* Activation and combine measured on the device, all rows at once. */
#include "offload/device/screen_act.h"
#include "offload/device/screen_combine.h"
#include "offload/rows.h"
#include "ref/engine.h"

/* ---- activation ---- */

static mp_status measure_act(mp_offload *o, const mp_act_screen *s, mp_row_figures *figures, mp_error *err) {
    const mp_act_slots slots = {.cache1 = s->cache1,
                                .got = s->got,
                                .topk_ids = s->topk_ids,
                                .row = s->row,
                                .slots = s->slots,
                                .interleaved = s->interleaved,
                                .rounds_gate = s->rounds_gate};
    mp_screen_act_params params = {.stored = s->stored, .rule = s->rule};
    mp_told_rows told = {.rows = s->slots, .row_bytes = sizeof *figures};
    mp_status status = MP_OK;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring_act(o, &slots, &params.rows, err));
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
    mp_screen_combine_params params = {.stored = s->stored, .rule = s->rule};
    mp_told_rows told = {.rows = s->terms.cache3->dim[0], .row_bytes = sizeof *figures};
    mp_status status = MP_OK;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring_combine(o, &s->terms, s->got, &params.rows, err));
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
