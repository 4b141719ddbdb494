/* Inside kernels/: the device side of one case: its buffers and the launches of its stages. */
#ifndef MP_KERNELS_PIPELINE_H
#define MP_KERNELS_PIPELINE_H

#include "cases/inputs.h"
#include "kernels/handle.h"
#include "cases/trace.h"

typedef enum mp_scratch { MP_ALIGN_COUNTS, MP_ALIGN_OFFSETS, MP_SCRATCH_COUNT } mp_scratch;

typedef struct mp_pipeline {
    mp_cuda *cuda;
    mp_case c;
    mp_config config;
    mp_trace plan;                   /* shapes */
    int64_t chunk_tokens;            /* of a full chunk; M when not chunked */
    int64_t segments, segment_slots; /* of align */
    mp_device_buffer input[MP_INPUT_COUNT], trace[MP_TRACE_COUNT], scratch[MP_SCRATCH_COUNT];
} mp_pipeline;

/* Sizes every buffer; allocates nothing. MP_EUNSUPPORTED when the case needs more than an int32 position can
 * count. */
mp_status mp_pipeline_plan(mp_cuda *cuda, const mp_case *c, const mp_config *config, mp_pipeline *p,
                           mp_error *err);
size_t mp_pipeline_bytes(const mp_pipeline *p); /* device memory, guards included */
/* Allocates the planned buffers, poisoned, between guards. On failure what was allocated is freed by
 * mp_pipeline_free. */
mp_status mp_pipeline_alloc(mp_pipeline *p, uint32_t poison, mp_error *err);
void mp_pipeline_free(mp_pipeline *p);
/* True when the case has this stage: a scope leaves some out, and combine may have nothing left to do. */
bool mp_pipeline_has_stage(const mp_pipeline *p, mp_stage stage);
/* Launches one stage of one chunk. */
mp_status mp_pipeline_stage(mp_pipeline *p, mp_stage stage, int64_t chunk, mp_error *err);
/* What a hook sees. path=runner has one chunk. */
mp_cuda_hook_view mp_pipeline_hook_view(const mp_pipeline *p);
/* The buffer that holds the output: x itself when inplace. */
const mp_device_buffer *mp_pipeline_output(const mp_pipeline *p);

#endif
