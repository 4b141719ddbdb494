/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/matrixcore_gemm.h"

#include "base/bits.h"
#include "ref/predict/defined_gemm.h"
#include "ref/predict/matrixcore.h"

bool mp_is_matrix_core(mp_accumulator accumulator) {
    return accumulator == MP_ACC_PAIRWISE || accumulator == MP_ACC_PAIRWISE_FLUSHED ||
           accumulator == MP_ACC_MATRIX_CORE || accumulator == MP_ACC_MATRIX_CORE_HALVES;
}

static bool input_of(mp_accumulator accumulator, mp_dtype dtype, mp_mc_input *input) {
    const bool halves = accumulator == MP_ACC_MATRIX_CORE_HALVES;
    switch (dtype) {
    case MP_BF16: *input = MP_MC_BF16; return !halves;
    case MP_FP16: *input = MP_MC_FP16; return !halves;
    case MP_E4M3: *input = MP_MC_E4M3_FNUZ; return halves;
    case MP_E5M2: *input = MP_MC_E5M2_FNUZ; return halves;
    default: return false;
    }
}

const char *mp_unpredictable_matrix_core(const mp_gemm_contract *g, mp_dtype operands) {
    mp_mc_input input;
    if (!input_of(g->accumulator, operands, &input)) return "the matrix core takes no such operands";
    if (g->k_order != MP_K_ASCENDING) return "matrix cores are known to take k in ascending order alone";
    if (g->group < 1 || g->group > MP_MC_MAX_GROUP) return "a matrix core's step has 1 to 16 terms";
    if (g->accumulator == MP_ACC_MATRIX_CORE_HALVES && g->group % 2)
        return "even and odd k are summed apart: a step has an even number of terms";
    return NULL;
}

/* CDNA3's fp8 is fnuz: the same bits as OCP's stand for half the number, 80 for NaN instead of -0, and 7F and
 * FF, OCP's NaN, for numbers. A kernel that has OCP codes makes 0 of 80 and doubles the scales. A NaN is none
 * that it keeps; here it stays one, as the case has it. */
static uint32_t to_fnuz(uint32_t code) {
    if (code == 0x80) return 0;
    return (code & 0x7F) == 0x7F ? 0x80 : code;
}

static uint32_t to_fnuz_e5m2(uint32_t code) {
    if (code == 0x80) return 0;
    return (code & 0x7F) >= 0x7C ? 0x80 : code; /* Inf is none, either */
}

static float dot(const void *model, const mp_defined_row *a, const mp_defined_row *w, int64_t first,
                 int64_t end) {
    return mp_float_of_bits(mp_mc_dot(model, end - first, a->code + first, w->code + first, 0));
}

static float dot_of_fnuz(const void *model, const mp_defined_row *a, const mp_defined_row *w, int64_t first,
                         int64_t end) {
    return 4 * dot(model, a, w, first, end);
}

mp_status mp_matrix_core_gemm(const mp_gemm_contract *g, const mp_tc_parts *parts, const mp_gemm_problem *p,
                              const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                              mp_error *err) {
    const mp_dtype dtype = p->w.codes->dtype;
    const char *why = mp_unpredictable_matrix_core(g, dtype);
    if (!why && p->a.codes->dtype != dtype) why = "its operands have one format";
    if (why)
        return mp_fail(err, MP_EUNSUPPORTED, "matrix core: operands %s and %s: %s",
                       mp_dtype_name(p->a.codes->dtype), mp_dtype_name(dtype), why);
    const bool pairwise = g->accumulator == MP_ACC_PAIRWISE || g->accumulator == MP_ACC_PAIRWISE_FLUSHED,
               halves = g->accumulator == MP_ACC_MATRIX_CORE_HALVES;
    mp_mc_model model = {.method = pairwise ? MP_MC_PAIRWISE
                                   : halves ? MP_MC_FUSED_HALVES
                                            : MP_MC_FUSED,
                         .group = g->group,
                         .fraction_bits = g->fraction_bits,
                         .zero_exponent = g->zero_exponent,
                         .flush_subnormals = g->accumulator == MP_ACC_PAIRWISE_FLUSHED};
    input_of(g->accumulator, dtype, &model.a);
    model.b = model.a;
    const mp_definition unit = {.name = "matrix core",
                                .model = &model,
                                .terms = g->group,
                                .operand = !halves            ? NULL
                                           : dtype == MP_E4M3 ? to_fnuz
                                                              : to_fnuz_e5m2,
                                .dot = halves ? dot_of_fnuz : dot};
    return mp_defined_gemm(&unit, parts, p, epilogue, out_row, out, err);
}
