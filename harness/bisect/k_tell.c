/* SPDX-License-Identifier: Apache-2.0 */
/* What bisect k says of what it has found. */
#include "harness/bisect/k_search.h"

#include "harness/wire.h"

#include <inttypes.h>

/* ---- of what kind it is ---- */

enum { FEW = 16 }; /* elements that part: where one group shows, its neighbour may not */

typedef struct kind {
    bool one, all; /* group or groups are what sums from both ends point to */
    mp_k_shown alone, halved, scaled;
    bool has_alone, has_halved, has_scaled;
} kind;

static mp_status run_edited(mp_k_search *s, const char *what, int64_t k, mp_text *edit, mp_k_shown *r,
                            mp_error *err) {
    mp_verdict v;
    const mp_status status = mp_k_run(&s->runs, what, k, mp_text_get(edit), r, &v, err);
    mp_verdict_free(&v);
    mp_text_free(edit);
    return status;
}

/* The group alone, and halved behind the others; and all halved, by which nothing of a sum changes but
 * exponents. */
static mp_status look_closer(mp_k_search *s, kind *k, mp_error *err) {
    const int64_t from = mp_k_end_of(s, s->first.found - 1), to = mp_k_end_of(s, s->first.found);
    mp_text edit = {0};
    mp_status status = MP_OK;
    k->one = s->last.found > 0 && s->first.found == s->groups - s->last.found + 1;
    k->all = s->first.found == 1 && s->last.found == 1;
    k->has_alone = k->one && from > 0;
    k->has_halved = k->one && s->first.shown.failed > 0; /* rounding errors do not halve */
    /* Behind an activation other numbers are other results, of a right sum too. */
    k->has_scaled = !s->c->bias && (s->runs.seen == s->runs.stage || s->runs.stage == MP_DOWN);
    if (k->has_alone) {
        mp_k_keep(s, from, to, &edit);
        status = run_edited(s, "alone", to - from, &edit, &k->alone, err);
    }
    if (status == MP_OK && k->has_halved) {
        mp_text_add(&edit, "%s[...,%" PRId64 ":%" PRId64 "]*=0.5", s->tensor, from, to);
        mp_k_keep(s, 0, to, &edit);
        status = run_edited(s, "halved", to, &edit, &k->halved, err);
    }
    if (status == MP_OK && k->has_scaled) {
        mp_text_add(&edit, "%s*=0.5", s->tensor);
        mp_k_keep(s, 0, to, &edit);
        status = run_edited(s, "all halved", to, &edit, &k->scaled, err);
    }
    return status;
}

/* first: the group that completes the shortest sum from the first term on that parts; last: the one that
 * completes the shortest that ends with the last term. */
static void tell_place(const mp_k_search *s, mp_text *text) {
    const int64_t first = s->first.found,
                  last = s->last.found > 0 ? s->groups - s->last.found + 1 : s->groups;
    mp_text_add(text, "%s parts ", mp_stage_name(s->runs.stage));
    if (first == last)
        mp_text_add(text, "in group %" PRId64 " of %" PRId64 ", k %" PRId64 "..%" PRId64, first, s->groups,
                    mp_k_end_of(s, first - 1), mp_k_end_of(s, first) - 1);
    else if (first == 1 && last == s->groups)
        mp_text_add(text, "in every group: the first %" PRId64 " terms do, and the last", mp_k_end_of(s, 1));
    else if (first == 1)
        mp_text_add(text,
                    "in every sum that begins in group 1..%" PRId64 " of %" PRId64
                    ", and in none that begins behind: what "
                    "is summed before k=%" PRId64 " is lost or changed in group %" PRId64 ", k %" PRId64
                    "..%" PRId64 ", or at "
                    "its end",
                    last, s->groups, mp_k_end_of(s, last), last, mp_k_end_of(s, last - 1),
                    mp_k_end_of(s, last) - 1);
    else if (first < last)
        mp_text_add(text, "from group %" PRId64 ", k=%" PRId64 ", to group %" PRId64 " of %" PRId64, first,
                    mp_k_end_of(s, first - 1), last, s->groups);
    else
        mp_text_add(text,
                    "where sums hold both group %" PRId64 " and group %" PRId64 " of %" PRId64
                    ", and in none on one side: "
                    "what is before and behind is put together otherwise, between k=%" PRId64 " and %" PRId64,
                    last, first, s->groups, mp_k_end_of(s, last - 1), mp_k_end_of(s, first) - 1);
}

static void tell_kind(const mp_k_search *s, const kind *k, mp_text *text) {
    const mp_k_shown *base = &s->first.shown;
    const bool own = !k->has_alone || k->alone.parts;
    const double ratio = k->halved.max_abs / base->max_abs;
    if (base->failed == 0)
        mp_text_add(text, "; all is within the bound: an order or a rounding of the sum%s",
                    base->differing < FEW && !k->all
                        ? ", which few elements show: with more of them (a larger M) it may "
                          "show earlier"
                        : "");
    else if (!k->one)
        mp_text_add(text, "; elements are beyond the bound");
    else if (own && k->has_halved && ratio > 0.4 && ratio < 0.6)
        mp_text_add(text, "; the error halves with the group's numbers: its terms are lost, counted twice or "
                          "read from elsewhere");
    else if (own)
        mp_text_add(text, "; the group alone parts, too");
    else if (k->has_halved && ratio > 0.9 && ratio < 1.1)
        mp_text_add(text,
                    "; it does not part alone, and the error stays when its numbers are halved: it is of "
                    "what was summed before");
    else
        mp_text_add(text, "; it does not part alone");
    if (k->has_scaled && k->scaled.differing != base->differing)
        mp_text_add(text,
                    "; it depends on the magnitude: with %s halved, which changes but exponents, %" PRId64
                    " elements part instead of %" PRId64,
                    s->tensor, k->scaled.differing, base->differing);
}

/* ---- the report ---- */

/* The ks at which it does not part, though it does with fewer terms. */
static void tell_vanishing(const mp_k_search *s, const mp_k_direction *d, bool exhaustive, json_t *to) {
    json_t *gone = json_array();
    for (int64_t left = d->found + 1; d->found >= 0 && left <= s->groups; left++)
        if (d->parts[left] == 0)
            json_array_append_new(
                gone, json_integer((json_int_t)(d->last ? s->terms - mp_k_end_of(s, s->groups - left)
                                                        : mp_k_end_of(s, left))));
    const bool known = exhaustive || json_array_size(gone) > 0;
    json_object_set_new(to, "monotone", known ? json_boolean(json_array_size(gone) == 0) : json_null());
    json_object_set_new(to, "vanishes_at", gone);
}

static void tell_end(const mp_k_search *s, const mp_k_direction *d, bool exhaustive, const char *name) {
    const int64_t group = d->last ? s->groups - d->found + 1 : d->found,
                  from = group > 0 ? mp_k_end_of(s, group - 1) : 0;
    const char *where = s->runs.by_bits ? d->v.check[MP_CHECK_BITS].text : d->v.begins;
    if (d->found < 0) return;
    json_t *json = json_pack("{s:I, s:I, s:I, s:o, s:o}", "group", (json_int_t)group, "from",
                             (json_int_t)from, "to", (json_int_t)mp_k_end_of(s, group), "where",
                             mp_json_text(where), "repro", mp_json_text(d->v.repro));
    tell_vanishing(s, d, exhaustive, json);
    json_object_set_new(s->report, name, json);
}

mp_status mp_k_tell_found(mp_k_search *s, bool exhaustive, mp_text *text, mp_error *err) {
    kind k = {0};
    tell_end(s, &s->first, exhaustive, "first");
    if (s->first.found == 0) {
        mp_text_add(text, "%s parts without a single product: it is the bias, the router weight or the store",
                    mp_stage_name(s->runs.stage));
        return MP_OK;
    }
    tell_end(s, &s->last, exhaustive, "last");
    const mp_status status = look_closer(s, &k, err);
    tell_place(s, text);
    tell_kind(s, &k, text);
    return status;
}
