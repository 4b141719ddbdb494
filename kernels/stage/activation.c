/* SPDX-License-Identifier: Apache-2.0 */
/* act: kernels/device/activation.cu. */
#include "cases/graph_tables.h"
#include "kernels/device/params.h"
#include "kernels/stage/stage.h"

#include <stdio.h>

void mp_stage_act_options(const mp_case *c, char text[64]) {
    snprintf(text, 64, " -DACT=%d -DGATED=%d -DINTERLEAVED=%d", (int)c->act, c->gated, c->interleaved);
}

mp_kernel mp_kernel_activation(const mp_case *c) {
    char act[64];
    mp_stage_act_options(c, act);
    return mp_make_kernel("kernels/device/activation.cu", "activation",
                          "-DLAYOUT=%d -DDTYPE=%d -DVECTOR=%d%s", (int)c->layout, (int)c->dtype,
                          (int)mp_case_vector_length(c, c->dtype, c->N), act);
}

static mp_status launch(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_device_run *run = self;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t, *cache1 = mp_as_read(t, MP_CACHE1);
    if (c->fused_quant) return mp_stage_launch_quant_act(run, call, err);
    mp_activation_params params = {
        .cache1 = mp_device_address(cache1),
        .cache2 = mp_device_address(&t[MP_CACHE2]),
        .rows = mp_stage_rows(call, cache1->dim[0]),
        .n = c->N,
        .alpha = (float)c->alpha,
        .limit = (float)c->limit,
    };
    const mp_kernel kernel = mp_kernel_activation(c);
    const int64_t vectors = c->N / mp_case_vector_length(c, c->dtype, c->N),
                  pieces = mp_divide_up(vectors, 32);
    params.rows_at_a_time = mp_stage_rows_at_a_time(params.rows.count, pieces);
    const int64_t warps = mp_divide_up(params.rows.count, params.rows_at_a_time) * pieces;
    return mp_stage_launch(run, &kernel, mp_stage_blocks(32 * warps), MP_STAGE_THREADS, &params, err);
}

static int kernels(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                   mp_kernel *list) {
    (void)config, (void)limits;
    if (c->fused_quant) return mp_stage_quant_act_kernels(c, list);
    list[0] = mp_kernel_activation(c);
    return 1;
}

const mp_device_stage mp_device_act = {launch, kernels};
