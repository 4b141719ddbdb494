#include "harness/measure.h"

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
    if (ratio == f->max_ratio || isnan(ratio)) return index < f->worst_index; /* the same element whatever the threads did */
    return ratio > f->max_ratio;
}

void mp_measure_merge(mp_measure *into, const mp_measure *from) {
    mp_stage_figures *f = &into->f;
    const mp_stage_figures *g = &from->f;
    f->compared += g->compared;
    f->failed += g->failed;
    f->bit_equal += g->bit_equal;
    f->max_abs = sticky_max(f->max_abs, g->max_abs);
    if (g->worst_index >= 0 && worse(g->max_ratio, g->worst_index, f)) {
        f->worst_index = g->worst_index;
        f->worst_value = g->worst_value;
        f->worst_expected = g->worst_expected;
        f->worst_bound = g->worst_bound;
    }
    f->max_ratio = sticky_max(f->max_ratio, g->max_ratio);
    if (from->nan_failures && (into->first_nan < 0 || from->first_nan < into->first_nan)) {
        into->first_nan = from->first_nan;
        into->nan_got = from->nan_got;
        into->nan_expected = from->nan_expected;
    }
    into->nan_failures += from->nan_failures;
    into->poison_failures += from->poison_failures;
    keep_first(&into->first_poison, from->first_poison);
}

static bool holds_poison(mp_dtype dtype, const void *data, int64_t position, uint32_t poison) {
    const size_t size = mp_dtype_size(dtype);
    const char *element = (const char *)data + (size_t)position * size;
    const uint32_t pattern[2] = {poison, poison}; /* both halves of the pattern are equal, so every alignment reads the same bytes */
    return memcmp(element, pattern, size) == 0;
}

/* Error over bound. A non-finite expectation must be met exactly; a finite one that reaches the overflow threshold within its error may also
 * be Inf. Everything else non-finite is NaN here: it fails, and it sticks. */
static double ratio_of(mp_dtype dtype, double got, const mp_expectation *e, double *error, double *bound) {
    *bound = 0;
    if (!isfinite(e->value)) {
        const bool met = isnan(e->value) ? isnan(got) : got == e->value;
        *error = met ? 0 : NAN;
        return *error;
    }
    const double reach = fabs(e->value) + e->error, half = mp_half_ulp(dtype, reach);
    if (isinf(got) && reach + half > mp_dtype_format(dtype)->max_finite && signbit(got) == signbit(e->value)) {
        *error = 0;
        return 0;
    }
    *bound = e->error + (e->rounded ? half : 0);
    *error = isfinite(got) ? fabs(got - e->value) : NAN;
    return *error == 0 ? 0 : *error / *bound;
}

void mp_measure_element(mp_measure *m, mp_dtype dtype, const void *data, int64_t position, int64_t index, const mp_expectation *e,
                        uint32_t poison, double sums[3]) {
    const double got = mp_decode(dtype, data, position);
    double error, bound;
    const double ratio = ratio_of(dtype, got, e, &error, &bound);
    mp_stage_figures *f = &m->f;
    f->compared++;
    if (!(ratio <= 1)) f->failed++;
    if (isfinite(got) && got == mp_round_to(dtype, e->value)) f->bit_equal++;
    f->max_abs = sticky_max(f->max_abs, error);
    if (worse(ratio, index, f)) {
        f->worst_index = index;
        f->worst_value = got;
        f->worst_expected = e->value;
        f->worst_bound = bound;
    }
    f->max_ratio = sticky_max(f->max_ratio, ratio);
    if (isnan(error)) {
        if (m->nan_failures++ == 0 || index < m->first_nan) {
            m->first_nan = index;
            m->nan_got = got;
            m->nan_expected = e->value;
        }
        if (holds_poison(dtype, data, position, poison)) {
            m->poison_failures++;
            keep_first(&m->first_poison, index);
        }
    }
    if (isfinite(e->value) && !isinf(got)) {
        sums[0] += error * error;
        sums[1] += bound * bound;
        sums[2] += e->value * e->value;
    }
}
