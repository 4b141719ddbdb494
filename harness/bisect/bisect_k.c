/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/bisect_k.h"

#include "cases/case_tools.h"
#include "harness/bisect/k_runs.h"
#include "harness/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sums are shortened from one of their ends: what is left are the first groups, or the last ones. */
typedef struct direction {
    bool last;
    int8_t *parts; /* [groups + 1]: with so many groups left; -1: not tried */
    int64_t found; /* the fewest groups left with which it parts; -1: none */
    mp_k_shown shown;
    mp_verdict v; /* of that run */
} direction;

typedef struct search {
    mp_k_runs runs;
    const mp_case *c;
    const char *tensor; /* that is zeroed */
    int64_t terms, group, groups;
    direction first, last;
    json_t *report;
} search;

static mp_status no_memory(mp_error *err) {
    return mp_fail(err, MP_EMEMORY, "no memory for what bisect k finds");
}

/* ---- the search ---- */

static int64_t end_of(const search *s, int64_t groups) {
    return groups < s->groups ? groups * s->group : s->terms;
}

/* Appends edits that leave the terms from .. to-1 alone. */
static void keep(const search *s, int64_t from, int64_t to, mp_text *edit) {
    if (from > 0) mp_text_add(edit, "%s%s[...,:%" PRId64 "]=0", edit->length ? "; " : "", s->tensor, from);
    if (to < s->terms) mp_text_add(edit, "%s%s[...,%" PRId64 ":]=0", edit->length ? "; " : "", s->tensor, to);
}

static mp_status try_groups(search *s, direction *d, int64_t left, mp_error *err) {
    const int64_t cut = d->last ? end_of(s, s->groups - left) : end_of(s, left);
    mp_text edit = {0};
    mp_verdict v;
    mp_k_shown r;
    if (d->parts[left] >= 0) return MP_OK;
    if (d->last)
        keep(s, cut, s->terms, &edit);
    else
        keep(s, 0, cut, &edit);
    const mp_status status = mp_k_run(&s->runs, d->last ? "last" : "first", d->last ? s->terms - cut : cut,
                                      mp_text_get(&edit), &r, &v, err);
    if (status == MP_OK) d->parts[left] = (int8_t)r.parts;
    if (status == MP_OK && r.parts && (d->found < 0 || left < d->found)) {
        mp_verdict_free(&d->v);
        d->v = v;
        d->shown = r;
        d->found = left;
    } else {
        mp_verdict_free(&v);
    }
    mp_text_free(&edit);
    return status;
}

/* By halving: with `equal` groups it does not part, with d->found it does. */
static mp_status halve(search *s, direction *d, mp_error *err) {
    int64_t equal = 0;
    mp_status status = MP_OK;
    while (status == MP_OK && d->found - equal > 1) {
        const int64_t middle = equal + (d->found - equal) / 2;
        status = try_groups(s, d, middle, err);
        if (status == MP_OK && !d->parts[middle]) equal = middle;
    }
    return status;
}

static mp_status find(search *s, bool exhaustive, mp_error *err) {
    mp_status status = try_groups(s, &s->first, 0, err);
    s->last.parts[0] = s->first.parts[0]; /* nothing is left either way */
    if (status != MP_OK || s->first.parts[0]) return status;
    for (int64_t g = 1; status == MP_OK && exhaustive && g < s->groups; g++) {
        status = try_groups(s, &s->first, g, err);
        if (status == MP_OK) status = try_groups(s, &s->last, g, err);
    }
    if (exhaustive || s->first.found < 0) return status;
    if (status == MP_OK) status = halve(s, &s->first, err);
    return status == MP_OK ? halve(s, &s->last, err) : status;
}

/* ---- of what kind it is ---- */

enum { FEW = 16 }; /* elements that part: where one group shows, its neighbour may not */

typedef struct kind {
    bool one, all; /* group or groups are what sums from both ends point to */
    mp_k_shown alone, halved, scaled;
    bool has_alone, has_halved, has_scaled;
} kind;

static mp_status run_edited(search *s, const char *what, int64_t k, mp_text *edit, mp_k_shown *r,
                            mp_error *err) {
    mp_verdict v;
    const mp_status status = mp_k_run(&s->runs, what, k, mp_text_get(edit), r, &v, err);
    mp_verdict_free(&v);
    mp_text_free(edit);
    return status;
}

/* The group alone, and halved behind the others; and all halved, by which nothing of a sum changes but
 * exponents. */
static mp_status look_closer(search *s, kind *k, mp_error *err) {
    const int64_t from = end_of(s, s->first.found - 1), to = end_of(s, s->first.found);
    mp_text edit = {0};
    mp_status status = MP_OK;
    k->one = s->last.found > 0 && s->first.found == s->groups - s->last.found + 1;
    k->all = s->first.found == 1 && s->last.found == 1;
    k->has_alone = k->one && from > 0;
    k->has_halved = k->one && s->first.shown.failed > 0; /* rounding errors do not halve */
    k->has_scaled = !s->c->bias;
    if (k->has_alone) {
        keep(s, from, to, &edit);
        status = run_edited(s, "alone", to - from, &edit, &k->alone, err);
    }
    if (status == MP_OK && k->has_halved) {
        mp_text_add(&edit, "%s[...,%" PRId64 ":%" PRId64 "]*=0.5", s->tensor, from, to);
        keep(s, 0, to, &edit);
        status = run_edited(s, "halved", to, &edit, &k->halved, err);
    }
    if (status == MP_OK && k->has_scaled) {
        mp_text_add(&edit, "%s*=0.5", s->tensor);
        keep(s, 0, to, &edit);
        status = run_edited(s, "all halved", to, &edit, &k->scaled, err);
    }
    return status;
}

/* first: the group that completes the shortest sum from the first term on that parts; last: the one that
 * completes the shortest that ends with the last term. */
static void tell_place(const search *s, mp_text *text) {
    const int64_t first = s->first.found,
                  last = s->last.found > 0 ? s->groups - s->last.found + 1 : s->groups;
    mp_text_add(text, "%s parts ", mp_stage_name(s->runs.stage));
    if (first == last)
        mp_text_add(text, "in group %" PRId64 " of %" PRId64 ", k %" PRId64 "..%" PRId64, first, s->groups,
                    end_of(s, first - 1), end_of(s, first) - 1);
    else if (first == 1 && last == s->groups)
        mp_text_add(text, "in every group: the first %" PRId64 " terms do, and the last", end_of(s, 1));
    else if (first == 1)
        mp_text_add(text,
                    "in every sum that begins in group 1..%" PRId64 " of %" PRId64
                    ", and in none that begins behind: what "
                    "is summed before k=%" PRId64 " is lost or changed in group %" PRId64 ", k %" PRId64
                    "..%" PRId64 ", or at "
                    "its end",
                    last, s->groups, end_of(s, last), last, end_of(s, last - 1), end_of(s, last) - 1);
    else if (first < last)
        mp_text_add(text, "from group %" PRId64 ", k=%" PRId64 ", to group %" PRId64 " of %" PRId64, first,
                    end_of(s, first - 1), last, s->groups);
    else
        mp_text_add(text,
                    "where sums hold both group %" PRId64 " and group %" PRId64 " of %" PRId64
                    ", and in none on one side: "
                    "what is before and behind is put together otherwise, between k=%" PRId64 " and %" PRId64,
                    last, first, s->groups, end_of(s, last - 1), end_of(s, first) - 1);
}

static void tell_kind(const search *s, const kind *k, mp_text *text) {
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

/* BLOCK_SIZE_K of the stage's tile, 0 where none is told: "16x32x64x1x4x3 16x32x64x1x4x3 (default)". */
static int block_size_k(const mp_verdict *v, mp_stage stage) {
    int up = 0, down = 0;
    if (sscanf(v->config, "%*dx%*dx%dx%*dx%*dx%*d %*dx%*dx%d", &up, &down) != 2) return 0;
    return stage == MP_GATE_UP ? up : down;
}

static void choose_group(search *s, const mp_k_question *q, const mp_verdict *v) {
    const int step = mp_contract_text_group(v->contract, s->runs.stage),
              block = block_size_k(v, s->runs.stage);
    const char *from = q->group ? "as asked"
                       : step   ? "L of the accumulator"
                       : block  ? "BLOCK_SIZE_K"
                                : "usual";
    s->group = q->group ? q->group : step ? step : block ? block : 16;
    s->groups = (s->terms + s->group - 1) / s->group;
    json_object_set_new(s->report, "group", json_integer((json_int_t)s->group));
    json_object_set_new(s->report, "group_from", json_string(from));
    json_object_set_new(s->report, "groups", json_integer((json_int_t)s->groups));
    json_object_set_new(s->report, "block_size_k", json_integer(block));
    json_object_set_new(s->report, "judged_by", json_string(s->runs.by_bits ? "bits" : "bound"));
    json_object_set_new(s->report, "seen_in", json_string(mp_stage_name(s->runs.seen)));
}

/* The ks at which it does not part, though it does with fewer terms. */
static void tell_vanishing(const search *s, const direction *d, bool exhaustive, json_t *to) {
    json_t *gone = json_array();
    for (int64_t left = d->found + 1; d->found >= 0 && left <= s->groups; left++)
        if (d->parts[left] == 0)
            json_array_append_new(gone,
                                  json_integer((json_int_t)(d->last ? s->terms - end_of(s, s->groups - left)
                                                                    : end_of(s, left))));
    const bool known = exhaustive || json_array_size(gone) > 0;
    json_object_set_new(to, "monotone", known ? json_boolean(json_array_size(gone) == 0) : json_null());
    json_object_set_new(to, "vanishes_at", gone);
}

static void tell_end(const search *s, const direction *d, bool exhaustive, const char *name) {
    const int64_t group = d->last ? s->groups - d->found + 1 : d->found,
                  from = group > 0 ? end_of(s, group - 1) : 0;
    const char *where = s->runs.by_bits ? d->v.check[MP_CHECK_BITS].text : d->v.begins;
    if (d->found < 0) return;
    json_t *json = json_pack("{s:I, s:I, s:I, s:o, s:o}", "group", (json_int_t)group, "from",
                             (json_int_t)from, "to", (json_int_t)end_of(s, group), "where",
                             mp_json_text(where), "repro", mp_json_text(d->v.repro));
    tell_vanishing(s, d, exhaustive, json);
    json_object_set_new(s->report, name, json);
}

static void tell_nothing(const search *s, const mp_k_shown *whole, mp_text *text) {
    mp_text_add(text,
                s->runs.by_bits ? "no difference: all %" PRId64 " elements of %s have the predicted bits"
                                : "no difference: all %" PRId64 " elements of %s are within their bounds",
                whole->compared, mp_stage_name(s->runs.seen));
}

static mp_status tell_found(search *s, bool exhaustive, mp_text *text, mp_error *err) {
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

/* ---- all of it ---- */

/* The stage and its operand, as the case has them. */
static mp_status choose(search *s, const mp_k_question *q, mp_error *err) {
    const mp_case *c = s->c;
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(c, name, sizeof name);
    const mp_stage stage = q->stage >= 0               ? (mp_stage)q->stage
                           : c->scope == MP_SCOPE_DOWN ? MP_DOWN
                                                       : MP_GATE_UP;
    if (!mp_case_has_stage(c, stage))
        return mp_fail(err, MP_EINPUT, "'%s' has no %s: expected a case with a GEMM", name,
                       mp_stage_name(stage));
    if (c->M == 0) return mp_fail(err, MP_EINPUT, "'%s' has no tokens: nothing is summed", name);
    const mp_tensor_id read = stage == MP_GATE_UP ? MP_X : MP_CACHE2,
                       weights = stage == MP_GATE_UP ? MP_W1 : MP_W2;
    const bool given = mp_case_inputs(c) & MP_IN_SET(read);
    s->runs.stage = stage;
    s->tensor = mp_tensor_name(q->weights || !given ? weights : read);
    s->terms = stage == MP_GATE_UP ? c->K : c->N;
    json_object_set_new(s->report, "case", mp_json_text(name));
    json_object_set_new(s->report, "stage", json_string(mp_stage_name(stage)));
    json_object_set_new(s->report, "tensor", json_string(s->tensor));
    json_object_set_new(s->report, "terms", json_integer((json_int_t)s->terms));
    return MP_OK;
}

static mp_status start(search *s, direction *d, const mp_k_shown *whole, mp_error *err) {
    if (!(d->parts = malloc((size_t)s->groups + 1))) return no_memory(err);
    memset(d->parts, -1, (size_t)s->groups + 1);
    d->parts[s->groups] = (int8_t)whole->parts;
    d->found = whole->parts ? s->groups : -1;
    d->shown = *whole;
    return MP_OK;
}

static mp_status bisect(search *s, const mp_k_question *q, mp_error *err) {
    mp_k_shown whole;
    mp_text text = {0};
    mp_status status = mp_k_run_whole(&s->runs, s->terms, &whole, &s->first.v, err);
    if (status != MP_OK) return status;
    choose_group(s, q, &s->first.v);
    status = start(s, &s->first, &whole, err);
    if (status == MP_OK) status = start(s, &s->last, &whole, err);
    if (status == MP_OK && (whole.parts || q->exhaustive)) status = find(s, q->exhaustive, err);
    json_object_set_new(s->report, "found", json_boolean(s->first.found >= 0));
    json_object_set_new(s->report, "search_runs", json_integer(s->runs.count));
    if (status == MP_OK && s->first.found >= 0)
        status = tell_found(s, q->exhaustive, &text, err);
    else if (status == MP_OK)
        tell_nothing(s, &whole, &text);
    json_object_set_new(s->report, "runs", json_integer(s->runs.count));
    json_object_set_new(s->report, "conclusion", mp_json_text(mp_text_get(&text)));
    mp_text_free(&text);
    return status;
}

mp_status mp_bisect_k(const mp_matrix *row, const mp_k_question *question, const mp_suite_options *how,
                      mp_run_info *info, json_t **report, mp_error *err) {
    search s = {.runs = {.row = row, .how = *how, .info = info, .tries = json_array()},
                .c = &row->rows[0].c,
                .last.last = true,
                .report = json_object()};
    s.runs.how.settings.once = true;
    mp_verdict_init(&s.first.v);
    mp_verdict_init(&s.last.v);
    *report = NULL;
    mp_status status = s.runs.tries && s.report ? choose(&s, question, err) : no_memory(err);
    if (status == MP_OK) status = bisect(&s, question, err);
    if (status == MP_OK && json_object_set(s.report, "tries", s.runs.tries) != 0) status = no_memory(err);
    if (status == MP_OK) *report = json_incref(s.report);
    free(s.first.parts);
    free(s.last.parts);
    mp_verdict_free(&s.first.v);
    mp_verdict_free(&s.last.v);
    json_decref(s.runs.tries);
    json_decref(s.report);
    return status;
}
