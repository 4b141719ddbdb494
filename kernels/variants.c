/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/variants.h"

#include "cases/graph.h"

#include <stdarg.h>
#include <stdio.h>

static mp_kernel make_kernel(const char *source, const char *entry, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static mp_kernel make_kernel(const char *source, const char *entry, const char *format, ...) {
    mp_kernel kernel = {.source = source, .entry = entry};
    va_list args;
    va_start(args, format);
    vsnprintf(kernel.options, sizeof kernel.options, format, args);
    va_end(args);
    return kernel;
}

int64_t mp_vector_length(mp_dtype dtype, int64_t row_length) {
    const int64_t length = 16 / (int64_t)mp_dtype_size(dtype);
    return row_length % length == 0 ? length : 1;
}

mp_kernel mp_kernel_align(const char *entry) {
    return make_kernel("kernels/device/align.cu", entry, "%s", "");
}

mp_kernel mp_kernel_gemm(const mp_tile *tile, mp_dtype dtype, int64_t row_length, bool atomic) {
    return make_kernel(
        dtype == MP_FP32 ? "kernels/device/gemm_fma.cu" : "kernels/device/gemm_mma.cu", "grouped_gemm",
        "-DBLOCK_M=%d -DBLOCK_N=%d -DBLOCK_K=%d -DWARPS=%d -DSTAGES=%d -DDTYPE=%d -DALIGNED=%d -DATOMIC=%d",
        tile->block_size_m, tile->block_size_n, tile->block_size_k, tile->num_warps, tile->num_stages,
        (int)dtype, mp_vector_length(dtype, row_length) > 1, atomic);
}

mp_kernel mp_kernel_gate_up(const mp_case *c, const mp_config *config) {
    return mp_kernel_gemm(&config->up, c->dtype, c->K, false);
}

mp_kernel mp_kernel_down(const mp_case *c, const mp_config *config) {
    return mp_kernel_gemm(&config->down, c->dtype, c->N, c->fused_sum);
}

mp_kernel mp_kernel_activation(const mp_case *c) {
    return make_kernel("kernels/device/activation.cu", "activation",
                       "-DACT=%d -DGATED=%d -DINTERLEAVED=%d -DDTYPE=%d -DVECTOR=%d", (int)c->act, c->gated,
                       c->interleaved, (int)c->dtype, (int)mp_vector_length(c->dtype, c->N));
}

mp_kernel mp_kernel_combine(mp_dtype dtype, int64_t topk, int64_t row_length) {
    return make_kernel("kernels/device/combine.cu", "combine", "-DTOPK=%d -DDTYPE=%d -DVECTOR=%d", (int)topk,
                       (int)dtype, (int)mp_vector_length(dtype, row_length));
}

mp_kernel mp_kernel_tool(const char *entry, mp_dtype dtype) {
    return make_kernel("kernels/device/tools.cu", entry, "-DDTYPE=%d", (int)dtype);
}

mp_kernel mp_kernel_probe(const mp_mma_instruction *m, int steps) {
    return make_kernel("kernels/device/probe.cu", "probe",
                       "-DWGMMA=%d -DTYPE=%s -DDEPTH=%d -DRESULT=%s -DSTEPS=%d%s", m->wgmma, m->type,
                       m->depth, m->result, steps, m->saturate ? " -DSATURATE" : "");
}

int64_t mp_gemm_shared_bytes(const mp_tile *tile, mp_dtype dtype) {
    const int64_t stage = ((int64_t)tile->block_size_m + tile->block_size_n) * tile->block_size_k *
                          (int64_t)mp_dtype_size(dtype);
    const int64_t row_table = 8 + 8 + 4; /* row of a, row of out, router weight */
    return tile->num_stages * stage + tile->block_size_m * row_table;
}

int mp_gemm_accumulators(const mp_tile *tile) {
    const int warp_tiles = tile->block_size_m / 16 * (tile->block_size_n / 16);
    const int warps = tile->num_warps < warp_tiles ? tile->num_warps : warp_tiles;
    return tile->block_size_m * tile->block_size_n / (32 * warps);
}

int mp_case_kernels(const mp_case *c, const mp_config *config, mp_kernel kernels[MP_CASE_KERNELS_MAX]) {
    int count = 0;
    kernels[count++] = mp_kernel_tool("digest", MP_BF16);
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (!mp_case_has_stage(c, (mp_stage)s)) continue;
        switch ((mp_stage)s) {
        case MP_ALIGN: kernels[count++] = mp_kernel_align("align_count"); break;
        case MP_GATE_UP: kernels[count++] = mp_kernel_gate_up(c, config); break;
        case MP_ACT: kernels[count++] = mp_kernel_activation(c); break;
        case MP_DOWN: kernels[count++] = mp_kernel_down(c, config); break;
        case MP_SUM: kernels[count++] = mp_kernel_combine(c->dtype, c->fused_sum ? 1 : c->topk, c->K); break;
        case MP_STAGE_COUNT: break;
        }
    }
    return count;
}
