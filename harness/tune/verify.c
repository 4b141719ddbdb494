/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/verify.h"

#include "moeparity/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mp_proof_name(mp_proof proof) {
    static const char *const names[] = {"unproven", "proven", "refuted"};
    return names[proof];
}

/* ---- the plan ---- */

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

static bool same_tile(const mp_tile *a, const mp_tile *b) {
    return memcmp(a, b, sizeof *a) == 0; /* ints alone */
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
        if (status == MP_OK && same_tile(&up, &l->up) && same_tile(&down, &l->down)) return MP_OK;
    }
    if (status != MP_OK) return status;
    if (!choice->own_tiles) {
        l->c.tile = l->up;
        if (!same_tile(&l->up, &l->down)) l->c.tile_down = l->down; /* some subjects take one tile for both */
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

mp_status mp_tune_plan_alone(mp_tune_plan *plan, const mp_verdict *verdicts, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < plan->count && status == MP_OK; i++) {
        mp_launch *l = &plan->launch[i];
        char name[MP_CASE_TEXT_MAX];
        if (l->row == MP_NO_ROW || plan->matrix.rows[l->row].pair_count == 0) continue;
        if (verdicts[l->row].outcome != MP_CRASH && verdicts[l->row].outcome != MP_TIMEOUT) continue;
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

/* ---- what came of it ---- */

static void say(mp_launch *l, mp_proof proof, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What is refuted stays so. */
static void say(mp_launch *l, mp_proof proof, const char *format, ...) {
    va_list args;
    if (l->proof == MP_REFUTED) return;
    l->proof = proof;
    va_start(args, format);
    vsnprintf(l->reason, sizeof l->reason, format, args);
    va_end(args);
}

void mp_tune_take_facts(mp_tune_plan *plan, const mp_facts *facts) {
    static const mp_stage stages[] = {MP_GATE_UP, MP_DOWN};
    for (size_t i = 0; i < plan->count; i++) {
        mp_launch *l = &plan->launch[i];
        mp_case c = l->c;
        c.tile = l->up;
        c.tile_down = l->down;
        for (int s = 0; s < 2; s++) {
            const mp_tile_facts *f = mp_facts_of(facts, &c, stages[s]);
            if (f && f->why[0]) say(l, MP_REFUTED, "%s: %s", mp_stage_name(stages[s]), f->why);
        }
    }
}

/* Whether a failure is told of a smaller batch: its text begins with that pair's. Of a check the first
 * failure is told, and the row itself runs first. */
static bool is_of_a_pair(const mp_check_result *check) {
    return strncmp(check->text, "M=", 2) == 0;
}

/* The check that speaks against the row itself: none that a smaller batch has failed. */
static const mp_check_result *against_row(const mp_verdict *v) {
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (i != MP_CHECK_PAIR && v->check[i].answer == MP_FAILED && !is_of_a_pair(&v->check[i]))
            return &v->check[i];
    return NULL;
}

/* What was found around a smaller batch, a guard zone or an input that changed: it is told of the first one.
 */
static const mp_check_result *against_pair(const mp_verdict *v, const char *text, bool *surely) {
    for (int i = 0; i < MP_CHECK_COUNT; i++) {
        const mp_check_result *check = &v->check[i];
        if (i == MP_CHECK_PAIR || check->answer != MP_FAILED || !is_of_a_pair(check)) continue;
        const size_t length = strlen(text);
        *surely = strncmp(check->text, text, length) == 0 && check->text[length] == ':';
        if (*surely || check->failures > 1) return check;
    }
    return NULL;
}

/* Whether the row itself passed the check. */
static bool passed(const mp_verdict *v, mp_check check) {
    const mp_check_result *result = &v->check[check];
    return result->answer == MP_PASSED || (result->answer == MP_FAILED && is_of_a_pair(result));
}

static unsigned checks_passed(const mp_verdict *v) {
    unsigned checks = 0;
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (i != MP_CHECK_PAIR && passed(v, (mp_check)i)) checks |= 1u << i;
    return checks;
}

static bool any_failed(const mp_verdict *v) {
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (v->check[i].answer == MP_FAILED) return true;
    return false;
}

/* A verdict that passed is a proof where every number was compared with float64 and the surroundings were
 * looked at. */
static void take_row(mp_launch *l, const mp_verdict *v) {
    const mp_check_result *against = against_row(v);
    l->passed = checks_passed(v);
    if (!v->name[0])
        say(l, MP_UNPROVEN, "not reached");
    else if (v->outcome == MP_SKIP)
        say(l, MP_UNPROVEN, "%s", v->reason);
    else if (v->outcome == MP_CRASH || v->outcome == MP_TIMEOUT)
        say(l, MP_REFUTED, "%s: %s", mp_outcome_name(v->outcome), v->reason);
    else if (against)
        say(l, MP_REFUTED, "%s: %s", mp_check_name((mp_check)(against - v->check)), against->text);
    else if (v->outcome == MP_FAIL && !any_failed(v))
        say(l, MP_REFUTED, "%s", v->reason); /* no check was reached: the tile cannot run */
    else if (!passed(v, MP_CHECK_BOUND) || !passed(v, MP_CHECK_REPEAT) || !passed(v, MP_CHECK_GUARD))
        say(l, MP_UNPROVEN, "not judged: %s",
            !passed(v, MP_CHECK_BOUND)    ? v->check[MP_CHECK_BOUND].text
            : !passed(v, MP_CHECK_REPEAT) ? v->check[MP_CHECK_REPEAT].text
                                          : v->check[MP_CHECK_GUARD].text);
    else
        say(l, MP_PROVEN, "judged by itself");
}

static void take_pair(mp_launch *l, const mp_launch *base, const char *text, const mp_verdict *v) {
    const mp_pair_figures *f = l->pair < v->pair_count ? &v->pair[l->pair] : NULL;
    const long long M = (long long)base->c.M;
    bool surely = false;
    const mp_check_result *around = against_pair(v, text, &surely);
    l->passed = base->passed;
    if (v->outcome == MP_CRASH || v->outcome == MP_TIMEOUT)
        say(l, MP_UNPROVEN, "the process in which it was to run ended: %s", v->reason);
    else if (!f)
        say(l, MP_UNPROVEN, "%s", v->reason[0] ? v->reason : "not reached");
    else if (f->note[0] && strncmp(f->note, "not run", 7) == 0)
        say(l, MP_REFUTED, "%s", f->note);
    else if (f->note[0])
        say(l, MP_UNPROVEN, "%s", f->note);
    else if (!f->bits_equal && f->required)
        say(l, MP_REFUTED, "%lld of %lld elements differ from those of M=%lld, first %s",
            (long long)f->differing, (long long)f->compared, M, f->first);
    else if (around)
        say(l, surely ? MP_REFUTED : MP_UNPROVEN, "%s: %s", mp_check_name((mp_check)(around - v->check)),
            around->text);
    else if (!f->required)
        say(l, MP_UNPROVEN,
            "this subject does not promise the bits of M=%lld (%s): --each judges it by itself", M,
            f->bits_equal ? "which it has" : "and has others");
    else if (base->proof != MP_PROVEN)
        say(l, MP_UNPROVEN, "equal to M=%lld, which is %s", M, mp_proof_name(base->proof));
    else
        say(l, MP_PROVEN, "every element equal to that of M=%lld", M);
}

void mp_tune_take_verdicts(mp_tune_plan *plan, const mp_verdict *verdicts) {
    for (size_t i = plan->count; i > 0; i--) { /* a row comes before its pairs */
        mp_launch *l = &plan->launch[i - 1];
        if (l->pair < 0 && l->row != MP_NO_ROW) take_row(l, &verdicts[l->row]);
    }
    for (size_t i = 0; i < plan->count; i++) {
        mp_launch *l = &plan->launch[i];
        if (l->pair < 0) continue;
        for (size_t k = 0; k < plan->count; k++)
            if (plan->launch[k].row == l->row && plan->launch[k].pair < 0)
                take_pair(l, &plan->launch[k], plan->matrix.rows[l->row].pair_text[l->pair],
                          &verdicts[l->row]);
    }
}

void mp_tune_take_alone(mp_tune_plan *plan, const mp_verdict *verdicts) {
    for (size_t i = 0; i < plan->count; i++) {
        mp_launch *l = &plan->launch[i];
        if (!l->alone) continue;
        l->proof = MP_UNPROVEN;
        take_row(l, &verdicts[l->row]);
    }
}

mp_proof mp_tune_key_proof(const mp_tune_plan *plan, const mp_tuned_entry *entry, size_t *count) {
    mp_proof proof = MP_PROVEN;
    size_t launches = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const mp_launch *l = &plan->launch[i];
        if (l->point.entry != entry) continue;
        launches++;
        if (l->proof == MP_REFUTED || proof == MP_REFUTED)
            proof = MP_REFUTED;
        else if (l->proof == MP_UNPROVEN)
            proof = MP_UNPROVEN;
    }
    if (count) *count = launches;
    return launches ? proof : MP_UNPROVEN;
}
