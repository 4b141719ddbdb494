/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA pipeline behind one handle. Loads libcuda and libnvrtc at run time: the program builds and runs
 * without either. */
#ifndef MP_KERNELS_CUDA_H
#define MP_KERNELS_CUDA_H

#include "cases/numbers.h"
#include "moeparity/config.h"
#include "moeparity/space.h"
#include "moeparity/streams.h"
#include "moeparity/trace.h"

typedef struct mp_cuda mp_cuda;

/* Opens device 0 (of CUDA_VISIBLE_DEVICES) and its primary context, the one that the CUDA runtime and its
 * libraries use too, and makes it current. MP_EUNSUPPORTED with the reason when
 * there is no driver, no device, no NVRTC, the device is older than sm_80, or NVRTC does not know it. */
mp_status mp_cuda_open(mp_cuda **cuda, mp_error *err);
/* How many devices the driver lets this program see. Loads it, but opens none. MP_EUNSUPPORTED where there is
 * no driver, or it finds nothing that it could use. */
mp_status mp_cuda_count(int *count, mp_error *err);
/* Device 0 and its memory alone, for kernels that somebody else launches: any architecture, and no NVRTC is
 * needed. Without one that knows the device, digests are made on the host, and mp_cuda_run does not work. */
mp_status mp_cuda_open_memory(mp_cuda **cuda, mp_error *err);
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
    uint64_t topk_ids;     /* [M,topk] int32, as the case numbers experts; -1: nowhere */
    uint64_t cache1;       /* [M,topk,2N], not gated [M,topk,N]: gate_up's result, the activation's input */
    uint64_t cache2; /* [M,topk,N]: the activation's result, down's input; after_gate_up must not rely on
                        its contents */
    uint64_t cache3; /* [M,topk,K]: down's result, router weights applied; with mode=no_combine this is
                        the output itself */
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
/* The tensors that hooks somebody has set may change: cache1_hooked and cache3_hooked, to be given beside
 * cache1 and cache3, so that the trace shows what each stage left and what the next one read. None where the
 * hooks do nothing. */
mp_tensor_set mp_cuda_hooked_tensors(const mp_cuda *cuda, const mp_case *c);

/* The device's memory; lives as long as the handle. */
const mp_space *mp_cuda_space(mp_cuda *cuda);
/* Whether the space is one of these: all of them, in one process, are memory of one device, whose addresses
 * mean the same to every handle. */
bool mp_cuda_is_space(const mp_space *space);
/* Whether nobody but our kernels writes there: what lies there stays once they were waited for. */
bool mp_cuda_is_ours_alone(const mp_space *space);
/* Whether it can fill tensors that lie there, and does: packed, at a multiple of 16 bytes. The same numbers
 * as the CPU's, which makes some of them again: MP_EDEVICE where they differ. source: the rows that those of
 * the tensor have the numbers of; NULL: their own. */
bool mp_cuda_fills(const mp_space *space);
mp_status mp_cuda_fill(const mp_space *space, const mp_tensor *t, const mp_numbers *numbers,
                       const int64_t *source, mp_error *err);
/* The largest mp_code_magnitude of each of so many matrices, one behind the other, of such a tensor as it
 * lies there. */
mp_status mp_cuda_largest(const mp_space *space, const mp_tensor *t, const mp_code_format *format,
                          int64_t matrices, unsigned *magnitude, mp_error *err);
/* For another process: *handle opens, by cuIpcOpenMemHandle, the allocation in which a buffer of this space
 * lies, *offset bytes behind what that gives. An allocation is whole blocks of MP_CUDA_BLOCK_BYTES: nothing
 * else lies in what the other process sees. It must have closed the handle before the buffer is freed.
 * MP_EDEVICE where the driver shares none. */
enum { MP_CUDA_BLOCK_BYTES = 2 << 20, MP_CUDA_HANDLE_BYTES = 64 };
typedef struct mp_cuda_handle {
    unsigned char bytes[MP_CUDA_HANDLE_BYTES];
} mp_cuda_handle;
mp_status mp_cuda_share(mp_cuda *cuda, const void *data, mp_cuda_handle *handle, size_t *offset,
                        mp_error *err);
/* Its streams, and graphs of what is begun on them; live as long as the handle. */
const mp_streams *mp_cuda_streams(mp_cuda *cuda);
/* Waits until the device has done all that was begun in this process. */
mp_status mp_cuda_synchronize(mp_cuda *cuda, mp_error *err);
/* Bytes free now, and a reserve for machine code and for the stacks of kernels that spill. */
mp_status mp_cuda_memory(mp_cuda *cuda, size_t *free_bytes, size_t *reserve_bytes, mp_error *err);

/* The same for planning: what others take and give is seen within a tenth of a second, for the driver takes
 * its time to answer, and a case asks a dozen times. */
mp_status mp_cuda_room(mp_cuda *cuda, size_t *free_bytes, size_t *reserve_bytes, mp_error *err);

/* Adds to config->warning where a tile of the case is built with fewer stages than it names. */
void mp_cuda_note_stages(const mp_cuda *cuda, const mp_case *c, mp_config *config);

/* Scratch buffers that a run of the case needs: their bytes; unused ones are 0. */
enum { MP_CUDA_SCRATCH_COUNT = 2 };
void mp_cuda_scratch(const mp_case *c, size_t bytes[MP_CUDA_SCRATCH_COUNT]);

/* Compiles (or loads from the disk cache) what the cases need, in parallel on `threads` threads. A config
 * that cannot be built is not an error here: it is reported by the run that needs it. */
mp_status mp_cuda_prepare(mp_cuda *cuda, const mp_case *cases, const mp_config *configs, size_t count,
                          int threads, mp_error *err);

/* Executes the case on tensors in the device's memory: t holds all that its stages read and write, hidden
 * ones excepted; scratch as mp_cuda_scratch asked for. In place, t[MP_X] and t[MP_OUT] are one buffer. The
 * times of the stages are added to stage_ns; timed: the device waits until all of them have been launched, so
 * that what is measured is theirs alone (path=runner waits for each, and has none). MP_EUNSUPPORTED: this
 * tile cannot launch on this device (shared memory, registers), with figures. MP_EDEVICE: the device failed;
 * the context may be lost and the process should be replaced. */
mp_status mp_cuda_run(mp_cuda *cuda, const mp_case *c, const mp_config *config,
                      const mp_tensor t[MP_TENSOR_COUNT], void *const scratch[MP_CUDA_SCRATCH_COUNT],
                      bool timed, double stage_ns[MP_STAGE_COUNT], mp_error *err);

/* The same, begun on a stream of mp_cuda_streams: nothing is waited for, measured or allocated, so that it
 * can be recorded into a graph, and run beside another run with tensors and scratch of its own. t, config and
 * scratch may change once it returns. Kernels that are not loaded yet are: before a recording the case has
 * run once. MP_EUNSUPPORTED: as above, and for path=runner, between whose stages the host works. */
bool mp_cuda_can_begin(const mp_case *c);
mp_status mp_cuda_begin(mp_cuda *cuda, const mp_case *c, const mp_config *config,
                        const mp_tensor t[MP_TENSOR_COUNT], void *const scratch[MP_CUDA_SCRATCH_COUNT],
                        void *stream, mp_error *err);

#endif
