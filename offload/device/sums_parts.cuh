/* SPDX-License-Identifier: Apache-2.0 */
// What becomes of the accumulator of a chain of steps: chains of fp8 through fp16 are added up, and parts of
// k are, with their scales or without. In IEEE float32, as ref/predict/tensorcore_gemm.c and scaling.c say.
#pragma once

// -DORDER: how k is taken. -DSCALING: how parts are added: none, k is one; by themselves; or the number of an
// mp_scaling. -DPER_TILE: every part is scaled, or the sum of all.
#define DIRECT 0
#define THROUGH_FP16 1
#define PERMUTED 2
#define NO_PARTS (-1)
#define PROMOTION 0
#define PRODUCT 1
#define A_THEN_W 2
#define W_THEN_A 3
#define PRODUCT_FMA 4
#define A_THEN_W_FMA 5
#define W_THEN_A_FMA 6

#define CHUNK 32 // terms that change places with each other alone

// No sum has this pattern, for the NaN of a sum is 7FFFFFFF: the definition is to supply it.
#define TO_BE_REDONE 0xFFFFFFFFu

__device__ __forceinline__ float canonical(float x) {
    return x != x ? __uint_as_float(0x7FFFFFFFu) : x;
}

__device__ __forceinline__ float scaled(float sum, float a, float w) {
    if (SCALING == A_THEN_W || SCALING == A_THEN_W_FMA) return __fmul_rn(__fmul_rn(sum, a), w);
    if (SCALING == W_THEN_A || SCALING == W_THEN_A_FMA) return __fmul_rn(__fmul_rn(sum, w), a);
    return __fmul_rn(sum, __fmul_rn(a, w));
}

__device__ __forceinline__ float add_scaled(float sum, float dot, float a, float w) {
    if (SCALING == PRODUCT_FMA) return __fmaf_rn(dot, __fmul_rn(a, w), sum);
    if (SCALING == A_THEN_W_FMA) return __fmaf_rn(__fmul_rn(dot, a), w, sum);
    if (SCALING == W_THEN_A_FMA) return __fmaf_rn(__fmul_rn(dot, w), a, sum);
    return __fadd_rn(sum, scaled(dot, a, w));
}

// The sum with one more part. a and w are looked at where they are needed: of every part, or of the last.
__device__ __forceinline__ float add_part(float sum, float dot, bool last, float a, float w) {
    if (SCALING == NO_PARTS) return dot;
    if (SCALING == PROMOTION) return canonical(__fadd_rn(sum, dot));
    if (PER_TILE) return canonical(add_scaled(sum, dot, a, w));
    const float total = canonical(__fadd_rn(sum, dot));
    return last ? canonical(scaled(total, a, w)) : total;
}

// Which term of k is taken at a place.
__device__ __forceinline__ long long taken(long long place) {
    if (ORDER == DIRECT) return place;
    const int i = (int)(place % CHUNK);
    return place - i + i % (CHUNK / 2) / 2 * 4 + i % 2 + i / (CHUNK / 2) * 2;
}

// Where a step ends, behind `end` terms: of a chain, whose accumulator is then taken from zero again, of a
// part of k, of k.
struct place {
    long long part; // of k, that the step is in
    bool chain_ends, chain_begins_part, part_ends, last;
};
__device__ __forceinline__ long long padded(long long K) {
    return ORDER == DIRECT ? K : (K + CHUNK - 1) / CHUNK * CHUNK;
}
__device__ __forceinline__ place place_of(const mp_sums_params &p, long long end) {
    place at;
    at.part = (end - 1) / p.part_terms;
    at.last = end >= padded(p.K);
    at.part_ends = at.last || end % p.part_terms == 0;
    at.chain_ends = at.part_ends || (ORDER == THROUGH_FP16 && end % CHUNK == 0);
    at.chain_begins_part = end - p.part_terms * at.part <= CHUNK;
    return at;
}

// A chain's sum into that of its part, *inner, and a part's into *total.
__device__ __forceinline__ void end_chain(const mp_sums_params &p, const place &at, float dot,
                                          long long a_row, long long w_row, float *inner, float *total) {
    if (ORDER == THROUGH_FP16) {
        dot = at.chain_begins_part ? dot : canonical(__fadd_rn(*inner, dot));
        *inner = dot;
    }
    if (!at.part_ends) return;
    const long long scale = PER_TILE ? at.part : 0;
    const bool scales = SCALING >= PRODUCT;
    *total = add_part(*total, dot, at.last, scales ? p.a_scale[a_row * p.scales + scale] : 1,
                      scales ? p.w_scale[w_row * p.scales + scale] : 1);
}
