/* SPDX-License-Identifier: Apache-2.0 */
/* harness/judge/measure.c: what passes, what fails, and that neither the order nor the number of parts
 * changes the figures. */
#include "harness/judge/measure.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const mp_dtype floats[] = {MP_BF16, MP_FP16, MP_FP32, MP_FP64};
enum { FLOATS = sizeof floats / sizeof *floats };
static const double infinite = (double)INFINITY, not_a_number = (double)NAN;

static mp_measure measure_one(mp_dtype dtype, double stored, mp_expectation e) {
    uint64_t element = 0;
    double sums[3] = {0, 0, 0};
    mp_measure m;
    mp_measure_start(&m);
    mp_encode(dtype, &element, 0, stored);
    mp_measure_element(&m, dtype, &element, 0, 7, &e, MP_POISON_A, sums);
    assert_int_equal(m.f.compared, 1);
    assert_int_equal(m.f.worst_index, 7);
    for (int i = 0; i < 3; i++)
        assert_true(isfinite(sums[i]) ||
                    (isnan(stored) && i == 0)); /* NaN may reach a row's rms, and fails there; Inf may not */
    return m;
}

static bool passes(mp_dtype dtype, double stored, mp_expectation e) {
    const mp_measure m = measure_one(dtype, stored, e);
    assert_int_equal(m.f.failed == 0, m.f.max_ratio <= 1);
    return m.f.failed == 0;
}

static void nan_never_passes_for_a_number(void **state) {
    (void)state;
    for (int i = 0; i < FLOATS; i++)
        for (int generous = 0; generous < 2; generous++) {
            const mp_measure m = measure_one(
                floats[i], not_a_number, (mp_expectation){.value = 1, .error = generous ? infinite : 0.5});
            assert_int_equal(m.f.failed, 1);
            assert_true(isnan(m.f.max_ratio) && isnan(m.f.max_abs));
            assert_int_equal(m.nan_failures, 1);
            assert_int_equal(m.poison_failures, 0);
        }
}

static void a_number_never_passes_for_nan_or_inf(void **state) {
    (void)state;
    for (int i = 0; i < FLOATS; i++) {
        const double largest = mp_dtype_format(floats[i])->max_finite;
        assert_true(passes(floats[i], not_a_number, (mp_expectation){.value = not_a_number}));
        assert_false(passes(floats[i], 0, (mp_expectation){.value = not_a_number, .error = infinite}));
        assert_false(passes(floats[i], infinite, (mp_expectation){.value = not_a_number}));
        assert_true(passes(floats[i], infinite, (mp_expectation){.value = infinite}));
        assert_true(passes(floats[i], -infinite, (mp_expectation){.value = -infinite}));
        assert_false(passes(floats[i], -infinite, (mp_expectation){.value = infinite}));
        assert_false(passes(floats[i], largest, (mp_expectation){.value = infinite, .error = infinite}));
        assert_false(passes(floats[i], not_a_number, (mp_expectation){.value = infinite}));
        assert_true(passes(floats[i], not_a_number, (mp_expectation){.value = infinite, .or_nan = true}));
        assert_false(passes(floats[i], -infinite, (mp_expectation){.value = infinite, .or_nan = true}));
        assert_false(passes(floats[i], 3, (mp_expectation){.value = infinite, .or_nan = true}));
    }
}

/* Inf for a finite value: only where the value, within its error, reaches the overflow threshold, and with
 * its sign. */
static void overflow_may_give_inf(void **state) {
    (void)state;
    for (int i = 0; i < FLOATS; i++) {
        const double largest = mp_dtype_format(floats[i])->max_finite;
        assert_true(passes(floats[i], infinite,
                           (mp_expectation){.value = largest, .error = largest / 4, .rounded = true}));
        assert_true(passes(floats[i], -infinite,
                           (mp_expectation){.value = -largest, .error = largest / 4, .rounded = true}));
        assert_false(passes(floats[i], -infinite,
                            (mp_expectation){.value = largest, .error = largest / 4, .rounded = true}));
        assert_false(passes(floats[i], infinite,
                            (mp_expectation){.value = largest / 2, .error = largest / 4, .rounded = true}));
        assert_false(passes(floats[i], infinite, (mp_expectation){.value = 1, .error = 1, .rounded = true}));
    }
}

/* The threshold of rounding to nearest, by the encoder: the neighbours of the first value that becomes
 * Inf. */
static void overflow_begins_half_an_ulp_beyond_the_largest(void **state) {
    (void)state;
    for (int i = 0; i < FLOATS - 1; i++) { /* float64 has no room beyond fp64's largest */
        const double largest = mp_dtype_format(floats[i])->max_finite,
                     threshold = largest + mp_half_ulp(floats[i], largest);
        assert_true(isinf(mp_round_to(floats[i], threshold)) &&
                    mp_round_to(floats[i], nextafter(threshold, 0)) == largest);
        assert_true(passes(floats[i], infinite, (mp_expectation){.value = threshold, .rounded = true}));
        assert_false(
            passes(floats[i], infinite, (mp_expectation){.value = nextafter(threshold, 0), .rounded = true}));
        assert_false(passes(floats[i], infinite, (mp_expectation){.value = largest, .rounded = true}));
        assert_false(passes(floats[i], infinite, (mp_expectation){.value = largest}));
        assert_true(
            passes(floats[i], infinite, (mp_expectation){.value = largest, .error = threshold - largest}));
    }
    assert_false(passes(MP_FP64, infinite,
                        (mp_expectation){.value = mp_dtype_format(MP_FP64)->max_finite, .rounded = true}));
}

/* No number and no Inf passes for a number of which nothing is known; one element of a row is enough to fail
 * it. */
static void an_infinite_bound_fails(void **state) {
    (void)state;
    const double bounds[] = {infinite, not_a_number}, stored[] = {0, 1, infinite, -infinite};
    for (int i = 0; i < FLOATS; i++)
        for (int b = 0; b < 2; b++)
            for (int s = 0; s < 4; s++) {
                const mp_measure m = measure_one(
                    floats[i], stored[s], (mp_expectation){.value = 1, .error = bounds[b], .rounded = true});
                assert_int_equal(m.f.failed, 1);
                assert_true(isnan(m.f.max_ratio) && !isfinite(m.f.worst_bound));
            }
    float row[100] = {0};
    double value[100] = {0}, error[100] = {0}, sums[3] = {0};
    mp_measure m;
    mp_measure_start(&m);
    error[70] = infinite;
    mp_measure_row(&m, MP_FP32, row, 0, 0, 100, value, error, false, MP_POISON_A, sums);
    assert_int_equal(m.f.failed, 1);
    assert_int_equal(m.f.worst_index, 70);
}

static void a_written_zero_is_positive(void **state) {
    (void)state;
    for (int i = 0; i < FLOATS; i++) {
        const mp_expectation e = {.positive_zero = true};
        assert_true(passes(floats[i], 0.0, e));
        assert_false(passes(floats[i], -0.0, e));
        assert_false(passes(floats[i], 0x1p-14, e));
    }
}

static void the_bound_itself_passes_and_nothing_above(void **state) {
    (void)state;
    const mp_expectation e = {.value = 1, .error = 0x1p-10};
    assert_true(passes(MP_FP32, 1 + 0x1p-10, e));
    assert_true(measure_one(MP_FP32, 1 + 0x1p-10, e).f.max_ratio == 1);
    assert_false(passes(MP_FP32, 1 + 0x1p-10 + 0x1p-23, e));
    assert_true(passes(MP_FP32, 1 - 0x1p-10, e));
    assert_false(passes(MP_FP32, 1 - 0x1p-10 - 0x1p-24, e));
}

static void a_zero_bound_wants_equality(void **state) {
    (void)state;
    for (int i = 0; i < FLOATS; i++) {
        const mp_expectation e = {.value = 1};
        assert_true(measure_one(floats[i], 1, e).f.max_ratio == 0);
        assert_int_equal(measure_one(floats[i], 1, e).f.bit_equal, 1);
        const mp_measure m = measure_one(floats[i], 1 + 2 * mp_half_ulp(floats[i], 1), e);
        assert_true(m.f.max_ratio == infinite);
        assert_int_equal(m.f.failed, 1);
        assert_int_equal(m.f.bit_equal, 0);
        assert_false(passes(floats[i], 0x1p-14, (mp_expectation){.value = 0}));
        assert_true(passes(floats[i], -0.0, (mp_expectation){.value = 0}));
    }
}

static uint64_t random_bits(void) {
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return state >> 11;
}

/* A correct store passes with no other error allowed, and the neighbours of it fail. The oracle is the
 * format's own list of values. */
static void a_store_may_round_once(void **state) {
    (void)state;
    for (int n = 0; n < 20000; n++) {
        const mp_dtype dtype = n % 2 ? MP_BF16 : MP_FP16;
        const uint64_t code = 0x0400 + random_bits() % 0x7000; /* normal, positive, below the largest */
        const double low = mp_decode_code(dtype, code), high = mp_decode_code(dtype, code + 1),
                     below = mp_decode_code(dtype, code - 1);
        const double share = (double)(random_bits() % 4096) / 4096, value = low + share * (high - low);
        const mp_expectation e = {.value = value, .rounded = true};
        assert_int_equal(passes(dtype, low, e), share <= 0.5);
        assert_int_equal(passes(dtype, high, e), share >= 0.5);
        assert_false(passes(dtype, below, e));
    }
}

/* Drift is what no rounding explains: the distance from float64 to the nearest number that rounds to what is
 * stored, over the bound before the store. The oracle is the format's own list of values; at a power of two,
 * below which numbers lie twice as dense, the figure may be smaller. */
static void drift_is_what_no_rounding_explains(void **state) {
    (void)state;
    for (int n = 0; n < 20000; n++) {
        const mp_dtype dtype = n % 2 ? MP_BF16 : MP_FP16;
        const uint64_t code = 0x0400 + random_bits() % 0x7000, sign = n % 3 ? 0 : 0x8000;
        const double stored = mp_decode_code(dtype, code), up = mp_decode_code(dtype, code + 1),
                     down = mp_decode_code(dtype, code - 1), gap = up - stored,
                     high = stored + (up - stored) / 2, low = stored - (stored - down) / 2;
        const double value = stored + ((double)(random_bits() % 8192) / 4096 - 1) * 2 * gap,
                     error = gap * (double)(1 + random_bits() % 64) / 16;
        const double beyond = value > high ? value - high : value < low ? low - value : 0;
        const bool power_of_two = stored - down < gap;
        const mp_expectation e = {.value = sign ? -value : value, .error = error, .rounded = true};
        const mp_measure m = measure_one(dtype, sign ? -stored : stored, e);
        if (power_of_two && value < low)
            assert_true(m.f.max_drift <= beyond / error);
        else
            assert_true(m.f.max_drift == beyond / error);
        if (m.f.failed == 0) assert_true(m.f.max_drift <= 1);
    }
    const mp_expectation exact = {.value = 1, .error = 0x1p-10};
    assert_true(measure_one(MP_FP32, 1 + 0x1p-11, exact).f.max_drift ==
                0.5); /* no rounding, nothing explained */
    assert_true(isnan(measure_one(MP_BF16, not_a_number, exact).f.max_drift));
    assert_true(measure_one(MP_BF16, infinite, (mp_expectation){.value = infinite}).f.max_drift == 0);
}

/* Every value is off by half of its bound before it is rounded: the figure says a half, where error/bound is
 * near 1 with the shift and without. */
static void a_shift_shows_as_drift(void **state) {
    (void)state;
    mp_measure m[2];
    for (int shifted = 0; shifted < 2; shifted++) {
        double sums[3] = {0};
        mp_measure_start(&m[shifted]);
        for (int n = 0; n < 4096; n++) {
            const double value = 1 + (double)(random_bits() % (1 << 20)) * 0x1p-20, bound = 0x1p-12;
            uint16_t element;
            mp_encode(MP_BF16, &element, 0, value + shifted * bound / 2);
            mp_measure_element(&m[shifted], MP_BF16, &element, 0, n,
                               &(mp_expectation){.value = value, .error = bound, .rounded = true},
                               MP_POISON_A, sums);
        }
        assert_true(m[shifted].f.failed == 0 && m[shifted].f.max_ratio > 0.93);
    }
    assert_true(m[0].f.max_drift == 0);
    assert_true(m[1].f.max_drift > 0.45 && m[1].f.max_drift <= 0.5);
}

static mp_expectation element_of(int n, double *stored) {
    *stored = n % 13 == 5 ? not_a_number : 1 + (double)(random_bits() % 64) / 64;
    return (mp_expectation){
        .value = n % 17 == 3 ? not_a_number : 1, .error = n % 5 ? 0.5 : 0.25, .rounded = true};
}

static void assert_same_figure(double a, double b) {
    assert_true(a == b || (isnan(a) && isnan(b)));
}

static void assert_same(const mp_measure *a, const mp_measure *b) {
    assert_int_equal(a->f.compared, b->f.compared);
    assert_int_equal(a->f.failed, b->f.failed);
    assert_int_equal(a->f.bit_equal, b->f.bit_equal);
    assert_int_equal(a->f.worst_index, b->f.worst_index);
    assert_same_figure(a->f.max_abs, b->f.max_abs);
    assert_same_figure(a->f.max_ratio, b->f.max_ratio);
    assert_same_figure(a->f.max_drift, b->f.max_drift);
    assert_same_figure(a->f.worst_value, b->f.worst_value);
    assert_same_figure(a->f.worst_expected, b->f.worst_expected);
    assert_same_figure(a->f.worst_bound, b->f.worst_bound);
    assert_int_equal(a->nan_failures, b->nan_failures);
    assert_int_equal(a->first_nan, b->first_nan);
    assert_same_figure(a->nan_got, b->nan_got);
    assert_same_figure(a->nan_expected, b->nan_expected);
    assert_int_equal(a->poison_failures, b->poison_failures);
    assert_int_equal(a->first_poison, b->first_poison);
}

/* Rows go through loops without special cases: they find what single elements give. Where stores saturate,
 * numbers around the largest too. */
static void a_row_is_measured_as_its_elements(void **state) {
    (void)state;
    enum { N = 1000 };
    int64_t failed = 0;
    static const mp_dtype stores[] = {MP_BF16, MP_FP16, MP_FP32, MP_FP64, MP_E4M3, MP_FP16, MP_E2M1, MP_I8};
    for (int round = 0; round < 64; round++) {
        const mp_dtype dtype = stores[round % 8];
        const bool saturates = round % 8 >= 4, rounded = round % 3 > 0;
        const double largest = mp_dtype_format(dtype)->max_finite;
        static double value[N], error[N];
        static uint64_t data[N];
        mp_measure row, each;
        double sums[2][3] = {{0}};
        for (int i = 0; i < N; i++) {
            value[i] = ldexp((double)(random_bits() % 4096) - 2048, (int)(random_bits() % 16) - 20);
            if (saturates) value[i] *= largest / (round % 16 < 8 ? 48 : 64);
            error[i] = fabs(value[i]) * 0x1p-9 + 0x1p-30;
            const double off = ((double)(random_bits() % 512) - 256) / 200 * error[i];
            mp_encode(dtype, data, i,
                      round % 16 >= 8 && round % 8 < 4 && i % 100 == 3 ? not_a_number : value[i] + off);
            if (dtype == MP_E4M3 || dtype == MP_FP16)
                mp_put_code(dtype, data, i,
                            dtype == MP_E4M3
                                ? mp_encode_e4m3_saturate(value[i] + off)
                                : mp_encode_code(dtype, fmin(fmax(value[i] + off, -largest), largest)));
        }
        mp_measure_start(&row);
        mp_measure_start(&each);
        row.overflow = each.overflow = saturates ? MP_OVERFLOW_SATURATE : MP_OVERFLOW_INF;
        if (saturates && round % 16 < 8) value[N / 2] = INFINITY;
        mp_measure_row(&row, dtype, data, 0, 0, N, value, error, rounded, MP_POISON_A, sums[0]);
        for (int i = 0; i < N; i++)
            mp_measure_element(&each, dtype, data, i, i,
                               &(mp_expectation){.value = value[i], .error = error[i], .rounded = rounded},
                               MP_POISON_A, sums[1]);
        assert_same(&row, &each);
        assert_true(row.f.max_ratio > 0.5 || isnan(row.f.max_ratio));
        failed += row.f.failed;
        assert_same_figure(row.f.max_error_ulps, each.f.max_error_ulps);
    }
    assert_true(failed > 1000);
}

/* Of threads that take every so many columns, merged in any order: where all passed the figures are those of
 * the elements, and where not there is one that failed, or that is near overflow. */
static void figures_of_a_row_are_those_of_its_elements(void **state) {
    (void)state;
    enum { N = 40, THREADS = 4, ROUNDS = 6000 };
    static const double odd[] = {0, -0.0, INFINITY, -INFINITY, NAN, 0x1p-149, 0x1p-133, 0x1p-24, 65504, 3e38};
    enum { ODD = sizeof odd / sizeof *odd };
    int taken = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const mp_dtype dtype = floats[round % 3];
        const bool rounded = random_bits() % 2;
        const mp_stored stored = mp_stored_as(dtype, rounded);
        const int n = 1 + (int)(random_bits() % N);
        double value[N], error[N], sums[3] = {0};
        uint64_t data[N];
        mp_measure each, whole;
        mp_row_figures part[THREADS];
        bool ordinary = true;
        for (int t = 0; t < THREADS; t++) mp_row_figures_start(&part[t]);
        mp_measure_start(&each);
        mp_measure_start(&whole);
        for (int i = 0; i < n; i++) {
            const uint64_t kind = random_bits() % 200;
            value[i] = ldexp((double)(random_bits() % 4096) - 2048, (int)(random_bits() % 16) - 20);
            error[i] = random_bits() % 8 ? fabs(value[i]) * 0x1p-9 + 0x1p-30 : 0;
            double got = value[i] + ((double)(random_bits() % 404) - 202) / 200 * error[i];
            if (kind < ODD)
                value[i] = odd[kind];
            else if (kind < 2 * ODD)
                got = odd[kind - ODD];
            else if (kind < 3 * ODD)
                value[i] = got = odd[kind - 2 * ODD];
            else if (kind < 4 * ODD)
                error[i] = fabs(odd[kind - 3 * ODD]);
            mp_encode(dtype, data, i, got);
            got = mp_decode(dtype, data, i);
            const mp_measured m = mp_measure_stored(&stored, got, value[i], error[i]);
            mp_row_figures_add(&part[i % THREADS], i, got, value[i], &m);
            ordinary = ordinary && fabs(got) < stored.large && fabs(value[i]) + error[i] < stored.large;
            mp_measure_element(&each, dtype, data, i, i,
                               &(mp_expectation){.value = value[i], .error = error[i], .rounded = rounded},
                               MP_POISON_A, sums);
        }
        const int first = (int)(random_bits() % THREADS);
        for (int t = 1; t < THREADS; t++) mp_row_figures_merge(&part[first], &part[(first + t) % THREADS]);
        assert_int_equal(part[first].passed == n, ordinary && each.f.failed == 0);
        if (part[first].passed != n) continue;
        taken++;
        mp_measure_figures(&whole, 0, &part[first]);
        assert_same(&whole, &each);
        assert_same_figure(whole.f.max_error_ulps, each.f.max_error_ulps);
        assert_same_figure(whole.f.max_drift, each.f.max_drift);
        for (int k = 0; k < 3; k++) assert_true(fabs(part[first].sums[k] - sums[k]) <= N * 0x1p-52 * sums[k]);
    }
    assert_in_range(taken, ROUNDS / 20, ROUNDS / 2);
}

/* Elements are dealt to parts at random and the parts merged in any order: the figures are those of one
 * part. */
static void parts_merge_in_any_order(void **state) {
    (void)state;
    enum { ELEMENTS = 120, PARTS = 7 };
    for (int round = 0; round < 200; round++) {
        const bool with_nan = round % 2;
        mp_measure whole, part[PARTS], merged;
        double sums[3] = {0};
        mp_measure_start(&whole);
        mp_measure_start(&merged);
        for (int p = 0; p < PARTS; p++) mp_measure_start(&part[p]);
        for (int n = 0; n < ELEMENTS; n++) {
            double stored;
            float element;
            mp_expectation e = element_of(with_nan ? n : 1, &stored);
            mp_encode(MP_FP32, &element, 0, stored);
            if (with_nan && n % 29 == 11) memcpy(&element, &(uint32_t){MP_POISON_A}, 4);
            mp_measure_element(&whole, MP_FP32, &element, 0, n, &e, MP_POISON_A, sums);
            mp_measure_element(&part[random_bits() % (PARTS - 1)], MP_FP32, &element, 0, n, &e, MP_POISON_A,
                               sums); /* the last part stays empty */
        }
        for (int p = 0; p < PARTS; p++) mp_measure_merge(&merged, &part[(p * 3 + round) % PARTS]);
        assert_same(&merged, &whole);
        assert_int_equal(isnan(whole.f.max_ratio), with_nan);
        assert_int_equal(whole.poison_failures,
                         with_nan ? 4 : 0); /* n = 11, 40, 69, 98, whatever is expected there */
    }
}

static void nan_sticks(void **state) {
    (void)state;
    mp_measure m;
    double sums[3] = {0};
    const float elements[] = {1, NAN, 1e30f, 1};
    const mp_expectation e = {.value = 1, .error = 0.5};
    mp_measure_start(&m);
    for (int i = 0; i < 4; i++) mp_measure_element(&m, MP_FP32, elements, i, i, &e, MP_POISON_A, sums);
    assert_true(isnan(m.f.max_abs) && isnan(m.f.max_ratio));
    assert_int_equal(m.f.worst_index, 1);
    assert_int_equal(m.f.failed, 2);
    assert_int_equal(m.first_nan, 1);
}

static void poison_is_told_from_other_nan(void **state) {
    (void)state;
    static const uint32_t poisons[] = {MP_POISON_A, MP_POISON_B};
    for (int i = 0; i < FLOATS; i++)
        for (int p = 0; p < 2; p++) {
            const uint32_t data[8] = {poisons[p], poisons[p], poisons[p], poisons[p],
                                      poisons[p], poisons[p], poisons[p], poisons[p]};
            for (int64_t position = 0; position < 4; position++) {
                mp_measure m;
                double sums[3] = {0};
                const mp_expectation e = {.value = 1, .error = 1};
                mp_measure_start(&m);
                mp_measure_element(&m, floats[i], data, position, 5, &e, poisons[p], sums);
                assert_int_equal(m.poison_failures, 1);
                assert_int_equal(m.first_poison, 5);
                mp_measure_element(&m, floats[i], data, position, 4, &e, poisons[1 - p],
                                   sums); /* the other run's poison: a NaN like any other */
                assert_int_equal(m.poison_failures, 1);
                assert_int_equal(m.nan_failures, 2);
            }
        }
}

/* Both NaNs of e4m3 are bytes of a poison. A row of them that was computed is none, whether a NaN is expected
 * or nothing is; a row that nobody wrote is. */
static void computed_nan_codes_are_no_poison(void **state) {
    (void)state;
    static const uint32_t poisons[] = {MP_POISON_A, MP_POISON_B};
    for (int p = 0; p < 2; p++)
        for (int open = 0; open < 2; open++)
            for (int kind = 0; kind < 3; kind++) {
                const uint32_t row[4] = {0x7F7F7F7Fu, 0xFFFFFFFFu, poisons[p]},
                               data[2] = {row[kind], row[kind]};
                const mp_expectation e = {.value = not_a_number, .open = open};
                mp_measure m;
                double sums[3] = {0};
                mp_measure_start(&m);
                for (int64_t position = 0; position < 8; position++)
                    mp_measure_element(&m, MP_E4M3, data, position, position, &e, poisons[p], sums);
                assert_int_equal(m.poison_failures, kind == 2 ? 4 : 0);
            }
}

/* An element that nobody wrote is no NaN that was computed, even where NaN is right. */
static void poison_is_seen_where_nan_is_expected(void **state) {
    (void)state;
    for (int i = 0; i < FLOATS; i++) {
        const uint32_t poison[2] = {MP_POISON_A, MP_POISON_A};
        const mp_expectation expected[] = {{.value = not_a_number}, {.value = infinite, .or_nan = true}};
        for (int k = 0; k < 2; k++) {
            double sums[3] = {0};
            mp_measure m;
            mp_measure_start(&m);
            mp_measure_element(&m, floats[i], poison, 0, 5, &expected[k], MP_POISON_A, sums);
            assert_int_equal(m.poison_failures, 1);
            assert_int_equal(m.first_poison, 5);
            assert_int_equal(measure_one(floats[i], not_a_number, expected[k]).poison_failures, 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nan_never_passes_for_a_number),
        cmocka_unit_test(a_number_never_passes_for_nan_or_inf),
        cmocka_unit_test(overflow_may_give_inf),
        cmocka_unit_test(the_bound_itself_passes_and_nothing_above),
        cmocka_unit_test(a_zero_bound_wants_equality),
        cmocka_unit_test(a_store_may_round_once),
        cmocka_unit_test(drift_is_what_no_rounding_explains),
        cmocka_unit_test(a_shift_shows_as_drift),
        cmocka_unit_test(a_row_is_measured_as_its_elements),
        cmocka_unit_test(figures_of_a_row_are_those_of_its_elements),
        cmocka_unit_test(parts_merge_in_any_order),
        cmocka_unit_test(nan_sticks),
        cmocka_unit_test(poison_is_told_from_other_nan),
        cmocka_unit_test(computed_nan_codes_are_no_poison),
        cmocka_unit_test(poison_is_seen_where_nan_is_expected),
        cmocka_unit_test(an_infinite_bound_fails),
        cmocka_unit_test(overflow_begins_half_an_ulp_beyond_the_largest),
        cmocka_unit_test(a_written_zero_is_positive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
