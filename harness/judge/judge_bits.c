#include "harness/judge/judge_bits.h"

#include "harness/judge/judge.h"
#include "ref/predict/host.h"
#include "ref/predict/host_stages.h"
#include "ref/pipeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One stage's tensor, as executed and as predicted: `rows` rows of `width`, row r of the comparison lying at
 * row[r] of both (NULL: at r; -1: not compared). */
typedef struct comparison {
    const mp_case *c;
    const mp_config *config;
    const mp_inputs *in;
    const mp_trace *trace;
    mp_stage which;
    const mp_tensor *got, *predicted;
    const int64_t *row;
    int64_t rows, width;
} comparison;

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

/* "expert 3, tile 5 x 2" of a GEMM's element: the blocks of sorted_token_ids and of columns that it lies
 * in. */
static void describe_tile(const comparison *k, int64_t slot, int64_t column, char *text, size_t size) {
    const mp_tile *tile = k->which == MP_GATE_UP ? &k->config->up : &k->config->down;
    const int64_t chunk_slots = mp_case_chunk_tokens(k->c, 0) * k->c->topk, chunk = slot / chunk_slots;
    const int32_t *sorted = mp_tensor_row(&k->trace->t[MP_SORTED_TOKEN_IDS], chunk);
    const int64_t positions = k->trace->t[MP_SORTED_TOKEN_IDS].dim[1];
    int64_t position = 0;
    while (position < positions && sorted[position] != slot - chunk * chunk_slots) position++;
    snprintf(text, size, ", expert %d, tile %" PRId64 " x %" PRId64,
             ((const int32_t *)k->in->t[MP_TOPK_IDS].data)[slot], position / tile->block_size_m,
             column / tile->block_size_n);
}

static void describe_first(const comparison *k, int64_t row, int64_t column, int64_t index, char *text,
                           size_t size) {
    char tile[80] = "";
    const bool per_token = k->rows == k->c->M && k->which == MP_SUM;
    if (k->which == MP_GATE_UP || k->which == MP_DOWN) describe_tile(k, row, column, tile, sizeof tile);
    int used = snprintf(text, size, "%s: token %" PRId64, mp_stage_name(k->which),
                        per_token ? row : row / k->c->topk);
    if (!per_token) used += snprintf(text + used, size - (size_t)used, " slot %" PRId64, row % k->c->topk);
    snprintf(text + used, size - (size_t)used,
             " column %" PRId64 "%s: %" PRIX64 " (%.9g) instead of %" PRIX64 " (%.9g)", column, tile,
             mp_code_at(k->got->dtype, k->got->data, index), mp_decode(k->got->dtype, k->got->data, index),
             mp_code_at(k->predicted->dtype, k->predicted->data, index),
             mp_decode(k->got->dtype, k->predicted->data, index));
}

/* Counts into *f; `first` describes the first difference. */
static void count_differences(const comparison *k, mp_stage_figures *f, char *first, size_t first_size) {
    const size_t size = mp_dtype_size(k->got->dtype);
    first[0] = '\0';
    mp_stage_set_shape(f, k->c, k->rows, k->width);
    for (int64_t r = 0; r < k->rows; r++) {
        const int64_t at = (k->row ? k->row[r] : r) * k->width;
        if (at < 0) continue;
        f->predicted += k->width;
        if (memcmp((const char *)k->got->data + (size_t)at * size,
                   (const char *)k->predicted->data + (size_t)at * size, (size_t)k->width * size) == 0)
            continue;
        for (int64_t j = 0; j < k->width; j++) {
            if (mp_code_at(k->got->dtype, k->got->data, at + j) ==
                mp_code_at(k->predicted->dtype, k->predicted->data, at + j))
                continue;
            if (f->mispredicted++ == 0) {
                f->first_index = r * k->width + j;
                f->first_value = mp_decode(k->got->dtype, k->got->data, at + j);
                f->first_predicted = mp_decode(k->got->dtype, k->predicted->data, at + j);
                describe_first(k, r, j, at + j, first, first_size);
            }
            const int64_t ulps = distance(k->got, k->predicted, at + j);
            if (ulps > f->max_ulps) f->max_ulps = ulps;
        }
    }
}

static void compare(const comparison *k, bool required, mp_verdict *v) {
    mp_stage_figures *f = &v->stage[k->which];
    char first[200];
    count_differences(k, f, first, sizeof first);
    if (f->mispredicted == 0) {
        if (required) mp_check_pass(v, MP_CHECK_BITS);
        return;
    }
    char text[300];
    snprintf(text, sizeof text, "%s; %" PRId64 " of %" PRId64 " elements differ, by at most %" PRId64 " ulp",
             first, f->mispredicted, f->predicted, f->max_ulps);
    if (required)
        mp_check_fail(v, MP_CHECK_BITS, "%s", text);
    else
        mp_check_not_judged(v, MP_CHECK_BITS, "%s", text);
}

/* The final output against the prediction from the inputs. Every stage's input is the stage before it, so
 * where no stage differs the output is that prediction, and nothing has to be computed; where one does, this
 * says how far the difference reached. */
static mp_status judge_end_to_end(comparison k, const mp_contract *contract, int64_t mispredicted,
                                  mp_verdict *v, mp_error *err) {
    mp_trace predicted = {0};
    char first[200];
    if (mispredicted == 0) {
        v->end_to_end.predicted = mp_tensor_count(k.got);
        mp_stage_set_shape(&v->end_to_end, k.c, v->end_to_end.predicted / k.c->K, k.c->K);
        return MP_OK;
    }
    const mp_status status =
        mp_host_predict(contract, k.c, k.in, k.config->up.block_size_m, MP_POISON_A, &predicted, err);
    k.which = MP_SUM;
    k.rows = mp_tensor_count(k.got) / k.c->K;
    k.width = k.c->K;
    k.predicted = &predicted.t[MP_OUT];
    if (status == MP_OK) count_differences(&k, &v->end_to_end, first, sizeof first);
    mp_trace_destroy(&predicted);
    return status;
}

/* After the last stage: what equal bits say, and what they do not. A difference has its text already. */
static void conclude(const mp_case *c, bool required, int64_t predicted, int64_t mispredicted,
                     mp_verdict *v) {
    const char *const partly =
        c->fused_sum ? "down and combine are not predicted (the order of additions is not fixed)" : NULL;
    if (mispredicted > 0) return;
    if (required) {
        if (partly) mp_check_pass_partly(v, MP_CHECK_BITS, partly);
        return;
    }
    char text[160];
    snprintf(text, sizeof text, "reported: all %" PRId64 " equal%s%s", predicted, partly ? "; " : "",
             partly ? partly : "");
    mp_check_not_judged(v, MP_CHECK_BITS, "%s", text);
}

/* Allocates the prediction of a stage's tensor. */
static mp_status like(const mp_tensor *got, mp_tensor *predicted, mp_error *err) {
    *predicted = *got;
    predicted->data = NULL;
    return mp_tensor_alloc(predicted, MP_POISON_A, err);
}

static mp_status predict_gemm(comparison k, const mp_contract *contract, const mp_gemm_problem *problem,
                              const mp_epilogue *epilogue, bool required, mp_verdict *v, mp_error *err) {
    mp_tensor predicted = {0};
    mp_status status = like(k.got, &predicted, err);
    if (status == MP_OK) status = mp_host_gemm_stage(contract, problem, epilogue, k.row, &predicted, err);
    k.predicted = &predicted;
    if (status == MP_OK) compare(&k, required, v);
    mp_tensor_free(&predicted);
    return status;
}

static mp_status predict_activation(comparison k, const mp_tensor *cache1, bool required, mp_verdict *v,
                                    mp_error *err) {
    const int32_t *ids = k.in->t[MP_TOPK_IDS].data;
    mp_tensor predicted = {0};
    int64_t *row = malloc((size_t)k.rows * sizeof *row);
    mp_status status = row ? like(k.got, &predicted, err)
                           : mp_fail(err, MP_EMEMORY, "bits: no memory for %" PRId64 " rows", k.rows);
    if (status == MP_OK) status = mp_host_activation(k.c, ids, k.row, cache1, &predicted, err);
    if (status == MP_OK) {
        for (int64_t t = 0; t < k.rows; t++) row[t] = ids[t] < 0 ? -1 : k.row[t];
        k.row = row;
        k.predicted = &predicted;
        compare(&k, required, v);
    }
    mp_tensor_free(&predicted);
    free(row);
    return status;
}

static mp_status predict_combine(comparison k, const mp_tensor *cache3, bool required, mp_verdict *v,
                                 mp_error *err) {
    mp_tensor predicted = {0};
    mp_status status = like(k.got, &predicted, err);
    if (status == MP_OK) status = mp_host_combine(k.c, cache3, &predicted, err);
    k.predicted = &predicted;
    if (status == MP_OK) compare(&k, required, v);
    mp_tensor_free(&predicted);
    return status;
}

mp_status mp_judge_bits(const mp_case *c, const mp_contract *contract, const mp_config *config,
                        const mp_inputs *in, const mp_trace *trace, mp_verdict *v, mp_error *err) {
    const bool required = contract->bits == MP_BITS_REQUIRED;
    const mp_tensor *out = &trace->t[MP_OUT];
    const int64_t slots = mp_case_slots(c);
    comparison base = {.c = c, .config = config, .in = in, .trace = trace};
    if (contract->bits == MP_BITS_NONE || c->scope == MP_SCOPE_ALIGN) {
        mp_check_not_judged(v, MP_CHECK_BITS, "%s",
                            c->scope == MP_SCOPE_ALIGN ? "integers only" : "the contract predicts no bits");
        return MP_OK;
    }
    comparison sum = base;
    sum.which = MP_SUM;
    sum.got = out;
    sum.rows = c->M;
    sum.width = c->K;
    mp_slot_map map = {0};
    mp_status status;
    if (c->scope == MP_SCOPE_COMBINE) {
        status = predict_combine(sum, &in->t[MP_IN_CACHE3], required, v, err);
        goto out;
    }
    if ((status = mp_slot_map_create(c, trace, &map, err)) != MP_OK) return status;
    for (int64_t t = 0; t < slots; t++)
        if (map.cache_row[t] < 0) { /* a sorted layout without some of its slots: align has failed */
            mp_check_not_judged(v, MP_CHECK_BITS, "the rows of the caches are not known");
            free(map.memory);
            return MP_OK;
        }

    comparison k = base;
    k.row = map.cache_row;
    k.rows = slots;
    const mp_epilogue up = mp_gate_up_epilogue(c, in), down = mp_down_epilogue(c, in);
    if (c->scope == MP_SCOPE_ALL) {
        const mp_gemm_problem gate_up = mp_gate_up_problem(in, map.x_row, slots);
        k.which = MP_GATE_UP;
        k.got = &trace->t[MP_CACHE1];
        k.width = mp_case_w1_rows(c);
        if ((status = predict_gemm(k, contract, &gate_up, &up, required, v, err)) != MP_OK) goto out;
    }
    k.which = MP_ACT;
    k.got = &trace->t[MP_CACHE2];
    k.width = c->N;
    status = predict_activation(k, c->scope == MP_SCOPE_ACT ? &in->t[MP_IN_CACHE1] : &trace->t[MP_CACHE1],
                                required, v, err);
    if (status != MP_OK || c->scope == MP_SCOPE_ACT || c->fused_sum) goto out;

    const mp_gemm_problem down_problem = mp_down_problem(in, &trace->t[MP_CACHE2], map.cache_row, slots);
    const mp_tensor direct = mp_out_as_cache3(c, out);
    k.which = MP_DOWN;
    k.got = mp_case_down_writes_out(c) ? &direct : &trace->t[MP_CACHE3];
    k.row = NULL;
    k.width = c->K;
    if ((status = predict_gemm(k, contract, &down_problem, &down, required, v, err)) != MP_OK) goto out;
    if (!mp_case_down_writes_out(c)) status = predict_combine(sum, &trace->t[MP_CACHE3], required, v, err);
out:
    free(map.memory);
    if (status != MP_OK) return status;
    int64_t predicted = 0, mispredicted = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        predicted += v->stage[s].predicted;
        mispredicted += v->stage[s].mispredicted;
    }
    conclude(c, required, predicted, mispredicted, v);
    base.got = out;
    if (c->scope == MP_SCOPE_ALL && !c->fused_sum)
        status = judge_end_to_end(base, contract, mispredicted, v, err);
    return status;
}
