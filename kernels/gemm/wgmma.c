/* SPDX-License-Identifier: Apache-2.0 */
/* bf16 and fp16 by wgmma, on sm_90. Rows of w are the 64 rows of an instruction, and sorted rows of a its
 * columns, so that few tokens leave no part of it idle. */
#include "kernels/gemm/kind.h"

#include <stdio.h>
#include <string.h>

static const mp_mma_instruction bf16 = {.wgmma = true, .type = "bf16", .result = "f32", .depth = 16},
                                f16 = {.wgmma = true, .type = "f16", .result = "f32", .depth = 16};

enum { ELEMENT_BYTES = 2, SLICE_BYTES = 128, PRODUCER_THREADS = 128, MOST_SUMS = 128 };

/* What struct shared_memory of kernels/device/gemm_wgmma.cu has. */
static int64_t shared_bytes(const mp_tile *tile, int stages) {
    const int64_t m = tile->block_size_m, staged_rows = m < 64 ? m : 64, staged_pitch = 72 * ELEMENT_BYTES,
                  row_table = 8 + 8 + 4, tables = 2 * (m * row_table + 4 * 4 + 4 + 4), barrier = 8;
    const int64_t stage = (m + tile->block_size_n) * tile->block_size_k * ELEMENT_BYTES;
    return stages * stage + tile->num_warps / 4 * staged_rows * staged_pitch + tables +
           2 * (stages + 2) * barrier;
}

/* As many as there is room for, but two at least: one is filled while another is multiplied. */
static int stages_of(const mp_tile *tile, const mp_device_limits *limits) {
    int stages = tile->num_stages;
    while (stages > 2 && shared_bytes(tile, stages) > limits->shared_bytes) stages--;
    return stages;
}

static int sums_of(const mp_tile *tile) {
    return tile->block_size_m * tile->block_size_n / (32 * tile->num_warps);
}

/* NULL where it can be done, else what is asked for. */
static const char *what_is_missing(const mp_gemm_request *r, const mp_device_limits *limits) {
    const mp_tile *tile = &r->tile;
    if (limits->architecture != 90) return "sm_90";
    if (r->codes.present || (r->dtype != MP_BF16 && r->dtype != MP_FP16)) return "bf16 or fp16";
    if (r->atomic || r->adapters) return "results that are stored, of one list of slots";
    if (!mp_gemm_is_aligned(r)) return "rows that begin on 16 bytes, and are made of whole ones";
    if (tile->num_warps != 4 && tile->num_warps != 8) return "num_warps 4 or 8";
    if (tile->block_size_n % (16 * tile->num_warps)) return "BLOCK_SIZE_N a multiple of 16 * num_warps";
    if (tile->block_size_k * ELEMENT_BYTES % SLICE_BYTES) return "BLOCK_SIZE_K a multiple of 64";
    if (sums_of(tile) > MOST_SUMS) return "at most 128 sums a thread";
    if (tile->num_stages < 2) return "num_stages 2 or more";
    /* What mma refuses nobody takes: whether a tile is any good must not depend on the kind. */
    if (mp_gemm_in_frame("", r, limits).shared_bytes > limits->shared_bytes ||
        shared_bytes(tile, stages_of(tile, limits)) > limits->shared_bytes)
        return "stages that fit into shared memory";
    return NULL;
}

mp_status mp_gemm_no_wgmma(const mp_gemm_request *request, const mp_device_limits *limits, mp_error *err) {
    char tile[64];
    mp_tile_text(&request->tile, tile);
    return mp_fail(err, MP_EUNSUPPORTED, "gemm=wgmma on sm_%d in tile %s: expected %s", limits->architecture,
                   tile, what_is_missing(request, limits));
}

bool mp_gemm_wgmma(const mp_gemm_request *request, const mp_device_limits *limits, mp_gemm *gemm) {
    if (what_is_missing(request, limits)) return false;
    const int stages = stages_of(&request->tile, limits);
    *gemm = mp_gemm_of_source("kernels/device/gemm_wgmma.cu", request, stages);
    gemm->threads += PRODUCER_THREADS;
    gemm->shared_bytes = shared_bytes(&request->tile, stages);
    gemm->accumulators = sums_of(&request->tile);
    gemm->instruction = request->dtype == MP_BF16 ? &bf16 : &f16;
    gemm->tensor_map = true;
    snprintf(gemm->kernel.options + strlen(gemm->kernel.options),
             sizeof gemm->kernel.options - strlen(gemm->kernel.options), " -DTENSOR_MAP -DSHARED_BYTES=%lld",
             (long long)gemm->shared_bytes);
    return true;
}
