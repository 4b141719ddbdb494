/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/kept_weights.h"

#include "cases/case_tools.h"
#include "cases/deferred.h"
#include "cases/graph_tables.h"

void mp_kept_free(mp_kept_weights *kept) {
    mp_inputs_destroy(&kept->in);
    kept->there = false;
}

size_t mp_kept_for(mp_kept_weights *kept, const mp_case *c) {
    size_t bytes = 0;
    if (!kept || !kept->there) return 0;
    if (!mp_case_same_weights(&kept->c, c)) mp_kept_free(kept);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (kept->in.t[id].data && !kept->in.t[id].maker) bytes += mp_tensor_bytes(&kept->in.t[id]);
    return bytes;
}

mp_status mp_kept_inputs(mp_kept_weights *kept, const mp_case *c, bool deferring, mp_inputs *in,
                         mp_error *err) {
    mp_kept_for(kept, c);
    if (kept && kept->there)
        return mp_inputs_create_beside(c, &kept->in, deferring ? MP_DEFER_FROM_BYTES : SIZE_MAX, in, err);
    return deferring ? mp_inputs_create_deferring(c, MP_DEFER_FROM_BYTES, in, err)
                     : mp_inputs_create(c, in, err);
}

void mp_kept_take(mp_kept_weights *kept, const mp_case *c, bool unchanged, mp_inputs *in) {
    if (!kept) return;
    if (!unchanged || !mp_case_same_weights(c, c)) {
        if (kept->there) mp_inputs_destroy(in); /* it borrows from them */
        mp_kept_free(kept);
        return;
    }
    if (kept->there) return;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (mp_tensors[id].rows != MP_ROWS_WHOLE || !in->t[id].data || in->borrowed[id]) continue;
        kept->in.t[id] = in->t[id];
        kept->in.digest[id] = in->digest[id];
        kept->in.sealed[id] = in->sealed[id];
        in->borrowed[id] = true;
    }
    kept->c = *c;
    kept->there = true;
}
