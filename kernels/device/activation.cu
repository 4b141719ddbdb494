/* SPDX-License-Identifier: Apache-2.0 */
// cache2 = act(gate) * up. -DLAYOUT (as mp_layout) and what activated.cuh is compiled with. A warp has a
// piece of 32 vectors of each of some rows: all of a row's cost, reads too, is that of rows with a slot.
#include "kernels/device/activated.cuh"
#include "kernels/device/rows.cuh"

extern "C" __global__ void __launch_bounds__(256) activation(const mp_activation_params p) {
    const long long columns = p.n / VECTOR, pieces = (columns + 31) / 32,
                    batches = (p.rows.count + p.rows_at_a_time - 1) / p.rows_at_a_time,
                    warps = (long long)gridDim.x * (blockDim.x / 32);
    for (long long i = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; i < batches * pieces;
         i += warps) {
        long long batch, piece;
        split_index(i, pieces, &batch, &piece);
        const long long column = piece * 32 + threadIdx.x % 32;
        for_rows_with_slot(p.rows, batch * p.rows_at_a_time, p.rows_at_a_time, [&](long long row) {
            if (column < columns)
                ((elements<VECTOR> *)p.cache2)[row * columns + column] =
                    activated(p.cache1, p.n, row, column, p.alpha, p.limit);
        });
    }
}
