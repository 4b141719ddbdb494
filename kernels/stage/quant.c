/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act: kernels/device/quant.cu. */
#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "kernels/stage/stage.h"

#include <stdio.h>

enum { LAYOUT_TOKENS = -1, MOST_PASSES = 3 };

typedef struct pass {
    const char *entry;
    bool alone; /* by one thread */
} pass;

/* What it launches, in order: of one scale for all rows a pass for each step. None of a quantiser that has no
 * kernel. */
static int passes_of(const mp_case *c, pass list[MOST_PASSES]) {
    const mp_scheme *s = mp_scheme_of(c);
    const mp_dtype codes = mp_quantiser_codes(s->quantiser);
    int count = 0;
    if (codes != MP_E4M3 && codes != MP_I8 && codes != MP_E2M1) return 0;
    if (s->granularity != MP_PER_TENSOR) {
        list[count++] = (pass){"quantise", false};
        return count;
    }
    if (s->made) {
        list[count++] = (pass){"amax", false};
        list[count++] = (pass){"scale_of_amax", true};
    }
    list[count++] = (pass){"codes", false};
    return count;
}

/* How threads share the numbers of a scale. */
typedef struct shape {
    int64_t group, vector; /* numbers that share a scale, and those that are moved at a time */
    int lanes, held;       /* threads, and the vectors of each that stay in registers */
} shape;

/* The lanes of a warp have a vector each, as far as a group goes, so that a warp has several groups that are
 * short; of a long one up to 32 numbers a lane. A longer one has a block, 16 numbers a thread. */
static shape shape_of(const mp_case *c, int64_t k) {
    enum { LANES_OF_WARP = 32, MOST_LANES = 512, OF_A_LANE = 32, OF_A_THREAD = 16 };
    const int64_t group = mp_scheme_of(c)->granularity == MP_PER_GROUP ? mp_smaller(mp_case_group(c), k) : k,
                  vector = group % mp_vector_length(c->dtype, 0) ? 1 : mp_case_vector_length(c, c->dtype, k),
                  side_by_side = vector == 1 ? 2 : vector;
    const bool by_block = group > LANES_OF_WARP * OF_A_LANE;
    int64_t lanes = 1;
    while (lanes < LANES_OF_WARP && lanes * side_by_side < group) lanes *= 2;
    while (by_block && lanes < MOST_LANES && lanes * OF_A_THREAD < group) lanes *= 2;
    const int64_t held = mp_smaller(mp_divide_up(group, lanes * side_by_side),
                                    (by_block ? OF_A_THREAD : OF_A_LANE) / side_by_side);
    return (shape){.group = group, .vector = vector, .lanes = (int)lanes, .held = (int)held};
}

static mp_kernel kernel_of(const mp_case *c, mp_stage stage, const char *entry) {
    const mp_quantiser q = mp_scheme_of(c)->quantiser;
    const shape by = shape_of(c, stage == MP_QUANT_X ? c->K : c->N);
    char act[64] = "";
    if (stage == MP_QUANT_ACT && c->fused_quant) mp_stage_act_options(c, act);
    return mp_make_kernel("kernels/device/quant.cu", entry,
                          "-DDTYPE=%d -DCODES=%d -DSCALE=%d -DFLOOR=%d -DLAYOUT=%d -DVECTOR=%d -DLANES=%d "
                          "-DHELD=%d%s%s",
                          (int)c->dtype, (int)mp_quantiser_codes(q), (int)mp_quantiser_scale(q),
                          q != MP_QUANT_MXFP8, stage == MP_QUANT_X ? (int)LAYOUT_TOKENS : (int)c->layout,
                          (int)by.vector, by.lanes, by.held,
                          c->scale_layout == MP_SWIZZLED ? " -DSWIZZLED=1" : "", act);
}

/* Sets rows_at_a_time. */
static mp_status launch_groups(const mp_device_run *run, const mp_kernel *kernel, const shape *by,
                               mp_quant_params *params, mp_error *err) {
    const int64_t team = by->lanes > 32 ? by->lanes : 32,
                  pieces = mp_divide_up(mp_divide_up(params->k, by->group), team / by->lanes);
    const int threads = team > 32 ? (int)team : MP_STAGE_THREADS;
    params->rows_at_a_time = mp_stage_rows_at_a_time(params->rows.count, pieces * (team / 32));
    const int64_t teams = mp_divide_up(params->rows.count, params->rows_at_a_time) * pieces;
    return mp_stage_launch(run, kernel, mp_smaller(mp_divide_up(teams * team, threads), MP_MAX_GRID), threads,
                           params, err);
}

static mp_status launch(const mp_device_run *run, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    const mp_driver *driver = run->cuda->driver;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    const mp_scheme *s = mp_scheme_of(c);
    const bool x = stage == MP_QUANT_X;
    const mp_tensor *from = x ? &t[MP_X] : mp_as_read(t, c->fused_quant ? MP_CACHE1 : MP_CACHE2);
    const int64_t k = x ? c->K : c->N;
    const shape by = shape_of(c, k);
    const bool one = s->granularity == MP_PER_TENSOR;
    mp_status status = MP_OK;
    mp_quant_params params = {
        .from = mp_device_address(from),
        .codes = mp_device_address(&t[x ? MP_X_CODES : MP_CACHE2_CODES]),
        .scale = mp_device_address(mp_codes_scale(c, t, stage)),
        .rows = mp_stage_rows(call, from->dim[0]),
        .k = k,
        .group = by.group,
        .given =
            s->made && s->given ? mp_device_address(&t[x ? MP_X_GIVEN_SCALE : MP_CACHE2_GIVEN_SCALE]) : 0,
        .alpha = (float)c->alpha,
        .limit = (float)c->limit,
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
        if (passes[i].alone)
            MP_DO(mp_stage_launch(run, &kernel, 1, 1, &params, err));
        else
            MP_DO(launch_groups(run, &kernel, &by, &params, err));
    }
out:
    return status;
}

static mp_status launch_x(void *self, const mp_stage_call *call, mp_error *err) {
    return launch(self, call, MP_QUANT_X, err);
}

mp_status mp_stage_launch_quant_act(const mp_device_run *run, const mp_stage_call *call, mp_error *err) {
    return launch(run, call, MP_QUANT_ACT, err);
}

/* With fused_quant act has done it. */
static mp_status launch_act(void *self, const mp_stage_call *call, mp_error *err) {
    return call->c->fused_quant ? MP_OK : mp_stage_launch_quant_act(self, call, err);
}

static int kernels(const mp_case *c, mp_stage stage, mp_kernel *list) {
    pass passes[MOST_PASSES];
    const int count = passes_of(c, passes);
    for (int i = 0; i < count; i++) list[i] = kernel_of(c, stage, passes[i].entry);
    return count;
}

int mp_stage_quant_act_kernels(const mp_case *c, mp_kernel *list) {
    return kernels(c, MP_QUANT_ACT, list);
}

static int kernels_x(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                     mp_kernel *list) {
    (void)config, (void)limits;
    return kernels(c, MP_QUANT_X, list);
}

static int kernels_act(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                       mp_kernel *list) {
    (void)config, (void)limits;
    return c->fused_quant ? 0 : mp_stage_quant_act_kernels(c, list);
}

const mp_device_stage mp_device_quant_x = {launch_x, kernels_x};
const mp_device_stage mp_device_quant_act = {launch_act, kernels_act};
