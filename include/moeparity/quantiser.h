/* SPDX-License-Identifier: Apache-2.0 */
/* Who makes codes and scales of activations, by name: how those kernels compute is in ref/quantise.h. */
#ifndef MOEPARITY_QUANTISER_H
#define MOEPARITY_QUANTISER_H

#include "moeparity/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Value, name, format of the codes, format of the scale. Without a prefix they are this project's own: IEEE
 * float32 operations alone. "static" takes a scale that is given; all others make one of the values that
 * share it. sgl: sglang 0.5.23. vllm: vLLM 0.33.0. What shares a scale (all values, a row, a group) is not
 * told here, but for names that say it: of a package they are kernels of their own. */
#define MP_QUANTISERS(VALUE)                                                               \
    VALUE(MP_QUANT_FP8, "fp8", MP_E4M3, MP_FP32)                                           \
    VALUE(MP_QUANT_FP8_STATIC, "fp8-static", MP_E4M3, MP_FP32)                             \
    VALUE(MP_QUANT_FP8_UE8M0, "fp8-ue8m0", MP_E4M3, MP_UE8M0)                              \
    VALUE(MP_QUANT_INT8, "int8", MP_I8, MP_FP32)                                           \
    VALUE(MP_QUANT_MXFP8, "mxfp8", MP_E4M3, MP_UE8M0)                                      \
    VALUE(MP_QUANT_MXFP4, "mxfp4", MP_E2M1, MP_UE8M0)                                      \
    VALUE(MP_QUANT_NVFP4, "nvfp4", MP_E2M1, MP_E4M3)                                       \
    VALUE(MP_QUANT_SGL_FP8_TENSOR, "sgl-fp8-tensor", MP_E4M3, MP_FP32)                     \
    VALUE(MP_QUANT_SGL_FP8_STATIC, "sgl-fp8-static", MP_E4M3, MP_FP32)                     \
    VALUE(MP_QUANT_SGL_FP8_TOKEN, "sgl-fp8-token", MP_E4M3, MP_FP32)                       \
    VALUE(MP_QUANT_SGL_FP8_TOKEN_FEW, "sgl-fp8-token-few", MP_E4M3, MP_FP32)               \
    VALUE(MP_QUANT_SGL_FP8_GROUP, "sgl-fp8-group", MP_E4M3, MP_FP32)                       \
    VALUE(MP_QUANT_SGL_UE8M0_GROUP, "sgl-ue8m0-group", MP_E4M3, MP_UE8M0)                  \
    VALUE(MP_QUANT_SGL_INT8_GROUP, "sgl-int8-group", MP_I8, MP_FP32)                       \
    VALUE(MP_QUANT_SGL_INT8_GROUP_TRITON, "sgl-int8-group-triton", MP_I8, MP_FP32)         \
    VALUE(MP_QUANT_SGL_MXFP8, "sgl-mxfp8", MP_E4M3, MP_UE8M0)                              \
    VALUE(MP_QUANT_SGL_MXFP4, "sgl-mxfp4", MP_E2M1, MP_UE8M0)                              \
    VALUE(MP_QUANT_TRITON_INT8_TOKEN, "triton-int8-token", MP_I8, MP_FP32) /* of both */   \
    VALUE(MP_QUANT_VLLM_FP8_TENSOR, "vllm-fp8-tensor", MP_E4M3, MP_FP32)                   \
    VALUE(MP_QUANT_VLLM_FP8_STATIC, "vllm-fp8-static", MP_E4M3, MP_FP32)                   \
    VALUE(MP_QUANT_VLLM_FP8_TOKEN, "vllm-fp8-token", MP_E4M3, MP_FP32)                     \
    VALUE(MP_QUANT_VLLM_FP8_GROUP, "vllm-fp8-group", MP_E4M3, MP_FP32)                     \
    VALUE(MP_QUANT_VLLM_FP8_GROUP_TRITON, "vllm-fp8-group-triton", MP_E4M3, MP_FP32)       \
    VALUE(MP_QUANT_VLLM_UE8M0_GROUP, "vllm-ue8m0-group", MP_E4M3, MP_FP32) /* 2^k, fp32 */ \
    VALUE(MP_QUANT_VLLM_INT8_STATIC, "vllm-int8-static", MP_I8, MP_FP32)                   \
    VALUE(MP_QUANT_VLLM_INT8_TOKEN, "vllm-int8-token", MP_I8, MP_FP32)                     \
    VALUE(MP_QUANT_VLLM_INT8_TOKEN_ASYM, "vllm-int8-token-asym", MP_I8, MP_FP32)           \
    VALUE(MP_QUANT_VLLM_INT8_GROUP, "vllm-int8-group", MP_I8, MP_FP32)                     \
    VALUE(MP_QUANT_VLLM_MXFP8, "vllm-mxfp8", MP_E4M3, MP_UE8M0)                            \
    VALUE(MP_QUANT_VLLM_MXFP4, "vllm-mxfp4", MP_E2M1, MP_UE8M0)                            \
    VALUE(MP_QUANT_VLLM_NVFP4, "vllm-nvfp4", MP_E2M1, MP_E4M3)

#define MP_QUANTISER_OF(value, ...) value,
typedef enum mp_quantiser { MP_QUANTISERS(MP_QUANTISER_OF) MP_QUANTISER_COUNT } mp_quantiser;

const char *mp_quantiser_name(mp_quantiser quantiser);
mp_dtype mp_quantiser_codes(mp_quantiser quantiser);
mp_dtype mp_quantiser_scale(mp_quantiser quantiser);

#ifdef __cplusplus
}
#endif

#endif
