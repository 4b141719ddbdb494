/* SPDX-License-Identifier: Apache-2.0 */
/* Inside kernels/: the launches of every stage. */
#ifndef MP_KERNELS_STAGES_H
#define MP_KERNELS_STAGES_H

#include "kernels/handle.h"
#include "ref/pipeline.h"

/* One run on the device. The executor's `self` is this, or a struct that begins with it. */
typedef struct mp_device_run {
    mp_cuda *cuda;
    const mp_config *config;
    void *const *scratch; /* [MP_CUDA_SCRATCH_COUNT] */
} mp_device_run;
mp_executor mp_device_executor(mp_device_run *run);

static inline CUdeviceptr mp_device_address(const mp_tensor *t) {
    return (CUdeviceptr)(uintptr_t)t->data;
}

#endif
