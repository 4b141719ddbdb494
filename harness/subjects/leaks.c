/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/leaks.h"

/* Of the runs that left less free device memory than they found, so many, and this share of all, are a leak:
 * caches that grow with a new shape do so less often. */
enum { LEAKS_AT_LEAST = 20, ONE_LEAK_IN = 4 };

mp_status mp_leaks_begin(mp_leaks *leaks, mp_cuda *cuda, mp_error *err) {
    size_t reserve;
    return mp_cuda_memory(cuda, &leaks->before, &reserve, err);
}

mp_status mp_leaks_end(mp_leaks *leaks, mp_cuda *cuda, const char *name, mp_error *err) {
    size_t after = 0, reserve;
    const mp_status status = mp_cuda_memory(cuda, &after, &reserve, err);
    if (status != MP_OK) return status;
    leaks->runs++;
    /* Others on the device take and give: a leak alone reaches a new depth again and again. */
    const bool deeper = leaks->least == 0 || after < leaks->least;
    if (deeper) leaks->least = after;
    if (deeper && after < leaks->before) {
        leaks->grew++;
        leaks->lost += leaks->before - after;
    }
    if (leaks->grew < LEAKS_AT_LEAST || leaks->grew * ONE_LEAK_IN < leaks->runs) return MP_OK;
    return mp_fail(err, MP_EDEVICE,
                   "%s leaks memory of the device: %lld of its %lld runs left less free, %.1f MiB in all",
                   name, (long long)leaks->grew, (long long)leaks->runs, (double)leaks->lost / 0x1p20);
}
