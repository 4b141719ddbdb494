/* One case on the device: plan, upload, the three paths, and the checks around them. */
#include "kernels/pipeline.h"

#include <stdio.h>

/* Machine code of a few modules: 64 MiB are plenty. */
#define CODE_RESERVE ((size_t)64 << 20)
#define RESIDENT_THREADS 2048 /* of a multiprocessor, at most */

mp_status mp_cuda_plan(mp_cuda *cuda, const mp_case *c, size_t *needed_bytes, size_t *free_bytes,
                       mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    size_t total = 0;
    mp_config config;
    mp_pipeline p;
    MP_DO(mp_config_resolve(c, &(mp_config_query){.device = cuda->name}, &config, err));
    MP_DO(mp_pipeline_plan(cuda, c, &config, &p, err));
    *needed_bytes = mp_pipeline_bytes(&p) + CODE_RESERVE +
                    (size_t)cuda->multiprocessors * RESIDENT_THREADS * MP_STACK_BYTES_MAX;
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_CU(cuMemGetInfo_v2(free_bytes, &total));
out:
    return status;
}

static mp_status upload(mp_pipeline *p, const mp_inputs *in, mp_error *err) {
    const mp_driver *driver = p->cuda->driver;
    mp_status status = MP_OK;
    for (int i = 0; i < MP_INPUT_COUNT; i++) {
        const mp_tensor *t = &in->t[i];
        const size_t bytes = t->data ? mp_tensor_bytes(t) : 0;
        if (bytes != p->input[i].bytes) {
            status = mp_fail(err, MP_EINTERNAL, "input %s has %zu bytes, the case needs %zu",
                             p->input[i].name, bytes, p->input[i].bytes);
            goto out;
        }
        if (bytes) MP_CU(cuMemcpyHtoD_v2(p->input[i].data, t->data, bytes));
    }
out:
    return status;
}

static mp_status digest_inputs(mp_pipeline *p, uint64_t digest[MP_INPUT_COUNT], mp_error *err) {
    mp_status status = MP_OK;
    for (int i = 0; i < MP_INPUT_COUNT; i++)
        if (p->input[i].bytes) MP_DO(mp_device_buffer_digest(p->cuda, &p->input[i], &digest[i], err));
out:
    return status;
}

static mp_status download(mp_pipeline *p, mp_trace *trace, mp_error *err) {
    const mp_driver *driver = p->cuda->driver;
    mp_status status = MP_OK;
    for (int i = 0; i < MP_TRACE_COUNT; i++) {
        if (!mp_trace_has(&p->plan, (mp_trace_tensor)i)) continue;
        const mp_device_buffer *from = i == MP_OUT ? mp_pipeline_output(p) : &p->trace[i];
        MP_CU(cuMemcpyDtoH_v2(trace->t[i].data, from->data, mp_tensor_bytes(&trace->t[i])));
    }
out:
    return status;
}

/* Launches the stages of a chunk one after another. On the runner path every stage is a call of its own that
 * has ended before the next begins, and the hooks run in between. edge[s] and edge[s + 1] enclose stage s. */
static mp_status run_stages(mp_pipeline *p, int64_t chunk, CUevent edge[MP_STAGE_COUNT + 1], mp_error *err) {
    const mp_driver *driver = p->cuda->driver;
    const mp_cuda_hooks *hooks = &p->cuda->hooks;
    const mp_cuda_hook_view view = mp_pipeline_hook_view(p);
    mp_status status = MP_OK;
    MP_CU(cuEventRecord(edge[0], NULL));
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const bool present = mp_pipeline_has_stage(p, (mp_stage)s);
        if (present) MP_DO(mp_pipeline_stage(p, (mp_stage)s, chunk, err));
        MP_CU(cuEventRecord(edge[s + 1], NULL));
        if (!present || p->c.path != MP_RUNNER) continue;
        MP_CU(cuCtxSynchronize());
        if (s == MP_GATE_UP && hooks->after_gate_up) MP_DO(hooks->after_gate_up(hooks->context, &view, err));
        if (s == MP_DOWN && hooks->after_down) MP_DO(hooks->after_down(hooks->context, &view, err));
    }
    MP_CU(cuCtxSynchronize());
out:
    return status;
}

static mp_status run_chunks(mp_pipeline *p, double stage_ns[MP_STAGE_COUNT], mp_error *err) {
    const mp_driver *driver = p->cuda->driver;
    mp_status status = MP_OK;
    CUevent edge[MP_STAGE_COUNT + 1] = {NULL};
    for (int i = 0; i <= MP_STAGE_COUNT; i++) MP_CU(cuEventCreate(&edge[i], 0));
    for (int64_t chunk = 0; chunk < mp_case_chunks(&p->c); chunk++) {
        MP_DO(run_stages(p, chunk, edge, err));
        for (int s = 0; s < MP_STAGE_COUNT; s++) {
            if (!mp_pipeline_has_stage(p, (mp_stage)s)) continue;
            float ms = 0;
            MP_CU(cuEventElapsedTime(&ms, edge[s], edge[s + 1]));
            stage_ns[s] += 1e6 * (double)ms;
        }
    }
out:
    for (int i = 0; i <= MP_STAGE_COUNT; i++)
        if (edge[i]) driver->cuEventDestroy_v2(edge[i]);
    return status;
}

/* Everything but x of an in-place case must be as it was; every guard too. */
static mp_status check_surroundings(mp_pipeline *p, const uint64_t before[MP_INPUT_COUNT], mp_trace *trace,
                                    mp_error *err) {
    mp_status status = MP_OK;
    uint64_t after[MP_INPUT_COUNT] = {0};
    MP_DO(digest_inputs(p, after, err));
    for (int i = 0; i < MP_INPUT_COUNT; i++) {
        if (before[i] == after[i] || &p->input[i] == mp_pipeline_output(p)) continue;
        snprintf(trace->input_report, sizeof trace->input_report,
                 "device copy of %s changed: digest %016llx before, %016llx after", p->input[i].name,
                 (unsigned long long)before[i], (unsigned long long)after[i]);
        break;
    }
    mp_device_buffer *const groups[] = {p->input, p->trace, p->scratch};
    const int counts[] = {MP_INPUT_COUNT, MP_TRACE_COUNT, MP_SCRATCH_COUNT};
    for (int g = 0; g < 3; g++)
        for (int i = 0; i < counts[g] && !trace->guard_report[0]; i++)
            if (groups[g][i].bytes)
                MP_DO(mp_device_buffer_check(p->cuda, &groups[g][i], trace->guard_report, err));
out:
    return status;
}

mp_status mp_cuda_run(mp_cuda *cuda, const mp_case *c, const mp_inputs *in, uint32_t poison, mp_trace *trace,
                      mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    mp_config config;
    mp_pipeline p = {0};
    uint64_t before[MP_INPUT_COUNT] = {0};
    *trace = (mp_trace){0};

    MP_DO(mp_config_resolve(c, &(mp_config_query){.device = cuda->name}, &config, err));
    MP_DO(mp_trace_create(c, config.up.block_size_m, poison, trace, err));
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_DO(mp_pipeline_plan(cuda, c, &config, &p, err));
    MP_DO(mp_pipeline_alloc(&p, poison, err));
    MP_DO(upload(&p, in, err));
    MP_DO(digest_inputs(&p, before, err));
    MP_DO(run_chunks(&p, trace->stage_ns, err));
    MP_DO(check_surroundings(&p, before, trace, err));
    MP_DO(download(&p, trace, err));
out:
    mp_pipeline_free(&p);
    return status;
}
