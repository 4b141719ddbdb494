/* SPDX-License-Identifier: Apache-2.0 */
/* Variants of the case, smaller batches of its first tokens, and another subject, on the case's own inputs.
 */
#include "harness/checks/session.h"

#include "cases/case_tools.h"
#include "cases/edit.h"
#include "cases/graph_tables.h"
#include "cases/lora.h"
#include "cases/parts.h"
#include "harness/answers.h"
#include "harness/phases.h"
#include "harness/verdict_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mp_pair_figures *new_pair(mp_verdict *v, const char *text, bool required) {
    if (v->pair_count == MP_MAX_PAIRS) return NULL;
    mp_pair_figures *f = &v->pair[v->pair_count++];
    f->required = required;
    mp_verdict_set(v, &f->text, "%s", text);
    return f;
}

/* The inputs of a variant: the case's own, of a smaller batch the first tokens of them, with gate and up in
 * another order the same rows elsewhere, with other adapters its own. */
static mp_status inputs_of(const mp_session *s, const mp_case *variant, mp_inputs *first,
                           const mp_inputs **in, mp_error *err) {
    *in = s->in;
    if (!mp_lora_same_fields(variant, &s->row->c)) { /* the same numbers, but for the adapters */
        const mp_status status = mp_inputs_create(variant, first, err);
        *in = first;
        return status == MP_OK ? mp_inputs_edit(variant, s->options->settings.edit, first, err) : status;
    }
    if (variant->interleaved != s->row->c.interleaved) {
        *in = first;
        return mp_inputs_reorder_gate(&s->row->c, s->in, variant, first, err);
    }
    if (variant->M == s->row->c.M) return MP_OK;
    *in = first;
    int64_t *rows = malloc((size_t)variant->M * sizeof *rows);
    if (!rows) return mp_fail(err, MP_EMEMORY, "no memory to select %lld tokens", (long long)variant->M);
    for (int64_t i = 0; i < variant->M; i++) rows[i] = i;
    const mp_status status = mp_inputs_select(&s->row->c, s->in, rows, variant->M, first, err);
    free(rows);
    return status;
}

/* A tensor that the case shows and a smaller batch of it does not, so that nothing is known of that batch's;
 * NULL: there is none. */
static const char *hidden_by(const mp_trace *smaller, const mp_trace *first) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (mp_trace_shows(first, (mp_tensor_id)id) && smaller->t[id].rank == 0 &&
            mp_tensors[id].rows != MP_ROWS_CHUNK)
            return mp_tensor_name((mp_tensor_id)id);
    return NULL;
}

/* Runs a variant once, and compares its tokens with those of the first run. */
static mp_status run_once(mp_session *s, mp_subject *subject, const mp_case *variant, const mp_offer *offer,
                          const mp_inputs *in, uint32_t poison, const char *what, mp_comparison *found,
                          const char **hidden, mp_error *err) {
    mp_left left;
    mp_status status = mp_session_run(s, what, subject, variant, in, poison, &left, err);
    if (status == MP_OK) {
        const bool all = variant->M == s->row->c.M;
        const mp_side a = {&s->row->c, &s->offer.contract, &s->first, NULL},
                      b = {variant, &offer->contract, &left.trace, NULL};
        status = mp_session_compare(s, &a, &b, &left, variant->M, s->in->t[MP_TOPK_IDS].data,
                                    all && mp_session_same_align(s, variant, &left.trace), found, err);
        *hidden = all ? mp_session_hidden_result(s, &left.trace) : hidden_by(&left.trace, &s->first);
    }
    mp_left_destroy(&left);
    return status;
}

/* A variant that is the same call as the case needs no run of its own: the case's second one was this one. */
static bool was_run(const mp_session *s, const mp_subject *subject, const mp_case *variant) {
    return subject == s->options->subject && s->repeated > 0 && subject->same_call &&
           subject->same_call(&s->row->c, variant);
}

/* Runs a variant or another subject on the case's own inputs and compares, each side under its own contract.
 * A smaller batch, which is another launch, runs by both poisons, as a case does. *judged tells whether
 * anything could be compared. */
static mp_status run_pair(mp_session *s, mp_subject *subject, const mp_case *variant, mp_pair_figures *f,
                          mp_comparison *found, bool *judged, mp_error *err) {
    const mp_offer *offer;
    const mp_inputs *in;
    mp_inputs first = {0};
    mp_error why = {0};
    const char *hidden = NULL;
    const bool again = variant->M < s->row->c.M && mp_repeats(&s->options->settings) > 1;
    *judged = s->tile_refused = false;
    mp_status status = mp_session_offer(s, subject, variant, &offer, &why);
    const bool offered = status == MP_OK;
    const mp_phase before = mp_phase_enter(MP_PHASE_INPUTS);
    if (offered) status = inputs_of(s, variant, &first, &in, &why);
    mp_phase_enter(before);
    if (status == MP_OK && was_run(s, subject, variant))
        *found = (mp_comparison){.bits_equal = true, .compared = s->repeated};
    else if (status == MP_OK)
        status = run_once(s, subject, variant, offer, in, MP_POISON_B, f->text, found, &hidden, &why);
    const int64_t open = found->rows_open; /* and stay it, whatever the other poison shows */
    if (status == MP_OK && again && found->differing == 0)
        status = run_once(s, subject, variant, offer, in, MP_POISON_A, f->text, found, &hidden, &why);
    if (found->rows_open < open) found->rows_open = open;
    if (status == MP_OK) {
        f->required = f->required && mp_contract_deterministic(&offer->contract, variant) &&
                      mp_contract_same_gemms(&s->offer.contract, &offer->contract);
        f->compared = found->compared;
        f->differing = found->differing;
        f->max_abs = found->max_abs;
        f->bits_equal = found->bits_equal && found->rows_open == 0;
        snprintf(f->first, sizeof f->first, "%s", found->first);
        if (found->rows_open > 0 && f->differing == 0)
            mp_verdict_set(s->v, &f->note,
                           "not compared: %lld rows of out, which may differ in signs of zeros alone: the "
                           "first run did not come again",
                           (long long)found->rows_open);
        else if (f->compared == 0 && s->row->c.M > 0)
            f->note = "nothing to compare";
        if (hidden && f->bits_equal) mp_verdict_set(s->v, &f->note, "does not show %s", hidden);
        *judged = f->compared > 0 && !f->note[0];
    }
    mp_inputs_destroy(&first);
    /* A subject that offers the variant, runs the case and not the variant refuses what the variant names. */
    const bool other_tile =
        !mp_tile_is_auto(&variant->tile) && !mp_tile_same(&variant->tile, &s->row->c.tile);
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

/* Whether the contract promises the variant the bits of the case. */
static bool is_promised(const mp_session *s, const mp_case *variant) {
    return s->deterministic && (variant->M == s->row->c.M || s->batch_invariant);
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
        mp_pair_figures *f = new_pair(s->v, s->row->pair_text[i], is_promised(s, &s->row->pairs[i]));
        if (!f) return mp_fail(err, MP_EINTERNAL, "%zu pairs; at most %d", s->row->pair_count, MP_MAX_PAIRS);
        const mp_status status = run_pair(s, s->options->subject, &s->row->pairs[i], f, &found, &judged, err);
        if (status != MP_OK) return status;
        if (judged && f->required) mp_session_expect_equal(s, MP_CHECK_PAIR, f->text, &found);
        if (s->tile_refused)
            mp_check_fail(s->v, MP_CHECK_PAIR, "%s: " MP_TILE_REFUSED "%s", f->text, f->note);
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

/* *found starts as mp_compare takes it. */
static mp_status run_against(mp_session *s, mp_comparison *found, mp_error *err) {
    char text[96];
    bool judged = false;
    snprintf(text, sizeof text, "subject %s", s->options->against->name);
    mp_pair_figures *f = new_pair(s->v, text, false);
    if (!f) return mp_fail(err, MP_EINTERNAL, "no room for %s beside %d pairs", text, MP_MAX_PAIRS);
    return run_pair(s, s->options->against, &s->row->c, f, found, &judged, err);
}

/* Another subject on the same case: reported. Both are judged against float64 in their own right; equal bits
 * are what the bits oracle asks for. */
mp_status mp_check_against(mp_session *s, mp_error *err) {
    mp_comparison found = {0};
    return s->options->against ? run_against(s, &found, err) : MP_OK;
}

mp_status mp_compare_stages(mp_session *s, mp_error *err) {
    mp_comparison found = {.stages = s->v};
    const mp_status status = run_against(s, &found, err);
    if (status != MP_OK) return status;
    mp_check_not_judged(s->v, MP_CHECK_BITS, "compared with subject %s, not with a prediction",
                        s->options->against->name);
    mp_verdict_set(s->v, &s->v->begins, "%s", ""); /* where the two part, whoever is wrong */
    if (found.differing > 0) mp_begins(s->v, found.stage, found.stage, found.pattern);
    return MP_OK;
}
