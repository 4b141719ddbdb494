/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/probe.h"

#include "kernels/device/params.h"
#include "kernels/handle.h"

#include <stdlib.h>
#include <string.h>

#define THREADS 128
#define STEP_WORDS 8 /* 32 bytes of operand an instruction */

/* One code a word -> codes of 4, 2 or 1 bytes, little-endian. */
static void pack(const uint32_t *codes, int64_t count, int code_bytes, unsigned char *packed) {
    for (int64_t i = 0; i < count; i++)
        for (int byte = 0; byte < code_bytes; byte++)
            packed[i * code_bytes + byte] = (unsigned char)(codes[i] >> (8 * byte));
}

mp_status mp_cuda_probe(mp_cuda *cuda, const mp_mma_instruction *instruction, int steps, const uint32_t *a,
                        const uint32_t *b, const uint32_t *c, int64_t count, uint32_t *d, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUfunction function = NULL;
    CUdeviceptr memory = 0;
    const mp_kernel kernel = mp_kernel_probe(instruction, steps);
    const int64_t codes = count * steps * instruction->depth, vectors_per_block = instruction->wgmma ? 8 : 32;
    const size_t operand_bytes = (size_t)(count * steps) * STEP_WORDS * 4, result_bytes = (size_t)count * 4;
    unsigned char *packed = NULL;
    if (!mp_mma_supported(cuda->limits.architecture, instruction))
        return mp_fail(err, MP_EUNSUPPORTED, "%s of %s does not exist on sm_%d",
                       instruction->wgmma ? "wgmma" : "mma.sync", instruction->type,
                       cuda->limits.architecture);
    if (count == 0) return MP_OK;
    packed = malloc(operand_bytes);
    if (!packed) return mp_fail(err, MP_EMEMORY, "%zu bytes of operands to probe", operand_bytes);

    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    MP_CU(cuMemAlloc_v2(&memory, 2 * operand_bytes + 2 * result_bytes));
    mp_probe_params params = {
        .a = memory,
        .b = memory + operand_bytes,
        .c = memory + 2 * operand_bytes,
        .d = memory + 2 * operand_bytes + result_bytes,
        .count = count,
    };
    pack(a, codes, 32 / instruction->depth, packed);
    MP_CU(cuMemcpyHtoD_v2(params.a, packed, operand_bytes));
    pack(b, codes, 32 / instruction->depth, packed);
    MP_CU(cuMemcpyHtoD_v2(params.b, packed, operand_bytes));
    MP_CU(cuMemcpyHtoD_v2(params.c, c, result_bytes));
    MP_CU(cuMemsetD32Async(params.d, MP_POISON_A, (size_t)count, NULL));
    MP_DO(mp_cuda_launch(cuda, NULL, function, (count + vectors_per_block - 1) / vectors_per_block, THREADS,
                         0, &params, err));
    MP_CU(cuMemcpyDtoH_v2(d, params.d, result_bytes));
out:
    if (memory) driver->cuMemFree_v2(memory);
    free(packed);
    return status;
}

mp_status mp_cuda_probe_special_unit(mp_cuda *cuda, const char *instruction, int operands, const uint32_t *a,
                                     const uint32_t *b, int64_t count, uint32_t *d, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUfunction function = NULL;
    CUdeviceptr memory = 0;
    const mp_kernel kernel = mp_kernel_special_unit(instruction, operands);
    const size_t bytes = (size_t)count * sizeof *a;
    if (count == 0) return MP_OK;

    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    MP_CU(cuMemAlloc_v2(&memory, 3 * bytes));
    mp_special_unit_params params = {
        .a = memory, .b = memory + bytes, .d = memory + 2 * bytes, .count = count};
    MP_CU(cuMemcpyHtoD_v2(params.a, a, bytes));
    if (operands == 2) MP_CU(cuMemcpyHtoD_v2(params.b, b, bytes));
    MP_CU(cuMemsetD32Async(params.d, MP_POISON_A, (size_t)count, NULL));
    MP_DO(mp_cuda_launch(cuda, NULL, function, (count + THREADS - 1) / THREADS, THREADS, 0, &params, err));
    MP_CU(cuMemcpyDtoH_v2(d, params.d, bytes));
out:
    if (memory) driver->cuMemFree_v2(memory);
    return status;
}
