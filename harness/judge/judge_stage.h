/* Private to harness/: one stage's measurement against float64, shared by the judges of the GEMMs and of the
 * other stages. */
#ifndef MP_HARNESS_JUDGE_STAGE_H
#define MP_HARNESS_JUDGE_STAGE_H

#include "harness/judge/measure.h"
#include "ref/contract.h"
#include "ref/gemm.h"

/* Everything a stage's measurement needs; shared by the threads. Rows are slots (or tokens); sums holds three
 * sums a row. */
typedef struct mp_stage_judge {
    const mp_case *c;
    const mp_contract *contract;
    mp_stage which;
    const mp_tensor *got;
    const int64_t *got_row; /* row of `got` for each slot; NULL: the slot itself */
    uint32_t poison;
    mp_measure measure;
    double *sums;
    int64_t rows, width;
    /* GEMMs */
    mp_epilogue epilogue;
    mp_sum_bound accumulation;
    bool exact;   /* every sum is exact in float32 in any order: the result is one determined number */
    bool rounded; /* the store rounds to dtype: float32 results are stored in fp32 as they are */
    /* fused sum: per token and column, the sum over slots of value, error bound and magnitude */
    double *fused;
} mp_stage_judge;

enum { MP_ROW_PIECE = 256 }; /* columns whose expectations are held at a time */

mp_status mp_stage_judge_start(mp_stage_judge *s, int64_t rows, int64_t width, mp_error *err);
/* For threads that share a row, and for those that share the measure. */
void mp_stage_judge_add_sums(mp_stage_judge *s, int64_t row, const double sums[3]);
void mp_stage_judge_merge(mp_stage_judge *s, const mp_measure *part);
/* Turns the measurement into figures and answers, and frees the sums. */
void mp_stage_judge_finish(mp_stage_judge *s, const mp_trace *trace, mp_verdict *v);

/* A GEMM that stores a row a slot, and one that adds its rows into the output. */
mp_status mp_judge_gemm(mp_stage_judge *s, const mp_gemm_problem *p, const mp_trace *trace, mp_engine engine,
                        mp_verdict *v, mp_error *err);
mp_status mp_judge_fused_sum(mp_stage_judge *s, const mp_gemm_problem *p, const mp_trace *trace,
                             mp_engine engine, mp_verdict *v, mp_error *err);

#endif
