/* SPDX-License-Identifier: Apache-2.0 */
/* ref/combine.c against __float128 sums, and its bounds against sums made in float32, in dtype, in any
 * order. */
#include "ref/bounds.h"
#include "ref/combine.h"
#include "tests/ref_support.h"

enum { M = 5, K = 19 };

typedef enum family { NORMAL, WIDE, CANCELLING, FAMILY_COUNT } family;

static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32, MP_FP64};
static const int64_t topks[] = {1, 2, 3, 8, 33};
static const double rsfs[] = {1, 2.5, -0.5, 2.827}; /* the last is no fp32 value */

static const mp_contract contracts[] = {{.combine = MP_COMBINE_SCALE_THEN_ROUND},
                                        {.combine = MP_COMBINE_ROUND_THEN_SCALE},
                                        {.combine = MP_COMBINE_ELEMENT_DTYPE}};

static mp_case combine_case(mp_dtype dtype, int64_t topk, double rsf) {
    mp_case c = mp_case_default();
    c.scope = MP_SCOPE_COMBINE;
    c.M = M;
    c.K = K;
    c.topk = topk;
    c.dtype = dtype;
    c.rsf = rsf;
    return c;
}

static mp_tensor cache3_of(const mp_case *c, family f, rng *r) {
    mp_tensor t = allocated_tensor(c->dtype, c->M, c->topk, c->K);
    for (int64_t m = 0; m < c->M; m++)
        for (int64_t j = 0; j < c->topk; j++)
            for (int64_t k = 0; k < c->K; k++) {
                const int64_t at = (m * c->topk + j) * c->K + k;
                double v = f == NORMAL ? random_unit(r) : random_wide(r, -20, 6);
                if (f == CANCELLING && j % 2)
                    v = -mp_decode(c->dtype, t.data, at - c->K) * (1 + 0x1p-6 * random_unit(r));
                mp_encode(c->dtype, t.data, at, v);
            }
    return t;
}

static __float128 exact_sum(const mp_tensor *cache3, int64_t m, int64_t k, __float128 *mass) {
    __float128 sum = 0;
    *mass = 0;
    for (int64_t j = 0; j < cache3->dim[1]; j++) {
        const double v =
            mp_decode(cache3->dtype, cache3->data, (m * cache3->dim[1] + j) * cache3->dim[2] + k);
        sum += (__float128)v;
        *mass += (__float128)fabs(v);
    }
    return sum;
}

static double distance(__float128 a, double b) {
    const double d = (double)(a - (__float128)b);
    return fabs(d);
}

typedef void (*check)(const mp_case *c, const mp_tensor *cache3, rng *r);

static void for_every_combine(check f) {
    rng r = {8};
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (size_t t = 0; t < COUNT(topks); t++)
            for (size_t s = 0; s < COUNT(rsfs); s++)
                for (family data = NORMAL; data < FAMILY_COUNT; data++) {
                    const mp_case c = combine_case(dtypes[d], topks[t], rsfs[s]);
                    mp_tensor cache3 = cache3_of(&c, data, &r);
                    f(&c, &cache3, &r);
                    mp_tensor_free(&cache3);
                }
}

/* ---- the value ---- */

/* As if summed in 106 bits: topk additions of 2^-100 at most, one rounding to float64, one to dtype. */
static void check_value(const mp_case *c, const mp_tensor *cache3, rng *r) {
    (void)r;
    const double rsf = c->dtype == MP_FP64 ? c->rsf : (double)(float)c->rsf;
    assert_true(mp_combine_rsf(c) == rsf);
    mp_tensor out = allocated_tensor(c->dtype, c->M, c->K, 0);
    mp_combine_stage(c, MP_COMBINE_SCALE_THEN_ROUND, &(mp_combine_terms){.cache3 = cache3}, &out);
    for (int64_t m = 0; m < c->M; m++)
        for (int64_t k = 0; k < c->K; k++) {
            __float128 mass;
            const __float128 sum = exact_sum(cache3, m, k, &mass);
            const mp_sum got = mp_combine_sum(&(mp_combine_terms){.cache3 = cache3}, m, k);
            const double error = mp_gamma((double)c->topk, 0x1p-100) * (double)mass;
            assert_true(fabs((double)((__float128)got.value + (__float128)got.rest - sum)) <= error);
            assert_true(fabs((double)((__float128)got.mass - mass)) <=
                        mp_gamma((double)c->topk, 0x1p-53) * (double)mass);

            const __float128 scaled = (__float128)rsf * sum;
            const double size = fabs((double)scaled), narrowed = fabs(rsf) * error + 0x1p-53 * size;
            assert_true(distance(scaled, mp_combine_value(c, MP_COMBINE_SCALE_THEN_ROUND, got)) <=
                        narrowed * (1 + 0x1p-20));
            assert_true(distance(scaled, mp_decode(c->dtype, out.data, m * c->K + k)) <=
                        narrowed * (1 + 0x1p-20) + mp_half_ulp(c->dtype, size + narrowed));
            const double rounded = mp_combine_value(c, MP_COMBINE_ROUND_THEN_SCALE, got);
            assert_true(rounded == rsf * mp_round_to(c->dtype, mp_sum_value(&got)));
        }
    int64_t offset;
    assert_true(mp_tensor_guards_intact(&out, &offset));
    mp_tensor_free(&out);
}

static void the_stage_is_the_exact_sum_rounded_once(void **unused) {
    (void)unused;
    for_every_combine(check_value);
}

/* ---- the bound, from inside and outside ---- */

static double step(const mp_case *c, double v) {
    return c->dtype == MP_FP64 ? v : (double)(float)v;
}

/* What a kernel of this variant computes before its last rounding: terms in the order given, float32 steps
 * (float64 for fp64). */
static double subject(const mp_case *c, mp_combine_variant variant, const mp_tensor *cache3,
                      const int64_t *order, int64_t m, int64_t k) {
    double sum = 0;
    for (int64_t i = 0; i < c->topk; i++) {
        sum = step(c, sum + mp_decode(c->dtype, cache3->data, (m * c->topk + order[i]) * c->K + k));
        if (variant == MP_COMBINE_ELEMENT_DTYPE) sum = mp_round_to(c->dtype, sum);
    }
    if (variant == MP_COMBINE_ROUND_THEN_SCALE) sum = mp_round_to(c->dtype, sum);
    return step(c, sum * mp_combine_rsf(c));
}

static bool inside(const mp_case *c, const mp_contract *contract, const mp_tensor *cache3, int64_t m,
                   int64_t k, double got) {
    const mp_sum sum = mp_combine_sum(&(mp_combine_terms){.cache3 = cache3}, m, k);
    return fabs(got - mp_combine_value(c, contract->combine, sum)) <= mp_combine_bound(c, contract, sum);
}

static int64_t outside[3][3]; /* [variant of the subject][contract it is judged by] */

static void check_bounds(const mp_case *c, const mp_tensor *cache3, rng *r) {
    int64_t order[64];
    for (int shuffled = 0; shuffled <= 4; shuffled++) {
        for (int64_t j = 0; j < c->topk; j++) order[j] = j;
        if (shuffled) random_order(r, order, c->topk);
        for (int64_t m = 0; m < c->M; m++)
            for (int64_t k = 0; k < c->K; k++)
                for (int variant = 0; variant < 3; variant++) {
                    const double got = subject(c, (mp_combine_variant)variant, cache3, order, m, k);
                    for (int judge = 0; judge < 3; judge++)
                        outside[variant][judge] += !inside(c, &contracts[judge], cache3, m, k, got);
                    if (inside(c, &contracts[variant], cache3, m, k, got)) continue;
                    const mp_sum sum = mp_combine_sum(&(mp_combine_terms){.cache3 = cache3}, m, k);
                    fail_msg("variant %d %s topk=%lld rsf=%g: %.17g, expected %.17g +- %.3g", variant,
                             mp_dtype_name(c->dtype), (long long)c->topk, c->rsf, got,
                             mp_combine_value(c, contracts[variant].combine, sum),
                             mp_combine_bound(c, &contracts[variant], sum));
                }
    }
}

/* Each variant may round more often than the one before it, so that a looser bound contains the stricter
 * variants; the converse must not hold. */
static void each_variant_keeps_its_bound_and_breaks_the_stricter_ones(void **unused) {
    (void)unused;
    memset(outside, 0, sizeof outside);
    for_every_combine(check_bounds);
    for (int variant = 0; variant < 3; variant++)
        for (int judge = 0; judge < variant; judge++) assert_true(outside[variant][judge] > 100);
}

/* The bound of a sum of 1 whose terms have one sign, counted: half a unit for each of topk-1 additions and
 * for the scaling, a whole unit of dtype for a sum that subject and reference round to different sides, and
 * the narrowing of the reference. What roundings of roundings add is below topk*u of that. */
static void the_bound_is_the_count_of_roundings(void **unused) {
    (void)unused;
    static const double factors[] = {1, 2};
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (int64_t topk = 2; topk <= 8; topk += 6)
            for (int variant = 0; variant < 3; variant++)
                for (size_t s = 0; s < COUNT(factors); s++) {
                    const mp_case c = combine_case(dtypes[d], topk, factors[s]);
                    const double half = mp_unit_roundoff(c.dtype), narrow = 0x1p-53,
                                 wide = c.dtype == MP_FP64 ? 0x1p-53 : 0x1p-24;
                    const double u = variant == MP_COMBINE_ELEMENT_DTYPE ? half : wide,
                                 unit = variant == MP_COMBINE_ROUND_THEN_SCALE ? 2 * half : 0;
                    const double counted =
                        factors[s] * ((double)(topk - 1) * u + unit + (s ? u : 0) + narrow);
                    const double excess = mp_combine_bound(&c, &contracts[variant],
                                                           (mp_sum){.value = 1, .mass = 1, .terms = c.topk}) /
                                              counted -
                                          1;
                    if (!(excess >= -0x1p-50 && excess <= 1.25 * (double)topk * u + 0x1p-50))
                        fail_msg("variant %d %s topk=%lld rsf=%g: %g above the count", variant,
                                 mp_dtype_name(c.dtype), (long long)topk, c.rsf, excess);
                }
}

/* Every rounding is a tie that takes half a unit away: a first term near 1, then terms of half a unit each,
 * and a scale whose product with the first one is half a unit above what can be held. Of the reference's own
 * roundings only those of ROUND_THEN_SCALE go the other way here. */
static void the_worst_sum_is_nearly_the_bound(void **unused) {
    (void)unused;
    static const int64_t order[] = {0, 1, 2, 3, 4, 5, 6, 7};
    static const struct {
        mp_combine_variant variant;
        mp_dtype dtype;
        int64_t topk;
        double first, half_unit, rsf, used;
    } rows[] = {
        {MP_COMBINE_SCALE_THEN_ROUND, MP_BF16, 2, 1 + 0x1p-7, 0x1p-24, 1 + 0x1p-17, 0.98},
        {MP_COMBINE_SCALE_THEN_ROUND, MP_BF16, 8, 1 + 0x1p-7, 0x1p-24, 1 + 0x1p-17, 0.98},
        {MP_COMBINE_SCALE_THEN_ROUND, MP_FP32, 8, 1 + 0x1p-12, 0x1p-24, 1 + 0x1p-12, 0.99},
        {MP_COMBINE_SCALE_THEN_ROUND, MP_FP64, 8, 1 + 0x1p-26, 0x1p-53, 1 + 0x1p-27,
         0.88}, /* the narrowing, one of nine, is exact */
        {MP_COMBINE_ROUND_THEN_SCALE, MP_FP32, 8, 1 + 0x1p-12, 0x1p-24, 1 + 0x1p-12,
         0.89}, /* 9 of 10: a reference rounds by half a unit */
        {MP_COMBINE_ELEMENT_DTYPE, MP_BF16, 2, 1, 0x1p-8, 1 + 0x1p-8, 0.97},
        {MP_COMBINE_ELEMENT_DTYPE, MP_BF16, 8, 1, 0x1p-8, 1 + 0x1p-8, 0.94},
        {MP_COMBINE_ELEMENT_DTYPE, MP_FP16, 1, 1, 0x1p-11, 1 + 0x1p-11, 0.99},
        {MP_COMBINE_ELEMENT_DTYPE, MP_FP16, 8, 1, 0x1p-11, 1 + 0x1p-11, 0.98},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        mp_case c = combine_case(rows[i].dtype, rows[i].topk, rows[i].rsf);
        c.M = c.K = 1;
        mp_tensor cache3 = allocated_tensor(c.dtype, 1, c.topk, 1);
        for (int64_t j = 0; j < c.topk; j++)
            mp_encode(c.dtype, cache3.data, j, j ? rows[i].half_unit : rows[i].first);
        double got = subject(&c, rows[i].variant, &cache3, order, 0, 0);
        if (rows[i].variant == MP_COMBINE_ELEMENT_DTYPE)
            got = mp_round_to(c.dtype, got); /* the scaled sum is an element, too */
        const mp_sum sum = mp_combine_sum(&(mp_combine_terms){.cache3 = &cache3}, 0, 0);
        const double used = fabs(got - mp_combine_value(&c, rows[i].variant, sum)) /
                            mp_combine_bound(&c, &contracts[rows[i].variant], sum);
        if (!(used >= rows[i].used && used <= 1))
            fail_msg("variant %d %s topk=%lld: %g of the bound", rows[i].variant, mp_dtype_name(c.dtype),
                     (long long)c.topk, used);
        mp_tensor_free(&cache3);
    }
}

/* The sum lies 2^-40 below a tie of bf16 and float32 cannot hold that: the subject rounds up to even where
 * the exact sum rounds down. Both are right, a whole ulp apart. */
static void a_sum_near_a_tie_may_round_to_either_side(void **unused) {
    (void)unused;
    mp_case c = combine_case(MP_BF16, 3, 2.5);
    c.M = c.K = 1;
    mp_tensor cache3 = allocated_tensor(MP_BF16, 1, 3, 1);
    static const double terms[] = {1 + 0x1p-7, 0x1p-8, -0x1p-40};
    static const int64_t order[] = {0, 1, 2};
    for (int64_t j = 0; j < 3; j++) mp_encode(MP_BF16, cache3.data, j, terms[j]);
    const double got = subject(&c, MP_COMBINE_ROUND_THEN_SCALE, &cache3, order, 0, 0);
    assert_true(got - mp_combine_value(&c, MP_COMBINE_ROUND_THEN_SCALE,
                                       mp_combine_sum(&(mp_combine_terms){.cache3 = &cache3}, 0, 0)) ==
                2.5 * 0x1p-7);
    assert_true(inside(&c, &contracts[MP_COMBINE_ROUND_THEN_SCALE], &cache3, 0, 0, got));
    assert_false(inside(&c, &contracts[MP_COMBINE_ROUND_THEN_SCALE], &cache3, 0, 0, got + 2.5 * 0x1p-7));
    mp_tensor_free(&cache3);
}

/* A single term needs no addition: unscaled its bound leaves nothing but the reference's own narrowing. */
static void one_unscaled_term_is_exact(void **unused) {
    (void)unused;
    const mp_case c = combine_case(MP_BF16, 1, 1);
    const mp_sum sum = {.value = 1, .mass = 1, .terms = 1};
    assert_true(mp_combine_bound(&c, &contracts[0], sum) <= 0x1p-53 &&
                mp_combine_bound(&c, &contracts[2], sum) <= 0x1p-53);
    assert_true(mp_combine_value(&c, MP_COMBINE_SCALE_THEN_ROUND, sum) == 1);
}

/* A scale whose float32 value differs, dropped or applied twice, is outside. */
static void a_wrong_scale_is_outside(void **unused) {
    (void)unused;
    rng r = {9};
    const mp_case c = combine_case(MP_FP32, 2, 2.827);
    mp_tensor cache3 = cache3_of(&c, NORMAL, &r);
    const int64_t order[] = {0, 1};
    int64_t kept = 0;
    for (int64_t k = 0; k < c.K; k++) {
        const double got = subject(&c, MP_COMBINE_SCALE_THEN_ROUND, &cache3, order, 0, k),
                     rsf = mp_combine_rsf(&c);
        kept += inside(&c, &contracts[0], &cache3, 0, k, got) &&
                !inside(&c, &contracts[0], &cache3, 0, k, got / rsf) &&
                !inside(&c, &contracts[0], &cache3, 0, k, got * rsf) &&
                !inside(&c, &contracts[0], &cache3, 0, k, -got);
    }
    assert_int_equal(kept, c.K);
    mp_tensor_free(&cache3);
}

static void nan_and_inf_reach_the_output(void **unused) {
    (void)unused;
    mp_case c = combine_case(MP_BF16, 2, 0.5);
    c.M = 1;
    c.K = 4;
    mp_tensor cache3 = allocated_tensor(MP_BF16, 1, 2, 4), out = allocated_tensor(MP_BF16, 1, 4, 0);
    static const double terms[8] = {NAN, INFINITY, INFINITY, 3, 1, -1, -INFINITY, 5};
    for (int64_t i = 0; i < 8; i++) mp_encode(MP_BF16, cache3.data, i, terms[i]);
    mp_combine_stage(&c, MP_COMBINE_SCALE_THEN_ROUND, &(mp_combine_terms){.cache3 = &cache3}, &out);
    assert_true(isnan(mp_decode(MP_BF16, out.data, 0)) && isnan(mp_decode(MP_BF16, out.data, 2)));
    assert_true(mp_decode(MP_BF16, out.data, 1) == INFINITY && mp_decode(MP_BF16, out.data, 3) == 4);
    mp_tensor_free(&cache3);
    mp_tensor_free(&out);
}

/* 40000 + 40000 - 40000 is 40000, and Inf where fp16 holds the first two. */
static void a_sum_may_overflow_on_the_way(void **unused) {
    (void)unused;
    const mp_sum cancelling = {.value = 40000, .mass = 120000, .terms = 3},
                 small = {.value = 10, .mass = 60000, .terms = 3},
                 large = {.value = 65000, .mass = 65000, .terms = 3},
                 infinite = {.value = (double)INFINITY, .mass = (double)INFINITY, .terms = 3};
    mp_case c = mp_case_default();
    c.dtype = MP_FP16;
    mp_contract contract = contracts[MP_COMBINE_ELEMENT_DTYPE];
    assert_true(mp_combine_may_overflow_inside(&c, &contract, cancelling));
    assert_false(mp_combine_may_overflow_inside(&c, &contract, small));
    assert_false(mp_combine_may_overflow_inside(&c, &contract, infinite)); /* it is Inf, on every way */
    c.rsf = 2;
    assert_true(mp_combine_may_overflow_inside(&c, &contract, small)); /* scaled first */
    c.dtype = MP_BF16;
    assert_false(mp_combine_may_overflow_inside(&c, &contract, cancelling));
    c.dtype = MP_FP16;
    contract = contracts[MP_COMBINE_ROUND_THEN_SCALE];
    assert_false(mp_combine_may_overflow_inside(&c, &contract, cancelling)); /* the sum alone is rounded */
    assert_true(
        mp_combine_may_overflow_inside(&c, &contract, (mp_sum){.value = 65510, .mass = 65510, .terms = 3}));
    contract = contracts[MP_COMBINE_SCALE_THEN_ROUND];
    assert_false(mp_combine_may_overflow_inside(&c, &contract, large));
    assert_false(mp_combine_may_overflow_inside(&c, &contract, cancelling));
}

/* ---- the shared output ---- */

/* What a kernel makes of the scaled sum and `shared` before its last rounding. */
static double add_shared(const mp_case *c, mp_shared_add how, double scaled, double shared) {
    return step(c, (how == MP_SHARED_ROUNDED ? mp_round_to(c->dtype, scaled) : scaled) + shared);
}

static int64_t shared_outside[2][2]; /* [what the subject does][contract it is judged by] */

static void check_shared(const mp_case *without, const mp_tensor *cache3, rng *r) {
    mp_case c = *without;
    int64_t order[64];
    mp_tensor shared = allocated_tensor(c.dtype, c.M, c.K, 0), out = allocated_tensor(c.dtype, c.M, c.K, 0);
    c.shared = MP_SHARED_ADD;
    random_order(r, order, c.topk);
    for (int64_t i = 0; i < c.M * c.K; i++) mp_encode(c.dtype, shared.data, i, random_wide(r, -8, 2));
    mp_combine_stage(&c, MP_COMBINE_SCALE_THEN_ROUND,
                     &(mp_combine_terms){.cache3 = cache3, .shared_output = &shared}, &out);
    for (int64_t m = 0; m < c.M; m++)
        for (int64_t k = 0; k < c.K; k++) {
            __float128 mass;
            const double added = mp_decode(c.dtype, shared.data, m * c.K + k), rsf = mp_combine_rsf(&c);
            const __float128 exact = (__float128)rsf * exact_sum(cache3, m, k, &mass) + (__float128)added;
            const mp_sum sum =
                mp_combine_sum(&(mp_combine_terms){.cache3 = cache3, .shared_output = &shared}, m, k);
            const double value = mp_combine_value(&c, MP_COMBINE_SCALE_THEN_ROUND, sum),
                         narrowed = fabs(rsf) * mp_gamma((double)c.topk, 0x1p-62) * (double)mass +
                                    0x1p-52 * (fabs(rsf) * (double)mass + fabs(added));
            assert_true(distance(exact, value) <= narrowed);
            assert_true(fabs(mp_decode(c.dtype, out.data, m * c.K + k) - value) <=
                        narrowed + mp_half_ulp(c.dtype, fabs(value) + narrowed));
            for (int variant = 0; variant < 3; variant++)
                for (int how = 0; how < 2; how++) {
                    mp_contract contract = contracts[variant];
                    const double scaled = subject(&c, (mp_combine_variant)variant, cache3, order, m, k),
                                 got = add_shared(&c, (mp_shared_add)how, scaled, added),
                                 expected = mp_combine_value(&c, contract.combine, sum);
                    for (int judge = 0; judge < 2; judge++) {
                        contract.combine_shared = (mp_shared_add)judge;
                        const double bound = mp_combine_bound(&c, &contract, sum);
                        const bool inside = fabs(got - expected) <= bound;
                        shared_outside[how][judge] += !inside;
                        if (inside || (how == MP_SHARED_ROUNDED && judge == MP_SHARED_ONE_ROUNDING)) continue;
                        fail_msg("variant %d %s topk=%lld rsf=%g, %s: %.17g, expected %.17g +- %.3g", variant,
                                 mp_dtype_name(c.dtype), (long long)c.topk, c.rsf,
                                 how == MP_SHARED_ROUNDED ? "rounded" : "one rounding", got, expected, bound);
                    }
                }
        }
    mp_tensor_free(&shared);
    mp_tensor_free(&out);
}

/* A contract of one rounding has no room for a sum that is rounded before; the other one has for both. */
static void the_shared_output_is_added(void **unused) {
    (void)unused;
    memset(shared_outside, 0, sizeof shared_outside);
    for_every_combine(check_shared);
    assert_true(shared_outside[MP_SHARED_ROUNDED][MP_SHARED_ONE_ROUNDING] > 1000);
}

/* Left out, added twice or scaled like the rest; and the sum left out. */
static void a_wrong_shared_output_is_outside(void **unused) {
    (void)unused;
    mp_case c = combine_case(MP_BF16, 8, 2.5);
    c.shared = MP_SHARED_ADD;
    const mp_sum sum = {.value = 1, .mass = 1, .terms = 8, .shared = 0.25};
    const mp_contract contract = {.combine = MP_COMBINE_ELEMENT_DTYPE}; /* the widest */
    const double wrong[] = {2.5, 3, 2.5 * 1.25, 0.25, 1.25},
                 right = mp_combine_value(&c, contract.combine, sum);
    assert_true(right == 2.75);
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_true(fabs(wrong[i] - right) > mp_combine_bound(&c, &contract, sum));
}

/* 70000 - 30000 is no overflow of one rounding; where the sum is stored before, it is Inf in fp16. */
static void the_sum_may_overflow_before_the_shared_output(void **unused) {
    (void)unused;
    mp_case c = combine_case(MP_FP16, 2, 2);
    c.shared = MP_SHARED_ADD;
    const mp_sum large = {.value = 35000, .mass = 35000, .terms = 2, .shared = -30000},
                 small = {.value = 3500, .mass = 3500, .terms = 2, .shared = -30000};
    mp_contract contract = {.combine_shared = MP_SHARED_ONE_ROUNDING};
    assert_false(mp_combine_may_overflow_inside(&c, &contract, large));
    contract.combine_shared = MP_SHARED_ROUNDED;
    assert_true(mp_combine_may_overflow_inside(&c, &contract, large));
    assert_false(mp_combine_may_overflow_inside(&c, &contract, small));
}

/* ---- router weights in combine ---- */

/* What a kernel of this variant has before its last rounding that multiplies each term first: by one
 * operation with the addition, or by a product that is rounded to float32, then perhaps to `product`. */
static double weighing_subject(const mp_case *c, mp_combine_variant variant, const mp_combine_terms *x,
                               const int64_t *order, int64_t m, int64_t k, bool fused, mp_dtype product) {
    float sum = 0;
    for (int64_t i = 0; i < c->topk; i++) {
        const int64_t slot = m * c->topk + order[i];
        const float w = x->weights[slot], v = (float)mp_decode(c->dtype, x->cache3->data, slot * c->K + k);
        sum = fused ? fmaf(w, v, sum) : sum + (float)mp_round_to(product, (double)(w * v));
        if (variant == MP_COMBINE_ELEMENT_DTYPE) sum = (float)mp_round_to(c->dtype, (double)sum);
    }
    if (variant == MP_COMBINE_ROUND_THEN_SCALE) sum = (float)mp_round_to(c->dtype, (double)sum);
    return (double)(sum * (float)c->rsf);
}

static bool weighed_inside(const mp_case *c, const mp_contract *contract, const mp_combine_terms *x,
                           int64_t m, int64_t k, double got) {
    const mp_sum sum = mp_combine_sum(x, m, k);
    return fabs(got - mp_combine_value(c, contract->combine, sum)) <= mp_combine_bound(c, contract, sum);
}

static struct {
    int64_t elements, narrow_products, narrow_weights; /* outside: of products, and weights, in dtype */
} weighed;

static void check_weights(const mp_case *given, const mp_tensor *cache3, rng *r) {
    mp_case c = *given;
    if (c.dtype == MP_FP64) return;
    c.apply_router_weight_in_combine = true;
    const int64_t slots = mp_case_slots(&c);
    float *weights = malloc((size_t)slots * sizeof *weights),
          *narrow = malloc((size_t)slots * sizeof *narrow);
    assert_true(weights && narrow);
    for (int64_t t = 0; t < slots; t++) {
        weights[t] = 0.01f + (float)fabs(random_unit(r));
        narrow[t] = (float)mp_round_to(c.dtype, (double)weights[t]);
    }
    const mp_combine_terms x = {.cache3 = cache3, .weights = weights},
                           rounded = {.cache3 = cache3, .weights = narrow};
    int64_t order[64];
    for (int64_t j = 0; j < c.topk; j++) order[j] = j;
    for (int64_t m = 0; m < c.M; m++)
        for (int64_t k = 0; k < c.K; k++) {
            __float128 exact = 0;
            for (int64_t j = 0; j < c.topk; j++)
                exact += (__float128)weights[m * c.topk + j] *
                         (__float128)mp_decode(c.dtype, cache3->data, (m * c.topk + j) * c.K + k);
            const mp_sum sum = mp_combine_sum(&x, m, k);
            assert_true(fabs((double)((__float128)sum.value + (__float128)sum.rest - exact)) <=
                        mp_gamma((double)c.topk + 1, 0x1p-64) * (double)sum.mass);
            random_order(r, order, c.topk);
            for (int variant = 0; variant < 3; variant++)
                for (int fused = 0; fused < 2; fused++)
                    assert_true(weighed_inside(
                        &c, &contracts[variant], &x, m, k,
                        weighing_subject(&c, (mp_combine_variant)variant, &x, order, m, k, fused, MP_FP32)));
            const double element =
                weighing_subject(&c, MP_COMBINE_ELEMENT_DTYPE, &x, order, m, k, false, c.dtype);
            assert_true(weighed_inside(&c, &contracts[MP_COMBINE_ELEMENT_DTYPE], &x, m, k, element));
            if (c.dtype == MP_FP32) continue;
            weighed.elements++;
            weighed.narrow_products += !weighed_inside(
                &c, &contracts[0], &x, m, k, weighing_subject(&c, 0, &x, order, m, k, false, c.dtype));
            weighed.narrow_weights += !weighed_inside(
                &c, &contracts[0], &x, m, k, weighing_subject(&c, 0, &rounded, order, m, k, false, MP_FP32));
        }
    free(narrow);
    free(weights);
}

static void weighed_terms_keep_their_bound(void **unused) {
    (void)unused;
    memset(&weighed, 0, sizeof weighed);
    for_every_combine(check_weights);
    assert_true(weighed.narrow_products > weighed.elements / 2);
    assert_true(weighed.narrow_weights > weighed.elements / 2);
}

/* One rounding more of each term, of the step or of dtype. */
static void a_weight_adds_one_rounding_to_the_bound(void **unused) {
    (void)unused;
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (int variant = 0; variant < 3; variant++) {
            const mp_case c = combine_case(dtypes[d], 8, 1);
            mp_case weighs = c;
            weighs.apply_router_weight_in_combine = true;
            const mp_sum sum = {.value = 1, .mass = 1, .terms = c.topk};
            const double u = variant == MP_COMBINE_ELEMENT_DTYPE ? mp_unit_roundoff(c.dtype)
                             : c.dtype == MP_FP64                ? 0x1p-53
                                                                 : 0x1p-24,
                         more = mp_combine_bound(&weighs, &contracts[variant], sum) -
                                mp_combine_bound(&c, &contracts[variant], sum);
            assert_true(more >= u * (1 - 0x1p-20) && more <= u * (1 + 20 * u) + 0x1p-60);
        }
}

/* Their weights and rows are read by nobody. */
static void filtered_slots_are_no_terms(void **unused) {
    (void)unused;
    mp_tensor cache3 = mp_tensor_shape(MP_FP32, 3, 1, 3, 1);
    float values[] = {2, NAN, 5}, weights[] = {0.5f, NAN, 0.25f};
    cache3.data = values;
    const mp_sum sum = mp_combine_sum(
        &(mp_combine_terms){.cache3 = &cache3, .weights = weights, .topk_ids = (int32_t[]){0, -1, 1}}, 0, 0);
    assert_true(sum.value == 2.25L && sum.mass == 2.25L && sum.terms == 2 && sum.finite == 2.25L);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stage_is_the_exact_sum_rounded_once),
        cmocka_unit_test(each_variant_keeps_its_bound_and_breaks_the_stricter_ones),
        cmocka_unit_test(the_bound_is_the_count_of_roundings),
        cmocka_unit_test(the_worst_sum_is_nearly_the_bound),
        cmocka_unit_test(a_sum_near_a_tie_may_round_to_either_side),
        cmocka_unit_test(one_unscaled_term_is_exact),
        cmocka_unit_test(a_wrong_scale_is_outside),
        cmocka_unit_test(nan_and_inf_reach_the_output),
        cmocka_unit_test(a_sum_may_overflow_on_the_way),
        cmocka_unit_test(the_shared_output_is_added),
        cmocka_unit_test(a_wrong_shared_output_is_outside),
        cmocka_unit_test(the_sum_may_overflow_before_the_shared_output),
        cmocka_unit_test(weighed_terms_keep_their_bound),
        cmocka_unit_test(a_weight_adds_one_rounding_to_the_bound),
        cmocka_unit_test(filtered_slots_are_no_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
