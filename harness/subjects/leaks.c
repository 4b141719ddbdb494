/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/leaks.h"

#include "base/clock.h"

/* Of the runs that left less free device memory than they found, so many, and this share of all, are a leak:
 * caches that grow with a new shape do so less often.
 *
 * Free memory is the device's, and others take of it while a subject runs. While it rests they take too, and
 * it does not. If p is the chance that they take something during a run, 1 - p is that of another such time
 * without it, and p (1 - p)^3 that of a run that loses and three such times of rest in which nothing moves:
 * 27/256 at most, less than half of the share that is a leak. */
enum { LEAKS_AT_LEAST = 20, ONE_LEAK_IN = 4, RESTS = 3 };

#define REST_AT_MOST \
    1.0 /* seconds, while few runs that would ask for more have lost: the first ones compile */

mp_status mp_leaks_begin(mp_leaks *leaks, mp_cuda *cuda, mp_error *err) {
    size_t free_bytes = 0, reserve;
    const mp_status status = mp_cuda_memory(cuda, &free_bytes, &reserve, err);
    leaks->before = free_bytes + leaks->cached;
    leaks->began = mp_seconds_now();
    return status;
}

/* Whether the device's free memory stays what it is for so long. */
static mp_status rests(mp_cuda *cuda, size_t free_bytes, double seconds, bool *quiet, mp_error *err) {
    const double end = mp_seconds_now() + seconds;
    do {
        size_t now = free_bytes, reserve;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        const mp_status status = mp_cuda_memory(cuda, &now, &reserve, err);
        *quiet = now == free_bytes;
        if (status != MP_OK || !*quiet) return status;
    } while (mp_seconds_now() < end);
    return MP_OK;
}

mp_status mp_leaks_end(mp_leaks *leaks, mp_cuda *cuda, size_t cached, const char *name, mp_error *err) {
    const double rest = RESTS * (mp_seconds_now() - leaks->began);
    size_t free_bytes = 0, reserve;
    mp_status status = mp_cuda_memory(cuda, &free_bytes, &reserve, err);
    if (status != MP_OK) return status;
    const size_t after = free_bytes + cached;
    leaks->cached = cached;
    /* Others on the device give too: a leak alone reaches a new depth again and again. */
    const bool deeper = leaks->least == 0 || after < leaks->least;
    if (deeper) leaks->least = after;
    bool lost = deeper && after < leaks->before;
    if (lost && rest > REST_AT_MOST && leaks->slow++ < LEAKS_AT_LEAST) return MP_OK;
    if (lost) status = rests(cuda, free_bytes, rest, &lost, err);
    if (status != MP_OK) return status;
    leaks->runs++;
    leaks->grew += lost;
    leaks->lost += lost ? leaks->before - after : 0;
    if (leaks->grew < LEAKS_AT_LEAST || leaks->grew * ONE_LEAK_IN < leaks->runs) return MP_OK;
    return mp_fail(err, MP_EDEVICE,
                   "%s leaks memory of the device: %lld of its %lld runs left less free, %.1f MiB in all",
                   name, (long long)leaks->grew, (long long)leaks->runs, (double)leaks->lost / 0x1p20);
}
