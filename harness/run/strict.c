/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/strict.h"

#include "cases/parts.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"
#include "harness/verdict_make.h"

static bool requires_bits(const mp_contract *contract, const mp_case *c) {
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (s != MP_ALIGN && mp_case_has_stage(c, (mp_stage)s) &&
            contract->promise[s].bits == MP_BITS_REQUIRED)
            return true;
    return false;
}

unsigned mp_strict_asked(const mp_matrix_row *row, const mp_run_options *options, const mp_offer *offer) {
    const mp_case *c = &row->c;
    const mp_contract *contract = &offer->contract;
    const bool whole = c->scope == MP_SCOPE_ALL;
    const bool runs = !row->file; /* what a file does not answer nobody could ask of it */
    size_t parts = 0;             /* of its pairs, those that are ranks or shards */
    for (size_t i = 0; i < row->pair_count; i++) parts += mp_case_is_part(c, &row->pairs[i]);
    /* The conditions that MP_CHECKS names. Without tokens there are no numbers, only align's integers. */
    const bool some = c->M > 0, always = runs, numbers = c->scope != MP_SCOPE_ALIGN && some,
               integers = c->scope == MP_SCOPE_ALIGN ||
                          (whole && runs && offer->exposes & MP_IN_SET(MP_SORTED_TOKEN_IDS)),
               repeated = runs && (some || integers) && options->settings.repeat != 1 &&
                          (options->settings.deterministic || mp_contract_deterministic(contract, c)),
               moved = runs && whole && mp_contract_batch_invariant(contract, c) && c->M > 1,
               paired = row->pair_count > parts && some, parted = parts != 0 && some,
               followed = row->after_count > 0 && (some || integers),
               compared = options->golden && !options->settings.golden_partial && (some || integers),
               recorded = runs && some && offer->graphs, overlapping = runs && some && offer->overlaps,
               predicted = some && requires_bits(contract, c);
#define ASKED(check, name, condition) [check] = condition,
    const bool asked[MP_CHECK_COUNT] = {MP_CHECKS(ASKED)};
#undef ASKED
    unsigned mask = 0;
    for (int i = 0; i < MP_CHECK_COUNT; i++) mask |= asked[i] ? 1u << i : 0;
    return mask;
}

/* Float64 has looked at every stage that it was to, and none has a number that could be wrong, as where NaN
 * leaves all codes of a tensor open. Then as little was asked of numbers as without tokens. */
static bool has_no_number(const mp_verdict *v) {
    bool looked = false;
    for (int s = MP_ALIGN + 1; s < MP_STAGE_COUNT; s++) {
        if (v->stage[s].compared > 0) return false;
        looked = looked || v->stage[s].judged;
    }
    return looked && !v->boundless;
}

void mp_strict_apply(mp_verdict *v, unsigned asked) {
    if (v->outcome == MP_SKIP) {
        v->outcome = MP_FAIL;
        mp_verdict_set(v, &v->reason, "strict: skipped: %s", v->reason);
        return;
    }
    if (v->outcome != MP_PASS) return;
    const unsigned meant = has_no_number(v) ? asked & ~MP_CHECKS_OF_NUMBERS : asked;
    for (int i = 0; i < MP_CHECK_COUNT; i++) {
        const mp_check_result *check = &v->check[i];
        if (meant >> i & 1 && check->answer == MP_NOT_JUDGED)
            mp_check_fail(v, (mp_check)i, "strict: not judged: %s",
                          check->text[0] ? check->text : "no reason");
    }
    for (int i = 0; i < v->pair_count; i++)
        if (v->pair[i].note[0])
            mp_check_fail(v, MP_CHECK_PAIR, "strict: %s: %s", v->pair[i].text, v->pair[i].note);
    for (int i = MP_CHECK_COUNT - 1; i >= 0; i--) {
        if (v->check[i].answer != MP_FAILED) continue;
        v->outcome = MP_FAIL;
        mp_verdict_set(v, &v->reason, "%s: %s", mp_check_name((mp_check)i), v->check[i].text);
    }
}
