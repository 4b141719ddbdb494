/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/variants.h"

#include "kernels/device/fill_words.h"

#include <stdarg.h>
#include <stdio.h>

mp_kernel mp_make_kernel(const char *source, const char *entry, const char *format, ...) {
    mp_kernel kernel = {.texts = &mp_kernel_texts, .source = source, .entry = entry};
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

int64_t mp_case_vector_length(const mp_case *c, mp_dtype dtype, int64_t row_length) {
    return mp_vector_length(dtype, c->buffer_offset) > 1 ? mp_vector_length(dtype, row_length) : 1;
}

mp_kernel mp_kernel_tool(const char *entry, mp_dtype dtype) {
    return mp_make_kernel("kernels/device/tools.cu", entry, "-DDTYPE=%d", (int)dtype);
}

mp_kernel mp_kernel_deliver(void) {
    return mp_make_kernel("kernels/device/deliver.cu", "deliver", "%s", "");
}

mp_kernel mp_kernel_survey(const char *entry) {
    return mp_make_kernel("kernels/device/survey.cu", entry, "%s", "");
}

static mp_kernel fill_kernel(const char *entry, const mp_code_format *format, int style) {
    return mp_make_kernel("kernels/device/fill.cu", entry, "-DBITS=%d -DKIND=%d -DSTYLE=%d", format->bits,
                          format->kind, style);
}

mp_kernel mp_kernel_fill(const mp_numbers *n) {
    return fill_kernel("fill_numbers", &n->format, mp_rows_are_alike(n) ? n->rule.style : MP_ANY_STYLE);
}

mp_kernel mp_kernel_largest(const mp_code_format *format) {
    return fill_kernel("largest_codes", format, MP_STYLE_NORMAL);
}

mp_kernel mp_kernel_probe(const mp_mma_instruction *m, int steps) {
    return mp_make_kernel("kernels/device/probe.cu", "probe",
                          "-DWGMMA=%d -DTYPE=%s -DDEPTH=%d -DRESULT=%s -DSTEPS=%d%s", m->wgmma, m->type,
                          m->depth, m->result, steps, m->saturate ? " -DSATURATE" : "");
}

mp_kernel mp_kernel_multiply_adds(const char *number) {
    return mp_make_kernel("kernels/device/rates.cu", "multiply_adds", "-DNUMBER=%s", number);
}

mp_kernel mp_kernel_products(const mp_mma_instruction *m, mp_dtype operands) {
    const int model = operands == MP_FP16 ? MP_FP16 : MP_BF16;
    return m->wgmma ? mp_make_kernel("kernels/device/rates.cu", "products",
                                     "-DBY_WGMMA=1 -DDTYPE=%d -DA_DTYPE=%d -DW_DTYPE=%d", model,
                                     (int)operands, (int)operands)
                    : mp_make_kernel("kernels/device/rates.cu", "products",
                                     "-DBY_WGMMA=0 -DTYPE=%s -DDEPTH=%d -DRESULT=%s", m->type, m->depth,
                                     m->result);
}

mp_kernel mp_kernel_special_unit(const char *instruction, int operands) {
    return mp_make_kernel("kernels/device/special_unit.cu", "special_unit", "-DINSTRUCTION=%s -DOPERANDS=%d",
                          instruction, operands);
}

bool mp_mma_supported(int architecture, const mp_mma_instruction *instruction) {
    const bool fp8 = instruction->type[0] == 'e';
    return instruction->wgmma ? architecture == 90 : architecture >= (fp8 ? 89 : 80);
}

const mp_mma_instruction *mp_mma_of(bool wgmma, mp_dtype operands) {
    static const mp_mma_instruction by[2][MP_DTYPE_COUNT] = {
        {[MP_BF16] = {.type = "bf16", .result = "f32", .depth = 16},
         [MP_FP16] = {.type = "f16", .result = "f32", .depth = 16},
         [MP_E4M3] = {.type = "e4m3", .result = "f32", .depth = 32},
         [MP_I8] = {.type = "s8", .result = "s32", .depth = 32}},
        {[MP_BF16] = {.wgmma = true, .type = "bf16", .result = "f32", .depth = 16},
         [MP_FP16] = {.wgmma = true, .type = "f16", .result = "f32", .depth = 16},
         [MP_E4M3] = {.wgmma = true, .type = "e4m3", .result = "f32", .depth = 32},
         [MP_I8] = {.wgmma = true, .type = "s8", .result = "s32", .depth = 32}},
    };
    const mp_mma_instruction *found = &by[wgmma][operands];
    return found->type ? found : NULL;
}
