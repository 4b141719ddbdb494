/* SPDX-License-Identifier: Apache-2.0 */
/* Inside kernels/ and offload/: the open device, its buffers and its launches. */
#ifndef MP_KERNELS_HANDLE_H
#define MP_KERNELS_HANDLE_H

#include "kernels/cuda.h"
#include "kernels/device/params.h"
#include "kernels/driver.h"
#include "kernels/variants.h"

#include <pthread.h>
#include <time.h>

/* A compilation that is loaded on the device, and the functions in it that were asked for. */
enum { MP_MODULE_ENTRIES = 4 };
typedef struct mp_module {
    mp_kernel kernel;
    CUmodule module;
    uint64_t key; /* of its source and options */
    const char *entry[MP_MODULE_ENTRIES];
    CUfunction function[MP_MODULE_ENTRIES];
} mp_module;

/* What holds streams back until the host says so. */
typedef struct mp_cuda_gate {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    bool closed, expired;
    struct timespec until;
} mp_cuda_gate;

/* An allocation of the driver. */
typedef struct mp_block {
    CUdeviceptr base;
    size_t bytes;
    struct mp_block *next;
} mp_block;

/* Allocations that the driver is asked for once: runs of a case need the same sizes again and again. */
enum { MP_POOL_LISTS = 1024 };
typedef struct mp_pool {
    mp_block *used, *kept[MP_POOL_LISTS]; /* kept: for the next one of its size, in lists by size */
    size_t count, bytes;                  /* of all of them */
    size_t kept_bytes;                    /* of those that nobody uses */
} mp_pool;

/* Memory that the device reaches by itself, through which a thread carries its share of a large tensor piece
 * by piece. */
typedef struct mp_ferry {
    CUstream stream; /* NULL, and the rest: there is none yet */
    void *piece[2];
    CUevent crossed[2];
} mp_ferry;
enum { MP_FERRIES = 8 }; /* fill the bus */

/* Small fills and copies that were asked for and not begun, and the bytes that are copied, where the device
 * reaches them. */
typedef struct mp_deliveries {
    mp_deliver_params pending;
    char *staged; /* NULL: there is none yet */
    size_t used;  /* bytes of it, since the device was last waited for */
} mp_deliveries;

enum { MP_IDLE_STREAMS = 2 };

struct mp_cuda {
    const mp_driver *driver;
    CUdevice device;
    CUcontext context; /* its primary one */
    mp_device_limits limits;
    int multiprocessors;
    mp_module *modules;
    size_t module_count;
    bool can_compile; /* an NVRTC that knows the device is there */
    bool shared;      /* buffers are whole blocks, for other processes */
    mp_space space;
    mp_pool pool;
    mp_ferry ferry[MP_FERRIES];
    CUevent stage_start[MP_STAGE_COUNT], stage_end[MP_STAGE_COUNT]; /* NULL: there are none yet */
    mp_deliveries deliveries;
    uint32_t inspections; /* begun */
    struct {
        double asked;         /* when, by mp_seconds_now; 0: never */
        size_t not_others;    /* bytes free, and of the pool */
        size_t reserve_bytes; /* as mp_cuda_memory says */
    } known_room;
    mp_streams streams;
    CUstream idle_stream[MP_IDLE_STREAMS]; /* closed; NULL: none */
    mp_cuda_gate gate;
    mp_cuda_hooks hooks;
    int64_t hook_calls; /* of the hooks that do nothing */
    char name[256], versions[128];
};

/* Memory of a space, as the driver takes it. */
static inline CUdeviceptr mp_address_of(const void *data) {
    return (CUdeviceptr)(uintptr_t)data;
}

/* The function of a kernel, compiled and loaded when it is not yet. */
mp_status mp_cuda_function(mp_cuda *cuda, const mp_kernel *kernel, CUfunction *function, mp_error *err);
/* Launches `blocks` blocks of `threads` on the stream, NULL: the default one. params points to the kernel's
 * one argument. */
mp_status mp_cuda_launch(mp_cuda *cuda, CUstream stream, CUfunction function, int64_t blocks, int threads,
                         int64_t shared_bytes, void *params, mp_error *err);

/* memory.c: fills memory with the pattern, from its first byte on. */
mp_status mp_fill_memory(mp_cuda *cuda, CUdeviceptr to, size_t bytes, uint32_t pattern, mp_error *err);

/* pool.c: an allocation of exactly so many bytes, from the pool where it has one. Where the device has no
 * memory left, what is kept is given back first. */
mp_status mp_pool_take(mp_cuda *cuda, size_t bytes, CUdeviceptr *base, mp_error *err);
void mp_pool_keep(mp_cuda *cuda, CUdeviceptr base); /* what was taken */
void mp_pool_close(mp_cuda *cuda);

/* transfer.c: between host and device; what is large at the speed of the bus. */
mp_status mp_transfer_up(mp_cuda *cuda, CUdeviceptr to, const void *from, size_t bytes, mp_error *err);
mp_status mp_transfer_down(mp_cuda *cuda, void *to, CUdeviceptr from, size_t bytes, mp_error *err);
void mp_ferries_close(mp_cuda *cuda);

/* deliver.c: small fills and copies, which are put off and begun by one launch, before anything else is. */
bool mp_can_deliver(const mp_cuda *cuda, size_t bytes);
mp_status mp_deliver_pattern(mp_cuda *cuda, CUdeviceptr to, size_t bytes, uint32_t pattern, mp_error *err);
mp_status mp_deliver_copy(mp_cuda *cuda, CUdeviceptr to, const void *from, size_t bytes, mp_error *err);
/* Begins what was put off, on the default stream. */
mp_status mp_deliver(mp_cuda *cuda, mp_error *err);
/* Reads several places: what is small comes by one launch. */
mp_status mp_read_all(mp_cuda *cuda, const mp_reading *readings, int count, mp_error *err);
/* What was put off for this memory is not done any more: nobody has it. */
void mp_deliver_nothing(mp_cuda *cuda, CUdeviceptr base, size_t bytes);
void mp_deliveries_close(mp_cuda *cuda);

/* run.c: its events. */
void mp_run_events_close(mp_cuda *cuda);

/* survey.c: the space's functions of these names. */
mp_status mp_cuda_survey(void *self, mp_region *regions, int count, mp_error *err);
mp_status mp_cuda_digest_rows(void *self, const mp_rows_region *regions, int count, mp_error *err);
mp_status mp_cuda_inspect(void *self, const mp_inspection *what, mp_error *err);

void mp_streams_close(mp_cuda *cuda); /* streams.c */

/* Fills cuda->space (memory.c), and cuda->streams (streams.c). */
void mp_cuda_make_space(mp_cuda *cuda);
void mp_cuda_make_streams(mp_cuda *cuda);

#endif
