/* SPDX-License-Identifier: Apache-2.0 */
// Slots of an activation beside what was stored. A block takes a slot at a time; of a filtered one nothing is
// compared.
#include "offload/device/confirm_act.h"
#include "offload/device/confirmed.cuh"

extern "C" __global__ void __launch_bounds__(MP_CONFIRM_ACT_THREADS)
    confirm_act(const mp_confirm_act_params p) {
    for (long long t = blockIdx.x; t < p.rows.slots; t += gridDim.x) {
        mp_confirmed_row of_thread = {0, 0, 0};
        for (long long n = threadIdx.x; n < p.rows.N && p.rows.topk_ids[t] >= 0; n += MP_CONFIRM_ACT_THREADS)
            mp_confirm_act_element(&p, p.rows.row[t], n, &of_thread);
        store_confirmed(of_thread, &p.confirmed[t]);
    }
}
