/* Inside kernels/: the open device, its buffers and its launches. */
#ifndef MP_KERNELS_HANDLE_H
#define MP_KERNELS_HANDLE_H

#include "kernels/cuda.h"
#include "kernels/driver.h"
#include "kernels/variants.h"

/* A compilation that is loaded on the device. */
typedef struct mp_module {
    mp_kernel kernel;
    CUmodule module;
} mp_module;

struct mp_cuda {
    const mp_driver *driver;
    CUcontext context;
    int architecture, multiprocessors;
    int64_t shared_limit; /* bytes of shared memory that a block can ask for */
    mp_module *modules;
    size_t module_count;
    mp_cuda_hooks hooks;
    int64_t hook_calls; /* of the hooks that do nothing */
    char name[256], versions[128];
};

/* The function of a kernel, compiled and loaded when it is not yet. */
mp_status mp_cuda_function(mp_cuda *cuda, const mp_kernel *kernel, CUfunction *function, mp_error *err);
/* Launches on the default stream: `blocks` blocks of `threads`. params points to the kernel's one
 * argument. */
mp_status mp_cuda_launch(mp_cuda *cuda, CUfunction function, int64_t blocks, int threads,
                         int64_t shared_bytes, void *params, mp_error *err);

/* Device memory between two guard zones of MP_GUARD_BYTES. data == 0: absent. bytes is even: the zones are
 * made of 16-bit words. */
typedef struct mp_device_buffer {
    const char *name;
    CUdeviceptr base, data;
    size_t bytes;
} mp_device_buffer;

/* name and bytes are set. Fills the data with poison. */
mp_status mp_device_buffer_alloc(mp_cuda *cuda, mp_device_buffer *buffer, uint32_t poison, mp_error *err);
void mp_device_buffer_free(mp_cuda *cuda, mp_device_buffer *buffer);
/* Writes the first changed guard word into report (256 bytes) and leaves it alone when both zones are
 * intact. */
mp_status mp_device_buffer_check(mp_cuda *cuda, const mp_device_buffer *buffer, char report[256],
                                 mp_error *err);
/* An order-independent digest, computed on the device. */
mp_status mp_device_buffer_digest(mp_cuda *cuda, const mp_device_buffer *buffer, uint64_t *digest,
                                  mp_error *err);

#endif
