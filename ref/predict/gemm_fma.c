/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/gemm_fma.h"

#include "ref/predict/gemm_f32.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define X86 1
#else
#define X86 0
#endif

static void kernel_portable(int64_t K, const float *a, const float *w, float *acc) {
    enum { ROWS = 4, COLUMNS = 16 };
    memset(acc, 0, ROWS * COLUMNS * sizeof *acc);
    for (int64_t k = 0; k < K; k++)
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < COLUMNS; j++)
                acc[i * COLUMNS + j] = fmaf(a[i * K + k], w[k * COLUMNS + j], acc[i * COLUMNS + j]);
}

#if X86
__attribute__((target("avx512f"))) static void kernel_avx512(int64_t K, const float *a, const float *w,
                                                             float *acc) {
    enum { ROWS = 12, COLUMNS = 32 };
    __m512 sum[ROWS][2];
    for (int i = 0; i < ROWS; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (int64_t k = 0; k < K; k++) {
        const __m512 w0 = _mm512_loadu_ps(w + k * COLUMNS), w1 = _mm512_loadu_ps(w + k * COLUMNS + 16);
#pragma GCC unroll 12
        for (int i = 0; i < ROWS; i++) {
            const __m512 v = _mm512_set1_ps(a[i * K + k]);
            sum[i][0] = _mm512_fmadd_ps(v, w0, sum[i][0]);
            sum[i][1] = _mm512_fmadd_ps(v, w1, sum[i][1]);
        }
    }
    for (int i = 0; i < ROWS; i++) {
        _mm512_storeu_ps(acc + i * COLUMNS, sum[i][0]);
        _mm512_storeu_ps(acc + i * COLUMNS + 16, sum[i][1]);
    }
}

__attribute__((target("avx2,fma"))) static void kernel_avx2(int64_t K, const float *a, const float *w,
                                                            float *acc) {
    enum { ROWS = 6, COLUMNS = 16 };
    __m256 sum[ROWS][2];
    for (int i = 0; i < ROWS; i++) sum[i][0] = sum[i][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < K; k++) {
        const __m256 w0 = _mm256_loadu_ps(w + k * COLUMNS), w1 = _mm256_loadu_ps(w + k * COLUMNS + 8);
#pragma GCC unroll 6
        for (int i = 0; i < ROWS; i++) {
            const __m256 v = _mm256_set1_ps(a[i * K + k]);
            sum[i][0] = _mm256_fmadd_ps(v, w0, sum[i][0]);
            sum[i][1] = _mm256_fmadd_ps(v, w1, sum[i][1]);
        }
    }
    for (int i = 0; i < ROWS; i++) {
        _mm256_storeu_ps(acc + i * COLUMNS, sum[i][0]);
        _mm256_storeu_ps(acc + i * COLUMNS + 8, sum[i][1]);
    }
}
#endif

int mp_micro_kernels(const mp_micro_kernel **kernels) {
    static const mp_micro_kernel all[] = {
#if X86
        {"avx512", 12, 32, kernel_avx512},
        {"avx2", 6, 16, kernel_avx2},
#endif
        {"portable", 4, 16, kernel_portable},
    };
    int first = 0;
#if X86
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512f")) first = 1;
    if (first == 1 && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) first = 2;
#endif
    *kernels = all + first;
    return (int)(sizeof all / sizeof *all) - first;
}

/* Float32 operands: rows of a as they are, columns of w transposed to [K, columns]. */
typedef struct host_engine {
    mp_gemm_f32_engine base;
    const mp_micro_kernel *kernel;
    int64_t K;
} host_engine;

static const host_engine *host(const mp_gemm_f32_engine *engine) {
    return (const host_engine *)engine;
}

static void pack_row(const mp_gemm_f32_engine *engine, const mp_tensor *a, int64_t row, void *packed) {
    mp_decode_row_f32(a->dtype, a->data, row * host(engine)->K, host(engine)->K, packed);
}

static void pack_panel(const mp_gemm_f32_engine *engine, const mp_tensor *w, int64_t first, int64_t count,
                       float *scratch, void *packed) {
    const int64_t K = host(engine)->K, columns = engine->columns;
    if (count < columns) memset(packed, 0, engine->panel_bytes);
    for (int64_t n = 0; n < count; n++) {
        mp_decode_row_f32(w->dtype, w->data, (first + n) * K, K, scratch);
        float *column = (float *)packed + n;
        for (int64_t k = 0; k < K; k++) column[k * columns] = scratch[k];
    }
}

static void run(const mp_gemm_f32_engine *engine, const mp_gemm_f32_tile *tile, const void *rows,
                const void *panel, float *result) {
    (void)tile; /* the kernels always compute all rows of a block */
    host(engine)->kernel->run(host(engine)->K, rows, panel, result);
}

mp_status mp_fma_gemm(const mp_gemm_problem *p, const mp_epilogue *epilogue, const int64_t *out_row,
                      const mp_tensor *out, mp_error *err) {
    const mp_micro_kernel *kernel;
    mp_micro_kernels(&kernel);
    const int64_t K = p->w.codes->dim[2];
    const host_engine engine = {.base = {.name = "host gemm",
                                         .rows = kernel->rows,
                                         .columns = kernel->columns,
                                         .row_bytes = (size_t)K * sizeof(float),
                                         .panel_bytes = (size_t)(K * kernel->columns) * sizeof(float),
                                         .pack_row = pack_row,
                                         .pack_panel = pack_panel,
                                         .run = run},
                                .kernel = kernel,
                                .K = K};
    return mp_gemm_f32(&engine.base, p, epilogue, out_row, out, err);
}
