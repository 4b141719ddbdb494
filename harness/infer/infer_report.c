/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/infer_report.h"

#include "base/text.h"
#include "cases/graph_tables.h"
#include "harness/infer/infer_stage.h"
#include "harness/wire.h"
#include "ref/activation.h"
#include "ref/contract_words.h"
#include "ref/predict/predict.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct mp_infer_report {
    json_t *cases, *trees, *notes;
    bool present[MP_STAGE_COUNT], seen[MP_STAGE_COUNT];
};

mp_infer_report *mp_infer_report_new(void) {
    mp_infer_report *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->cases = json_array();
    r->trees = json_object();
    r->notes = json_array();
    return r;
}

void mp_infer_report_free(mp_infer_report *r) {
    if (!r) return;
    json_decref(r->cases);
    json_decref(r->trees);
    json_decref(r->notes);
    free(r);
}

void mp_infer_case_done(mp_infer_report *r, const mp_case *c, const char *skipped) {
    char text[MP_CASE_TEXT_MAX];
    mp_case_text(c, text, sizeof text);
    json_array_append_new(
        r->cases, json_pack("{s:o, s:o}", "name", mp_json_text(text), "skipped", mp_json_text(skipped)));
}

void mp_infer_stage_seen(mp_infer_report *r, mp_stage stage, bool seen) {
    r->present[stage] = true;
    r->seen[stage] = r->seen[stage] || seen;
}

bool mp_infer_stage_was_seen(const mp_infer_report *r, mp_stage stage) {
    return r->seen[stage];
}

void mp_infer_tree(mp_infer_report *r, mp_stage stage, bool revealed, const char *text) {
    json_object_set_new(
        r->trees, mp_stage_name(stage),
        json_pack("{s:b, s:o}", "revealed", (int)revealed, revealed ? "tree" : "why", mp_json_text(text)));
}

void mp_infer_note(mp_infer_report *r, const char *format, ...) {
    mp_text text = {0};
    va_list args;
    va_start(args, format);
    mp_text_vadd(&text, format, args);
    va_end(args);
    json_array_append_new(r->notes, mp_json_text(mp_text_get(&text)));
    mp_text_free(&text);
}

/* ---- questions ---- */

static json_t *count_json(const mp_hypothesis *h) {
    static const mp_hypothesis none = {.first = ""};
    if (!h) h = &none;
    json_t *json = json_pack("{s:I, s:I, s:b, s:o, s:i, s:i, s:I}", "compared", (json_int_t)h->compared,
                             "differing", (json_int_t)h->differing, "fits", (int)mp_hypothesis_fits(h),
                             "first", mp_json_text(h->first), "cases", h->cases, "cases_without_difference",
                             mp_hypothesis_clean(h), "compared_there", (json_int_t)h->compared_clean);
    const mp_evidence_case *refuting = &h->first_refuting;
    if (h->refuting > 0)
        json_object_set_new(json, "refuted_by",
                            json_pack("{s:o, s:I, s:I}", "case", mp_json_text(refuting->name), "compared",
                                      (json_int_t)refuting->compared, "differing",
                                      (json_int_t)refuting->differing));
    return json;
}

/* A value with the best hypothesis that has it. */
static json_t *value_json(const mp_question *q, int axis, int v, const mp_hypothesis *best) {
    const mp_evidence_value *value = &q->axis[axis].value[v];
    json_t *json = count_json(mp_question_best_with(q, axis, v));
    json_object_set_new(json, "value", mp_json_text(value->name));
    json_object_set_new(json, "keys", value->keys ? mp_json_text(value->keys) : json_null());
    json_object_set_new(json, "best", json_boolean(best && best->value[axis] == v));
    json_object_set_new(json, "promises_nothing", json_boolean(value->weak));
    return json;
}

static json_t *question_json(const mp_question *q) {
    const mp_hypothesis *best = mp_question_best(q);
    json_t *axes = json_array(), *chosen = json_object(), *open = json_array();
    for (int a = 0; a < q->axes; a++) {
        json_t *values = json_array();
        for (int v = 0; v < q->axis[a].count; v++) {
            const mp_evidence_value *value = &q->axis[a].value[v];
            json_array_append_new(values, value_json(q, a, v, best));
            const bool other = best && best->value[a] != v && !value->weak;
            if (other && mp_hypothesis_fits(best) && mp_hypothesis_fits(mp_question_best_with(q, a, v)))
                json_array_append_new(open, json_pack("{s:o, s:o}", "axis", mp_json_text(q->axis[a].name),
                                                      "value", mp_json_text(value->name)));
        }
        json_array_append_new(
            axes, json_pack("{s:o, s:o}", "axis", mp_json_text(q->axis[a].name), "values", values));
        if (best)
            json_object_set_new(chosen, q->axis[a].name, mp_json_text(q->axis[a].value[best->value[a]].name));
    }
    json_t *counts = count_json(best);
    json_object_set_new(counts, "values", chosen);
    return json_pack("{s:o, s:b, s:o, s:o, s:o}", "question", mp_json_text(q->name), "fits",
                     (int)mp_hypothesis_fits(best), "best", counts, "axes", axes, "not_separated", open);
}

static bool stage_fits(const mp_evidence *e, mp_stage stage) {
    bool any = false;
    for (int q = 0; q < e->count; q++) {
        if (e->question[q].stage != stage) continue;
        if (!mp_hypothesis_fits(mp_question_best(&e->question[q]))) return false;
        any = true;
    }
    return any;
}

/* ---- the contract ---- */

/* Whether the data leaves another hypothesis that a contract would say otherwise. */
static bool is_open(const mp_question *q, const mp_hypothesis *best) {
    for (int a = 0; a < q->axes; a++)
        for (int v = 0; v < q->axis[a].count; v++) {
            const mp_evidence_value *other = &q->axis[a].value[v],
                                    *chosen = &q->axis[a].value[best->value[a]];
            if (other == chosen || other->weak || !mp_hypothesis_fits(mp_question_best_with(q, a, v)))
                continue;
            if (!other->keys || !chosen->keys || strcmp(other->keys, chosen->keys) != 0) return true;
        }
    return false;
}

/* What the evidence says: the contract `any`, and over it the keys of whatever fits. unsaid: what fits and
 * has no words. */
static mp_contract found_contract(const mp_infer_report *r, const mp_evidence *e, const mp_case *like,
                                  json_t *unsaid) {
    mp_contract contract;
    mp_contract_preset(MP_ANY_CONTRACT, like, &contract, NULL);
    if (r->seen[MP_ACT] && stage_fits(e, MP_ACT)) { /* known functions */
        contract.act_ulps = mp_contract_weakest().act_ulps;
        contract.act_ulps_per_argument = 0;
    }
    for (int s = 0; s < MP_STAGE_COUNT; s++) /* every hypothesis stores so, and nobody is asked */
        if (s != MP_ALIGN && r->seen[s] && stage_fits(e, (mp_stage)s)) contract.overflow = MP_OVERFLOW_INF;
    bool says_all[MP_STAGE_COUNT] = {false}, moved = false, float64 = true, zeros = false;
    for (int i = 0; i < e->count; i++) {
        const mp_question *q = &e->question[i];
        const mp_hypothesis *best = mp_question_best(q);
        if (!r->seen[q->stage] || !mp_hypothesis_fits(best)) continue;
        bool all = !is_open(q, best), wide = false;
        for (int a = 0; a < q->axes; a++) {
            const mp_evidence_value *value = &q->axis[a].value[best->value[a]];
            wide = wide || (value->keys && strstr(value->keys, "float64_steps=1"));
            if (value->keys) {
                mp_contract_set_words(&contract, value->keys, NULL);
                continue;
            }
            all = false;
            mp_text text = {0};
            mp_text_add(&text, "%s: %s: %s", mp_stage_name(q->stage), q->axis[a].name, value->name);
            json_array_append_new(unsaid, mp_json_text(mp_text_get(&text)));
            mp_text_free(&text);
        }
        zeros = zeros || strcmp(q->name, MP_QUESTION_ZERO) == 0;
        if (q->axes > 1 && q->stage != MP_ACT) float64 = float64 && wide;
        const bool arithmetic = q->axes > 1 || (q->stage == MP_ALIGN && contract.stable_align);
        if (arithmetic) says_all[q->stage] = all;
    }
    contract.float64_steps = contract.float64_steps && float64;                /* one word for all stages */
    if (mp_act_has_odd(like, MP_ODD_ZERO) && !zeros) says_all[MP_ACT] = false; /* no up of -0 was met */
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const char *why;
        if (s != MP_ALIGN) moved = moved || contract.promise[s].batch_invariant;
        if (stage_fits(e, (mp_stage)s) && mp_predictable(&contract, like, (mp_stage)s, &why))
            contract.promise[s].bits = says_all[s] ? MP_BITS_REQUIRED : MP_BITS_REPORTED;
    }
    contract.promise[MP_ALIGN].batch_invariant = r->seen[MP_ALIGN] && moved; /* its order is nobody's bits */
    return contract;
}

/* Takes over from `preset` what means nothing to the cases. */
static mp_contract without_idle_fields(const mp_contract *contract, const char *preset, const mp_case *like) {
    mp_contract usual, told = *contract;
    if (mp_contract_preset(preset, like, &usual, NULL) != MP_OK) return told;
    if (!mp_act_has_odd(like, MP_ODD_NAN)) told.act_clamp_nan = usual.act_clamp_nan;
    if (!mp_act_has_odd(like, MP_ODD_ZERO)) told.act_up_plus_zero = usual.act_up_plus_zero;
    for (int s = 0; s < MP_STAGE_COUNT; s++) /* what is promised of a stage that no case has */
        if (!mp_stages[s].present(like)) told.promise[s] = usual.promise[s];
    return told;
}

/* The preset from which it differs in the fewest fields, and these fields. */
static void tell_contract(const mp_contract *contract, const mp_case *like, mp_text *text) {
    static const char *const presets[] = {"sm_90",   "sm_100",         "sm_89",   "sm_86",        "sm_80",
                                          "float64", "ieee-any-order", "weakest", MP_ANY_CONTRACT};
    int least = INT_MAX;
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        mp_text words = {0};
        int differing;
        const mp_contract told = without_idle_fields(contract, presets[i], like);
        if (mp_contract_to_words(&told, presets[i], like, &words, &differing, NULL) == MP_OK &&
            differing < least) {
            least = differing;
            mp_text_free(text);
            mp_text_add(text, "%s", mp_text_get(&words));
        }
        mp_text_free(&words);
    }
}

/* What would have to be shown, where no stage was seen; "" else. */
static void tell_what_to_do(const mp_infer_report *r, const mp_case *like, mp_text *text) {
    mp_tensor_set missing = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (r->seen[s]) return;
        if (!r->present[s]) continue;
        if (s == MP_ALIGN)
            missing |= mp_stages[s].writes & mp_case_outputs(like);
        else
            missing |= MP_IN_SET(mp_stage_output(like, (mp_stage)s));
        if (s == MP_ACT) missing |= MP_IN_SET(MP_CACHE1);
        if (s == MP_DOWN) missing |= MP_IN_SET(MP_CACHE2);
        if (s == MP_COMBINE) missing |= MP_IN_SET(MP_CACHE3);
    }
    const mp_tensor_set caches = missing & ~(mp_stages[MP_ALIGN].writes | MP_IN_SET(MP_OUT));
    if (caches) missing = caches; /* align is a stage that few kernels have for themselves */
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (missing & MP_IN_SET(id))
            mp_text_add(text, "%s%s", text->length ? ", " : "", mp_tensor_name((mp_tensor_id)id));
}

json_t *mp_infer_report_json(mp_infer_report *r, const mp_evidence *e, const mp_case *like) {
    json_t *stages = json_array(), *unsaid = json_array();
    bool fits = true, any = false;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (!r->present[s]) continue;
        json_t *questions = json_array();
        for (int q = 0; q < e->count; q++)
            if (e->question[q].stage == (mp_stage)s)
                json_array_append_new(questions, question_json(&e->question[q]));
        const bool asked = r->seen[s] && json_array_size(questions) > 0,
                   fit = asked && stage_fits(e, (mp_stage)s);
        any = any || asked;
        fits = fits && (fit || !asked);
        json_array_append_new(stages,
                              json_pack("{s:s, s:b, s:b, s:o}", "stage", mp_stage_name((mp_stage)s), "seen",
                                        (int)r->seen[s], "fits", (int)fit, "questions", questions));
    }
    mp_text text = {0}, expose = {0};
    tell_what_to_do(r, like, &expose);
    const mp_contract contract = found_contract(r, e, like, unsaid);
    tell_contract(&contract, like, &text);
    json_t *json =
        json_pack("{s:b, s:O, s:o, s:O, s:o, s:o, s:O, s:o}", "fits", (int)(fits && any), "cases", r->cases,
                  "stages", stages, "trees", r->trees, "contract", mp_json_text(mp_text_get(&text)), "unsaid",
                  unsaid, "notes", r->notes, "expose", mp_json_text(mp_text_get(&expose)));
    mp_text_free(&expose);
    mp_text_free(&text);
    return json;
}
