#include "ref/host_gemm.h"

#include "ref/gemm_tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define X86 1
#else
#define X86 0
#endif

enum { MAX_ROWS = 12, MAX_COLUMNS = 32 };

static void kernel_portable(int64_t K, const float *a, const float *w, float *acc) {
    enum { ROWS = 4, COLUMNS = 16 };
    memset(acc, 0, ROWS * COLUMNS * sizeof *acc);
    for (int64_t k = 0; k < K; k++)
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < COLUMNS; j++) acc[i * COLUMNS + j] = fmaf(a[i * K + k], w[k * COLUMNS + j], acc[i * COLUMNS + j]);
}

#if X86
__attribute__((target("avx512f"))) static void kernel_avx512(int64_t K, const float *a, const float *w, float *acc) {
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

__attribute__((target("avx2,fma"))) static void kernel_avx2(int64_t K, const float *a, const float *w, float *acc) {
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

/* Buffers of one thread: rows of a, packed columns of w ([panels][K][columns]), and results. */
typedef struct workspace {
    float *a, *w, *row;
    float acc[MAX_ROWS * MAX_COLUMNS], results[MAX_ROWS * MP_SLAB_COLUMNS];
} workspace;

/* Columns n0 .. n0+n of expert e, transposed into panels of `columns`, zero behind the last. */
static void pack(const mp_gemm_problem *p, const mp_gemm_task *job, int columns, workspace *s) {
    const int64_t N = p->w->dim[1], K = p->w->dim[2], panels = (job->n + columns - 1) / columns;
    if (job->n % columns) memset(s->w + (panels - 1) * K * columns, 0, (size_t)(K * columns) * sizeof(float));
    for (int64_t n = 0; n < job->n; n++) {
        mp_decode_row_f32(p->w->dtype, p->w->data, (job->expert * N + job->n0 + n) * K, K, s->row);
        float *column = s->w + n / columns * K * columns + n % columns;
        for (int64_t k = 0; k < K; k++) column[k * columns] = s->row[k];
    }
}

static void finish_row(const mp_epilogue *epilogue, const mp_gemm_task *job, int64_t slot, float *row, const mp_tensor *out, int64_t out_row) {
    if (epilogue->bias) {
        float bias[MP_SLAB_COLUMNS];
        mp_decode_row_f32(epilogue->bias->dtype, epilogue->bias->data, job->expert * epilogue->bias->dim[1] + job->n0, job->n, bias);
        for (int64_t j = 0; j < job->n; j++) row[j] += bias[j];
    }
    if (epilogue->weights)
        for (int64_t j = 0; j < job->n; j++) row[j] *= epilogue->weights[slot];
    mp_encode_row_f32(out->dtype, out->data, out_row * mp_tensor_row_length(out) + job->n0, job->n, row);
}

static void run_task(const mp_gemm_problem *p, const mp_gemm_task *job, const int64_t *order, const mp_micro_kernel *kernel, workspace *s,
                     const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out) {
    const int64_t K = p->w->dim[2], columns = kernel->columns, rows = kernel->rows;
    pack(p, job, kernel->columns, s);
    for (int64_t i = 0; i < job->count; i += rows) {
        const int64_t *slot = order + job->first + i, here = job->count - i < rows ? job->count - i : rows;
        for (int64_t r = 0; r < here; r++) mp_decode_row_f32(p->a->dtype, p->a->data, p->a_row[slot[r]] * K, K, s->a + r * K);
        for (int64_t n = 0; n < job->n; n += columns) {
            kernel->run(K, s->a, s->w + n * K, s->acc);
            const int64_t width = job->n - n < columns ? job->n - n : columns;
            for (int64_t r = 0; r < here; r++)
                memcpy(s->results + r * MP_SLAB_COLUMNS + n, s->acc + r * columns, (size_t)width * sizeof(float));
        }
        for (int64_t r = 0; r < here; r++)
            finish_row(epilogue, job, slot[r], s->results + r * MP_SLAB_COLUMNS, out, out_row ? out_row[slot[r]] : slot[r]);
    }
}

mp_status mp_host_gemm(const mp_gemm_problem *p, const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out, mp_error *err) {
    const int64_t K = p->w->dim[2];
    const mp_micro_kernel *kernel;
    mp_micro_kernels(&kernel);
    mp_gemm_tasks tasks;
    const mp_status status = mp_gemm_tasks_create(p, &tasks, err);
    if (status != MP_OK) return status;
    mp_gemm_zero_filtered(p, out_row, out);
    bool failed = false;
#pragma omp parallel if (tasks.count > 1)
    {
        workspace *s = malloc(sizeof *s);
        float *memory = malloc((size_t)(K * (MAX_ROWS + MP_SLAB_COLUMNS + MAX_COLUMNS + 1)) * sizeof(float));
        const bool ready = s && memory;
        if (ready) {
            s->a = memory;
            s->row = s->a + K * MAX_ROWS;
            s->w = s->row + K;
            memset(s->a, 0, (size_t)(K * MAX_ROWS) * sizeof(float)); /* rows behind the last slot are computed and dropped */
        } else {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < tasks.count; i++)
            if (ready) run_task(p, &tasks.task[i], tasks.order, kernel, s, epilogue, out_row, out);
        free(memory);
        free(s);
    }
    mp_gemm_tasks_destroy(&tasks);
    return failed ? mp_fail(err, MP_EMEMORY, "host gemm: no memory for slabs of %d by %lld", MP_SLAB_COLUMNS, (long long)K) : MP_OK;
}
