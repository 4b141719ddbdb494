/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/handle.h"

#include <stdio.h>
#include <stdlib.h>

static const char *engine_name(const mp_engine *self) {
    mp_offload *o = self->state;
    const mp_engine *cpu = mp_engine_of_cpu();
    snprintf(o->name, sizeof o->name, "float64%s on %s, %s by %s", o->predicted > 0 ? " and predictions" : "",
             mp_cuda_device_name(o->cuda),
             o->left_to_cpu > 0 ? "and, where its memory was too small," : "rows of it again",
             cpu->name(cpu));
    return o->name;
}

mp_status mp_offload_failed(mp_offload *o, mp_error *err) {
    o->cuda->driver->cuStreamSynchronize(o->stream);
    mp_error_prefix(err, "judging on the device");
    if (err) err->status = MP_EDEVICE;
    return MP_EDEVICE;
}

mp_status mp_offload_ended(mp_offload *o, mp_status status, mp_error *err) {
    if (status == MP_OK) return MP_OK;
    if (status != MP_EMEMORY) return mp_offload_failed(o, err);
    o->cuda->driver->cuStreamSynchronize(o->stream);
    return MP_EUNSUPPORTED;
}

mp_status mp_offload_open(int share, mp_offload **result, mp_error *err) {
    int ratio = 0;
    *result = NULL;
    mp_offload *o = calloc(1, sizeof *o);
    if (!o) return mp_fail(err, MP_EMEMORY, "%zu bytes for the judge on the device", sizeof *o);
    mp_status status = mp_cuda_open(&o->cuda, err);
    if (status != MP_OK) goto out;
    const mp_driver *driver = o->cuda->driver;
    o->share = share;
    o->engine = (mp_engine){.state = o,
                            .name = engine_name,
                            .gemm_float64 = mp_offload_gemm_float64,
                            .measure_gemm = mp_offload_measure_gemm,
                            .measure_act = mp_offload_measure_act,
                            .measure_combine = mp_offload_measure_combine,
                            .see_groups = mp_offload_see_groups,
                            .measure_quant = mp_offload_measure_quant,
                            .predict_gemm = mp_offload_predict_gemm,
                            .confirm_gemm = mp_offload_confirm_gemm,
                            .confirm_act = mp_offload_confirm_act,
                            .confirm_combine = mp_offload_confirm_combine,
                            .confirm_quant = mp_offload_confirm_quant,
                            .end_to_end = mp_offload_end_to_end};
    MP_CU(cuDeviceGetAttribute(&ratio, CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO,
                               o->cuda->device));
    o->fast = ratio <= 2;
    MP_CU(cuStreamCreate(&o->stream, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < MP_LANDINGS; i++) MP_CU(cuEventCreate(&o->landed[i], CU_EVENT_DISABLE_TIMING));
    *result = o;
    o = NULL;
out:
    mp_offload_close(o);
    return status;
}

void mp_offload_close(mp_offload *o) {
    if (!o) return;
    mp_offload_prepared(o);
    if (o->cuda) {
        const mp_driver *driver = o->cuda->driver;
        mp_offload_rest(o);
        for (int i = 0; i < MP_LANDINGS; i++) {
            if (o->landing[i]) driver->cuMemFreeHost(o->landing[i]);
            if (o->landed[i]) driver->cuEventDestroy_v2(o->landed[i]);
        }
        if (o->stream) driver->cuStreamDestroy_v2(o->stream);
        mp_cuda_close(o->cuda);
    }
    free(o);
}

const mp_engine *mp_offload_engine(mp_offload *o) {
    return &o->engine;
}

bool mp_offload_is_fast(const mp_offload *o) {
    return o->fast;
}

void mp_offload_begin(mp_offload *o, const mp_inputs *in) {
    mp_offload_prepared(o);
    mp_offload_rest(o);
    o->in = in;
    if (in) o->gemms = o->left_to_cpu = o->predicted = 0;
}

mp_status mp_offload_launch_kernel(mp_offload *o, const mp_kernel *kernel, int64_t blocks, int threads,
                                   void *params, mp_error *err) {
    CUfunction function = NULL;
    mp_status status = mp_cuda_function(o->cuda, kernel, &function, err);
    if (status == MP_OK)
        status = mp_cuda_launch(o->cuda, o->stream, function, blocks, threads, 0, params, err);
    return status;
}

mp_status mp_offload_launch(mp_offload *o, const char *source, const char *entry, int64_t blocks, int threads,
                            void *params, mp_error *err) {
    const mp_kernel kernel = {.texts = &mp_offload_texts, .source = source, .entry = entry};
    return mp_offload_launch_kernel(o, &kernel, blocks, threads, params, err);
}
