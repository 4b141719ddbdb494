#include "harness/judge/judge_bits.h"

#include "harness/judge/judge.h"
#include "harness/judge/judge_stage.h"
#include "ref/predict/predict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One tensor, as executed and as predicted: `rows` rows of `width`, row r of the comparison lying at row[r]
 * of both (NULL: at r); rows of filtered slots are left out where nothing is promised of them. */
typedef struct comparison {
    const mp_judgement *j;
    const mp_config *config;
    mp_stage stage;
    const mp_tensor *got, *predicted;
    const int64_t *row;
    int64_t rows, width;
    bool skip_filtered;
} comparison;

static comparison compare_stage(const mp_judgement *j, const mp_config *config, mp_stage stage,
                                const mp_tensor *predicted) {
    const mp_tensor_id id = mp_stage_output(j->c, stage);
    const bool slots = mp_stage_rows_are_slots(stage);
    return (comparison){.j = j,
                        .config = config,
                        .stage = stage,
                        .got = &j->t[id],
                        .predicted = predicted,
                        .row = mp_tensors[id].rows == MP_ROWS_CACHE ? j->map.cache_row : NULL,
                        .rows = slots ? mp_case_slots(j->c) : j->c->M,
                        .width = mp_tensor_row_length(&j->t[id]),
                        .skip_filtered = slots && j->contract->filtered[stage] != MP_ROW_ZERO};
}

/* Codes as integers in the order of the values they stand for, so that neighbours differ by one and both
 * zeros are 0. */
static int64_t ordered(mp_dtype dtype, uint64_t code) {
    const int bits = 8 * (int)mp_dtype_size(dtype);
    const uint64_t sign = UINT64_C(1) << (bits - 1);
    return code & sign ? -(int64_t)(code & ~sign) : (int64_t)code;
}

/* In steps of the format; INT64_MAX when NaN is on one side. fp64 codes of opposite sign may be further apart
 * than int64_t counts. */
static int64_t distance(const mp_tensor *got, const mp_tensor *predicted, int64_t index) {
    const double a = mp_decode(got->dtype, got->data, index),
                 b = mp_decode(got->dtype, predicted->data, index);
    if (a != a || b != b) return INT64_MAX;
    const int64_t x = ordered(got->dtype, mp_code_at(got->dtype, got->data, index)),
                  y = ordered(got->dtype, mp_code_at(predicted->dtype, predicted->data, index));
    const uint64_t d = x > y ? (uint64_t)x - (uint64_t)y : (uint64_t)y - (uint64_t)x;
    return d < INT64_MAX ? (int64_t)d : INT64_MAX - 1;
}

/* ", expert 3, tile 5 x 2" of a GEMM's element: the blocks of sorted_token_ids and of columns that it lies
 * in. */
static void describe_tile(const comparison *k, int64_t slot, int64_t column, char *text, size_t size) {
    const mp_case *c = k->j->c;
    const mp_tile *tile = k->stage == MP_GATE_UP ? &k->config->up : &k->config->down;
    const mp_tensor *ids = &k->j->t[MP_SORTED_TOKEN_IDS];
    const int expert = ((const int32_t *)k->j->t[MP_TOPK_IDS].data)[slot];
    if (!ids->data) {
        snprintf(text, size, ", expert %d, tile column %" PRId64, expert, column / tile->block_size_n);
        return;
    }
    const int64_t chunk_slots = mp_case_chunk_tokens(c, 0) * c->topk, chunk = slot / chunk_slots;
    const int32_t *sorted = mp_tensor_row(ids, chunk);
    int64_t position = 0;
    while (position < ids->dim[1] && sorted[position] != slot - chunk * chunk_slots) position++;
    snprintf(text, size, ", expert %d, tile %" PRId64 " x %" PRId64, expert, position / tile->block_size_m,
             column / tile->block_size_n);
}

static void describe_first(const comparison *k, int64_t row, int64_t column, int64_t index, char *text,
                           size_t size) {
    char tile[80] = "";
    const int64_t topk = k->j->c->topk;
    const bool per_token = !mp_stage_rows_are_slots(k->stage);
    if (k->stage == MP_GATE_UP || k->stage == MP_DOWN) describe_tile(k, row, column, tile, sizeof tile);
    int used =
        snprintf(text, size, "%s: token %" PRId64, mp_stage_name(k->stage), per_token ? row : row / topk);
    if (!per_token) used += snprintf(text + used, size - (size_t)used, " slot %" PRId64, row % topk);
    snprintf(text + used, size - (size_t)used,
             " column %" PRId64 "%s: %" PRIX64 " (%.9g) instead of %" PRIX64 " (%.9g)", column, tile,
             mp_code_at(k->got->dtype, k->got->data, index), mp_decode(k->got->dtype, k->got->data, index),
             mp_code_at(k->predicted->dtype, k->predicted->data, index),
             mp_decode(k->got->dtype, k->predicted->data, index));
}

/* Counts into *f; `first` describes the first difference. */
static void count_differences(const comparison *k, mp_stage_figures *f, char *first, size_t first_size) {
    const size_t size = mp_dtype_size(k->got->dtype);
    const int32_t *ids = k->j->t[MP_TOPK_IDS].data;
    first[0] = '\0';
    mp_stage_set_shape(f, k->j->c, k->rows, k->width);
    for (int64_t r = 0; r < k->rows; r++) {
        if (k->skip_filtered && ids[r] < 0) continue;
        const int64_t at = (k->row ? k->row[r] : r) * k->width;
        f->predicted += k->width;
        if (memcmp((const char *)k->got->data + (size_t)at * size,
                   (const char *)k->predicted->data + (size_t)at * size, (size_t)k->width * size) == 0)
            continue;
        for (int64_t i = 0; i < k->width; i++) {
            if (mp_code_at(k->got->dtype, k->got->data, at + i) ==
                mp_code_at(k->predicted->dtype, k->predicted->data, at + i))
                continue;
            if (f->mispredicted++ == 0) {
                f->first_index = r * k->width + i;
                f->first_value = mp_decode(k->got->dtype, k->got->data, at + i);
                f->first_predicted = mp_decode(k->got->dtype, k->predicted->data, at + i);
                describe_first(k, r, i, at + i, first, first_size);
            }
            const int64_t ulps = distance(k->got, k->predicted, at + i);
            if (ulps > f->max_ulps) f->max_ulps = ulps;
        }
    }
}

static void compare(const comparison *k, bool required) {
    mp_verdict *v = k->j->v;
    mp_stage_figures *f = &v->stage[k->stage];
    char first[240], text[400];
    count_differences(k, f, first, sizeof first);
    if (f->mispredicted == 0) {
        if (required) mp_check_pass(v, MP_CHECK_BITS);
        return;
    }
    snprintf(text, sizeof text, "%s; %" PRId64 " of %" PRId64 " elements differ, by at most %" PRId64 " ulp",
             first, f->mispredicted, f->predicted, f->max_ulps);
    if (required)
        mp_check_fail(v, MP_CHECK_BITS, "%s", text);
    else
        mp_check_not_judged(v, MP_CHECK_BITS, "%s", text);
}

/* The least that the stages of a span promise; *why not to predict it, or NULL. */
static mp_bits_promise promise_of(const mp_judgement *j, mp_stage first, mp_stage last, const char **why) {
    mp_bits_promise least = MP_BITS_REQUIRED;
    *why = NULL;
    for (int s = (int)first; s <= (int)last; s++) {
        const char *reason;
        if (!mp_case_has_stage(j->c, (mp_stage)s)) continue;
        if (j->contract->promise[s].bits < least) least = j->contract->promise[s].bits;
        if (!mp_predictable(j->contract, j->c, (mp_stage)s, &reason) && !*why) *why = reason;
    }
    return least;
}

/* Predicts the output of stages first..last from what the subject exposes: tensors in between are made, the
 * last one is predicted beside the subject's. */
static mp_status predict(const mp_judgement *j, mp_stage first, mp_stage last, mp_tensor *predicted,
                         mp_error *err) {
    mp_tensor t[MP_TENSOR_COUNT], made[MP_TENSOR_COUNT] = {0};
    mp_prediction prediction = {.contract = j->contract};
    const mp_executor executor = mp_predict_executor(&prediction);
    const mp_tensor_id out = mp_stage_output(j->c, last);
    mp_status status = MP_OK;
    mp_case c = *j->c;
    if (!j->t[MP_SORTED_TOKEN_IDS].data) c.layout = MP_ROUTE; /* nobody sees the rows of what is made here */
    memcpy(t, j->t, sizeof t);
    *predicted = j->t[out];
    predicted->data = NULL;
    status = mp_tensor_alloc(predicted, MP_POISON_A, err);
    t[out] = *predicted;
    for (int s = (int)first; s < (int)last && status == MP_OK; s++) {
        const mp_tensor_id id = mp_stage_output(j->c, (mp_stage)s);
        if (!mp_case_has_stage(j->c, (mp_stage)s) || t[id].data) continue;
        made[id] = mp_case_shape(&c, id, j->trace->block_size_m);
        status = mp_tensor_alloc(&made[id], MP_POISON_A, err);
        t[id] = made[id];
    }
    if (status == MP_OK) status = mp_execute(&executor, &c, first, last, j->trace->block_size_m, t, err);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_tensor_free(&made[id]);
    return status;
}

/* What a pass of the whole comparison has to say. */
typedef struct bits_judge {
    const mp_config *config;
    int64_t compared_spans;
    bool required;    /* some span's bits are */
    const char *open; /* why a span was not predicted, or NULL */
    mp_stage open_first, open_last;
} bits_judge;

static mp_status judge_span(void *ctx, const mp_judgement *j, mp_stage first, mp_stage last, mp_error *err) {
    bits_judge *b = ctx;
    const char *why;
    if (last == MP_ALIGN) return MP_OK; /* its integers are judged against the definition already */
    for (int64_t t = 0; t < mp_case_slots(j->c); t++)
        if (j->map.cache_row[t] < 0) { /* a sorted layout without some of its slots: align has failed */
            mp_check_not_judged(j->v, MP_CHECK_BITS, "the rows of the caches are not known");
            return MP_OK;
        }
    const mp_bits_promise promise = promise_of(j, first, last, &why);
    if (promise == MP_BITS_NONE && !why) why = "the contract predicts no bits";
    if (promise == MP_BITS_NONE || why) {
        if (!b->open) *b = (bits_judge){b->config, b->compared_spans, b->required, why, first, last};
        return MP_OK;
    }
    mp_tensor predicted = {0};
    const mp_status status = predict(j, first, last, &predicted, err);
    if (status == MP_OK) {
        const comparison k = compare_stage(j, b->config, last, &predicted);
        compare(&k, promise == MP_BITS_REQUIRED);
        b->compared_spans++;
        b->required = b->required || promise == MP_BITS_REQUIRED;
    }
    mp_tensor_free(&predicted);
    return status;
}

/* After the last stage: what equal bits say, and what they do not. A difference has its text already. */
static void conclude(const bits_judge *b, const mp_judgement *j, int64_t predicted, int64_t mispredicted) {
    char open[240] = "", text[320];
    mp_verdict *v = j->v;
    if (mispredicted > 0) return;
    if (b->open && b->open_first == b->open_last)
        snprintf(open, sizeof open, "%s is not predicted (%s)", mp_stage_name(b->open_last), b->open);
    else if (b->open)
        snprintf(open, sizeof open, "%s and %s are not predicted (%s)", mp_stage_name(b->open_first),
                 mp_stage_name(b->open_last), b->open);
    if (b->compared_spans == 0) {
        mp_check_not_judged(v, MP_CHECK_BITS, "%s", j->c->scope == MP_SCOPE_ALIGN ? "integers only"
                            : b->open                     ? b->open
                                                          : "");
    } else if (b->required) {
        if (open[0]) mp_check_pass_partly(v, MP_CHECK_BITS, open);
    } else {
        snprintf(text, sizeof text, "reported: all %" PRId64 " equal%s%s", predicted, open[0] ? "; " : "",
                 open);
        mp_check_not_judged(v, MP_CHECK_BITS, "%s", text);
    }
}

/* The final output against the prediction from the inputs. Every stage's input is the stage before it, so
 * where no stage differs the output is that prediction, and nothing has to be computed; where one does, this
 * says how far the difference reached. */
static mp_status judge_end_to_end(const mp_judgement *j, const mp_config *config, int64_t mispredicted,
                                  mp_error *err) {
    const mp_tensor *out = &j->t[MP_OUT];
    mp_trace predicted = {0};
    char first[240];
    if (mispredicted == 0) {
        j->v->end_to_end.predicted = mp_tensor_count(out);
        mp_stage_set_shape(&j->v->end_to_end, j->c, mp_tensor_rows(out), mp_tensor_row_length(out));
        return MP_OK;
    }
    const mp_status status =
        mp_host_predict(j->contract, j->c, j->in, j->trace->block_size_m, MP_POISON_A, &predicted, err);
    if (status == MP_OK) {
        comparison k = compare_stage(j, config, mp_case_has_stage(j->c, MP_SUM) ? MP_SUM : MP_DOWN,
                                     &predicted.t[MP_OUT]);
        k.skip_filtered = false;
        count_differences(&k, &j->v->end_to_end, first, sizeof first);
    }
    mp_trace_destroy(&predicted);
    return status;
}

mp_status mp_judge_bits(const mp_case *c, const mp_contract *contract, const mp_config *config,
                        const mp_inputs *in, const mp_trace *trace, mp_verdict *v, mp_error *err) {
    mp_judgement j;
    bits_judge b = {.config = config};
    mp_status status = mp_judgement_open(c, contract, in, trace, MP_POISON_A, MP_ENGINE_PLAIN, v, &j, err);
    if (status == MP_OK) status = mp_for_each_span(&j, judge_span, &b, err);
    if (status == MP_OK) {
        int64_t predicted = 0, mispredicted = 0;
        for (int s = 0; s < MP_STAGE_COUNT; s++) {
            predicted += v->stage[s].predicted;
            mispredicted += v->stage[s].mispredicted;
        }
        conclude(&b, &j, predicted, mispredicted);
        const bool whole =
            c->scope == MP_SCOPE_ALL && trace->t[MP_OUT].data && !b.open && b.compared_spans > 0;
        if (whole) status = judge_end_to_end(&j, config, mispredicted, err);
    }
    mp_judgement_close(&j);
    return status;
}
