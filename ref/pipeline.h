/* The reference pipeline: the stages one after another, in float64.
 *
 * Two modes from the same stages: `contract` stores every intermediate in the case's dtype (one rounding
 * where the contract rounds) and leaves a trace; `exact` keeps float64 throughout and yields the final output
 * only. */
#ifndef MP_REF_PIPELINE_H
#define MP_REF_PIPELINE_H

#include "cases/inputs.h"
#include "ref/gemm.h"
#include "cases/trace.h"

/* Contract mode. The trace is created here (the caller destroys it, after an error too). */
mp_status mp_ref_run(const mp_case *c, const mp_inputs *in, int block_size_m, mp_engine engine,
                     uint32_t poison, mp_trace *trace, mp_error *err);

/* Exact mode for tokens first .. first+count: out is fp64, [count,K], or [count,topk,K] with no_combine,
 * allocated by the caller. scope=all or combine. */
mp_status mp_ref_exact(const mp_case *c, const mp_inputs *in, mp_engine engine, int64_t first, int64_t count,
                       const mp_tensor *out, mp_error *err);

/* Align into the three align tensors of a trace of one chunk. */
mp_status mp_ref_align(const mp_case *c, const mp_inputs *in, mp_trace *trace, mp_error *err);

/* The tokens first .. first+count of the inputs, without copying: a view, never destroyed. */
mp_inputs mp_inputs_range(const mp_inputs *in, int64_t first, int64_t count);

/* The operands and epilogues of the two GEMMs, shared by everything that computes or judges them. The arrays
 * they point to must outlive them. */
mp_gemm_problem mp_gate_up_problem(const mp_inputs *in, const int64_t *x_row, int64_t slots);
mp_gemm_problem mp_down_problem(const mp_inputs *in, const mp_tensor *cache2, const int64_t *row,
                                int64_t slots);
mp_epilogue mp_gate_up_epilogue(const mp_case *c, const mp_inputs *in);
mp_epilogue mp_down_epilogue(const mp_case *c, const mp_inputs *in);
/* out seen as [M,topk,K]: what down writes when mp_case_down_writes_out and not fused_sum. */
mp_tensor mp_out_as_cache3(const mp_case *c, const mp_tensor *out);

/* Rows of x (slot div topk) and of the caches for every slot, in one allocation; free(map->memory). */
typedef struct mp_slot_map {
    int64_t *x_row, *cache_row;
    void *memory;
} mp_slot_map;
mp_status mp_slot_map_create(const mp_case *c, const mp_trace *trace /* NULL: route order */,
                             mp_slot_map *map, mp_error *err);

#endif
