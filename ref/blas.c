#include "ref/blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

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

static void load(void) {
    snprintf(blas.name, sizeof blas.name, "plain loops");
    if (cpu_has_avx512()) setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
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
    } dgemm = {dlsym(library, "cblas_dgemm")}, threads = {dlsym(library, "openblas_set_num_threads")},
      core = {dlsym(library, "openblas_get_corename")}, config = {dlsym(library, "openblas_get_config")};
    if (!dgemm.object || !threads.object || !core.object || !config.object) {
        snprintf(blas.reason, sizeof blas.reason,
                 "libopenblas lacks cblas_dgemm or openblas_set_num_threads");
        return;
    }
    threads.set_num_threads(1); /* the callers' threads each run their own dgemm */
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
