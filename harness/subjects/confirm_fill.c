/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/confirm_fill.h"

#include "cases/deferred.h"
#include "harness/subjects/copies.h"
#include "kernels/cuda.h"

mp_status mp_confirm_fill(const mp_subject *subject, const mp_case *c, const mp_inputs *in, mp_error *err) {
    if (!mp_cuda_fills(subject->space) || !mp_copies_serve(subject->copies, subject->space)) return MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = &in->t[id];
        if (!mp_deferred_numbers(t)) continue;
        const mp_copy_key key =
            mp_copy_key_of(c, (mp_tensor_id)id, t, mp_inputs_sealed(in, (mp_tensor_id)id));
        if (!key.place.packed || key.place.first > 0) continue; /* the host has made it */
        const mp_copy *copy = mp_copies_find(subject->copies, &key);
        if (!copy) continue;
        mp_tensor_make(t, NULL);
        const uint64_t expected = mp_space_row_digest(t->data, mp_tensor_bytes(t));
        if (copy->digest != expected)
            return mp_fail(err, MP_EDEVICE,
                           "the device was to make %s of the case and made others: digest %016llx, expected "
                           "%016llx",
                           mp_tensor_name((mp_tensor_id)id), (unsigned long long)copy->digest,
                           (unsigned long long)expected);
        const mp_status status = mp_deferred_confirm_largest(t, err);
        if (status != MP_OK) return status;
    }
    return MP_OK;
}
