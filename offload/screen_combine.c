/* SPDX-License-Identifier: Apache-2.0 */
/* The sum over topk measured on the device. */
#include "offload/device/screen_combine.h"
#include "offload/handle.h"
#include "ref/combine.h"

#define SOURCE "offload/device/screen_combine.cu"

static bool can_read(const mp_tensor *t) {
    return !t || !t->data || t->dtype == MP_BF16 || t->dtype == MP_FP16 || t->dtype == MP_FP32;
}

/* Where it lies on the device; nowhere what there is not. */
static mp_status bring(mp_offload *o, const mp_tensor *tensor, mp_scratch scratch, CUdeviceptr *at,
                       mp_error *err) {
    return tensor && tensor->data ? mp_offload_upload(o, tensor, scratch, at, err) : MP_OK;
}

static mp_status measure(mp_offload *o, const mp_combine_screen *s, mp_row_figures *figures, mp_error *err) {
    enum { MOST_BLOCKS = 1 << 16 };
    const mp_driver *driver = o->cuda->driver;
    const mp_tensor *terms = s->terms.cache3, *shared = s->terms.shared_output;
    const int64_t tokens = terms->dim[0], slots = tokens * terms->dim[1];
    const mp_tensor weights = {.dtype = MP_FP32, .rank = 1, .dim = {slots}, .data = (void *)s->terms.weights},
                    ids = {.dtype = MP_I32, .rank = 1, .dim = {slots}, .data = (void *)s->terms.topk_ids};
    const size_t bytes = (size_t)tokens * sizeof *figures;
    mp_screen_combine_params params = {.terms_format = mp_describe_format(terms->dtype),
                                       .got_format = mp_describe_format(s->got->dtype),
                                       .tokens = tokens,
                                       .topk = terms->dim[1],
                                       .K = terms->dim[2],
                                       .stored = s->stored,
                                       .rule = s->rule};
    CUdeviceptr at[5] = {0};
    mp_status status = MP_OK;
    if (shared && shared->data) params.shared_format = mp_describe_format(shared->dtype);
    MP_CU(cuCtxSetCurrent(o->cuda->context));
    MP_DO(mp_offload_make_landings(o, 1, err)); /* what is uploaded goes through them */
    MP_DO(bring(o, terms, MP_SCRATCH_A, &at[0], err));
    MP_DO(bring(o, s->got, MP_SCRATCH_GOT, &at[1], err));
    MP_DO(bring(o, &weights, MP_SCRATCH_INPUT, &at[2], err));
    MP_DO(bring(o, &ids, MP_SCRATCH_INPUT + 1, &at[3], err));
    MP_DO(bring(o, shared, MP_SCRATCH_INPUT + 2, &at[4], err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_FIGURES], bytes, err));
    params.terms = at[0];
    params.got = at[1];
    params.weights = at[2];
    params.topk_ids = at[3];
    params.shared = at[4];
    params.figures = o->scratch[MP_SCRATCH_FIGURES].at;
    MP_CU(cuMemsetD8Async(params.figures, 0xFF, bytes, o->stream)); /* no figures of anything */
    MP_DO(mp_offload_launch(o, SOURCE, "screen_combine", tokens < MOST_BLOCKS ? tokens : MOST_BLOCKS,
                            MP_COMBINE_THREADS, &params, err));
    MP_CU(cuMemcpyDtoHAsync_v2(figures, params.figures, bytes, o->stream));
    MP_CU(cuStreamSynchronize(o->stream));
out:
    if (status != MP_OK) driver->cuStreamSynchronize(o->stream); /* nothing lands behind our back */
    return status;
}

mp_status mp_offload_measure_combine(const mp_engine *self, const mp_combine_screen *screen,
                                     mp_row_figures *figures, mp_error *err) {
    const mp_combine_terms *t = &screen->terms;
    if (!can_read(screen->got) || !can_read(t->cache3) || !can_read(t->shared_output))
        return mp_fail(err, MP_EUNSUPPORTED, "no sums of these formats");
    const mp_status status = measure(self->state, screen, figures, err);
    if (status == MP_EMEMORY) return MP_EUNSUPPORTED;
    if (status == MP_OK) return MP_OK;
    mp_error_prefix(err, "judging on the device");
    if (err) err->status = MP_EDEVICE;
    return MP_EDEVICE;
}
