/* SPDX-License-Identifier: Apache-2.0 */
/* Activations in float64 that need no function but exp, and how far a subject's may be from them. One source
 * for CPU and GPU, of float64 operations that are rounded one by one, so that both have the same bits
 * (ref/measured.h). What the forms are, and their accuracy, is told in ref/activation.h and activation.c. */
#ifndef MP_REF_ACTIVATED_H
#define MP_REF_ACTIVATED_H

#include "ref/measured.h"

/* ---- exp ---- */

/* 2^e, of a normal number. */
MP_MEASURED double mp_power64(int e) {
    const long long bits = (long long)(e + 1023) << 52;
#ifdef __CUDACC_RTC__
    return __longlong_as_double(bits);
#else
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
#endif
}

/* Within 1 ulp. x = k ln 2 + r, |r| < 0.35: ln 2 is two numbers, the first of 40 bits, so that its product
 * with k and the difference are exact; exp(r) is Taylor's series, whose terms from r^14 on are below 2^-57.
 * Of 1 + (r + p), p < 0.07, the last sum errs by half an ulp, r + p by 2^-55 and p by 2^-56: less than an ulp
 * together. Scaling is exact while the result is normal. */
MP_MEASURED double mp_exp64(double x) {
    const double shift = 0x1.8p52;
    if (x > 709.78271289338397) return 1.0 / 0.0;
    if (x < -745.13321910194122) return 0;
    if (!(x == x)) return x;
    const double k = (x * 0x1.71547652b82fep+0 + shift) - shift, high = x - k * 0x1.62e42fefa2000p-1,
                 low = k * 0x1.9ef35793c7673p-41, r = high - low, rest = (high - r) - low;
    double p = 0x1.6124613a86d09p-33;
    p = p * r + 0x1.1eed8eff8d898p-29;
    p = p * r + 0x1.ae64567f544e4p-26;
    p = p * r + 0x1.27e4fb7789f5cp-22;
    p = p * r + 0x1.71de3a556c734p-19;
    p = p * r + 0x1.a01a01a01a01ap-16;
    p = p * r + 0x1.a01a01a01a01ap-13;
    p = p * r + 0x1.6c16c16c16c17p-10;
    p = p * r + 0x1.1111111111111p-7;
    p = p * r + 0x1.5555555555555p-5;
    p = p * r + 0x1.5555555555555p-3;
    p = p * r + 0.5;
    const double result = 1 + (r + (rest + r * r * p));
    const int e = (int)k, half = e / 2;
    return result * mp_power64(half) * mp_power64(e - half);
}

/* ---- the form ---- */

typedef enum mp_gate_function {
    MP_GATE_SWISH,
    MP_GATE_RELU2,
    MP_GATE_GELU,
    MP_GATE_GELU_TANH
} mp_gate_function;

/* act(gate) * (up + add), with what is clamped on the way. */
typedef struct mp_act_form {
    mp_gate_function function;
    int gated; /* else there is no up */
    int clamps_gate, clamps_result, clamps_up;
    double beta; /* of MP_GATE_SWISH: v / (1 + exp(-beta v)) */
    double limit, add;
} mp_act_form;

/* NaN compares false and passes through. */
MP_MEASURED double mp_at_most64(double v, double limit) {
    return v > limit ? limit : v;
}

MP_MEASURED double mp_up_factor(const mp_act_form *f, double up) {
    if (f->clamps_up) up = up < -f->limit ? -f->limit : mp_at_most64(up, f->limit);
    return f->add == 0 ? up : up + f->add; /* -0 stays what it is */
}

/* What the function is taken of. */
MP_MEASURED double mp_gate_argument(const mp_act_form *f, double gate) {
    return f->clamps_gate ? mp_at_most64(gate, f->limit) : gate;
}

MP_MEASURED double mp_gate_result(const mp_act_form *f, double a) {
    return f->clamps_result ? mp_at_most64(a, f->limit) : a;
}

/* Where exp is about to overflow 1 is lost in it: below this beta v its caller takes v exp(beta v). */
#define MP_SWISH_LOWEST (-700.0)
MP_MEASURED double mp_swish64(double v, double beta) {
    return v / (1 + mp_exp64(-(beta * v)));
}

/* max(v, 0)^2. */
MP_MEASURED double mp_squared_relu64(double v) {
    return v <= 0 ? 0 : v * v;
}

/* ---- the bound ---- */

/* A contract's activation, of a case. */
typedef struct mp_act_rule {
    mp_act_form form;
    double u, eps;       /* unit roundoff of a step; of exp, tanh and erf, relatively */
    double per_argument; /* of exp, in u for each unit of -v */
    double of_tanh;      /* of the exp that a tanh is made of, for each unit of twice its argument */
    double around;       /* of the sum 1 + exp(-v), the quotient, and a product if there is one, in u */
    double vanishes;     /* below this v act(gate) may be 0 */
    double smallest;     /* a result below may be off by as much, */
    double product_smallest, product_flushed; /* and a product; below the latter it is 0 */
    int wide_steps;                           /* of float64 */
    int argument_rounds;                      /* beta v is rounded */
    int roundings;    /* of act(gate) in dtype; 2: that of float64 is rounded as well */
    mp_places places; /* of dtype */
} mp_act_rule;

/* What a subject's act(gate) may differ from the float64 one, for any gate in [low, high] with |act| at most
 * `a`. With u the unit roundoff of a step and eps the relative error of exp, tanh and erf; 2u of the sum and
 * the quotient stand for `around`:
 *
 * silu = v/(1+E), E = exp(-v)(1+eps): the sum inherits at most eps E/(1+E) <= eps and rounds once, the
 * division once: (eps + 2u)|silu|. An error of E in proportion to v hardly counts where v > 0: v E/(1+E) <
 * 0.28. When E overflows float32 (v < -88.7) the quotient is 0 instead of |silu| < 2^-120: then |silu| itself
 * is added. Near that edge quotients are subnormal: half the smallest subnormal, in `smallest`.
 *
 * gelu, gelu_tanh in float32 = (g/2)(1+f), f = erf or tanh, computed as f(1+eps) at an argument with relative
 * error r: f changes by at most max|z f'(z)| r, which is < 0.49 r for erf and < 0.45 r for tanh. erf: z =
 * g*(1/sqrt 2) has r <= 2u (constant and product). tanh: z = s(g + c g^3) has r <= 7u: g*g, *g, c and *c (4u
 * on the cubic part), the sum, s and *s, all terms of one sign. So 1+f has the absolute error eps + 4u
 * (cancellation at negative g keeps it absolute) and one relative rounding, the product two: |g|/2 (eps + 4u)
 * + 3u |gelu|. With steps of float64 they are the forms of activation.c, which do not cancel: (eps +
 * 4u)|gelu|.
 * An exp that tanh is made of, at y = 2z, errs by p|y| u where its error grows with the argument: 1+tanh =
 * 2/(1+exp(-y)) changes by at most max 2|y| e^y/(1+e^y)^2 p u < 0.45 p u.
 *
 * swiglu_oai: alpha*g is rounded, which changes E by |alpha g| u relatively; division, and if written
 * g*sigmoid one more product: (eps + |alpha g| u + 3u)|a|; u+1 is rounded once. The clamps are exact or do
 * not expand an error. relu2: one product.
 *
 * Of the roundings of act(gate) there are two where the float64 value is rounded as well, for near a tie both
 * may go to different sides. The float64 value itself errs by 4u of it, u = 2^-53 (where alpha*g is no
 * float64, |alpha g| u more). */
MP_MEASURED double mp_gate_error(const mp_act_rule *r, double low, double high, double a, int roundings) {
    const double u = r->u, eps = r->eps, widest = mp_larger(fabs(low), fabs(high));
    double error = 0.0 / 0.0, own = 4 * 0x1p-53 * a;
    switch (r->form.function) {
    case MP_GATE_GELU:
    case MP_GATE_GELU_TANH:
        error = r->wide_steps ? (eps + 4 * u) * a : widest / 2 * (eps + 4 * u) + 3 * u * a;
        if (r->form.function == MP_GATE_GELU_TANH) error += widest / 2 * 0.45 * 2 * r->of_tanh * u;
        break;
    case MP_GATE_RELU2: error = u * a; break;
    case MP_GATE_SWISH:
        low = mp_gate_argument(&r->form, low);
        if (r->argument_rounds) {
            const double beta = r->form.beta,
                         argument =
                             mp_larger(fabs(beta * low), beta * fabs(mp_gate_argument(&r->form, high)));
            low = beta * low;
            error = (eps + argument * (1 + r->per_argument) * u + (r->around + 2) * u) * a;
            own += argument * 0x1p-53 * a;
        } else {
            error = (eps + r->per_argument * mp_larger(-low, 0.28) * u + r->around * u) * a;
        }
    }
    if (!r->wide_steps && low < r->vanishes && r->form.function != MP_GATE_RELU2) error += a;
    error += own + 2 * r->smallest;
    if (roundings > 0) error += roundings * mp_half_place(&r->places, a + error);
    return error;
}

/* act(gate), within `error` of at most `a`, times up's factor: the factor (+1) and the product round once in
 * the subject and once in float64. A factor below what is flushed is 0. */
MP_MEASURED double mp_product_error(const mp_act_rule *r, double error, double a, double factor) {
    return error * factor + 2 * (r->u + 0x1p-53) * (a + error) * factor + r->product_smallest +
           (r->product_flushed > 0 ? (a + error) * r->product_flushed : 0);
}

#endif
