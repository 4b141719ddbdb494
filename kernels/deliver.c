/* SPDX-License-Identifier: Apache-2.0 */
/* Small fills and copies. A run of a small case is mostly these, some fifty of them, and each call of the
 * driver takes about as long as the kernel of a stage: so they are put off until something else is to happen
 * on the device, and then done by one launch. */
#include "kernels/handle.h"

#include <string.h>

#define SMALL ((size_t)256 << 10) /* bytes: more is worth a call of its own */
#define STAGED ((size_t)1 << 20)  /* of copies that the device may not have done yet */
#define ALIGNMENT ((size_t)16)    /* of what is staged: vectors of the kernel */
enum { THREADS = 256 };

bool mp_can_deliver(const mp_cuda *cuda, size_t bytes) {
    return cuda->can_compile && !cuda->shared && bytes <= SMALL;
}

/* Whether a's bytes are all among b's, or some are. */
static bool lies_in(const mp_delivery *a, CUdeviceptr to, size_t bytes) {
    return a->to >= to && a->to + a->bytes <= to + bytes;
}
static bool meets(const mp_delivery *a, CUdeviceptr to, size_t bytes) {
    return a->to < to + bytes && to < a->to + a->bytes;
}

static void drop(mp_deliver_params *pending, int i) {
    pending->list[i] = pending->list[--pending->count];
}

/* One launch has no order: what would be written over is left out, or done before. */
static mp_status make_way(mp_cuda *cuda, CUdeviceptr to, size_t bytes, mp_error *err) {
    mp_deliver_params *pending = &cuda->deliveries.pending;
    bool remains = false;
    for (int i = pending->count - 1; i >= 0; i--) {
        if (lies_in(&pending->list[i], to, bytes))
            drop(pending, i);
        else
            remains = remains || meets(&pending->list[i], to, bytes);
    }
    return remains || pending->count == MP_DELIVERIES ? mp_deliver(cuda, err) : MP_OK;
}

static mp_status put_off(mp_cuda *cuda, const mp_delivery *delivery, mp_error *err) {
    mp_deliver_params *pending = &cuda->deliveries.pending;
    if (delivery->bytes == 0) return MP_OK;
    const mp_status status = make_way(cuda, delivery->to, delivery->bytes, err);
    if (status == MP_OK) pending->list[pending->count++] = *delivery;
    return status;
}

mp_status mp_deliver_pattern(mp_cuda *cuda, CUdeviceptr to, size_t bytes, uint32_t pattern, mp_error *err) {
    return put_off(cuda, &(mp_delivery){.to = to, .bytes = (unsigned)bytes, .pattern = pattern}, err);
}

static size_t aligned(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* So much more can be staged then. */
static mp_status make_room(mp_cuda *cuda, size_t bytes, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_deliveries *d = &cuda->deliveries;
    mp_status status = MP_OK;
    if (!d->staged) {
        void *block;
        MP_CU(cuMemHostAlloc(&block, STAGED, 0));
        d->staged = block;
    }
    if (bytes > STAGED - d->used) {
        MP_DO(mp_deliver(cuda, err));
        MP_CU(cuStreamSynchronize(NULL));
        d->used = 0;
    }
out:
    return status;
}

static char *stage(mp_cuda *cuda, size_t bytes) {
    char *staged = cuda->deliveries.staged + cuda->deliveries.used;
    cuda->deliveries.used += aligned(bytes);
    return staged;
}

mp_status mp_deliver_copy(mp_cuda *cuda, CUdeviceptr to, const void *from, size_t bytes, mp_error *err) {
    if (bytes == 0) return MP_OK;
    const mp_status status = make_room(cuda, aligned(bytes), err);
    if (status != MP_OK) return status;
    char *staged = stage(cuda, bytes);
    memcpy(staged, from, bytes);
    return put_off(cuda, &(mp_delivery){.to = to, .from = mp_address_of(staged), .bytes = (unsigned)bytes},
                   err);
}

mp_status mp_deliver(mp_cuda *cuda, mp_error *err) {
    mp_deliver_params params = cuda->deliveries.pending;
    CUfunction function = NULL;
    const mp_kernel kernel = mp_kernel_deliver();
    if (params.count == 0) return MP_OK;
    cuda->deliveries.pending.count = 0;
    const mp_status status = mp_cuda_function(cuda, &kernel, &function, err);
    return status == MP_OK ? mp_cuda_launch(cuda, NULL, function, (int64_t)params.count * MP_DELIVERY_PARTS,
                                            THREADS, 0, &params, err)
                           : status;
}

/* Whether a reading is one of those that come by one launch. */
static bool comes_along(const mp_cuda *cuda, const mp_reading *r) {
    return r->bytes > 0 && mp_can_deliver(cuda, r->bytes);
}

mp_status mp_read_all(mp_cuda *cuda, const mp_reading *readings, int count, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    const char *staged[MP_DELIVERIES] = {0};
    size_t all = 0;
    for (int i = 0; i < count; i++) all += comes_along(cuda, &readings[i]) ? aligned(readings[i].bytes) : 0;
    const bool together = all > 0 && all <= STAGED && count <= MP_DELIVERIES;
    MP_DO(mp_deliver(cuda, err));
    if (together) MP_DO(make_room(cuda, all, err));
    for (int i = 0; i < count; i++) {
        const mp_reading *r = &readings[i];
        if (together && comes_along(cuda, r)) {
            char *to = stage(cuda, r->bytes);
            staged[i] = to;
            MP_DO(put_off(
                cuda, &(mp_delivery){mp_address_of(to), mp_address_of(r->from), (unsigned)r->bytes, 0}, err));
        } else {
            MP_DO(mp_transfer_down(cuda, r->to, mp_address_of(r->from), r->bytes, err));
        }
    }
    if (!together) goto out;
    MP_DO(mp_deliver(cuda, err));
    MP_CU(cuStreamSynchronize(NULL));
    cuda->deliveries.used = 0; /* all of it was done */
    for (int i = 0; i < count; i++)
        if (staged[i]) memcpy(readings[i].to, staged[i], readings[i].bytes);
out:
    if (status != MP_OK) cuda->deliveries.pending.count = 0; /* what is read may not lie there any more */
    return status;
}

void mp_deliver_nothing(mp_cuda *cuda, CUdeviceptr base, size_t bytes) {
    mp_deliver_params *pending = &cuda->deliveries.pending;
    for (int i = pending->count - 1; i >= 0; i--)
        if (lies_in(&pending->list[i], base, bytes)) drop(pending, i);
}

void mp_deliveries_close(mp_cuda *cuda) {
    if (cuda->deliveries.staged) cuda->driver->cuMemFreeHost(cuda->deliveries.staged);
}
