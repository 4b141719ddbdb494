/* SPDX-License-Identifier: Apache-2.0 */
/* Executing a case stage by stage: the loop that every pipeline shares, and the reference on it. */
#ifndef MP_REF_PIPELINE_H
#define MP_REF_PIPELINE_H

#include "cases/slots.h"
#include "moeparity/inputs.h"
#include "moeparity/trace.h"
#include "ref/gemm.h"

/* What a stage is called with: the tensors of one chunk, inputs and outputs, each row-major. */
typedef struct mp_stage_call {
    const mp_case *c;   /* of the chunk: M is its tokens */
    const mp_tensor *t; /* [MP_TENSOR_COUNT] */
    int block_size_m;
    const mp_slot_map *map; /* rows of slots; host pipelines only (needs_map) */
} mp_stage_call;

typedef mp_status mp_stage_run(void *self, const mp_stage_call *call, mp_error *err);

/* A pipeline: a function for every stage, and what is to be done around them. */
typedef struct mp_executor {
    void *self;
    mp_stage_run *stage[MP_STAGE_COUNT]; /* NULL: it cannot run the stage */
    bool needs_map;
    double *stage_ns; /* [MP_STAGE_COUNT] the time of each stage is added here; NULL: not timed */
    /* Around every stage of a chunk; each may be NULL. */
    mp_status (*before)(void *self, const mp_stage_call *call, mp_stage stage, mp_error *err);
    mp_status (*after)(void *self, const mp_stage_call *call, mp_stage stage, mp_error *err);
} mp_executor;

/* Runs stages first..last of the case, as far as it has them, chunk by chunk. t: the tensors of the whole
 * case, all that these stages read and write. In place, x may be the output's memory.
 * MP_EUNSUPPORTED where the executor has no function for a stage. */
mp_status mp_execute(const mp_executor *executor, const mp_case *c, mp_stage first, mp_stage last,
                     int block_size_m, const mp_tensor t[MP_TENSOR_COUNT], mp_error *err);

/* Inputs and trace side by side, as mp_execute takes them: views. */
void mp_all_tensors(const mp_inputs *in, const mp_trace *trace, mp_tensor t[MP_TENSOR_COUNT]);
/* What a stage reads under this id: the hooked tensor where it is there. */
const mp_tensor *mp_as_read(const mp_tensor t[MP_TENSOR_COUNT], mp_tensor_id id);

/* A GEMM of the pipeline, gate_up or down: its operands, epilogue and destination. It points into the call.
 */
typedef struct mp_stage_gemm {
    mp_gemm_problem problem;
    mp_epilogue epilogue;
    const int64_t *out_row; /* NULL: the slot itself */
    const mp_tensor *out;
} mp_stage_gemm;
mp_stage_gemm mp_gemm_of_stage(const mp_stage_call *call, mp_stage stage);
/* The same as the contract has it: what a block-scaled unit multiplies is codes and scales, of which no
 * number of the model's format is made before. */
mp_stage_gemm mp_gemm_under(const mp_stage_call *call, mp_stage stage, const mp_gemm_contract *contract);

/* The reference: the stages in float64, each stored in its tensor's dtype, one rounding where the contract
 * rounds. */
typedef struct mp_reference {
    const mp_engine *engine;
    double *stage_ns; /* [MP_STAGE_COUNT] added to; NULL: not timed */
} mp_reference;
mp_executor mp_reference_executor(mp_reference *reference);
/* Its stages, mp_ref_stage_align, ...; self is the mp_reference. */
#define MP_REF_STAGE(stage, scope, name) mp_stage_run mp_ref_stage_##name;
MP_STAGES(MP_REF_STAGE)
#undef MP_REF_STAGE
/* Inputs, then a trace of all outputs, created here (the caller destroys it, after an error too), then all
 * stages. Hidden tensors (mp_case_hidden) are made for the run. */
mp_status mp_ref_run(const mp_case *c, const mp_inputs *in, int block_size_m, const mp_engine *engine,
                     uint32_t poison, mp_trace *trace, mp_error *err);
/* All stages by any executor on host tensors that are there; derived inputs and hidden tensors are made for
 * the run. In place, t[MP_X] is the output's memory and holds x. */
mp_status mp_run_stages(const mp_executor *executor, const mp_case *c, int block_size_m,
                        const mp_tensor t[MP_TENSOR_COUNT], mp_error *err);
/* The tensors that a subject gets as the stages above read them: ids that are numbered otherwise
 * (cases/numbering.h), weights with gaps and scales in another layout (mp_case_placement) are brought into
 * the usual form. Those are made, and are to be freed by the caller, after an error too; the others are the
 * subject's own. */
mp_status mp_usual_tensors(const mp_case *c, const mp_tensor given[MP_TENSOR_COUNT],
                           mp_tensor t[MP_TENSOR_COUNT], mp_tensor made[MP_TENSOR_COUNT], mp_error *err);
/* Takes what stages have written into tensors that were made so to where the subject's lie. */
void mp_return_tensors(const mp_case *c, const mp_tensor made[MP_TENSOR_COUNT],
                       const mp_tensor given[MP_TENSOR_COUNT]);
/* Runs the case on the tensors that a subject gets. */
mp_status mp_run_as_given(const mp_executor *executor, const mp_case *c, int block_size_m,
                          const mp_tensor t[MP_TENSOR_COUNT], mp_error *err);
/* The same on inputs and a trace of all outputs. In place, x is copied into the output first. */
mp_status mp_run_trace(const mp_executor *executor, const mp_case *c, const mp_inputs *in, mp_trace *trace,
                       mp_error *err);

/* Exact mode for tokens first .. first+count: float64 throughout, no rounding. out is fp64, [count,K], or
 * [count,topk,K] with no_combine, allocated by the caller. scope=all or combine. */
mp_status mp_ref_exact(const mp_case *c, const mp_inputs *in, const mp_engine *engine, int64_t first,
                       int64_t count, const mp_tensor *out, mp_error *err);

/* Align into the three align tensors of one chunk. */
mp_status mp_ref_align(const mp_case *c, int block_size_m, const mp_tensor t[MP_TENSOR_COUNT], mp_error *err);

#endif
