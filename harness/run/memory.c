/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/memory.h"

#include "harness/subjects/surroundings.h"
#include "harness/verdict_make.h"
#include "moeparity/inputs.h"
#include "moeparity/trace.h"
#include "ref/gemm_tasks.h"

#include <omp.h>
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

static size_t total_bytes(const mp_tensor *t, int count) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += mp_tensor_count(&t[i]) > 0 ? mp_tensor_bytes(&t[i]) + 2 * MP_GUARD_BYTES : 0;
    return bytes;
}

size_t mp_case_host_bytes(const mp_case *c, int block_size_m) {
    enum { SLAB_BYTES_MAX = 512 << 20, DOUBLES = 2 /* values and magnitudes */ };
    mp_inputs in;
    mp_trace trace;
    mp_inputs_plan(c, &in);
    mp_trace_plan(c, block_size_m, &trace);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) /* where hooks keep both states */
        if (mp_case_possible_outputs(c) & MP_IN_SET(id) && trace.t[id].rank == 0 && c->path == MP_RUNNER)
            trace.t[id] = mp_case_shape(c, (mp_tensor_id)id, block_size_m);
    const size_t inputs = total_bytes(in.t, MP_TENSOR_COUNT), tokens = total_bytes(&in.t[MP_X], 1),
                 traces = total_bytes(trace.t, MP_TENSOR_COUNT);
    size_t predicted = 0; /* the bits oracle holds one stage at a time; a whole prediction takes the place of
                             the second trace */
    for (int i = 0; i < MP_TENSOR_COUNT; i++)
        predicted = total_bytes(&trace.t[i], 1) > predicted ? total_bytes(&trace.t[i], 1) : predicted;
    const size_t longest = (size_t)(c->K > c->N ? c->K : c->N);
    const size_t per_thread =
        DOUBLES * sizeof(double) * (MP_BLOCK_SLOTS + MP_SLAB_COLUMNS) * longest; /* float64 slabs of a GEMM */
    const size_t exact = 2 * sizeof(double) * (size_t)mp_case_slots(c) *
                         (size_t)(mp_case_w1_rows(c) + c->N + 2 * c->K); /* end to end, in slabs of tokens */
    const size_t slab = exact < SLAB_BYTES_MAX ? exact : SLAB_BYTES_MAX;
    const size_t maps = (size_t)mp_case_slots(c) * 64;
    return inputs + tokens + 2 * traces + predicted + maps + slab +
           (size_t)omp_get_max_threads() * per_thread;
}

mp_status mp_plan_memory(mp_session *s, mp_error *err) {
    const mp_run_options *o = s->options;
    const size_t available = mp_memory_available() / (size_t)(o->settings.jobs > 1 ? o->settings.jobs : 1);
    for (size_t i = 0; i <= s->row->pair_count; i++) {
        const mp_case *c = i == 0 ? &s->row->c : &s->row->pairs[i - 1];
        mp_subject *const subjects[] = {o->subject, i == 0 ? o->against : NULL};
        for (int k = 0; k < 2 && subjects[k]; k++) {
            const mp_offer *offer;
            const mp_status status = mp_session_offer(s, subjects[k], c, &offer, err);
            if (status == MP_EUNSUPPORTED && i > 0) continue; /* this variant will not be run */
            if (status != MP_OK) return status;
            const size_t host = mp_case_host_bytes(c, offer->config.up.block_size_m) + offer->host_bytes;
            const size_t device = mp_surroundings_device_bytes(subjects[k], c, offer) + offer->device_bytes;
            if ((int64_t)host > s->v->peak_bytes) s->v->peak_bytes = (int64_t)host;
            if (available > 0 && host > available)
                return mp_fail(err, MP_EUNSUPPORTED, "needs %.1f GiB of host memory, %.1f GiB are available",
                               (double)host / 0x1p30, (double)available / 0x1p30);
            if (offer->device_available > 0 && device > offer->device_available)
                return mp_fail(err, MP_EUNSUPPORTED, "needs %.1f GiB of device memory, %.1f GiB are free",
                               (double)device / 0x1p30, (double)offer->device_available / 0x1p30);
        }
    }
    return MP_OK;
}
