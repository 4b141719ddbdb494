/* SPDX-License-Identifier: Apache-2.0 */
/* Activations of gates and ups that are known within radii: the arithmetic of mp_activation_propagate and
 * mp_activation_interval_bound (ref/activation.h). One source for CPU and GPU, as ref/measured.h. */
#ifndef MP_REF_ACTIVATED_BALL_H
#define MP_REF_ACTIVATED_BALL_H

#include "ref/activated.h"
#include "ref/ball.h"

/* A gate, and what the case's activation is there, which contracts have in common: act(gate) before a result
 * is clamped, of the gate as it is clamped, and its slope. */
typedef struct mp_act_point {
    double gate, value, slope;
} mp_act_point;

MP_MEASURED double mp_smaller64(double a, double b) {
    return a < b ? a : b;
}

/* A function around a point x: for every x* within the radius, |f(x*) - value - slope (x* - x)| <= rest and
 * |f(x*) - value| <= reach. */
typedef struct mp_around {
    double value, slope, rest, reach;
} mp_around;
MP_MEASURED mp_around mp_around_of(double value, double slope, double rest, double reach) {
    const mp_around f = {value, slope, rest, reach};
    return f;
}

/* Taylor: rest <= max|f''| r^2/2, reach <= |slope| r + rest. Of a large radius the steepest slope that f has
 * anywhere says more: reach <= max|f'| r, rest <= reach + |slope| r. */
MP_MEASURED mp_around mp_smooth(double value, double slope, double steepest, double curvature,
                                double radius) {
    const double line = fabs(slope) * radius, quadratic = curvature / 2 * radius * radius;
    const double reach = mp_smaller64(line + quadratic, steepest * radius);
    return mp_around_of(value, slope, mp_smaller64(quadratic, line + reach), reach);
}

/* What becomes of f where a clamp makes a constant of it, `distance` away from its value; flat: the value is
 * on the constant side. What reaches over the bend is off the line by as much. */
MP_MEASURED mp_around mp_bent(mp_around f, double value, double distance, int flat) {
    const double over = mp_larger(0, f.reach - distance);
    return flat ? mp_around_of(value, 0, over, over) : mp_around_of(value, f.slope, f.rest + over, f.reach);
}

MP_MEASURED mp_around mp_cut_off(mp_around f, double limit) {
    return mp_bent(f, mp_at_most64(f.value, limit), fabs(f.value - limit), f.value > limit);
}

/* v s(z) with z = beta v, not below MP_SWISH_LOWEST; and s(z) + v s'(z) beta = s (1 + z (1-s)). */
MP_MEASURED mp_act_point mp_swish_point(double v, double beta) {
    const double z = beta * v, e = mp_exp64(-z), s = 1 / (1 + e), rest = e / (1 + e);
    const mp_act_point at = {v, v / (1 + e), s * (1 + z * rest)};
    return at;
}

/* Below it s is exp(z). */
MP_MEASURED double mp_swish_tail_slope(double z) {
    return exp(z) * (1 + z);
}

MP_MEASURED mp_act_point mp_relu2_point(double v) {
    const mp_act_point at = {v, mp_squared_relu64(v), v <= 0 ? 0 : 2 * v};
    return at;
}

/* act(gate) * factor(up). */
MP_MEASURED double mp_act_point_product(const mp_act_form *f, const mp_act_point *at, double up) {
    const double a = mp_gate_result(f, at->value);
    return f->gated ? a * mp_up_factor(f, up) : a;
}

/* Of v s(v), s the logistic function, f'' is s(1-s)(2 + v(1-2s)): at most 1/2 (at 0), and (2+|v|) exp(-|v|),
 * which falls with |v|. beta v in place of v: f(beta v)/beta. */
MP_MEASURED double mp_swish_curvature(double v, double beta, double radius) {
    const double nearest = beta * mp_larger(0, fabs(v) - radius);
    return beta * mp_smaller64(0.5, (2 + nearest) * mp_exp64(-nearest));
}

#define MP_NORMAL_DENSITY 0x1.9884533d43651p-2 /* phi(0) = 1/sqrt(2 pi) */
/* gelu_tanh = v s(z), z = b (v + c v^3) with b = 2 sqrt(2/pi). */
#define MP_GELU_TANH_B 0x1.9884533d43651p+0
#define MP_GELU_TANH_C 0.044715

/* f'' = phi (2 - v^2): its magnitude falls from 2 phi(0) to 0 at sqrt 2, rises to 0.10799 at 2, and falls for
 * ever. */
MP_MEASURED double mp_gelu_curvature(double v, double radius) {
    const double density = MP_NORMAL_DENSITY, nearest = mp_larger(0, fabs(v) - radius),
                 square = nearest * nearest, there = density * exp(-square / 2) * (2 - square);
    return nearest < 2 ? mp_larger(there, 0.108) : -there;
}

/* f'' = s' (2 z' + v z'^2 (1-2s) + v z''): with s' <= exp(-z) its magnitude is at most exp(-z) q, q = 2 z' +
 * v z'^2 + v z'' at |v|, and that falls with |v|: q' < z' q, term by term, because z' >= b > 1.5 and z'' =
 * 6 b c |v|. Near 0 it is at most b/2 < 0.8, by search over all v. */
MP_MEASURED double mp_gelu_tanh_curvature(double v, double radius) {
    const double b = MP_GELU_TANH_B, c = MP_GELU_TANH_C, nearest = mp_larger(0, fabs(v) - radius);
    const double z = b * (nearest + c * nearest * nearest * nearest),
                 first = b * (1 + 3 * c * nearest * nearest), second = 6 * b * c * nearest;
    const double q = 2 * first + nearest * first * first + nearest * second;
    return mp_smaller64(0.8, exp(-z) * q);
}

/* Around a point. The steepest slopes: of swish f' lies between -0.0999 and 1.0999; of gelu it is at most
 * 1.129 (at sqrt 2) and at least 1 less, of gelu_tanh between -0.13 and 1.13. max(v,0)^2 has f'' = 2 where
 * v > 0. */
MP_MEASURED mp_around mp_gate_around(const mp_act_form *form, const mp_act_point *at, double radius) {
    mp_around in = mp_around_of(at->gate, 1, 0, radius),
              f = mp_around_of(0.0 / 0.0, 0, 0, 0); /* of no function */
    if (form->clamps_gate) in = mp_cut_off(in, form->limit);
    const double v = in.value, highest = mp_larger(0, v + radius);
    switch (form->function) {
    case MP_GATE_SWISH:
        f = mp_smooth(at->value, at->slope, 1.1, mp_swish_curvature(v, form->beta, in.reach), in.reach);
        break;
    case MP_GATE_GELU: f = mp_smooth(at->value, at->slope, 1.13, mp_gelu_curvature(v, radius), radius); break;
    case MP_GATE_GELU_TANH:
        f = mp_smooth(at->value, at->slope, 1.13, mp_gelu_tanh_curvature(v, radius), radius);
        break;
    case MP_GATE_RELU2: f = mp_smooth(at->value, at->slope, 2 * highest, highest > 0 ? 2 : 0, radius); break;
    }
    /* f(in(g*)) = f + f' (in' (g* - g) + rest of in) + rest of f */
    if (form->clamps_gate)
        f = mp_around_of(f.value, f.slope * in.slope, f.rest + fabs(f.slope) * in.rest, f.reach);
    return form->clamps_result ? mp_cut_off(f, form->limit) : f;
}

MP_MEASURED mp_around mp_factor_around(const mp_act_form *form, double u, double radius) {
    const mp_around up = mp_around_of(u, 1, 0, radius);
    if (!form->gated) return mp_around_of(1, 0, 0, 0);
    if (!form->clamps_up) return up;
    return mp_bent(up, mp_up_factor(form, u), fabs(fabs(u) - form->limit), fabs(u) > form->limit);
}

/* The subject's own error anywhere in both intervals: of the roundings of act(gate) float64 makes none. */
MP_MEASURED double mp_worst_evaluation(const mp_act_rule *r, double gate, double radius, mp_around a,
                                       mp_around f) {
    const double largest = fabs(a.value) + a.reach;
    const double error = mp_gate_error(r, gate - radius, gate + radius, largest, r->roundings > 0);
    return r->form.gated ? mp_product_error(r, error, largest, fabs(f.value) + f.reach) : error;
}

#define MP_OWN_ROUNDINGS (1 + 0x1p-39) /* of these sums of a few dozen terms themselves */

/* Bound of |subject - mp_activate(c, gate, up, NULL)| where the subject's gate and up lie within the radii:
 * everything is taken for deterministic. Infinite where something is not finite. */
MP_MEASURED double mp_activation_interval_bound(const mp_act_rule *rule, const mp_act_point *at,
                                                double gate_radius, double up, double up_radius) {
    const mp_act_form *form = &rule->form;
    if (!form->gated) up = up_radius = 0;
    if (!mp_is_finite(at->gate) || !mp_is_finite(up) || !mp_is_finite(gate_radius + up_radius))
        return mp_infinity64();
    const mp_around a = mp_gate_around(form, at, gate_radius), f = mp_factor_around(form, up, up_radius);
    const double bound = a.reach * fabs(f.value) + fabs(a.value) * f.reach + a.reach * f.reach +
                         mp_worst_evaluation(rule, at->gate, gate_radius, a, f);
    return mp_is_finite(a.value * f.value) && mp_is_finite(bound) ? bound * MP_OWN_ROUNDINGS
                                                                  : mp_infinity64();
}

/* What clamps that make their upper limit of a NaN take in its place: infinity has the same limit, before exp
 * and behind it. */
MP_MEASURED double mp_clamped_nan(double v) {
    return v != v ? mp_infinity64() : v;
}

/* What a contract says of NaN in gate and up: clamps keep them, or make their limit of them, or either. */
typedef enum mp_nan_clamping {
    MP_NAN_KEPT_BY_CLAMPS,
    MP_NAN_CLAMPED,
    MP_NAN_CLAMPED_OR_KEPT
} mp_nan_clamping;

/* Puts in place of gate and up what becomes of a NaN. True where a NaN would be right as well. */
MP_MEASURED int mp_clamp_nans(mp_nan_clamping how, double *gate, double *up) {
    if (how == MP_NAN_KEPT_BY_CLAMPS || (*gate == *gate && *up == *up)) return 0;
    *gate = mp_clamped_nan(*gate);
    *up = mp_clamped_nan(*up);
    return how == MP_NAN_CLAMPED_OR_KEPT;
}

/* The activation of balls, beside a second contract: `at` is of the gate's value, and `or_nan` what
 * mp_clamp_nans says of both. */
MP_MEASURED mp_ball mp_activated_ball(const mp_act_rule *rule, const mp_act_rule *beside,
                                      const mp_act_point *at, mp_ball gate, mp_ball up, int or_nan) {
    mp_ball ball = {mp_act_point_product(&rule->form, at, up.value), mp_infinity64(), 0, 0};
    if (!or_nan) ball.sure = mp_activation_interval_bound(rule, at, gate.sure, up.value, up.sure);
    ball.det = mp_activation_interval_bound(beside, at, gate.det, up.value, up.det);
    return ball;
}

#endif
