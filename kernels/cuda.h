/* The CUDA pipeline behind one handle. Loads libcuda and libnvrtc at run time: the program builds and runs without either. */
#ifndef MP_KERNELS_CUDA_H
#define MP_KERNELS_CUDA_H

#include "cases/inputs.h"
#include "kernels/config.h"
#include "ref/trace.h"

typedef struct mp_cuda mp_cuda;

/* Opens device 0 (of CUDA_VISIBLE_DEVICES) with a context of its own. MP_EUNSUPPORTED with the reason when there is no driver, no device,
 * no NVRTC, or the device is older than sm_80. */
mp_status mp_cuda_open(mp_cuda **cuda, mp_error *err);
void mp_cuda_close(mp_cuda *cuda); /* takes NULL */
const char *mp_cuda_device_name(const mp_cuda *cuda); /* "NVIDIA H100 80GB HBM3" */
int mp_cuda_architecture(const mp_cuda *cuda);        /* 90 for sm_90 */
/* Driver and NVRTC versions for provenance, e.g. "driver 13.0, NVRTC 13.0, sm_90". */
const char *mp_cuda_versions(const mp_cuda *cuda);

/* Device bytes that mp_cuda_run will allocate for the case (guards included), and bytes free now. */
mp_status mp_cuda_plan(mp_cuda *cuda, const mp_case *c, size_t *needed_bytes, size_t *free_bytes, mp_error *err);
/* Compiles (or loads from the disk cache) what the cases need, in parallel on `threads` threads. A config that cannot be built is not an
 * error here: it is reported by the run that needs it. */
mp_status mp_cuda_prepare(mp_cuda *cuda, const mp_case *cases, size_t count, int threads, mp_error *err);
/* Executes the case and leaves a complete trace in host memory (created here, to be destroyed by the caller, also after an error).
 * MP_EUNSUPPORTED: this tile cannot launch on this device (shared memory, registers), with figures. MP_EDEVICE: the device failed;
 * the context may be lost and the process should be replaced. `poison` fills every output and scratch buffer first. */
mp_status mp_cuda_run(mp_cuda *cuda, const mp_case *c, const mp_inputs *in, uint32_t poison, mp_trace *trace, mp_error *err);

#endif
