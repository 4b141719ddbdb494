/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/prove/race.h"

#include "cases/case_tools.h"
#include "harness/subjects/buffers.h"
#include "moeparity/config.h"
#include "moeparity/inputs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mp_race_outcome_name(mp_race_outcome outcome) {
    static const char *const names[] = {"kept", "lost", "undecided", "not run"};
    return names[outcome];
}

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

void mp_race_judge(double *ratios, int rounds, double threshold, mp_race *race) {
    const int k = mp_median_bound(rounds);
    race->rounds = rounds;
    race->ratio = median(ratios, rounds);
    race->low = k ? ratios[k - 1] : 0;
    race->high = k ? ratios[rounds - k] : (double)INFINITY;
    race->outcome = race->high <= 1 + threshold ? MP_RACE_KEPT
                    : race->low > 1 + threshold ? MP_RACE_LOST
                                                : MP_RACE_UNDECIDED;
}

/* ---- one key ---- */

typedef struct side {
    mp_case c;
    mp_offer offer;
    double *ms; /* of each run */
    int runs;
} side;

/* Loads the side's case, runs it once to warm up, and `runs` times more; adds up what these took. */
static mp_status take_times(mp_subject *subject, mp_buffers *buffers, side *s, const mp_inputs *in, int runs,
                            double *sum, mp_error *err) {
    mp_status status = mp_buffers_load(buffers, &s->c, &s->offer, in, err);
    for (int i = -1; i < runs && status == MP_OK; i++) {
        mp_execution execution = mp_buffers_execution(buffers);
        double ns = 0;
        status = subject->run(subject, &execution, err);
        for (int k = 0; k < MP_STAGE_COUNT; k++) ns += execution.stage_ns[k];
        if (status == MP_OK && !(ns > 0))
            status = mp_fail(err, MP_EUNSUPPORTED, "the subject measures no times");
        if (i < 0) continue;
        s->ms[s->runs++] = ns * 1e-6;
        *sum += ns * 1e-6;
    }
    return status;
}

static mp_status run_rounds(mp_subject *subject, mp_buffers *buffers, side *a, side *b, const mp_inputs *in,
                            int rounds, double *ratios, mp_error *err) {
    mp_status status = MP_OK;
    for (int i = 0; i < rounds && status == MP_OK; i++) {
        double old = 0, new = 0;
        status = take_times(subject, buffers, a, in, 1, &old, err);
        if (status == MP_OK) status = take_times(subject, buffers, b, in, 2, &new, err);
        if (status == MP_OK) status = take_times(subject, buffers, a, in, 1, &old, err);
        ratios[i] = new / old;
    }
    return status;
}

static mp_status race(mp_subject *subject, const mp_case *old, const mp_case *new, const mp_inputs *in,
                      const mp_race_options *o, mp_race *r, mp_error *err) {
    side a = {.c = *old}, b = {.c = *new};
    mp_buffer_sizes sizes = {0};
    mp_buffers *buffers = NULL;
    double *room = malloc((size_t)o->rounds * 5 * sizeof *room);
    if (!room) return mp_fail(err, MP_EMEMORY, "no memory for the times of %d rounds", o->rounds);
    double *ratios = room + 4 * o->rounds;
    a.ms = room;
    b.ms = room + 2 * o->rounds;
    mp_status status = mp_subject_describe(subject, &a.c, &a.offer, err);
    if (status == MP_OK) status = mp_subject_describe(subject, &b.c, &b.offer, err);
    if (status == MP_OK) {
        mp_buffer_sizes_add(&a.c, &a.offer, &sizes);
        mp_buffer_sizes_add(&b.c, &b.offer, &sizes);
        status = mp_buffers_open(subject, &sizes, MP_BUFFERS_KEPT, MP_POISON_A, &buffers, err);
    }
    if (status == MP_OK) status = run_rounds(subject, buffers, &a, &b, in, o->rounds, ratios, err);
    if (status == MP_OK) {
        mp_race_judge(ratios, o->rounds, o->threshold, r);
        r->old_ms = median(a.ms, a.runs);
        r->new_ms = median(b.ms, b.runs);
    }
    mp_buffers_close(buffers);
    free(room);
    return status;
}

/* ---- all keys ---- */

/* What runs where there is no file: a lookup for a device that no file is for. */
static mp_status default_tiles(const mp_case *base, int64_t M, mp_tile *up, mp_tile *down, mp_error *err) {
    const mp_config_query query = {.device = "no device"};
    mp_config config;
    mp_case c = *base;
    c.M = M;
    const mp_status status = mp_config_resolve(&c, &query, &config, err);
    *up = config.up;
    *down = config.down;
    return status;
}

static mp_status plan_races(const mp_tune_plan *plan, const mp_race_options *o, mp_race *races, size_t *count,
                            mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < plan->count && status == MP_OK; i++) {
        const mp_launch *l = &plan->launch[i];
        mp_race *r = &races[*count];
        if (l->point.entry->key != l->point.M) continue;
        *r = (mp_race){.key = l->point.M, .new_up = l->up, .new_down = l->down};
        status = o->old ? mp_tune_tiles(o->old, r->key, &r->old_up, &r->old_down, err)
                        : default_tiles(&plan->target->base, r->key, &r->old_up, &r->old_down, err);
        if (mp_tile_same(&r->old_up, &r->new_up) && mp_tile_same(&r->old_down, &r->new_down)) continue;
        r->outcome = MP_RACE_NOT_RUN;
        if (l->proof == MP_REFUTED) snprintf(r->why, sizeof r->why, "refuted: it is not timed");
        (*count)++;
    }
    return status;
}

static mp_status run_races(mp_subject *subject, const mp_tune_plan *plan, const mp_race_options *o,
                           mp_race *races, size_t count, mp_error *err) {
    mp_inputs all = {0};
    mp_case base = plan->target->base;
    base.M = races[count - 1].key; /* ascending */
    int64_t *rows = malloc((size_t)base.M * sizeof *rows);
    mp_status status = rows ? mp_inputs_create(&base, &all, err)
                            : mp_fail(err, MP_EMEMORY, "no memory for %lld tokens", (long long)base.M);
    for (int64_t i = 0; i < base.M && rows; i++) rows[i] = i;
    for (size_t i = 0; i < count && status == MP_OK; i++) {
        mp_race *r = &races[i];
        mp_inputs in = {0};
        mp_error why = {0};
        mp_case old = base, new = base;
        if (r->why[0]) continue;
        old.M = new.M = r->key;
        old.tile = r->old_up;
        if (!mp_tile_same(&r->old_up, &r->old_down)) old.tile_down = r->old_down;
        new.tile = r->new_up;
        if (!mp_tile_same(&r->new_up, &r->new_down)) new.tile_down = r->new_down;
        status = mp_inputs_select(&base, &all, rows, r->key, &in, err);
        if (status != MP_OK) break;
        const mp_status raced = race(subject, &old, &new, &in, o, r, &why);
        if (raced == MP_EUNSUPPORTED)
            snprintf(r->why, sizeof r->why, "%s", why.text);
        else if (raced != MP_OK && err)
            *err = why;
        if (raced != MP_EUNSUPPORTED) status = raced;
        mp_inputs_destroy(&in);
    }
    free(rows);
    mp_inputs_destroy(&all);
    return status;
}

mp_status mp_race_keys(const mp_tune_plan *plan, const mp_race_options *options, mp_race **races,
                       size_t *count, mp_error *err) {
    mp_subject subject = {0};
    *count = 0;
    *races = calloc(plan->count + 1, sizeof **races);
    if (!*races) return mp_fail(err, MP_EMEMORY, "no memory for the times of %zu keys", plan->count);
    mp_status status = plan_races(plan, options, *races, count, err);
    if (status != MP_OK || *count == 0) return status;
    if (strncmp(options->subject, "plugin:", 7) == 0)
        return mp_fail(err, MP_EUNSUPPORTED, "%s is not timed: a plug-in is not loaded into this process",
                       options->subject);
    status = mp_subject_open(options->subject, &subject, err);
    if (status != MP_OK) return status;
    status = run_races(&subject, plan, options, *races, *count, err);
    mp_subject_close(&subject);
    return status;
}
