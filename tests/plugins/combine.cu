/* SPDX-License-Identifier: Apache-2.0 */
// A plug-in on the GPU: combine alone, through the CUDA runtime, a block a token. It adds in ascending order
// in float32, as the kernels here do, so it promises their bits.
// moeparity run --case 'M=64 topk=4 scope=combine' --subject plugin:./combine.so
#include "moeparity/plugin.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

static __device__ float widen(__nv_bfloat16 v) {
    return __bfloat162float(v);
}
static __device__ float widen(__half v) {
    return __half2float(v);
}
static __device__ float widen(float v) {
    return v;
}
static __device__ void narrow(float v, __nv_bfloat16 *to) {
    *to = __float2bfloat16_rn(v);
}
static __device__ void narrow(float v, __half *to) {
    *to = __float2half_rn(v);
}
static __device__ void narrow(float v, float *to) {
    *to = v;
}

template <typename T>
static __global__ void sum_token(const T *cache3, T *out, int topk, long long columns, float rsf) {
    const T *rows = cache3 + blockIdx.x * topk * columns;
    for (long long k = threadIdx.x; k < columns; k += blockDim.x) {
        float sum = 0;
        for (int j = 0; j < topk; j++) sum = __fadd_rn(sum, widen(rows[j * columns + k]));
        narrow(__fmul_rn(sum, rsf), out + blockIdx.x * columns + k);
    }
}

static char how[32]; // "leak", "slow-stream", "fault": for the tests of what the harness sees

static int open_it(const char *words, void **, mp_plugin_error *) {
    snprintf(how, sizeof how, "%s", words);
    return MP_PLUGIN_OK;
}

static int describe(void *, const mp_plugin_case *c, mp_plugin_offer *offer, mp_plugin_error *err) {
    if (strcmp(c->scope, "combine") != 0 || strcmp(c->dtype, "fp64") == 0)
        return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, "scope=combine with bf16, fp16 or fp32");
    offer->contract = "sm_90";
    return MP_PLUGIN_OK;
}

template <typename T> static void launch(const mp_plugin_run *r) {
    const auto *cache3 = static_cast<const T *>(mp_plugin_data(r, "cache3"));
    auto *out = static_cast<T *>(mp_plugin_data(r, "out"));
    const bool wrong = strcmp(how, "fault") == 0;
    sum_token<<<static_cast<unsigned>(r->c->M), 128, 0, static_cast<cudaStream_t>(r->stream)>>>(
        cache3, out, static_cast<int>(r->c->topk) - wrong, r->c->K, static_cast<float>(r->c->rsf));
}

static int run(void *, const mp_plugin_run *r, mp_plugin_error *err) {
    void *lost = nullptr;
    if (strcmp(how, "leak") == 0) cudaMalloc(&lost, 4 << 20);
    if (strcmp(r->c->dtype, "bf16") == 0) launch<__nv_bfloat16>(r);
    if (strcmp(r->c->dtype, "fp16") == 0) launch<__half>(r);
    if (strcmp(r->c->dtype, "fp32") == 0) launch<float>(r);
    if (strcmp(how, "behind") == 0)
        cudaMemsetAsync(static_cast<char *>(mp_plugin_data(r, "out")) + mp_plugin_find(r, "out")->bytes, 0,
                        4);
    if (strcmp(how, "illegal") == 0) cudaMemset(reinterpret_cast<void *>(16), 0, 4);
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? MP_PLUGIN_OK
                                : mp_plugin_say(err, MP_PLUGIN_FAILED, cudaGetErrorString(error));
}

MP_PLUGIN_EXPORT const mp_plugin *moeparity_plugin(void) {
    static const mp_plugin plugin = {MP_PLUGIN_HEAD, "combine", "1.0", "cuda",
                                     open_it,        describe,  run,   nullptr};
    return &plugin;
}
