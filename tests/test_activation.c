/* SPDX-License-Identifier: Apache-2.0 */
/* ref/activation.c: the float64 activation against other forms of its formulas in long double, and its bound
 * from both sides: every faithful float32 implementation stays inside, worse or mistaken ones do not. */
#include "ref/activation.h"
#include "ref/predict/activation_cuda.h"
#include "ref/predict/activation_f32.h"
#include "ref/predict/special_unit_tables.h"
#include "tests/activation_support.h"

#include <float.h>

static const struct {
    mp_activation act;
    bool gated;
    int worse; /* units in the last place beyond a faithful exp, tanh or erf that the bound must notice; 0:
                  there is no such function */
} kinds[] = {
    {MP_SILU, true, 3},       {MP_SILU, false, 3},      {MP_GELU, true, 8},
    {MP_GELU, false, 8},      {MP_GELU_TANH, true, 8},  {MP_RELU2, false, 0},
    {MP_SWIGLU_OAI, true, 8}, {MP_SILU_CLAMP, true, 3}, {MP_CLAMP_SILU, true, 3},
};

static const float ups[] = {1, -0.75f, 3.140625f, 7.5f, -9, 0, 0x1p-100f, 0x1.8p100f};

static float bf16_gate(uint32_t code) {
    return (float)mp_decode_code(MP_BF16, code);
}

/* ---- the truth ---- */

static void float64_matches_long_double(void **unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        for (uint32_t code = 0; code < 65536; code++) {
            const double g = (double)bf16_gate(code);
            if (!isfinite(g)) continue;
            for (size_t j = 0; j < COUNT(ups); j += c.gated ? 1 : COUNT(ups)) {
                const double u = (double)ups[j], got = mp_activate(&c, g, u, NULL);
                const double bound = mp_activation_bound(&c, &float64_contract, g, u);
                if (!(fabsl((long double)got - truth(&c, g, u)) <= (long double)bound))
                    fail_msg("%s gated=%d (%a, %a): %.17g, expected %.17Lg +- %.3g",
                             mp_activation_name(c.act), c.gated, g, u, got, truth(&c, g, u), bound);
            }
        }
    }
}

/* exp and erfc of their own, in 113 bits, of which exp loses a few: nothing of libm is in them. */
typedef __float128 quad;

static quad exp_q(quad x) {
    const quad ln2 = 0.693147180559945309417232121458176568075500134360255Q;
    if (x < -11000 || x > 11000) return x < 0 ? 0 : (quad)LDBL_MAX;
    const int whole = (int)(x / ln2);
    const quad r = (x - (quad)whole * ln2) / 16; /* below 0.0434: of the series 17 terms count */
    quad sum = 1, term = 1;
    for (int n = 1; n < 18; n++) sum += term *= r / (quad)n;
    for (int i = 0; i < 4; i++) sum *= sum;
    return sum * (quad)ldexpl(1, whole);
}

/* 1 - erf by the series of positive terms, where that loses nothing that counts; else the continued
 * fraction, from its end. */
static quad erfc_q(quad x) {
    const quad root_pi = 1.772453850905516027298167483341145182797549456122387Q, square = x * x;
    if (x > 110) return 0;
    if (x < 2) {
        quad sum = 1, term = 1;
        for (int n = 1; n < 400 && term > 1e-40Q * sum; n++) sum += term *= 2 * square / (quad)(2 * n + 1);
        return x < -9 ? 2 : 1 - 2 / root_pi * x * exp_q(-square) * sum;
    }
    quad fraction = 1;
    for (int n = 20 + (int)(900 / (double)square); n > 0; n--)
        fraction = 1 + (quad)n / (2 * square) / fraction;
    return exp_q(-square) / (x * root_pi * fraction);
}

static quad swish_q(quad v, quad beta) {
    return v / (1 + exp_q(-beta * v));
}

static quad exact_gate(const mp_case *c, double gate) {
    const quad L = (quad)(float)c->limit, alpha = (quad)(float)c->alpha, g = gate, low = g < L ? g : L;
    const quad root_2 = 1.414213562373095048801688724209698078569671875376948Q,
               root_8_pi = 1.595769121605730711759784239737527474003770890664573Q; /* 2 sqrt(2/pi) */
    switch (c->act) {
    case MP_SILU: return swish_q(g, 1);
    case MP_GELU: return g / 2 * erfc_q(-g / root_2);
    case MP_GELU_TANH: return g / (1 + exp_q(-root_8_pi * (g + 0.044715Q * g * g * g)));
    case MP_RELU2: return g > 0 ? g * g : 0;
    case MP_SWIGLU_OAI: return swish_q(low, alpha);
    case MP_SILU_CLAMP: return swish_q(g, 1) < L ? swish_q(g, 1) : L;
    case MP_CLAMP_SILU: return swish_q(low, 1);
    case MP_ACTIVATION_COUNT: break;
    }
    return 0;
}

/* Every gate of 16 bits, also the far negative ones, of which 1+erf and 1+tanh leave nothing: within 4u of
 * the exact value, or of the smallest subnormal. */
static void float64_is_right_to_a_few_ulps(void **unused) {
    (void)unused;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        if (!c.gated && c.act != MP_RELU2) continue;          /* the same gates again */
        const double factor = c.act == MP_SWIGLU_OAI ? 2 : 1; /* up + 1 */
        double worst = 0;
        for (size_t d = 0; d < COUNT(dtypes); d++)
#pragma omp parallel for schedule(dynamic, 256) reduction(max : worst)
            for (uint32_t code = 0; code < 65536; code++) {
                const double g = mp_decode_code(dtypes[d], code);
                if (!isfinite(g)) continue;
                const quad exact = exact_gate(&c, g) * (quad)factor, got = mp_activate(&c, g, 1, NULL);
                const double magnitude = (double)(exact < 0 ? -exact : exact),
                             error = (double)(got < exact ? exact - got : got - exact);
                const double units = error / (0x1p-53 * magnitude + 0x1p-1074);
                if (units > worst) worst = units;
            }
        print_message("%s gated=%d: %.2f u\n", mp_activation_name(c.act), c.gated, worst);
        assert_true(worst <= 4);
    }
}

static void parameters_and_gate_rounding_are_used(void **unused) {
    (void)unused;
    mp_case c = activation_case(MP_SWIGLU_OAI, true);
    c.alpha = 2.5;
    c.limit = 0.3; /* becomes the fp32 value */
    for (int i = -40; i <= 40; i++) {
        const double g = i * 0.125, u = i * -0.0625;
        assert_true(fabsl((long double)mp_activate(&c, g, u, NULL) - truth(&c, g, u)) <= 0x1p-48L);
    }
    const mp_dtype bf16 = MP_BF16;
    c = activation_case(MP_SILU, true);
    assert_true(mp_activate(&c, 1.5, 3, &bf16) == mp_round_to(MP_BF16, mp_activate(&c, 1.5, 1, NULL)) * 3);
    assert_true(mp_activate(&c, 1.5, 3, &bf16) != mp_activate(&c, 1.5, 3, NULL));
}

/* ---- the bound from inside ---- */

/* What an element should be, and how far from it a float32 may lie. */
typedef struct range {
    double expected, bound;
} range;

static range range_of(const mp_case *c, const mp_contract *contract, float g, float u) {
    const mp_dtype *rounded = contract->act_rounding == MP_ACT_GATE_ROUNDED ? &c->dtype : NULL;
    return (range){mp_activate(c, (double)g, (double)u, rounded),
                   mp_activation_bound(c, contract, (double)g, (double)u)};
}

/* A subject overflows where float32 does. */
static bool lies_in(range r, float got) {
    if (isinf(got))
        return got > 0 ? r.expected + r.bound > (double)FLT_MAX : r.expected - r.bound < -(double)FLT_MAX;
    return fabs((double)got - r.expected) <= r.bound;
}

static bool inside(const mp_case *c, const mp_contract *contract, float got, float g, float u) {
    return lies_in(range_of(c, contract, g, u), got);
}

/* The worst rounding that counts as within one ulp: of the two float32 neighbours of the exact value the
 * farther one, moved on by `extra`. */
static float farther(double exact, int extra) {
    float v = (float)exact;
    if (isinf(v)) return v;
    const float toward = (double)v > exact ? -INFINITY : INFINITY;
    for (int i = 0; i <= extra; i++) v = nextafterf(v, toward);
    return v;
}

/* Every formula as the derivation allows it, with exp, tanh and erf as bad as that; swiglu_oai as
 * g*sigmoid. */
static float sloppy(const mp_case *c, float g, float u, int extra) {
    const float L = (float)c->limit, alpha = (float)c->alpha;
    const float low = g < L ? g : L, between = u > L ? L : u < -L ? -L : u;
    float a;
    switch (c->act) {
    case MP_SILU: return g / (1 + farther(exp(-(double)g), extra)) * u;
    case MP_GELU: return 0.5f * g * (1 + farther(erf((double)(g * 0.70710678f)), extra)) * u;
    case MP_GELU_TANH:
        return 0.5f * g * (1 + farther(tanh((double)(0.79788456f * (g + 0.044715f * g * g * g))), extra)) * u;
    case MP_RELU2: return g > 0 ? g * g * u : 0;
    case MP_SWIGLU_OAI: return low * (1 / (1 + farther(exp(-(double)(alpha * low)), extra))) * (between + 1);
    case MP_SILU_CLAMP: a = g / (1 + farther(exp(-(double)g), extra)); return (a < L ? a : L) * between;
    case MP_CLAMP_SILU: return low / (1 + farther(exp(-(double)low), extra)) * between;
    case MP_ACTIVATION_COUNT: break;
    }
    return NAN;
}

static void check_inside(const mp_case *c, const char *what, range r, float got, float g, float u) {
    if (!lies_in(r, got))
        fail_msg("%s of %s gated=%d (%a, %a): %.9g, expected %.9g +- %.3g", what, mp_activation_name(c->act),
                 c->gated, (double)g, (double)u, (double)got, r.expected, r.bound);
}

static void check_faithful(const mp_case *c, float g, float u) {
    const range r = range_of(c, &float32_contract, g, u);
    check_inside(c, "mp_activate_f32", r,
                 mp_activate_f32((int)c->act, c->gated, g, u, (float)c->alpha, (float)c->limit), g, u);
    check_inside(c, "the worst faithful float32", r, sloppy(c, g, c->gated ? u : 1, 0), g, u);
}

static void faithful_float32_stays_inside(void **unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        for (uint32_t code = 0; code < 65536; code++) {
            const float g = bf16_gate(code);
            if (!isfinite(g)) continue;
            for (size_t j = 0; j < COUNT(ups); j += c.gated ? 1 : COUNT(ups)) check_faithful(&c, g, ups[j]);
        }
    }
}

/* Gates and ups that are not bf16: fp32 inputs, more of them near the edges of exp's range. */
static void faithful_float32_stays_inside_for_fp32_inputs(void **unused) {
    (void)unused;
    rng r = {6};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        for (int n = 0; n < 200000; n++) {
            const float g = (float)(n % 2 ? 12 * random_unit(&r) : 110 * random_unit(&r)),
                        u = c.gated ? (float)(10 * random_unit(&r)) : 1;
            check_faithful(&c, g, u);
        }
    }
}

/* An element as a published kernel computes it, rounded nowhere. */
static float device_element(const mp_special_unit *on, mp_act_function function, const mp_case *c, float g,
                            float u) {
    const float L = (float)c->limit, alpha = (float)c->alpha, factor = mp_up_f32((int)c->act, u, L),
                taken = c->act == MP_SWIGLU_OAI || c->act == MP_CLAMP_SILU ? mp_at_most(g, L) : g;
    if (c->act != MP_SILU_CLAMP) return mp_activation_cuda_gated(on, function, c->act, taken, alpha, factor);
    return mp_activation_cuda_times(
        function, mp_at_most(mp_activation_cuda(on, function, c->act, taken, alpha), L), factor);
}

/* Published kernels on a device, every gate of 16 bits and many of 32, with their functions' known errors and
 * no act.ulps that would forgive more. How near they come to the bound is printed: it says something. */
static void device_functions_stay_inside(void **unused) {
    (void)unused;
    static const mp_act_function functions[] = {
        MP_ACT_CUDA_MATH,       MP_ACT_CUDA_INTRINSICS, MP_ACT_CUDA_FAST_MATH, MP_ACT_TRITON,
        MP_ACT_TRITON_QUOTIENT, MP_ACT_CUDA_SIGMOID,    MP_ACT_CUDA_PRODUCT,   MP_ACT_TORCH_COMPILE};
    const mp_special_unit *unit;
    mp_error err;
    assert_int_equal(mp_special_unit_sm90(&unit, &err), MP_OK);
    mp_contract contract[COUNT(functions)], library = float32_contract; /* exp as good as the library's */
    library.act_function = MP_ACT_LIBRARY;
    library.act_ulps = 2;
    for (size_t f = 0; f < COUNT(functions); f++) {
        contract[f] = float32_contract;
        contract[f].act_function = functions[f];
        contract[f].act_ulps = 0;
    }
    for (mp_activation act = MP_SILU; act < MP_ACTIVATION_COUNT; act++) {
        const mp_case c = activation_case(act, true);
        double nearest[COUNT(functions)] = {0}, over[COUNT(functions)] = {0};
        rng r = {16};
        if (act == MP_RELU2) continue;
        for (uint32_t n = 0; n < 200000; n++) {
            const float wide = (float)(110 * random_unit(&r)), near = (float)(12 * random_unit(&r));
            const float g = n < 65536    ? bf16_gate(n)
                            : n < 131072 ? (float)mp_decode_code(MP_FP16, n - 65536)
                            : n < 165000 ? wide
                                         : near;
            const float u = n % 3 ? 1 : ups[n % COUNT(ups)];
            if (!isfinite(g)) continue;
            const range of_library = range_of(&c, &library, g, u);
            /* a product that is made first overflows where the result would not: Inf/Inf */
            const bool overflows = !isfinite(g * mp_up_f32((int)act, u, (float)c.limit));
            for (size_t f = 0; f < COUNT(functions); f++) {
                if (mp_activation_cuda_unknown(functions[f], act) ||
                    (functions[f] == MP_ACT_CUDA_PRODUCT && overflows))
                    continue;
                const float got = device_element(unit, functions[f], &c, g, u);
                const range own = {of_library.expected,
                                   mp_activation_bound(&c, &contract[f], (double)g, (double)u)};
                if (!lies_in(own, got))
                    fail_msg("function %d of %s (%a, %a): %.9g, expected %.9g +- %.3g", (int)functions[f],
                             mp_activation_name(act), (double)g, (double)u, (double)got, own.expected,
                             own.bound);
                if (!isfinite(got) || fabsf(g) > 87) continue;
                const double error = fabs((double)got - own.expected);
                nearest[f] = fmax(nearest[f], error / own.bound);
                over[f] = fmax(over[f], error / of_library.bound);
            }
        }
        for (size_t f = 0; f < COUNT(functions); f++) {
            if (mp_activation_cuda_unknown(functions[f], act)) continue;
            print_message("function %d of %s: at most %.2f of the bound, %.1f of the library's\n",
                          (int)functions[f], mp_activation_name(act), nearest[f], over[f]);
            assert_true(nearest[f] > 0.2);
            if (act == MP_SILU && functions[f] < MP_ACT_CUDA_SIGMOID)
                assert_true((over[f] > 1) == (functions[f] != MP_ACT_CUDA_MATH));
        }
    }
}

/* ---- the bound from outside ---- */

typedef float (*implementation)(const mp_case *c, float g, float u, int extra);

static int64_t count_outside(const mp_case *c, const mp_contract *contract, implementation f, int extra) {
    int64_t outside = 0;
    for (uint32_t code = 0; code < 65536; code++) {
        const float g = bf16_gate(code), u = c->gated ? 0.75f : 1;
        if (isfinite(g)) outside += !inside(c, contract, f(c, g, u, extra), g, u);
    }
    return outside;
}

static float other_gelu(const mp_case *c, float g, float u, int extra) {
    (void)extra;
    mp_case other = *c;
    other.act = c->act == MP_GELU ? MP_GELU_TANH : MP_GELU;
    return sloppy(&other, g, u, 0);
}

static float clamp_order_swapped(const mp_case *c, float g, float u, int extra) {
    (void)extra;
    mp_case other = *c;
    other.act = c->act == MP_SILU_CLAMP ? MP_CLAMP_SILU : MP_SILU_CLAMP;
    return sloppy(&other, g, u, 0);
}

static float gate_and_up_swapped(const mp_case *c, float g, float u, int extra) {
    (void)extra;
    return sloppy(c, u, g, 0);
}

static float gate_rounded(const mp_case *c, float g, float u, int extra) {
    mp_case alone = *c;
    alone.gated = false;
    return (float)mp_round_to(c->dtype, (double)sloppy(&alone, g, 1, extra)) * u;
}

static void worse_implementations_are_outside(void **unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        if (kinds[i].worse && count_outside(&c, &float32_contract, sloppy, kinds[i].worse) == 0)
            fail_msg("%s gated=%d: %d ulp worse is not noticed", mp_activation_name(c.act), c.gated,
                     kinds[i].worse);
        if (c.gated) assert_true(count_outside(&c, &float32_contract, gate_and_up_swapped, 0) > 1000);
        if (c.act == MP_GELU || c.act == MP_GELU_TANH)
            assert_true(count_outside(&c, &float32_contract, other_gelu, 0) > 1000);
        if (c.act == MP_SILU_CLAMP || c.act == MP_CLAMP_SILU)
            assert_true(count_outside(&c, &float32_contract, clamp_order_swapped, 0) > 100);
    }
}

/* The gate rounded to bf16 before the multiply belongs to its own contract and to no other. */
static void gate_rounding_is_a_contract_of_its_own(void **unused) {
    (void)unused;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16};
    mp_contract rounded = float32_contract;
    rounded.act_rounding = MP_ACT_GATE_ROUNDED;
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        for (mp_activation act = MP_SILU; act <= MP_GELU; act++) {
            mp_case c = activation_case(act, true);
            c.dtype = dtypes[d];
            for (uint32_t code = 0; code < 65536; code++) {
                const float g = (float)mp_decode_code(c.dtype, code);
                if (isfinite(g) && fabsf(g) < 60000 &&
                    !inside(&c, &rounded, gate_rounded(&c, g, 0.75f, 0), g, 0.75f))
                    fail_msg("%s %s gate rounded: %a is outside", mp_dtype_name(c.dtype),
                             mp_activation_name(act), (double)g);
            }
            assert_true(count_outside(&c, &float32_contract, gate_rounded, 0) > 1000);
        }
    }
}

/* Twice the gate's rounding: towards zero. */
static float gate_cut(const mp_case *c, float g, float u, int extra) {
    mp_case alone = *c;
    (void)extra;
    alone.gated = false;
    float a = sloppy(&alone, g, 1, 0);
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits &= c->dtype == MP_BF16 ? 0xFFFF0000u : 0xFFFFE000u;
    memcpy(&a, &bits, sizeof a);
    return a * u;
}

/* What .ftz and tanh.approx make of an element is inside, whether the function is named or not. */
static void flushed_factors_and_an_approximate_tanh_are_inside(void **unused) {
    (void)unused;
    static const mp_act_function functions[] = {MP_ACT_CUDA_FAST_MATH, MP_ACT_SPECIAL_UNIT};
    static const double inside_to[] = {-16.5, -11.5}; /* of tanh; four times as much is outside */
    for (size_t i = 0; i < COUNT(functions); i++) {
        mp_contract contract = float32_contract;
        contract.act_function = functions[i];
        contract.act_ulps = i ? 108 : 0;
        const mp_case silu = activation_case(MP_SILU, true), tanh_gelu = activation_case(MP_GELU_TANH, true);
        assert_true(inside(&silu, &contract, 0, 1000, 0x1p-127f)); /* a subnormal up is 0 */
        assert_true(inside(&silu, &contract, 0, -87.5f, 1));       /* its reciprocal is 0 */
        assert_false(inside(&silu, &contract, 0, 1000, 0x1p-110f));
        assert_false(inside(&silu, &contract, 0, -80, 1));
        const double z = sqrt(2 / acos(-1)) * (-1.5 + 0.044715 * -3.375), t = tanh(z);
        const double less = exp2(inside_to[i]), more = 4 * less;
        assert_true(inside(&tanh_gelu, &contract, (float)(-0.75 * (1 + t * (1 + less))), -1.5f, 1));
        assert_false(inside(&tanh_gelu, &contract, (float)(-0.75 * (1 + t * (1 + more))), -1.5f, 1));
    }
}

/* exp errs by `share` of what it may, at every argument; tanh is made of it. The rest is exact. */
static double errs_with_its_argument(const mp_case *c, double g, double ulps_per_argument, double share) {
    const double alpha = c->act == MP_SWIGLU_OAI ? (double)(float)c->alpha : 1,
                 limit = (double)(float)c->limit,
                 v = (c->act == MP_SWIGLU_OAI || c->act == MP_CLAMP_SILU) && g > limit ? limit : g,
                 y = c->act == MP_GELU_TANH ? 2 * sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g) : alpha * v,
                 e = exp(-y) * (1 + share * ulps_per_argument * 0x1p-23 * fabs(y));
    return v / (1 + e);
}

/* The bound grows with the argument as the error does: all of it is inside, near the edge somewhere, and 1.5
 * times as much is outside. */
static void an_error_in_proportion_to_the_argument_is_bounded(void **unused) {
    (void)unused;
    static const mp_activation acts[] = {MP_SILU, MP_SWIGLU_OAI, MP_CLAMP_SILU, MP_GELU_TANH};
    const double ulps = 40;
    for (size_t i = 0; i < COUNT(acts); i++) {
        const mp_case c = activation_case(acts[i], true);
        mp_contract contract = float32_contract;
        contract.act_ulps_per_argument = ulps;
        const double up = acts[i] == MP_SWIGLU_OAI ? 2 : 1;
        double worst = 0;
        int64_t outside = 0;
        for (double g = -20; g <= 20; g += 0.0625) {
            const double bound = mp_activation_bound(&c, &contract, g, 1),
                         exact = mp_activate(&c, g, 1, NULL);
            for (int sign = -1; sign <= 1; sign += 2) {
                const double error = fabs(up * errs_with_its_argument(&c, g, ulps, sign) - exact);
                if (!(error <= bound))
                    fail_msg("%s: %g at %g", mp_activation_name(acts[i]), error / bound, g);
                worst = fmax(worst, error / bound);
                outside += fabs(up * errs_with_its_argument(&c, g, ulps, 1.5 * sign) - exact) > bound;
            }
        }
        if (!(worst > 0.8 && outside > 3))
            fail_msg("%s: %g of the bound, %lld outside", mp_activation_name(acts[i]), worst,
                     (long long)outside);
    }
}

/* Who does not say whether it rounds the gate may do either, but not cut it. */
static void any_rounding_is_both(void **unused) {
    (void)unused;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16};
    mp_contract any = float32_contract;
    any.act_rounding = MP_ACT_ANY_ROUNDING;
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (mp_activation act = MP_SILU; act <= MP_GELU; act++) {
            mp_case c = activation_case(act, true);
            c.dtype = dtypes[d];
            int64_t cut = 0;
            for (uint32_t code = 0; code < 65536; code++) {
                const float g = (float)mp_decode_code(c.dtype, code);
                if (!isfinite(g)) continue;
                if (!inside(&c, &any, gate_rounded(&c, g, 0.75f, 0), g, 0.75f) ||
                    !inside(&c, &any, sloppy(&c, g, 0.75f, 0), g, 0.75f))
                    fail_msg("%s %s: %a is outside", mp_dtype_name(c.dtype), mp_activation_name(act),
                             (double)g);
                cut += !inside(&c, &any, gate_cut(&c, g, 0.75f, 0), g, 0.75f);
            }
            assert_true(cut > 1000);
        }
}

/* ---- Inf and NaN ---- */

static void nan_is_never_lost(void **unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        assert_true(isnan(mp_activate(&c, NAN, 1, NULL)) && isnan(mp_activate(&c, -NAN, 0, NULL)));
        assert_int_equal(isnan(mp_activate(&c, 1, NAN, NULL)), c.gated); /* up is not read without a gate */
    }
}

/* Where a float32 evaluation differs in kind (NaN, Inf, finite) from the reference, float32 overflows or the
 * activated gate may vanish. */
static void special_values_have_one_meaning(void **unused) {
    (void)unused;
    static const float special_ups[] = {0, -0.0f, 1, -1, INFINITY, -INFINITY, NAN, 0x1p127f};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const mp_case c = activation_case(kinds[i].act, kinds[i].gated);
        for (uint32_t code = 0; code < 65536; code++) {
            const float g = bf16_gate(code);
            for (size_t j = 0; j < COUNT(special_ups); j++) {
                const float u = special_ups[j],
                            got = mp_activate_f32((int)c.act, c.gated, g, u, (float)c.alpha, (float)c.limit);
                const double expected = mp_activate(&c, (double)g, (double)u, NULL);
                const bool same = isnan(got)   ? isnan(expected)
                                  : isinf(got) ? (double)got == expected
                                               : isfinite(expected);
                const bool overflows =
                    isfinite(g) && isinf(got) && fabs(expected) > (double)FLT_MAX * (1 - 0x1p-20);
                if (!same && !overflows && !mp_activation_may_vanish(&c, &float32_contract, (double)g))
                    fail_msg("%s gated=%d (%g, %g): float32 %g, float64 %g", mp_activation_name(c.act),
                             c.gated, (double)g, (double)u, (double)got, expected);
            }
        }
    }
    const mp_case silu = activation_case(MP_SILU, true);
    assert_true(mp_activation_may_vanish(&silu, &float32_contract, -100) &&
                mp_activation_may_vanish(&silu, &float32_contract, 0));
    assert_false(mp_activation_may_vanish(&silu, &float32_contract, -80) ||
                 mp_activation_may_vanish(&silu, &float32_contract, 1));
    assert_true(isnan(mp_activate(&silu, -INFINITY, 1, NULL)) &&
                mp_activate(&silu, INFINITY, -1, NULL) == -INFINITY);
}

/* ---- the stage ---- */

/* Both column orders of the same data, rows permuted, one slot filtered, one without a row; what is not
 * written keeps its poison.
 */
static void the_stage_finds_its_columns_and_rows(void **unused) {
    (void)unused;
    enum { SLOTS = 11, ROWS = 14, N = 37 };
    const int32_t ids[SLOTS] = {0, 3, -1, 2, 2, 7, 0, -1, 5, 1, 4};
    int64_t row[SLOTS];
    rng r = {7};
    for (int64_t t = 0; t < SLOTS; t++) row[t] = (t * 5 + 2) % ROWS;
    row[9] = -1;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        mp_case halves = activation_case(kinds[i].act, kinds[i].gated), interleaved = halves;
        halves.N = interleaved.N = N;
        interleaved.interleaved = halves.gated;
        const int64_t width = mp_case_w1_rows(&halves);
        mp_tensor in_halves = allocated_tensor(MP_FP16, ROWS, width, 0),
                  in_interleaved = allocated_tensor(MP_FP16, ROWS, width, 0);
        for (int64_t p = 0; p < ROWS; p++)
            for (int64_t n = 0; n < width; n++) {
                const double v = 9 * random_unit(&r);
                mp_encode(MP_FP16, in_halves.data, p * width + n, v);
                mp_encode(MP_FP16, in_interleaved.data, p * width + (halves.gated ? n % N * 2 + n / N : n),
                          v);
            }
        for (int rounding = MP_ACT_ONE_ROUNDING; rounding <= MP_ACT_GATE_ROUNDED; rounding++) {
            const mp_dtype bf16 = MP_BF16;
            mp_tensor a = allocated_tensor(MP_BF16, ROWS, N, 0), b = allocated_tensor(MP_BF16, ROWS, N, 0),
                      expected = allocated_tensor(MP_BF16, ROWS, N, 0);
            mp_activation_stage(&halves, ids, row, SLOTS, (mp_act_rounding)rounding, &in_halves, &a);
            mp_activation_stage(&interleaved, ids, row, SLOTS, (mp_act_rounding)rounding, &in_interleaved,
                                &b);
            for (int64_t t = 0; t < SLOTS; t++)
                for (int64_t n = 0; n < N && ids[t] >= 0 && row[t] >= 0; n++) {
                    const double g = mp_decode(MP_FP16, in_halves.data, row[t] * width + n);
                    const double u =
                        halves.gated ? mp_decode(MP_FP16, in_halves.data, row[t] * width + N + n) : 0;
                    mp_encode(MP_BF16, expected.data, row[t] * N + n,
                              mp_activate(&halves, g, u, rounding == MP_ACT_GATE_ROUNDED ? &bf16 : NULL));
                }
            assert_true(same_memory(&a, &expected) && same_memory(&b, &expected));
            mp_tensor_free(&a);
            mp_tensor_free(&b);
            mp_tensor_free(&expected);
        }
        mp_tensor_free(&in_halves);
        mp_tensor_free(&in_interleaved);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float64_matches_long_double),
        cmocka_unit_test(float64_is_right_to_a_few_ulps),
        cmocka_unit_test(parameters_and_gate_rounding_are_used),
        cmocka_unit_test(faithful_float32_stays_inside),
        cmocka_unit_test(device_functions_stay_inside),
        cmocka_unit_test(faithful_float32_stays_inside_for_fp32_inputs),
        cmocka_unit_test(worse_implementations_are_outside),
        cmocka_unit_test(gate_rounding_is_a_contract_of_its_own),
        cmocka_unit_test(flushed_factors_and_an_approximate_tanh_are_inside),
        cmocka_unit_test(an_error_in_proportion_to_the_argument_is_bounded),
        cmocka_unit_test(any_rounding_is_both),
        cmocka_unit_test(nan_is_never_lost),
        cmocka_unit_test(special_values_have_one_meaning),
        cmocka_unit_test(the_stage_finds_its_columns_and_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
