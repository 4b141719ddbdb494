/* SPDX-License-Identifier: Apache-2.0 */
// Grouped sums in float64 on the ordinary cores: each is a chain of fused multiply-adds over ascending k,
// from zero, so that its error is that of any float64 sum, gamma_K(2^-53) * mass. The device's tensor cores,
// which this judges, have no part in it.
//
// A block computes MP_TILE rows by MP_TILE columns, a thread 8 rows by 4 columns of them: values and masses
// are 64 sums that wait for one another in nothing. Both operands lie in shared memory with k outermost, in
// two steps of k: one is read while the other is filled. A thread's columns are two pairs that are half a
// tile apart, so that neighbouring threads read neighbouring 16 bytes.
#include "offload/device/params.h"

// What is summed of a and w.
enum { VALUES, VALUES_AND_MASSES, ABSOLUTE, SQUARES };

constexpr int PITCH = MP_TILE + 2, ROWS = 8, COLUMNS = 4;
constexpr int LOADS = MP_TILE * MP_TILE_DEPTH / 2 / MP_TILE_THREADS; // pairs of k, of each operand

struct step {
    double a[MP_TILE_DEPTH][PITCH], w[MP_TILE_DEPTH][PITCH];
};

// A thread's share of the next step, on its way from memory.
struct fetched {
    double2 a[LOADS], w[LOADS];
};

__device__ __forceinline__ void fetch(const double *a, const double *w, long long padded, long long k,
                                      fetched &f) {
    for (int i = 0; i < LOADS; i++) {
        const int pair = threadIdx.x + i * MP_TILE_THREADS, row = pair / (MP_TILE_DEPTH / 2),
                  at = pair % (MP_TILE_DEPTH / 2) * 2;
        f.a[i] = *(const double2 *)(a + row * padded + k + at);
        f.w[i] = *(const double2 *)(w + row * padded + k + at);
    }
}

__device__ __forceinline__ void put(const fetched &f, step &s) {
    for (int i = 0; i < LOADS; i++) {
        const int pair = threadIdx.x + i * MP_TILE_THREADS, row = pair / (MP_TILE_DEPTH / 2),
                  at = pair % (MP_TILE_DEPTH / 2) * 2;
        s.a[at][row] = f.a[i].x;
        s.a[at + 1][row] = f.a[i].y;
        s.w[at][row] = f.w[i].x;
        s.w[at + 1][row] = f.w[i].y;
    }
}

template <int WHAT> __device__ __forceinline__ void add(double a, double w, double &value, double &mass) {
    if (WHAT == SQUARES) {
        const double term = a * w;
        value = fma(term, term, value);
    } else {
        value = fma(a, WHAT == ABSOLUTE ? fabs(w) : w, value);
    }
    if (WHAT == VALUES_AND_MASSES) mass = fma(fabs(a), fabs(w), mass);
}

template <int WHAT> __device__ __forceinline__ void gemm(const mp_gemm64_params &p) {
    __shared__ __align__(16) step steps[2];
    const long long column_tiles = (p.n + MP_TILE - 1) / MP_TILE,
                    column = blockIdx.x % column_tiles * MP_TILE;
    const mp_row_tile tile = p.tiles[blockIdx.x / column_tiles];
    const long long first = tile.row - p.tiles[0].row, matrix = tile.matrix - p.tiles[0].matrix;
    const double *a = p.a + first * p.padded, *w = p.w + (matrix * p.n + column) * p.padded;
    const int row = threadIdx.x / 16 * ROWS, pair = threadIdx.x % 16 * 2;
    double value[ROWS][COLUMNS] = {}, mass[ROWS][COLUMNS] = {};
    fetched next;
    fetch(a, w, p.padded, 0, next);
    put(next, steps[0]);
    __syncthreads();
    for (long long k = 0; k < p.padded; k += MP_TILE_DEPTH) {
        const step &now = steps[k / MP_TILE_DEPTH % 2];
        const bool more = k + MP_TILE_DEPTH < p.padded;
        if (more) fetch(a, w, p.padded, k + MP_TILE_DEPTH, next);
#pragma unroll 4
        for (int d = 0; d < MP_TILE_DEPTH; d++) {
            double x[ROWS], y[COLUMNS];
            for (int i = 0; i < ROWS; i += 2) {
                const double2 two = *(const double2 *)&now.a[d][row + i];
                x[i] = two.x;
                x[i + 1] = two.y;
            }
            for (int j = 0; j < COLUMNS; j += 2) {
                const double2 two = *(const double2 *)&now.w[d][pair + j * (MP_TILE / 4)];
                y[j] = two.x;
                y[j + 1] = two.y;
            }
            for (int i = 0; i < ROWS; i++)
                for (int j = 0; j < COLUMNS; j++) add<WHAT>(x[i], y[j], value[i][j], mass[i][j]);
        }
        if (more) put(next, steps[(k / MP_TILE_DEPTH + 1) % 2]);
        __syncthreads();
    }
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLUMNS; j++) {
            const long long at = column + pair + j % 2 + j / 2 * (MP_TILE / 2);
            if (row + i >= tile.count || at >= p.n) continue;
            p.value[(first + row + i) * p.n + at] = value[i][j];
            if (WHAT == VALUES_AND_MASSES) p.mass[(first + row + i) * p.n + at] = mass[i][j];
        }
    }
}

#define ENTRY(name, what)                                                                          \
    extern "C" __global__ void __launch_bounds__(MP_TILE_THREADS) name(const mp_gemm64_params p) { \
        gemm<what>(p);                                                                             \
    }
ENTRY(gemm_values, VALUES)
ENTRY(gemm_values_and_masses, VALUES_AND_MASSES)
ENTRY(gemm_absolute, ABSOLUTE)
ENTRY(gemm_squares, SQUARES)
