/* SPDX-License-Identifier: Apache-2.0 */
/* LoRA's stages as grouped GEMMs, in float64.
 *
 * For slot t = m*topk + j of a token with adapter l, expert e = topk_ids[t], and slice s (cases/lora.h):
 *
 *   shrink   h[t, s*r + i] = sum_k in[t,k] * A[l*E + e, s*r + i, k]        i < r, the rank
 *   expand   d[t, s, n]    = w[t] * sum_i h[t, s*r + i] * B[l*E + e, s*N + n, i]
 *            out[t, n']    = c[t, n'] + d[t, s, n]
 *
 * gate_up: in = x [M,K] (row m), c = cache1 [M*topk, S*N], w = 1; n' = s*N + n, or 2n + s where gate and
 * up alternate. down: in = cache2 [M*topk, N], c = cache3 [M,topk,K], one slice, w the router weight where
 * down applies it. Where one factor is shared by all experts its index is l alone. A slot without an
 * adapter (mp_lora_of_slot) has h = 0 and out = c, and its numbers are not read. Source: the LoRA paper,
 * Hu et al., arXiv 2106.09685, with alpha/rank multiplied into B.
 *
 * A slice of a slot is a row of its own: with v = t*S + s both are GEMMs of the pipeline, of "experts"
 * that are slices of an adapter's factors. */
#ifndef MP_REF_LORA_H
#define MP_REF_LORA_H

#include "ref/pipeline.h"

/* The GEMM of a shrink or an expand. Rows are v: out has M*topk*S of them, as the tensor's own rows hold them
 * one after the other. */
typedef struct mp_lora_gemm {
    mp_gemm_problem problem; /* topk_ids [M*topk*S]: -1 of slots without an adapter */
    mp_epilogue epilogue;    /* the router weight of an expand */
    int64_t slices, width;   /* S; elements of a row v of the result */
    mp_tensor in, factor,
        out;               /* what the problem points to, and out: [rows, width] in the stage's own tensor */
    const mp_tensor *base; /* of an expand: what it adds to; else NULL */
    bool interleaved;      /* column n of slice s is 2n + s of the result's row */
    void *memory;
} mp_lora_gemm;
/* To be freed by the caller, after an error too. It points into itself and the call. */
mp_status mp_lora_gemm_create(const mp_stage_call *call, mp_stage stage, mp_lora_gemm *g, mp_error *err);
void mp_lora_gemm_free(mp_lora_gemm *g);

/* Where column n of row v of an expand lies, in base and result alike. */
static inline int64_t mp_lora_element(const mp_lora_gemm *g, int64_t v, int64_t n) {
    const int64_t slot = v / g->slices, slice = v % g->slices;
    return g->interleaved ? slot * g->slices * g->width + n * g->slices + slice : v * g->width + n;
}

/* Copies the rows of slots without an adapter from base to out, as they are. */
void mp_lora_keep_rows(const mp_lora_gemm *g);

#endif
