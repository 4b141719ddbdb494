/* SPDX-License-Identifier: Apache-2.0 */
// Figures of slots of an activation. A block takes a slot at a time; of a filtered one nothing is known.
#include "offload/device/screen_act.h"
#include "offload/device/figures.cuh"

extern "C" __global__ void __launch_bounds__(MP_ACT_THREADS) screen_act(const mp_screen_act_params p) {
    for (long long t = blockIdx.x; t < p.rows.slots; t += gridDim.x) {
        mp_row_figures figures;
        mp_row_figures_start(&figures);
        for (long long n = threadIdx.x; n < p.rows.N && p.rows.topk_ids[t] >= 0; n += MP_ACT_THREADS)
            mp_screen_act_element(&p, p.rows.row[t], n, &figures);
        merge_figures<MP_ACT_THREADS>(figures);
        if (threadIdx.x == 0) p.figures[t] = figures;
    }
}
