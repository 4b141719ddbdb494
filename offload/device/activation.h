/* SPDX-License-Identifier: Apache-2.0 */
/* Activations in float64: what ref/activation.c has, in float64 alone.
 *
 * None of the forms cancels. CUDA's exp is within 1 ulp and its erfc within 5 (CUDA C++ programming guide,
 * "Mathematical functions"), a libm's are no worse. What an argument's rounding does to erfc at z is 2z^2
 * times larger: so the product's own rounding is taken back by the first derivative. exp of twice z in
 * gelu_tanh errs by |2z| times what nine roundings of its argument come to: MP_ACT64_ULPS_PER_ARGUMENT. */
#ifndef MP_OFFLOAD_DEVICE_ACTIVATION_H
#define MP_OFFLOAD_DEVICE_ACTIVATION_H

#include "offload/device/portable.h"

#ifndef __CUDACC_RTC__
#include <math.h>
#endif

/* Of exp, erf and erfc, with the correction beside; and of an exp, for each unit of its argument. */
#define MP_ACT64_ULPS 6
#define MP_ACT64_ULPS_PER_ARGUMENT 5

typedef enum mp_act64_gate {
    MP_ACT64_SWISH,
    MP_ACT64_GELU,
    MP_ACT64_GELU_TANH,
    MP_ACT64_RELU2
} mp_act64_gate;

/* act(gate) * (up + add), with what is clamped on the way. */
typedef struct mp_act64 {
    mp_act64_gate gate;
    double beta; /* of MP_ACT64_SWISH: v / (1 + exp(-beta v)) */
    int gated;   /* else there is no up */
    int clamps_gate, clamps_result, clamps_up;
    double limit, add;
} mp_act64;

/* NaN compares false and passes through. */
MP_DEVICE_INLINE double mp_act64_at_most(double v, double limit) {
    return v > limit ? limit : v;
}

/* Where exp(-z) is about to overflow 1 is lost in it. */
MP_DEVICE_INLINE double mp_act64_swish(double v, double beta) {
    const double z = beta * v;
    return z < -700 ? v * exp(z) : v / (1 + exp(-z));
}

/* z = -v * sqrt(1/2), with what is lost in its rounding beside; erfc' is -2/sqrt(pi) exp(-z^2). */
MP_DEVICE_INLINE double mp_act64_gelu(double v) {
    const double root = 0x1.6a09e667f3bcdp-1, root_rest = -0x1.bdd3413b26456p-55,
                 two_over_root_pi = 0x1.20dd750429b6dp0;
    if (!(v < 0)) return v * 0.5 * (1 + erf(v * root));
    const double z = -v * root, rest = fma(-v, root, -z) - v * root_rest;
    return v * 0.5 * (erfc(z) - two_over_root_pi * exp(-z * z) * rest);
}

MP_DEVICE_INLINE double mp_act64_gelu_tanh(double v) {
    const double twice_root_2_pi = 0x1.9884533d43651p0,
                 twice_z = twice_root_2_pi * (v + 0.044715 * (v * v * v));
    return v / (1 + exp(-twice_z));
}

MP_DEVICE_INLINE double mp_act64_of_gate(const mp_act64 *act, double v) {
    switch (act->gate) {
    case MP_ACT64_GELU: return mp_act64_gelu(v);
    case MP_ACT64_GELU_TANH: return mp_act64_gelu_tanh(v);
    case MP_ACT64_RELU2: return v <= 0 ? 0 : v * v;
    default: return mp_act64_swish(v, act->beta);
    }
}

/* up is not read where there is none. */
MP_DEVICE_INLINE double mp_act64_at(const mp_act64 *act, double gate, double up) {
    double a = mp_act64_of_gate(act, act->clamps_gate ? mp_act64_at_most(gate, act->limit) : gate);
    if (act->clamps_result) a = mp_act64_at_most(a, act->limit);
    if (!act->gated) return a;
    if (act->clamps_up) up = up < -act->limit ? -act->limit : mp_act64_at_most(up, act->limit);
    return a * (up + act->add);
}

#endif
