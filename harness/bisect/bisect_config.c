/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/bisect_config.h"

#include "base/text.h"
#include "cases/case_tools.h"
#include "harness/answers.h"
#include "harness/bisect/attempt.h"
#include "harness/bisect/signature.h"
#include "harness/bisect/subset.h"
#include "harness/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PAIRS_OF = 8 }; /* keys that are tried two by two */

/* ---- the search ---- */

typedef enum answer { UNASKED, PASSES, FAILS, FAILS_OTHERWISE, CANNOT_RUN } answer;
static const char *const answers[] = {"", "passes", "fails", "fails otherwise", "cannot run"};

typedef struct search {
    const mp_matrix *row;
    const mp_suite_options *how;
    mp_run_info *info;
    mp_tile_pair good, bad;
    const mp_tile_key *key[MP_TILE_KEYS]; /* in which they differ */
    int count;
    mp_signature wanted; /* of bad; before it is known anything is a failure */
    bool known;
    unsigned char *asked; /* [1 << count]: answers, by the set of keys that are bad's */
    mp_verdict last;      /* of the try that was asked last */
    int fewest;           /* keys of bad with which it has failed yet */
    int cannot;           /* tiles that cannot run */
    json_t *tries, *report;
    mp_status status; /* why the search ended */
    mp_error *err;
} search;

static mp_tile_pair mixed(const search *s, unsigned set) {
    mp_tile_pair pair = s->good;
    for (int i = 0; i < s->count; i++)
        if (set >> i & 1) mp_tile_key_take(&pair, &s->bad, s->key[i]);
    return pair;
}

static json_t *names(const search *s, unsigned set) {
    json_t *list = json_array();
    for (int i = 0; i < s->count; i++)
        if (set >> i & 1) json_array_append_new(list, json_string(s->key[i]->name));
    return list;
}

/* The row with other tiles. MP_EINPUT: no case may have them. */
static mp_status row_with(const search *s, const mp_tile_pair *pair, mp_matrix *m, mp_error *err) {
    const mp_matrix_row *from = &s->row->rows[0];
    mp_case c = from->c;
    char text[MP_CASE_TEXT_MAX];
    c.tile = pair->up;
    c.tile_down = pair->down;
    mp_case_text(&c, text, sizeof text);
    mp_status status = mp_matrix_add(m, text, (const char *const *)from->pair_text, from->pair_count, err);
    for (size_t i = 0; status == MP_OK && i < from->after_count; i++)
        status = mp_matrix_add_after(m, text, from->after_text[i], err);
    return status;
}

static answer judge(const search *s, const mp_verdict *v) {
    if (v->outcome == MP_PASS) return PASSES;
    if (v->outcome == MP_SKIP || strncmp(v->reason, MP_TILE_REFUSED, strlen(MP_TILE_REFUSED)) == 0)
        return CANNOT_RUN;
    return !s->known || mp_signature_fits(&s->wanted, v) ? FAILS : FAILS_OTHERWISE;
}

static answer ask(search *s, unsigned set, const char *what) {
    const mp_tile_pair pair = mixed(s, set);
    mp_matrix m = {0};
    mp_error why = {0};
    if (s->status != MP_OK) return UNASKED;
    if (s->asked[set]) return s->asked[set];
    mp_verdict_free(&s->last);
    mp_status status = row_with(s, &pair, &m, &why);
    if (status == MP_OK) status = mp_attempt(&m, s->how, &s->last, NULL, s->info, &why);
    mp_matrix_free(&m);
    const answer a = status == MP_OK ? judge(s, &s->last) : CANNOT_RUN;
    const bool given = set == 0 || set == (1u << s->count) - 1; /* what these cannot do is no finding */
    if (status == MP_EMEMORY || (status != MP_OK && given)) {
        s->status = status;
        *s->err = why;
        return UNASKED;
    }
    s->asked[set] = (unsigned char)a;
    s->cannot += a == CANNOT_RUN;
    if (a == FAILS && __builtin_popcount(set) < s->fewest) {
        s->fewest = __builtin_popcount(set);
        json_object_set_new(s->report, "repro", mp_json_text(s->last.repro));
    }
    json_array_append_new(s->tries,
                          json_pack("{s:s, s:o, s:s, s:s, s:o}", "what", what, "bad_keys", names(s, set),
                                    "answer", answers[a], "outcome", mp_outcome_name(s->last.outcome),
                                    "reason", mp_json_text(why.text[0] ? why.text : s->last.reason)));
    return a;
}

/* What both tiles must give before anything can be looked for. */
static mp_status ask_both(search *s, bool *found) {
    const unsigned all = (1u << s->count) - 1;
    const answer good = ask(s, 0, "good");
    *found = false;
    if (s->status == MP_OK && good == CANNOT_RUN)
        s->status = mp_fail(s->err, MP_EUNSUPPORTED, "the good tile cannot run: %s", s->last.reason);
    if (s->status == MP_OK && good != PASSES)
        s->status =
            mp_fail(s->err, MP_EINPUT,
                    "the good tile fails, too: expected one with which the case passes: %s", s->last.reason);
    const answer bad = ask(s, all, "bad");
    if (s->status == MP_OK && bad == CANNOT_RUN)
        s->status = mp_fail(s->err, MP_EUNSUPPORTED, "the bad tile cannot run: %s", s->last.reason);
    if (s->status != MP_OK || bad == PASSES) return s->status;
    s->known = *found = mp_signature_of(&s->last, &s->wanted);
    char text[MP_SIGNATURE_TEXT_MAX];
    mp_signature_text(&s->wanted, text);
    json_object_set_new(s->report, "fails", mp_json_text(text));
    json_object_set_new(s->report, "reason", mp_json_text(s->last.reason));
    return MP_OK;
}

static bool set_fails(void *ctx, const size_t *items, size_t count) {
    search *s = ctx;
    unsigned set = 0;
    for (size_t i = 0; i < count; i++) set |= 1u << items[i];
    return ask(s, set, "least set") == FAILS;
}

typedef struct result {
    unsigned alone, repairs, least; /* sets of keys */
    json_t *together;               /* pairs of which neither fails alone */
} result;

static void look(search *s, result *r) {
    const unsigned all = (1u << s->count) - 1;
    size_t items[MP_TILE_KEYS];
    for (int i = 0; i < s->count; i++)
        if (ask(s, 1u << i, "one of bad") == FAILS) r->alone |= 1u << i;
    for (int i = 0; i < s->count; i++)
        if (ask(s, all & ~(1u << i), "all but one") == PASSES) r->repairs |= 1u << i;
    for (int i = 0; i < s->count && s->count <= MOST_PAIRS_OF; i++)
        for (int k = i + 1; k < s->count; k++) {
            const unsigned pair = 1u << i | 1u << k;
            if (pair & r->alone || ask(s, pair, "two of bad") != FAILS) continue;
            json_array_append_new(r->together, names(s, pair));
        }
    for (int i = 0; i < s->count; i++) items[i] = (size_t)i;
    const size_t least = mp_subset_least(items, (size_t)s->count, set_fails, s);
    for (size_t i = 0; i < least; i++) r->least |= 1u << items[i];
}

/* ---- the report ---- */

static void tell_keys(search *s) {
    json_t *list = json_array();
    for (int i = 0; i < s->count; i++)
        json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "key", s->key[i]->name, "good",
                                              mp_tile_key_value(&s->good, s->key[i]), "bad",
                                              mp_tile_key_value(&s->bad, s->key[i])));
    json_object_set_new(s->report, "keys", list);
}

/* "BLOCK_SIZE_K=64 and num_warps=8" */
static void add_set(const search *s, unsigned set, const mp_tile_pair *of, mp_text *text) {
    int left = __builtin_popcount(set);
    for (int i = 0; i < s->count; i++) {
        if (!(set >> i & 1)) continue;
        left--;
        mp_text_add(text, "%s=%d%s", s->key[i]->name, mp_tile_key_value(of, s->key[i]),
                    left > 1    ? ", "
                    : left == 1 ? " and "
                                : "");
    }
}

static void conclude(search *s, const result *r) {
    mp_text text = {0};
    const int least = __builtin_popcount(r->least);
    if (__builtin_popcount(r->alone) > 1) {
        mp_text_add(&text, "each of ");
        add_set(s, r->alone, &s->bad, &text);
        mp_text_add(&text, " makes it fail alone");
    } else if (r->alone) {
        add_set(s, r->alone, &s->bad, &text);
        mp_text_add(&text, " alone makes it fail");
    } else {
        add_set(s, r->least, &s->bad, &text);
        mp_text_add(&text, "%s%s",
                    least == 1 ? " makes it fail" : " together make it fail, and no fewer of them do",
                    least > 1 && s->cannot > 0 ? " that can run" : "");
    }
    if (r->repairs) {
        mp_text_add(&text, "; with the good ");
        add_set(s, r->repairs, &s->good, &text);
        mp_text_add(&text, __builtin_popcount(r->repairs) > 1 ? ", each alone, it passes" : " it passes");
    }
    json_object_set_new(s->report, "conclusion", mp_json_text(mp_text_get(&text)));
    mp_text_free(&text);
}

static mp_status bisect(search *s) {
    result r = {.together = json_array()};
    bool found;
    mp_status status = ask_both(s, &found);
    if (status == MP_OK && found) {
        look(s, &r);
        status = s->status;
    }
    if (status == MP_OK) {
        json_object_set_new(s->report, "found", json_boolean(found));
        if (found) {
            json_object_set_new(s->report, "alone", names(s, r.alone));
            json_object_set_new(s->report, "together", json_incref(r.together));
            json_object_set_new(s->report, "pairs_tried", json_boolean(s->count <= MOST_PAIRS_OF));
            json_object_set_new(s->report, "least", names(s, r.least));
            json_object_set_new(s->report, "repairs", names(s, r.repairs));
            conclude(s, &r);
        } else {
            json_object_set_new(s->report, "conclusion", json_string("no difference: the bad tile passes"));
        }
        json_object_set_new(s->report, "cannot_run", json_integer(s->cannot));
        json_object_set_new(s->report, "runs", json_integer((json_int_t)json_array_size(s->tries)));
        json_object_set(s->report, "tries", s->tries);
    }
    json_decref(r.together);
    return status;
}

mp_status mp_bisect_config(const mp_matrix *row, const mp_tile_pair *good, const mp_tile_pair *bad,
                           const mp_suite_options *how, mp_run_info *info, json_t **report, mp_error *err) {
    search s = {.row = row,
                .how = how,
                .info = info,
                .good = *good,
                .bad = *bad,
                .tries = json_array(),
                .report = json_object(),
                .err = err};
    const bool two = !mp_tile_is_auto(&good->down) || !mp_tile_is_auto(&bad->down);
    char name[MP_CASE_TEXT_MAX];
    mp_verdict_init(&s.last);
    s.fewest = MP_TILE_KEYS + 1;
    *report = NULL;
    if (two && mp_tile_is_auto(&good->down)) s.good.down = good->up;
    if (two && mp_tile_is_auto(&bad->down)) s.bad.down = bad->up;
    for (int i = 0; i < MP_TILE_KEYS; i++)
        if ((two || mp_tile_keys[i].up != MP_NO_KEY) &&
            mp_tile_key_value(&s.good, &mp_tile_keys[i]) != mp_tile_key_value(&s.bad, &mp_tile_keys[i]))
            s.key[s.count++] = &mp_tile_keys[i];
    s.asked = calloc((size_t)1 << s.count, 1);
    if (!s.asked || !s.tries || !s.report)
        s.status = mp_fail(err, MP_EMEMORY, "no memory for what bisect config finds");
    else if (s.count == 0)
        s.status = mp_fail(err, MP_EINPUT, "the good tile and the bad one are the same");
    mp_case_text(&row->rows[0].c, name, sizeof name);
    json_object_set_new(s.report, "case", mp_json_text(name));
    if (s.status == MP_OK) tell_keys(&s);
    if (s.status == MP_OK) s.status = bisect(&s);
    if (s.status == MP_OK) *report = json_incref(s.report);
    mp_verdict_free(&s.last);
    free(s.asked);
    json_decref(s.tries);
    json_decref(s.report);
    return s.status;
}
