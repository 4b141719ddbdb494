/* SPDX-License-Identifier: Apache-2.0 */
/* Variants of the case, and another subject, on the case's own inputs. */
#include "harness/checks/session.h"

#include "cases/parts.h"
#include "harness/answers.h"
#include "harness/verdict_make.h"

#include <stdio.h>
#include <string.h>

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
        status = mp_compare(&a, &b, s->row->c.M, s->in->t[MP_TOPK_IDS].data,
                            mp_session_same_align(s, variant, &trace), found, &why);
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
        if (judged && f->required) mp_session_expect_equal(s, MP_CHECK_PAIR, f->text, &found);
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
