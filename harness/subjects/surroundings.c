/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/surroundings.h"

#include "harness/phases.h"
#include "harness/subjects/buffers.h"

mp_status mp_run_surrounded(mp_subject *subject, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                            uint32_t poison, mp_trace *trace, mp_surroundings_report *report, mp_error *err) {
    mp_buffer_sizes sizes = {0};
    mp_buffers *buffers;
    *trace = (mp_trace){0};
    *report = (mp_surroundings_report){0};
    mp_buffer_sizes_add(c, offer, &sizes);
    const mp_phase before = mp_phase_enter(MP_PHASE_UPLOAD);
    mp_status status = mp_buffers_open(subject, &sizes, MP_BUFFERS_ONCE, poison, &buffers, err);
    if (status == MP_OK) status = mp_buffers_load(buffers, c, offer, in, err);
    if (status == MP_OK) {
        const mp_execution execution = mp_buffers_execution(buffers);
        mp_phase_enter(MP_PHASE_RUN);
        status = subject->run(subject, &execution, err);
    }
    mp_phase_enter(MP_PHASE_LOOK);
    if (status == MP_OK) status = mp_buffers_look(buffers, report, err);
    mp_phase_enter(MP_PHASE_DOWNLOAD);
    if (status == MP_OK) status = mp_buffers_collect(buffers, trace, err);
    mp_buffers_close(buffers);
    mp_phase_enter(before);
    return status;
}

size_t mp_surroundings_device_bytes(const mp_subject *subject, const mp_case *c, const mp_offer *offer) {
    mp_buffer_sizes sizes = {0};
    size_t bytes = 0;
    if (!subject->space || subject->space == &mp_host_space) return 0;
    mp_buffer_sizes_add(c, offer, &sizes);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (sizes.tensors & MP_IN_SET(id)) bytes += sizes.tensor[id] + 2 * MP_GUARD_BYTES;
    for (int i = 0; i < MP_WORKSPACES; i++)
        if (sizes.workspace[i]) bytes += sizes.workspace[i] + 2 * MP_GUARD_BYTES;
    return bytes;
}
