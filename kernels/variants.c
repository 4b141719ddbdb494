/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/variants.h"

#include "kernels/gemm/gemm.h"
#include "moeparity/graph.h"

#include <stdarg.h>
#include <stdio.h>

mp_kernel mp_make_kernel(const char *source, const char *entry, const char *format, ...) {
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
    return mp_make_kernel("kernels/device/align.cu", entry, "%s", "");
}

mp_kernel mp_kernel_activation(const mp_case *c) {
    return mp_make_kernel("kernels/device/activation.cu", "activation",
                          "-DACT=%d -DGATED=%d -DINTERLEAVED=%d -DDTYPE=%d -DVECTOR=%d", (int)c->act,
                          c->gated, c->interleaved, (int)c->dtype, (int)mp_vector_length(c->dtype, c->N));
}

mp_kernel mp_kernel_combine(mp_dtype dtype, int64_t topk, int64_t row_length) {
    return mp_make_kernel("kernels/device/combine.cu", "combine", "-DTOPK=%d -DDTYPE=%d -DVECTOR=%d",
                          (int)topk, (int)dtype, (int)mp_vector_length(dtype, row_length));
}

mp_kernel mp_kernel_tool(const char *entry, mp_dtype dtype) {
    return mp_make_kernel("kernels/device/tools.cu", entry, "-DDTYPE=%d", (int)dtype);
}

mp_kernel mp_kernel_probe(const mp_mma_instruction *m, int steps) {
    return mp_make_kernel("kernels/device/probe.cu", "probe",
                          "-DWGMMA=%d -DTYPE=%s -DDEPTH=%d -DRESULT=%s -DSTEPS=%d%s", m->wgmma, m->type,
                          m->depth, m->result, steps, m->saturate ? " -DSATURATE" : "");
}

bool mp_mma_supported(int architecture, const mp_mma_instruction *instruction) {
    const bool fp8 = instruction->type[0] == 'e';
    return instruction->wgmma ? architecture == 90 : architecture >= (fp8 ? 89 : 80);
}

/* Puts the stage's GEMM behind the list, where it can be built. */
static int add_gemm(const mp_case *c, const mp_config *config, mp_stage stage, const mp_device_limits *limits,
                    mp_kernel *kernel) {
    const mp_gemm_request request = mp_gemm_of_case(c, config, stage);
    mp_gemm gemm;
    if (mp_gemm_find(&request, limits, &gemm, NULL) != MP_OK) return 0;
    *kernel = gemm.kernel;
    return 1;
}

int mp_case_kernels(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                    mp_kernel kernels[MP_CASE_KERNELS_MAX]) {
    int count = 0;
    kernels[count++] = mp_kernel_tool("digest", MP_BF16);
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (!mp_case_has_stage(c, (mp_stage)s)) continue;
        switch ((mp_stage)s) {
        case MP_ALIGN: kernels[count++] = mp_kernel_align("align_count"); break;
        case MP_GATE_UP:
        case MP_DOWN: count += add_gemm(c, config, (mp_stage)s, limits, &kernels[count]); break;
        case MP_ACT: kernels[count++] = mp_kernel_activation(c); break;
        case MP_SUM: kernels[count++] = mp_kernel_combine(c->dtype, c->fused_sum ? 1 : c->topk, c->K); break;
        default: break; /* nothing to compile */
        }
    }
    return count;
}
