/* SPDX-License-Identifier: Apache-2.0 */
#include "base/host_memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>

/* The number in the first line of the file that has the form. */
static bool read_number(const char *path, const char *form, unsigned long long *number) {
    char line[128];
    bool found = false;
    FILE *file = fopen(path, "r");
    while (file && !found && fgets(line, sizeof line, file)) found = sscanf(line, form, number) == 1;
    if (file) fclose(file);
    return found;
}

static size_t smaller(size_t available, unsigned long long limit, unsigned long long used) {
    const size_t left = used < limit ? (size_t)(limit - used) : 0;
    return left < available ? (left > 0 ? left : 1) : available; /* 0 would mean unknown */
}

size_t mp_memory_available(void) {
    unsigned long long kib = 0;
    read_number("/proc/meminfo", "MemAvailable: %llu kB", &kib);
    size_t available = (size_t)kib * 1024;
    /* A container's limit, when it is lower (cgroup v2). Cached pages of files count as used, but make room
     * when it is needed. */
    unsigned long long limit = 0, used = 0, cached = 0;
    if (read_number("/sys/fs/cgroup/memory.max", "%llu", &limit) &&
        read_number("/sys/fs/cgroup/memory.current", "%llu", &used)) {
        read_number("/sys/fs/cgroup/memory.stat", "inactive_file %llu", &cached);
        available = smaller(available, limit, used - (cached < used ? cached : used));
    }
    struct rlimit address_space; /* ulimit -v */
    if (getrlimit(RLIMIT_AS, &address_space) == 0 && address_space.rlim_cur != RLIM_INFINITY &&
        read_number("/proc/self/status", "VmSize: %llu kB", &kib))
        available = smaller(available, address_space.rlim_cur, kib * 1024);
    return available;
}

mp_status mp_memory_check(size_t needed, mp_error *err) {
    const size_t available = mp_memory_available();
    if (available == 0 || needed <= available) return MP_OK;
    return mp_fail(err, MP_EUNSUPPORTED, "needs %.1f GiB of host memory, %.1f GiB are available",
                   (double)needed / 0x1p30, (double)available / 0x1p30);
}
