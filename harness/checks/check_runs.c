/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/checks/session.h"

#include "cases/graph_tables.h"
#include "cases/parts.h"
#include "base/text.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"
#include "harness/verdict_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int32_t *ids_of(const mp_inputs *in) {
    return in->t[MP_TOPK_IDS].data;
}

/* Align tensors are comparable bit for bit where the order is promised and both sides padded to the same
 * blocks and chunks. */
static bool same_alignment(const mp_session *s, const mp_case *variant, const mp_trace *trace) {
    return s->offer.contract.stable_align && trace->block_size_m == s->first.block_size_m &&
           mp_case_chunks(variant) == mp_case_chunks(&s->row->c);
}

/* `what` gave other bits than the first run. */
static void fail(mp_session *s, mp_check check, const char *what, const mp_comparison *found) {
    if (found->differing > 0) mp_begins(s->v, found->stage, found->stage, found->pattern);
    mp_check_fail(s->v, check, "%s: %lld of %lld elements differ, first %s", what,
                  (long long)found->differing, (long long)found->compared, found->first);
}

/* ---- repeats ---- */

static mp_status compare_with_first(const mp_session *s, const mp_trace *trace, mp_comparison *found,
                                    mp_error *err) {
    const mp_side a = {&s->row->c, &s->offer.contract, &s->first, NULL},
                  b = {&s->row->c, &s->offer.contract, trace, NULL};
    return mp_compare(&a, &b, s->row->c.M, ids_of(s->in), same_alignment(s, &s->row->c, trace), found, err);
}

/* What the contract promises to repeat, of a run whose bits as a whole need not. */
static mp_status compare_promised(const mp_session *s, const mp_trace *again, mp_comparison *found,
                                  mp_error *err) {
    mp_trace before = s->first, later = *again; /* views without what no order is promised of */
    bool repeats = true; /* what a stage makes of numbers that differ from run to run differs too */
    for (int stage = 0; stage < MP_STAGE_COUNT; stage++) {
        const mp_stage_promise *promise = &s->offer.contract.promise[stage];
        /* align's order decides no bits of what does not depend on the batch */
        const bool sorts = stage == MP_ALIGN && s->offer.contract.promise[MP_GATE_UP].batch_invariant;
        if (!mp_case_has_stage(&s->row->c, (mp_stage)stage)) continue;
        repeats = repeats && (promise->deterministic || sorts);
        if (!repeats || !promise->deterministic)
            before.t[mp_stage_output(&s->row->c, (mp_stage)stage)].data = NULL;
    }
    const mp_side a = {&s->row->c, &s->offer.contract, &before, NULL},
                  b = {&s->row->c, &s->offer.contract, &later, NULL};
    return mp_compare(&a, &b, s->row->c.M, ids_of(s->in), same_alignment(s, &s->row->c, again), found, err);
}

/* A second run where the order of additions into the output is not fixed: it must keep its bounds like the
 * first, and repeat everything before the sum. */
static mp_status judge_unordered(mp_session *s, const mp_trace *again, uint32_t poison, mp_comparison *found,
                                 mp_error *err) {
    mp_verdict *second = malloc(sizeof *second);
    if (!second) return mp_fail(err, MP_EMEMORY, "no memory for a verdict");
    mp_verdict_init(second);
    mp_status status = mp_judge(&s->row->c, &s->offer.contract, &s->offer.config, s->in, again, poison,
                                s->engine, second, err);
    for (int i = 0; i < MP_CHECK_COUNT && status == MP_OK; i++)
        if (second->check[i].answer == MP_FAILED)
            mp_check_fail(s->v, (mp_check)i, "with another poison: %s", second->check[i].text);
    mp_verdict_free(second);
    free(second);
    return status == MP_OK ? compare_promised(s, again, found, err) : status;
}

mp_status mp_compare_repeated(const mp_session *s, const mp_trace *again, mp_comparison *found,
                              mp_error *err) {
    return s->deterministic ? compare_with_first(s, again, found, err)
                            : compare_promised(s, again, found, err);
}
/* Once more with either poison: does the difference come and go with it? */
static mp_status follows_poison(mp_session *s, bool *follows, mp_error *err) {
    bool changed[2] = {false};
    for (int k = 0; k < 2; k++) {
        mp_trace again;
        mp_comparison found = {0};
        mp_status status = mp_session_run(s, "repeat", s->options->subject, &s->row->c, s->in,
                                          k ? MP_POISON_B : MP_POISON_A, &again, err);
        if (status == MP_OK) status = compare_with_first(s, &again, &found, err);
        mp_trace_destroy(&again);
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
    mp_trace again;
    mp_comparison found = {.differs = r->differs};
    snprintf(what, sizeof what, "run %d", ++r->runs + 1);
    mp_status status = mp_session_run(s, what, s->options->subject, &s->row->c, s->in, poison, &again, err);
    if (status == MP_OK)
        status = r->bitwise ? compare_with_first(s, &again, &found, err)
                            : judge_unordered(s, &again, poison, &found, err);
    mp_trace_destroy(&again);
    if (status != MP_OK) return status;
    r->compared = r->runs == 1 || found.compared < r->compared ? found.compared : r->compared;
    if (found.differing == 0 || r->differing++ > 0) return MP_OK;
    bool follows = false;
    if (r->bitwise && poison == MP_POISON_B) status = follows_poison(s, &follows, err);
    if (follows) fail(s, MP_CHECK_POISON, "the result depends on what the buffers held before", &found);
    found.differs = NULL;
    *first_found = found;
    *ends = follows;
    return status;
}

/* The same case again, on buffers poisoned differently. A difference that follows the poison is a read of
 * memory that nobody wrote; any other is a run that does not repeat. */
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
        fail(s, MP_CHECK_REPEAT, mp_text_get(&text), &found);
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
    }
out:
    mp_text_free(&text);
    free(r.differs);
    return status;
}

/* ---- pairs and other subjects ---- */

static mp_pair_figures *new_pair(mp_verdict *v, const char *text, bool required) {
    if (v->pair_count == MP_MAX_PAIRS) return NULL;
    mp_pair_figures *f = &v->pair[v->pair_count++];
    f->required = required;
    mp_verdict_set(v, &f->text, "%s", text);
    return f;
}

/* Runs a variant or another subject on the case's own inputs and compares, each side under its own contract.
 * *judged tells whether anything could be compared. */
static mp_status run_pair(mp_session *s, mp_subject *subject, const mp_case *variant, mp_pair_figures *f,
                          mp_comparison *found, bool *judged, mp_error *err) {
    const mp_offer *offer;
    mp_trace trace = {0};
    mp_error why = {0};
    *judged = s->tile_refused = false;
    mp_status status = mp_session_offer(s, subject, variant, &offer, &why);
    const bool offered = status == MP_OK;
    if (offered) status = mp_session_run(s, f->text, subject, variant, s->in, MP_POISON_B, &trace, &why);
    if (status == MP_OK) {
        const mp_side a = {&s->row->c, &s->offer.contract, &s->first, NULL},
                      b = {variant, &offer->contract, &trace, NULL};
        status =
            mp_compare(&a, &b, s->row->c.M, ids_of(s->in), same_alignment(s, variant, &trace), found, &why);
        f->required = f->required && mp_contract_deterministic(&offer->contract, variant);
        f->compared = found->compared;
        f->differing = found->differing;
        f->max_abs = found->max_abs;
        f->bits_equal = found->bits_equal;
        snprintf(f->first, sizeof f->first, "%s", found->first);
        if (status == MP_OK && f->compared == 0 && s->row->c.M > 0) f->note = "nothing to compare";
        *judged = status == MP_OK && f->compared > 0;
    }
    mp_trace_destroy(&trace);
    /* A subject that offers the variant, runs the case and not the variant refuses what the variant names. */
    const bool other_tile =
        !mp_tile_is_auto(&variant->tile) &&
        memcmp(&variant->tile, &s->row->c.tile, sizeof variant->tile) != 0; /* a tile is ints alone */
    s->tile_refused = offered && status == MP_EUNSUPPORTED && other_tile;
    if (status == MP_EUNSUPPORTED) {
        mp_verdict_set(s->v, &f->note, "not run: %s", why.text);
        f->required = false;
        return MP_OK;
    }
    if (status != MP_OK && err) *err = why;
    if (status != MP_OK) mp_error_prefix(err, "%s", f->text);
    return status;
}

/* Variants of the case that must give the same bits, from the same inputs. The check passes only when every
 * one of them ran and agreed. */
mp_status mp_check_pairs(mp_session *s, mp_error *err) {
    const mp_pair_figures *open = NULL;
    bool any = false;
    for (size_t i = 0; i < s->row->pair_count; i++) {
        bool judged = false;
        mp_comparison found = {0};
        if (mp_case_is_part(&s->row->c, &s->row->pairs[i])) continue; /* check_ranks.c */
        any = true;
        mp_pair_figures *f = new_pair(s->v, s->row->pair_text[i], s->deterministic);
        if (!f) return mp_fail(err, MP_EINTERNAL, "%zu pairs; at most %d", s->row->pair_count, MP_MAX_PAIRS);
        const mp_status status = run_pair(s, s->options->subject, &s->row->pairs[i], f, &found, &judged, err);
        if (status != MP_OK) return status;
        if (judged && !f->bits_equal && f->required) fail(s, MP_CHECK_PAIR, f->text, &found);
        if (s->tile_refused)
            mp_check_fail(s->v, MP_CHECK_PAIR, "%s: the tile that was asked for cannot run: %s", f->text,
                          f->note);
        if (!judged || (!f->bits_equal && !f->required)) open = f;
    }
    if (open)
        mp_check_not_judged(s->v, MP_CHECK_PAIR, "%s: %s", open->text,
                            open->note[0]    ? open->note
                            : open->first[0] ? open->first
                                             : "no tokens");
    else if (any)
        mp_check_pass(s->v, MP_CHECK_PAIR);
    else
        mp_check_not_judged(s->v, MP_CHECK_PAIR, "no variants given");
    return MP_OK;
}

/* Another subject on the same case: reported. Both are judged against float64 in their own right; equal bits
 * are what the bits oracle asks for. */
mp_status mp_check_against(mp_session *s, mp_error *err) {
    if (!s->options->against) return MP_OK;
    char text[96];
    bool judged = false;
    mp_comparison found = {0};
    snprintf(text, sizeof text, "subject %s", s->options->against->name);
    mp_pair_figures *f = new_pair(s->v, text, false);
    if (!f) return mp_fail(err, MP_EINTERNAL, "no room for %s beside %d pairs", text, MP_MAX_PAIRS);
    return run_pair(s, s->options->against, &s->row->c, f, &found, &judged, err);
}

/* ---- permutation and batch invariance ---- */

/* Runs the tokens `token[0..count)` as a batch of their own, and compares them with the same tokens of the
 * first run. */
static mp_status check_selection(mp_session *s, const int64_t *token, int64_t count, mp_check check,
                                 mp_error *err) {
    mp_case c = s->row->c;
    c.M = count;
    char what[64];
    const mp_offer *offer;
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_comparison found = {0};
    if (count == 1)
        snprintf(what, sizeof what, "token %lld alone", (long long)token[0]);
    else if (check == MP_CHECK_BATCH)
        snprintf(what, sizeof what, "a batch of %lld tokens (%lld and others)", (long long)count,
                 (long long)token[0]);
    else
        snprintf(what, sizeof what, "tokens in another order");
    mp_status status = mp_inputs_select(&s->row->c, s->in, token, count, &in, err);
    if (status == MP_OK) status = mp_session_offer(s, s->options->subject, &c, &offer, err);
    if (status == MP_OK)
        status = mp_session_run(s, what, s->options->subject, &c, &in, MP_POISON_B, &trace, err);
    if (status == MP_OK) {
        const mp_side a = {&s->row->c, &s->offer.contract, &s->first, token},
                      b = {&c, &offer->contract, &trace, NULL};
        status = mp_compare(&a, &b, count, ids_of(&in), false, &found, err);
    }
    if (status == MP_EUNSUPPORTED) {
        mp_check_not_judged(s->v, check, "%s: %s", what, err ? err->text : "");
        status = MP_OK;
    } else if (status == MP_OK && found.compared + found.differing == 0) {
        mp_check_not_judged(s->v, check, "%s: nothing to compare", what);
    } else if (status == MP_OK && !found.bits_equal) {
        fail(s, check, what, &found);
    } else if (status == MP_OK) {
        mp_check_pass(s->v, check);
    }
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

static int64_t greatest_common_divisor(int64_t a, int64_t b) {
    return b == 0 ? a : greatest_common_divisor(b, a % b);
}

/* Other batches than the case's own: three tokens alone; 2, 3, 4 and 8 of them, far apart; all but the last.
 * A kernel that has code of its own for some batch sizes is met by one of them whatever the case's size is.
 * The cost is that of M + 19 tokens, whatever M is. */
static mp_status check_batches(mp_session *s, const int64_t *order, mp_error *err) {
    static const int64_t sizes[] = {2, 3, 4, 8};
    const int64_t M = s->row->c.M, alone[] = {0, M / 2, M - 1};
    mp_status status = MP_OK;
    for (int i = 0; i < 3 && status == MP_OK; i++)
        status = check_selection(s, &alone[i], 1, MP_CHECK_BATCH, err);
    for (int i = 0; i < 4 && sizes[i] < M - 1 && status == MP_OK; i++)
        status = check_selection(s, order, sizes[i], MP_CHECK_BATCH, err);
    if (M <= 2 || status != MP_OK) return status;
    int64_t *others = malloc((size_t)(M - 1) * sizeof *others);
    if (!others) return mp_fail(err, MP_EMEMORY, "no memory to select %lld tokens", (long long)(M - 1));
    for (int64_t i = 0; i < M - 1; i++) others[i] = i;
    status = check_selection(s, others, M - 1, MP_CHECK_BATCH, err);
    free(others);
    return status;
}

mp_status mp_check_invariance(mp_session *s, mp_error *err) {
    const int64_t M = s->row->c.M;
    if (s->row->c.scope != MP_SCOPE_ALL || !s->batch_invariant || M <= 1) {
        const char *why = s->row->c.scope != MP_SCOPE_ALL ? "one stage alone"
                          : M == 0                        ? "no tokens"
                          : M == 1                        ? "one token"
                                                          : "the contract does not promise it";
        mp_check_not_judged(s->v, MP_CHECK_PERMUTATION, "%s", why);
        mp_check_not_judged(s->v, MP_CHECK_BATCH, "%s", why);
        return MP_OK;
    }
    int64_t *order = malloc((size_t)M * sizeof *order);
    if (!order) return mp_fail(err, MP_EMEMORY, "no memory to permute %lld tokens", (long long)M);
    int64_t stride =
        (int64_t)(0.618 * (double)M) + 1; /* near the golden section, so that neighbours end up far apart */
    while (greatest_common_divisor(stride, M) != 1) stride++;
    for (int64_t i = 0; i < M; i++) order[i] = (i + 1) * stride % M;
    mp_status status = check_selection(s, order, M, MP_CHECK_PERMUTATION, err);
    if (status == MP_OK) status = check_batches(s, order, err);
    free(order);
    return status;
}
