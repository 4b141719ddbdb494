/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/rounds.h"

#include "harness/subjects/buffers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- statistics ---- */

int mp_median_bound(int n) {
    /* P(at most k - 1 of n lie below the median) = sum over i < k of C(n, i) / 2^n */
    double term = exp2(-n), tail = term; /* of i = 0 */
    int k = 0;
    while (k < n / 2 && tail <= 0.025) {
        k++;
        term *= (double)(n - k + 1) / k;
        tail += term;
    }
    return k;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

mp_ratio mp_ratio_of(double *figures, int n) {
    const int k = mp_median_bound(n);
    mp_ratio ratio = {.median = median(figures, n), .high = (double)INFINITY};
    if (k) ratio.low = figures[k - 1];
    if (k) ratio.high = figures[n - k];
    return ratio;
}

static double sum_of(const mp_rounds *rounds, int side, int run, unsigned stages) {
    double ns = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (stages >> s & 1) ns += rounds->ns[side][run * MP_STAGE_COUNT + s];
    return ns;
}

double mp_rounds_ms(const mp_rounds *rounds, int side, unsigned stages) {
    const int runs = 2 * rounds->count;
    double *ms = malloc((size_t)runs * sizeof *ms);
    if (!ms) return NAN;
    for (int i = 0; i < runs; i++) ms[i] = sum_of(rounds, side, i, stages) * 1e-6;
    const double value = median(ms, runs);
    free(ms);
    return value;
}

mp_ratio mp_rounds_ratio(const mp_rounds *rounds, unsigned stages) {
    double *figures = malloc((size_t)rounds->count * sizeof *figures), sum[2];
    mp_ratio ratio = {NAN, NAN, NAN};
    for (int i = 0; figures && i < rounds->count; i++) {
        for (int side = 0; side < 2; side++)
            sum[side] = sum_of(rounds, side, 2 * i, stages) + sum_of(rounds, side, 2 * i + 1, stages);
        if (!(sum[0] > 0 && sum[1] > 0)) goto out;
        figures[i] = sum[1] / sum[0];
    }
    if (figures) ratio = mp_ratio_of(figures, rounds->count);
out:
    free(figures);
    return ratio;
}

/* ---- runs ---- */

typedef struct runner {
    const mp_side *side;
    mp_offer offer;
    mp_buffers *buffers;
    double *ns; /* where the next run's times go */
} runner;

/* Runs once to warm up, and so many times more. */
static mp_status take_times(runner *r, const mp_inputs *in, int runs, mp_error *err) {
    mp_subject *subject = r->side->subject;
    mp_status status = mp_buffers_load(r->buffers, r->side->c, &r->offer, in, err);
    for (int i = -1; i < runs && status == MP_OK; i++) {
        mp_execution execution = mp_buffers_execution(r->buffers);
        double ns = 0;
        execution.timed = true;
        status = subject->run(subject, &execution, err);
        for (int s = 0; s < MP_STAGE_COUNT; s++) ns += execution.stage_ns[s];
        if (status == MP_OK && !(ns > 0))
            status = mp_fail(err, MP_EUNSUPPORTED, "the subject %s measures no times", subject->name);
        if (i < 0) continue;
        memcpy(r->ns, execution.stage_ns, MP_STAGE_COUNT * sizeof *r->ns);
        r->ns += MP_STAGE_COUNT;
    }
    return status;
}

static mp_status open_buffers(runner r[2], mp_error *err) {
    mp_buffer_sizes sizes[2] = {{0}, {0}};
    const bool one = r[0].side->subject == r[1].side->subject;
    mp_status status = MP_OK;
    for (int i = 0; i < 2 && status == MP_OK; i++) {
        status = mp_subject_describe(r[i].side->subject, r[i].side->c, &r[i].offer, err);
        if (status == MP_OK) mp_buffer_sizes_add(r[i].side->c, &r[i].offer, &sizes[one ? 0 : i]);
    }
    for (int i = 0; i < (one ? 1 : 2) && status == MP_OK; i++)
        status =
            mp_buffers_open(r[i].side->subject, &sizes[i], MP_BUFFERS_KEPT, MP_POISON_A, &r[i].buffers, err);
    if (one) r[1].buffers = r[0].buffers;
    return status;
}

mp_status mp_rounds_run(const mp_side side[2], const mp_inputs *in, int count, mp_rounds *rounds,
                        mp_error *err) {
    const size_t figures = 2 * (size_t)count * MP_STAGE_COUNT;
    runner r[2] = {{.side = &side[0]}, {.side = &side[1]}};
    *rounds = (mp_rounds){.count = count};
    for (int i = 0; i < 2; i++) {
        r[i].ns = rounds->ns[i] = calloc(figures, sizeof *r[i].ns);
        if (!r[i].ns) return mp_fail(err, MP_EMEMORY, "no memory for the times of %d rounds", count);
    }
    mp_status status = open_buffers(r, err);
    for (int i = 0; i < count && status == MP_OK; i++) {
        status = take_times(&r[0], in, 1, err);
        if (status == MP_OK) status = take_times(&r[1], in, 2, err);
        if (status == MP_OK) status = take_times(&r[0], in, 1, err);
    }
    if (r[1].buffers != r[0].buffers) mp_buffers_close(r[1].buffers);
    mp_buffers_close(r[0].buffers);
    return status;
}

void mp_rounds_free(mp_rounds *rounds) {
    for (int i = 0; i < 2; i++) free(rounds->ns[i]);
    *rounds = (mp_rounds){0};
}
