/* SPDX-License-Identifier: Apache-2.0 */
// Rows of a quantiser beside what was stored. A block takes a row at a time; of one that lies nowhere nothing
// is compared.
#include "offload/device/confirm_quant.h"
#include "offload/device/confirmed.cuh"

extern "C" __global__ void __launch_bounds__(MP_CONFIRM_QUANT_THREADS)
    confirm_quant(const mp_confirm_quant_params p) {
    for (long long i = blockIdx.x; i < p.rows.count; i += gridDim.x) {
        mp_confirmed_row of_thread = {0, 0, 0};
        for (long long k = threadIdx.x; k < p.rows.width && p.rows.row[i] >= 0; k += MP_CONFIRM_QUANT_THREADS)
            mp_confirm_quant_element(&p, i, k, &of_thread);
        store_confirmed(of_thread, &p.confirmed[i]);
    }
}
