/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/judge_bits.h"

#include "base/host_memory.h"
#include "cases/graph_tables.h"
#include "cases/lora.h"
#include "harness/answers.h"
#include "harness/judge/judge.h"
#include "harness/judge/judge_stage.h"
#include "harness/judge/where.h"
#include "harness/phases.h"
#include "harness/progress.h"
#include "harness/verdict_make.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tensor that first..last left, as executed and as predicted, row by row; rows of filtered slots are left
 * out where nothing is promised of them. open: elements that are taken over from the subject. picture: where
 * it is marked, or NULL. *d is to be ended by the caller, after an error too. */
static mp_status compare(const mp_judgement *j, const mp_where *where, mp_tensor_id id,
                         const mp_tensor *predicted, int64_t open, bool all, mp_picture *picture,
                         mp_difference *d, mp_error *err) {
    const int64_t *row = mp_tensors[id].rows == MP_ROWS_CACHE ? j->map.cache_row : NULL;
    const bool slots = mp_stage_rows_are_slots(where->stage);
    const bool skips = slots && !all && j->contract->filtered[where->stage] != MP_ROW_ZERO;
    const bool shrinks = where->stage == MP_SHRINK_GATE_UP || where->stage == MP_SHRINK_DOWN;
    const mp_status status = mp_difference_start(d, where, err);
    d->picture = picture;
    d->compared = -open;
    for (int64_t r = 0; r < where->rows && status == MP_OK; r++) {
        if (skips && where->topk_ids && where->topk_ids[r] < 0) continue;
        if (skips && shrinks && mp_lora_of_slot(j->c, j->t, r) < 0) continue;
        const int64_t at = row ? row[r] : r;
        if (at < 0) continue; /* a filtered slot in masked layout */
        mp_difference_row(d, r, &j->t[id], at, predicted, at);
    }
    if (picture) picture->count[MP_HISTOGRAM_STEPS][0] += d->compared - d->differing;
    return status;
}

/* result: the figures' shape is that of this tensor, and where it differs first. */
static void add_figures(const mp_judgement *j, const mp_difference *d, bool result, mp_stage_figures *f) {
    f->predicted += d->compared;
    f->mispredicted += d->differing;
    if (d->max_ulps > f->max_ulps) f->max_ulps = d->max_ulps;
    if (!result) return;
    mp_stage_set_shape(f, j->c, d->where->rows, d->where->width);
    if (d->differing == 0) return;
    f->first_index = d->first_row * d->where->width + d->first_column;
    f->first_value = mp_decode_code(d->dtype, d->first_got);
    f->first_predicted = mp_decode_code(d->dtype, d->first_expected);
}

/* reported: the first difference that breaks no promise, for the end. */
static void answer(const mp_judgement *j, const mp_difference *d, bool required,
                   char reported[MP_DIFFERENCE_TEXT_MAX]) {
    char text[MP_DIFFERENCE_TEXT_MAX], pattern[MP_WHERE_TEXT_MAX];
    if (d->differing == 0) {
        if (required) mp_check_pass(j->v, MP_CHECK_BITS);
        return;
    }
    if (!required) {
        if (!reported[0]) mp_difference_text(d, reported);
        return;
    }
    mp_difference_text(d, text);
    mp_pattern_text(d->where, &d->pattern, pattern);
    mp_begins(j->v, d->where->first, d->where->stage, pattern);
    mp_check_fail(j->v, MP_CHECK_BITS, "%s", text);
}

/* The least that the stages of a span promise; *why not to predict it, or NULL. */
static mp_bits_promise promise_of(const mp_judgement *j, mp_stage_set stages, const char **why) {
    mp_bits_promise least = MP_BITS_REQUIRED;
    *why = NULL;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const char *reason;
        if (!mp_in_stages(stages, s)) continue;
        if (j->contract->promise[s].bits < least) least = j->contract->promise[s].bits;
        if (!mp_predictable(j->contract, j->c, (mp_stage)s, &reason) && !*why) *why = reason;
    }
    return least;
}

static void free_all(mp_tensor t[MP_TENSOR_COUNT]) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_tensor_free(&t[id]);
}

/* Predicts what stage `last` leaves, by these stages up to it, from what the subject exposes, gate_up and
 * down by the engine as far as it does: tensors in between are made, the last ones are predicted beside
 * the subject's. They are the caller's to free, after an error too. *open: elements of the result that are
 * the subject's own, for they may be anything; -1: such an element is read on the way, and nothing is
 * predicted. */
static mp_status predict(const mp_judgement *j, const mp_engine *engine, mp_stage_set stages, mp_stage last,
                         mp_tensor predicted[MP_TENSOR_COUNT], int64_t *open, mp_error *err) {
    mp_tensor t[MP_TENSOR_COUNT], made[MP_TENSOR_COUNT] = {0};
    mp_prediction prediction = {.contract = j->contract, .engine = engine};
    const mp_executor executor = mp_predict_executor(&prediction);
    const mp_tensor_set out = mp_stage_writes(j->c, last);
    mp_status status = MP_OK;
    mp_case c = *j->c;
    if (!j->t[MP_SORTED_TOKEN_IDS].data || !j->t[MP_EXPERT_IDS].data)
        c.layout = MP_ROUTE; /* nobody sees the rows of what is made here */
    memcpy(t, j->t, sizeof t);
    *open = 0;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(out & MP_IN_SET(id))) continue;
        predicted[id] = j->t[id];
        predicted[id].data = NULL;
        status = mp_tensor_alloc(&predicted[id], MP_POISON_A, err);
        t[id] = predicted[id];
    }
    /* What nobody stores is made again where it is read. */
    if (last != MP_GATE_UP && mp_contract_fuses_act(j->contract, j->c))
        stages &= ~((mp_stage_set)1 << MP_GATE_UP);
    for (int s = 0; s <= (int)last && status == MP_OK && *open >= 0; s++) {
        if (!mp_in_stages(stages, s)) continue;
        for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK && s < (int)last; id++) {
            /* the subject may show one of several, which is not written to */
            if (!(mp_stage_writes(j->c, (mp_stage)s) & MP_IN_SET(id))) continue;
            made[id] = mp_case_shape(&c, (mp_tensor_id)id, j->trace->block_size_m);
            status = mp_tensor_alloc(&made[id], MP_POISON_A, err);
            t[id] = made[id];
        }
        if (status == MP_OK)
            status = mp_execute(&executor, &c, (mp_stage)s, (mp_stage)s, j->trace->block_size_m, t, err);
        if (status == MP_OK && (s == MP_QUANT_X || s == MP_QUANT_ACT))
            status = mp_predict_open_codes(
                j->contract, &(mp_stage_call){.c = &c, .t = t, .map = &j->map}, (mp_stage)s,
                s == (int)last ? &j->t[mp_stage_output(j->c, last)] : NULL, open, err);
        if (s != (int)last && *open > 0) *open = -1;
    }
    free_all(made);
    return status;
}

/* What a pass of the whole comparison has to say. */
typedef struct bits_judge {
    const mp_config *config;
    int64_t compared_spans;
    int64_t open_codes; /* not compared, for they may be anything */
    bool required;      /* some span's bits are */
    const char *open;   /* why a span was not predicted, or NULL */
    mp_stage open_first, open_last;
    char reported[MP_DIFFERENCE_TEXT_MAX]; /* a difference that breaks no promise, or "" */
} bits_judge;

/* Where one of the tensors that the span's last stage leaves is compared: its result, or the scales of
 * that. */
static mp_where where_of(const bits_judge *b, const mp_judgement *j, mp_stage first, mp_stage last,
                         mp_tensor_id id) {
    mp_where where = mp_where_of(j->c, j->t, b->config, first, last);
    if (j->in->ids_unknown) where.topk_ids = NULL;
    where.tensor = mp_tensor_name(id);
    where.dtype = j->t[id].dtype;
    where.width = mp_tensor_row_length(&j->t[id]);
    if (mp_tensors[id].rows == MP_ROWS_CHUNK) { /* a scale that all rows share */
        where.rows = mp_tensor_rows(&j->t[id]);
        where.topk_ids = NULL;
    }
    return where;
}

static mp_status compare_one(bits_judge *b, const mp_judgement *j, mp_stage first, mp_stage last,
                             mp_tensor_id id, const mp_tensor *predicted, int64_t open,
                             mp_bits_promise promise, mp_error *err) {
    const bool result = id == mp_stage_output(j->c, last);
    const mp_where where = where_of(b, j, first, last, id);
    mp_difference d = {0};
    mp_picture *picture = NULL;
    mp_status status = result ? mp_stage_picture(j, &where, &picture, err) : MP_OK;
    if (status == MP_OK)
        status = compare(j, &where, id, predicted, result ? open : 0, false, picture, &d, err);
    if (status == MP_OK) {
        add_figures(j, &d, result, &j->v->stage[last]);
        answer(j, &d, promise == MP_BITS_REQUIRED, b->reported);
    }
    mp_difference_end(&d);
    return status;
}

/* Whether anything that is compared differs from the prediction. */
static mp_status differs(const bits_judge *b, const mp_judgement *j, mp_stage first, mp_stage last,
                         const mp_tensor predicted[MP_TENSOR_COUNT], bool *differing, mp_error *err) {
    mp_status status = MP_OK;
    *differing = false;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK && !*differing; id++) {
        mp_difference d = {0};
        if (!predicted[id].data) continue;
        const mp_where where = where_of(b, j, first, last, (mp_tensor_id)id);
        status = compare(j, &where, (mp_tensor_id)id, &predicted[id], 0, false, NULL, &d, err);
        *differing = status == MP_OK && d.differing > 0;
        mp_difference_end(&d);
    }
    return status;
}

/* Two predictions of the same are equal: what is not is the engine's own mistake, and says nothing of the
 * subject. */
static mp_status agree(const mp_judgement *j, mp_stage last, const mp_tensor by_engine[MP_TENSOR_COUNT],
                       const mp_tensor by_cpu[MP_TENSOR_COUNT], mp_error *err) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *cpu = &by_cpu[id], *engine = &by_engine[id];
        if (!cpu->data || !memcmp(engine->data, cpu->data, mp_tensor_bytes(cpu))) continue;
        const int64_t width = mp_tensor_row_length(cpu);
        int64_t at = 0;
        while (mp_code_at(cpu->dtype, engine->data, at) == mp_code_at(cpu->dtype, cpu->data, at)) at++;
        return mp_fail(err, MP_EDEVICE,
                       "%s, row %" PRId64 ", column %" PRId64 " of %s: predicted as %" PRIX64
                       " by %s, and as %" PRIX64 " by the CPU",
                       mp_stage_name(last), at / width, at % width, mp_tensor_name((mp_tensor_id)id),
                       mp_code_at(cpu->dtype, engine->data, at), j->engine->name(j->engine),
                       mp_code_at(cpu->dtype, cpu->data, at));
    }
    return MP_OK;
}

/* The prediction of a span by the judgement's engine; by the CPU, where the subject differs from that. */
static mp_status predict_span(const bits_judge *b, const mp_judgement *j, mp_stage_set stages, mp_stage first,
                              mp_stage last, mp_tensor predicted[MP_TENSOR_COUNT], int64_t *open,
                              mp_error *err) {
    mp_tensor by_cpu[MP_TENSOR_COUNT] = {0};
    bool differing = false;
    mp_status status = predict(j, j->engine, stages, last, predicted, open, err);
    if (status == MP_OK && *open >= 0 && j->engine->predict_gemm)
        status = differs(b, j, first, last, predicted, &differing, err);
    if (status != MP_OK || !differing) return status;
    status = predict(j, NULL, stages, last, by_cpu, open, err);
    if (status == MP_OK) status = agree(j, last, predicted, by_cpu, err);
    free_all(by_cpu);
    return status;
}

/* Whether the rows of filtered slots hold what is promised of them; false too where a slot has no row. To
 * *compared is added how many elements of the tensor are compared in all. */
static bool filtered_rows_hold(const mp_judgement *j, mp_stage stage, mp_tensor_id id, int64_t *compared) {
    const int64_t *row = mp_tensors[id].rows == MP_ROWS_CACHE ? j->map.cache_row : NULL;
    const bool zero = j->contract->filtered[stage] == MP_ROW_ZERO, slots = mp_stage_rows_are_slots(stage);
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    const int64_t rows = slots ? mp_case_slots(j->c) : j->c->M, width = mp_tensor_row_length(&j->t[id]);
    const size_t row_bytes = mp_tensor_row_bytes(&j->t[id]);
    if (mp_tensors[id].rows == MP_ROWS_CHUNK) { /* a scale that all rows share */
        *compared += mp_tensor_count(&j->t[id]);
        return true;
    }
    for (int64_t r = 0; r < rows; r++) {
        const bool filtered = slots && ids[r] < 0;
        const int64_t at = row ? row[r] : r;
        if (at < 0 && !filtered) return false;
        if (at < 0 || (filtered && !zero)) continue;
        const char *bytes = mp_tensor_row(&j->t[id], at);
        for (size_t i = 0; i < row_bytes && filtered; i++)
            if (bytes[i]) return false;
        *compared += width;
    }
    return true;
}

/* Has a stage that is a span of its own looked at where the engine predicts it, so that the prediction need
 * not travel. Not confirmed says nothing yet: it is predicted and compared then. */
static mp_status confirm_span(bits_judge *b, const mp_judgement *j, mp_stage_set stages, mp_stage last,
                              mp_bits_promise promise, bool *confirmed, mp_error *err) {
    const mp_stage_call call = {.c = j->c, .t = j->t, .block_size_m = j->trace->block_size_m, .map = &j->map};
    int64_t compared = 0;
    *confirmed = false;
    if (stages != (mp_stage_set)1 << last || j->v->pictured ||
        (mp_stage_rows_are_slots(last) && j->in->ids_unknown))
        return MP_OK;
    const mp_status status = mp_confirm_stage(j->engine, j->contract, &call, last, confirmed, err);
    if (status == MP_EUNSUPPORTED) return MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK && *confirmed; id++)
        if (mp_stage_writes(j->c, last) & MP_IN_SET(id))
            *confirmed = filtered_rows_hold(j, last, (mp_tensor_id)id, &compared);
    if (status != MP_OK || !*confirmed) return status;
    const mp_where where = where_of(b, j, last, last, mp_stage_output(j->c, last));
    const mp_difference d = {.where = &where, .compared = compared};
    add_figures(j, &d, true, &j->v->stage[last]);
    answer(j, &d, promise == MP_BITS_REQUIRED, b->reported);
    return status;
}

static void leave_open(bits_judge *b, mp_stage first, mp_stage last, const char *why) {
    if (b->open) return;
    b->open = why;
    b->open_first = first;
    b->open_last = last;
}

static mp_status judge_span(void *ctx, const mp_judgement *j, mp_stage first, mp_stage last, mp_error *err) {
    bits_judge *b = ctx;
    const char *why;
    const mp_stage_set stages = mp_span_stages(j, last);
    if (mp_judgement_lacks(j, stages)) return MP_OK;
    if (last == MP_ALIGN) return MP_OK;   /* its integers are judged against the definition already */
    if (mp_judgement_lost_slots(j) > 0) { /* the layout lacks some: align has failed */
        mp_check_not_judged(j->v, MP_CHECK_BITS, "the rows of the caches are not known");
        return MP_OK;
    }
    const mp_bits_promise promise = promise_of(j, stages, &why);
    if (promise == MP_BITS_NONE && !why) why = "the contract predicts no bits";
    if (promise == MP_BITS_NONE || why) {
        leave_open(b, first, last, why);
        return MP_OK;
    }
    mp_tensor predicted[MP_TENSOR_COUNT] = {0};
    int64_t open = 0;
    bool confirmed = false;
    mp_progress(mp_stage_name(last), "predict");
    const mp_phase before = mp_phase_enter(MP_PHASE_PREDICT);
    mp_status status = confirm_span(b, j, stages, last, promise, &confirmed, err);
    if (status == MP_OK && !confirmed)
        status = predict_span(b, j, stages, first, last, predicted, &open, err);
    mp_phase_enter(before);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK && open >= 0; id++)
        if (predicted[id].data)
            status = compare_one(b, j, first, last, (mp_tensor_id)id, &predicted[id], open, promise, err);
    if (status == MP_OK && open < 0) {
        leave_open(b, first, last, "what becomes of a NaN is not known");
    } else if (status == MP_OK) {
        b->compared_spans++;
        b->open_codes += open;
        b->required = b->required || promise == MP_BITS_REQUIRED;
    }
    free_all(predicted);
    return status;
}

/* After the last stage: what equal bits say, and what they do not. A broken promise has its text already. */
static void conclude(const bits_judge *b, const mp_judgement *j, int64_t predicted, int64_t mispredicted) {
    char open[240] = "", text[320];
    mp_verdict *v = j->v;
    if (b->reported[0] && b->required) mp_check_pass_partly(v, MP_CHECK_BITS, b->reported);
    if (b->reported[0] && !b->required) mp_check_not_judged(v, MP_CHECK_BITS, "%s", b->reported);
    if (mispredicted > 0) return;
    if (b->open && b->open_first == b->open_last)
        snprintf(open, sizeof open, "%s is not predicted (%s)", mp_stage_name(b->open_last), b->open);
    else if (b->open)
        snprintf(open, sizeof open, "%s and %s are not predicted (%s)", mp_stage_name(b->open_first),
                 mp_stage_name(b->open_last), b->open);
    else if (b->open_codes > 0)
        snprintf(open, sizeof open, "%" PRId64 " codes of NaN may be anything", b->open_codes);
    if (b->compared_spans == 0) {
        mp_check_not_judged(v, MP_CHECK_BITS, "%s",
                            j->c->scope == MP_SCOPE_ALIGN ? "integers only"
                            : b->open                     ? b->open
                                                          : "");
    } else if (predicted == 0) {
        mp_check_not_judged(v, MP_CHECK_BITS, "%s", open[0] ? open : "nothing to compare");
    } else if (b->required) {
        if (open[0]) mp_check_pass_partly(v, MP_CHECK_BITS, open);
    } else {
        snprintf(text, sizeof text, "reported: all %" PRId64 " equal%s%s", predicted, open[0] ? "; " : "",
                 open);
        mp_check_not_judged(v, MP_CHECK_BITS, "%s", text);
    }
}

static size_t bytes_of(const mp_trace *trace) {
    size_t bytes = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (trace->t[id].data) bytes += mp_tensor_bytes(&trace->t[id]);
    return bytes;
}

/* The final output against the prediction from the inputs. Every stage's input is the stage before it, so
 * where no stage differs the output is that prediction, and nothing has to be computed; where one does, this
 * says how far the difference reached, if there is memory for a whole prediction beside the run. */
static mp_status judge_end_to_end(const mp_judgement *j, const mp_config *config, int64_t mispredicted,
                                  mp_error *err) {
    const mp_tensor *out = &j->t[MP_OUT];
    mp_trace predicted = {0};
    mp_difference d = {0};
    if (mispredicted == 0) {
        j->v->end_to_end.predicted = mp_tensor_count(out);
        mp_stage_set_shape(&j->v->end_to_end, j->c, mp_tensor_rows(out), mp_tensor_row_length(out));
        return MP_OK;
    }
    if (mp_memory_check(bytes_of(j->trace), NULL) != MP_OK) return MP_OK;
    const mp_stage first = mp_case_has_stage(j->c, MP_QUANT_X) ? MP_QUANT_X : MP_GATE_UP,
                   last = mp_case_has_stage(j->c, MP_COMBINE) ? MP_COMBINE : MP_DOWN;
    const mp_where where = mp_where_of(j->c, j->t, config, first, last);
    mp_status status =
        mp_host_predict(j->contract, j->c, j->in, j->trace->block_size_m, MP_POISON_A, &predicted, err);
    if (status == MP_OK) status = compare(j, &where, MP_OUT, &predicted.t[MP_OUT], 0, true, NULL, &d, err);
    if (status == MP_OK) add_figures(j, &d, true, &j->v->end_to_end);
    mp_difference_end(&d);
    mp_trace_destroy(&predicted);
    return status;
}

mp_status mp_judge_bits(const mp_case *c, const mp_contract *contract, const mp_config *config,
                        const mp_inputs *in, const mp_trace *trace, const mp_engine *engine, mp_verdict *v,
                        mp_error *err) {
    mp_judgement j;
    bits_judge b = {.config = config};
    if (c->M == 0) {
        mp_check_not_judged(v, MP_CHECK_BITS, "no tokens");
        return MP_OK;
    }
    const mp_phase before = mp_phase_enter(MP_PHASE_COMPARE);
    mp_status status = mp_judgement_open(c, contract, config, in, trace, MP_POISON_A, engine, v, &j, err);
    if (status == MP_OK) status = mp_for_each_span(&j, judge_span, &b, err);
    if (status == MP_OK) {
        int64_t predicted = 0, mispredicted = 0;
        for (int s = 0; s < MP_STAGE_COUNT; s++) {
            predicted += v->stage[s].predicted;
            mispredicted += v->stage[s].mispredicted;
        }
        conclude(&b, &j, predicted, mispredicted);
        const bool whole = c->scope == MP_SCOPE_ALL && trace->t[MP_OUT].data && !b.open && !b.open_codes &&
                           b.compared_spans > 0 && !mp_judgement_lacks(&j, MP_ALL_STAGES);
        if (whole) status = judge_end_to_end(&j, config, mispredicted, err);
    }
    mp_judgement_close(&j);
    mp_phase_enter(before);
    return status;
}
