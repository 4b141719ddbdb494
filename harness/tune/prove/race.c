/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/prove/race.h"

#include "cases/case_tools.h"
#include "moeparity/config.h"
#include "moeparity/inputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mp_race_outcome_name(mp_race_outcome outcome) {
    static const char *const names[] = {"kept", "lost", "undecided", "not run"};
    return names[outcome];
}

void mp_race_judge(mp_ratio ratio, double threshold, mp_race *race) {
    race->ratio = ratio.median;
    race->low = ratio.low;
    race->high = ratio.high;
    race->outcome = ratio.high <= 1 + threshold ? MP_RACE_KEPT
                    : ratio.low > 1 + threshold ? MP_RACE_LOST
                                                : MP_RACE_UNDECIDED;
}

/* ---- one key ---- */

static mp_status race(mp_subject *subject, const mp_case *old, const mp_case *new, const mp_inputs *in,
                      const mp_race_options *o, mp_race *r, mp_error *err) {
    const mp_side side[2] = {{subject, old}, {subject, new}};
    mp_rounds rounds;
    const mp_status status = mp_rounds_run(side, in, o->rounds, &rounds, err);
    if (status == MP_OK) {
        mp_race_judge(mp_rounds_ratio(&rounds, MP_EVERY_STAGE), o->threshold, r);
        r->rounds = o->rounds;
        r->old_ms = mp_rounds_ms(&rounds, 0, MP_EVERY_STAGE);
        r->new_ms = mp_rounds_ms(&rounds, 1, MP_EVERY_STAGE);
    }
    mp_rounds_free(&rounds);
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
