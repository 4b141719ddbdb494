/* SPDX-License-Identifier: Apache-2.0 */
/* Single instructions of the tensor cores and of the special-function unit on given operands: what the
 * device's arithmetic is, seen from outside. */
#ifndef MP_KERNELS_PROBE_H
#define MP_KERNELS_PROBE_H

#include "kernels/cuda.h"
#include "kernels/variants.h"

/* d[v] = a[v] . b[v] + c[v] for v < count, by `steps` instructions chained through the accumulator.
 * a, b: [count, steps * depth] codes, one in each word; c, d: [count] bits of the accumulator's format. */
mp_status mp_cuda_probe(mp_cuda *cuda, const mp_mma_instruction *instruction, int steps, const uint32_t *a,
                        const uint32_t *b, const uint32_t *c, int64_t count, uint32_t *d, mp_error *err);

/* d[v] = instruction(a[v]), or of a[v] and b[v]: a float32 instruction as PTX names it, of one or two
 * operands. a, b, d: [count] float32 bits; b may be NULL where operands is 1. */
mp_status mp_cuda_probe_special_unit(mp_cuda *cuda, const char *instruction, int operands, const uint32_t *a,
                                     const uint32_t *b, int64_t count, uint32_t *d, mp_error *err);

#endif
