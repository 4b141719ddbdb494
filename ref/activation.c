/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/activation.h"

#include "base/threads.h"
#include "ref/bounds.h"
#include "ref/pipeline.h"
#include "ref/predict/cuda_math.h"
#include "ref/predict/special_unit_tanh.h"

#include <math.h>

#define ROOT_2_PI 0.797884560802865355879892119868763737L /* sqrt(2/pi) */
#define ROOT_1_2 0.707106781186547524400844362104849039L

/* The float64 truth. None of these forms cancels, so each is within 4u of the exact value, u = 2^-53,
 * relatively. The last rounding, to float64, is in each count.
 *
 * swish: exp is within 1 ulp (2u), the sum and the quotient round once. Where exp(-beta v) is about to
 * overflow, 1 is lost in it: v exp(beta v), which long double does not flush. beta*v must be exact: alpha has
 * 24 bits, a gate of a tensor has no more.
 *
 * gelu: below 0 1+erf(z) = erfc(-z). With a 64-bit significand the argument errs by 2^-63 relatively, which
 * erfc makes 2z^2 times larger: 2^-52.4 where the result leaves the range of float64 (z = -27). Above, erf
 * (within 1 ulp, its argument within 2u, of which less than 0.49 counts) is at most half of the sum: u +
 * 0.6u, and u each for the sum and the product.
 *
 * gelu_tanh: (1+tanh(z))/2 = 1/(1+exp(-2z)). 2z takes seven roundings to 64 bits, and exp(-2z) errs by |2z|
 * times that: 2^-51.6 where the result leaves the range of float64. */
static double swish(double v, double beta) {
    return beta * v < MP_SWISH_LOWEST ? (double)(v * expl(beta * v)) : mp_swish64(v, beta);
}

static double gelu(double v) {
    return v < 0 ? (double)(v * 0.5L * erfcl(-v * ROOT_1_2)) : v * 0.5 * (1 + erf(v * (double)ROOT_1_2));
}

static double gelu_tanh(double v) {
    const long double g = v, twice_z = 2 * ROOT_2_PI * (g + 0.044715L * (g * g * g));
    return (double)(g / (1 + expl(-twice_z)));
}

mp_act_form mp_act_form_of(const mp_case *c) {
    mp_act_form f = {
        .function = MP_GATE_SWISH, .beta = 1, .gated = c->gated, .limit = (double)(float)c->limit};
    switch (c->act) {
    case MP_SILU: break;
    case MP_GELU: f.function = MP_GATE_GELU; break;
    case MP_GELU_TANH: f.function = MP_GATE_GELU_TANH; break;
    case MP_RELU2: f.function = MP_GATE_RELU2; break;
    case MP_SWIGLU_OAI:
        f.beta = (double)(float)c->alpha;
        f.clamps_gate = f.clamps_up = 1;
        f.add = 1;
        break;
    case MP_SILU_CLAMP: f.clamps_result = f.clamps_up = 1; break;
    case MP_CLAMP_SILU: f.clamps_gate = f.clamps_up = 1; break;
    case MP_ACTIVATION_COUNT: break;
    }
    return f;
}

/* act(gate), the factor before the multiply by up. */
static double activated_gate(const mp_act_form *f, double gate) {
    const double v = mp_gate_argument(f, gate);
    double a = NAN;
    switch (f->function) {
    case MP_GATE_SWISH: a = swish(v, f->beta); break;
    case MP_GATE_RELU2: a = mp_squared_relu64(v); break;
    case MP_GATE_GELU: a = gelu(v); break;
    case MP_GATE_GELU_TANH: a = gelu_tanh(v); break;
    }
    return mp_gate_result(f, a);
}

/* The product, of act(gate) before its rounding. */
static double product(const mp_act_form *f, double a, double up, const mp_dtype *gate_dtype) {
    if (gate_dtype) a = mp_round_to(*gate_dtype, a);
    return f->gated ? a * mp_up_factor(f, up) : a;
}

double mp_activate(const mp_case *c, double gate, double up, const mp_dtype *gate_dtype) {
    const mp_act_form f = mp_act_form_of(c);
    return product(&f, activated_gate(&f, gate), up, gate_dtype);
}

_Static_assert(MP_ACT_ROUNDING_COUNT == 3, "another rounding of act(gate) adds an error of its own");

/* The errors of a contract's float32 functions, and of the operations around exp; u = 2^-24.
 *
 * Of exp by the special-function unit, exp(-v) = ex2(v * -log2(e)): the product's constant is off by 0.22u
 * and the product rounds once, which changes the power by |v| times as much, at most 1.25 |v| u; ex2 itself
 * is within MP_EX2_ULPS. An approximate quotient inherits 2 MP_RCP_ULPS u from the reciprocal, whose ulp is
 * at most 2u of it, and rounds once. What a function is known to do counts if act_ulps says less.
 *
 * A sigmoid is a quotient of 1, and times v rounds once more. A reciprocal of more than 2^126 is flushed, or
 * rounded as a subnormal: then the quotient vanishes from v = -87.33 on. --use_fast_math flushes every other
 * operand and result below 2^-126 too. */
typedef struct float32_functions {
    double ulps;         /* of exp, tanh or erf, in ulps of the result */
    double per_argument; /* of exp, in u for each unit of -v: at least twice act_ulps_per_argument */
    double around;       /* of the sum 1 + exp(-v), the quotient, and a product if there is one, in u */
    double vanishes;     /* below this v silu may be 0 */
    double smallest;     /* a result below may be off by as much */
} float32_functions;

#define FLUSHED 0x1p-126 /* what is below it, with .ftz */
/* tanh.approx.f32 of any architecture: 2^-11 of the result (PTX ISA), in ulps. */
#define TANH_APPROX_ULPS 4096
/* Of tanh(x) as 2s - 1, s = 1/(1+E), in units of 2u where it is 1: E errs by (4 + 1.25 |2x|) u of it, of
 * which s(1-s) counts, at most 1/4, and 0.224 of |2x|; the sum and the quotient by 3.95u of s, and 2s - 1
 * rounds once: 2 (1 + 0.28) u + 7.9u + u < 12u. */
#define TANH_BY_SIGMOID_ULPS 6

static float32_functions known_functions(const mp_contract *contract, mp_activation act) {
    const double quotient = 2 * MP_RCP_ULPS + 1, tiny = contract->float64_steps ? 0x1p-1074 : 0x1p-149;
    const double given = contract->act_ulps,
                 library = act == MP_GELU        ? MP_CUDA_ERFF_ULPS
                           : act == MP_GELU_TANH ? MP_CUDA_TANHF_ULPS
                                                 : MP_CUDA_EXPF_ULPS,
                 unit = act == MP_GELU || act == MP_GELU_TANH ? library : MP_EX2_ULPS;
    switch (contract->act_function) {
    case MP_ACT_CUDA_MATH: return (float32_functions){fmax(given, library), 0, 2, -88, tiny};
    case MP_ACT_CUDA_INTRINSICS: return (float32_functions){fmax(given, unit), 1.25, 2, -88, tiny};
    case MP_ACT_CUDA_FAST_MATH:
        return (float32_functions){fmax(given, act == MP_GELU_TANH ? MP_TANH_APPROX_ULPS : unit), 1.25,
                                   1 + quotient, -87.3, FLUSHED};
    case MP_ACT_SPECIAL_UNIT: /* one that nobody named: as loose as those that are known */
        return (float32_functions){fmax(given, act == MP_GELU_TANH ? TANH_APPROX_ULPS : given), 0,
                                   1 + quotient + 1, -87.3, FLUSHED};
    case MP_ACT_CUDA_SIGMOID: return (float32_functions){fmax(given, library), 0, 3, -87.3, tiny};
    case MP_ACT_CUDA_PRODUCT: return (float32_functions){fmax(given, library), 0, 2, -88, tiny};
    case MP_ACT_TORCH_COMPILE:
        if (act != MP_SWIGLU_OAI)
            return (float32_functions){fmax(given, library), 0, 1 + quotient, -88, tiny};
        /* fall through */
    case MP_ACT_TRITON:
    case MP_ACT_TRITON_QUOTIENT:
        return (float32_functions){fmax(given, act == MP_GELU_TANH ? TANH_BY_SIGMOID_ULPS : unit), 1.25,
                                   1 + quotient + 1, -87.3, tiny};
    case MP_ACT_IEEE:
    case MP_ACT_LIBRARY:
    case MP_ACT_FUNCTION_COUNT: break;
    }
    return (float32_functions){given, 0, 2, -88, tiny};
}

static float32_functions functions_of(const mp_contract *contract, mp_activation act) {
    float32_functions f = known_functions(contract, act);
    f.per_argument = fmax(f.per_argument, 2 * contract->act_ulps_per_argument);
    return f;
}

mp_act_rule mp_act_rule_of(const mp_case *c, const mp_contract *contract) {
    const float32_functions f = functions_of(contract, c->act), of_product = functions_of(contract, MP_SILU);
    const double u = mp_step_roundoff(contract);
    return (mp_act_rule){.form = mp_act_form_of(c),
                         .u = u,
                         .eps = 2 * f.ulps * u,
                         .per_argument = f.per_argument,
                         .of_tanh = contract->act_ulps_per_argument,
                         .around = f.around,
                         .vanishes = f.vanishes,
                         .smallest = f.smallest,
                         .product_smallest = of_product.smallest,
                         .product_flushed = of_product.smallest == FLUSHED ? FLUSHED : 0,
                         .wide_steps = contract->float64_steps,
                         .argument_rounds = c->act == MP_SWIGLU_OAI,
                         .roundings = contract->act_rounding == MP_ACT_ONE_ROUNDING   ? 0
                                      : contract->act_rounding == MP_ACT_ANY_ROUNDING ? 1
                                                                                      : 2,
                         .places = mp_places_of(c->dtype)};
}

mp_nan_clamping mp_nan_clamping_of(const mp_case *c, const mp_contract *contract) {
    if (!mp_act_clamps(c->act) || contract->act_clamp_nan == MP_CLAMP_NAN_KEPT) return MP_NAN_KEPT_BY_CLAMPS;
    return contract->act_clamp_nan == MP_CLAMP_NAN_ANY ? MP_NAN_CLAMPED_OR_KEPT : MP_NAN_CLAMPED;
}

double mp_activate_within(const mp_act_rule *r, double gate, double up, const mp_dtype *gate_dtype,
                          double *bound) {
    const double act = activated_gate(&r->form, gate), a = fabs(act),
                 error = mp_gate_error(r, gate, gate, a, r->roundings);
    *bound = r->form.gated ? mp_product_error(r, error, a, fabs(mp_up_factor(&r->form, up))) : error;
    return product(&r->form, act, up, gate_dtype);
}

double mp_activation_bound(const mp_case *c, const mp_contract *contract, double gate, double up) {
    const mp_act_rule rule = mp_act_rule_of(c, contract);
    double bound;
    mp_activate_within(&rule, gate, up, NULL, &bound);
    return bound;
}

bool mp_activation_may_vanish(const mp_case *c, const mp_contract *contract, double gate) {
    const mp_act_rule rule = mp_act_rule_of(c, contract);
    const double a = fabs(activated_gate(&rule.form, gate));
    return a <= mp_gate_error(&rule, gate, gate, a, rule.roundings);
}

/* ---- uncertain inputs ---- */

static inline mp_act_point swish_at(double v, double beta) {
    if (beta * v < MP_SWISH_LOWEST)
        return (mp_act_point){.value = swish(v, beta), .slope = mp_swish_tail_slope(beta * v)};
    return mp_swish_point(v, beta);
}

/* f' = Phi + v phi. */
static mp_act_point gelu_at(double v) {
    return (mp_act_point){.value = gelu(v),
                          .slope = erfc(-v * M_SQRT1_2) / 2 + v * MP_NORMAL_DENSITY * exp(-v * v / 2)};
}

/* f = v s(z), z = b (v + c v^3) with b = 2 sqrt(2/pi). f' = s + v s' z' with s' = s(1-s). */
static mp_act_point gelu_tanh_at(double v) {
    const double z = MP_GELU_TANH_B * (v + MP_GELU_TANH_C * v * v * v),
                 first = MP_GELU_TANH_B * (1 + 3 * MP_GELU_TANH_C * v * v), e = exp(-fabs(z)),
                 s = (z < 0 ? e : 1) / (1 + e), rest = (z < 0 ? 1 : e) / (1 + e);
    return (mp_act_point){.value = gelu_tanh(v), .slope = s * (1 + v * first * rest)};
}

mp_act_point mp_activation_at(const mp_act_rule *rule, double gate) {
    const mp_act_form *f = &rule->form;
    const double v = mp_gate_argument(f, gate);
    mp_act_point at = {.value = NAN, .slope = NAN};
    switch (f->function) {
    case MP_GATE_SWISH: at = swish_at(v, f->beta); break;
    case MP_GATE_GELU: at = gelu_at(v); break;
    case MP_GATE_GELU_TANH: at = gelu_tanh_at(v); break;
    case MP_GATE_RELU2: at = mp_relu2_point(v); break;
    }
    at.gate = gate;
    return at;
}

/* With a = act(gate), f the factor of up, and d, e what the true gate and up deviate by:
 *
 *   act(gate + d) * factor(up + e) - a f = a' f d + a f' e + (rest of a) f + a (rest of f)
 *                                          + product of both changes
 *
 * The first two terms are linear. Of them `sure` takes the deterministic parts of d and e, `random` the
 * others, in quadrature: gate and up are sums over different columns of w1, so their roundings are
 * independent. */
void mp_activation_propagate(const mp_act_rule *rule, const mp_act_point *at, double gate_sure,
                             double gate_random, double up, double up_sure, double up_random,
                             mp_activation_span *result) {
    const mp_act_form *form = &rule->form;
    if (!form->gated) up = up_sure = up_random = 0;
    const double gate_radius = gate_sure + gate_random, up_radius = up_sure + up_random;
    *result = (mp_activation_span){mp_act_point_product(form, at, up), INFINITY, 0};
    if (!isfinite(at->gate) || !isfinite(up) || !isfinite(gate_radius + up_radius)) return;
    const mp_around a = mp_gate_around(form, at, gate_radius), f = mp_factor_around(form, up, up_radius);
    const double by_gate = fabs(a.slope * f.value), by_up = fabs(a.value * f.slope);
    const double sure = by_gate * gate_sure + by_up * up_sure + a.rest * fabs(f.value) +
                        fabs(a.value) * f.rest + a.reach * f.reach +
                        mp_worst_evaluation(rule, at->gate, gate_radius, a, f);
    const double random = hypot(by_gate * gate_random, by_up * up_random);
    if (!isfinite(result->value) || !isfinite(sure + random)) return;
    result->sure = sure * MP_OWN_ROUNDINGS;
    result->random = random * MP_OWN_ROUNDINGS;
}

void mp_activation_stage(const mp_case *c, const int32_t *topk_ids, const int64_t *row, int64_t slots,
                         mp_act_rounding rounding, const mp_tensor *cache1, const mp_tensor *cache2) {
    const int64_t width = mp_tensor_row_length(cache1);
    const mp_dtype *gate_dtype = rounding == MP_ACT_GATE_ROUNDED ? &cache2->dtype : NULL;
    mp_tensor_make_rows(cache1, row, slots);
#pragma omp parallel for schedule(static) if (mp_worth_threads(slots, 20 * c->N))
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

mp_status mp_ref_stage_act(void *self, const mp_stage_call *call, mp_error *err) {
    (void)self, (void)err;
    mp_activation_stage(call->c, call->t[MP_TOPK_IDS].data, call->map->cache_row, mp_case_slots(call->c),
                        MP_ACT_ONE_ROUNDING, mp_as_read(call->t, MP_CACHE1), &call->t[MP_CACHE2]);
    return MP_OK;
}
