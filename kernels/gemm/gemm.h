/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of grouped GEMM: which of them multiplies what, how it is compiled and launched, and with which
 * instruction. A new kind is a file here, its device code kernels/device/gemm_<kind>.cu, and a row in the
 * table of gemm.c. */
#ifndef MP_KERNELS_GEMM_GEMM_H
#define MP_KERNELS_GEMM_GEMM_H

#include "kernels/variants.h"

/* Operands that are codes of other formats, with scales (kernels/device/params.h tells where those lie). */
typedef struct mp_gemm_codes {
    bool present;
    mp_dtype a, w;             /* formats of the operands */
    mp_dtype a_scale, w_scale; /* formats of the scales; a_scale is not read where a is no codes */
    int64_t group; /* codes of a row that share a scale; 0: all, and the scales multiply the sum of all k */
    int zero;      /* of all codes of w */
    bool zeros;    /* they have zero points of their own instead */
} mp_gemm_codes;

/* What is to be multiplied, and in which tile. */
typedef struct mp_gemm_request {
    mp_tile tile;
    mp_dtype dtype; /* of bias and out; of a and w too, where there are no codes */
    mp_gemm_codes codes;
    int64_t row_length;   /* k: elements in a row of a, and of w */
    int64_t columns;      /* n: of out */
    bool swizzled;        /* scales of codes lie in tiles (cases/scale_layout.h) */
    int64_t experts;      /* whose weights there are */
    int64_t w_scale_rows; /* of codes: columns of out that share a scale of w; 0: all */
    mp_gemm_choice choice;
    bool any_tile;  /* nobody named the tile: a kind may take one that suits it, of the same BLOCK_SIZE_M, by
                       which slots were sorted */
    bool unaligned; /* rows of a or w begin elsewhere than on 16 bytes, though they are made of whole ones */
    bool atomic;    /* results are added to out, not stored */
    bool adapters;  /* slots are sorted, and weights are there, for each LoRA adapter */
    bool adds;      /* of adapters: results are added to out, which nobody else adds to */
} mp_gemm_request;
/* The request of a case's stage, MP_GATE_UP or MP_DOWN. */
mp_gemm_request mp_gemm_of_case(const mp_case *c, const mp_config *config, mp_stage stage);

/* How a kind does it. */
typedef struct mp_gemm {
    mp_kernel kernel;
    mp_tile tile; /* the request's, or the kind's own where any will do */
    int threads;
    int stages;                            /* those it has: num_stages of the tile, or what fits */
    int64_t shared_bytes;                  /* dynamic shared memory */
    int accumulators;                      /* float32 sums of a thread */
    const mp_mma_instruction *instruction; /* what multiplies; NULL: fmaf */
    int cluster; /* 0: a block for each tile, and no tensor map. Else no more blocks than multiprocessors
                    share all tiles, so many of them as a cluster, and copy w by a tensor map in boxes of 128
                    bytes of k by BLOCK_SIZE_N / cluster rows */
    bool w_interleaved; /* the boxes have 64 rows instead, in another order: the first two rows of each eight,
                           then the next two of each, and so on */
} mp_gemm;

/* A thread has 255 registers, and unrolled code for thousands of spilled accumulators takes minutes to build:
 * more than these are not compiled. */
#define MP_GEMM_ACCUMULATORS_MAX 256

/* The kind that multiplies this on such a device. MP_EUNSUPPORTED says why there is none: dtype, instruction,
 * shared memory, accumulators. */
mp_status mp_gemm_find(const mp_gemm_request *request, const mp_device_limits *limits, mp_gemm *gemm,
                       mp_error *err);

#endif
