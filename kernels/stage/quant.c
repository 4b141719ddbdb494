/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act: kernels/device/quant.cu. */
#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "kernels/stage/stage.h"

enum { LAYOUT_TOKENS = -1, MOST_PASSES = 3 };

typedef struct pass {
    const char *entry;
    enum { WARP_A_SCALE, THREAD_A_NUMBER, ONE_THREAD } threads;
} pass;

/* What it launches, in order: of one scale for all rows a pass for each step. None of a quantiser that has no
 * kernel. */
static int passes_of(const mp_case *c, pass list[MOST_PASSES]) {
    const mp_scheme *s = mp_scheme_of(c);
    const mp_dtype codes = mp_quantiser_codes(s->quantiser);
    int count = 0;
    if (codes != MP_E4M3 && codes != MP_I8 && codes != MP_E2M1) return 0;
    if (s->granularity != MP_PER_TENSOR) {
        list[count++] = (pass){"quantise", WARP_A_SCALE};
        return count;
    }
    if (s->made) {
        list[count++] = (pass){"amax", THREAD_A_NUMBER};
        list[count++] = (pass){"scale_of_amax", ONE_THREAD};
    }
    list[count++] = (pass){"codes", THREAD_A_NUMBER};
    return count;
}

static mp_kernel kernel_of(const mp_case *c, mp_stage stage, const char *entry) {
    const mp_quantiser q = mp_scheme_of(c)->quantiser;
    return mp_make_kernel("kernels/device/quant.cu", entry,
                          "-DDTYPE=%d -DCODES=%d -DSCALE=%d -DFLOOR=%d -DLAYOUT=%d%s", (int)c->dtype,
                          (int)mp_quantiser_codes(q), (int)mp_quantiser_scale(q), q != MP_QUANT_MXFP8,
                          stage == MP_QUANT_X ? (int)LAYOUT_TOKENS : (int)c->layout,
                          c->scale_layout == MP_SWIZZLED ? " -DSWIZZLED=1" : "");
}

static mp_status launch(const mp_device_run *run, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    const mp_driver *driver = run->cuda->driver;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    const mp_scheme *s = mp_scheme_of(c);
    const bool x = stage == MP_QUANT_X;
    const mp_tensor *from = x ? &t[MP_X] : mp_as_read(t, MP_CACHE2);
    const int64_t k = from->dim[1], group = s->granularity == MP_PER_GROUP ? mp_case_group(c) : k;
    const bool one = s->granularity == MP_PER_TENSOR;
    mp_status status = MP_OK;
    mp_quant_params params = {
        .from = mp_device_address(from),
        .codes = mp_device_address(&t[x ? MP_X_CODES : MP_CACHE2_CODES]),
        .scale = mp_device_address(mp_codes_scale(c, t, stage)),
        .rows = mp_stage_rows(call, from->dim[0]),
        .k = k,
        .group = one ? 0 : group,
        .given =
            s->made && s->given ? mp_device_address(&t[x ? MP_X_GIVEN_SCALE : MP_CACHE2_GIVEN_SCALE]) : 0,
    };
    if (!one) {
        int64_t stride[MP_MAX_RANK];
        mp_case_strides(c, x ? MP_X_SCALE : MP_CACHE2_SCALE, mp_codes_scale(c, t, stage), stride);
        params.scale_row = stride[0];
        params.scale_group = stride[1];
    }
    pass passes[MOST_PASSES];
    const int count = passes_of(c, passes);
    if (count == 0)
        return mp_fail(err, MP_EUNSUPPORTED, "there is no kernel that makes %s codes",
                       mp_dtype_name(mp_quantiser_codes(s->quantiser)));
    if (one && s->made) MP_CU(cuMemsetD8Async(params.scale, 0, sizeof(float), run->stream));
    for (int i = 0; i < count; i++) {
        const mp_kernel kernel = kernel_of(c, stage, passes[i].entry);
        const bool alone = passes[i].threads == ONE_THREAD;
        const int64_t of_row = passes[i].threads == WARP_A_SCALE ? 32 * mp_divide_up(k, group) : k;
        MP_DO(mp_stage_launch(run, &kernel, alone ? 1 : mp_stage_blocks(from->dim[0] * of_row),
                              alone ? 1 : MP_STAGE_THREADS, &params, err));
    }
out:
    return status;
}

static mp_status launch_x(void *self, const mp_stage_call *call, mp_error *err) {
    return launch(self, call, MP_QUANT_X, err);
}

static mp_status launch_act(void *self, const mp_stage_call *call, mp_error *err) {
    return launch(self, call, MP_QUANT_ACT, err);
}

static int kernels(const mp_case *c, mp_stage stage, mp_kernel *list) {
    pass passes[MOST_PASSES];
    const int count = passes_of(c, passes);
    for (int i = 0; i < count; i++) list[i] = kernel_of(c, stage, passes[i].entry);
    return count;
}

static int kernels_x(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                     mp_kernel *list) {
    (void)config, (void)limits;
    return kernels(c, MP_QUANT_X, list);
}

static int kernels_act(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                       mp_kernel *list) {
    (void)config, (void)limits;
    return kernels(c, MP_QUANT_ACT, list);
}

const mp_device_stage mp_device_quant_x = {launch_x, kernels_x};
const mp_device_stage mp_device_quant_act = {launch_act, kernels_act};
