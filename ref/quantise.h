/* SPDX-License-Identifier: Apache-2.0 */
/* Quantisation: what a quantiser makes of values that share a scale, and how far codes may be from them.
 *
 * x: the values, exact in float32. a: the largest |x|, NaN left out. fl: one float32 operation, to nearest
 * even. ~: a quotient known to 2 ulp only (Triton's `/`, or CUDA's with --use_fast_math, which flushes
 * subnormal numbers to zero as well); by a power of two it is exact, as sm_90 has it. a' = max(a, 1e-10).
 * Codes saturate, and round to nearest even where nothing else is said. What a NaN becomes stands behind the
 * code.
 *
 *   name                   scale                           code
 *   fp8                    fl(max(a, 2^-100) / 448)        fl(x / s); NaN
 *   fp8-static             given                           fl(x / s); NaN
 *   int8                   fl(max(a, 2^-100) / 127)        fl(x / s); 0
 *   fp8-ue8m0              2^k >= fl(max(a,2^-100) / 448)  x * 2^-k; NaN
 *   mxfp8                  2^k >= fl(a / 448)              x * 2^-k; NaN
 *   mxfp4                  2^k >= fl(a / 6)                x * 2^-k; 6
 *   nvfp4                  e4m3(fl(fl(a / 6) / given))     fl(x / fl(s * given)), 0 where that is 0; 6
 *   sgl-fp8-tensor         fl(a / 448)                     fl(x * fl(1/s)); 448: also all of an all-zero x
 *   sgl-fp8-static         given                           the same
 *   sgl-fp8-token          ~(a / 448)                      fl(x * ~(1/s)), 0 where s is 0; 448
 *   sgl-fp8-token-few      ~(a / 448)                      fl(x * ~(1/s)); 448: also all of an all-zero x
 *   sgl-fp8-group          fl(a' * fl(1/448))              fl(x * ~(448 / a')); bf16 NaN, others 448
 *   sgl-ue8m0-group        2^k >= fl(a' * fl(1/448))       x * 2^-k in the format of x; bf16 NaN, others 448
 *   sgl-int8-group         fl(a' * fl(1/127))              fl(x * ~(127 / a')), towards zero; -128
 *   sgl-int8-group-triton  ~(a' / 127)                     ~(x / s), towards zero; any
 *   sgl-mxfp8              2^k >= ~(max(a, 1e-30) / 448)   ~(x / 2^k); any
 *   sgl-mxfp4              2^k >= a/6, in the format of x  x / 2^k in it, ties to the smaller, 0 as -0; any
 *   triton-int8-token      ~(a' / 127)                     fl(x * ~(127 / a')), halves away from zero; any
 *   vllm-fp8-tensor        as sgl-fp8-tensor
 *   vllm-fp8-static        as sgl-fp8-static
 *   vllm-fp8-token         max(fl(min(a, upper) / 448), fl(1/(448*512)))     fl(x / s); 448
 *   vllm-fp8-group         fl(a' / 448)                    fl(x * fl(1/s)); -448
 *   vllm-fp8-group-triton  fl(a' * fl(1/448))              ~(x / s); any
 *   vllm-ue8m0-group       2^k >= max(fl(a'/448), 1e-10)   x * 2^-k; -448
 *   vllm-int8-static       given                           fl(x / s); 0
 *   vllm-int8-token        fl(a / 127)                     fl(x * fl(127 / a)), 0 where a is 0; 0
 *   vllm-int8-token-asym   fl(fl(max - min) / 255)         the integer next to fl(x * fl(1/s)), plus a zero
 *                          point, that next to fl(-128 - fl(min/s)), both in 32 bits; 0 plus the zero point
 *   vllm-int8-group        fl(a' / 127)                    fl(x * fl(1/s)), towards zero; -128
 *   vllm-mxfp8             2^k >= ~(max(a, 2^-126) / 448)  x * 2^-k; any, the scale too
 *   vllm-mxfp4             2^(floor(log2 b) - 2), b = bits (a) + 200000h cut to its exponent   x * 2^-k; any
 *   vllm-nvfp4             e4m3(fl(given * fl(a * fl(1/6))))  x times 1 / (s * (1/given)) by approximate
 *                          reciprocals (1 ulp), 0 where s is 0; any, the scale too
 *
 * `2^k >= s` is the smallest such power. Where it comes of ceil(log2f(s)), which packages do but for
 * sgl-ue8m0-group, log2f is known to 1 ulp: near a power of two both of them can be (log2f of a power of two
 * is taken for exact). `given` of vllm-nvfp4 multiplies values, that of nvfp4 codes: one is the reciprocal of
 * the other. sgl-fp8-token is for many rows, -few for fewer than 16 a multiprocessor.
 *
 * Read in the sources of the packages; docs/adapters.md tells which an H100 has confirmed. */
#ifndef MP_REF_QUANTISE_H
#define MP_REF_QUANTISE_H

#include "moeparity/quantiser.h"
#include "ref/quantised.h"

typedef struct mp_quantisation {
    mp_quantiser quantiser;
    mp_dtype input; /* of the values: bf16, fp16 or fp32 */
    float given;    /* the static scale, or the global one of nvfp4; of others not read */
    float upper;    /* vllm-fp8-token: the limit of a; of others not read */
} mp_quantisation;

/* This project's own ones, in IEEE operations alone, stand before those of packages. */
static inline bool mp_quantiser_is_own(mp_quantiser quantiser) {
    return quantiser <= MP_QUANT_NVFP4;
}

/* What values that share a scale have in common; start with mp_quant_unit_empty. */
typedef struct mp_quant_unit {
    float amax, min, max; /* NaN left out */
    bool has_nan;
} mp_quant_unit;
extern const mp_quant_unit mp_quant_unit_empty;
void mp_quant_unit_add(mp_quant_unit *unit, const float *x, int64_t n);

/* The numbers that can come out, one or a range of them; both NaN: NaN. */
typedef struct mp_quant_range {
    double low, high;
} mp_quant_range;

/* Whether a NaN among the values leaves the scale open, and all codes: it may be NaN too. */
bool mp_quant_is_open(const mp_quantisation *q, const mp_quant_unit *unit);
/* The scale as it is stored, decoded: of a number format's values those in the range. */
mp_quant_range mp_quant_scales(const mp_quantisation *q, const mp_quant_unit *unit);
/* What the values are multiplied by, or divided by, given the stored scale. Where it is a range, it is one
 * number of it for all values of the unit, but for quotients ~(x / s) of their own. */
mp_quant_range mp_quant_factors(const mp_quantisation *q, const mp_quant_unit *unit, double scale);
/* The zero point: 0 but for vllm-int8-token-asym. */
int32_t mp_quant_zero(const mp_quantisation *q, const mp_quant_unit *unit, double scale);

/* Whether a code is a float32 product with the factor, or a quotient by it, rounded to nearest even. */
bool mp_quant_is_one_step(mp_quantiser quantiser, bool *divides);

/* Codes, right-aligned in a byte each, that n values may get: all between low and high, in the order of their
 * numbers, can be. Of one formula they are equal. */
void mp_quant_codes(const mp_quantisation *q, const mp_quant_unit *unit, mp_quant_range factor, int32_t zero,
                    const float *x, int64_t n, uint8_t *low, uint8_t *high);
/* Whether nothing is known of a code, from the lowest to the largest: what a NaN becomes is not told, or the
 * value met a factor of which 0 * Inf can come. Then a NaN fits too. */
bool mp_quant_code_is_open(mp_dtype codes, uint8_t low, uint8_t high);
/* Whether a code is one of low .. high. Where both are equal it must be that very code, the sign of a zero
 * and the code of a NaN included. */
bool mp_quant_code_fits(mp_dtype codes, uint64_t code, uint8_t low, uint8_t high);

/* Upper bound of |x - (code - zero) * step|, for any code that mp_quant_codes allows. step: what a code is
 * multiplied by: the scale, and of nvfp4 and vllm-nvfp4 the global scale too. Inf where there is none: NaN,
 * Inf, a factor that is not finite. The derivation stands in quantise_bound.c. */
double mp_quant_error(const mp_quantisation *q, mp_quant_range factor, double step, int32_t zero, double x);

/* The same of many values: what they have in common; of each mp_quant_spread_at has it. */
mp_quant_spread mp_quant_spread_of(const mp_quantisation *q, mp_quant_range factor, double step,
                                   int32_t zero);

#endif
