/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of inputs share beside ref_support.h: numbers and ids of a case. */
#ifndef MP_TESTS_INPUTS_SUPPORT_H
#define MP_TESTS_INPUTS_SUPPORT_H

#include "tests/ref_support.h"

static inline double value(const fixture *f, mp_tensor_id which, int64_t index) {
    return mp_decode(f->in.t[which].dtype, f->in.t[which].data, index);
}

static inline const int32_t *ids_of(const fixture *f) {
    return f->in.t[MP_TOPK_IDS].data;
}

#endif
