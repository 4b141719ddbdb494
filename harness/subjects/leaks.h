/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the device that a foreign subject does not give back. */
#ifndef MP_HARNESS_LEAKS_H
#define MP_HARNESS_LEAKS_H

#include "kernels/cuda.h"

/* What is known of a subject's runs; zeroed at first. */
typedef struct mp_leaks {
    int64_t runs, grew; /* all; those that left less free memory than they found, and than any before */
    size_t lost, before, least;
} mp_leaks;

/* Around each run. What a run leaves behind, run after run, is lost: MP_EDEVICE says how much it is, once it
 * is certain. Caches that grow with a new shape are none. */
mp_status mp_leaks_begin(mp_leaks *leaks, mp_cuda *cuda, mp_error *err);
mp_status mp_leaks_end(mp_leaks *leaks, mp_cuda *cuda, const char *name, mp_error *err);

#endif
