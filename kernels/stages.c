/* SPDX-License-Identifier: Apache-2.0 */
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

int mp_case_kernels(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                    mp_kernel kernels[MP_CASE_KERNELS_MAX]) {
    int count = 0;
    kernels[count++] = mp_kernel_deliver();
    kernels[count++] = mp_kernel_survey("survey");
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (stages[s]->run && mp_case_has_stage(c, (mp_stage)s))
            count += stages[s]->kernels(c, config, limits, &kernels[count]);
    return count;
}
