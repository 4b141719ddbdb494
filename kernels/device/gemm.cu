/* SPDX-License-Identifier: Apache-2.0 */
// Grouped GEMM of both layers: a block computes BLOCK_M sorted rows (one expert) by BLOCK_N columns.
//
// -DBLOCK_M, -DBLOCK_N, -DBLOCK_K, -DWARPS, -DSTAGES: the tile. -DDTYPE. -DALIGNED=1: rows of a and w begin
// on 16-byte boundaries, so that tiles are copied by cp.async; 0: element by element. -DATOMIC=1: results are
// added to `out` instead of stored.
//
// Every output has one float32 accumulator that takes k in ascending order, whatever the tile: mma.sync
// m16n8k16 for bf16 and fp16, fmaf for fp32. There is no split over k. That is what makes bits independent of
// the tuned config.
//
// Shared memory: STAGES times (tile of a, tile of w), rows of BLOCK_K elements in 16-byte chunks, chunk index
// XORed with bits of the row so that the eight rows that one ldmatrix phase reads lie in different banks;
// then the row tables. kernels/variants.c knows its size.
#include "kernels/device/params.h"
#include "kernels/device/common.cuh"

#if DTYPE == DTYPE_FP64
#error "there is no grouped GEMM in float64"
#endif

constexpr int THREADS = 32 * WARPS;
constexpr int CHUNK = 16 / sizeof(element); // elements in 16 bytes
constexpr int ROW_CHUNKS = BLOCK_K / CHUNK; // chunks in a row of a tile
constexpr int TILE_A_BYTES = BLOCK_M * BLOCK_K * (int)sizeof(element);
constexpr int STAGE_BYTES = TILE_A_BYTES + BLOCK_N * BLOCK_K * (int)sizeof(element);

// Warps share the block as a grid of warp tiles as square as possible, none below 16x16; warps left over only
// help copying.
struct warp_grid {
    int m, n;
};
__device__ constexpr warp_grid make_warp_grid() {
    warp_grid g = {1, 1};
    while (g.m * g.n < WARPS) {
        const int tile_m = BLOCK_M / g.m, tile_n = BLOCK_N / g.n;
        if (tile_n > 16 && (tile_n > tile_m || tile_m == 16))
            g.n *= 2;
        else if (tile_m > 16)
            g.m *= 2;
        else
            break;
    }
    return g;
}
constexpr warp_grid GRID = make_warp_grid();
constexpr int WARP_M = BLOCK_M / GRID.m, WARP_N = BLOCK_N / GRID.n;

// Row tables of the block, behind the tiles.
struct row_tables {
    long long a_row[BLOCK_M];   // row of a, -1 for padding
    long long out_row[BLOCK_M]; // row of out, -1 for padding
    float weight[BLOCK_M];      // router weight, or 1
};

// A chunk's place in its tile. Banks repeat every 128 bytes: a 64-byte row (4 chunks) covers half of them, so
// there the row's lowest bit picks the half and two other bits permute; longer rows permute by three bits. A
// tile of `a` is read in eights of consecutive rows. The eight w rows of one ldmatrix are those of columns_of
// (below), whose numbers differ in bit 0 and in bits SPREAD, SPREAD + 1.
template <int SPREAD> __device__ __forceinline__ int chunk_offset(int row, int chunk) {
    const int high = (row >> SPREAD) & 3;
    const int key = ROW_CHUNKS == 4 ? high : high << 1 | (row & 1);
    return (row * ROW_CHUNKS + (chunk ^ key)) * 16;
}

#if DTYPE == DTYPE_FP32
constexpr int A_SPREAD = 1, B_SPREAD = 1;
#else
// Which column of the warp tile column j of the mma's n8 tile t holds: OCTETS tiles interleave so that a
// thread, which owns columns 2q and 2q+1 of each, owns 2*OCTETS neighbours in memory and stores them at once.
constexpr int OCTETS = WARP_N % 32 == 0 ? 4 : 2;
constexpr int A_SPREAD = 1, B_SPREAD = OCTETS == 4 ? 3 : 2;
__device__ __forceinline__ int column_of(int t, int j) {
    return t / OCTETS * (8 * OCTETS) + j / 2 * (2 * OCTETS) + t % OCTETS * 2 + j % 2;
}
#endif

__device__ __forceinline__ unsigned shared_address(const void *p) {
    return (unsigned)__cvta_generic_to_shared(p);
}

// Copies the chunk at row[k..k+CHUNK) to shared memory; what lies past `length` and rows that are not there
// (row < 0) become zeros.
__device__ __forceinline__ void copy_chunk(unsigned char *to, const void *matrix, long long row, int k,
                                           int length) {
    const element *from = (const element *)matrix + (row < 0 ? 0 : row * length + k);
#if ALIGNED
    const int bytes = row >= 0 && k < length ? 16 : 0; // length is a multiple of CHUNK
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(bytes ? from : (const element *)matrix), "r"(bytes)
                 : "memory");
#else
    for (int e = 0; e < CHUNK; e++) ((element *)to)[e] = row >= 0 && k + e < length ? from[e] : (element)0;
#endif
}

__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most PENDING groups of copies are under way, then for the other warps.
template <int PENDING> __device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
    __syncthreads();
}

struct block {
    const mp_gemm_params &p;
    const row_tables &rows;
    const element *w; // of this block's expert
    int n0;           // first column
};

// Partly unrolled: a one-warp tile copies hundreds of chunks, and all their addresses at once would not fit
// in registers.
__device__ __forceinline__ void load_stage(const block &b, unsigned char *stage, int k0) {
#pragma unroll 8
    for (int i = 0; i < (BLOCK_M * ROW_CHUNKS + THREADS - 1) / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, row = at / ROW_CHUNKS, chunk = at % ROW_CHUNKS;
        if (BLOCK_M * ROW_CHUNKS % THREADS && row >= BLOCK_M) break;
        copy_chunk(stage + chunk_offset<A_SPREAD>(row, chunk), b.p.a, b.rows.a_row[row], k0 + chunk * CHUNK,
                   b.p.k);
    }
#pragma unroll 8
    for (int i = 0; i < (BLOCK_N * ROW_CHUNKS + THREADS - 1) / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, row = at / ROW_CHUNKS, chunk = at % ROW_CHUNKS;
        if (BLOCK_N * ROW_CHUNKS % THREADS && row >= BLOCK_N) break;
        const int n = b.n0 + row;
        copy_chunk(stage + TILE_A_BYTES + chunk_offset<B_SPREAD>(row, chunk), b.w, n < b.p.n ? n : -1,
                   k0 + chunk * CHUNK, b.p.k);
    }
}

// Adds value to *out in the element type. The order in which blocks arrive is not fixed, so neither are the
// bits of the sum.
__device__ __forceinline__ void add_atomically(element *out, element value) {
#if DTYPE == DTYPE_FP32
    atomicAdd(out, value);
#elif DTYPE == DTYPE_FP16
    asm volatile("red.global.add.noftz.f16 [%0], %1;" ::"l"(out), "h"(value) : "memory");
#elif __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.noftz.bf16 [%0], %1;" ::"l"(out), "h"(value) : "memory");
#else
    unsigned short seen = *(volatile unsigned short *)out, expected;
    do {
        expected = seen;
        const unsigned short sum = encode(decode(expected) + decode(value));
        asm volatile("atom.global.cas.b16 %0, [%1], %2, %3;"
                     : "=h"(seen)
                     : "l"(out), "h"(expected), "h"(sum)
                     : "memory");
    } while (seen != expected);
#endif
}

// Epilogue of COUNT neighbouring columns from n on: + bias, * router weight, one rounding, store.
template <int COUNT>
__device__ __forceinline__ void finish(const block &b, int row, int n, const float *sums,
                                       const element *bias) {
    const long long out_row = b.rows.out_row[row];
    if (out_row < 0 || n >= b.p.n) return;
    element *out = (element *)b.p.out + out_row * b.p.n + n;
    elements<COUNT> result;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        float v = sums[i];
        if (bias && n + i < b.p.n) v = v + decode(bias[n + i]);
        result.at[i] = encode(v * b.rows.weight[row]);
    }
    if (!ATOMIC && b.p.n % COUNT == 0) {
        *(elements<COUNT> *)out = result;
        return;
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        if (n + i >= b.p.n) break;
        if (ATOMIC)
            add_atomically(out + i, result.at[i]);
        else
            out[i] = result.at[i];
    }
}

#if DTYPE == DTYPE_FP32

// Thread (lane / 8, lane % 8) of a warp owns every fourth row and every eighth column of the warp tile.
struct warp_tile {
    float sum[WARP_M / 4][WARP_N / 8];
    int m0, n0; // within the block

    __device__ __forceinline__ void add_stage(const unsigned char *stage, int k_left) {
        const int row = m0 + threadIdx.x % 32 / 8, column = n0 + threadIdx.x % 8;
        const int chunks =
            min(ROW_CHUNKS,
                (k_left + CHUNK - 1) / CHUNK); // fmaf(0, 0, -0) is +0: the tail must not be multiplied
#pragma unroll 1
        for (int chunk = 0; chunk < chunks; chunk++) {
            float4 w[WARP_N / 8];
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++)
                w[j] =
                    *(const float4 *)(stage + TILE_A_BYTES + chunk_offset<B_SPREAD>(column + 8 * j, chunk));
#pragma unroll
            for (int i = 0; i < WARP_M / 4; i++) {
                const float4 a = *(const float4 *)(stage + chunk_offset<A_SPREAD>(row + 4 * i, chunk));
#pragma unroll
                for (int j = 0; j < WARP_N / 8; j++) {
                    const int left = ALIGNED ? CHUNK : k_left - chunk * CHUNK;
                    float s = fmaf(a.x, w[j].x, sum[i][j]);
                    if (left > 1) s = fmaf(a.y, w[j].y, s);
                    if (left > 2) s = fmaf(a.z, w[j].z, s);
                    if (left > 3) s = fmaf(a.w, w[j].w, s);
                    sum[i][j] = s;
                }
            }
        }
    }

    __device__ __forceinline__ void store(const block &b, const element *bias) const {
#pragma unroll
        for (int i = 0; i < WARP_M / 4; i++)
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++)
                finish<1>(b, m0 + threadIdx.x % 32 / 8 + 4 * i, b.n0 + n0 + threadIdx.x % 8 + 8 * j,
                          &sum[i][j], bias);
    }
};

#else

__device__ __forceinline__ void load_matrices(unsigned (&r)[4], const unsigned char *at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(at))
                 : "memory");
}

#if DTYPE == DTYPE_BF16
#define MMA_TYPE "bf16"
#else
#define MMA_TYPE "f16"
#endif
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32." MMA_TYPE "." MMA_TYPE
        ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Operands of one k16 step: 16x16 tiles of a, and pairs of 8-column tiles of w.
struct operands {
    unsigned a[WARP_M / 16][4], w[WARP_N / 16][4];
};

struct warp_tile {
    float sum[WARP_M / 16][WARP_N / 8][4];
    int m0, n0; // within the block

    // Lane l gives ldmatrix the address of row l % 8 of its matrix l / 8: of a, the matrices are (rows 0-7,
    // 8-15) by (k 0-7, 8-15) with rows first, as the mma's registers want them; of w, (tile t, t + 1) by k
    // with k first.
    __device__ __forceinline__ void load(operands &o, const unsigned char *stage, int k16) const {
        const int lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++)
            load_matrices(o.a[i], stage + chunk_offset<A_SPREAD>(m0 + 16 * i + matrix % 2 * 8 + row,
                                                                 2 * k16 + matrix / 2));
#pragma unroll
        for (int j = 0; j < WARP_N / 16; j++)
            load_matrices(o.w[j], stage + TILE_A_BYTES +
                                      chunk_offset<B_SPREAD>(n0 + column_of(2 * j + matrix / 2, row),
                                                             2 * k16 + matrix % 2));
    }

    // The operands of the next k16 step are loaded while this step's products are under way.
    __device__ __forceinline__ void add_stage(const unsigned char *stage, int) {
        operands o[2];
        load(o[0], stage, 0);
#pragma unroll 4
        for (int k16 = 0; k16 < BLOCK_K / 16; k16++) {
            if (k16 + 1 < BLOCK_K / 16) load(o[(k16 + 1) % 2], stage, k16 + 1);
            const operands &now = o[k16 % 2];
#pragma unroll
            for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
                for (int j = 0; j < WARP_N / 8; j++)
                    multiply_add(sum[i][j], now.a[i], now.w[j / 2][j % 2 * 2], now.w[j / 2][j % 2 * 2 + 1]);
        }
    }

    // Lane l holds rows l / 4 and l / 4 + 8, columns 2 * (l % 4) and the next, of each 16x8 tile.
    __device__ __forceinline__ void store(const block &b, const element *bias) const {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int group = 0; group < WARP_N / 8 / OCTETS; group++) {
                    float v[2 * OCTETS];
#pragma unroll
                    for (int t = 0; t < OCTETS; t++) {
                        v[2 * t] = sum[i][group * OCTETS + t][2 * half];
                        v[2 * t + 1] = sum[i][group * OCTETS + t][2 * half + 1];
                    }
                    finish<2 * OCTETS>(b, m0 + 16 * i + 8 * half + lane / 4,
                                       b.n0 + n0 + column_of(group * OCTETS, 2 * (lane % 4)), v, bias);
                }
    }
};

#endif

extern "C" __global__ void __launch_bounds__(THREADS, 1) grouped_gemm(const mp_gemm_params p) {
    extern __shared__ __align__(128) unsigned char stages[];
    row_tables &rows = *(row_tables *)(stages + STAGES * STAGE_BYTES);

    // Rasterisation: blocks of group_size_m row blocks by all column blocks, rows fastest, so that a wave of
    // blocks shares w in L2.
    const int blocks_m = *p.num_tokens_post_padded / BLOCK_M, blocks_n = (p.n + BLOCK_N - 1) / BLOCK_N;
    const long long index = p.first_block + blockIdx.x;
    if (index >= (long long)blocks_m * blocks_n) return;
    const int group_size = min(p.group_size_m, blocks_m);
    long long group, inside, column_block, row_block;
    split_index(index, (long long)group_size * blocks_n, &group, &inside);
    const long long first_m = group * group_size;
    split_index(inside, min(blocks_m - first_m, (long long)group_size), &column_block, &row_block);
    const long long block_m = first_m + row_block;
    const int n0 = (int)column_block * BLOCK_N;
    const int expert = p.expert_ids[block_m];

    for (int r = threadIdx.x; r < BLOCK_M; r += THREADS) {
        const long long position = block_m * BLOCK_M + r;
        const int slot = p.sorted_token_ids[position];
        const bool present = slot < p.slots;
        rows.a_row[r] = !present ? -1 : p.a_sorted ? position : slot / p.a_divisor;
        rows.out_row[r] = !present ? -1 : p.out_sorted ? position : slot / p.out_divisor;
        rows.weight[r] = present && p.topk_weights ? p.topk_weights[slot] : 1.0f;
    }
    __syncthreads();

    if (expert < 0) { // filtered: zeros for the slots that are there; an atomic sum needs none
        if (ATOMIC) return;
        for (int i = threadIdx.x; i < BLOCK_M * BLOCK_N; i += THREADS) {
            const long long row = rows.out_row[i / BLOCK_N];
            const int n = n0 + i % BLOCK_N;
            if (row >= 0 && n < p.n) ((element *)p.out)[row * p.n + n] = 0;
        }
        return;
    }

    const block b = {p, rows, (const element *)p.w + (long long)expert * p.n * p.k, n0};
    const element *bias = p.bias ? (const element *)p.bias + (long long)expert * p.n : nullptr;
    const int warp = threadIdx.x / 32;
    const bool computes = warp < GRID.m * GRID.n;
    warp_tile tile = {};
    tile.m0 = warp % GRID.m * WARP_M;
    tile.n0 = warp / GRID.m * WARP_N;

    const int steps = (p.k + BLOCK_K - 1) / BLOCK_K;
    if (STAGES == 1) {
        for (int step = 0; step < steps; step++) {
            load_stage(b, stages, step * BLOCK_K);
            commit_copies();
            wait_copies<0>();
            if (computes) tile.add_stage(stages, p.k - step * BLOCK_K);
            __syncthreads();
        }
    } else {
        for (int step = 0; step < STAGES - 1; step++) {
            if (step < steps) load_stage(b, stages + step * STAGE_BYTES, step * BLOCK_K);
            commit_copies();
        }
        int now = 0, free = STAGES - 1; // the stage to multiply, and the one to fill
        for (int step = 0; step < steps; step++) {
            wait_copies<STAGES == 1 ? 0 : STAGES - 2>(); // this step's copies have landed, and nobody reads
                                                         // the free stage any more
            const int ahead = step + STAGES - 1;
            if (ahead < steps) load_stage(b, stages + free * STAGE_BYTES, ahead * BLOCK_K);
            commit_copies();
            if (computes) tile.add_stage(stages + now * STAGE_BYTES, p.k - step * BLOCK_K);
            now = now + 1 == STAGES ? 0 : now + 1;
            free = free + 1 == STAGES ? 0 : free + 1;
        }
    }
    if (computes) tile.store(b, bias);
}
