/* SPDX-License-Identifier: Apache-2.0 */
/* All activations in float64: those of ref/activated.h, and for the others what ref/activation.c has in long
 * double, in float64 alone.
 *
 * None of the forms cancels. CUDA's exp is within 1 ulp and its erfc within 5 (CUDA C++ programming guide,
 * "Mathematical functions"), a libm's are no worse. What an argument's rounding does to erfc at z is 2z^2
 * times larger: so the product's own rounding is taken back by the first derivative. exp of twice z in
 * gelu_tanh errs by |2z| times what nine roundings of its argument come to: MP_ACT64_ULPS_PER_ARGUMENT. */
#ifndef MP_OFFLOAD_DEVICE_ACTIVATION_H
#define MP_OFFLOAD_DEVICE_ACTIVATION_H

#include "offload/device/portable.h"
#include "ref/activated_ball.h"

/* Of exp, erf and erfc, with the correction beside; and of an exp, for each unit of its argument. */
#define MP_ACT64_ULPS 6
#define MP_ACT64_ULPS_PER_ARGUMENT 5

/* Where exp is about to overflow 1 is lost in it. */
MP_DEVICE_INLINE double mp_act64_swish(double v, double beta) {
    const double z = beta * v;
    return z < MP_SWISH_LOWEST ? v * mp_exp64(z) : mp_swish64(v, beta);
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

/* up is not read where there is none. */
MP_DEVICE_INLINE double mp_act64_at(const mp_act_form *form, double gate, double up) {
    const double v = mp_gate_argument(form, gate);
    double a = 0.0 / 0.0; /* of a function that is not here: no number is within any bound of it */
    switch (form->function) {
    case MP_GATE_GELU: a = mp_act64_gelu(v); break;
    case MP_GATE_GELU_TANH: a = mp_act64_gelu_tanh(v); break;
    case MP_GATE_RELU2: a = mp_squared_relu64(v); break;
    case MP_GATE_SWISH: a = mp_act64_swish(v, form->beta); break;
    }
    a = mp_gate_result(form, a);
    return form->gated ? a * mp_up_factor(form, up) : a;
}

/* mp_activation_at, of the forms without erf and tanh: of others no number, and no bound of it. */
MP_DEVICE_INLINE mp_act_point mp_act64_point(const mp_act_form *form, double gate) {
    const double v = mp_gate_argument(form, gate);
    mp_act_point at = {gate, 0.0 / 0.0, 0.0 / 0.0};
    if (form->function == MP_GATE_RELU2) at = mp_relu2_point(v);
    if (form->function == MP_GATE_SWISH) {
        const double z = form->beta * v;
        at = mp_swish_point(v, form->beta);
        if (z < MP_SWISH_LOWEST) {
            at.value = v * mp_exp64(z);
            at.slope = mp_swish_tail_slope(z);
        }
    }
    at.gate = gate;
    return at;
}

#endif
