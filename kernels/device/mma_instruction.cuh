/* SPDX-License-Identifier: Apache-2.0 */
// One matrix instruction, mma.sync m16n8, of any operands that are 32 bytes of k.
//
// -DTYPE=bf16, f16, tf32, e4m3, e5m2 or s8 and -DDEPTH=16, 8 or 32: the operands. -DRESULT=f32, f16 or s32:
// the accumulator. -DSATURATE: sums of s8 stop at the limits of s32 instead of wrapping around.
//
// In 32-bit words the fragments of all types are the same: lane (g = lane / 4, t = lane % 4) holds words t
// and t + 4 of A's rows g and g + 8 and of B's column g, and columns 2t and 2t + 1 of the result's rows g and
// g + 8.
#pragma once

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define PASTE_OF(x, y) x##y
#define PASTE(x, y) PASTE_OF(x, y)

#define HALF_f16 1
#define HALF_f32 0
#define HALF_s32 0
#define HALF_RESULT PASTE(HALF_, RESULT) // two results in a register, else one
#if HALF_RESULT
#define RESULT_REGISTERS "{%0, %1}"
#else
#define RESULT_REGISTERS "{%0, %1, %2, %3}"
#endif

#ifdef SATURATE
#define SATFINITE ".satfinite"
#else
#define SATFINITE ""
#endif

__device__ __forceinline__ void multiply_add(unsigned (&d)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k" TEXT(DEPTH) ".row.col" SATFINITE "." TEXT(RESULT) "." TEXT(TYPE) "." TEXT(
            TYPE) "." TEXT(RESULT) " " RESULT_REGISTERS ", {%4, %5, %6, %7}, {%8, %9}, " RESULT_REGISTERS ";"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
