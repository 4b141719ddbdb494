/* SPDX-License-Identifier: Apache-2.0 */
/* Two sides timed in turn on the same inputs, each a subject and a case: two tiles of one subject, or two
 * subjects.
 *
 * A round runs the first side, twice the second one, and the first one again: a clock or a temperature that
 * drifts evenly through a round favours neither. Its figure is the ratio of the second side's time to the
 * first one's, summed over both runs, as the subjects measure their stages. Of the rounds the median is told,
 * with the interval between two of their order statistics that holds the true median with 95 % probability or
 * more, whatever the distribution of the times is: of n independent rounds the number below the median is
 * binomial (n, 1/2). */
#ifndef MP_HARNESS_ROUNDS_H
#define MP_HARNESS_ROUNDS_H

#include "moeparity/subject.h"

/* A bit each: 1 << stage. */
#define MP_EVERY_STAGE (~0u)

typedef struct mp_side {
    mp_subject *subject;
    const mp_case *c;
} mp_side;

typedef struct mp_rounds {
    int count;
    double *ns[2]; /* of each side: [2 * count, MP_STAGE_COUNT], a row a run; 0: not measured */
} mp_rounds;

typedef struct mp_ratio {
    double median, low, high; /* too few rounds for an interval: 0 and infinity */
} mp_ratio;

/* Runs so many rounds, each run of a side after one that warms it up. Sides of one subject take turns on the
 * same buffers; two subjects have theirs at the same time. Free with mp_rounds_free, after an error too.
 * MP_EUNSUPPORTED: a side cannot run here, or its subject measures no times; what else a subject says. */
mp_status mp_rounds_run(const mp_side side[2], const mp_inputs *in, int count, mp_rounds *rounds,
                        mp_error *err);
void mp_rounds_free(mp_rounds *rounds);

/* Of these stages: the median time of one run in milliseconds, and the second side's time over the first
 * one's. A ratio of stages that a side has not measured is NaN. */
double mp_rounds_ms(const mp_rounds *rounds, int side, unsigned stages);
mp_ratio mp_rounds_ratio(const mp_rounds *rounds, unsigned stages);

/* Sorts the figures of n rounds, n > 0. */
mp_ratio mp_ratio_of(double *figures, int n);
/* Which order statistics, counted from 1 from either end, bound the median of n: the largest k for which both
 * tails together have at most 5 %; 0: n is too small for any. */
int mp_median_bound(int n);

#endif
