/* SPDX-License-Identifier: Apache-2.0 */
/* Activation and combine measured on the device, all rows at once. */
#include "offload/device/screen_act.h"
#include "offload/device/screen_combine.h"
#include "offload/handle.h"
#include "ref/engine.h"

/* ---- what both have in common ---- */

/* What there is not is not read. */
static bool can_read(const mp_tensor *t) {
    return !t || !t->data || mp_is_stored_float(t->dtype);
}

/* Where it lies on the device; nowhere what there is not. */
static mp_status bring(mp_offload *o, const mp_tensor *tensor, mp_scratch scratch, CUdeviceptr *at,
                       mp_error *err) {
    *at = 0;
    return tensor && tensor->data ? mp_offload_upload(o, tensor, scratch, at, err) : MP_OK;
}

static mp_status bring_bytes(mp_offload *o, const void *data, int64_t bytes, mp_scratch scratch,
                             CUdeviceptr *at, mp_error *err) {
    mp_tensor t = mp_tensor_shape(MP_U8, 1, bytes, 1, 1);
    t.data = (void *)(uintptr_t)data; /* which nobody writes to */
    return bring(o, &t, scratch, at, err);
}

static mp_status begin(mp_offload *o, int64_t rows, CUdeviceptr *figures, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    const size_t bytes = (size_t)rows * sizeof(mp_row_figures);
    mp_status status = MP_OK;
    MP_CU(cuCtxSetCurrent(o->cuda->context));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_FIGURES], bytes, err));
    *figures = o->scratch[MP_SCRATCH_FIGURES].at;
    MP_CU(cuMemsetD8Async(*figures, 0xFF, bytes, o->stream)); /* no figures of anything */
out:
    return status;
}

/* A block of threads a row, and the figures of all of them. */
static mp_status run(mp_offload *o, const char *source, const char *entry, int64_t rows, int threads,
                     void *params, mp_row_figures *figures, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    mp_status status = mp_offload_launch(o, source, entry, mp_blocks_in_turn(rows), threads, params, err);
    if (status != MP_OK) goto out;
    MP_CU(cuMemcpyDtoHAsync_v2(figures, o->scratch[MP_SCRATCH_FIGURES].at, (size_t)rows * sizeof *figures,
                               o->stream));
    MP_CU(cuStreamSynchronize(o->stream));
out:
    return status;
}

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
    CUdeviceptr cache1, got, ids, row, at;
    mp_status status = MP_OK;
    params.step = s->interleaved ? 2 : 1;
    params.up = s->interleaved ? 1 : params.N;
    MP_DO(begin(o, s->slots, &at, err));
    MP_DO(bring(o, s->cache1, MP_SCRATCH_A, &cache1, err));
    MP_DO(bring(o, s->got, MP_SCRATCH_GOT, &got, err));
    MP_DO(bring_bytes(o, s->topk_ids, s->slots * 4, MP_SCRATCH_INPUT, &ids, err));
    MP_DO(bring_bytes(o, s->row, s->slots * 8, MP_SCRATCH_ROWS, &row, err));
    params.cache1 = cache1;
    params.got = got;
    params.topk_ids = ids;
    params.row = row;
    params.figures = at;
    MP_DO(run(o, "offload/device/screen_act.cu", "screen_act", s->slots, MP_ACT_THREADS, &params, figures,
              err));
out:
    return status;
}

mp_status mp_offload_measure_act(const mp_engine *self, const mp_act_screen *s, mp_row_figures *figures,
                                 mp_error *err) {
    const mp_gate_function f = s->rule.form.function;
    if (s->slots < 1 || !can_read(s->cache1) || !can_read(s->got) ||
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
    CUdeviceptr at, of_terms, got, weights, ids, of_shared;
    mp_status status = MP_OK;
    if (shared && shared->data) params.shared_format = mp_describe_format(shared->dtype);
    MP_DO(begin(o, tokens, &at, err));
    MP_DO(bring(o, terms, MP_SCRATCH_A, &of_terms, err));
    MP_DO(bring(o, s->got, MP_SCRATCH_GOT, &got, err));
    MP_DO(bring_bytes(o, s->terms.weights, slots * 4, MP_SCRATCH_INPUT, &weights, err));
    MP_DO(bring_bytes(o, s->terms.topk_ids, slots * 4, MP_SCRATCH_INPUT + 1, &ids, err));
    MP_DO(bring(o, shared, MP_SCRATCH_INPUT + 2, &of_shared, err));
    params.terms = of_terms;
    params.got = got;
    params.weights = weights;
    params.topk_ids = ids;
    params.shared = of_shared;
    params.figures = at;
    MP_DO(run(o, "offload/device/screen_combine.cu", "screen_combine", tokens, MP_COMBINE_THREADS, &params,
              figures, err));
out:
    return status;
}

mp_status mp_offload_measure_combine(const mp_engine *self, const mp_combine_screen *s,
                                     mp_row_figures *figures, mp_error *err) {
    if (s->got->dim[0] < 1 || !can_read(s->got) || !can_read(s->terms.cache3) ||
        !can_read(s->terms.shared_output))
        return mp_fail(err, MP_EUNSUPPORTED, "no sums of these formats");
    return mp_offload_ended(self->state, measure_combine(self->state, s, figures, err), err);
}
