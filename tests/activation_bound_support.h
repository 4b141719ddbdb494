/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the activation's bound share: whether a float32 lies in it. */
#ifndef MP_TESTS_ACTIVATION_BOUND_SUPPORT_H
#define MP_TESTS_ACTIVATION_BOUND_SUPPORT_H

#include "tests/activation_support.h"

#include <float.h>

/* What an element should be, and how far from it a float32 may lie. */
typedef struct range {
    double expected, bound;
} range;

static inline range range_of(const mp_case *c, const mp_contract *contract, float g, float u) {
    const mp_dtype *rounded = contract->act_rounding == MP_ACT_GATE_ROUNDED ? &c->dtype : NULL;
    return (range){mp_activate(c, (double)g, (double)u, rounded),
                   mp_activation_bound(c, contract, (double)g, (double)u)};
}

/* A subject overflows where float32 does. */
static inline bool lies_in(range r, float got) {
    if (isinf(got))
        return got > 0 ? r.expected + r.bound > (double)FLT_MAX : r.expected - r.bound < -(double)FLT_MAX;
    return fabs((double)got - r.expected) <= r.bound;
}

static inline bool inside(const mp_case *c, const mp_contract *contract, float got, float g, float u) {
    return lies_in(range_of(c, contract, g, u), got);
}

#endif
