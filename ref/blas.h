/* SPDX-License-Identifier: Apache-2.0 */
/* OpenBLAS, loaded at run time so that its core type can be chosen before it initialises itself.
 *
 * OpenBLAS 0.3.21 takes CPUs newer than itself for Haswell and then uses half the vector width. Its choice is
 * overridden with the core type SkylakeX when the CPU has AVX-512 (F, DQ, CD, BW, VL) and OPENBLAS_CORETYPE
 * is not set by the user. */
#ifndef MP_REF_BLAS_H
#define MP_REF_BLAS_H

#include "moeparity/status.h"

#include <stdint.h>

/* Loads the library once (thread safe), and lets it map the memory that it takes for each of OpenMP's
 * threads. MP_EUNSUPPORTED with the reason when it is missing, or when that memory cannot be had: it would
 * wait for it for ever. */
mp_status mp_blas_load(mp_error *err);
/* "OpenBLAS 0.3.21 SkylakeX", or "plain loops" when it is not loaded and cannot be. */
const char *mp_blas_name(void);
/* c[m,n] = a[m,k] * b[n,k]^T, row-major float64, on the calling thread alone. Call mp_blas_load first. */
void mp_blas_dgemm_nt(int64_t m, int64_t n, int64_t k, const double *a, const double *b, double *c);

#endif
