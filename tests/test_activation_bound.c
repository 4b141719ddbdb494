/* SPDX-License-Identifier: Apache-2.0 */
/* ref/activation.c: its bound from both sides. Every faithful float32 implementation stays inside, worse or
 * mistaken ones do not; to round the gate is a contract of its own. */
#include "tests/activation_bound_support.h"

/* ---- from inside ---- */

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
    for (size_t i = 0; i < COUNT(activations); i++) {
        const mp_case c = activation_case(activations[i].act, activations[i].gated);
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
    for (size_t i = 0; i < COUNT(activations); i++) {
        const mp_case c = activation_case(activations[i].act, activations[i].gated);
        for (int n = 0; n < 200000; n++) {
            const float g = (float)(n % 2 ? 12 * random_unit(&r) : 110 * random_unit(&r)),
                        u = c.gated ? (float)(10 * random_unit(&r)) : 1;
            check_faithful(&c, g, u);
        }
    }
}

/* ---- from outside ---- */

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

static void worse_implementations_are_outside(void **unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT(activations); i++) {
        const mp_case c = activation_case(activations[i].act, activations[i].gated);
        if (activations[i].worse && count_outside(&c, &float32_contract, sloppy, activations[i].worse) == 0)
            fail_msg("%s gated=%d: %d ulp worse is not noticed", mp_activation_name(c.act), c.gated,
                     activations[i].worse);
        if (c.gated) assert_true(count_outside(&c, &float32_contract, gate_and_up_swapped, 0) > 1000);
        if (c.act == MP_GELU || c.act == MP_GELU_TANH)
            assert_true(count_outside(&c, &float32_contract, other_gelu, 0) > 1000);
        if (c.act == MP_SILU_CLAMP || c.act == MP_CLAMP_SILU)
            assert_true(count_outside(&c, &float32_contract, clamp_order_swapped, 0) > 100);
    }
}

/* ---- rounded gates ---- */

static float gate_rounded(const mp_case *c, float g, float u, int extra) {
    mp_case alone = *c;
    alone.gated = false;
    return (float)mp_round_to(c->dtype, (double)sloppy(&alone, g, 1, extra)) * u;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faithful_float32_stays_inside),
        cmocka_unit_test(faithful_float32_stays_inside_for_fp32_inputs),
        cmocka_unit_test(worse_implementations_are_outside),
        cmocka_unit_test(gate_rounding_is_a_contract_of_its_own),
        cmocka_unit_test(any_rounding_is_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
