/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/gemm_tiles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Columns first .. first+n of every row, packed; dtype and leading axes are those of `from`. */
static mp_status cut(const mp_tensor *from, int64_t first, int64_t n, mp_tensor *to, mp_error *err) {
    const int64_t length = mp_tensor_row_length(from), rows = mp_tensor_rows(from);
    const size_t size = mp_dtype_size(from->dtype), bytes = (size_t)n * size;
    *to = *from;
    to->data = NULL;
    to->dim[to->rank - 1] = n;
    const mp_status status = mp_tensor_alloc(to, 0, err);
    for (int64_t r = 0; status == MP_OK && r < rows; r++)
        memcpy((char *)to->data + (size_t)r * bytes,
               (const char *)from->data + (size_t)(r * length + first) * size, bytes);
    return status;
}

/* The plain sums of a tile. */
static mp_status sum_tile(const mp_gemm_contract *contract, mp_gemm_sums *sums, const mp_gemm_problem *p,
                          int64_t first, int64_t n, const mp_tensor *result, mp_error *err) {
    mp_tensor a = {0}, w = {0};
    mp_status status = cut(p->a.codes, first, n, &a, err);
    if (status == MP_OK) status = cut(p->w.codes, first, n, &w, err);
    mp_gemm_problem part = *p;
    part.a = (mp_operand){.codes = &a};
    part.w = (mp_operand){.codes = &w};
    if (status == MP_OK) status = sums(contract, &part, result, err);
    mp_tensor_free(&a);
    mp_tensor_free(&w);
    return status;
}

/* A scaled sum; added to acc where scales enter per tile. */
static inline float scaled(mp_scaling how, float dot, float a, float w) {
    switch (how) {
    case MP_SCALING_PRODUCT:
    case MP_SCALING_PRODUCT_FMA: return dot * (a * w);
    case MP_SCALING_A_THEN_W:
    case MP_SCALING_A_THEN_W_FMA: return (dot * a) * w;
    case MP_SCALING_W_THEN_A:
    case MP_SCALING_W_THEN_A_FMA: return (dot * w) * a;
    case MP_SCALING_ANY:
    case MP_SCALING_COUNT: break;
    }
    return NAN;
}

static inline float add_scaled(mp_scaling how, float acc, float dot, float a, float w) {
    switch (how) {
    case MP_SCALING_PRODUCT_FMA: return fmaf(dot, a * w, acc);
    case MP_SCALING_A_THEN_W_FMA: return fmaf(dot * a, w, acc);
    case MP_SCALING_W_THEN_A_FMA: return fmaf(dot * w, a, acc);
    default: return acc + scaled(how, dot, a, w);
    }
}

/* acc and dot are [slots, n]. */
static void add_tile(const mp_gemm_contract *contract, bool per_tile, const mp_gemm_problem *p, int64_t k,
                     const float *dot, float *acc) {
    const int64_t N = p->w.codes->dim[1];
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < p->slots; t++) {
        if (p->topk_ids[t] < 0 || p->a_row[t] < 0) continue;
        const float a = (float)mp_operand_scale(&p->a, mp_operand_scale_row(&p->a, p->a_row[t]), k);
        for (int64_t n = 0; n < N; n++) {
            float *to = &acc[t * N + n];
            if (!per_tile) {
                *to += dot[t * N + n];
                continue;
            }
            const int64_t row = mp_operand_scale_row(&p->w, p->topk_ids[t] * N + n);
            *to =
                add_scaled(contract->scaling, *to, dot[t * N + n], a, (float)mp_operand_scale(&p->w, row, k));
        }
    }
}

static void finish(const mp_gemm_contract *contract, bool scale, const mp_gemm_problem *p, float *acc,
                   const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out) {
    const int64_t N = p->w.codes->dim[1];
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < p->slots; t++) {
        const int64_t row = out_row ? out_row[t] : t, expert = p->topk_ids[t];
        if (expert < 0 || p->a_row[t] < 0 || row < 0) continue;
        float *sums = acc + t * N;
        const float a = (float)mp_operand_scale(&p->a, mp_operand_scale_row(&p->a, p->a_row[t]), 0);
        for (int64_t n = 0; n < N && scale; n++) {
            const int64_t at = mp_operand_scale_row(&p->w, expert * N + n);
            sums[n] = scaled(contract->scaling, sums[n], a, (float)mp_operand_scale(&p->w, at, 0));
        }
        mp_epilogue_row_f32(epilogue, expert, 0, N, t, sums);
        mp_encode_row_f32(out->dtype, out->data, row * mp_tensor_row_length(out), N, sums);
    }
}

mp_status mp_gemm_by_tiles(const mp_gemm_contract *contract, bool per_tile, mp_gemm_sums *sums,
                           const mp_gemm_problem *p, const mp_epilogue *epilogue, const int64_t *out_row,
                           const mp_tensor *out, mp_error *err) {
    const int64_t N = p->w.codes->dim[1], K = p->w.codes->dim[2],
                  tile = contract->promotion > 0 ? contract->promotion : K;
    const bool scales = p->a.scale || p->w.scale;
    mp_tensor acc = mp_tensor_shape(MP_FP32, 2, p->slots, N, 1), dot = acc;
    mp_status status = mp_tensor_alloc(&acc, 0, err);
    if (status == MP_OK) status = mp_tensor_alloc(&dot, 0, err);
    for (int64_t k = 0; k < K && status == MP_OK; k += tile) {
        status = sum_tile(contract, sums, p, k, K - k < tile ? K - k : tile, &dot, err);
        if (status == MP_OK) add_tile(contract, scales && per_tile, p, k, dot.data, acc.data);
    }
    mp_gemm_zero_filtered(p, out_row, out);
    if (status == MP_OK) finish(contract, scales && !per_tile, p, acc.data, epilogue, out_row, out);
    mp_tensor_free(&acc);
    mp_tensor_free(&dot);
    return status;
}
