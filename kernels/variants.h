/* SPDX-License-Identifier: Apache-2.0 */
/* A device kernel and its -D options. Which of them a stage needs is told in kernels/stage/, those of the
 * GEMMs in kernels/gemm/; here are the ones of no stage. */
#ifndef MP_KERNELS_VARIANTS_H
#define MP_KERNELS_VARIANTS_H

#include "cases/numbers.h"
#include "moeparity/config.h"
#include "moeparity/graph.h"

/* Device code inside the binary: files by their paths, by which they include one another, and nothing else
 * (generated, see cmake/embed.cmake). */
typedef struct mp_device_texts {
    const struct mp_device_text { const char *name, *text; } * files;
    int count;
} mp_device_texts;
extern const mp_device_texts mp_kernel_texts; /* of kernels/device/ */

/* One kernel: a device source, an entry in it, and its options, separated by blanks. */
typedef struct mp_kernel {
    const mp_device_texts *texts;
    const char *source, *entry;
    char options[512];
} mp_kernel;

/* What a device leaves to a kernel. */
typedef struct mp_device_limits {
    int architecture;     /* 90 for sm_90 */
    int64_t shared_bytes; /* of shared memory, that a block can ask for */
} mp_device_limits;

/* One of mp_kernel_texts. */
mp_kernel mp_make_kernel(const char *source, const char *entry, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

mp_kernel mp_kernel_tool(const char *entry, mp_dtype dtype);
mp_kernel mp_kernel_deliver(void);
/* The entries of survey.cu share one compilation. */
mp_kernel mp_kernel_survey(const char *entry);

/* Both entries of fill.cu: that of normal numbers shares a compilation with what looks for the largest. */
mp_kernel mp_kernel_fill(const mp_numbers *numbers);
mp_kernel mp_kernel_largest(const mp_code_format *format);

/* A matrix instruction as PTX names it. */
typedef struct mp_mma_instruction {
    bool wgmma;         /* wgmma.mma_async m64n8, else mma.sync m16n8 */
    const char *type;   /* of both operands: "bf16", "f16", "tf32", "e4m3", "e5m2", "s8" */
    const char *result; /* the accumulator: "f32"; "f16" with f16 operands; "s32" with s8 */
    int depth;          /* k of one instruction: 16, 16, 8, 32, 32, 32 */
    bool saturate;      /* .satfinite, of s32 */
} mp_mma_instruction;

/* wgmma exists on sm_90 alone; mma.sync takes 8-bit floats from sm_89 on. */
bool mp_mma_supported(int architecture, const mp_mma_instruction *instruction);

/* That which multiplies bf16, fp16, e4m3 or int8, 32 bytes of k at a time; NULL: of other formats. */
const mp_mma_instruction *mp_mma_of(bool wgmma, mp_dtype operands);

/* rates.cu: of "float" or "double"; of an instruction, and its operands. */
mp_kernel mp_kernel_multiply_adds(const char *number);
mp_kernel mp_kernel_products(const mp_mma_instruction *instruction, mp_dtype operands);
/* steps: instructions chained. */
mp_kernel mp_kernel_probe(const mp_mma_instruction *instruction, int steps);
/* A float32 instruction of one or two operands, as PTX names it: "ex2.approx.ftz.f32". */
mp_kernel mp_kernel_special_unit(const char *instruction, int operands);

/* Elements of a row that one thread handles: 16 bytes of them, or 1 when rows are not made of whole 16-byte
 * vectors. */
int64_t mp_vector_length(mp_dtype dtype, int64_t row_length);

/* The same of a case's tensor, whose buffer may begin elsewhere than on 16 bytes. */
int64_t mp_case_vector_length(const mp_case *c, mp_dtype dtype, int64_t row_length);

/* Most stack that a kernel needs where it spills (tests/test_compile.c checks it); the driver reserves it for
 * every thread that can be resident. */
#define MP_STACK_BYTES_MAX 1024

#endif
