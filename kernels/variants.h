/* SPDX-License-Identifier: Apache-2.0 */
/* Which device kernels there are, and with what -D options a case needs them compiled. */
#ifndef MP_KERNELS_VARIANTS_H
#define MP_KERNELS_VARIANTS_H

#include "moeparity/config.h"
#include "moeparity/graph.h"

/* One kernel: a device source, an entry in it, and its options, separated by blanks. */
typedef struct mp_kernel {
    const char *source, *entry;
    char options[256];
} mp_kernel;

/* align.cu and its entries share one compilation. */
mp_kernel mp_kernel_align(const char *entry);
/* row_length: the GEMM's K; rows of whole 16-byte chunks are copied asynchronously. atomic: add to the
 * output. */
mp_kernel mp_kernel_gemm(const mp_tile *tile, mp_dtype dtype, int64_t row_length, bool atomic);
mp_kernel mp_kernel_gate_up(const mp_case *c, const mp_config *config);
mp_kernel mp_kernel_down(const mp_case *c, const mp_config *config);
mp_kernel mp_kernel_activation(const mp_case *c);
mp_kernel mp_kernel_combine(mp_dtype dtype, int64_t topk, int64_t row_length);
mp_kernel mp_kernel_tool(const char *entry, mp_dtype dtype);

/* A matrix instruction as PTX names it. */
typedef struct mp_mma_instruction {
    bool wgmma;         /* wgmma.mma_async m64n8, else mma.sync m16n8 */
    const char *type;   /* of both operands: "bf16", "f16", "tf32", "e4m3", "e5m2", "s8" */
    const char *result; /* the accumulator: "f32"; "f16" with f16 operands; "s32" with s8 */
    int depth;          /* k of one instruction: 16, 16, 8, 32, 32, 32 */
    bool saturate;      /* .satfinite, of s32 */
} mp_mma_instruction;

/* steps: instructions chained. */
mp_kernel mp_kernel_probe(const mp_mma_instruction *instruction, int steps);

/* Elements of a row that one thread handles: 16 bytes of them, or 1 when rows are not made of whole 16-byte
 * vectors. */
int64_t mp_vector_length(mp_dtype dtype, int64_t row_length);
/* Dynamic shared memory of the GEMM kernel: num_stages * (BM + BN) * BK elements, and the row tables. */
int64_t mp_gemm_shared_bytes(const mp_tile *tile, mp_dtype dtype);
/* float32 accumulators a thread holds, and the most that are compiled: a thread has 255 registers, and
 * unrolled code for thousands of spilled accumulators takes minutes to build. */
#define MP_GEMM_ACCUMULATORS_MAX 256
int mp_gemm_accumulators(const mp_tile *tile);

/* Most stack that a kernel needs where it spills (tests/test_compile.c checks it); the driver reserves it for
 * every thread that can be resident. */
#define MP_STACK_BYTES_MAX 1024

#define MP_CASE_KERNELS_MAX (1 + MP_STAGE_COUNT)
/* The distinct compilations of a case; returns their number. */
int mp_case_kernels(const mp_case *c, const mp_config *config, mp_kernel kernels[MP_CASE_KERNELS_MAX]);

#endif
