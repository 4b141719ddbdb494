#include "tests/faulty.h"

#include "ref/activation.h"
#include "ref/predict/activation_f32.h"
#include "ref/predict/host_gemm.h"
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
    return mp_case_down_writes_out(run->c) ? mp_out_as_cache3(run->c, out) : run->trace->t[MP_CACHE3];
}

double cache3_value(const faulty_run *run, int64_t slot, int64_t column) {
    const mp_tensor t = slots_of(run);
    return mp_decode(t.dtype, t.data, slot * run->c->K + column);
}

static faulty_gemm gemm_with_copies(const faulty_run *run, mp_stage stage) {
    faulty_gemm gemm = {.stage = stage};
    must(mp_slot_map_create(run->c, run->trace, &gemm.map, NULL));
    const size_t slots = (size_t)mp_case_slots(run->c);
    gemm.ids = copy_of(ids_of(run), slots * sizeof *gemm.ids);
    gemm.weights = copy_of(run->in->t[MP_TOPK_WEIGHTS].data, slots * sizeof *gemm.weights);
    return gemm;
}

static void use_copies(faulty_gemm *gemm) {
    gemm->problem.topk_ids = gemm->ids;
    if (gemm->epilogue.weights) gemm->epilogue.weights = gemm->weights;
}

faulty_gemm gate_up_gemm(const faulty_run *run) {
    faulty_gemm gemm = gemm_with_copies(run, MP_GATE_UP);
    gemm.problem = mp_gate_up_problem(run->in, gemm.map.x_row, mp_case_slots(run->c));
    gemm.epilogue = mp_gate_up_epilogue(run->c, run->in);
    use_copies(&gemm);
    return gemm;
}

faulty_gemm down_gemm(const faulty_run *run) {
    faulty_gemm gemm = gemm_with_copies(run, MP_DOWN);
    gemm.problem =
        mp_down_problem(run->in, &run->trace->t[MP_CACHE2], gemm.map.cache_row, mp_case_slots(run->c));
    gemm.epilogue = mp_down_epilogue(run->c, run->in);
    use_copies(&gemm);
    return gemm;
}

void free_gemm(faulty_gemm *gemm) {
    free(gemm->map.memory);
    free(gemm->ids);
    free(gemm->weights);
}

void store_gemm(const faulty_run *run, faulty_gemm *gemm) {
    const bool up = gemm->stage == MP_GATE_UP;
    const mp_tensor out = up ? run->trace->t[MP_CACHE1] : slots_of(run);
    must(mp_host_gemm(&gemm->problem, &gemm->epilogue, up ? gemm->map.cache_row : NULL, &out, NULL));
    redo_from(run, up ? MP_ACT : MP_SUM);
    free_gemm(gemm);
}

mp_tensor gemm_before_store(const faulty_gemm *gemm) {
    mp_tensor result = mp_tensor_shape(MP_FP32, 2, gemm->problem.slots, gemm->problem.w->dim[1], 1);
    must(mp_tensor_alloc(&result, 0, NULL));
    must(mp_host_gemm(&gemm->problem, &gemm->epilogue, NULL, &result, NULL));
    return result;
}

void store_activation(const faulty_run *run, activate_fn activate) {
    const mp_case *c = run->c;
    const mp_tensor *cache1 = &run->trace->t[MP_CACHE1], *cache2 = &run->trace->t[MP_CACHE2];
    const int64_t width = mp_tensor_row_length(cache1);
    mp_slot_map map;
    must(mp_slot_map_create(c, run->trace, &map, NULL));
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
    for (int64_t j = 0; j < run->c->topk; j++)
        sum += (float)cache3_value(run, token * run->c->topk + j, column);
    return sum * (float)run->c->rsf;
}

void redo_from(const faulty_run *run, mp_stage first) {
    if (first == MP_ACT) {
        store_activation(run, right_activation);
    } else if (first == MP_DOWN) {
        faulty_gemm gemm = down_gemm(run);
        store_gemm(run, &gemm);
    } else if (first == MP_SUM && !mp_case_down_writes_out(run->c)) {
        store_combine(run, right_combine);
    }
}

/* ---- the subject ---- */

typedef struct faulty {
    mp_subject host;
    const fault *f;
    int runs;
} faulty;

static mp_status faulty_resolve(mp_subject *s, const mp_case *c, mp_contract *contract, mp_config *config,
                                mp_error *err) {
    faulty *self = s->self;
    const mp_status status = self->host.resolve(&self->host, c, contract, config, err);
    if (self->f->checks & CHECK(BITS))
        contract->bits = MP_BITS_REQUIRED; /* the host pipeline is its own prediction */
    return status;
}

static mp_status faulty_plan(mp_subject *s, const mp_case *c, mp_memory *memory, mp_error *err) {
    faulty *self = s->self;
    return self->host.plan(&self->host, c, memory, err);
}

static mp_status faulty_run_case(mp_subject *s, const mp_case *c, const mp_inputs *in, uint32_t poison,
                                 mp_trace *trace, mp_error *err) {
    faulty *self = s->self;
    const mp_status status = self->host.run(&self->host, c, in, poison, trace, err);
    if (status == MP_OK && self->f->plant)
        self->f->plant(
            &(faulty_run){.c = c, .in = in, .trace = trace, .poison = poison, .number = self->runs++});
    return status;
}

static void faulty_close(mp_subject *s) {
    faulty *self = s->self;
    mp_subject_close(&self->host);
    free(self);
}

mp_subject faulty_open(const fault *f) {
    faulty *self = calloc(1, sizeof *self);
    if (!self) abort();
    self->f = f;
    must(mp_subject_open("host", &self->host, NULL));
    return (mp_subject){.name = "faulty",
                        .self = self,
                        .resolve = faulty_resolve,
                        .plan = faulty_plan,
                        .run = faulty_run_case,
                        .close = faulty_close};
}
