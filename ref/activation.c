#include "ref/activation.h"

#include "ref/bounds.h"

#include <math.h>

/* Written so that NaN compares false and passes through. */
static double at_most(double v, double limit) {
    return v > limit ? limit : v;
}

static double clamp(double v, double limit) {
    return v > limit ? limit : v < -limit ? -limit : v;
}

static double silu(double v) {
    return v / (1 + exp(-v));
}

static double gelu(double v) {
    return v * 0.5 * (1 + erf(v * M_SQRT1_2));
}

static double gelu_tanh(double v) {
    return v * 0.5 * (1 + tanh(sqrt(M_2_PI) * (v + 0.044715 * v * v * v)));
}

/* act(gate), the factor before the multiply by up. */
static double activated_gate(const mp_case *c, double g) {
    const double limit = (double)(float)c->limit, alpha = (double)(float)c->alpha;
    switch (c->act) {
    case MP_SILU: return silu(g);
    case MP_GELU: return gelu(g);
    case MP_GELU_TANH: return gelu_tanh(g);
    case MP_RELU2: return g <= 0 ? 0 : g * g; /* NaN stays NaN */
    case MP_SWIGLU_OAI: g = at_most(g, limit); return g / (1 + exp(-alpha * g));
    case MP_SILU_CLAMP: return at_most(silu(g), limit);
    case MP_CLAMP_SILU: return silu(at_most(g, limit));
    case MP_ACTIVATION_COUNT: break;
    }
    return NAN;
}

static double up_factor(const mp_case *c, double u) {
    const double limit = (double)(float)c->limit;
    switch (c->act) {
    case MP_SWIGLU_OAI: return clamp(u, limit) + 1;
    case MP_SILU_CLAMP:
    case MP_CLAMP_SILU: return clamp(u, limit);
    default: return u;
    }
}

double mp_activate(const mp_case *c, double gate, double up, const mp_dtype *gate_dtype) {
    double a = activated_gate(c, gate);
    if (gate_dtype) a = mp_round_to(*gate_dtype, a);
    return c->gated ? a * up_factor(c, up) : a;
}

/* With u the unit roundoff of a step and eps the relative error of exp, tanh and erf (act_ulps units in the
 * last place):
 *
 * silu = v/(1+E), E = exp(-v)(1+eps): the sum inherits at most eps E/(1+E) <= eps and rounds once, the
 * division once: (eps + 2u)|silu|. When E overflows float32 (v < -88.7) the quotient is 0 instead of |silu| <
 * 2^-120: then |silu| itself is added. Near that edge quotients are subnormal: half the smallest subnormal,
 * in `tiny`.
 *
 * gelu, gelu_tanh = (g/2)(1+f), f = erf or tanh, computed as f(1+eps) at an argument with relative error r: f
 * changes by at most max|z f'(z)| r, which is < 0.49 r for erf and < 0.45 r for tanh. erf: z = g*(1/sqrt 2)
 * has r <= 2u (constant and product). tanh: z = s(g + c g^3) has r <= 7u: g*g, *g, c and *c (4u on the cubic
 * part), the sum, s and *s, all terms of one sign. So 1+f has the absolute error eps + 4u (cancellation at
 * negative g keeps it absolute) and one relative rounding, the product two: |g|/2 (eps + 4u) + 3u |gelu|.
 *
 * swiglu_oai: alpha*g is rounded, which changes E by |alpha g| u relatively; division, and if written
 * g*sigmoid one more product: (eps + |alpha g| u + 3u)|a|; u+1 is rounded once. The clamps are exact or do
 * not expand an error. relu2: one product.
 *
 * The multiply by up adds u; MP_ACT_GATE_ROUNDED a whole ulp of act(gate) in dtype:
 * subject and reference both round it, and near a tie to different sides. Products that underflow: tiny. */
static double gate_bound(const mp_case *c, const mp_contract *contract, double gate, double a) {
    const double u = mp_step_roundoff(contract), eps = 2 * contract->act_ulps * u;
    const double tiny = contract->float64_steps ? 0x1p-1074 : 0x1p-149;
    double g = gate, error;
    switch (c->act) {
    case MP_GELU:
    case MP_GELU_TANH: error = fabs(g) / 2 * (eps + 4 * u) + 3 * u * fabs(a); break;
    case MP_RELU2: error = u * fabs(a); break;
    case MP_SWIGLU_OAI:
        g = (double)(float)c->alpha * at_most(g, (double)(float)c->limit);
        error = (eps + fabs(g) * u + 4 * u) * fabs(a);
        break;
    case MP_CLAMP_SILU: g = at_most(g, (double)(float)c->limit); /* fall through */
    default: error = (eps + 2 * u) * fabs(a); break;
    }
    if (!contract->float64_steps && g < -88 && c->act != MP_RELU2) error += fabs(a);
    error += 2 * tiny;
    if (contract->act_rounding == MP_ACT_GATE_ROUNDED) error += 2 * mp_half_ulp(c->dtype, fabs(a) + error);
    return error;
}

double mp_activation_bound(const mp_case *c, const mp_contract *contract, double gate, double up) {
    const double a = activated_gate(c, gate), error = gate_bound(c, contract, gate, a);
    if (!c->gated) return error;
    const double u = mp_step_roundoff(contract), factor = fabs(up_factor(c, up));
    return error * factor + 2 * u * (fabs(a) + error) * factor +
           (contract->float64_steps ? 0x1p-1074 : 0x1p-149);
}

bool mp_activation_may_vanish(const mp_case *c, const mp_contract *contract, double gate) {
    const double a = activated_gate(c, gate);
    return fabs(a) <= gate_bound(c, contract, gate, a);
}

void mp_activation_stage(const mp_case *c, const int32_t *topk_ids, const int64_t *row, int64_t slots,
                         mp_act_rounding rounding, const mp_tensor *cache1, const mp_tensor *cache2) {
    const int64_t width = mp_tensor_row_length(cache1);
    const mp_dtype *gate_dtype = rounding == MP_ACT_GATE_ROUNDED ? &cache2->dtype : NULL;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < slots; t++) {
        if (topk_ids[t] < 0 || row[t] < 0) continue;
        for (int64_t n = 0; n < c->N; n++) {
            const double g = mp_decode(cache1->dtype, cache1->data, row[t] * width + mp_gate_column(c, n));
            const double u =
                c->gated ? mp_decode(cache1->dtype, cache1->data, row[t] * width + mp_up_column(c, n)) : 1;
            mp_encode(cache2->dtype, cache2->data, row[t] * c->N + n, mp_activate(c, g, u, gate_dtype));
        }
    }
}

double mp_activation_interval_bound(const mp_case *c, const mp_contract *contract, double gate,
                                    double gate_radius, double up, double up_radius) {
    const double slope = c->act == MP_RELU2 ? 2 * (fabs(gate) + gate_radius) : 1.15;
    const double a = fabs(activated_gate(c, gate)), factor = c->gated ? fabs(up_factor(c, up)) : 1;
    const double moved = slope * gate_radius * (factor + up_radius) + a * up_radius;
    return moved + 2 * mp_activation_bound(c, contract, gate, up) + 0x1p-18 * moved;
}

void mp_activation_propagate(const mp_case *c, const mp_contract *contract, double gate, double gate_sure,
                             double gate_random, double up, double up_sure, double up_random,
                             mp_activation_span *result) {
    result->value = mp_activate(c, gate, up, NULL);
    result->sure =
        mp_activation_interval_bound(c, contract, gate, gate_sure + gate_random, up, up_sure + up_random);
    result->random = 0;
}
