/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped GEMMs in float32 whose order no contract names: what a plain loop, a SIMD library or a tree of
 * partial sums makes. */
#ifndef MP_HARNESS_GEMM_ORDERS_H
#define MP_HARNESS_GEMM_ORDERS_H

#include "ref/gemm.h"

typedef struct mp_gemm_order {
    const char *name;
    int lanes;       /* chains side by side: term k goes to chain k mod lanes; 0: pairwise over halves */
    bool descending; /* k, within a chain */
    bool fused;      /* fma; else a rounded product and an addition */
    bool tree;       /* chains are added in a tree, i and i + half first; else one after the other */
} mp_gemm_order;
extern const mp_gemm_order mp_gemm_orders[];
extern const int mp_gemm_order_count;

/* out[slot, n] fp32 = the sum alone, no bias and no weight. Arguments as mp_gemm_f32. */
mp_status mp_gemm_in_order(const mp_gemm_order *order, const mp_gemm_problem *problem, const mp_tensor *out,
                           mp_error *err);

#endif
