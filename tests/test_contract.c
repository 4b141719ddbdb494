/* SPDX-License-Identifier: Apache-2.0 */
/* ref/bounds.c, ref/preset.c, cases/contract.c and what ref/predict/ refuses. The accumulation bounds against
 * simulated hardware: IEEE sums in random orders, and a scalar model of the tensor core's truncated fused
 * dot-add, must never leave their bound, and must come near enough to it that it says something. */
#include "moeparity/preset.h"
#include "ref/bounds.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

#include <float.h>
#include <stdio.h>

/* ---- operands ---- */

typedef enum family { NORMAL, WIDE, CANCELLING, SWAMPED, SUBNORMAL, FAMILY_COUNT } family;
enum { MAX_TERMS = 2048 };

typedef struct operands {
    int64_t terms;
    mp_dtype dtype;
    double a[MAX_TERMS], b[MAX_TERMS], largest;
} operands;

/* SWAMPED: a first product of 1 and then positive ones below its last place. SUBNORMAL: one operand below the
 * smallest normal number of its format. */
static void fill(operands *o, family f, rng *r) {
    const mp_format *format = mp_dtype_format(o->dtype);
    o->largest = 0;
    for (int64_t k = 0; k < o->terms; k++) {
        double a = random_unit(r), b = random_unit(r);
        if (f == WIDE) {
            a = random_wide(r, -12, 5);
            b = random_wide(r, -12, 5);
        }
        if (f == CANCELLING && k % 2) {
            a = -o->a[k - 1];
            b = o->b[k - 1] * (1 + 0x1p-8 * random_unit(r));
        }
        if (f == SWAMPED) {
            a = k ? 0x1p-12 * (1 + fabs(a)) : 1;
            b = k ? 0x1p-13 : 1;
        }
        if (f == SUBNORMAL) a = ldexp(random_unit(r), format->emin - (int)random_below(r, 4));
        o->a[k] = mp_round_to(o->dtype, a);
        o->b[k] = mp_round_to(o->dtype, b);
        o->largest = fmax(o->largest, fmax(fabs(o->a[k]), fabs(o->b[k])));
    }
}

static __float128 exact_dot(const operands *o, double *mass) {
    __float128 sum = 0, magnitudes = 0;
    for (int64_t k = 0; k < o->terms; k++) {
        const __float128 product = (__float128)o->a[k] * (__float128)o->b[k];
        sum += product;
        magnitudes += product < 0 ? -product : product;
    }
    *mass = (double)magnitudes;
    return sum;
}

/* What a subject is compared with: the float64 sum. */
static double reference_dot(const operands *o) {
    double sum = 0;
    for (int64_t k = 0; k < o->terms; k++) sum += o->a[k] * o->b[k];
    return sum;
}

/* ---- IEEE float32 in any order ---- */

static float fused_dot(const operands *o, const int64_t *order) {
    float sum = 0;
    for (int64_t i = 0; i < o->terms; i++) sum = fmaf((float)o->a[order[i]], (float)o->b[order[i]], sum);
    return sum;
}

/* Products rounded on their own, then partial sums joined pairwise at random until one is left. */
static float tree_dot(const operands *o, const int64_t *order, rng *r) {
    float part[MAX_TERMS];
    int64_t left = o->terms;
    for (int64_t i = 0; i < left; i++) part[i] = (float)o->a[order[i]] * (float)o->b[order[i]];
    while (left > 1) {
        const int64_t i = random_below(r, left - 1);
        part[i] += part[left - 1];
        left--;
    }
    return part[0];
}

/* ---- the tensor core, one step: groups of L products and the accumulator, in units of 2^(e_max - F) ---- */

typedef struct core {
    int group, fraction_bits;
} core;

static int exponent_of(double v, int emin) {
    const int e = ilogb(v); /* a subnormal counts with the exponent of the smallest normal number */
    return e < emin ? emin : e;
}

/* The value cut to 24 significant bits towards zero; float32's subnormals have fewer, its largest finite
 * value is followed by Inf.
 */
static double truncate_to_float(double v) {
    if (v == 0) return 0;
    const int lowest = exponent_of(v, -126) - 23;
    v = ldexp(trunc(ldexp(v, -lowest)), lowest);
    return fabs(v) > (double)FLT_MAX ? copysign(INFINITY, v) : v == 0 ? 0 : v;
}

static double core_step(core h, mp_dtype dtype, const double *a, const double *b, int64_t n, double c) {
    const int emin = mp_dtype_format(dtype)->emin, zero = -133; /* measured exponent of a term that is zero */
    int e_max = c == 0 ? zero : exponent_of(c, -126);
    for (int64_t k = 0; k < h.group; k++) {
        const bool is_zero = k >= n || a[k] == 0 || b[k] == 0;
        const int e = is_zero ? zero : exponent_of(a[k], emin) + exponent_of(b[k], emin);
        if (e > e_max) e_max = e;
    }
    const int unit = e_max - h.fraction_bits;
    double sum = trunc(ldexp(c, -unit)); /* integers below 2^32: exact in double */
    for (int64_t k = 0; k < n; k++) sum += trunc(ldexp(a[k] * b[k], -unit));
    return truncate_to_float(ldexp(sum, unit));
}

static double core_dot(core h, const operands *o) {
    double c = 0;
    for (int64_t k = 0; k < o->terms; k += h.group) {
        const int64_t n = o->terms - k < h.group ? o->terms - k : h.group;
        c = core_step(h, o->dtype, o->a + k, o->b + k, n, c);
    }
    return c;
}

/* Vectors measured on an H100: the model is the machine's before it judges a bound. Codes of a, b and c;
 * lanes from 1 on repeat `rest` times. */
static void the_model_reproduces_measured_vectors(void **unused) {
    (void)unused;
    static const struct {
        uint64_t a0, b0, a, b;
        int rest;
        uint32_t c, result;
    } vectors[] = {
        {0x3FC0, 0x3FC0, 0x3F80, 0x3300, 8, 0, 0x40100001},
        {0x3F80, 0x4010, 0x3F80, 0x3300, 8, 0, 0x40100000},
        {0x3F80, 0x3440, 0, 0, 0, 0x3F800000, 0x3F800001},
        {0x3F80, 0xB280, 0, 0, 0, 0x3F800000, 0x3F800000},
        {0x3F80, 0xB300, 0, 0, 0, 0x3F800000, 0x3F7FFFFF},
        {0x3F80, 0x3280, 0x3F80, 0x3280, 15, 0x3F800000, 0x3F800000},
        {0x3F80, 0x3300, 0x3F80, 0x3300, 15, 0x3F800000, 0x3F800004},
        {0x7F00, 0x3F80, 0, 0, 0, 0x7F000000, 0x7F800000},
        {0x7280, 0x3F80, 0, 0, 0, 0x7F7FFFFF, 0x7F7FFFFF},
        {0x0001, 0x4100, 0, 0, 0, 0, 0x00080000},
        {0x0D80, 0x2700, 0, 0, 0, 0, 0x00000001},
        {0x0D80, 0x2580, 0x0D80, 0x2580, 7, 0, 0x00000001},
        {0x8D80, 0x2680, 0, 0, 0, 0, 0x00000000},
        {0x0000, 0x7F00, 0x3F80, 0x3080, 1, 0, 0x30800000},
    };
    for (size_t i = 0; i < COUNT(vectors); i++) {
        double a[16] = {mp_decode_code(MP_BF16, vectors[i].a0)},
               b[16] = {mp_decode_code(MP_BF16, vectors[i].b0)};
        for (int k = 1; k <= vectors[i].rest; k++) {
            a[k] = mp_decode_code(MP_BF16, vectors[i].a);
            b[k] = mp_decode_code(MP_BF16, vectors[i].b);
        }
        const double d = core_step((core){16, 25}, MP_BF16, a, b, 16, mp_decode_code(MP_FP32, vectors[i].c));
        assert_int_equal(mp_encode_code(MP_FP32, d), vectors[i].result);
    }
    static const uint64_t codes[2][16] = {/* lanes of mixed signs; c = BA9C2327; 3FCA2168 in sequential fma,
                                           * 3FCA2164 with groups of 8 and F=24 */
                                          {0x3F71, 0xBFB3, 0xBF2E, 0x3EBE, 0xBF82, 0xBD94, 0x3E37, 0xBF55,
                                           0xBFA8, 0x3E47, 0x3F7E, 0xBF26, 0xBEAB, 0x3FD3, 0xBF0F, 0xBF04},
                                          {0x401A, 0xBFC4, 0x3F4C, 0xC000, 0xBF19, 0x3FC0, 0x3F9C, 0xBF67,
                                           0xBEE8, 0x3DA4, 0xBFA1, 0x3F0D, 0x400F, 0xBFAD, 0xBFFE, 0x3E94}};
    double lanes[2][16];
    for (int k = 0; k < 32; k++) lanes[k / 16][k % 16] = mp_decode_code(MP_BF16, codes[k / 16][k % 16]);
    const double c = mp_decode_code(MP_FP32, 0xBA9C2327),
                 hopper = core_step((core){16, 25}, MP_BF16, lanes[0], lanes[1], 16, c);
    const double half = core_step((core){8, 24}, MP_BF16, lanes[0], lanes[1], 8, c);
    assert_int_equal(mp_encode_code(MP_FP32, hopper), 0x3FCA2167);
    assert_int_equal(
        mp_encode_code(MP_FP32, core_step((core){8, 24}, MP_BF16, lanes[0] + 8, lanes[1] + 8, 8, half)),
        0x3FCA2164);
}

/* ---- the bounds ---- */

static const int64_t lengths[] = {1, 2, 15, 16, 17, 96, 511, 2048};

/* Error over bound. */
static double judged(const operands *o, const mp_gemm_contract *contract, double got) {
    double mass;
    exact_dot(o, &mass);
    const mp_sum_bound bound = mp_gemm_bound(contract, o->dtype, o->terms, o->largest);
    const double error = fabs(got - reference_dot(o)), allowed = bound.rel * mass + bound.abs;
    if (!(error <= allowed))
        fail_msg("%s K=%lld: error %.9g exceeds %.9g (rel %.3g, mass %.3g, abs %.3g)",
                 mp_dtype_name(o->dtype), (long long)o->terms, error, allowed, bound.rel, mass, bound.abs);
    return allowed > 0 ? error / allowed : 0;
}

static void ieee_sums_in_any_order_stay_inside(void **unused) {
    (void)unused;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32};
    static const mp_gemm_contract contract = {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1};
    static operands o;
    int64_t order[MAX_TERMS];
    rng r = {10};
    for (size_t l = 0; l < COUNT(lengths); l++) {
        double nearest = 0;
        for (size_t d = 0; d < COUNT(dtypes); d++)
            for (family f = NORMAL; f < FAMILY_COUNT; f++)
                for (int round = 0; round < 40; round++) {
                    o.terms = lengths[l];
                    o.dtype = dtypes[d];
                    fill(&o, f, &r);
                    for (int64_t k = 0; k < o.terms; k++) order[k] = k;
                    nearest = fmax(nearest, judged(&o, &contract, (double)fused_dot(&o, order)));
                    random_order(&r, order, o.terms);
                    nearest = fmax(nearest, judged(&o, &contract, (double)fused_dot(&o, order)));
                    nearest = fmax(nearest, judged(&o, &contract, (double)tree_dot(&o, order, &r)));
                }
        assert_true(nearest >= 0.01);
    }
}

/* Every one of K roundings loses half a unit: the first product is a tie, and each of the others, half a unit
 * itself, makes one with the sum so far. Products of 2^-150 vanish one by one. */
static void the_worst_ieee_sum_is_nearly_the_bound(void **unused) {
    (void)unused;
    static const mp_gemm_contract contract = {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1};
    static operands o = {.dtype = MP_FP32};
    int64_t order[MAX_TERMS];
    for (int64_t k = 0; k < MAX_TERMS; k++) order[k] = k;
    for (size_t l = 0; l < COUNT(lengths); l++) {
        o.terms = lengths[l];
        o.largest = 1 + 0x1p-12;
        for (int64_t k = 0; k < o.terms; k++) o.a[k] = o.b[k] = k ? 0x1p-12 : o.largest;
        assert_true(judged(&o, &contract, (double)fused_dot(&o, order)) >= 0.999);
        o.largest = 0x1p-75;
        for (int64_t k = 0; k < o.terms; k++) o.a[k] = o.b[k] = o.largest;
        assert_true(judged(&o, &contract, (double)fused_dot(&o, order)) >= 0.999);
    }
}

static void tensor_cores_stay_inside(void **unused) {
    (void)unused;
    static const core cores[] = {{16, 25}, {8, 24}, {8, 23}, {4, 23}};
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16};
    static operands o;
    rng r = {11};
    for (size_t h = 0; h < COUNT(cores); h++) {
        const mp_gemm_contract contract = {.accumulator = MP_ACC_TENSOR_CORE,
                                           .group = cores[h].group,
                                           .fraction_bits = cores[h].fraction_bits,
                                           .result_fraction_bits = 23,
                                           .split_k = 1};
        for (size_t l = 0; l < COUNT(lengths); l++) {
            double nearest = 0;
            for (size_t d = 0; d < COUNT(dtypes); d++)
                for (family f = NORMAL; f < FAMILY_COUNT; f++)
                    for (int round = 0; round < 40; round++) {
                        o.terms = lengths[l];
                        o.dtype = dtypes[d];
                        fill(&o, f, &r);
                        nearest = fmax(nearest, judged(&o, &contract, core_dot(cores[h], &o)));
                    }
            assert_true(lengths[l] == 1 || nearest >= 0.01);
        }
    }
}

/* The most that steps can lose: c = 1 stays put while in every group each product loses all but nothing of a
 * unit 2^-F, and the largest one, just below the last place of float32, goes with the result's truncation. */
static void the_worst_accumulation_is_nearly_the_bound(void **unused) {
    (void)unused;
    static const core cores[] = {{16, 25}, {8, 24}, {4, 23}};
    static operands o = {.terms = MAX_TERMS, .dtype = MP_BF16, .largest = 1};
    for (size_t h = 0; h < COUNT(cores); h++) {
        const mp_gemm_contract contract = {.accumulator = MP_ACC_TENSOR_CORE,
                                           .group = cores[h].group,
                                           .fraction_bits = cores[h].fraction_bits,
                                           .result_fraction_bits = 23,
                                           .split_k = 1};
        for (int64_t k = 0; k < o.terms; k++) {
            const int unit = k % cores[h].group == 0 ? 23 : cores[h].fraction_bits;
            o.a[k] = k == 0 ? 1 : k < cores[h].group ? 0 : (2 - 0x1p-7) * 0x1p-12;
            o.b[k] = k == 0 ? 1 : ldexp(1, 12 - unit - 1);
        }
        assert_true(judged(&o, &contract, core_dot(cores[h], &o)) >= 0.6);
    }
}

/* A subnormal operand counts with the exponent of the smallest normal number: it cuts products away that are
 * not small beside its own. */
static void subnormal_operands_are_paid_by_the_absolute_part(void **unused) {
    (void)unused;
    static const core cores[] = {{16, 25}, {8, 24}, {4, 23}};
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16};
    static operands o;
    for (size_t h = 0; h < COUNT(cores); h++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            const mp_gemm_contract contract = {.accumulator = MP_ACC_TENSOR_CORE,
                                               .group = cores[h].group,
                                               .fraction_bits = cores[h].fraction_bits,
                                               .result_fraction_bits = 23,
                                               .split_k = 1};
            const mp_format *format = mp_dtype_format(dtypes[d]);
            o = (operands){.terms = cores[h].group, .dtype = dtypes[d], .largest = 0x1p15};
            o.a[0] = ldexp(1, format->emin - format->precision + 1); /* the smallest subnormal */
            o.b[0] = 0x1p15;
            for (int64_t k = 1; k < o.terms; k++) {
                o.a[k] = ldexp(2 - 0x1p-6, format->emin);
                o.b[k] = ldexp(1, 14 - cores[h].fraction_bits);
            }
            double mass;
            exact_dot(&o, &mass);
            const double got = core_dot(cores[h], &o),
                         relative = mp_gemm_bound(&contract, o.dtype, o.terms, o.largest).rel;
            assert_true(judged(&o, &contract, got) >= 0.25);
            assert_true(fabs(got - reference_dot(&o)) > relative * mass);
        }
}

/* A subnormal accumulator counts as 2^-126 however small it is: it cuts products away that are larger than
 * itself. */
static void subnormal_accumulators_are_paid_by_the_absolute_part(void **unused) {
    (void)unused;
    static const core cores[] = {{16, 25}, {8, 24}, {4, 23}};
    static operands o;
    for (size_t h = 0; h < COUNT(cores); h++) {
        const mp_gemm_contract contract = {.accumulator = MP_ACC_TENSOR_CORE,
                                           .group = cores[h].group,
                                           .fraction_bits = cores[h].fraction_bits,
                                           .result_fraction_bits = 23,
                                           .split_k = 1};
        o = (operands){.terms = 2 * cores[h].group, .dtype = MP_BF16, .largest = 0x1p-63};
        o.a[0] = 0x1p-75; /* the first step leaves 2^-149 */
        o.b[0] = 0x1p-74;
        for (int64_t k = cores[h].group; k < o.terms; k++) { /* just below 2^(-126-F) */
            o.a[k] = (2 - 0x1p-6) * 0x1p-64;
            o.b[k] = ldexp(1, -63 - cores[h].fraction_bits);
        }
        const double got = core_dot(cores[h], &o);
        assert_true(got == 0x1p-149); /* nothing of the second step is left */
        judged(&o, &contract, got);
    }
}

/* Float64 sums in another order than the reference's own: twice the bound of one side. */
static void float64_sums_stay_inside(void **unused) {
    (void)unused;
    static const mp_gemm_contract contract = {.accumulator = MP_ACC_FLOAT64, .split_k = 1};
    static operands o;
    int64_t order[MAX_TERMS];
    rng r = {12};
    for (size_t l = 0; l < COUNT(lengths); l++)
        for (family f = NORMAL; f < FAMILY_COUNT; f++) {
            o.terms = lengths[l];
            o.dtype = MP_FP32;
            fill(&o, f, &r);
            random_order(&r, order, o.terms);
            double sum = 0;
            for (int64_t i = 0; i < o.terms; i++) sum += o.a[order[i]] * o.b[order[i]];
            judged(&o, &contract, sum);
        }
}

/* The reference, in ascending order, loses every term after the first one; the subject, from the other end,
 * none. The other half of the bound is for what the subject may lose. */
static void the_worst_float64_sum_is_half_the_bound(void **unused) {
    (void)unused;
    static const mp_gemm_contract contract = {.accumulator = MP_ACC_FLOAT64, .split_k = 1};
    static operands o = {.terms = MAX_TERMS, .dtype = MP_FP32, .largest = 1};
    double sum = 0;
    for (int64_t k = 0; k < o.terms; k++) {
        o.a[k] = k ? 0x1p-26 : 1;
        o.b[k] = k ? 0x1p-27 : 1;
    }
    for (int64_t k = o.terms - 1; k >= 0; k--) sum += o.a[k] * o.b[k];
    const double used = judged(&o, &contract, sum);
    assert_true(used >= 0.499 && used <= 0.5);
}

/* A product left out, or counted twice, or even a quarter of it, is outside. */
static void a_lost_product_is_outside(void **unused) {
    (void)unused;
    static const mp_gemm_contract contracts[] = {{.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1},
                                                 {.accumulator = MP_ACC_TENSOR_CORE,
                                                  .group = 16,
                                                  .fraction_bits = 25,
                                                  .result_fraction_bits = 23,
                                                  .split_k = 1}};
    static operands o = {.terms = 512, .dtype = MP_BF16};
    rng r = {13};
    fill(&o, NORMAL, &r);
    double mass;
    exact_dot(&o, &mass);
    for (size_t i = 0; i < COUNT(contracts); i++) {
        const mp_sum_bound bound = mp_gemm_bound(&contracts[i], o.dtype, o.terms, o.largest);
        assert_true(0.25 * mass / (double)o.terms >
                    bound.rel * mass + bound.abs); /* a quarter of the mean product */
    }
}

/* ---- gamma and the rest ---- */

static void gamma_covers_compounded_roundings(void **unused) {
    (void)unused;
    static const double roundoffs[] = {0x1p-8, 0x1p-11, 0x1p-24, 0x1p-53};
    for (size_t i = 0; i < COUNT(roundoffs); i++) {
        const double u = roundoffs[i];
        assert_true(mp_gamma(0, u) == 0 && mp_gamma(1, u) > u);
        for (double n = 1; n < 200; n += 7) {
            if (n * u >= 1) break;
            const long double compounded = expm1l((long double)n * log1pl((long double)u)); /* (1+u)^n - 1 */
            assert_true((long double)mp_gamma(n, u) >= compounded);
            assert_true((long double)mp_gamma(n, u) >=
                        -expm1l((long double)n * log1pl(-(long double)u))); /* 1 - (1-u)^n */
            assert_true(mp_gamma(n + 1, u) > mp_gamma(n, u));
            const double g = mp_gamma(n, u), joined = mp_gamma(2 * n, u);
            assert_true(2 * g + g * g <= joined * (1 + 0x1p-50)); /* Higham, lemma 3.3 */
        }
        assert_true(isinf(mp_gamma(1 / u, u)) && isinf(mp_gamma(2 / u, u)));
    }
}

static void bounds_grow_with_the_sum_and_shrink_with_precision(void **unused) {
    (void)unused;
    static const mp_gemm_contract hopper = {.accumulator = MP_ACC_TENSOR_CORE,
                                            .group = 16,
                                            .fraction_bits = 25,
                                            .result_fraction_bits = 23,
                                            .split_k = 1};
    static const mp_gemm_contract coarse = {.accumulator = MP_ACC_TENSOR_CORE,
                                            .group = 16,
                                            .fraction_bits = 13,
                                            .result_fraction_bits = 23,
                                            .split_k = 1};
    static const mp_gemm_contract ieee = {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1},
                                  float64 = {.accumulator = MP_ACC_FLOAT64, .split_k = 1};
    static const mp_gemm_contract *const all[] = {&hopper, &coarse, &ieee, &float64};
    for (size_t i = 0; i < COUNT(all); i++)
        for (int64_t terms = 16; terms <= 4096; terms *= 2)
            assert_true(mp_gemm_bound(all[i], MP_BF16, 2 * terms, 1).rel >
                        mp_gemm_bound(all[i], MP_BF16, terms, 1).rel);
    assert_true(mp_gemm_bound(&coarse, MP_BF16, 64, 1).rel >
                1000 * mp_gemm_bound(&hopper, MP_BF16, 64, 1).rel);
    assert_true(mp_gemm_bound(&ieee, MP_BF16, 64, 1).rel > 1e8 * mp_gemm_bound(&float64, MP_BF16, 64, 1).rel);
    assert_true(mp_step_roundoff(&(mp_contract){0}) == 0x1p-24);
    assert_true(mp_step_roundoff(&(mp_contract){.float64_steps = true}) == 0x1p-53);
}

/* Bits are required where they were measured, reported where they come from the literature. Of an
 * architecture, or of operands on it, that the table does not have, nothing is promised but the bound of the
 * coarsest tensor core. */
static void each_architecture_promises_what_is_known_of_it(void **unused) {
    (void)unused;
    static const struct {
        int sm;
        mp_dtype dtype;
        int group, fraction_bits;
        mp_bits_promise bits;
    } rows[] = {
        {70, MP_BF16, 4, 23, MP_BITS_NONE},       {70, MP_FP16, 4, 23, MP_BITS_REPORTED},
        {75, MP_BF16, 4, 23, MP_BITS_NONE},       {75, MP_FP16, 8, 24, MP_BITS_REPORTED},
        {80, MP_BF16, 8, 24, MP_BITS_REPORTED},   {80, MP_FP16, 8, 24, MP_BITS_REPORTED},
        {89, MP_BF16, 8, 24, MP_BITS_REPORTED},   {89, MP_FP16, 8, 24, MP_BITS_REPORTED},
        {90, MP_BF16, 16, 25, MP_BITS_REQUIRED},  {90, MP_FP16, 16, 25, MP_BITS_REQUIRED},
        {100, MP_BF16, 16, 25, MP_BITS_REPORTED}, {100, MP_FP16, 16, 25, MP_BITS_REPORTED},
        {120, MP_BF16, 16, 25, MP_BITS_REPORTED}, {120, MP_FP16, 16, 25, MP_BITS_REPORTED},
        {110, MP_BF16, 4, 23, MP_BITS_NONE},      {110, MP_FP16, 4, 23, MP_BITS_NONE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        mp_case c = mp_case_default();
        c.dtype = rows[i].dtype;
        const mp_contract contract = mp_contract_of_architecture(rows[i].sm, &c);
        const mp_gemm_contract *const gemms[] = {&contract.gate_up, &contract.down};
        for (int g = 0; g < 2; g++) {
            if (gemms[g]->group != rows[i].group || gemms[g]->fraction_bits != rows[i].fraction_bits)
                fail_msg("sm_%d %s: L=%d F=%d", rows[i].sm, mp_dtype_name(rows[i].dtype), gemms[g]->group,
                         gemms[g]->fraction_bits);
            assert_int_equal(gemms[g]->accumulator, MP_ACC_TENSOR_CORE);
            assert_int_equal(gemms[g]->zero_exponent, -133);
        }
        for (int s = 0; s < MP_STAGE_COUNT; s++) assert_int_equal(contract.promise[s].bits, rows[i].bits);
        c.dtype = MP_FP32;
        const mp_contract wide = mp_contract_of_architecture(rows[i].sm, &c);
        assert_int_equal(wide.gate_up.accumulator, MP_ACC_FMA_ASCENDING);
        assert_int_equal(wide.promise[MP_GATE_UP].bits, MP_BITS_REQUIRED);
    }
}

/* The additions of a fused sum have no order: down and combine promise nothing, the stages before them what
 * they did. */
static void a_fused_sum_promises_no_order(void **unused) {
    (void)unused;
    mp_case c = mp_case_default();
    c.fused_sum = true;
    c.topk = 4;
    const mp_contract contract = mp_contract_of_architecture(90, &c);
    assert_int_equal(contract.promise[MP_GATE_UP].bits, MP_BITS_REQUIRED);
    assert_int_equal(contract.promise[MP_ACT].bits, MP_BITS_REQUIRED);
    assert_int_equal(contract.promise[MP_DOWN].bits, MP_BITS_NONE);
    assert_int_equal(contract.promise[MP_COMBINE].bits, MP_BITS_NONE);
    assert_false(mp_contract_deterministic(&contract, &c) || mp_contract_batch_invariant(&contract, &c));
    c.fused_sum = false;
    const mp_contract ordered = mp_contract_of_architecture(90, &c);
    assert_true(mp_contract_deterministic(&ordered, &c) && mp_contract_batch_invariant(&ordered, &c));
}

/* Promotion and split_k: parts of k with accumulators of their own, added in float32. */
static void sums_in_parts_stay_inside(void **unused) {
    (void)unused;
    static const core hopper = {16, 25};
    static operands o;
    rng r = {14};
    for (size_t l = 0; l < COUNT(lengths); l++)
        for (family f = NORMAL; f < FAMILY_COUNT; f++)
            for (int part = 16; part <= 256; part *= 4) {
                o.terms = lengths[l];
                o.dtype = MP_BF16;
                fill(&o, f, &r);
                float sum = 0;
                for (int64_t k = 0; k < o.terms; k += part) {
                    operands piece = {.dtype = o.dtype, .terms = o.terms - k < part ? o.terms - k : part};
                    memcpy(piece.a, o.a + k, (size_t)piece.terms * sizeof(double));
                    memcpy(piece.b, o.b + k, (size_t)piece.terms * sizeof(double));
                    sum += (float)core_dot(hopper, &piece);
                }
                const mp_gemm_contract promoted = {.accumulator = MP_ACC_TENSOR_CORE,
                                                   .group = 16,
                                                   .fraction_bits = 25,
                                                   .result_fraction_bits = 23,
                                                   .split_k = 1,
                                                   .promotion = part};
                judged(&o, &promoted, (double)sum);
                mp_gemm_contract split = promoted;
                split.promotion = 0;
                split.split_k = (int)((o.terms + part - 1) / part);
                judged(&o, &split, (double)sum);
            }
}

static void count_field(void *ctx, const char *name, const char *value) {
    mp_contract copy = mp_contract_weakest();
    mp_error err;
    if (mp_contract_set(&copy, name, value, &err) != MP_OK) fail_msg("%s", err.text);
    ++*(int *)ctx;
}

/* Every field can be set from its own text; what is out of range, no number or unknown is refused by name;
 * and every field but those about bits makes another contract. */
static void fields_are_set_by_name_and_make_the_identity(void **unused) {
    (void)unused;
    mp_case c = mp_case_default();
    const mp_contract base = mp_contract_of_architecture(90, &c);
    mp_error err;
    int fields = 0;
    mp_contract_fields(&base, count_field, &fields);
    assert_true(fields > 40);
    assert_int_equal(mp_contract_validate(&base, &err), MP_OK);
    static const struct {
        const char *name, *value;
        bool identity;
    } changes[] = {{"align.stable", "0", true},
                   {"gate_up.group", "8", true},
                   {"down.promotion", "128", true},
                   {"act.function", "special-unit", true},
                   {"act.ulps", "2.5", true},
                   {"combine.variant", "element-dtype", true},
                   {"down.filtered", "anything", true},
                   {"padding", "zero", true},
                   {"combine.deterministic", "0", false},
                   {"align.batch_invariant", "0", false},
                   {"gate_up.bits", "none", false}};
    for (size_t i = 0; i < COUNT(changes); i++) {
        mp_contract changed = base;
        assert_int_equal(mp_contract_set(&changed, changes[i].name, changes[i].value, &err), MP_OK);
        if ((mp_contract_digest(&changed) != mp_contract_digest(&base)) != changes[i].identity)
            fail_msg("%s=%s", changes[i].name, changes[i].value);
    }
    /* Stored in goldens: these never change. */
    const mp_contract weakest = mp_contract_weakest();
    assert_true(mp_contract_digest(&weakest) == 0);
    assert_true(mp_contract_digest(&base) == UINT64_C(0x6df19a419fc61b34));
    static const char *const bad[][3] = {{"gate_up.group", "65", "a whole number from 0 to 64"},
                                         {"gate_up.group", "1.5", "a whole number"},
                                         {"act.ulps", "x", "act.ulps=x"},
                                         {"align.stable", "2", "0 or 1"},
                                         {"combine.bits", "maybe", "none, reported, required"},
                                         {"gate_up.gruop", "1", "gate_up.group"}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        mp_contract copy = base;
        assert_int_equal(mp_contract_set(&copy, bad[i][0], bad[i][1], &err), MP_EINPUT);
        if (!strstr(err.text, bad[i][2])) fail_msg("%s", err.text);
    }
    mp_contract broken = base;
    broken.gate_up.group = -3;
    assert_int_equal(mp_contract_validate(&broken, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "gate_up.group=-3"));
    assert_int_equal(mp_contract_validate(&(mp_contract){0}, &err), MP_EINPUT); /* split_k counts from 1 */
}

typedef struct wanted_field {
    const char *name;
    char value[64];
} wanted_field;

static void find_field(void *ctx, const char *name, const char *value) {
    wanted_field *f = ctx;
    if (strcmp(name, f->name) == 0) snprintf(f->value, sizeof f->value, "%s", value);
}

/* The word of each enumerator, written down here once more: goldens and command lines hold them. */
static void every_value_has_its_word(void **unused) {
    (void)unused;
    static mp_contract contract;
    static const struct {
        void *member; /* an enum of `contract`; all of them are ints */
        const char *name;
        int value;
        const char *word;
    } rows[] = {
        {&contract.gate_up.accumulator, "gate_up.accumulator", MP_ACC_IEEE_ANY_ORDER, "ieee-any-order"},
        {&contract.gate_up.accumulator, "gate_up.accumulator", MP_ACC_FMA_ASCENDING, "fma-ascending"},
        {&contract.gate_up.accumulator, "gate_up.accumulator", MP_ACC_TENSOR_CORE, "tensor-core"},
        {&contract.gate_up.accumulator, "gate_up.accumulator", MP_ACC_FLOAT64, "float64"},
        {&contract.down.accumulator, "down.accumulator", MP_ACC_FMA_ASCENDING, "fma-ascending"},
        {&contract.gate_up.k_order, "gate_up.k_order", MP_K_ASCENDING, "ascending"},
        {&contract.gate_up.k_order, "gate_up.k_order", MP_K_BY_PAIRS, "by-pairs"},
        {&contract.down.k_order, "down.k_order", MP_K_BY_PAIRS, "by-pairs"},
        {&contract.down.k_order, "down.k_order", MP_K_PERMUTED, "permuted"},
        {&contract.act_function, "act.function", MP_ACT_IEEE, "ieee"},
        {&contract.act_function, "act.function", MP_ACT_SPECIAL_UNIT, "special-unit"},
        {&contract.act_function, "act.function", MP_ACT_LIBRARY, "library"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_MATH, "cuda-math"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_INTRINSICS, "cuda-intrinsics"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_FAST_MATH, "cuda-fast-math"},
        {&contract.act_function, "act.function", MP_ACT_TRITON, "triton"},
        {&contract.act_function, "act.function", MP_ACT_TRITON_QUOTIENT, "triton-quotient"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_SIGMOID, "cuda-math-sigmoid"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_PRODUCT, "cuda-math-product"},
        {&contract.act_function, "act.function", MP_ACT_TORCH_COMPILE, "torch-compile"},
        {&contract.act_rounding, "act.rounding", MP_ACT_ONE_ROUNDING, "one-rounding"},
        {&contract.act_rounding, "act.rounding", MP_ACT_GATE_ROUNDED, "gate-rounded"},
        {&contract.combine, "combine.variant", MP_COMBINE_SCALE_THEN_ROUND, "scale-then-round"},
        {&contract.combine, "combine.variant", MP_COMBINE_ROUND_THEN_SCALE, "round-then-scale"},
        {&contract.combine, "combine.variant", MP_COMBINE_ELEMENT_DTYPE, "element-dtype"},
        {&contract.filtered[MP_GATE_UP], "gate_up.filtered", MP_ROW_UNTOUCHED, "untouched"},
        {&contract.filtered[MP_ACT], "act.filtered", MP_ROW_UNTOUCHED, "untouched"},
        {&contract.filtered[MP_DOWN], "down.filtered", MP_ROW_ZERO, "zero"},
        {&contract.padding, "padding", MP_ROW_ANYTHING, "anything"},
        {&contract.padding, "padding", MP_ROW_UNTOUCHED, "untouched"},
        {&contract.padding, "padding", MP_ROW_ZERO, "zero"},
        {&contract.promise[MP_ALIGN].bits, "align.bits", MP_BITS_NONE, "none"},
        {&contract.promise[MP_GATE_UP].bits, "gate_up.bits", MP_BITS_REPORTED, "reported"},
        {&contract.promise[MP_ACT].bits, "act.bits", MP_BITS_REPORTED, "reported"},
        {&contract.promise[MP_DOWN].bits, "down.bits", MP_BITS_REQUIRED, "required"},
        {&contract.promise[MP_COMBINE].bits, "combine.bits", MP_BITS_REQUIRED, "required"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        wanted_field f = {.name = rows[i].name};
        mp_error err;
        contract = mp_contract_weakest();
        memcpy(rows[i].member, &rows[i].value, sizeof rows[i].value);
        mp_contract_fields(&contract, find_field, &f);
        assert_string_equal(f.value, rows[i].word);
        contract = mp_contract_weakest();
        assert_int_equal(mp_contract_set(&contract, rows[i].name, rows[i].word, &err), MP_OK);
        assert_memory_equal(rows[i].member, &rows[i].value, sizeof rows[i].value);
    }
}

static void presets_are_known_by_name(void **unused) {
    (void)unused;
    mp_case c = mp_case_default();
    mp_contract contract;
    mp_error err;
    static const char *const names[] = {"float64", "ieee-any-order", "sm_80", "sm_90", "weakest", "any"};
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(mp_contract_preset(names[i], &c, &contract, &err), MP_OK);
        assert_string_equal(contract.preset, names[i]);
        assert_int_equal(mp_contract_validate(&contract, &err), MP_OK);
    }
    assert_int_equal(mp_contract_preset("sm_91", &c, &contract, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "sm_90"));
}

/* An architecture's contract with somebody else's exp, tanh and erf: nothing else differs, and the bits of
 * act are required where the tables were measured. */
static void presets_name_published_functions(void **unused) {
    (void)unused;
    static const struct {
        const char *function;
        mp_act_function value;
    } functions[] = {{"cuda-math", MP_ACT_CUDA_MATH},
                     {"cuda-intrinsics", MP_ACT_CUDA_INTRINSICS},
                     {"cuda-fast-math", MP_ACT_CUDA_FAST_MATH},
                     {"triton", MP_ACT_TRITON},
                     {"triton-quotient", MP_ACT_TRITON_QUOTIENT},
                     {"cuda-math-sigmoid", MP_ACT_CUDA_SIGMOID},
                     {"cuda-math-product", MP_ACT_CUDA_PRODUCT},
                     {"torch-compile", MP_ACT_TORCH_COMPILE}};
    static const int known[] = {80, 86, 89, 90, 100};
    mp_error err;
    for (size_t a = 0; a < COUNT(known); a++)
        for (size_t f = 0; f < COUNT(functions); f++) {
            mp_case c = mp_case_default();
            char name[64];
            const char *why = NULL;
            c.dtype = f % 2 ? MP_FP32 : MP_BF16;
            mp_contract contract, same = mp_contract_of_architecture(known[a], &c);
            snprintf(name, sizeof name, "%s-%s", same.preset, functions[f].function);
            assert_int_equal(mp_contract_preset(name, &c, &contract, &err), MP_OK);
            assert_string_equal(contract.preset, name);
            assert_int_equal(contract.act_function, functions[f].value);
            assert_true(contract.act_ulps == 2);
            assert_true(mp_predictable(&contract, &c, MP_ACT, &why));
            if (known[a] == 90) assert_int_equal(contract.promise[MP_ACT].bits, MP_BITS_REQUIRED);
            if (known[a] != 90) assert_true(contract.promise[MP_ACT].bits < MP_BITS_REQUIRED);
            contract.act_function = MP_ACT_IEEE;
            contract.act_ulps = same.act_ulps;
            assert_true(mp_contract_digest(&contract) == mp_contract_digest(&same));
            snprintf(name, sizeof name, "sm_%d-%sx", known[a], functions[f].function);
            assert_int_equal(mp_contract_preset(name, &c, &contract, &err), MP_EINPUT);
            if (!strstr(err.text, functions[f].function)) fail_msg("%s", err.text);
        }
}

/* The bound of any accumulator holds for every one that is known, split or not. */
static void any_is_the_widest(void **unused) {
    (void)unused;
    static const int architectures[] = {70, 80, 86, 89, 90, 100};
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32};
    const mp_gemm_contract any = {.accumulator = MP_ACC_ANY, .split_k = 1};
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (size_t a = 0; a < COUNT(architectures); a++)
            for (int64_t k = 1; k < 100000; k = 3 * k + 1)
                for (int split = 1; split <= 64; split *= 2) {
                    mp_case c = mp_case_default();
                    c.dtype = dtypes[d];
                    mp_gemm_contract known = mp_contract_of_architecture(architectures[a], &c).gate_up;
                    known.split_k = split;
                    const mp_sum_bound narrow = mp_gemm_bound(&known, c.dtype, k, 100),
                                       wide = mp_gemm_bound(&any, c.dtype, k, 100);
                    if (!(narrow.rel <= wide.rel && narrow.abs <= wide.abs &&
                          wide.rel < 2e-7 * (double)k + 6e-5))
                        fail_msg("sm_%d %s k=%lld split=%d: %g %g, any %g %g", architectures[a],
                                 mp_dtype_name(c.dtype), (long long)k, split, narrow.rel, narrow.abs,
                                 wide.rel, wide.abs);
                }
}

static void the_text_names_every_promise(void **unused) {
    (void)unused;
    char text[MP_CONTRACT_TEXT_MAX];
    mp_case c = mp_case_default();
    mp_contract contract = mp_contract_of_architecture(90, &c);
    contract.act_ulps = 1.5;
    contract.act_rounding = MP_ACT_GATE_ROUNDED;
    contract.combine = MP_COMBINE_ELEMENT_DTYPE;
    contract.promise[MP_COMBINE].deterministic = false;
    static const char *const words[] = {"L=16",          "F=25",   "1.5 ulp",   "gate rounded",
                                        "element dtype", "stable", "not fixed", "depend on the batch"};
    mp_contract_text(&contract, text, sizeof text);
    for (size_t i = 0; i < COUNT(words); i++)
        if (!strstr(text, words[i])) fail_msg("%s: no %s", text, words[i]);
    contract.down = (mp_gemm_contract){.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 4};
    mp_contract_text(&contract, text, sizeof text);
    assert_true(strstr(text, "gate_up: tensor core") && strstr(text, "down: IEEE fp32 any order split_k 4"));
    assert_int_equal(mp_contract_preset("ieee-any-order", &c, &contract, NULL), MP_OK);
    mp_contract_text(&contract, text, sizeof text);
    assert_true(strstr(text, "IEEE") && strstr(text, "one rounding") && strstr(text, "scale then round") &&
                strstr(text, "; deterministic") && strstr(text, "batch invariant"));
    assert_int_equal(mp_contract_preset("any", &c, &contract, NULL), MP_OK);
    mp_contract_text(&contract, text, sizeof text);
    assert_true(strstr(text, "8 + 1.173 a unit of the argument ulp") && strstr(text, "stores may saturate"));
}

/* ---- what is predicted ---- */

#define STAGE(name) (1u << MP_##name)
#define SHRINKS (STAGE(SHRINK_GATE_UP) | STAGE(SHRINK_DOWN))
#define EXPANDS (STAGE(EXPAND_GATE_UP) | STAGE(EXPAND_DOWN))

/* Bit s: stage s is predicted under no such contract, and a reason is given. */
static unsigned unpredictable_stages(const mp_contract *contract, const mp_case *c) {
    unsigned refused = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const char *why = "not told";
        const bool predictable = mp_predictable(contract, c, (mp_stage)s, &why);
        assert_true(predictable ? why == NULL : why != NULL && why[0]);
        refused |= predictable ? 0 : 1u << s;
    }
    return refused;
}

/* All of sm_90 is predicted; a field that leaves an order or a function open takes its own stage out. */
static void one_field_takes_its_stage_out_of_the_prediction(void **unused) {
    (void)unused;
    static const struct {
        const char *name, *value;
        unsigned stages;
    } rows[] = {{"align.stable", "0", STAGE(ALIGN)},
                {"gate_up.accumulator", "ieee-any-order", STAGE(GATE_UP)},
                {"gate_up.accumulator", "float64", STAGE(GATE_UP)},
                {"gate_up.promotion", "1", STAGE(GATE_UP)},
                {"gate_up.promotion", "64", 0},
                {"gate_up.split_k", "2", STAGE(GATE_UP)},
                {"act.function", "special-unit", STAGE(ACT)},
                {"act.function", "library", STAGE(ACT)},
                {"act.function", "cuda-math", 0},
                {"act.function", "cuda-intrinsics", 0},
                {"act.function", "cuda-fast-math", 0},
                {"act.function", "triton", 0},
                {"act.rounding", "gate-rounded", 0},
                {"act.function", "triton-quotient", 0},
                {"act.function", "cuda-math-sigmoid", 0},
                {"act.function", "torch-compile", 0},
                {"act.up_plus_zero", "1", 0},
                {"act.clamp_nan", "limit", 0},
                {"act.clamp_nan", "any", 0}, /* silu clamps nothing */
                {"act.rounding", "any", STAGE(ACT)},
                {"down.accumulator", "ieee-any-order", STAGE(DOWN)},
                {"down.accumulator", "float64", STAGE(DOWN)},
                {"down.promotion", "1", STAGE(DOWN)},
                {"down.promotion", "64", 0},
                {"down.split_k", "2", STAGE(DOWN)},
                {"combine.variant", "round-then-scale", 0},
                {"combine.variant", "element-dtype", STAGE(COMBINE)},
                {"float64_steps", "1",
                 STAGE(QUANT_X) | STAGE(GATE_UP) | STAGE(ACT) | STAGE(QUANT_ACT) | STAGE(DOWN) |
                     STAGE(COMBINE) | SHRINKS | EXPANDS},
                {"shrink.accumulator", "ieee-any-order", SHRINKS},
                {"shrink.split_k", "2", SHRINKS},
                {"expand.accumulator", "ieee-any-order", EXPANDS},
                {"expand.input", "float32", EXPANDS},
                {"expand.add", "one-rounding", 0},
                {"expand.rows", "any", EXPANDS},
                {"expand.rows", "plus-zero", 0},
                {"gate_up.accumulator", "fma-ascending", 0},
                {"down.accumulator", "fma-ascending", 0},
                {"down.k_order", "by-pairs", STAGE(DOWN)},
                {"down.k_order", "permuted", 0},
                {"gate_up.accumulator", "any", STAGE(GATE_UP)},
                {"align.tail", "0", 0},
                {"down.filtered", "zero", 0},
                {"combine.bits", "none", 0}};
    mp_case c = mp_case_default(); /* with all stages that there are */
    c.lora_adapters = 2;
    mp_contract base;
    mp_error err;
    assert_int_equal(mp_contract_preset("sm_90", &c, &base, &err), MP_OK);
    assert_int_equal(unpredictable_stages(&base, &c), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        mp_contract changed = base;
        assert_int_equal(mp_contract_set(&changed, rows[i].name, rows[i].value, &err), MP_OK);
        const unsigned refused = unpredictable_stages(&changed, &c);
        if (refused != rows[i].stages)
            fail_msg("%s=%s: stages %x, expected %x", rows[i].name, rows[i].value, refused, rows[i].stages);
    }
    c.fused_sum = true;
    assert_int_equal(unpredictable_stages(&base, &c), STAGE(DOWN) | STAGE(COMBINE));
}

/* What a sentence tells of the accumulators is read from it again, of each GEMM its own. */
static void the_text_tells_the_group(void **unused) {
    (void)unused;
    static const struct {
        const char *preset;
        int up, down;
    } cases[] = {{"sm_90", 16, 16}, {"sm_80", 8, 8}, {"ieee-any-order", 0, 0}, {"float64", 0, 0}};
    char text[MP_CONTRACT_TEXT_MAX];
    mp_contract contract;
    mp_case c = mp_case_default();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mp_contract_preset(cases[i].preset, &c, &contract, NULL), MP_OK);
        mp_contract_text(&contract, text, sizeof text);
        assert_int_equal(mp_contract_text_group(text, MP_GATE_UP), cases[i].up);
        assert_int_equal(mp_contract_text_group(text, MP_DOWN), cases[i].down);
    }
    assert_int_equal(mp_contract_preset("sm_90", &c, &contract, NULL), MP_OK);
    contract.down.group = 4;
    mp_contract_text(&contract, text, sizeof text);
    assert_int_equal(mp_contract_text_group(text, MP_GATE_UP), 16);
    assert_int_equal(mp_contract_text_group(text, MP_DOWN), 4);
    contract.gate_up.accumulator = MP_ACC_FMA_ASCENDING;
    mp_contract_text(&contract, text, sizeof text);
    assert_int_equal(mp_contract_text_group(text, MP_GATE_UP), 0);
    assert_int_equal(mp_contract_text_group(text, MP_DOWN), 4);
    assert_int_equal(mp_contract_text_group("", MP_DOWN), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_reproduces_measured_vectors),
        cmocka_unit_test(ieee_sums_in_any_order_stay_inside),
        cmocka_unit_test(the_worst_ieee_sum_is_nearly_the_bound),
        cmocka_unit_test(tensor_cores_stay_inside),
        cmocka_unit_test(the_worst_accumulation_is_nearly_the_bound),
        cmocka_unit_test(subnormal_operands_are_paid_by_the_absolute_part),
        cmocka_unit_test(subnormal_accumulators_are_paid_by_the_absolute_part),
        cmocka_unit_test(float64_sums_stay_inside),
        cmocka_unit_test(the_worst_float64_sum_is_half_the_bound),
        cmocka_unit_test(a_lost_product_is_outside),
        cmocka_unit_test(gamma_covers_compounded_roundings),
        cmocka_unit_test(bounds_grow_with_the_sum_and_shrink_with_precision),
        cmocka_unit_test(each_architecture_promises_what_is_known_of_it),
        cmocka_unit_test(a_fused_sum_promises_no_order),
        cmocka_unit_test(sums_in_parts_stay_inside),
        cmocka_unit_test(fields_are_set_by_name_and_make_the_identity),
        cmocka_unit_test(every_value_has_its_word),
        cmocka_unit_test(presets_are_known_by_name),
        cmocka_unit_test(presets_name_published_functions),
        cmocka_unit_test(any_is_the_widest),
        cmocka_unit_test(the_text_names_every_promise),
        cmocka_unit_test(the_text_tells_the_group),
        cmocka_unit_test(one_field_takes_its_stage_out_of_the_prediction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
