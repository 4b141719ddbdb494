/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/blas.h"

#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What OpenBLAS maps for every thread that calls it: BUFFER_SIZE of its common_x86_64.h. It keeps what it has
 * mapped. */
#define BUFFER_BYTES ((size_t)128 << 20)
enum { THREADS_MAX = 1024 };

/* The CBLAS interface: enum values of the reference CBLAS standard (BLAST Forum, 2001). */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
typedef void (*dgemm_function)(int order, int trans_a, int trans_b, int m, int n, int k, double alpha,
                               const double *a, int lda, const double *b, int ldb, double beta, double *c,
                               int ldc);

static struct {
    pthread_once_t once;
    dgemm_function dgemm;
    char name[64];
    char reason[256];
} blas = {.once = PTHREAD_ONCE_INIT};

static bool cpu_has_avx512(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

/* With its own threads OpenBLAS would map memory while it is loaded, and one that cannot start them raises a
 * signal. They would serve nothing here: the callers' threads each run their own dgemm. */
static void *open_with_one_thread(void) {
    const char *variable = "OPENBLAS_NUM_THREADS", *set = getenv(variable);
    char *kept = set ? strdup(set) : NULL;
    setenv(variable, "1", 1);
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
    if (kept)
        setenv(variable, kept, 1);
    else
        unsetenv(variable);
    free(kept);
    return library;
}

/* OpenBLAS that gets no memory (ulimit -v, strict overcommit) tries again for ever. So its buffers are asked
 * for here, in one piece and given back at once; then OpenBLAS maps them itself, one for each thread, before
 * anything else takes the room. */
static bool reserve_buffers(void *(*allocate)(int), void (*release)(void *)) {
    void *buffer[THREADS_MAX];
    const int most = omp_get_max_threads(), threads = most < THREADS_MAX ? most : THREADS_MAX;
    const size_t bytes = (size_t)threads * BUFFER_BYTES;
    void *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) {
        snprintf(blas.reason, sizeof blas.reason,
                 "its buffers take %.1f GiB of address space for %d threads, which cannot be had here",
                 (double)bytes / 0x1p30, threads);
        return false;
    }
    munmap(all, bytes);
    for (int i = 0; i < threads; i++) buffer[i] = allocate(0);
    for (int i = 0; i < threads; i++)
        if (buffer[i]) release(buffer[i]);
    return true;
}

static void load(void) {
    snprintf(blas.name, sizeof blas.name, "plain loops");
    if (cpu_has_avx512()) setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
    void *library = open_with_one_thread();
    if (!library) {
        snprintf(blas.reason, sizeof blas.reason, "%s", dlerror());
        return;
    }
    /* POSIX defines the conversion of dlsym's result to a function pointer; ISO C does not, hence the copy
     * through a union. */
    union {
        void *object;
        dgemm_function dgemm;
        void (*set_num_threads)(int);
        char *(*text)(void);
        void *(*allocate)(int);
        void (*release)(void *);
    } dgemm = {dlsym(library, "cblas_dgemm")}, threads = {dlsym(library, "openblas_set_num_threads")},
      core = {dlsym(library, "openblas_get_corename")}, config = {dlsym(library, "openblas_get_config")},
      allocate = {dlsym(library, "blas_memory_alloc")}, release = {dlsym(library, "blas_memory_free")};
    if (!dgemm.object || !threads.object || !core.object || !config.object || !allocate.object ||
        !release.object) {
        snprintf(blas.reason, sizeof blas.reason,
                 "libopenblas lacks cblas_dgemm, openblas_set_num_threads or blas_memory_alloc");
        return;
    }
    threads.set_num_threads(1); /* a build with OpenMP does not read OPENBLAS_NUM_THREADS */
    if (!reserve_buffers(allocate.allocate, release.release)) return;
    char library_name[32] = "OpenBLAS", version[16] = "";
    if (sscanf(config.text(), "%31s %15s", library_name, version) < 1) version[0] = '\0';
    snprintf(blas.name, sizeof blas.name, "OpenBLAS %s %s", version, core.text());
    blas.dgemm = dgemm.dgemm;
}

mp_status mp_blas_load(mp_error *err) {
    pthread_once(&blas.once, load);
    return blas.dgemm ? MP_OK : mp_fail(err, MP_EUNSUPPORTED, "OpenBLAS cannot be loaded: %s", blas.reason);
}

const char *mp_blas_name(void) {
    pthread_once(&blas.once, load);
    return blas.name;
}

void mp_blas_dgemm_nt(int64_t m, int64_t n, int64_t k, const double *a, const double *b, double *c) {
    blas.dgemm(ROW_MAJOR, NO_TRANS, TRANS, (int)m, (int)n, (int)k, 1.0, a, (int)k, b, (int)k, 0.0, c, (int)n);
}
