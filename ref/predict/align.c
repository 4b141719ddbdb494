/* SPDX-License-Identifier: Apache-2.0 */
/* Align is the definition: integers. */
#include "ref/predict/predict.h"

const char *mp_unpredictable_align(const mp_contract *contract, const mp_case *c) {
    (void)c;
    return contract->stable_align ? NULL : "the order of slots is not fixed";
}

mp_status mp_predict_stage_align(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self;
    return mp_ref_align(call->c, call->block_size_m, call->t, err);
}
