/* SPDX-License-Identifier: Apache-2.0 */
/* One case on the device: its stages between events, and the hooks of path=runner. */
#include "kernels/stages.h"

#include "cases/graph_tables.h"
#include "kernels/device/params.h"
#include "kernels/variants.h"
#include "ref/pipeline.h"

#include <stdlib.h>

typedef struct run {
    mp_device_run stages;
    double *stage_ns;
    const CUevent *start, *end;    /* [MP_STAGE_COUNT] */
    bool recorded[MP_STAGE_COUNT]; /* of this chunk */
} run;

/* Adds the times of the stages recorded so far. Events are read when a chunk is done, not after each stage:
 * the device does not wait for launches in between. */
static mp_status collect_times(run *r, mp_error *err) {
    const mp_driver *driver = r->stages.cuda->driver;
    mp_status status = MP_OK;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        float ms = 0;
        if (!r->recorded[s]) continue;
        MP_CU(cuEventSynchronize(r->end[s]));
        MP_CU(cuEventElapsedTime(&ms, r->start[s], r->end[s]));
        r->stage_ns[s] += 1e6 * (double)ms;
        r->recorded[s] = false;
    }
out:
    return status;
}

static mp_status before_stage(void *self, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    (void)call;
    run *r = self;
    const mp_driver *driver = r->stages.cuda->driver;
    mp_status status = MP_OK;
    if (r->recorded[stage]) MP_DO(collect_times(r, err)); /* of the chunk before */
    MP_CU(cuEventRecord(r->start[stage], NULL));
out:
    return status;
}

static bool has_own_hooks(const mp_cuda *cuda) {
    return cuda->hooks.context != &cuda->hook_calls;
}

mp_tensor_set mp_cuda_hooked_tensors(const mp_cuda *cuda, const mp_case *c) {
    if (c->path != MP_RUNNER || c->scope != MP_SCOPE_ALL || !has_own_hooks(cuda)) return 0;
    if (mp_case_has_lora(c)) return 0; /* it is not run */
    mp_tensor_set set = 0;
    if (cuda->hooks.after_gate_up) set |= MP_IN_SET(MP_CACHE1_HOOKED);
    if (cuda->hooks.after_down && mp_stage_output(c, MP_DOWN) == MP_CACHE3)
        set |= MP_IN_SET(MP_CACHE3_HOOKED);
    return set;
}

/* The stage behind which the rows of gate_up, or down, are what the next one reads. */
static mp_stage last_of(const mp_case *c, mp_stage stage) {
    return !mp_case_has_lora(c) ? stage : stage == MP_DOWN ? MP_EXPAND_DOWN : MP_EXPAND_GATE_UP;
}

/* What a hook changes in place is a copy where both states are kept; the next stage reads the copy. */
static mp_status keep_state(run *r, const mp_stage_call *call, mp_tensor_id id, mp_error *err) {
    const mp_driver *driver = r->stages.cuda->driver;
    mp_status status = MP_OK;
    const mp_tensor *from = &call->t[id], *to = mp_as_read(call->t, id);
    if (to != from)
        MP_CU(cuMemcpyDtoDAsync_v2(mp_device_address(to), mp_device_address(from), mp_tensor_bytes(from),
                                   NULL));
    MP_CU(cuCtxSynchronize());
out:
    return status;
}

static mp_cuda_hook_view hook_view(const mp_stage_call *call) {
    const mp_tensor *t = call->t;
    const mp_tensor_id down = mp_stage_output(call->c, last_of(call->c, MP_DOWN));
    return (mp_cuda_hook_view){
        .c = call->c,
        .x = mp_device_address(&t[MP_X]),
        .topk_weights = mp_device_address(&t[MP_TOPK_WEIGHTS]),
        .topk_ids = mp_device_address(&t[MP_TOPK_IDS]),
        .cache1 = mp_device_address(mp_as_read(t, MP_CACHE1)),
        .cache2 = mp_device_address(mp_as_read(t, MP_CACHE2)),
        .cache3 = mp_device_address(mp_as_read(t, down)),
    };
}

/* On the runner path every stage is a call of its own that has ended before the next begins, and the hooks
 * run in between. */
static mp_status after_stage(void *self, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    run *r = self;
    const mp_driver *driver = r->stages.cuda->driver;
    const mp_cuda_hooks *hooks = &r->stages.cuda->hooks;
    mp_status status = MP_OK;
    MP_CU(cuEventRecord(r->end[stage], NULL));
    r->recorded[stage] = true;
    if (call->c->path != MP_RUNNER) goto out;
    const bool up = stage == last_of(call->c, MP_GATE_UP) && hooks->after_gate_up,
               down = stage == last_of(call->c, MP_DOWN) && hooks->after_down;
    if (up || down) {
        MP_DO(keep_state(r, call, mp_stage_output(call->c, stage), err));
        const mp_cuda_hook_view view = hook_view(call);
        MP_DO((up ? hooks->after_gate_up : hooks->after_down)(hooks->context, &view, err));
    }
    MP_CU(cuCtxSynchronize());
out:
    return status;
}

/* Keeps the device busy for so long that the launches of a case catch up with it. What takes a stage a few
 * microseconds would be timed with the gap before it otherwise. */
static mp_status give_head_start(mp_cuda *cuda, mp_error *err) {
    enum { HEAD_START_NS = 500000 };
    CUfunction function = NULL;
    const mp_kernel kernel = mp_kernel_tool("pass_time", MP_FP32);
    mp_tool_params params = {.count = HEAD_START_NS};
    const mp_status status = mp_cuda_function(cuda, &kernel, &function, err);
    return status == MP_OK ? mp_cuda_launch(cuda, NULL, function, 1, 1, 0, &params, err) : status;
}

/* Once: runs come one after the other. */
static mp_status create_events(mp_cuda *cuda, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (!cuda->stage_start[s]) MP_CU(cuEventCreate(&cuda->stage_start[s], 0));
        if (!cuda->stage_end[s]) MP_CU(cuEventCreate(&cuda->stage_end[s], 0));
    }
out:
    return status;
}

void mp_run_events_close(mp_cuda *cuda) {
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (cuda->stage_start[s]) cuda->driver->cuEventDestroy_v2(cuda->stage_start[s]);
        if (cuda->stage_end[s]) cuda->driver->cuEventDestroy_v2(cuda->stage_end[s]);
    }
}

/* What cannot be launched at all. */
static mp_status check_case(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], mp_error *err) {
    if (!(mp_case_inputs(c) & MP_IN_SET(MP_SORTED_TOKEN_IDS)) && !mp_case_has_stage(c, MP_ALIGN))
        return MP_OK;
    const int64_t capacity = t[MP_SORTED_TOKEN_IDS].dim[1];
    if (capacity <= INT32_MAX) return MP_OK;
    return mp_fail(err, MP_EUNSUPPORTED,
                   "sorted_token_ids needs %lld positions; num_tokens_post_padded is an int32",
                   (long long)capacity);
}

mp_status mp_cuda_run(mp_cuda *cuda, const mp_case *c, const mp_config *config,
                      const mp_tensor t[MP_TENSOR_COUNT], void *const scratch[MP_CUDA_SCRATCH_COUNT],
                      bool timed, double stage_ns[MP_STAGE_COUNT], mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    run r = {.stages = {.cuda = cuda, .config = config, .scratch = scratch},
             .stage_ns = stage_ns,
             .start = cuda->stage_start,
             .end = cuda->stage_end};
    mp_executor executor = mp_device_executor(&r.stages);
    executor.self = &r;
    executor.before = before_stage;
    executor.after = after_stage;
    MP_DO(check_case(c, t, err));
    if (c->path == MP_RUNNER && mp_case_has_lora(c) && has_own_hooks(cuda))
        return mp_fail(err, MP_EUNSUPPORTED,
                       "path=runner: what hooks would add to LoRA's rows is shown by no tensor: set none, or "
                       "lora_adapters=0");
    MP_CU(cuCtxSetCurrent(cuda->context));
    MP_DO(create_events(cuda, err));
    MP_DO(mp_deliver(cuda, err)); /* which is no part of a stage */
    if (timed && c->path != MP_RUNNER) MP_DO(give_head_start(cuda, err));
    MP_DO(mp_execute(&executor, c, MP_ALIGN, MP_COMBINE, config->up.block_size_m, t, err));
    MP_DO(collect_times(&r, err));
    MP_CU(cuCtxSynchronize());
out:
    return status;
}

bool mp_cuda_can_begin(const mp_case *c) {
    return c->path != MP_RUNNER;
}

mp_status mp_cuda_begin(mp_cuda *cuda, const mp_case *c, const mp_config *config,
                        const mp_tensor t[MP_TENSOR_COUNT], void *const scratch[MP_CUDA_SCRATCH_COUNT],
                        void *stream, mp_error *err) {
    mp_device_run begun = {.cuda = cuda, .config = config, .scratch = scratch, .stream = stream};
    const mp_executor executor = mp_device_executor(&begun);
    if (!mp_cuda_can_begin(c))
        return mp_fail(err, MP_EUNSUPPORTED, "path=runner: the host works between its stages");
    const mp_status status = check_case(c, t, err);
    return status == MP_OK ? mp_execute(&executor, c, MP_ALIGN, MP_COMBINE, config->up.block_size_m, t, err)
                           : status;
}
