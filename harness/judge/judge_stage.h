/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: what every stage's judge is given, and one tensor's measurement against float64.
 */
#ifndef MP_HARNESS_JUDGE_STAGE_H
#define MP_HARNESS_JUDGE_STAGE_H

#include "cases/slots.h"
#include "harness/judge/measure.h"
#include "moeparity/trace.h"
#include "ref/bounds.h"
#include "ref/gemm.h"
#include "ref/pipeline.h"

/* A trace being judged. */
typedef struct mp_judgement {
    const mp_case *c;
    const mp_contract *contract;
    const mp_inputs *in;
    const mp_trace *trace;
    const mp_config *config;      /* tiles, for telling places; NULL: not known */
    mp_tensor t[MP_TENSOR_COUNT]; /* inputs and trace side by side */
    mp_tensor_set has;            /* those of them whose numbers are known */
    mp_slot_map map;
    uint32_t poison;
    const mp_engine *engine;
    mp_verdict *v;
} mp_judgement;

mp_status mp_judgement_open(const mp_case *c, const mp_contract *contract, const mp_config *config,
                            const mp_inputs *in, const mp_trace *trace, uint32_t poison,
                            const mp_engine *engine, mp_verdict *v, mp_judgement *j, mp_error *err);
void mp_judgement_close(mp_judgement *j);
/* A judgement of tensors that are still to be read, for mp_for_each_span, mp_span_first and
 * mp_judgement_lacks alone; it holds nothing that is to be closed. */
mp_judgement mp_judgement_planned(const mp_case *c, mp_tensor_set has);

/* Float64 between stages is made of as many tokens at a time as fit into MP_SLAB_BYTES, at least of one; of
 * a slot it takes so many numbers. Of few tokens each slab converts all weights. */
enum { MP_SLAB_BYTES = 512 << 20 };
int64_t mp_slab_tokens(const mp_case *c, int64_t numbers_of_slot);

/* A set of stages, a bit each. */
typedef uint32_t mp_stage_set;
_Static_assert(MP_STAGE_COUNT <= 32, "mp_stage_set holds a bit for every stage");
#define MP_ALL_STAGES (~((mp_stage_set)1 << MP_ALIGN)) /* that have numbers */
static inline bool mp_in_stages(mp_stage_set set, int stage) {
    return set >> stage & 1;
}

/* The stages that make the output of `last` of what the trace exposes: itself, and before it those whose own
 * output nobody sees and one of them reads. */
mp_stage_set mp_span_stages(const mp_judgement *j, mp_stage last);
mp_stage mp_span_first(const mp_judgement *j, mp_stage last); /* of these stages */
/* Calls visit for the last of them, wherever an output is exposed, in pipeline order; first is the first of
 * them. */
typedef mp_status mp_span_visit(void *ctx, const mp_judgement *j, mp_stage first, mp_stage last,
                                mp_error *err);
mp_status mp_for_each_span(const mp_judgement *j, mp_span_visit visit, void *ctx, mp_error *err);

/* The tensors that these stages as one are computed from, and which are not there: of a subject's run
 * none, for it was given them; a file may hold any. */
mp_tensor_set mp_judgement_lacks(const mp_judgement *j, mp_stage_set stages);
/* Slots whose rows in the caches are not known, though they should have some. */
int64_t mp_judgement_lost_slots(const mp_judgement *j);

/* One stage's tensor being measured; shared by the threads. Rows are slots (or tokens); sums holds three sums
 * a row. */
typedef struct mp_stage_judge {
    const mp_judgement *j;
    mp_stage first, stage; /* of the span that ends here; the same where the stage is judged alone */
    const mp_tensor *got;
    const int64_t *got_row; /* row of `got` for each slot; NULL: the row itself */
    mp_where where;
    mp_pattern failures; /* elements beyond their bound */
    mp_measure measure;
    mp_picture *picture; /* the verdict's; NULL: none is wanted */
    double *sums;
    int64_t rows, width;
    bool rounded; /* the store rounds to dtype: float32 results are stored in fp32 as they are */
    const char
        *open_because; /* what is told of elements that are open; NULL: that sums may have overflowed */
} mp_stage_judge;

enum { MP_ROW_PIECE = 256 }; /* columns whose expectations are held at a time */

/* The output of `stage`, and rows by its kind. */
mp_status mp_stage_judge_start(const mp_judgement *j, mp_stage first, mp_stage stage, mp_stage_judge *s,
                               mp_error *err);
/* The picture of the stage's output where one is wanted, made if it is not there: NULL else. */
mp_status mp_stage_picture(const mp_judgement *j, const mp_where *where, mp_picture **picture, mp_error *err);
/* A measure of a part, for one thread. */
void mp_stage_judge_part(mp_stage_judge *s, mp_measure *part);
/* For threads that share a row, and for those that share the measure. */
void mp_stage_judge_add_sums(mp_stage_judge *s, int64_t row, const double sums[3]);
void mp_stage_judge_merge(mp_stage_judge *s, const mp_measure *part);
/* MP_EINTERNAL where the engine has not shown every element of this GEMM: of what was not shown nothing is
 * known. Before anything else is measured. */
mp_status mp_stage_judge_expect_all(const mp_stage_judge *s, const mp_gemm_problem *p, mp_error *err);
/* Whether one of the slots first .. first+count goes to an expert, or may: where nobody has their ids. Others
 * are zeros, or nothing, which say little of who measures them. */
bool mp_judgement_routes(const mp_judgement *j, int64_t first, int64_t count);
/* Rows of filtered slots, where the contract has them written as zeros: +0, not the result of some
 * arithmetic. */
void mp_stage_judge_zero_rows(mp_stage_judge *s);
/* Turns the measurement into figures and answers, and frees the sums. */
void mp_stage_judge_finish(mp_stage_judge *s);
/* Frees the sums of a measurement that could not be finished. */
void mp_stage_judge_drop(mp_stage_judge *s);
/* What float64 was to answer of numbers is not judged; an answer that says why, or has failed, stays. */
void mp_numbers_not_judged(mp_verdict *v, const char *why);
/* No bound can be had: what float64 was to answer of the stage is not judged. */
void mp_stage_has_no_bound(const mp_judgement *j, mp_stage stage, const char *why);
/* What the stage's store makes of what lies beyond the range of dtype. */
mp_overflow mp_store_overflow(const mp_contract *contract, mp_dtype dtype);
/* Whether a stage stores with a rounding that its bound must hold. */
bool mp_store_rounds(const mp_contract *contract, mp_dtype dtype);

/* The count of each expert's slots alone, where the subject shows nothing else of align. */
mp_status mp_judge_masked_m(const mp_judgement *j, mp_error *err);

/* The judges, mp_judge_stage_align, ...: each measures its stage alone, from the subject's own input. */
typedef mp_status mp_stage_judged(const mp_judgement *j, mp_error *err);
#define MP_JUDGE_STAGE(stage, scope, name) mp_stage_judged mp_judge_stage_##name;
MP_STAGES(MP_JUDGE_STAGE)
#undef MP_JUDGE_STAGE
/* Stages first..last as one, from the subject's own input of the first (judge_span.c). Elements of
 * which no finite bound is known are left out. */
mp_status mp_judge_span(const mp_judgement *j, mp_stage first, mp_stage last, mp_error *err);

#endif
