/* SPDX-License-Identifier: Apache-2.0 */
/* Activation, combine and quantisers measured on the device, all rows at once. */
#include "offload/device/screen_act.h"
#include "offload/device/screen_combine.h"
#include "offload/device/screen_quant.h"
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

/* ---- quant_x, quant_act ---- */

static mp_status see_groups(mp_offload *o, const mp_quant_pass *p, mp_quant_seen *seen, mp_error *err) {
    mp_see_groups_params params = {0};
    mp_told_rows told = {.rows = p->rows, .row_bytes = (size_t)mp_quant_groups(p) * sizeof *seen};
    mp_status status = MP_OK;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring_quant(o, p, &params.rows, err));
    params.seen = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/screen_quant.cu", "see_groups", MP_QUANT_THREADS,
                              &params, seen, err));
out:
    return status;
}

static mp_status measure_quant(mp_offload *o, const mp_quant_screen *s, mp_quant_figures *figures,
                               mp_error *err) {
    const mp_quant_pass *p = s->pass;
    const int64_t bytes = p->rows * mp_quant_groups(p) * (int64_t)sizeof *s->groups;
    mp_screen_quant_params params = {.rule = s->rule};
    mp_told_rows told = {.rows = p->rows, .row_bytes = sizeof *figures};
    mp_status status = MP_OK;
    MP_DO(mp_offload_begin_rows(o, &told, err));
    MP_DO(mp_offload_bring_quant(o, p, &params.rows, err));
    MP_DO(mp_offload_bring_bytes(o, s->groups, bytes, MP_SCRATCH_GROUPS, &params.groups, err));
    params.figures = told.at;
    MP_DO(mp_offload_run_rows(o, &told, "offload/device/screen_quant.cu", "screen_quant", MP_QUANT_THREADS,
                              &params, figures, err));
out:
    return status;
}

static bool reads_quant(const mp_quant_pass *p) {
    return p->rows > 0 && p->from->data && p->codes->data && mp_offload_reads_rows_of(p->from);
}

mp_status mp_offload_see_groups(const mp_engine *self, const mp_quant_pass *p, mp_quant_seen *seen,
                                mp_error *err) {
    if (!reads_quant(p)) return mp_fail(err, MP_EUNSUPPORTED, "no such rows");
    return mp_offload_ended(self->state, see_groups(self->state, p, seen, err), err);
}

mp_status mp_offload_measure_quant(const mp_engine *self, const mp_quant_screen *s, mp_quant_figures *figures,
                                   mp_error *err) {
    if (!reads_quant(s->pass)) return mp_fail(err, MP_EUNSUPPORTED, "no such rows");
    return mp_offload_ended(self->state, measure_quant(self->state, s, figures, err), err);
}
