/* SPDX-License-Identifier: Apache-2.0 */
// One instruction a thread: d[v] = INSTRUCTION(a[v]), or of a[v] and b[v], to see what the arithmetic of the
// special-function unit is.
//
// -DINSTRUCTION=ex2.approx.ftz.f32 or another float32 instruction of PTX, -DOPERANDS=1 or 2.
#include "kernels/device/params.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

extern "C" __global__ void __launch_bounds__(128) special_unit(const mp_special_unit_params p) {
    const long long v = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (v >= p.count) return;
    float d;
#if OPERANDS == 1
    asm volatile(TEXT(INSTRUCTION) " %0, %1;" : "=f"(d) : "f"(p.a[v]));
#else
    asm volatile(TEXT(INSTRUCTION) " %0, %1, %2;" : "=f"(d) : "f"(p.a[v]), "f"(p.b[v]));
#endif
    p.d[v] = d;
}
