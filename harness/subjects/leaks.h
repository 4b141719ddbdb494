/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the device that a foreign subject does not give back. */
#ifndef MP_HARNESS_LEAKS_H
#define MP_HARNESS_LEAKS_H

#include "kernels/cuda.h"

/* What is known of a subject's runs; zeroed at first. */
typedef struct mp_leaks {
    int64_t runs, grew; /* all; those that left less free memory than they found, and than any before */
    int64_t slow;       /* runs that left less, and took too long to be judged */
    size_t lost, before, least;
    size_t cached; /* what the subject holds in reserve, as it said after its last run */
    double began;  /* seconds */
} mp_leaks;

/* Around each run. What a run leaves behind, run after run, is lost: MP_EDEVICE says how much it is, once it
 * is certain. Caches that grow with a new shape are none, nor is what others on the device take: of a run
 * that left less the subject must rest for a while, and where the free memory moves meanwhile the run tells
 * nothing.
 *
 * cached  bytes that the subject says it has at hand for its next runs, and that nothing uses: as good as
 *         free */
mp_status mp_leaks_begin(mp_leaks *leaks, mp_cuda *cuda, mp_error *err);
mp_status mp_leaks_end(mp_leaks *leaks, mp_cuda *cuda, size_t cached, const char *name, mp_error *err);

#endif
