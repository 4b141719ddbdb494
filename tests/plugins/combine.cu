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

// For the tests of what the harness sees: "leak", "fault", "behind", "illegal"; and what shows in a graph or
// beside another run alone: "waits", "default-stream", "generation", "scratch".
static char how[32];

static bool is(const char *word) {
    return strcmp(how, word) == 0;
}

// One place for the sums of all runs.
static __device__ float one_scratch[1 << 22];

template <typename T>
static __global__ void sum_to_scratch(const T *cache3, int topk, long long columns, float rsf) {
    const T *rows = cache3 + blockIdx.x * topk * columns;
    for (long long k = threadIdx.x; k < columns; k += blockDim.x) {
        float sum = 0;
        for (int j = 0; j < topk; j++) sum = __fadd_rn(sum, widen(rows[j * columns + k]));
        one_scratch[blockIdx.x * columns + k] = __fmul_rn(sum, rsf);
    }
}

// So long that another run's sums come in between.
static __global__ void be_slow() {
    const long long until = clock64() + 200000;
    while (clock64() < until) {}
}

template <typename T> static __global__ void from_scratch(T *out, long long columns) {
    for (long long k = threadIdx.x; k < columns; k += blockDim.x)
        narrow(one_scratch[blockIdx.x * columns + k], out + blockIdx.x * columns + k);
}

// A token whose mark is this run's number is taken for done. The number is the host's, and a graph has it for
// good.
template <typename T>
static __global__ void sum_marked(const T *cache3, T *out, unsigned *mark, unsigned number, int topk,
                                  long long columns, float rsf) {
    const T *rows = cache3 + blockIdx.x * topk * columns;
    const bool done = mark[blockIdx.x] == number;
    __syncthreads();
    if (done) return;
    for (long long k = threadIdx.x; k < columns; k += blockDim.x) {
        float sum = 0;
        for (int j = 0; j < topk; j++) sum = __fadd_rn(sum, widen(rows[j * columns + k]));
        narrow(__fmul_rn(sum, rsf), out + blockIdx.x * columns + k);
    }
    if (threadIdx.x == 0) mark[blockIdx.x] = number;
}

static int open_it(const char *words, void **, mp_plugin_error *) {
    snprintf(how, sizeof how, "%s", words);
    return MP_PLUGIN_OK;
}

static int describe(void *, const mp_plugin_case *c, mp_plugin_offer *offer, mp_plugin_error *err) {
    if (strcmp(c->scope, "combine") != 0 || strcmp(c->dtype, "fp64") == 0)
        return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, "scope=combine with bf16, fp16 or fp32");
    offer->contract = "sm_90";
    const bool one_stream = is("leak") || is("fault") || is("behind") || is("illegal");
    offer->graphs = offer->overlaps = !one_stream;
    if (is("generation")) offer->workspace_bytes[0] = sizeof(unsigned) * (c->M > 0 ? c->M : 1);
    return MP_PLUGIN_OK;
}

template <typename T> static void launch(const mp_plugin_run *r) {
    const auto *cache3 = static_cast<const T *>(mp_plugin_data(r, "cache3"));
    auto *out = static_cast<T *>(mp_plugin_data(r, "out"));
    const auto tokens = static_cast<unsigned>(r->c->M);
    const auto stream = is("default-stream") ? nullptr : static_cast<cudaStream_t>(r->stream);
    const int topk = static_cast<int>(r->c->topk) - is("fault");
    const auto rsf = static_cast<float>(r->c->rsf);
    static unsigned number = 0;
    if (is("scratch") && r->c->M * r->c->K <= (1 << 22)) {
        sum_to_scratch<<<tokens, 128, 0, stream>>>(cache3, topk, r->c->K, rsf);
        be_slow<<<1, 1, 0, stream>>>();
        from_scratch<<<tokens, 128, 0, stream>>>(out, r->c->K);
    } else if (is("generation")) {
        sum_marked<<<tokens, 128, 0, stream>>>(cache3, out, static_cast<unsigned *>(r->workspace[0]),
                                               ++number, topk, r->c->K, rsf);
    } else {
        sum_token<<<tokens, 128, 0, stream>>>(cache3, out, topk, r->c->K, rsf);
    }
    if (is("waits")) cudaStreamSynchronize(stream);
}

static int run(void *, const mp_plugin_run *r, mp_plugin_error *err) {
    void *lost = nullptr;
    if (r->c->M == 0) return MP_PLUGIN_OK; // a grid of no blocks cannot be launched
    if (is("leak")) cudaMalloc(&lost, 4 << 20);
    if (strcmp(r->c->dtype, "bf16") == 0) launch<__nv_bfloat16>(r);
    if (strcmp(r->c->dtype, "fp16") == 0) launch<__half>(r);
    if (strcmp(r->c->dtype, "fp32") == 0) launch<float>(r);
    if (is("behind"))
        cudaMemsetAsync(static_cast<char *>(mp_plugin_data(r, "out")) + mp_plugin_find(r, "out")->bytes, 0,
                        4);
    if (is("illegal")) cudaMemset(reinterpret_cast<void *>(16), 0, 4);
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? MP_PLUGIN_OK
                                : mp_plugin_say(err, MP_PLUGIN_FAILED, cudaGetErrorString(error));
}

MP_PLUGIN_EXPORT const mp_plugin *moeparity_plugin(void) {
    static const mp_plugin plugin = {MP_PLUGIN_HEAD, "combine", "1.0", "cuda",
                                     open_it,        describe,  run,   nullptr};
    return &plugin;
}
