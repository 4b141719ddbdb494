/* SPDX-License-Identifier: Apache-2.0 */
/* Subjects with one planted fault each: the host pipeline runs first, then the fault changes its trace as a
 * broken kernel would have left it. The stages behind the broken one are computed anew from what it left, so
 * that they are right and only the faulty stage may be blamed. */
#ifndef MP_TESTS_FAULTY_H
#define MP_TESTS_FAULTY_H

#include "moeparity/subject.h"
#include "moeparity/verdict.h"
#include "ref/pipeline.h"

/* What a fault sees of one run. */
typedef struct faulty_run {
    const mp_case *c;
    const mp_inputs *in;
    mp_trace *trace;
    uint32_t poison;
    int number;                        /* runs of this subject before this one */
    const int32_t *given, *expert_map; /* topk_ids as the subject gets them; the map, or NULL */
    const mp_tensor *as_given;         /* all tensors so: weights with their gaps */
} faulty_run;

enum { NO_STAGE = -1 };
#define CHECK(name) (1u << MP_CHECK_##name)
#define ON_DEVICE (1u << 31) /* the subject works on copies, in a space of its own */

typedef struct fault {
    const char *name;
    void (*plant)(const faulty_run *run); /* NULL: nothing is wrong */
    const char *case_text;                /* the smallest case that shows it */
    const char *pair; /* a variant that must agree, or "after " and a case that runs before; or NULL */
    unsigned checks;  /* CHECK() bits that must fail */
    int stage;        /* the one stage that must be named, or NO_STAGE when the fault is no stage's */
} fault;

extern const fault faults[];
extern const size_t fault_count;

/* How many runs a plant has changed, of all subjects. */
extern int64_t faulty_changes;

/* A subject named "faulty" around `f`; close frees it. `f` must outlive it. */
mp_subject faulty_open(const fault *f);
/* The same under another contract: fields over the host's, or words that begin with `any`. It is computed
 * under that where the host predicts it, else under the host's. exposes: of the outputs; 0: all. */
mp_subject faulty_open_under(const fault *f, const char *contract, mp_tensor_set exposes);
/* The same, leaving only these of the outputs. */
mp_subject faulty_open_exposing(const fault *f, mp_tensor_set exposes);

/* One GEMM of the pipeline, right as gate_up_gemm or down_gemm return it; a fault changes its operands and
 * stores the result. */
typedef struct faulty_gemm {
    mp_stage stage;
    mp_gemm_problem problem;
    mp_epilogue epilogue;
    mp_slot_map map;
    int32_t *ids;   /* copies that a fault may change, in use already */
    float *weights; /* copy of the router weights; the epilogue uses it where the stage weights */
} faulty_gemm;
faulty_gemm gate_up_gemm(const faulty_run *run);
faulty_gemm down_gemm(const faulty_run *run);
/* Writes the result to cache1 or cache3 (or the output), computes the later stages anew, frees the copies. */
void store_gemm(const faulty_run *run, faulty_gemm *gemm);
/* The float32 result before the store, [slots, width]; free with mp_tensor_free. */
mp_tensor gemm_before_store(const faulty_gemm *gemm);
void free_gemm(faulty_gemm *gemm);

/* One element of the stage, from the inputs it gets. */
typedef float (*activate_fn)(const mp_case *c, float gate, float up);
typedef float (*combine_fn)(const faulty_run *run, int64_t token, int64_t column);
void store_activation(const faulty_run *run, activate_fn activate); /* and the later stages */
void store_combine(const faulty_run *run, combine_fn combine);
/* Stages `first` to the last, as they should be, from what the trace holds. */
void redo_from(const faulty_run *run, mp_stage first);

/* Stages first..last as the host computes them, from tensors that a fault may have changed. */
void compute_stages(const faulty_run *run, mp_stage first, mp_stage last, const mp_tensor t[MP_TENSOR_COUNT]);
/* Stages behind this one, as they should be, in cases of all stages. */
void redo_behind(const faulty_run *run, mp_stage stage);
/* The stage reads `other` in place of the tensor; all behind it is right. Frees other. */
void stage_reads(const faulty_run *run, mp_stage stage, mp_tensor_id id, mp_tensor *other);

const int32_t *ids_of(const faulty_run *run);
mp_tensor copy_tensor(const mp_tensor *t);
double cache3_value(const faulty_run *run, int64_t slot, int64_t column);
float combine_weight(const faulty_run *run, int64_t slot); /* 1 where another stage weighs, 0 of no expert */
double shared_value(const faulty_run *run, int64_t token, int64_t column); /* 0 without shared=add */

#endif
