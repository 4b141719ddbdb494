/* SPDX-License-Identifier: Apache-2.0 */
/* bf16, fp16, int8 and e4m3 by wgmma, on sm_90. Rows of w are the 64 rows of an instruction, and sorted rows
 * of a its columns, so that few tokens leave no part of it idle. In blocks of 128 rows by eight warps
 * it is the other way round where more than 64 are there. */
#include "kernels/gemm/kind.h"

#include <stdio.h>
#include <string.h>

enum { SLICE_BYTES = 128, PRODUCER_THREADS = 128, TABLES = 3, MOST_SUMS = 128, MOST_ROWS = 144 };

/* Of both operands; NULL: no instruction takes them. */
static const mp_mma_instruction *instruction_of(const mp_gemm_request *r) {
    if (r->dtype != MP_BF16 && r->dtype != MP_FP16) return NULL;
    if (r->codes.present && r->codes.a != r->codes.w) return NULL;
    return mp_mma_of(true, r->codes.present ? r->codes.a : r->dtype);
}

static int element_bytes(const mp_gemm_request *r) {
    return r->codes.present ? 1 : 2;
}

/* Whether blocks of many rows are multiplied with a standing first: ROWS_FIRST on the device. Rows of w are
 * then interleaved by eights, and results stored so, of which rows of out are made. */
static bool rows_stand_first(const mp_gemm_request *r) {
    return r->tile.block_size_m == 128 && r->tile.num_warps == 8 && r->columns % 8 == 0;
}

/* What struct shared_memory of kernels/device/gemm_wgmma_memory.cuh has. */
static int64_t shared_bytes(const mp_gemm_request *r, int stages) {
    const mp_tile *tile = &r->tile;
    const bool scaled = r->codes.present && r->codes.group == 0, in_groups = r->codes.group > 0;
    const int64_t m = tile->block_size_m,
                  staged_rows = m < 64   ? m
                                : m % 64 ? 48
                                         : 64,
                  staged_pitch = 72 * 2, row_table = 8 + 8 + 4, barrier = 8,
                  scaled_columns = rows_stand_first(r) ? tile->block_size_n : 0,
                  table = m * row_table + 4 * 4 + (scaled ? 4 * (m + scaled_columns) : 0),
                  scales = in_groups ? 4 * (m + 4) : 0;
    const int64_t stage = (m + tile->block_size_n) * tile->block_size_k * element_bytes(r) + scales;
    return stages * stage + tile->num_warps / 4 * staged_rows * staged_pitch + TABLES * table +
           2 * (stages + TABLES) * barrier;
}

/* As many as there is room for, but two at least: one is filled while another is multiplied. */
static int stages_of(const mp_gemm_request *r, const mp_device_limits *limits) {
    int stages = r->tile.num_stages;
    while (stages > 2 && shared_bytes(r, stages) > limits->shared_bytes) stages--;
    return stages;
}

/* Of a thread; those of a group, and of all. */
static int sums_of(const mp_gemm_request *r) {
    const mp_tile *tile = &r->tile;
    return tile->block_size_m * tile->block_size_n / (32 * tile->num_warps) * (r->codes.group > 0 ? 2 : 1);
}

/* Blocks that have neighbouring blocks of rows, most often of one expert, whose weights each then copies a
 * part of for both. With fewer rows an expert has one block, most often. */
static int cluster_of(const mp_tile *tile) {
    return tile->block_size_m >= 128 ? 2 : 1;
}

/* The smallest matrix of an expert for which a tile of wgmma is taken unasked. What is smaller is done before
 * its kernel, which takes longer to compile than that of mma, has been worth it. */
enum { LEAST_MATRIX = 1 << 20 };

/* The request in a tile of its own, where any will do: as wide as the sums of a thread allow, in as many
 * stages as fit. Experts of few rows leave wgmma waiting for w alone, which then is copied in more and
 * smaller parts. BLOCK_SIZE_K is one slice: more stages hide more than larger ones. */
static mp_gemm_request in_own_tile(const mp_gemm_request *r) {
    mp_gemm_request own = *r;
    if (!r->any_tile || (r->choice == MP_GEMM_AUTO && r->columns * r->row_length < LEAST_MATRIX)) return own;
    const int m = r->tile.block_size_m;
    own.tile = (mp_tile){.block_size_m = m,
                         .block_size_n = m >= 64 ? 256 : 128,
                         .block_size_k = SLICE_BYTES / element_bytes(r),
                         .group_size_m = m >= 64 ? 16 : 8,
                         .num_warps = 8,
                         .num_stages = m >= 64 ? 5 : 8};
    return own;
}

/* NULL where it can be done, else what is asked for. */
static const char *what_is_missing(const mp_gemm_request *r, const mp_device_limits *limits) {
    const mp_tile *tile = &r->tile;
    const mp_gemm_codes *codes = &r->codes;
    const int k_bytes = tile->block_size_k * element_bytes(r);
    if (limits->architecture != 90) return "sm_90";
    if (!instruction_of(r)) return "bf16 or fp16, or both operands int8 or e4m3";
    if (r->atomic || r->adapters) return "results that are stored, of one list of slots";
    if (!mp_gemm_is_aligned(r)) return "rows that begin on 16 bytes, and are made of whole ones";
    if (tile->block_size_m > MOST_ROWS) return "BLOCK_SIZE_M at most 144";
    if (tile->block_size_m > MOST_SUMS && codes->group)
        return "BLOCK_SIZE_M at most 128 with scales of groups";
    if (tile->num_warps != 4 && tile->num_warps != 8) return "num_warps 4 or 8";
    if (tile->block_size_n % (16 * tile->num_warps)) return "BLOCK_SIZE_N a multiple of 16 * num_warps";
    if (k_bytes % SLICE_BYTES) return "BLOCK_SIZE_K a multiple of 128 bytes";
    if (sums_of(r) > (tile->block_size_m > MOST_SUMS ? MOST_ROWS : MOST_SUMS))
        return "at most 128 sums a thread, or 144 in as many rows";
    if (codes->group && (k_bytes != SLICE_BYTES || codes->group != SLICE_BYTES))
        return "BLOCK_SIZE_K 128, and as many codes to a scale";
    if (r->swizzled ||
        (codes->group && (codes->a_scale != MP_FP32 || codes->w_scale != MP_FP32 || r->w_scale_rows % 64)))
        return "scales by rows, in groups in fp32, and of 64 columns together";
    if (tile->num_stages < 2) return "num_stages 2 or more";
    /* What mma refuses nobody takes: whether a tile is any good must not depend on the kind. */
    if (mp_gemm_in_frame("", r, limits).shared_bytes > limits->shared_bytes ||
        shared_bytes(r, stages_of(r, limits)) > limits->shared_bytes)
        return "stages that fit into shared memory";
    return NULL;
}

mp_status mp_gemm_no_wgmma(const mp_gemm_request *asked, const mp_device_limits *limits, mp_error *err) {
    const mp_gemm_request own = in_own_tile(asked), *request = &own;
    char tile[64];
    mp_tile_text(&request->tile, tile);
    return mp_fail(err, MP_EUNSUPPORTED, "gemm=wgmma on sm_%d in tile %s: expected %s", limits->architecture,
                   tile, what_is_missing(request, limits));
}

bool mp_gemm_wgmma(const mp_gemm_request *asked, const mp_device_limits *limits, mp_gemm *gemm) {
    const mp_gemm_request own = in_own_tile(asked), *request = &own;
    if (what_is_missing(request, limits)) return false;
    /* Of e4m3 it has other bits than mma, and no kind is chosen by itself that changes bits with the tile. */
    if (request->codes.present && request->codes.a == MP_E4M3 && request->choice != MP_GEMM_WGMMA)
        return false;
    const int stages = stages_of(request, limits);
    *gemm = mp_gemm_of_source("kernels/device/gemm_wgmma.cu", request, stages);
    gemm->threads += PRODUCER_THREADS;
    gemm->shared_bytes = shared_bytes(request, stages);
    gemm->accumulators = sums_of(request);
    gemm->instruction = instruction_of(request);
    gemm->cluster = cluster_of(&request->tile);
    gemm->w_interleaved = rows_stand_first(request);
    snprintf(gemm->kernel.options + strlen(gemm->kernel.options),
             sizeof gemm->kernel.options - strlen(gemm->kernel.options),
             " -DTENSOR_MAP -DCLUSTER=%d -DROWS_FIRST=%d -DSHARED_BYTES=%lld", gemm->cluster,
             gemm->w_interleaved, (long long)gemm->shared_bytes);
    return true;
}
