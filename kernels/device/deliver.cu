/* SPDX-License-Identifier: Apache-2.0 */
// Small fills and copies, all of a launch at once: what the driver would do one after the other.
#include "kernels/device/params.h"

// Bytes of a pattern, which begins at the first byte of all, or from where they are. A block does one part.
__device__ __forceinline__ void deliver_bytes(const mp_delivery &d, unsigned first, unsigned step) {
    for (unsigned i = first; i < d.bytes; i += step)
        d.to[i] = d.from ? d.from[i] : (unsigned char)(d.pattern >> (8 * (i % 4)));
}

__device__ __forceinline__ void deliver_vectors(const mp_delivery &d, unsigned first, unsigned step) {
    const uint4 filled = {d.pattern, d.pattern, d.pattern, d.pattern};
    for (unsigned i = first; i < d.bytes / 16; i += step)
        ((uint4 *)d.to)[i] = d.from ? ((const uint4 *)d.from)[i] : filled;
    const unsigned rest = d.bytes / 16 * 16;
    if (first < d.bytes - rest) {
        const unsigned i = rest + first;
        d.to[i] = d.from ? d.from[i] : (unsigned char)(d.pattern >> (8 * (i % 4)));
    }
}

// MP_DELIVERY_PARTS blocks for each.
extern "C" __global__ void deliver(const mp_deliver_params p) {
    const mp_delivery d = p.list[blockIdx.x / MP_DELIVERY_PARTS];
    const unsigned first = blockIdx.x % MP_DELIVERY_PARTS * blockDim.x + threadIdx.x,
                   step = MP_DELIVERY_PARTS * blockDim.x;
    if (((unsigned long long)d.to | (unsigned long long)d.from) % 16 == 0)
        deliver_vectors(d, first, step);
    else
        deliver_bytes(d, first, step);
}
