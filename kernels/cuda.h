/* The CUDA pipeline behind one handle. Loads libcuda and libnvrtc at run time: the program builds and runs
 * without either. */
#ifndef MP_KERNELS_CUDA_H
#define MP_KERNELS_CUDA_H

#include "cases/inputs.h"
#include "kernels/config.h"
#include "cases/trace.h"

typedef struct mp_cuda mp_cuda;

/* Opens device 0 (of CUDA_VISIBLE_DEVICES) with a context of its own. MP_EUNSUPPORTED with the reason when
 * there is no driver, no device, no NVRTC, the device is older than sm_80, or NVRTC does not know it. */
mp_status mp_cuda_open(mp_cuda **cuda, mp_error *err);
void mp_cuda_close(mp_cuda *cuda);                    /* takes NULL */
const char *mp_cuda_device_name(const mp_cuda *cuda); /* "NVIDIA H100 80GB HBM3" */
int mp_cuda_architecture(const mp_cuda *cuda);        /* 90 for sm_90 */
/* Driver and NVRTC versions for provenance, e.g. "driver 13.0, NVRTC 13.0, sm_90". */
const char *mp_cuda_versions(const mp_cuda *cuda);

/* What a hook of path=runner sees: device addresses, row-major, elements of the case's dtype where nothing
 * else is said. */
typedef struct mp_cuda_hook_view {
    const mp_case *c;
    uint64_t x;            /* [M,K], what gate_up read */
    uint64_t topk_weights; /* [M,topk] float32 */
    uint64_t topk_ids;     /* [M,topk] int32, -1: not on this rank */
    uint64_t cache1;       /* [M,topk,2N], not gated [M,topk,N]: gate_up's result, the activation's input */
    uint64_t cache2; /* [M,topk,N]: the activation's result, down's input; after_gate_up must not rely on its
                        contents */
    uint64_t cache3; /* [M,topk,K]: down's result, router weights applied; with mode=no_combine this is the
                        output itself */
} mp_cuda_hook_view;

/* Functions between the stages of path=runner, where a LoRA adapter adds its part in place: to cache1 before
 * the activation, to cache3 before the combine (so that routed_scaling_factor scales that part too). Each may
 * be NULL. The handle's context is current and the device idle when a hook is called; what it launches on the
 * default stream ends before the next stage begins. A failure ends the run with its status. */
typedef struct mp_cuda_hooks {
    void *context;
    mp_status (*after_gate_up)(void *context, const mp_cuda_hook_view *view, mp_error *err);
    mp_status (*after_down)(void *context, const mp_cuda_hook_view *view, mp_error *err);
} mp_cuda_hooks;
/* A new handle has hooks that do nothing but count themselves, and NULL brings them back: path=runner always
 * takes the way with hooks, and must agree bit for bit with path=fused. */
void mp_cuda_set_hooks(mp_cuda *cuda, const mp_cuda_hooks *hooks);
int64_t
mp_cuda_hook_calls(const mp_cuda *cuda); /* of the hooks that do nothing, since the handle was opened */

/* Device bytes that mp_cuda_run will take for the case (buffers with their guards, and a reserve for machine
 * code and for the stacks of kernels that spill), and bytes free now. */
mp_status mp_cuda_plan(mp_cuda *cuda, const mp_case *c, size_t *needed_bytes, size_t *free_bytes,
                       mp_error *err);
/* Compiles (or loads from the disk cache) what the cases need, in parallel on `threads` threads. A config
 * that cannot be built is not an error here: it is reported by the run that needs it. */
mp_status mp_cuda_prepare(mp_cuda *cuda, const mp_case *cases, size_t count, int threads, mp_error *err);
/* Executes the case and leaves a complete trace in host memory (created here, to be destroyed by the caller,
 * also after an error). MP_EUNSUPPORTED: this tile cannot launch on this device (shared memory, registers),
 * with figures. MP_EDEVICE: the device failed; the context may be lost and the process should be replaced.
 * `poison` fills every output and scratch buffer first. */
mp_status mp_cuda_run(mp_cuda *cuda, const mp_case *c, const mp_inputs *in, uint32_t poison, mp_trace *trace,
                      mp_error *err);

#endif
