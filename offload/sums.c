/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/sums.h"

#include "offload/handle.h"
#include "ref/predict/gemm.h"
#include "ref/predict/tensorcore_pack.h"
#include "ref/predict/terms.h"

#include <stdarg.h>
#include <stdio.h>

enum { BLOCKS = 2 };                      /* that fit a multiprocessor */
enum { NO_PARTS = -1, PROMOTION = 0 };    /* of -DSCALING; else an mp_scaling */
enum { LARGEST_CHUNK = MP_TC_MAX_GROUP }; /* k comes in so many terms at a time */

mp_step_format mp_step_format_of(const mp_tc_model *m, bool of_a) {
    const mp_tc_model step = mp_tc_step(m);
    const mp_term_format *codes = &mp_tc_formats[of_a ? m->a : m->b],
                         *taken = &mp_tc_formats[of_a ? step.a : step.b];
    return (mp_step_format){.exponent_bits = codes->exponent_bits,
                            .fraction_bits = codes->fraction_bits,
                            .ieee = codes->specials == MP_SPECIALS_IEEE,
                            .lowest = 1 - mp_term_bias(taken)};
}

/* Whether tensorcore_step.h takes the model's steps, and mp_tc_gemm the operands. */
static bool covers(const mp_tc_model *m) {
    const mp_tc_model step = mp_tc_step(m);
    const mp_dtype a = mp_tc_operands[m->a].dtype, w = mp_tc_operands[m->b].dtype;
    const bool fp8 = mp_dtype_size(a) == 1 && mp_dtype_size(w) == 1,
               tf32 = mp_dtype_size(a) == 4 || mp_dtype_size(w) == 4;
    return m->result == MP_TC_FLOAT32 && !mp_dtype_is_packed(a) && !mp_dtype_is_packed(w) &&
           (m->method != MP_TC_THROUGH_FP16 || fp8) && (m->method != MP_TC_PERMUTED || !tf32) &&
           step.group > 0 && MP_TC_MAX_GROUP % step.group == 0 && step.fraction_bits >= 1 &&
           step.fraction_bits <= 28 && step.result_fraction_bits >= 0 && step.result_fraction_bits <= 23 &&
           step.zero_exponent >= -500 && step.zero_exponent <= 127;
}

/* What all kernels are compiled with. */
typedef struct common {
    mp_tc_method order;
    int scaling;
    bool per_tile;
    mp_dtype a, w;
} common;

static mp_kernel make_kernel(const char *source, const char *entry, const common *c, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static mp_kernel make_kernel(const char *source, const char *entry, const common *c, const char *format,
                             ...) {
    mp_kernel kernel = {.texts = &mp_offload_texts, .source = source, .entry = entry};
    va_list args;
    const int length =
        snprintf(kernel.options, sizeof kernel.options,
                 "-DROWS=%d -DCOLUMNS=%d -DBLOCKS=%d -DORDER=%d -DSCALING=%d -DPER_TILE=%d -DA_BYTES=%d "
                 "-DW_BYTES=%d ",
                 MP_SUMS_ROWS, MP_SUMS_COLUMNS, BLOCKS, (int)c->order, c->scaling, c->per_tile,
                 (int)mp_dtype_size(c->a), (int)mp_dtype_size(c->w));
    va_start(args, format);
    vsnprintf(kernel.options + length, sizeof kernel.options - (size_t)length, format, args);
    va_end(args);
    return kernel;
}

static mp_kernel step_kernel(const char *source, const char *entry, const common *c, const mp_tc_model *m) {
    const mp_tc_model step = mp_tc_step(m);
    const mp_step_format a = mp_step_format_of(m, true), w = mp_step_format_of(m, false);
    return make_kernel(source, entry, c,
                       "-DGROUP=%d -DFRACTION_BITS=%d -DRESULT_BITS=%d -DZERO_EXPONENT=%d "
                       "-DA_EXPONENT_BITS=%d -DA_FRACTION_BITS=%d -DA_IEEE=%d -DA_LOWEST=%d "
                       "-DW_EXPONENT_BITS=%d -DW_FRACTION_BITS=%d -DW_IEEE=%d -DW_LOWEST=%d",
                       step.group, step.fraction_bits, step.result_fraction_bits, step.zero_exponent,
                       a.exponent_bits, a.fraction_bits, a.ieee, a.lowest, w.exponent_bits, w.fraction_bits,
                       w.ieee, w.lowest);
}

/* Formats whose numbers plain_sums.cu makes float32 of. */
static bool becomes_float32(mp_dtype dtype) {
    return dtype == MP_BF16 || dtype == MP_FP16 || dtype == MP_FP32;
}

mp_status mp_sums_of(const mp_gemm_contract *contract, const mp_multiplied *m, mp_sums *sums, mp_error *err) {
    const int64_t K = m->plain.w.codes->dim[2], terms = m->scaled ? m->terms : contract->promotion;
    common c = {.scaling = m->scaled ? (int)contract->scaling
                           : terms   ? (int)PROMOTION
                                     : (int)NO_PARTS,
                .per_tile = m->per_tile,
                .a = m->plain.a.codes->dtype,
                .w = m->plain.w.codes->dtype};
    mp_tc_model model = {.method = MP_TC_DIRECT};
    *sums = (mp_sums){.part_terms = terms ? terms : (K / LARGEST_CHUNK + 1) * LARGEST_CHUNK};
    if (m->scaled) {
        sums->scales = m->per_tile ? (K + terms - 1) / terms : 1;
        sums->scale_terms = m->per_tile ? terms : K;
    }
    if (contract->split_k > 1) return mp_fail(err, MP_EUNSUPPORTED, "parts of k in any order on a GPU");
    if (contract->accumulator == MP_ACC_FMA_ASCENDING && !terms && becomes_float32(c.a) &&
        becomes_float32(c.w)) {
        sums->kernel = make_kernel("offload/device/plain_sums.cu", "sums", &c,
                                   "-DINT8=0 -DA_DTYPE=%d -DW_DTYPE=%d", (int)c.a, (int)c.w);
        return MP_OK;
    }
    if (contract->accumulator != MP_ACC_TENSOR_CORE)
        return mp_fail(err, MP_EUNSUPPORTED, "an accumulator that a GPU does not predict");
    const mp_status status = mp_tc_model_of(contract, c.a, c.w, &model, err);
    if (status != MP_OK) return status;
    if (model.a == MP_TC_S8 && c.w == MP_I8 && terms % LARGEST_CHUNK == 0) {
        sums->kernel = make_kernel("offload/device/plain_sums.cu", "sums", &c, "-DINT8=1");
        return MP_OK;
    }
    c.order = model.method;
    if (model.a == MP_TC_S8 || model.b == MP_TC_S8 || !covers(&model) || terms % mp_tc_terms(&model) != 0)
        return mp_fail(err, MP_EUNSUPPORTED, "a tensor core whose model a GPU does not predict");
    sums->kernel = step_kernel("offload/device/tensorcore.cu", "sums", &c, &model);
    sums->redo = step_kernel("offload/device/tensorcore_redo.cu", "redo", &c, &model);
    return MP_OK;
}
