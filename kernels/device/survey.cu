/* SPDX-License-Identifier: Apache-2.0 */
// What the harness asks of buffers between runs: whether guard zones are intact, and digests by which inputs
// are known to be unchanged and rows to be equal, so that only what differs is copied to the host.
#include "kernels/device/params.h"
#include "base/mix.h"

#define WARP 32

// This thread's part, words first, first + step, ..., of the digest of a row of bytes.
__device__ __forceinline__ unsigned long long digest_part(const unsigned char *row, unsigned long long bytes,
                                                          unsigned long long first, unsigned long long step) {
    const unsigned long long words = bytes / 4;
    unsigned long long sum = 0;
    if ((unsigned long long)row % 16 == 0) { // four words at a time
        for (unsigned long long i = first; i < words / 4; i += step) {
            const uint4 w = ((const uint4 *)row)[i];
            sum += mp_digest_of_word(w.x, 4 * i) + mp_digest_of_word(w.y, 4 * i + 1) +
                   mp_digest_of_word(w.z, 4 * i + 2) + mp_digest_of_word(w.w, 4 * i + 3);
        }
        for (unsigned long long i = words / 4 * 4 + first; i < words; i += step)
            sum += mp_digest_of_word(((const unsigned *)row)[i], i);
    } else if ((unsigned long long)row % 4 == 0) {
        for (unsigned long long i = first; i < words; i += step)
            sum += mp_digest_of_word(((const unsigned *)row)[i], i);
    } else {
        for (unsigned long long i = first; i < words; i += step)
            sum += mp_digest_of_word(mp_word_of_bytes(row + 4 * i, 4), i);
    }
    if (first == 0 && bytes % 4)
        sum += mp_digest_of_word(mp_word_of_bytes(row + 4 * words, (int)(bytes % 4)), words);
    return sum;
}

__device__ __forceinline__ unsigned long long sum_of_warp(unsigned long long sum) {
    for (int distance = WARP / 2; distance; distance /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, distance);
    return sum;
}

// One zone, by a whole block.
__device__ void look_at_zone(const mp_survey_params &p, mp_survey_region &r, int zone) {
    const unsigned char *begin = zone ? r.data + r.bytes : r.data - p.zone_bytes;
    for (unsigned i = threadIdx.x; i < p.zone_bytes; i += blockDim.x)
        if (begin[i] != (unsigned char)(p.pattern >> (8 * (i % 4))))
            atomicMin(&r.first_changed, (unsigned long long)zone * p.zone_bytes + i);
    if (threadIdx.x == 0) atomicAdd(&r.looked_at, 1ull);
}

// All blocks make digests of one region after the other, 16 bytes at a time a thread; zones are dealt out to
// blocks. Buffers begin at multiples of 16 bytes.
extern "C" __global__ void survey(const mp_survey_params p) {
    const unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x,
                             threads = (unsigned long long)gridDim.x * blockDim.x;
    for (int i = (int)blockIdx.x; i < 2 * p.count; i += (int)gridDim.x)
        look_at_zone(p, p.regions[i / 2], i % 2);
    for (int i = 0; i < p.count; i++) {
        mp_survey_region &r = p.regions[i];
        if (thread / WARP * WARP >= (r.digested + 15) / 16) continue; // nothing for this warp
        const unsigned long long sum = sum_of_warp(digest_part(r.data, r.digested, thread, threads));
        if (threadIdx.x % WARP == 0) {
            atomicAdd(&r.digest, sum);
            atomicAdd(&r.looked_at, 1ull);
        }
    }
}

// A row a warp.
extern "C" __global__ void digest_rows(const mp_digest_rows_params p) {
    const long long warps = (long long)gridDim.x * blockDim.x / WARP;
    for (long long row = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / WARP; row < p.rows;
         row += warps) {
        const unsigned char *begin = p.data + row * p.row_bytes;
        const unsigned long long sum =
            sum_of_warp(digest_part(begin, (unsigned long long)p.row_bytes, threadIdx.x % WARP, WARP));
        if (threadIdx.x % WARP == 0) p.digest[row] = sum;
    }
}
