/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/measure.h"

#include "base/clones.h"
#include "harness/picture.h"

#include <math.h>
#include <string.h>

void mp_measure_start(mp_measure *m) {
    *m = (mp_measure){.f = {.worst_index = -1}, .first_nan = -1, .first_poison = -1};
}

/* The larger of two maxima; NaN wins and stays. */
static double sticky_max(double a, double b) {
    return isnan(a) || a >= b ? a : b;
}

static void keep_first(int64_t *first, int64_t index) {
    if (index >= 0 && (*first < 0 || index < *first)) *first = index;
}

static bool worse(double ratio, int64_t index, const mp_stage_figures *f) {
    if (f->worst_index < 0) return true;
    if (isnan(f->max_ratio) != isnan(ratio)) return isnan(ratio);
    if (ratio == f->max_ratio || isnan(ratio))
        return index < f->worst_index; /* the same element whatever the threads did */
    return ratio > f->max_ratio;
}

void mp_measure_merge(mp_measure *into, const mp_measure *from) {
    mp_stage_figures *f = &into->f;
    const mp_stage_figures *g = &from->f;
    f->compared += g->compared;
    f->failed += g->failed;
    f->bit_equal += g->bit_equal;
    f->by_cpu += g->by_cpu;
    f->max_abs = sticky_max(f->max_abs, g->max_abs);
    if (g->worst_index >= 0 && worse(g->max_ratio, g->worst_index, f)) {
        f->worst_index = g->worst_index;
        f->worst_value = g->worst_value;
        f->worst_expected = g->worst_expected;
        f->worst_bound = g->worst_bound;
    }
    f->max_ratio = sticky_max(f->max_ratio, g->max_ratio);
    f->max_drift = sticky_max(f->max_drift, g->max_drift);
    f->max_error_ulps = fmax(f->max_error_ulps, g->max_error_ulps);
    if (from->nan_failures && (into->first_nan < 0 || from->first_nan < into->first_nan)) {
        into->first_nan = from->first_nan;
        into->nan_got = from->nan_got;
        into->nan_expected = from->nan_expected;
    }
    for (int level = 0; level < MP_LEVELS && into->picture; level++) {
        into->ratio_count[level] += from->ratio_count[level];
        into->ulps_count[level] += from->ulps_count[level];
    }
    into->open += from->open;
    into->nan_failures += from->nan_failures;
    into->poison_failures += from->poison_failures;
    keep_first(&into->first_poison, from->first_poison);
}

static bool holds_poison(mp_dtype dtype, const void *data, int64_t position, uint32_t poison) {
    /* both halves of the pattern are equal: what lies at an element follows from its position alone */
    const uint32_t pattern[8] = {poison, poison, poison, poison, poison, poison, poison, poison};
    return mp_code_at(dtype, data, position) == mp_code_at(dtype, pattern, position % 4);
}

/* The same of a NaN where one may have been computed: of 16 bits and more it is canonical, which no poison
 * is. An e4m3 has two NaNs only, and each is a byte of a poison; what lies before it tells them apart. */
static bool holds_poison_for_nan(mp_dtype dtype, const void *data, int64_t position, uint32_t poison) {
    const int64_t first = dtype != MP_E4M3 ? position : position < 3 ? 0 : position - 3;
    for (int64_t i = first; i <= position; i++)
        if (!holds_poison(dtype, data, i, poison)) return false;
    return true;
}

/* The smallest magnitude that rounding to nearest takes to Inf: half an ulp beyond the largest finite value.
 * For fp64 it is Inf itself, which is what a reach beyond it has become in float64. */
static double overflow_threshold(mp_dtype dtype) {
    const double largest = mp_dtype_format(dtype)->max_finite;
    return largest + mp_half_ulp(dtype, largest);
}

/* The most that the last rounding, to `got`, can have changed. A value of magnitude `reach` at most was
 * rounded by half an ulp of it or less; and whatever it was, what rounds to `got` lies within half an ulp of
 * that. */
static double half_of_store(mp_dtype dtype, double got, double reach) {
    const double half = mp_half_ulp(dtype, reach);
    return isfinite(got) ? fmin(half, mp_half_ulp(dtype, got)) : half;
}

/* Error over bound. A non-finite expectation must be met exactly; a finite one that reaches the overflow
 * threshold within its error may also be Inf. Everything else non-finite is NaN here: it fails, and it
 * sticks. So does a number whose bound is not finite: nothing is known of it, and a bound that everything
 * meets would pass everything. */
static double ratio_of(mp_dtype dtype, double got, const mp_expectation *e, bool saturates, double *error,
                       double *bound) {
    *bound = 0;
    if (e->or_nan && isnan(got)) return *error = 0;
    if (!isfinite(e->value)) {
        const bool met = isnan(e->value) ? isnan(got) : got == e->value;
        *error = met ? 0 : NAN;
        return *error;
    }
    if (!isfinite(e->error)) {
        *bound = e->error;
        *error = isfinite(got) ? fabs(got - e->value) : NAN;
        return NAN;
    }
    const double reach = fabs(e->value) + e->error;
    const bool overflows = !saturates && reach >= overflow_threshold(dtype);
    if (isinf(got) && overflows && signbit(got) == signbit(e->value)) {
        *error = 0;
        return 0;
    }
    *bound = e->error + (e->rounded ? half_of_store(dtype, got, reach) : 0);
    *error = isfinite(got) ? fabs(got - e->value) : NAN;
    if (e->positive_zero && got == 0 && signbit(got)) return INFINITY;
    return *error == 0 ? 0 : *error / *bound;
}

/* How far the value before the last rounding must have been off, over its bound: of the error to float64 at
 * most half an ulp of what is stored is the rounding's, and the rest was there before. At most 1 where error
 * over bound is. */
static double drift_of(mp_dtype dtype, double got, const mp_expectation *e, double error, double ratio) {
    if (!isfinite(e->value) || !isfinite(got) || !isfinite(e->error) || isinf(ratio)) return ratio;
    const double before = error - (e->rounded ? mp_half_ulp(dtype, got) : 0);
    return before <= 0 ? 0 : before / e->error;
}

/* What is expected of a store that saturates: the bound is that of the value before, for a clamp expands no
 * error. */
static mp_expectation saturated(mp_dtype dtype, double got, mp_expectation e) {
    const double largest = mp_dtype_format(dtype)->max_finite;
    if (!(fabs(e.value) > largest) || (e.or_nan && isnan(got))) return e;
    if (isinf(e.value)) e.error = 0;
    e.value = copysign(largest, e.value);
    return e;
}

/* Marks an element in the picture; ulps may be NaN: the error has no such measure. */
static void mark(mp_measure *m, int64_t index, double ratio, double drift, double ulps) {
    const int64_t row = index / m->width, column = index % m->width;
    const int level = mp_level(ratio);
    m->ratio_count[level]++;
    m->ulps_count[mp_level(ulps)]++;
    mp_picture_mark(m->picture, MP_PICTURE_RATIO, row, column, level);
    mp_picture_mark(m->picture, MP_PICTURE_DRIFT, row, column, mp_level(drift));
}

void mp_measure_element(mp_measure *m, mp_dtype dtype, const void *data, int64_t position, int64_t index,
                        const mp_expectation *given, uint32_t poison, double sums[3]) {
    const double got = mp_decode(dtype, data, position);
    const bool saturates =
        m->overflow == MP_OVERFLOW_SATURATE || (m->overflow == MP_OVERFLOW_ANY && !isinf(got));
    const mp_expectation expected = saturates ? saturated(dtype, got, *given) : *given, *e = &expected;
    double error, bound;
    if (e->open) {
        m->open++;
        if (isnan(got) && holds_poison_for_nan(dtype, data, position, poison)) {
            m->poison_failures++;
            keep_first(&m->first_poison, index);
        }
        return;
    }
    const double ratio = ratio_of(dtype, got, e, saturates, &error, &bound);
    mp_stage_figures *f = &m->f;
    f->compared++;
    if (!(ratio <= 1)) f->failed++;
    if (!(ratio <= 1) && m->failures) mp_pattern_add(m->failures, index / m->width, index % m->width);
    if (isfinite(got) && got == mp_round_to(dtype, e->value)) f->bit_equal++;
    f->max_abs = sticky_max(f->max_abs, error);
    if (worse(ratio, index, f)) {
        f->worst_index = index;
        f->worst_value = got;
        f->worst_expected = e->value;
        f->worst_bound = bound;
    }
    f->max_ratio = sticky_max(f->max_ratio, ratio);
    const double drift = drift_of(dtype, got, e, error, ratio);
    const double ulps = error == 0                              ? 0
                        : isfinite(e->value) && isfinite(error) ? error / (2 * mp_half_ulp(dtype, e->value))
                                                                : (double)NAN;
    f->max_drift = sticky_max(f->max_drift, drift);
    f->max_error_ulps = fmax(f->max_error_ulps, ulps); /* of numbers: NaN gives way */
    if (m->picture) mark(m, index, ratio, drift, ulps);
    if (isnan(error)) {
        if (m->nan_failures++ == 0 || index < m->first_nan) {
            m->first_nan = index;
            m->nan_got = got;
            m->nan_expected = e->value;
        }
    }
    if (isnan(got) &&
        (isnan(e->value) ? holds_poison_for_nan : holds_poison)(dtype, data, position, poison)) {
        m->poison_failures++;
        keep_first(&m->first_poison, index);
    }
    if (isfinite(e->value) && isfinite(bound) && !isinf(got)) {
        sums[0] += error * error;
        sums[1] += bound * bound;
        sums[2] += e->value * e->value;
    }
}

enum { BLOCK = 64 };

/* A block of elements with nothing special about them: all values finite and far from overflow. */
typedef struct block {
    double got[BLOCK], error[BLOCK], bound[BLOCK], ratio[BLOCK], drift[BLOCK], ulps[BLOCK];
    int64_t plain, failed, equal; /* counts */
    double max_abs, max_ratio, max_drift, max_ulps, sums[3];
} block;

/* Of numbers that are not NaN; by lanes, for a comparison of one after the other waits for the one before. */
static inline double largest_of(const double *x) {
    enum { LANES = 8 };
    double most[LANES] = {0};
    for (int i = 0; i < BLOCK; i += LANES)
        for (int lane = 0; lane < LANES; lane++) most[lane] = mp_larger(x[i + lane], most[lane]);
    for (int lane = 1; lane < LANES; lane++) most[0] = mp_larger(most[lane], most[0]);
    return most[0];
}

/* The loops of mp_measure_element without its special cases. The first is for the compiler to vectorise;
 * sums of squares are in the order of elements, whoever measures them. */
MP_CLONES static void measure_block(block *b, const mp_stored *s, int n, const double *value,
                                    const double *error) {
    const mp_stored stored = *s;
    int64_t plain = 0, failed = 0, equal = 0;
    double e2 = 0, b2 = 0, v2 = 0;
    for (int i = 0; i < n; i++) {
        const mp_measured m = mp_measure_stored(&stored, b->got[i], value[i], error[i]);
        plain += m.plain;
        failed += !(m.ratio <= 1);
        equal += m.equal;
        b->error[i] = m.error;
        b->bound[i] = m.bound;
        b->ratio[i] = m.ratio;
        b->drift[i] = m.drift;
        b->ulps[i] = m.ulps;
    }
    for (int i = n; i < BLOCK; i++) b->error[i] = b->ratio[i] = b->drift[i] = b->ulps[i] = 0;
    for (int i = 0; i < n; i++) {
        e2 += b->error[i] * b->error[i];
        b2 += b->bound[i] * b->bound[i];
        v2 += value[i] * value[i];
    }
    b->plain = plain;
    b->failed = failed;
    b->equal = equal;
    b->max_abs = largest_of(b->error);
    b->max_ratio = largest_of(b->ratio);
    b->max_drift = largest_of(b->drift);
    b->max_ulps = largest_of(b->ulps);
    b->sums[0] = e2;
    b->sums[1] = b2;
    b->sums[2] = v2;
}

/* Integers are half of 1 apart from what rounds to another one, wherever they are: as if all lay in the
 * binade of a number that none exceeds. */
mp_stored mp_stored_as(mp_dtype dtype, bool rounded) {
    const mp_format *f = mp_dtype_format(dtype);
    if (f->is_integer)
        return (mp_stored){.smallest = ldexp(1.0, f->bits),
                           .unit = ldexp(1.0, -f->bits - 1),
                           .large = f->max_finite / 4,
                           .rounded = rounded};
    return (mp_stored){.smallest = ldexp(1.0, f->emin),
                       .unit = ldexp(1.0, -f->precision),
                       .large = f->max_finite / 4,
                       .rounded = rounded};
}

void mp_measure_figures(mp_measure *m, int64_t index, const mp_row_figures *from) {
    mp_measure part;
    mp_measure_start(&part);
    part.f.compared = from->passed;
    part.f.bit_equal = from->equal;
    part.f.max_abs = from->max_abs;
    part.f.max_ratio = from->max_ratio;
    part.f.max_drift = from->max_drift;
    part.f.max_error_ulps = from->max_ulps;
    part.f.worst_index = index + from->worst;
    part.f.worst_value = from->worst_got;
    part.f.worst_expected = from->worst_value;
    part.f.worst_bound = from->worst_bound;
    mp_measure_merge(m, &part);
}

/* What is expected of stores that saturate, of which nothing is special but what is not finite: that is left
 * as it is. */
static void saturate(mp_dtype dtype, int n, const double *value, double *held) {
    const double largest = mp_dtype_format(dtype)->max_finite;
    for (int i = 0; i < n; i++) {
        const double v = fabs(value[i]);
        held[i] = v > largest && v < (double)INFINITY ? copysign(largest, value[i]) : value[i];
    }
}

/* fp64's roundings do not fit the additions above, and blocks with anything special go element by element. */
void mp_measure_row(mp_measure *m, mp_dtype dtype, const void *data, int64_t position, int64_t index,
                    int64_t n, const double *value, const double *error, bool rounded, uint32_t poison,
                    double sums[3]) {
    mp_stored stored = mp_stored_as(dtype, rounded);
    block b;
    double held[BLOCK];
    const bool saturates = m->overflow == MP_OVERFLOW_SATURATE;
    if (saturates) stored.large = (double)INFINITY;
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int here = n - first < BLOCK ? (int)(n - first) : BLOCK;
        const double *expected = value + first;
        b.plain = 0;
        if (saturates) saturate(dtype, here, expected, held), expected = held;
        if (dtype != MP_FP64) {
            mp_decode_row(dtype, data, position + first, here, b.got);
            measure_block(&b, &stored, here, expected, error + first);
        }
        if (b.plain < here) {
            for (int64_t i = first; i < first + here; i++)
                mp_measure_element(
                    m, dtype, data, position + i, index + i,
                    &(mp_expectation){.value = value[i], .error = error[i], .rounded = rounded}, poison,
                    sums);
            continue;
        }
        mp_stage_figures *f = &m->f;
        f->compared += here;
        f->failed += b.failed;
        for (int i = 0; i < here && b.failed > 0 && m->failures; i++)
            if (!(b.ratio[i] <= 1))
                mp_pattern_add(m->failures, (index + first + i) / m->width, (index + first + i) % m->width);
        for (int i = 0; i < here && m->picture; i++)
            mark(m, index + first + i, b.ratio[i], b.drift[i], b.ulps[i]);
        f->bit_equal += b.equal;
        f->max_abs = sticky_max(f->max_abs, b.max_abs);
        f->max_error_ulps = fmax(f->max_error_ulps, b.max_ulps);
        for (int k = 0; k < 3; k++) sums[k] += b.sums[k];
        if (f->worst_index < 0 || b.max_ratio >= f->max_ratio) {
            int i = 0;
            while (b.ratio[i] != b.max_ratio) i++;
            if (worse(b.max_ratio, index + first + i, f)) {
                f->worst_index = index + first + i;
                f->worst_value = b.got[i];
                f->worst_expected = expected[i];
                f->worst_bound = b.bound[i];
            }
        }
        f->max_ratio = sticky_max(f->max_ratio, b.max_ratio);
        f->max_drift = sticky_max(f->max_drift, b.max_drift);
    }
}
