/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring one tensor against float64, element by element. Measures and counts; the verdict is drawn
 * elsewhere. */
#ifndef MP_HARNESS_MEASURE_H
#define MP_HARNESS_MEASURE_H

#include "harness/judge/where.h"
#include "moeparity/contract.h"
#include "moeparity/picture.h"
#include "moeparity/tensor.h"
#include "moeparity/verdict.h"
#include "ref/measured.h"

/* What is known of an element: the exact value before the store, an upper bound of the error before the
 * store, whether the store rounds to dtype, whether NaN is as right as an infinite value (zero within the
 * error, times Inf), and whether a zero must be +0.
 *
 * Zeros are equal as numbers except where something writes them as such (rows of filtered slots). The sign of
 * a sum that comes out as zero is not determined, not even by an exact one: products of -0 alone sum to -0,
 * unless the accumulator starts at +0, which the contracts leave open. */
typedef struct mp_expectation {
    double value, error;
    bool rounded, or_nan, positive_zero;
    bool open; /* nothing is known of it, but that something was written */
} mp_expectation;

/* Figures of some elements; starts with mp_measure_start. Mergeable, so that threads measure tiles on their
 * own. */
typedef struct mp_measure {
    mp_stage_figures f;
    int64_t nan_failures, first_nan; /* NaN or Inf where float64 has none, or the reverse */
    int64_t poison_failures,
        first_poison; /* elements that still hold the poison, whatever is expected of them */
    double nan_got, nan_expected;
    mp_overflow overflow; /* of the store, in a 16-bit format */
    int64_t open;         /* elements that are */
    mp_pattern
        *failures; /* where elements beyond their bound are marked, by rows of `width`; NULL: nowhere */
    int64_t width;
    /* Where the level of each element is marked, by rows of `width`; NULL: nowhere. The picture is shared,
     * the counts are this part's, and are added to those of the picture when all parts are merged. */
    mp_picture *picture;
    int64_t ratio_count[MP_LEVELS], ulps_count[MP_LEVELS];
} mp_measure;

void mp_measure_start(mp_measure *m);
void mp_measure_merge(mp_measure *into, const mp_measure *from);
/* One element: its stored bits at data[position], reported under `index`. Adds squares of error, bound and
 * value to sums[3] (for the row's rms). */
void mp_measure_element(mp_measure *m, mp_dtype dtype, const void *data, int64_t position, int64_t index,
                        const mp_expectation *e, uint32_t poison, double sums[3]);
/* The same for n elements of a row: value[i] and error[i] are those of the element at data[position + i],
 * reported under index + i. */
void mp_measure_row(mp_measure *m, mp_dtype dtype, const void *data, int64_t position, int64_t index,
                    int64_t n, const double *value, const double *error, bool rounded, uint32_t poison,
                    double sums[3]);
/* The same from figures of a row that another one measured, in which every element passed; index: that of
 * its column 0. */
void mp_measure_figures(mp_measure *m, int64_t index, const mp_row_figures *figures);
/* A tensor's store, as measured.h has it; dtype is a float format of 32 bits at most for it to mean
 * anything. */
mp_stored mp_stored_as(mp_dtype dtype, bool rounded);

#endif
