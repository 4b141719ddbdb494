/* SPDX-License-Identifier: Apache-2.0 */
/* combine: kernels/device/combine.cu. */
#include "kernels/device/params.h"
#include "kernels/stage/stage.h"

mp_kernel mp_kernel_combine(mp_dtype dtype, int64_t topk, int64_t row_length, bool adds_shared, bool weighs) {
    return mp_make_kernel("kernels/device/combine.cu", "combine", "-DTOPK=%d -DDTYPE=%d -DVECTOR=%d%s%s",
                          (int)topk, (int)dtype, (int)mp_vector_length(dtype, row_length),
                          adds_shared ? " -DADDS_SHARED" : "", weighs ? " -DWEIGHS" : "");
}

static mp_kernel of_case(const mp_case *c) {
    const mp_dtype dtype = mp_case_dtype(c, MP_OUT);
    const bool vectors = mp_case_vector_length(c, dtype, c->K) > 1;
    return mp_kernel_combine(dtype, c->fused_sum ? 1 : c->topk, vectors ? c->K : 1,
                             c->shared == MP_SHARED_ADD, mp_stage_weighs(c, MP_COMBINE));
}

/* The sum over topk, or after a fused sum what is left to do. */
static mp_status launch(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_device_run *run = self;
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    if (c->fused_sum && (float)c->rsf == 1.0f && c->shared != MP_SHARED_ADD) return MP_OK;
    mp_combine_params params = {
        .in = mp_device_address(c->fused_sum ? &t[MP_OUT] : mp_as_read(t, MP_CACHE3)),
        .out = mp_device_address(&t[MP_OUT]),
        .tokens = c->M,
        .k = c->K,
        .routed_scaling_factor = c->rsf,
        .shared = mp_device_address(&t[MP_SHARED_OUTPUT]),
        .topk_weights = mp_device_address(&t[MP_TOPK_WEIGHTS]),
        .ids = mp_stage_ids(c, t),
    };
    const mp_kernel kernel = of_case(c);
    const int64_t vectors = params.tokens * (c->K / mp_case_vector_length(c, mp_case_dtype(c, MP_OUT), c->K));
    return mp_stage_launch(run, &kernel, mp_stage_blocks(vectors), MP_STAGE_THREADS, &params, err);
}

static int kernels(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                   mp_kernel *list) {
    (void)config, (void)limits;
    list[0] = of_case(c);
    return 1;
}

const mp_device_stage mp_device_combine = {launch, kernels};
