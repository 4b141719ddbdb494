/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/deferred.h"
#include "cases/fill.h"
#include "kernels/stage/stage.h"

#define STAGE(stage, scope, name) &mp_device_##name,
static const mp_device_stage *const stages[MP_STAGE_COUNT] = {MP_STAGES(STAGE)};
#undef STAGE

mp_status mp_stage_launch(const mp_device_run *run, const mp_kernel *kernel, int64_t blocks, int threads,
                          void *params, mp_error *err) {
    CUfunction function = NULL;
    if (blocks == 0) return MP_OK; /* no tokens: no work, and a grid of none would be an error */
    const mp_status status = mp_cuda_function(run->cuda, kernel, &function, err);
    return status == MP_OK ? mp_cuda_launch(run->cuda, run->stream, function, blocks, threads, 0, params, err)
                           : status;
}

mp_executor mp_device_executor(mp_device_run *run) {
    mp_executor executor = {.self = run};
    for (int s = 0; s < MP_STAGE_COUNT; s++) executor.stage[s] = stages[s]->run;
    return executor;
}

/* What makes those inputs on the device that are large enough to be made there. */
static int input_kernels(const mp_case *c, mp_kernel *kernels) {
    const mp_tensor_set inputs = mp_case_inputs(c);
    int count = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!(inputs & MP_IN_SET(id)) || !mp_can_be_deferred(c, (mp_tensor_id)id)) continue;
        const mp_tensor t = mp_case_shape(c, (mp_tensor_id)id, 1);
        if (mp_tensor_bytes(&t) < MP_DEFER_FROM_BYTES) continue;
        const mp_numbers numbers = mp_numbers_of(c, (mp_tensor_id)id);
        kernels[count++] = mp_kernel_fill(&numbers);
        kernels[count++] = mp_kernel_largest(&numbers.format);
    }
    return count;
}

int mp_case_kernels(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                    mp_kernel kernels[MP_CASE_KERNELS_MAX]) {
    int count = 0;
    kernels[count++] = mp_kernel_deliver();
    kernels[count++] = mp_kernel_survey("survey");
    count += input_kernels(c, &kernels[count]);
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (stages[s]->run && mp_case_has_stage(c, (mp_stage)s))
            count += stages[s]->kernels(c, config, limits, &kernels[count]);
    return count;
}
