/* SPDX-License-Identifier: Apache-2.0 */
/* A numerics contract: what a subject promises about its arithmetic, stage by stage. Data, not code paths:
 * the bounds, the prediction and the checks read it.
 *
 * Every field has a name (`gate_up.accumulator`, `act.rounding`, `combine.bits`), under which it can be set
 * by text. The identity of the arithmetic is a digest of all fields but what the stages promise of their
 * bits; the sentence of mp_contract_text is for people. */
#ifndef MOEPARITY_CONTRACT_H
#define MOEPARITY_CONTRACT_H

#include "moeparity/graph.h"
#include "moeparity/quantiser.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The values of each enum and their names, as a field's text has them, are told once, in a list. */
#define MP_VALUE_OF(value, ...) value,

/* How a GEMM accumulates; the last column is how a sentence says it.
 *   IEEE_ANY_ORDER  IEEE float32 additions in any order, products exact, fused or rounded
 *   FMA_ASCENDING   float32 fused multiply-adds, k ascending from zero: one result
 *   TENSOR_CORE     truncated fused dot-add over groups of `group` terms: one result, see mp_gemm_contract
 *   FLOAT64         float64 accumulation (the reference itself)
 *   ANY             IEEE_ANY_ORDER, FMA_ASCENDING, FLOAT64, and any tensor core of NVIDIA that is known: the
 *                   widest of their bounds
 * and AMD's matrix cores, a step of which takes `group` terms (ref/predict/matrixcore.h has each):
 *   PAIRWISE            CDNA1: the products of a step added as a binary tree of neighbours in IEEE float32
 *   PAIRWISE_FLUSHED    CDNA2: the same, subnormal operands, products and sums taken for zeros
 *   MATRIX_CORE         CDNA3, operands of 16 bits: products cut to F = fraction_bits bits, sum and
 *                       accumulator rounded down, the result to nearest even
 *   MATRIX_CORE_HALVES  CDNA3, fp8: the same, even and odd k cut and summed apart. Its numbers are half of
 *                       what OCP codes stand for (fnuz); that scales make up for it, exactly, is taken for
 *                       granted
 * and the block-scaled units of NVIDIA's sm_100 and sm_120:
 *   BLOCK_SCALED    codes and the scales of their blocks go into the unit, which adds the scales' exponents
 *                   where it aligns the terms (ref/predict/blockscaled.h): no number is rounded before.
 *                   group = 32: term by term (mxf8f6f4); 64: sums of 16 terms that are exact (mxf4, nvf4).
 *                   For schemes whose scales such a unit takes */
#define MP_ACCUMULATORS(VALUE)                                                       \
    VALUE(MP_ACC_IEEE_ANY_ORDER, "ieee-any-order", "IEEE fp32 any order")            \
    VALUE(MP_ACC_FMA_ASCENDING, "fma-ascending", "fp32 fma, k ascending")            \
    VALUE(MP_ACC_TENSOR_CORE, "tensor-core", "tensor core")                          \
    VALUE(MP_ACC_FLOAT64, "float64", "float64")                                      \
    VALUE(MP_ACC_ANY, "any", "any fp32 order or tensor core")                        \
    VALUE(MP_ACC_PAIRWISE, "pairwise", "pairwise fp32")                              \
    VALUE(MP_ACC_PAIRWISE_FLUSHED, "pairwise-flushed", "pairwise fp32, flushed,")    \
    VALUE(MP_ACC_MATRIX_CORE, "matrix-core", "matrix core")                          \
    VALUE(MP_ACC_MATRIX_CORE_HALVES, "matrix-core-halves", "matrix core, by halves") \
    VALUE(MP_ACC_BLOCK_SCALED, "block-scaled", "block-scaled unit")
typedef enum mp_accumulator { MP_ACCUMULATORS(MP_VALUE_OF) MP_ACC_COUNT } mp_accumulator;

/* In which order a tensor core takes the terms of k. In every 32 neighbours BY_PAIRS and PERMUTED take those
 * with k mod 4 in {0,1} first, then those in {2,3}; fp8 numbers are fp16 numbers to both.
 *   ASCENDING  neighbours share a step
 *   BY_PAIRS   every 32 are summed from zero and added by an IEEE addition: mma.sync with fp8 operands on
 *              sm_90
 *   PERMUTED   steps and accumulator of ASCENDING, over terms in that order; what is missing of the last 32
 *              is zeros, where it stands. For Triton's small tiles, which go to mma.sync, where it converts
 *              operands of 8 bits or fewer to 16: that is how its registers hold four neighbours */
#define MP_K_ORDERS(VALUE)             \
    VALUE(MP_K_ASCENDING, "ascending") \
    VALUE(MP_K_BY_PAIRS, "by-pairs")   \
    VALUE(MP_K_PERMUTED, "permuted")
typedef enum mp_k_order { MP_K_ORDERS(MP_VALUE_OF) MP_K_ORDER_COUNT } mp_k_order;

/* How a sum of products of codes meets the scales a of activations and w of weights; by itself, or where
 * it is added to acc:
 *   PRODUCT       sum * (a*w), each multiplication rounded
 *   A_THEN_W      (sum*a) * w
 *   W_THEN_A      (sum*w) * a
 *   ..._FMA       the last multiplication and the addition to acc are one operation
 *   ANY           one of these: nothing is said */
#define MP_SCALINGS(VALUE)                         \
    VALUE(MP_SCALING_ANY, "any")                   \
    VALUE(MP_SCALING_PRODUCT, "product")           \
    VALUE(MP_SCALING_A_THEN_W, "a-then-w")         \
    VALUE(MP_SCALING_W_THEN_A, "w-then-a")         \
    VALUE(MP_SCALING_PRODUCT_FMA, "product-fma")   \
    VALUE(MP_SCALING_A_THEN_W_FMA, "a-then-w-fma") \
    VALUE(MP_SCALING_W_THEN_A_FMA, "w-then-a-fma")
typedef enum mp_scaling { MP_SCALINGS(MP_VALUE_OF) MP_SCALING_COUNT } mp_scaling;

/* TENSOR_CORE adds the products of k, in their order, `group` at a time. A step takes L = group products and
 * the float32 accumulator, which is zero before the first; what is missing in the last step counts as zero:
 *   1. products are exact. The exponent of one is the sum of its operands' exponents, also where the product
 *      of their significands is 2 or more; a subnormal has the exponent of its format's smallest normal;
 *   2. e_max is the largest exponent among all that is not zero, but at least `zero_exponent`, which is what
 *      zeros count as;
 *   3. every term, the accumulator too, is cut towards zero to a multiple of 2^(e_max - F), F =
 *      fraction_bits;
 *   4. the cut terms are summed exactly;
 *   5. the sum is cut towards zero to R = result_fraction_bits bits behind its leading one, within the range
 *      of float32: below 2^-126 it has fewer, from 2^128 on it is Inf, and zero is +0. That is the
 *      accumulator of the next step.
 * NaN, 0*Inf and Inf-Inf give the NaN 7FFFFFFF. With MP_K_BY_PAIRS a group is two such steps of group/2
 * terms, from zero: those with k mod 4 in {0,1}, then those in {2,3}; an IEEE float32 addition adds their
 * result to the accumulator. With MP_K_PERMUTED a group is one step as told, of fp8 too one of fp16. For bf16
 * and fp16 sm_90 has L = 16, F = 25, R = 23 and zero_exponent = -133. */
typedef struct mp_gemm_contract {
    mp_accumulator accumulator;
    int group;                        /* of all with steps */
    int fraction_bits, zero_exponent; /* of TENSOR_CORE, MATRIX_CORE, its HALVES, and BLOCK_SCALED */
    int result_fraction_bits;         /* of TENSOR_CORE */
    mp_k_order k_order;
    int promotion; /* terms after which the accumulator is added to a float32 sum and starts anew; 0: never */
    int split_k;   /* parts of k with accumulators of their own, added in float32 in any order; 1: none */
    mp_scaling scaling; /* of a quantised case: after all of k, or for each `promotion` terms */
} mp_gemm_contract;

/* Whose exp, tanh and erf. The last column is what a sentence adds.
 *   IEEE             those of this project's kernels, made of IEEE float32 operations alone
 *   SPECIAL_UNIT     approximations by the special-function unit, in an order that is not told
 *   LIBRARY          any mathematical library's
 *   CUDA_MATH        expf, tanhf, erff of CUDA's library and IEEE division, compiled with nvcc's defaults:
 *                    silu, gelu and gelu_tanh of torch, and CUDA kernels that are built without fast math
 *   CUDA_INTRINSICS  silu as v / (1 + __expf(-v)), compiled with nvcc's defaults; all else as CUDA_MATH
 *   CUDA_FAST_MATH   the same source as either, compiled with --use_fast_math
 *   TRITON           silu as v * tl.sigmoid(v), which is v * (1 / (1 + tl.exp(-v))); gelu with tl.erf;
 *                    gelu_tanh with 2 tl.sigmoid(2z) - 1
 *   TRITON_QUOTIENT  silu as v / (1 + tl.exp(-v)); all else as TRITON
 *   CUDA_SIGMOID     silu as v * (1 / (1 + expf(-v))); all else as CUDA_MATH
 *   CUDA_PRODUCT     silu times up as (v*up) / (1 + expf(-v)): no act(gate) of its own; all else as CUDA_MATH
 *   TORCH_COMPILE    torch's functions as Inductor writes them in Triton: silu as v / (1 + expf(-v)), by an
 *                    approximate quotient, sigmoid as TRITON's
 * SPECIAL_UNIT and LIBRARY are bounded only; the bits of the others are predicted, of CUDA_MATH and those
 * after it as an sm_90 gives them (ref/predict/activation_cuda.h has the formulas). */
#define MP_ACT_FUNCTIONS(VALUE)                                                       \
    VALUE(MP_ACT_IEEE, "ieee", "")                                                    \
    VALUE(MP_ACT_SPECIAL_UNIT, "special-unit", " (special-function unit)")            \
    VALUE(MP_ACT_LIBRARY, "library", " (library)")                                    \
    VALUE(MP_ACT_CUDA_MATH, "cuda-math", " (CUDA library)")                           \
    VALUE(MP_ACT_CUDA_INTRINSICS, "cuda-intrinsics", " (CUDA intrinsics)")            \
    VALUE(MP_ACT_CUDA_FAST_MATH, "cuda-fast-math", " (CUDA, --use_fast_math)")        \
    VALUE(MP_ACT_TRITON, "triton", " (Triton)")                                       \
    VALUE(MP_ACT_TRITON_QUOTIENT, "triton-quotient", " (Triton, one quotient)")       \
    VALUE(MP_ACT_CUDA_SIGMOID, "cuda-math-sigmoid", " (CUDA library, by a sigmoid)")  \
    VALUE(MP_ACT_CUDA_PRODUCT, "cuda-math-product", " (CUDA library, product first)") \
    VALUE(MP_ACT_TORCH_COMPILE, "torch-compile", " (torch.compile)")
typedef enum mp_act_function { MP_ACT_FUNCTIONS(MP_VALUE_OF) MP_ACT_FUNCTION_COUNT } mp_act_function;

/* ONE_ROUNDING: act(gate)*up is rounded once to dtype; GATE_ROUNDED: act(gate) is rounded to dtype before the
 * multiply; ANY: one or the other. */
#define MP_ACT_ROUNDINGS(VALUE)                \
    VALUE(MP_ACT_ONE_ROUNDING, "one-rounding") \
    VALUE(MP_ACT_GATE_ROUNDED, "gate-rounded") \
    VALUE(MP_ACT_ANY_ROUNDING, "any")
typedef enum mp_act_rounding { MP_ACT_ROUNDINGS(MP_VALUE_OF) MP_ACT_ROUNDING_COUNT } mp_act_rounding;

/* What a clamp makes of a NaN. KEPT: a NaN, as a comparison or torch.clamp does; LIMIT: the upper limit, as
 * fmaxf(fminf(v, L), -L) and Triton's minimum and maximum do; ANY: one or the other. */
#define MP_CLAMP_NANS(VALUE)           \
    VALUE(MP_CLAMP_NAN_KEPT, "kept")   \
    VALUE(MP_CLAMP_NAN_LIMIT, "limit") \
    VALUE(MP_CLAMP_NAN_ANY, "any")
typedef enum mp_clamp_nan { MP_CLAMP_NANS(MP_VALUE_OF) MP_CLAMP_NAN_COUNT } mp_clamp_nan;

/* SCALE_THEN_ROUND: rnd(rsf * sum); ROUND_THEN_SCALE: rnd(rsf * rnd(sum)); ELEMENT_DTYPE: every addition
 * rounds to dtype. */
#define MP_COMBINE_VARIANTS(VALUE)                         \
    VALUE(MP_COMBINE_SCALE_THEN_ROUND, "scale-then-round") \
    VALUE(MP_COMBINE_ROUND_THEN_SCALE, "round-then-scale") \
    VALUE(MP_COMBINE_ELEMENT_DTYPE, "element-dtype")
typedef enum mp_combine_variant {
    MP_COMBINE_VARIANTS(MP_VALUE_OF) MP_COMBINE_VARIANT_COUNT
} mp_combine_variant;

/* How combine adds shared_output, with shared=add. ROUNDED: to the sum as the output would hold it without,
 * rnd(rnd(rsf * sum) + shared), as a kernel of its own does; ONE_ROUNDING: rnd(rsf * sum + shared). */
#define MP_SHARED_ADDS(VALUE)           \
    VALUE(MP_SHARED_ROUNDED, "rounded") \
    VALUE(MP_SHARED_ONE_ROUNDING, "one-rounding")
typedef enum mp_shared_add { MP_SHARED_ADDS(MP_VALUE_OF) MP_SHARED_ADD_COUNT } mp_shared_add;

/* What the activation reads where cache1 is not seen. STORED: gate and up as cache1 holds them, rounded to
 * dtype, as of two kernels; FLOAT32: what gate_up is before that rounding, in a kernel that does both. */
#define MP_ACT_INPUTS(VALUE)       \
    VALUE(MP_ACT_STORED, "stored") \
    VALUE(MP_ACT_FLOAT32, "float32")
typedef enum mp_act_input { MP_ACT_INPUTS(MP_VALUE_OF) MP_ACT_INPUT_COUNT } mp_act_input;

/* What LoRA's expand reads. STORED: the shrunk row as lora_h1, lora_h2 hold it, rounded to dtype; FLOAT32: as
 * it was before that rounding, in a kernel that does both, and nobody sees it then. */
#define MP_LORA_INPUTS(VALUE)       \
    VALUE(MP_LORA_STORED, "stored") \
    VALUE(MP_LORA_FLOAT32, "float32")
typedef enum mp_lora_input { MP_LORA_INPUTS(MP_VALUE_OF) MP_LORA_INPUT_COUNT } mp_lora_input;

/* What LoRA adds to gate and up, or down, the product d of the expand with the router weight. ROUNDED: d is
 * rounded to dtype, and its sum with the stored value once more; ONE_ROUNDING: the sum alone is rounded. */
#define MP_LORA_ADDS(VALUE)               \
    VALUE(MP_LORA_ADD_ROUNDED, "rounded") \
    VALUE(MP_LORA_ADD_ONE_ROUNDING, "one-rounding")
typedef enum mp_lora_add { MP_LORA_ADDS(MP_VALUE_OF) MP_LORA_ADD_COUNT } mp_lora_add;

/* Rows of slots without an adapter, to which nothing is added. KEPT: their bits stay; PLUS_ZERO: +0 is added
 * to them as well, and -0 becomes +0; ANY: one or the other. */
#define MP_LORA_ROWS(VALUE)          \
    VALUE(MP_LORA_ROWS_ANY, "any")   \
    VALUE(MP_LORA_ROWS_KEPT, "kept") \
    VALUE(MP_LORA_ROWS_PLUS_ZERO, "plus-zero")
typedef enum mp_lora_rows { MP_LORA_ROWS(MP_VALUE_OF) MP_LORA_ROWS_COUNT } mp_lora_rows;

/* What happens to rows that hold no result: those of filtered slots, and padding. */
#define MP_ROW_STATES(VALUE)             \
    VALUE(MP_ROW_ANYTHING, "anything")   \
    VALUE(MP_ROW_UNTOUCHED, "untouched") \
    VALUE(MP_ROW_ZERO, "zero")
typedef enum mp_row_state { MP_ROW_STATES(MP_VALUE_OF) MP_ROW_STATE_COUNT } mp_row_state;

/* What a store to bf16 or fp16 makes of a finite value beyond the largest one, and of Inf. INF: Inf, as IEEE
 * rounds; SATURATE: the largest finite number of its sign (cvt with .satfinite, a clamp before the store);
 * ANY: one or the other, element by element. NaN stays NaN. */
#define MP_OVERFLOWS(VALUE)                 \
    VALUE(MP_OVERFLOW_INF, "inf")           \
    VALUE(MP_OVERFLOW_SATURATE, "saturate") \
    VALUE(MP_OVERFLOW_ANY, "any")
typedef enum mp_overflow { MP_OVERFLOWS(MP_VALUE_OF) MP_OVERFLOW_COUNT } mp_overflow;

/* No quantiser that is known by name: a scale near that of the largest code, codes next to the number. */
enum { MP_ANY_QUANTISER = MP_QUANTISER_COUNT };

/* Whether a stage's bits are those that the library predicts under this contract. NONE: nothing is said;
 * REPORTED: they are compared, differences are counted; REQUIRED: a difference is a failure. */
#define MP_BITS_PROMISES(VALUE)         \
    VALUE(MP_BITS_NONE, "none")         \
    VALUE(MP_BITS_REPORTED, "reported") \
    VALUE(MP_BITS_REQUIRED, "required")
typedef enum mp_bits_promise { MP_BITS_PROMISES(MP_VALUE_OF) MP_BITS_COUNT } mp_bits_promise;
#undef MP_VALUE_OF

typedef struct mp_stage_promise {
    mp_bits_promise bits;
    bool deterministic;   /* the same input gives the same bits every time */
    bool batch_invariant; /* a token's bits do not depend on the other tokens in the batch; of a stage but
                             align that is not deterministic it is not taken as promised */
} mp_stage_promise;

typedef struct mp_contract {
    char preset[64];   /* the name it was made from; no part of its identity */
    bool stable_align; /* slots of an expert in ascending order; otherwise they are judged as multisets */
    bool align_tail;   /* what lies behind num_tokens_post_padded is pads: M*topk, and -1 in expert_ids */
    mp_gemm_contract gate_up, down;
    mp_act_function act_function;
    mp_act_rounding act_rounding;
    double act_ulps; /* error of the float32 exp/tanh/erf used, in float32 ulps of the function's result; of a
                        function whose error is known (CUDA_MATH and those after it) that counts if more */
    bool act_up_plus_zero;      /* the factor of act(gate) is (what becomes of up) + 0: where it is -0, +0 */
    mp_clamp_nan act_clamp_nan; /* of gate and up of activations that clamp */
    mp_combine_variant combine;
    bool float64_steps; /* intermediate steps (activation, epilogue, sum) in float64 instead of float32 */
    bool hooks_add;     /* hooks may change cache1 and cache3 in place, between the stages */
    mp_row_state
        filtered[MP_STAGE_COUNT]; /* rows of slots whose id is -1, in the output of gate_up, act, quant_act,
                                     down, and LoRA's stages; of a shrink, those of slots without an adapter
                                     too */
    mp_row_state padding;         /* rows of no slot in sorted and masked layout */
    mp_overflow overflow;
    double
        act_ulps_per_argument; /* what the error of exp grows by, in ulps for each unit of its argument; of a
                                     function whose error is known that counts if more */
    mp_shared_add combine_shared;
    bool combine_fma; /* where combine applies the router weights: the product and the addition are one
                         operation, with one rounding; else two */
    mp_act_input act_input;
    mp_gemm_contract shrink, expand; /* of LoRA: both of gate_up and of down */
    bool shrink_parts_rounded;       /* each of its split_k parts is rounded to dtype, and added there */
    mp_lora_input lora_input;
    mp_lora_add lora_add;
    mp_lora_rows lora_rows;
    int quantiser; /* of quant_x and quant_act, an mp_quantiser; or any that is sane */
    mp_stage_promise promise[MP_STAGE_COUNT];
} mp_contract;

/* Nothing is promised but IEEE float32 in any order, one rounding to dtype where a tensor is stored, and an
 * activation within 8 ulp; filtered and padding rows may hold anything. The weakest contract of a sane kernel
 * on ordinary cores. */
mp_contract mp_contract_weakest(void);

/* Sets a field from text. MP_EINPUT names the field, the value and what was expected; an unknown name gets
 * the nearest known one. */
mp_status mp_contract_set(mp_contract *contract, const char *name, const char *value, mp_error *err);
/* Every field in its range, whoever set it. MP_EINPUT as above. */
mp_status mp_contract_validate(const mp_contract *contract, mp_error *err);
/* Digest of the arithmetic: equal digests promise equal bits. That of the weakest contract is 0. */
uint64_t mp_contract_digest(const mp_contract *contract);
/* A sentence for `show`, reports and goldens; size >= MP_CONTRACT_TEXT_MAX always suffices. */
enum { MP_CONTRACT_TEXT_MAX = 1024 };
void mp_contract_text(const mp_contract *contract, char *text, size_t size);
/* Terms that the accumulator of gate_up or down adds in a step, by such a sentence; 0 where it tells none. */
int mp_contract_text_group(const char *text, mp_stage stage);
/* All fields, `name=value` each, in table order. */
void mp_contract_fields(const mp_contract *contract,
                        void (*field)(void *ctx, const char *name, const char *value), void *ctx);

/* Whether act reads gate and up that gate_up has not stored: both are stages of the case, and one kernel.
 * Nobody sees a cache1 that act read then. */
bool mp_contract_fuses_act(const mp_contract *contract, const mp_case *c);

/* Whether every stage of the case promises it; of a whole case, that bits do not depend on the batch, every
 * stage but align, whose slots lie elsewhere in every batch. */
bool mp_contract_deterministic(const mp_contract *contract, const mp_case *c);
bool mp_contract_batch_invariant(const mp_contract *contract, const mp_case *c);
/* Whether both sum in one order, with the same roundings, in gate_up and down: a subject whose arithmetic
 * depends on its tile says another one for another tile, and then promises no bits of the first. */
bool mp_contract_same_gemms(const mp_contract *a, const mp_contract *b);

#ifdef __cplusplus
}
#endif

#endif
