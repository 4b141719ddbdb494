/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs that the device makes for itself. */
#include "kernels/device/fill_params.h"
#include "kernels/handle.h"

#include <stdint.h>

enum { THREADS = 256, BLOCKS_EACH = 8 /* of a multiprocessor */, PARTS = 32 /* of a matrix, or more */ };

bool mp_cuda_fills(const mp_space *space) {
    return mp_cuda_is_space(space) && ((const mp_cuda *)space->self)->can_compile;
}

/* The first, the last, and some between them, other ones in each tensor, as the CPU makes them. */
static mp_status check_some(mp_cuda *cuda, const mp_tensor *t, const mp_fill_params *p, const int64_t *source,
                            mp_error *err) {
    enum { PLACES = 16, SOME = 64 /* of any whole bytes */ };
    const mp_driver *driver = cuda->driver;
    const unsigned long long some = p->count < SOME ? p->count : SOME,
                             bits = (unsigned long long)p->numbers.format.bits;
    uint32_t codes[SOME];
    mp_status status = MP_OK;
    for (int place = 0; place < PLACES && some > 0; place++) {
        const unsigned long long last = p->count - some,
                                 random = mp_bits(~p->numbers.key, (mp_u64)place) % (last + 1),
                                 first = place == 0   ? 0
                                         : place == 1 ? last
                                                      : random - random % (bits < 8 ? 8 / bits : 1);
        MP_CU(cuMemcpyDtoH_v2(codes, p->data + first * bits / 8, some * bits / 8));
        for (unsigned long long i = 0; i < some; i++) {
            const mp_u64 length = p->numbers.row_length, row = (first + i) / length,
                         index = source ? (mp_u64)source[row] * length + (first + i) % length : first + i;
            const unsigned long long expected = mp_code_of_element(&p->numbers, index),
                                     got = mp_code_at(t->dtype, codes, (int64_t)i);
            if (got == expected) continue;
            status = mp_fail(err, MP_EDEVICE, "%s fills element %llu with %04llX, expected %04llX",
                             cuda->name, first + i, got, expected);
            goto out;
        }
    }
out:
    return status;
}

mp_status mp_cuda_fill(const mp_space *space, const mp_tensor *t, const mp_numbers *numbers,
                       const int64_t *source, mp_error *err) {
    mp_cuda *cuda = space->self;
    mp_fill_params params = {.data = (CUdeviceptr)(uintptr_t)t->data,
                             .count = (unsigned long long)mp_tensor_count(t),
                             .numbers = *numbers};
    const size_t source_bytes = (size_t)mp_tensor_rows(t) * sizeof *source;
    const mp_kernel kernel = mp_kernel_fill(numbers);
    CUfunction function = NULL;
    mp_status status = MP_OK;
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    if (source) {
        MP_DO(mp_pool_take(cuda, source_bytes, &params.source, err));
        MP_DO(mp_transfer_up(cuda, params.source, source, source_bytes, err));
    }
    MP_DO(mp_cuda_launch(cuda, NULL, function, BLOCKS_EACH * (int64_t)cuda->multiprocessors, THREADS, 0,
                         &params, err));
    MP_DO(check_some(cuda, t, &params, source, err));
out:
    mp_pool_keep(cuda, params.source);
    return status;
}

mp_status mp_cuda_largest(const mp_space *space, const mp_tensor *t, const mp_code_format *format,
                          int64_t matrices, unsigned *magnitude, mp_error *err) {
    mp_cuda *cuda = space->self;
    const size_t found_bytes = (size_t)matrices * sizeof *magnitude;
    const int64_t blocks = BLOCKS_EACH * (int64_t)cuda->multiprocessors, parts = blocks / matrices;
    const mp_kernel kernel = mp_kernel_largest(format);
    mp_largest_params params = {.data = (CUdeviceptr)(uintptr_t)t->data,
                                .bytes = mp_tensor_bytes(t) / (size_t)matrices,
                                .matrices = matrices,
                                .parts = parts > PARTS ? parts : PARTS,
                                .format = *format};
    CUfunction function = NULL;
    mp_status status = MP_OK;
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    MP_DO(mp_pool_take(cuda, found_bytes, &params.largest, err));
    MP_DO(mp_fill_memory(cuda, params.largest, found_bytes, 0, err));
    MP_DO(mp_cuda_launch(cuda, NULL, function, blocks, THREADS, 0, &params, err));
    MP_DO(mp_transfer_down(cuda, magnitude, params.largest, found_bytes, err));
out:
    mp_pool_keep(cuda, params.largest);
    return status;
}
