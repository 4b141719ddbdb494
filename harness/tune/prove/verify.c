/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/prove/verify.h"

#include "cases/case_tools.h"
#include "moeparity/config.h"

#include <stdio.h>
#include <stdlib.h>

mp_status mp_tune_tiles(const mp_tune_target *target, int64_t M, mp_tile *up, mp_tile *down, mp_error *err) {
    const mp_config_query query = {.file = target->path};
    mp_config config;
    mp_case c = target->base;
    c.M = M;
    c.tile = c.tile_down = (mp_tile){0};
    const mp_status status = mp_config_resolve(&c, &query, &config, err);
    *up = config.up;
    *down = config.down;
    return status;
}

static bool same_beside_tile(const mp_tuned_entry *a, const mp_tuned_entry *b) {
    return a->use_tma == b->use_tma && a->split_k == b->split_k && a->num_ctas == b->num_ctas;
}

bool mp_tune_same_beside_tiles(const mp_tune_target *a, const mp_tune_target *b, int64_t M) {
    const mp_tuned_file *down_a = a->down ? a->down : a->up, *down_b = b->down ? b->down : b->up;
    return same_beside_tile(mp_tuned_nearest(a->up, M), mp_tuned_nearest(b->up, M)) &&
           same_beside_tile(mp_tuned_nearest(down_a, M), mp_tuned_nearest(down_b, M));
}

/* Takes a point into the plan, or passes it over. */
static mp_status add_launch(mp_tune_plan *plan, const mp_tune_choice *choice, const mp_point *point,
                            mp_error *err) {
    const mp_tune_target *target = plan->target;
    mp_launch *l = &plan->launch[plan->count];
    mp_tile up, down;
    *l = (mp_launch){.point = *point, .c = target->base, .row = MP_NO_ROW, .pair = -1};
    l->c.M = point->M;
    mp_status status = mp_tune_tiles(target, point->M, &l->up, &l->down, err);
    if (status == MP_OK && choice->instead_of) {
        status = mp_tune_tiles(choice->instead_of, point->M, &up, &down, err);
        if (status == MP_OK && mp_tile_same(&up, &l->up) && mp_tile_same(&down, &l->down) &&
            mp_tune_same_beside_tiles(choice->instead_of, target, point->M))
            return MP_OK;
    }
    if (status != MP_OK) return status;
    if (!choice->own_tiles) {
        l->c.tile = l->up;
        if (!mp_tile_same(&l->up, &l->down))
            l->c.tile_down = l->down; /* some subjects take one tile for both */
    }
    status = mp_case_validate(&l->c, err);
    if (status == MP_OK) plan->count++;
    return status;
}

/* The points of both files: where the other one changes this one may begin to differ from it. */
static mp_status find_points(mp_tune_plan *plan, const mp_tune_choice *choice, mp_point **points,
                             size_t *count, mp_error *err) {
    const int64_t most = choice->most > 0 ? choice->most : INT32_MAX;
    const mp_tune_target *target = plan->target, *other = choice->instead_of;
    mp_point *own = NULL, *others = NULL;
    size_t own_count = 0, other_count = 0, left_out = 0;
    *points = NULL;
    *count = 0;
    mp_status status = mp_points_of(target->up, target->down, most, &own, &own_count, &plan->left_out, err);
    if (status == MP_OK && other)
        status = mp_points_of(other->up, other->down, most, &others, &other_count, &left_out, err);
    mp_point *all = status == MP_OK ? malloc((own_count + other_count + 1) * sizeof *all) : NULL;
    if (status == MP_OK && !all) status = mp_fail(err, MP_EMEMORY, "no memory for batch sizes");
    for (size_t i = 0, k = 0; status == MP_OK && (i < own_count || k < other_count);) {
        const bool from_own = k == other_count || (i < own_count && own[i].M <= others[k].M);
        if (from_own && k < other_count && own[i].M == others[k].M) k++;
        mp_point *p = &all[(*count)++];
        *p = from_own ? own[i++] : others[k++];
        if (!from_own) *p = (mp_point){.M = p->M, .entry = mp_tuned_nearest(target->up, p->M), .why = p->why};
    }
    *points = all;
    free(own);
    free(others);
    return status;
}

/* The next launch, in descending order, that is to be run; 0: none. Launches are counted from 1. */
static size_t next_to_run(const mp_tune_plan *plan, size_t from) {
    while (from > 0 && plan->launch[from - 1].proof == MP_REFUTED) from--;
    return from;
}

/* The largest is a row, and as many smaller ones as a row can have are its pairs; and so on. */
mp_status mp_tune_plan_rows(mp_tune_plan *plan, const mp_tune_choice *choice, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t left = next_to_run(plan, plan->count); left > 0 && status == MP_OK;) {
        mp_launch *base = &plan->launch[left - 1];
        char name[MP_CASE_TEXT_MAX], text[MP_MATRIX_MAX_PAIRS][160];
        const char *pairs[MP_MATRIX_MAX_PAIRS];
        size_t count = 0;
        base->row = plan->matrix.count;
        left = next_to_run(plan, left - 1);
        while (!choice->each && left > 0 && count < MP_MATRIX_MAX_PAIRS) {
            mp_launch *l = &plan->launch[left - 1];
            char up[64], down[64];
            mp_tile_text(&l->c.tile, up);
            mp_tile_text(&l->c.tile_down, down);
            snprintf(text[count], sizeof text[count], "M=%lld tile=%s tile_down=%s", (long long)l->c.M, up,
                     down);
            l->row = plan->matrix.count;
            l->pair = (int)count;
            pairs[count] = text[count];
            count++;
            left = next_to_run(plan, left - 1);
        }
        mp_case_text(&base->c, name, sizeof name);
        status = mp_matrix_add(&plan->matrix, name, pairs, count, err);
    }
    return status;
}

mp_status mp_tune_plan_make(const mp_tune_target *target, const mp_tune_choice *choice, mp_tune_plan *plan,
                            mp_error *err) {
    mp_point *points;
    size_t count;
    *plan = (mp_tune_plan){.target = target};
    mp_status status = find_points(plan, choice, &points, &count, err);
    if (status == MP_OK && !(plan->launch = calloc(count + 1, sizeof *plan->launch)))
        status = mp_fail(err, MP_EMEMORY, "no memory for %zu batch sizes", count);
    for (size_t i = 0; i < count && status == MP_OK; i++) status = add_launch(plan, choice, &points[i], err);
    free(points);
    return status;
}

/* Whether nothing is known of the launch after its row: what it was compared with is wrong, or the process
 * died with all of them. A row that was judged, and is wrong, is known. */
static bool is_open(const mp_tune_plan *plan, const mp_launch *l, const mp_verdict *verdicts) {
    if (l->row == MP_NO_ROW || plan->matrix.rows[l->row].pair_count == 0) return false;
    const mp_outcome outcome = verdicts[l->row].outcome;
    if (outcome == MP_CRASH || outcome == MP_TIMEOUT) return true;
    for (size_t i = 0; i < plan->count; i++) {
        const mp_launch *base = &plan->launch[i];
        if (!base->alone && base->row == l->row && base->pair < 0)
            return base != l && base->proof == MP_REFUTED;
    }
    return false;
}

mp_status mp_tune_plan_alone(mp_tune_plan *plan, const mp_verdict *verdicts, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < plan->count && status == MP_OK; i++) { /* a row comes behind its smaller batches */
        mp_launch *l = &plan->launch[i];
        char name[MP_CASE_TEXT_MAX];
        if (l->alone || !is_open(plan, l, verdicts)) continue;
        mp_case_text(&l->c, name, sizeof name);
        l->row = plan->alone.count;
        l->pair = -1;
        l->alone = true;
        status = mp_matrix_add(&plan->alone, name, NULL, 0, err);
    }
    return status;
}

void mp_tune_plan_free(mp_tune_plan *plan) {
    mp_matrix_free(&plan->matrix);
    mp_matrix_free(&plan->alone);
    free(plan->launch);
    *plan = (mp_tune_plan){0};
}
