/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/flushed.h"

#include <math.h>

enum { PIECE = 256 }; /* numbers of a row that are looked at at a time */

/* The most subnormal numbers of the format that a row has. */
static double most_subnormals(const mp_operand *o, mp_dtype format) {
    const double smallest = ldexp(1.0, mp_dtype_format(format)->emin);
    const int64_t rows = mp_tensor_rows(o->codes), length = mp_tensor_row_length(o->codes);
    int64_t most = 0;
#pragma omp parallel for reduction(max : most) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        double v[PIECE];
        int64_t subnormal = 0;
        for (int64_t first = 0; first < length; first += PIECE) {
            const int64_t here = length - first < PIECE ? length - first : PIECE;
            mp_operand_decode(o, r, first, here, v);
            for (int64_t i = 0; i < here; i++) subnormal += v[i] != 0 && fabs(v[i]) < smallest;
        }
        most = subnormal > most ? subnormal : most;
    }
    return (double)most;
}

bool mp_add_flushed(const mp_gemm_contract *contract, const mp_gemm_problem *p, mp_dtype format, bool scaled,
                    bool a_seen, double largest, mp_sum_bound *bound) {
    if (contract->accumulator != MP_ACC_PAIRWISE_FLUSHED) return false;
    const mp_operand a = scaled ? (mp_operand){.codes = p->a.codes} : p->a,
                     w = scaled ? (mp_operand){.codes = p->w.codes} : p->w;
    const double lost = mp_flushed_operands(contract, format,
                                            a_seen ? most_subnormals(&a, format) : (double)p->w.codes->dim[2],
                                            most_subnormals(&w, format), largest);
    *(scaled ? &bound->per_scale : &bound->abs) += lost * (1 + bound->rel);
    return lost > 0;
}
