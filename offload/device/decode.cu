/* SPDX-License-Identifier: Apache-2.0 */
// Rows of an operand as float64. A block takes a row at a time.
#include "offload/device/params.h"

extern "C" __global__ void decode(const mp_decode_params p) {
    for (long long i = blockIdx.x; i < p.count; i += gridDim.x) {
        const mp_device_row row = mp_device_row_of(&p.operand, p.rows ? p.rows[i] : p.first + i);
        for (long long k = threadIdx.x; k < p.padded; k += blockDim.x)
            p.to[i * p.padded + k] = k < p.operand.length ? mp_device_operand_at(&p.operand, &row, k) : 0;
    }
}
