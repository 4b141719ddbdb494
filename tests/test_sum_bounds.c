/* SPDX-License-Identifier: Apache-2.0 */
/* ref/bounds.c: the accumulation bounds against simulated hardware. IEEE sums in random orders, and a scalar
 * model of the tensor core's truncated fused dot-add, must never leave their bound, and must come near enough
 * to it that it says something. */
#include "ref/bounds.h"
#include "tests/core_support.h"

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

/* ---- the tensor core ---- */

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
        cmocka_unit_test(sums_in_parts_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
