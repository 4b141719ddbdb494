/* SPDX-License-Identifier: Apache-2.0 */
/* The same case again, on buffers poisoned differently. A difference that follows the poison is a read of
 * memory that nobody wrote; any other is a run that does not repeat. */
#include "harness/checks/session.h"

#include "base/text.h"
#include "cases/graph_tables.h"
#include "harness/answers.h"

#include <stdio.h>
#include <stdlib.h>

static mp_status compare(mp_session *s, mp_left *again, mp_comparison *found, mp_error *err) {
    const mp_side a = {&s->row->c, &s->offer.contract, &s->first, NULL},
                  b = {&s->row->c, &s->offer.contract, &again->trace, NULL};
    return mp_session_compare(s, &a, &b, again, s->row->c.M, s->in->t[MP_TOPK_IDS].data,
                              mp_session_same_align(s, &s->row->c, &again->trace), found, err);
}

/* What the contract promises to repeat, of a run whose bits as a whole need not. */
static mp_status compare_promised(mp_session *s, mp_left *again, mp_comparison *found, mp_error *err) {
    bool repeats = true; /* what a stage makes of numbers that differ from run to run differs too */
    for (int stage = 0; stage < MP_STAGE_COUNT; stage++) {
        const mp_stage_promise *promise = &s->offer.contract.promise[stage];
        /* align's order decides no bits of what does not depend on the batch */
        const bool sorts = stage == MP_ALIGN && s->offer.contract.promise[MP_GATE_UP].batch_invariant;
        if (!mp_case_has_stage(&s->row->c, (mp_stage)stage)) continue;
        repeats = repeats && (promise->deterministic || sorts);
        if (!repeats || !promise->deterministic)
            found->left_out |= mp_stage_writes(&s->row->c, (mp_stage)stage);
    }
    return compare(s, again, found, err);
}

mp_status mp_compare_repeated(mp_session *s, mp_left *again, mp_comparison *found, mp_error *err) {
    return s->deterministic ? compare(s, again, found, err) : compare_promised(s, again, found, err);
}

/* A second run where bits need not repeat: it must keep its bounds like the first, and repeat what the
 * contract promises all the same. */
static mp_status judge_unordered(mp_session *s, mp_left *again, uint32_t poison, mp_comparison *found,
                                 mp_error *err) {
    const mp_other_run run = {&s->row->c, &s->offer, s->in, &again->trace, poison};
    mp_status status = mp_left_fetch(again, err);
    if (status == MP_OK)
        status = mp_session_judge(s, &run, MP_JUDGE_ALL, MP_CHECK_COUNT, "with another poison", NULL, err);
    return status == MP_OK ? compare_promised(s, again, found, err) : status;
}

/* Once more with either poison: does the difference come and go with it? */
static mp_status follows_poison(mp_session *s, bool *follows, mp_error *err) {
    bool changed[2] = {false};
    for (int k = 0; k < 2; k++) {
        mp_left again;
        mp_comparison found = {0};
        mp_status status = mp_session_run(s, "repeat", s->options->subject, &s->row->c, s->in,
                                          k ? MP_POISON_B : MP_POISON_A, &again, err);
        if (status == MP_OK) status = compare(s, &again, &found, err);
        mp_left_destroy(&again);
        if (status != MP_OK) return status;
        changed[k] = found.differing > 0;
    }
    *follows = !changed[0] && changed[1];
    return MP_OK;
}

/* What the repeats of a case showed. */
typedef struct repeats {
    bool bitwise;     /* bits are compared: the contract promises that they repeat, or somebody demands it */
    int64_t compared; /* elements, in the run that had the fewest */
    int runs, differing;    /* repeats, and those that differ from the first run */
    unsigned char *differs; /* [M]: tokens that do */
} repeats;

/* Which tokens differ in which runs: "5 of 19 repeats differ, in 4 of 32 tokens: 0 3..5". */
static void repeats_text(const repeats *r, int64_t tokens, mp_text *text) {
    enum { TOLD = 12 };
    int64_t count = 0, told = 0;
    for (int64_t m = 0; m < tokens; m++) count += r->differs[m];
    mp_text_add(text, "%d of %d repeats differ%s", r->differing, r->runs, count ? ", in " : "");
    if (count) mp_text_add(text, "%lld of %lld tokens:", (long long)count, (long long)tokens);
    for (int64_t m = 0, end; m < tokens && told < TOLD; m = end + 1) {
        end = m;
        if (!r->differs[m]) continue;
        while (end + 1 < tokens && r->differs[end + 1]) end++;
        mp_text_add(text, end > m ? " %lld..%lld" : " %lld", (long long)m, (long long)end);
        count -= end - m + 1;
        told++;
    }
    if (count) mp_text_add(text, " and %lld more", (long long)count);
}

/* One more run, with one of the poisons. *ends: what it shows needs no further ones. */
static mp_status repeat_once(mp_session *s, repeats *r, uint32_t poison, mp_comparison *first_found,
                             bool *ends, mp_error *err) {
    char what[32];
    mp_left again;
    mp_comparison found = {.differs = r->differs};
    snprintf(what, sizeof what, "run %d", ++r->runs + 1);
    mp_status status = mp_session_run(s, what, s->options->subject, &s->row->c, s->in, poison, &again, err);
    if (status == MP_OK)
        status =
            r->bitwise ? compare(s, &again, &found, err) : judge_unordered(s, &again, poison, &found, err);
    mp_left_destroy(&again);
    if (status != MP_OK) return status;
    r->compared = r->runs == 1 || found.compared < r->compared ? found.compared : r->compared;
    if (found.differing == 0 || r->differing++ > 0) return MP_OK;
    bool follows = false;
    if (r->bitwise && poison == MP_POISON_B) status = follows_poison(s, &follows, err);
    if (follows)
        mp_session_expect_equal(s, MP_CHECK_POISON, "the result depends on what the buffers held before",
                                &found);
    found.differs = NULL;
    *first_found = found;
    *ends = follows;
    return status;
}

mp_status mp_check_repeats(mp_session *s, mp_error *err) {
    const int repeat = mp_repeats(&s->options->settings);
    const int64_t M = s->row->c.M;
    const bool demanded = s->options->settings.deterministic && !s->deterministic;
    repeats r = {.bitwise = s->deterministic || demanded, .differs = calloc((size_t)(M > 0 ? M : 1), 1)};
    mp_comparison found = {0};
    mp_text text = {0};
    bool ends = false;
    mp_status status =
        r.differs ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory to mark %lld tokens", (long long)M);
    for (int i = 1; i < repeat && status == MP_OK && !ends; i++)
        status = repeat_once(s, &r, i % 2 ? MP_POISON_B : MP_POISON_A, &found, &ends, err);
    if (status != MP_OK || ends) goto out;
    if (r.differing > 0) {
        repeats_text(&r, M, &text);
        if (demanded)
            mp_text_add(&text, " (the contract promises no bits that repeat; --deterministic does)");
        mp_session_expect_equal(s, MP_CHECK_REPEAT, mp_text_get(&text), &found);
    } else if (repeat < 2) {
        mp_check_not_judged(s->v, MP_CHECK_REPEAT, "one run only");
    } else if (r.compared == 0) {
        mp_check_not_judged(s->v, MP_CHECK_REPEAT, "%s",
                            M == 0      ? "no tokens"
                            : r.bitwise ? "nothing to compare"
                                        : MP_NOTHING_REPEATS);
    } else if (!r.bitwise) {
        mp_check_not_judged(s->v, MP_CHECK_REPEAT,
                            "what the contract promises to repeat does; the rest may differ");
    } else {
        mp_check_pass(s->v, MP_CHECK_REPEAT);
        s->repeated = r.compared;
    }
out:
    mp_text_free(&text);
    free(r.differs);
    return status;
}
