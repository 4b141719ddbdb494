/* SPDX-License-Identifier: Apache-2.0 */
// Random contents for timing (zeros draw less power and clock higher, so timings on them flatter).
#include "kernels/device/params.h"
#include "kernels/device/common.cuh"

// The finaliser of splitmix64 (Steele, Lea, Flood 2014).
__device__ __forceinline__ unsigned long long mix(unsigned long long z) {
    z += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

__device__ __forceinline__ long long now_ns() {
    long long ns;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
    return ns;
}

extern "C" __global__ void fill_elements(const mp_tool_params p) {
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < p.count; i += stride) {
        const int bits = (int)(mix(p.seed ^ mix((unsigned long long)i)) >> 40); // 24 random bits
        ((element *)p.data)[i] = encode((accumulator)(p.scale * ((float)bits * 0x1p-23f - 1.0f)));
    }
}

// Bytes of codes: any, but for those that are NaN with either sign.
extern "C" __global__ void fill_codes(const mp_tool_params p) {
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < p.count; i += stride) {
        const int byte = (int)(mix(p.seed ^ mix((unsigned long long)i)) >> 56);
        ((unsigned char *)p.data)[i] = (unsigned char)((byte & 0x7F) == p.nan_code ? byte ^ 1 : byte);
    }
}

extern "C" __global__ void fill_ids(const mp_tool_params p) {
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < p.count; i += stride) {
        const unsigned long long random = mix(p.seed ^ mix((unsigned long long)i));
        const bool nowhere = (float)(random >> 40) * 0x1p-24f < p.nowhere;
        ((int *)p.data)[i] = nowhere ? -1 : (int)((random & 0xFFFFFFFFFFull) % (unsigned)p.num_experts);
    }
}

extern "C" __global__ void pass_time(const mp_tool_params p) {
    const long long start = now_ns();
    while (now_ns() - start < p.count) {}
}
