/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/infer.h"

#include "base/text.h"
#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "harness/checks/compare.h"
#include "harness/infer/craft.h"
#include "harness/infer/infer_report.h"
#include "harness/infer/infer_stage.h"
#include "harness/infer/reveal.h"
#include "harness/progress.h"
#include "harness/subjects/surroundings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { USUAL_REPEAT = 3 };

typedef struct session {
    mp_subject *subject;
    const mp_infer_options *options;
    mp_evidence *evidence;
    mp_infer_report *report;
} session;

static bool is_asked(const session *s, mp_stage stage) {
    return s->options->stages == 0 || s->options->stages >> stage & 1;
}

/* What a run did to its surroundings is `run`'s to judge; here it is told, for it spoils evidence. */
static void note(session *s, const mp_case *c, const mp_surroundings_report *found) {
    char text[MP_CASE_TEXT_MAX];
    mp_case_text(c, text, sizeof text);
    if (found->guard[0]) mp_infer_note(s->report, "%s: guard: %s", text, found->guard);
    if (found->input[0]) mp_infer_note(s->report, "%s: input: %s", text, found->input);
}

static mp_status run(session *s, const mp_case *c, const mp_inputs *in, uint32_t poison, mp_offer *offer,
                     mp_trace *trace, mp_error *err) {
    mp_surroundings_report found;
    mp_status status = mp_infer_describe(s->subject, c, offer, err);
    if (status == MP_OK) status = mp_run_surrounded(s->subject, c, offer, in, poison, trace, &found, err);
    if (status == MP_OK) note(s, c, &found);
    return status;
}

mp_status mp_infer_describe(mp_subject *subject, const mp_case *c, mp_offer *offer, mp_error *err) {
    *offer = (mp_offer){0};
    const mp_status status = mp_subject_describe(subject, c, offer, err);
    return status == MP_EDEVICE ? MP_EUNSUPPORTED : status;
}

/* The trace with nothing but what the stage leaves. */
static mp_trace only(const mp_trace *trace, const mp_case *c, mp_stage stage) {
    mp_trace view = *trace;
    const mp_tensor_set set = stage == MP_ALIGN
                                  ? mp_stages[MP_ALIGN].writes
                                  : MP_IN_SET(mp_stage_output(c, stage)) | mp_stages[MP_ALIGN].writes;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (!(set & MP_IN_SET(id))) view.t[id].data = NULL;
    return view;
}

/* Another run of the case, or of some of its tokens, beside the first, stage by stage. Behind the first stage
 * that differs nothing is learned: its input was another one. strong: the value that says that they are
 * equal. */
static mp_status compare_runs(session *s, const mp_case *c, const mp_trace *first, const mp_case *other,
                              const mp_trace *trace, const int64_t *token, int64_t tokens, const int32_t *ids,
                              const char *question, const char *strong, const char *field, const char *weak,
                              mp_error *err) {
    static const char *const axes[] = {"value", NULL};
    const mp_contract weakest = mp_contract_weakest();
    mp_status status = MP_OK;
    bool differs = false;
    for (int i = 0; i < MP_STAGE_COUNT && status == MP_OK && !differs; i++) {
        const mp_stage stage = (mp_stage)i;
        const bool align = stage == MP_ALIGN;
        if (!mp_case_has_stage(c, stage) || (align && token)) continue;
        const mp_trace x = only(first, c, stage), y = only(trace, other, stage);
        const mp_side a = {c, &weakest, &x, token}, b = {other, &weakest, &y, NULL};
        mp_comparison found = {0};
        status = mp_compare(&a, &b, tokens, ids, align, &found, err);
        if (status != MP_OK || found.compared + found.differing == 0) continue;
        differs = found.differing > 0;
        if (!is_asked(s, stage)) continue;
        char keys[128], no[128];
        snprintf(keys, sizeof keys, "%s.%s=1", mp_stage_name(stage), field);
        snprintf(no, sizeof no, "%s.%s=0", mp_stage_name(stage), field);
        const int q = mp_ask(s->evidence, stage, question, axes),
                  yes_value =
                      mp_evidence_value_of(s->evidence, q, 0, (mp_evidence_value){strong, keys, false}),
                  no_value = mp_evidence_value_of(s->evidence, q, 0, (mp_evidence_value){weak, no, true});
        mp_hypothesis_count(s->evidence, mp_hypothesis_of(s->evidence, q, (int[]){yes_value, 0, 0}),
                            found.compared, found.differing, found.first);
        mp_hypothesis_count(s->evidence, mp_hypothesis_of(s->evidence, q, (int[]){no_value, 0, 0}),
                            found.compared, 0, "");
    }
    return status;
}

static mp_status ask_repeats(session *s, const mp_case *c, const mp_inputs *in, const mp_trace *first,
                             mp_error *err) {
    const int repeat = s->options->repeat > 0 ? s->options->repeat : USUAL_REPEAT;
    mp_status status = MP_OK;
    for (int i = 1; i < repeat && status == MP_OK; i++) {
        mp_trace again = {0};
        mp_offer offer;
        status = run(s, c, in, i % 2 ? MP_POISON_B : MP_POISON_A, &offer, &again, err);
        if (status == MP_OK)
            status =
                compare_runs(s, c, first, c, &again, NULL, c->M, in->t[MP_TOPK_IDS].data, "repeats",
                             "the same bits every time", "deterministic", "not always the same bits", err);
        mp_trace_destroy(&again);
    }
    return status;
}

/* Tokens alone, and the first half of them. */
static mp_status ask_batches(session *s, const mp_case *c, const mp_inputs *in, const mp_trace *first,
                             mp_error *err) {
    const int64_t half = c->M / 2, begins[] = {0, 0, half, c->M - 1}, counts[] = {half, 1, 1, 1};
    mp_status status = MP_OK;
    if (c->scope != MP_SCOPE_ALL || c->M < 2) return MP_OK;
    int64_t *token = malloc((size_t)c->M * sizeof *token);
    if (!token) return mp_fail(err, MP_EMEMORY, "infer: no memory for %lld tokens", (long long)c->M);
    for (int i = 0; i < 4 && status == MP_OK; i++) {
        mp_case part = *c;
        mp_inputs some = {0};
        mp_trace trace = {0};
        mp_offer offer;
        part.M = counts[i];
        for (int64_t m = 0; m < counts[i]; m++) token[m] = begins[i] + m;
        status = mp_inputs_select(c, in, token, counts[i], &some, err);
        if (status == MP_OK) status = run(s, &part, &some, MP_POISON_B, &offer, &trace, err);
        if (status == MP_OK)
            status = compare_runs(s, c, first, &part, &trace, token, counts[i], some.t[MP_TOPK_IDS].data,
                                  "other tokens in the batch", "no influence", "batch_invariant",
                                  "change a token's bits", err);
        if (status == MP_EUNSUPPORTED) status = MP_OK; /* so small a batch it does not run */
        mp_trace_destroy(&trace);
        mp_inputs_destroy(&some);
    }
    free(token);
    return status;
}

static mp_status ask_stages(session *s, const mp_case *c, const mp_infer_run *r, mp_error *err) {
    mp_status status = MP_OK;
    for (int i = 0; i < MP_STAGE_COUNT && status == MP_OK; i++) {
        const mp_stage stage = (mp_stage)i;
        if (!mp_case_has_stage(c, stage) || !is_asked(s, stage)) continue;
        const bool seen = mp_infer_sees(r, stage);
        mp_infer_stage_seen(s->report, stage, seen);
        if (!seen) continue;
        mp_progress(mp_stage_name(stage), "infer");
        if (stage == MP_ALIGN) status = mp_infer_align(r, err);
        if (stage == MP_GATE_UP || (stage == MP_DOWN && !c->fused_sum)) status = mp_infer_gemm(r, stage, err);
        if (stage == MP_ACT) status = mp_infer_act(r, err);
        if (stage == MP_COMBINE && !c->fused_sum) status = mp_infer_combine(r, err);
        if (status == MP_OK && stage != MP_ALIGN) status = mp_infer_rows(r, stage, err);
    }
    return status;
}

/* combine's slots whose sums tell orders apart: two cancel, and the others are about as large as what one of
 * the two loses when they are added to it. Exact in every format: four bits of significand. */
static double cancelling(const void *ctx, int64_t m, int64_t j) {
    const mp_case *c = ctx;
    const double large = c->dtype == MP_FP16 ? 0x1p10 : 1; /* fp16 has no number below 2^-24 */
    const int deep = c->dtype == MP_FP64 ? 49 : 20;
    const uint64_t bits = (uint64_t)(m + 1) * UINT64_C(0x9E3779B97F4A7C15);
    const int64_t first = (int64_t)(bits >> 32 & 0xFF) % c->topk,
                  second = (first + 1 + (int64_t)(bits >> 40 & 0xFF) % (c->topk - 1)) % c->topk;
    if (j == first) return large;
    if (j == second) return -large;
    const uint64_t own = (bits ^ (uint64_t)(j + 1) << 20) * UINT64_C(0xD1342543DE82EF95);
    const double size = ldexp(1 + (double)(own >> 60 & 7) / 8, -deep - (int)(own >> 32 & 0xFF) % 6) * large;
    return own >> 63 ? -size : size;
}

/* Inputs that are made for one stage; NULL in the place of one: those of the case. */
typedef struct crafted {
    mp_stage stage;
    const double (*pair)[2]; /* of act; else combine's slots are cancelling() */
    int count;
} crafted;

static void begin_case(session *s, const mp_case *c, const crafted *made) {
    char text[MP_CASE_TEXT_MAX], name[MP_CASE_TEXT_MAX + 64], phase[MP_PHASE_MAX];
    mp_case_text(c, text, sizeof text);
    mp_text_fit(phase, sizeof phase, "run %s", text); /* told where the subject dies of it */
    mp_progress("", phase);
    snprintf(name, sizeof name, "%s%s%s", text, made ? ", with inputs made for " : "",
             made ? mp_stage_name(made->stage) : "");
    mp_evidence_begin_case(s->evidence, name);
}

static mp_status infer_case(session *s, const mp_case *c, const crafted *made, mp_error *err) {
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_offer offer;
    mp_infer_run r = {.c = c, .config = &offer.config, .poison = MP_POISON_A, .evidence = s->evidence};
    mp_status status = MP_OK;
    if (mp_case_chunks(c) > 1) return mp_fail(err, MP_EUNSUPPORTED, "several chunks: name a case of one");
    begin_case(s, c, made);
    status = mp_inputs_create(c, &in, err);
    if (status == MP_OK && made && made->pair) mp_craft_pairs(c, made->pair, made->count, &in);
    if (status == MP_OK && made && !made->pair) mp_craft_slots(c, cancelling, c, &in);
    if (status == MP_OK) status = run(s, c, &in, MP_POISON_A, &offer, &trace, err);
    if (status == MP_OK) {
        r.block_size_m = trace.block_size_m;
        mp_all_tensors(&in, &trace, r.t);
        if (c->layout != MP_ROUTE &&
            !(r.t[MP_SORTED_TOKEN_IDS].data && r.t[MP_EXPERT_IDS].data)) /* nobody knows whose a row is */
            for (int id = 0; id < MP_TENSOR_COUNT; id++)
                if (mp_tensors[id].rows == MP_ROWS_CACHE) r.t[id] = (mp_tensor){0};
        status = mp_slot_map_create(c, r.t, &r.map, err);
    }
    if (status == MP_OK && made) {
        if (mp_infer_sees(&r, made->stage))
            status = made->stage == MP_ACT ? mp_infer_act(&r, err) : mp_infer_combine(&r, err);
    } else if (status == MP_OK) {
        status = ask_stages(s, c, &r, err);
        mp_progress("", "repeat");
        if (status == MP_OK) status = ask_repeats(s, c, &in, &trace, err);
        if (status == MP_OK) status = ask_batches(s, c, &in, &trace, err);
    }
    free(r.map.memory);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

/* A case of the stage alone, or of all of them, for inputs that are made. */
static mp_case case_for(const mp_case *like, mp_scope scope) {
    mp_case c = mp_case_default();
    c.scope = scope;
    c.dtype = like->dtype;
    if (scope == MP_SCOPE_COMBINE) return c;
    c.act = like->act;
    c.gated = like->gated;
    c.interleaved = like->interleaved;
    c.alpha = like->alpha;
    c.limit = like->limit;
    return c;
}

/* Through the stage alone, and then through all of them where cases of all were run. */
static int scopes_of(const mp_case *like) {
    return like->scope == MP_SCOPE_ALL ? 2 : 1;
}

/* MP_EUNSUPPORTED where the subject does not run the case. */
static mp_status infer_made(session *s, const mp_case *c, const crafted *made, mp_error *err) {
    mp_error why = {0};
    if (mp_case_validate(c, &why) != MP_OK) return MP_EUNSUPPORTED;
    const mp_status status = infer_case(s, c, made, &why);
    if (status != MP_OK && status != MP_EUNSUPPORTED && err) *err = why;
    return status;
}

static mp_status infer_slots(session *s, const mp_case *like, mp_error *err) {
    static const mp_scope scopes[] = {MP_SCOPE_COMBINE, MP_SCOPE_ALL};
    const crafted made = {.stage = MP_COMBINE};
    mp_status status = MP_EUNSUPPORTED;
    for (int i = 0; i < scopes_of(like) && status == MP_EUNSUPPORTED; i++) {
        mp_case c = case_for(like, scopes[i]);
        c.M = 2048;
        c.topk = c.E = 8;
        c.K = 16;
        c.rsf = 2.5;
        if (c.scope == MP_SCOPE_ALL) c.N = 16;
        status = infer_made(s, &c, &made, err);
        if (status != MP_EUNSUPPORTED) break;
        c.rsf = 1; /* some leave it to their caller */
        status = infer_made(s, &c, &made, err);
    }
    return status;
}

static mp_status infer_pairs(session *s, const mp_case *like, mp_error *err) {
    enum { MOST = 4096 };
    static const mp_scope scopes[] = {MP_SCOPE_ACT, MP_SCOPE_ALL};
    double(*pair)[2] = malloc((MOST + MP_ODD_PAIRS) * sizeof *pair);
    crafted made = {.stage = MP_ACT, .pair = pair};
    mp_progress("act", "look for inputs of");
    mp_status status = pair ? mp_act_pairs(like, pair, MOST, &made.count, err)
                            : mp_fail(err, MP_EMEMORY, "infer: no memory for %d pairs", MOST);
    if (status == MP_OK && (mp_act_has_odd(like, MP_ODD_NAN) || mp_act_has_odd(like, MP_ODD_ZERO))) {
        mp_act_odd_pairs(pair + made.count);
        made.count += MP_ODD_PAIRS;
    }
    if (status == MP_OK && made.count > 0) status = MP_EUNSUPPORTED;
    for (int i = 0; i < scopes_of(like) && status == MP_EUNSUPPORTED; i++) {
        mp_case c = case_for(like, scopes[i]);
        c.topk = c.E = 1;
        c.M = scopes[i] == MP_SCOPE_ACT ? (made.count + 255) / 256 : 2;
        c.N = scopes[i] == MP_SCOPE_ACT ? 256 : (made.count + 15) / 16 * 16;
        if (c.scope == MP_SCOPE_ALL) c.K = 16;
        status = infer_made(s, &c, &made, err);
    }
    free(pair);
    return status;
}

/* Inputs that are made to separate what the cases may have left together. */
static mp_status infer_crafted(session *s, const mp_case *like, mp_error *err) {
    mp_status status = MP_OK;
    if (mp_infer_stage_was_seen(s->report, MP_ACT)) status = infer_pairs(s, like, err);
    if (status == MP_EUNSUPPORTED) status = MP_OK; /* the subject does not run it */
    if (status == MP_OK && mp_infer_stage_was_seen(s->report, MP_COMBINE)) status = infer_slots(s, like, err);
    return status == MP_EUNSUPPORTED ? MP_OK : status;
}

/* ---- all of it ---- */

static mp_status check_cases(const mp_matrix *cases, mp_error *err) {
    const mp_case *a = NULL;
    for (size_t i = 0; i < cases->count; i++) {
        const mp_case *b = &cases->rows[i].c;
        if (b->M == 0) return mp_fail(err, MP_EINPUT, "M=0: expected at least one token to infer from");
        if (b->scope == MP_SCOPE_ALIGN) continue; /* integers */
        if (!a) a = b;
        const bool act = (a->scope == MP_SCOPE_ALL || a->scope == MP_SCOPE_ACT) &&
                         (b->scope == MP_SCOPE_ALL || b->scope == MP_SCOPE_ACT);
        if (a->dtype == b->dtype && (!act || a->act == b->act)) continue;
        return mp_fail(err, MP_EINPUT,
                       "cases of %s %s and %s %s: a contract is of one kind of case, infer them one by one",
                       mp_dtype_name(a->dtype), mp_activation_name(a->act), mp_dtype_name(b->dtype),
                       mp_activation_name(b->act));
    }
    return MP_OK;
}

static mp_status reveal_sums(session *s, const mp_case *like, mp_error *err) {
    static const mp_stage stages[] = {MP_GATE_UP, MP_DOWN, MP_COMBINE};
    mp_status status = MP_OK;
    for (size_t i = 0; i < 3 && status == MP_OK; i++) {
        char text[MP_REVEAL_TEXT];
        bool revealed = false;
        if (!mp_infer_stage_was_seen(s->report, stages[i])) continue;
        mp_progress(mp_stage_name(stages[i]), "reveal");
        status = mp_reveal_sum(s->subject, like, stages[i], &revealed, text, err);
        if (status == MP_OK) mp_infer_tree(s->report, stages[i], revealed, text);
    }
    return status;
}

/* What was run so far: a case that stands for all of them. */
typedef struct kind {
    mp_case like;
    bool any, act; /* a case was run; one that has the activation */
} kind;

/* A whole case stands for single stages. Which activation it is only those know that have it. */
static void take_kind(kind *k, const mp_case *c) {
    const mp_case before = k->like;
    const bool act = mp_case_has_stage(c, MP_ACT);
    if (!k->any || (k->like.scope != MP_SCOPE_ALL && c->scope == MP_SCOPE_ALL)) k->like = *c;
    if (k->act != act) {
        const mp_case *known = act ? c : &before;
        k->like.act = known->act;
        k->like.gated = known->gated;
        k->like.interleaved = known->interleaved;
        k->like.alpha = known->alpha;
        k->like.limit = known->limit;
    }
    k->any = true;
    k->act = k->act || act;
}

/* One case; where the subject does not run it, *why says so if nothing was said before. again: another form
 * of the case before, which is told only if it is run. */
static mp_status ask_case(session *s, const mp_case *c, bool again, kind *k, mp_error *why, mp_error *err) {
    mp_error skipped = {0};
    const mp_status status =
        c->shared == MP_SHARED_ADD
            ? mp_fail(&skipped, MP_EUNSUPPORTED, "shared=add: how it is added is judged, and not inferred")
            : infer_case(s, c, NULL, &skipped);
    if (!(again && status == MP_EUNSUPPORTED))
        mp_infer_case_done(s->report, c, status == MP_EUNSUPPORTED ? skipped.text : "");
    if (status == MP_OK) take_kind(k, c);
    if (status == MP_EUNSUPPORTED && !why->text[0]) *why = skipped;
    if (status != MP_OK && status != MP_EUNSUPPORTED && err) *err = skipped;
    return status;
}

mp_status mp_infer(mp_subject *subject, const mp_matrix *cases, const mp_infer_options *options,
                   json_t **report, mp_error *err) {
    mp_evidence evidence = {0};
    mp_infer_report *r = mp_infer_report_new();
    session s = {.subject = subject, .options = options, .evidence = &evidence, .report = r};
    kind k = {0};
    mp_error why = {0};
    *report = NULL;
    mp_status status = r ? check_cases(cases, err) : mp_fail(err, MP_EMEMORY, "infer: no memory");
    for (size_t i = 0; i < cases->count && status == MP_OK; i++) {
        mp_case c = cases->rows[i].c;
        status = ask_case(&s, &c, false, &k, &why, err);
        if (status == MP_EUNSUPPORTED && c.rsf != 1) { /* some leave it to their caller */
            c.rsf = 1;
            status = ask_case(&s, &c, true, &k, &why, err);
        }
        if (status == MP_EUNSUPPORTED) status = MP_OK;
    }
    if (status == MP_OK && !k.any) { /* what it said of the first one */
        status = why.status;
        if (err) *err = why;
    }
    if (status == MP_OK) status = infer_crafted(&s, &k.like, err);
    if (status == MP_OK) status = reveal_sums(&s, &k.like, err);
    if (status == MP_OK && evidence.lost) status = mp_fail(err, MP_EMEMORY, "infer: no memory for evidence");
    if (status == MP_OK) *report = mp_infer_report_json(r, &evidence, &k.like);
    if (status == MP_OK && !*report) status = mp_fail(err, MP_EMEMORY, "infer: no memory for the report");
    mp_infer_report_free(r);
    mp_evidence_free(&evidence);
    return status;
}
