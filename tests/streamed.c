/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/streamed.h"

#include "cases/graph_tables.h"
#include "cases/numbering.h"
#include "ref/contract_words.h"
#include "ref/predict/predict.h"

#include <stdlib.h>
#include <string.h>

/* A run that was begun: the views and values that it was begun with. */
typedef struct job {
    mp_case c;
    mp_contract contract;
    int block_size_m, next; /* stage */
    mp_tensor t[MP_TENSOR_COUNT];
    int32_t *counter; /* in the workspace */
    bool replayed;
    int64_t blocks;       /* of rows, by the routing of then */
    int32_t *ids;         /* a copy of then */
    mp_tensor numbered;   /* the ids that it is given, where those are not this rank's */
    mp_tensor_set hidden; /* tensors of its own */
} job;

typedef struct lane {
    job *begun, *recorded;
    bool recording, refused;
} lane;

typedef struct device {
    streamed_fault fault;
    const char *fields;
    mp_streams streams;
    lane *lane[2];
    void *scratch; /* cache2 of whoever wrote it last */
    int counter;
} device;

/* ---- the stages ---- */

static int64_t blocks_of(const mp_case *c, const int32_t *ids, int block) {
    int64_t blocks = 0;
    for (int64_t e = 0; e < c->E; e++) {
        int64_t slots = 0;
        for (int64_t s = 0; s < mp_case_slots(c); s++) slots += ids[s] == e;
        blocks += (slots + block - 1) / block;
    }
    return blocks;
}

/* Rows of cache1 whose row blocks are not launched stay as they were. */
static void keep_unlaunched(const job *j, const char *before) {
    const mp_tensor *cache1 = &j->t[MP_CACHE1], *sorted = &j->t[MP_SORTED_TOKEN_IDS];
    const size_t row = mp_tensor_bytes(cache1) / (size_t)mp_tensor_rows(cache1);
    for (int64_t at = j->blocks * j->block_size_m; at < sorted->dim[1]; at++) {
        const int32_t slot = ((const int32_t *)sorted->data)[at];
        if (slot >= 0 && slot < mp_case_slots(&j->c))
            memcpy((char *)cache1->data + row * (size_t)slot, before + row * (size_t)slot, row);
    }
}

/* Adds to each element of the output what was there before. */
static void add_before(const job *j, const char *before) {
    const mp_tensor *out = &j->t[MP_OUT];
    for (int64_t i = 0; i < mp_tensor_count(out); i++) {
        const double was = mp_decode(out->dtype, before, i);
        if (was == was) /* poison is NaN */
            mp_encode(out->dtype, out->data, i, mp_decode(out->dtype, out->data, i) + was);
    }
}

static mp_status work(device *d, job *j, mp_error *err) {
    const mp_stage stage = (mp_stage)j->next++;
    const streamed_fault fault = d->fault;
    mp_prediction prediction = {.contract = &j->contract};
    const mp_executor executor = mp_predict_executor(&prediction);
    const mp_tensor *out = &j->t[mp_stage_output(&j->c, stage)];
    if (!mp_case_has_stage(&j->c, stage) || stage == MP_ALIGN || !out->data) out = NULL;
    char *before = out ? malloc(mp_tensor_bytes(out) + 1) : NULL;
    if (before) memcpy(before, out->data, mp_tensor_bytes(out));
    if (fault == STREAMED_ONE_SCRATCH && stage == MP_DOWN)
        memcpy(j->t[MP_CACHE2].data, d->scratch, mp_tensor_bytes(&j->t[MP_CACHE2]));
    if (stage == MP_ALIGN) d->counter++, ++*j->counter;
    if (stage == MP_ALIGN && j->numbered.data)
        mp_read_numbered_ids(&j->c, j->numbered.data, j->t[MP_EXPERT_MAP].data, j->t[MP_TOPK_IDS].data);
    const mp_status status = mp_execute(&executor, &j->c, stage, stage, j->block_size_m, j->t, err);
    const bool skips = stage == MP_COMBINE && ((fault == STREAMED_FLAG_BY_HOST && *j->counter != 1) ||
                                               (fault == STREAMED_ONE_COUNTER && d->counter != 1));
    if (skips) memcpy(out->data, before, mp_tensor_bytes(out));
    if (stage == MP_COMBINE) d->counter = 0;
    if (j->replayed && stage == MP_COMBINE && fault == STREAMED_SPOILS_X) *(char *)j->t[MP_X].data ^= 1;
    if (j->replayed && stage == MP_COMBINE && fault == STREAMED_SPOILS_GUARD)
        ((char *)out->data)[mp_tensor_bytes(out)] ^= 1;
    if (fault == STREAMED_FROZEN_COUNT && stage == MP_GATE_UP) keep_unlaunched(j, before);
    if (fault == STREAMED_ADDS && stage == MP_COMBINE) add_before(j, before);
    if (fault == STREAMED_ONE_SCRATCH && stage == MP_ACT)
        memcpy(d->scratch, j->t[MP_CACHE2].data, mp_tensor_bytes(&j->t[MP_CACHE2]));
    free(before);
    return status;
}

static bool done(const job *j) {
    return !j || j->next == MP_STAGE_COUNT;
}

static mp_status wait_for_all(void *self, mp_error *err) {
    device *d = self;
    mp_status status = MP_OK;
    for (int l = 0; l < 2; l++)
        if (d->lane[l] && d->lane[l]->recording) {
            d->lane[l]->refused = true;
            return mp_fail(err, MP_EDEVICE, "a stream is being recorded");
        }
    for (int turn = 0; turn < 2 * MP_STAGE_COUNT && status == MP_OK; turn++) {
        lane *l = d->lane[turn % 2];
        if (l && !done(l->begun)) status = work(d, l->begun, err);
    }
    return status;
}

/* ---- streams ---- */

static void free_job(job *j) {
    if (!j) return;
    free(j->ids);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (j->hidden & MP_IN_SET(id)) mp_tensor_free(&j->t[id]);
    free(j);
}

static mp_status lane_open(void *self, void **stream, mp_error *err) {
    device *d = self;
    lane **free_one = d->lane[0] ? &d->lane[1] : &d->lane[0];
    *stream = *free_one = calloc(1, sizeof **free_one);
    return *stream ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory");
}

static void lane_close(void *self, void *stream) {
    device *d = self;
    lane *l = stream;
    if (!l) return;
    free_job(l->begun);
    free_job(l->recorded);
    d->lane[l == d->lane[0] ? 0 : 1] = NULL;
    free(l);
}

static mp_status hold(void *self, void *const stream[2], mp_error *err) {
    (void)self, (void)stream, (void)err;
    return MP_OK;
}

static bool let_go(void *self) {
    return ((const device *)self)->fault != STREAMED_NEVER_AT_ONCE;
}

static mp_status record(void *self, void *stream, mp_error *err) {
    (void)self, (void)err;
    ((lane *)stream)->recording = true;
    return MP_OK;
}

static mp_status recorded(void *self, void *stream, void **graph, mp_error *err) {
    lane *l = stream;
    (void)self;
    *graph = NULL;
    l->recording = false;
    if (l->refused) return mp_fail(err, MP_EDEVICE, "what was begun is refused");
    *graph = l->recorded ? l->recorded : calloc(1, sizeof(job)); /* of nothing */
    l->recorded = NULL;
    return MP_OK;
}

static mp_status launch(void *self, void *graph, void *stream, mp_error *err) {
    const job *from = graph;
    lane *l = stream;
    (void)self;
    free_job(l->begun);
    l->begun = NULL;
    if (from->c.E == 0) return MP_OK;
    l->begun = malloc(sizeof *l->begun);
    if (!l->begun) return mp_fail(err, MP_EMEMORY, "no memory");
    *l->begun = *from;
    l->begun->ids = NULL; /* the views point to the graph's */
    l->begun->hidden = 0;
    l->begun->replayed = true;
    return MP_OK;
}

static void discard(void *self, void *graph) {
    (void)self;
    free_job(graph);
}

/* ---- the subject ---- */

static mp_status describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    const device *d = s->self;
    offer->contract = mp_host_contract(c);
    offer->workspace_bytes[0] = sizeof(int32_t);
    offer->graphs = d->fault != STREAMED_NO_GRAPHS;
    offer->overlaps = d->fault != STREAMED_NO_OVERLAP;
    const mp_status status = d->fields ? mp_contract_set_words(&offer->contract, d->fields, err) : MP_OK;
    return status == MP_OK ? mp_config_resolve(c, &s->query, &offer->config, err) : status;
}

static job *job_of(const device *d, const mp_execution *e) {
    job *j = calloc(1, sizeof *j);
    if (!j) return NULL;
    *j = (job){.c = *e->c,
               .contract = mp_host_contract(e->c),
               .block_size_m = e->offer->config.up.block_size_m,
               .next = MP_ALIGN,
               .counter = e->workspace[0]};
    memcpy(j->t, e->t, sizeof j->t);
    j->hidden = mp_case_hidden(e->c);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!(j->hidden & MP_IN_SET(id))) continue;
        j->t[id] = mp_case_shape(e->c, (mp_tensor_id)id, j->block_size_m);
        if (mp_tensor_alloc(&j->t[id], MP_POISON_A, NULL) != MP_OK) abort();
    }
    if (mp_case_numbers_ids(e->c) && e->t[MP_TOPK_IDS].data) {
        j->numbered = e->t[MP_TOPK_IDS];
        j->hidden |= MP_IN_SET(MP_TOPK_IDS);
        if (mp_tensor_alloc(&j->t[MP_TOPK_IDS], MP_POISON_A, NULL) != MP_OK) abort();
    }
    *j->counter = 0;
    const int32_t *ids = e->t[MP_TOPK_IDS].data;
    if (ids && d->fault == STREAMED_FROZEN_COUNT) j->blocks = blocks_of(e->c, ids, j->block_size_m);
    if (ids && d->fault == STREAMED_FROZEN_IDS && (j->ids = malloc(mp_tensor_bytes(&e->t[MP_TOPK_IDS]))))
        j->t[MP_TOPK_IDS].data = memcpy(j->ids, ids, mp_tensor_bytes(&e->t[MP_TOPK_IDS]));
    return j;
}

static mp_status at_once(device *d, job *j, mp_error *err) {
    mp_status status = MP_OK;
    while (status == MP_OK && !done(j)) status = work(d, j, err);
    return status;
}

static mp_status begin(mp_subject *s, const mp_execution *e, void *stream, mp_error *err) {
    device *d = s->self;
    lane *l = stream;
    mp_status status = MP_OK;
    const streamed_fault fault = d->fault;
    if (fault == STREAMED_REFUSES) return mp_fail(err, MP_EUNSUPPORTED, "not in this layout");
    if (fault == STREAMED_ALLOCATES && l->recording)
        return mp_fail(err, MP_EDEVICE, "no memory in a recording");
    job *j = job_of(d, e);
    if (!j) return mp_fail(err, MP_EMEMORY, "no memory");
    if (fault == STREAMED_DEFAULT_STREAM) {
        status = at_once(d, j, err);
        free_job(j);
        return status;
    }
    job **to = l->recording ? &l->recorded : &l->begun;
    free_job(*to);
    *to = j;
    if (fault == STREAMED_WAITS) status = wait_for_all(d, err);
    if (fault == STREAMED_WAITS_UNSEEN) (void)wait_for_all(d, NULL);
    return status;
}

static mp_status run(mp_subject *s, const mp_execution *e, mp_error *err) {
    device *d = s->self;
    job *j = job_of(d, e);
    if (!j) return mp_fail(err, MP_EMEMORY, "no memory");
    const mp_status status = at_once(d, j, err);
    free_job(j);
    return status;
}

static void close_it(mp_subject *s) {
    device *d = s->self;
    free(d->scratch);
    free(d);
}

enum { SCRATCH_BYTES = 1 << 24 };

mp_subject streamed_open(streamed_fault fault, const char *contract_fields) {
    device *d = calloc(1, sizeof *d);
    if (!d || !(d->scratch = calloc(1, SCRATCH_BYTES))) abort();
    d->fault = fault;
    d->fields = contract_fields;
    d->streams = (mp_streams){.self = d,
                              .open = lane_open,
                              .close = lane_close,
                              .wait = wait_for_all,
                              .hold = hold,
                              .release = let_go,
                              .record = record,
                              .recorded = recorded,
                              .launch = launch,
                              .discard = discard};
    return (mp_subject){.name = "streamed",
                        .self = d,
                        .describe = describe,
                        .run = run,
                        .streams = &d->streams,
                        .begin = begin,
                        .close = close_it};
}
