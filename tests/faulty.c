/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faulty.h"

#include "cases/graph_tables.h"
#include "ref/activation.h"
#include "ref/combine.h"
#include "ref/predict/activation_f32.h"
#include "ref/contract_words.h"
#include "ref/predict/gemm_fma.h"
#include "ref/predict/predict.h"
#include "ref/pipeline.h"

#include <stdlib.h>
#include <string.h>

/* Where the harness's own test runs out of memory there is nothing to tell. */
static void must(mp_status status) {
    if (status != MP_OK) abort();
}

static void *copy_of(const void *data, size_t size) {
    void *copy = malloc(size ? size : 1);
    if (!copy) abort();
    return memcpy(copy, data, size);
}

const int32_t *ids_of(const faulty_run *run) {
    return run->in->t[MP_TOPK_IDS].data;
}

mp_tensor copy_tensor(const mp_tensor *t) {
    mp_tensor copy = *t;
    must(mp_tensor_alloc(&copy, 0, NULL));
    memcpy(copy.data, t->data, mp_tensor_bytes(t));
    return copy;
}

/* What down wrote: cache3, or the output seen as [M,topk,K]. */
static mp_tensor slots_of(const faulty_run *run) {
    const mp_tensor *out = &run->trace->t[MP_OUT];
    return mp_stage_output(run->c, MP_DOWN) == MP_OUT ? *out : run->trace->t[MP_CACHE3];
}

double cache3_value(const faulty_run *run, int64_t slot, int64_t column) {
    const mp_tensor t = slots_of(run);
    return mp_decode(t.dtype, t.data, slot * run->c->K + column);
}

double shared_value(const faulty_run *run, int64_t token, int64_t column) {
    return mp_combine_shared(&run->in->t[MP_SHARED_OUTPUT], token, column);
}

float combine_weight(const faulty_run *run, int64_t slot) {
    if (!mp_stage_weighs(run->c, MP_COMBINE)) return 1;
    return ids_of(run)[slot] < 0 ? 0 : ((const float *)run->in->t[MP_TOPK_WEIGHTS].data)[slot];
}

static faulty_gemm gemm_with_copies(const faulty_run *run, mp_stage stage) {
    faulty_gemm gemm = {.stage = stage};
    mp_tensor t[MP_TENSOR_COUNT];
    must(mp_slot_map_create(run->c, run->trace->t, &gemm.map, NULL));
    mp_all_tensors(run->in, run->trace, t);
    const mp_stage_call call = {.c = run->c, .t = t, .map = &gemm.map};
    const mp_stage_gemm right = mp_gemm_of_stage(&call, stage);
    gemm.problem = right.problem;
    gemm.epilogue = right.epilogue;
    /* What t held are views of the run's own tensors. */
    const bool up = stage == MP_GATE_UP;
    gemm.problem.a.codes = up ? &run->in->t[MP_X] : &run->trace->t[MP_CACHE2];
    gemm.problem.w.codes = &run->in->t[up ? MP_W1 : MP_W2];
    if (right.epilogue.bias) gemm.epilogue.bias = &run->in->t[up ? MP_B1 : MP_B2];
    const size_t slots = (size_t)mp_case_slots(run->c);
    gemm.ids = copy_of(ids_of(run), slots * sizeof *gemm.ids);
    gemm.weights = copy_of(run->in->t[MP_TOPK_WEIGHTS].data, slots * sizeof *gemm.weights);
    gemm.problem.topk_ids = gemm.ids;
    if (gemm.epilogue.weights) gemm.epilogue.weights = gemm.weights;
    return gemm;
}

faulty_gemm gate_up_gemm(const faulty_run *run) {
    return gemm_with_copies(run, MP_GATE_UP);
}

faulty_gemm down_gemm(const faulty_run *run) {
    return gemm_with_copies(run, MP_DOWN);
}

void free_gemm(faulty_gemm *gemm) {
    free(gemm->map.memory);
    free(gemm->ids);
    free(gemm->weights);
}

void store_gemm(const faulty_run *run, faulty_gemm *gemm) {
    const bool up = gemm->stage == MP_GATE_UP;
    const mp_tensor out = up ? run->trace->t[MP_CACHE1] : slots_of(run);
    must(mp_fma_gemm(&gemm->problem, &gemm->epilogue, up ? gemm->map.cache_row : NULL, &out, NULL));
    redo_from(run, up ? MP_ACT : MP_COMBINE);
    free_gemm(gemm);
}

mp_tensor gemm_before_store(const faulty_gemm *gemm) {
    mp_tensor result = mp_tensor_shape(MP_FP32, 2, gemm->problem.slots, gemm->problem.w.codes->dim[1], 1);
    must(mp_tensor_alloc(&result, 0, NULL));
    must(mp_fma_gemm(&gemm->problem, &gemm->epilogue, NULL, &result, NULL));
    return result;
}

void store_activation(const faulty_run *run, activate_fn activate) {
    const mp_case *c = run->c;
    const mp_tensor *cache1 = &run->trace->t[MP_CACHE1], *cache2 = &run->trace->t[MP_CACHE2];
    const int64_t width = mp_tensor_row_length(cache1);
    mp_slot_map map;
    must(mp_slot_map_create(c, run->trace->t, &map, NULL));
    for (int64_t t = 0; t < mp_case_slots(c); t++) {
        const int64_t row = map.cache_row[t];
        if (ids_of(run)[t] < 0) continue;
        for (int64_t n = 0; n < c->N; n++) {
            const float gate =
                (float)mp_decode(cache1->dtype, cache1->data, row * width + mp_gate_column(c, n));
            const float up =
                c->gated ? (float)mp_decode(cache1->dtype, cache1->data, row * width + mp_up_column(c, n))
                         : 1.0f;
            mp_encode(cache2->dtype, cache2->data, row * c->N + n, (double)activate(c, gate, up));
        }
    }
    free(map.memory);
    redo_from(run, MP_DOWN);
}

void store_combine(const faulty_run *run, combine_fn combine) {
    const mp_tensor *out = &run->trace->t[MP_OUT];
    for (int64_t m = 0; m < run->c->M; m++)
        for (int64_t k = 0; k < run->c->K; k++)
            mp_encode(out->dtype, out->data, m * run->c->K + k, (double)combine(run, m, k));
}

static float right_activation(const mp_case *c, float gate, float up) {
    return mp_activate_f32((int)c->act, c->gated, gate, up, (float)c->alpha, (float)c->limit);
}

static float right_combine(const faulty_run *run, int64_t token, int64_t column) {
    float sum = 0;
    for (int64_t slot = token * run->c->topk; slot < (token + 1) * run->c->topk; slot++)
        sum += combine_weight(run, slot) * (float)cache3_value(run, slot, column);
    return sum * (float)run->c->rsf + (float)shared_value(run, token, column);
}

void redo_from(const faulty_run *run, mp_stage first) {
    if (!mp_case_has_stage(run->c, first)) return; /* one stage alone */
    if (first == MP_ACT) {
        store_activation(run, right_activation);
    } else if (first == MP_DOWN) {
        faulty_gemm gemm = down_gemm(run);
        store_gemm(run, &gemm);
    } else if (first == MP_COMBINE) {
        store_combine(run, right_combine);
    }
}

/* ---- the subject ---- */

typedef struct faulty {
    mp_subject host;
    const fault *f;
    mp_tensor_set exposes; /* of the outputs; all by default */
    const char *contract;  /* as faulty_open_under has it, or NULL */
    int runs;
    mp_space device;
} faulty;

static mp_status faulty_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    faulty *self = s->self;
    const mp_status status = self->host.describe(&self->host, c, offer, err);
    const char *words = self->contract;
    if (words && strncmp(words, "any", 3) == 0)
        must(mp_contract_of_words(words, c, &offer->contract, err));
    else if (words)
        must(mp_contract_set_words(&offer->contract, words, err));
    if (self->exposes) offer->exposes &= self->exposes;
    if (mp_contract_fuses_act(&offer->contract, c))
        offer->exposes &= ~(MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_CACHE1_HOOKED));
    for (int i = 0; i < MP_STAGE_COUNT && self->f->checks & CHECK(BITS); i++)
        offer->contract.promise[i].bits = MP_BITS_REQUIRED; /* the host pipeline is its own prediction */
    return status;
}

/* The offer under which the host computes. */
static mp_offer computed(const mp_execution *e) {
    mp_offer offer = *e->offer;
    const char *why;
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (mp_case_has_stage(e->c, (mp_stage)s) &&
            !mp_predictable(&e->offer->contract, e->c, (mp_stage)s, &why))
            offer.contract = mp_host_contract(e->c);
    return offer;
}

/* The pattern that an output's buffer holds before the run. */
static uint32_t poison_of(const mp_execution *e) {
    uint32_t poison = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (e->offer->exposes & MP_IN_SET(id) && e->t[id].data && id != MP_OUT &&
            mp_tensor_bytes(&e->t[id]) >= 4)
            memcpy(&poison, e->t[id].data, sizeof poison);
    if (poison == 0 && e->t[MP_OUT].data) memcpy(&poison, e->t[MP_OUT].data, sizeof poison);
    return poison;
}

/* Tensors that the subject does not expose are made here: a fault may lie in any of them. */
static void make_unexposed(const mp_execution *e, mp_tensor t[MP_TENSOR_COUNT], mp_trace *made) {
    const mp_tensor_set hidden = mp_case_outputs(e->c) & ~e->offer->exposes;
    must(mp_trace_create_some(e->c, e->offer->config.up.block_size_m, hidden, poison_of(e), made, NULL));
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (hidden & MP_IN_SET(id)) t[id] = made->t[id];
}

int64_t faulty_changes;

static uint64_t digest_of(const mp_trace *trace) {
    uint64_t digest = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (trace->t[id].data) digest = 31 * digest + mp_tensor_digest(&trace->t[id]);
    return digest;
}

static mp_status faulty_run_case(mp_subject *s, const mp_execution *given, mp_error *err) {
    faulty *self = s->self;
    mp_tensor t[MP_TENSOR_COUNT];
    mp_trace made;
    memcpy(t, given->t, sizeof t);
    make_unexposed(given, t, &made);
    mp_execution execution = *given;
    const mp_offer offer = computed(given);
    execution.t = t;
    execution.offer = &offer;
    const mp_execution *e = &execution;
    const uint32_t poison = poison_of(given);
    mp_tensor x = {0}; /* as it was: in place, the run overwrites it */
    if (e->c->mode == MP_MODE_INPLACE) x = copy_tensor(&e->t[MP_X]);
    const mp_status status = self->host.run(&self->host, e, err);
    if (status == MP_OK && self->f->plant) {
        const mp_tensor_set outputs = mp_case_outputs(e->c);
        mp_inputs in = {0};
        mp_trace trace = {.block_size_m = e->offer->config.up.block_size_m};
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            if (mp_case_inputs(e->c) & MP_IN_SET(id)) in.t[id] = e->t[id];
            if (outputs & MP_IN_SET(id)) trace.t[id] = e->t[id];
        }
        if (x.data) in.t[MP_X] = x;
        mp_tensor usual[MP_TENSOR_COUNT], own[MP_TENSOR_COUNT]; /* of weights with gaps, and other ids */
        must(mp_usual_tensors(e->c, e->t, usual, own, NULL));
        for (int id = 0; id < MP_TENSOR_COUNT; id++)
            if (own[id].data) (outputs & MP_IN_SET(id) ? &trace.t[id] : &in.t[id])[0] = own[id];
        const uint64_t before = digest_of(&trace);
        self->f->plant(&(faulty_run){.c = e->c,
                                     .in = &in,
                                     .trace = &trace,
                                     .poison = poison,
                                     .number = self->runs++,
                                     .given = e->t[MP_TOPK_IDS].data,
                                     .expert_map = e->t[MP_EXPERT_MAP].data,
                                     .as_given = e->t});
        faulty_changes += digest_of(&trace) != before;
        mp_return_tensors(e->c, own, e->t);
        for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_tensor_free(&own[id]);
    }
    mp_tensor_free(&x);
    mp_trace_destroy(&made);
    return status;
}

static void faulty_close(mp_subject *s) {
    faulty *self = s->self;
    mp_subject_close(&self->host);
    free(self);
}

mp_subject faulty_open_exposing(const fault *f, mp_tensor_set exposes) {
    faulty *self = calloc(1, sizeof *self);
    if (!self) abort();
    self->f = f;
    self->exposes = exposes;
    self->device = mp_host_space;
    self->device.name = "device buffer ";
    must(mp_subject_open("host", &self->host, NULL));
    return (mp_subject){.name = "faulty",
                        .self = self,
                        .space = f->checks & ON_DEVICE ? &self->device : NULL,
                        .describe = faulty_describe,
                        .run = faulty_run_case,
                        .close = faulty_close};
}

mp_subject faulty_open_under(const fault *f, const char *contract, mp_tensor_set exposes) {
    mp_subject subject = faulty_open_exposing(f, exposes);
    ((faulty *)subject.self)->contract = contract;
    return subject;
}

mp_subject faulty_open(const fault *f) {
    return faulty_open_exposing(f, 0);
}

/* ---- stages of the host ---- */

void compute_stages(const faulty_run *run, mp_stage first, mp_stage last,
                    const mp_tensor t[MP_TENSOR_COUNT]) {
    const mp_contract contract = mp_host_contract(run->c);
    mp_prediction prediction = {.contract = &contract};
    const mp_executor executor = mp_predict_executor(&prediction);
    must(mp_execute(&executor, run->c, first, last, run->trace->block_size_m, t, NULL));
}

void redo_behind(const faulty_run *run, mp_stage stage) {
    mp_tensor t[MP_TENSOR_COUNT];
    mp_all_tensors(run->in, run->trace, t);
    if (run->c->scope == MP_SCOPE_ALL) compute_stages(run, (mp_stage)(stage + 1), MP_COMBINE, t);
}

void stage_reads(const faulty_run *run, mp_stage stage, mp_tensor_id id, mp_tensor *other) {
    mp_tensor t[MP_TENSOR_COUNT];
    mp_all_tensors(run->in, run->trace, t);
    t[id] = *other;
    compute_stages(run, stage, stage, t);
    mp_tensor_free(other);
    redo_behind(run, stage);
}
