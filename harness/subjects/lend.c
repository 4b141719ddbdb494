/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/lend.h"

#include "harness/subjects/buffers_inside.h"
#include "kernels/cuda.h"

void mp_lend_inputs(const mp_subject *subject, const mp_case *c, const mp_inputs *in, mp_offload *o) {
    if (!o || !mp_cuda_is_space(subject->space) || !mp_copies_serve(subject->copies, subject->space)) return;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = &in->t[id];
        const uint64_t content = mp_inputs_sealed(in, (mp_tensor_id)id);
        if (!content) continue;
        const mp_copy_key key = mp_copy_key_of(c, (mp_tensor_id)id, t, content);
        const mp_copy *copy = key.place.packed ? mp_copies_find(subject->copies, &key) : NULL;
        if (copy) mp_offload_lend(o, t, (const char *)copy->data + key.place.first);
    }
}

void mp_lend_outputs(const mp_subject *subject, const mp_left *left, const mp_trace *trace, mp_offload *o) {
    const mp_buffers *b = left->buffers;
    if (!o || !b || !mp_cuda_is_ours_alone(subject->space)) return; /* others may write behind their "done" */
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if ((b->left & b->offer.exposes & MP_IN_SET(id)) && b->place[id].packed && trace->t[id].data)
            mp_offload_lend(o, &trace->t[id], b->t[id].data);
}
