/* SPDX-License-Identifier: Apache-2.0 */
/* What compiler and verdicts say of each launch of a plan. */
#include "harness/tune/prove/scale_steps.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *mp_proof_name(mp_proof proof) {
    static const char *const names[] = {"unproven", "proven", "refuted"};
    return names[proof];
}

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

void mp_tune_take_scale_steps(mp_tune_plan *plan, const mp_scale_steps *steps) {
    for (size_t i = 0; i < plan->count; i++) {
        mp_launch *l = &plan->launch[i];
        const mp_scale_step *s = mp_scale_step_of(steps, l);
        if (s && s->proof == MP_REFUTED)
            say(l, MP_REFUTED, "in the steps of %s: %s", steps->loader->name, s->text);
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

/* Of elements that the check's pass does not cover nothing was proven; else "". */
static const char *left_open(const mp_verdict *v, mp_check check) {
    return v->check[check].answer == MP_PASSED ? v->check[check].text : "";
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
    else if (left_open(v, MP_CHECK_BOUND)[0])
        say(l, MP_UNPROVEN, "judged in part: %s", left_open(v, MP_CHECK_BOUND));
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
