/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/surroundings.h"

#include "harness/phases.h"
#include "harness/subjects/buffers.h"

mp_status mp_run_marked(mp_subject *subject, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                        uint32_t poison, mp_left *left, mp_surroundings_report *report, mp_error *err) {
    mp_buffer_sizes sizes = {0};
    *left = (mp_left){0};
    *report = (mp_surroundings_report){0};
    mp_buffer_sizes_add(c, offer, &sizes);
    const mp_phase before = mp_phase_enter(MP_PHASE_UPLOAD);
    mp_status status = mp_buffers_open(subject, &sizes, MP_BUFFERS_ONCE, poison, &left->buffers, err);
    if (status == MP_OK) status = mp_buffers_load(left->buffers, c, offer, in, err);
    if (status == MP_OK) {
        const mp_execution execution = mp_buffers_execution(left->buffers);
        mp_phase_enter(MP_PHASE_RUN);
        status = subject->run(subject, &execution, err);
    }
    mp_phase_enter(MP_PHASE_LOOK);
    if (status == MP_OK) status = mp_buffers_mark(left->buffers, report, &left->trace, err);
    mp_phase_enter(before);
    return status;
}

static void give_back(mp_left *left) {
    if (!left->lent) mp_buffers_close(left->buffers);
    left->buffers = NULL;
}

mp_status mp_left_read(mp_left *left, mp_error *err) {
    const mp_phase before = mp_phase_enter(MP_PHASE_DOWNLOAD);
    const mp_status status = left->buffers ? mp_buffers_fetch(left->buffers, &left->trace, err) : MP_OK;
    mp_phase_enter(before);
    return status;
}

mp_status mp_left_fetch(mp_left *left, mp_error *err) {
    const mp_status status = mp_left_read(left, err);
    give_back(left);
    return status;
}

void mp_left_destroy(mp_left *left) {
    mp_trace_destroy(&left->trace);
    give_back(left);
}

mp_status mp_run_surrounded(mp_subject *subject, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                            uint32_t poison, mp_trace *trace, mp_surroundings_report *report, mp_error *err) {
    mp_left left;
    mp_status status = mp_run_marked(subject, c, offer, in, poison, &left, report, err);
    if (status == MP_OK) status = mp_left_fetch(&left, err);
    *trace = left.trace;
    left.trace = (mp_trace){0};
    mp_left_destroy(&left);
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
