/* SPDX-License-Identifier: Apache-2.0 */
/* Inside kernels/: the stages on the device, their launches and what they compile; each is told in a file of
 * kernels/stage/. */
#ifndef MP_KERNELS_STAGES_H
#define MP_KERNELS_STAGES_H

#include "kernels/handle.h"
#include "ref/pipeline.h"

/* One run on the device. The executor's `self` is this, or a struct that begins with it. */
typedef struct mp_device_run {
    mp_cuda *cuda;
    const mp_config *config;
    void *const *scratch; /* [MP_CUDA_SCRATCH_COUNT] */
    CUstream stream;      /* NULL: the default one */
} mp_device_run;
mp_executor mp_device_executor(mp_device_run *run);

enum {
    MP_STAGE_KERNELS_MAX = 3,
    MP_INPUT_KERNELS = 2,
    MP_CASE_KERNELS_MAX = 2 + MP_TENSOR_COUNT * MP_INPUT_KERNELS + MP_STAGE_COUNT * MP_STAGE_KERNELS_MAX
};
/* The distinct compilations of a case, without GEMMs that such a device cannot run; returns their number. */
int mp_case_kernels(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                    mp_kernel kernels[MP_CASE_KERNELS_MAX]);

static inline CUdeviceptr mp_device_address(const mp_tensor *t) {
    return mp_address_of(t->data);
}

#endif
