/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/infer/: what every stage's hypotheses are given, and how a predicted row is compared. */
#ifndef MP_HARNESS_INFER_STAGE_H
#define MP_HARNESS_INFER_STAGE_H

#include "cases/slots.h"
#include "harness/infer/evidence.h"
#include "harness/judge/where.h"
#include "moeparity/contract.h"
#include "moeparity/subject.h"
#include "ref/pipeline.h"

/* One run of the subject. */
typedef struct mp_infer_run {
    const mp_case *c;
    const mp_config *config;
    mp_tensor t[MP_TENSOR_COUNT]; /* inputs and trace side by side */
    int block_size_m;
    uint32_t poison;
    mp_slot_map map;
    mp_evidence *evidence;
} mp_infer_run;

/* mp_subject_describe; a subject that cannot describe itself for a case, as where it leaves nothing of it,
 * does not run it: MP_EUNSUPPORTED (err keeps its own status). */
mp_status mp_infer_describe(mp_subject *subject, const mp_case *c, mp_offer *offer, mp_error *err);

/* Whether the stage's input and output are both there, so that it can be looked at alone. */
bool mp_infer_sees(const mp_infer_run *r, mp_stage stage);

/* The hypotheses of a stage's arithmetic: infer_gemm.c (gate_up, down), infer_act.c, infer_combine.c,
 * infer_rows.c. Each computes the stage from the run's own input of it, and compares with what the run
 * left. */
mp_status mp_infer_align(const mp_infer_run *r, mp_error *err);
mp_status mp_infer_gemm(const mp_infer_run *r, mp_stage stage, mp_error *err);
mp_status mp_infer_act(const mp_infer_run *r, mp_error *err);
mp_status mp_infer_combine(const mp_infer_run *r, mp_error *err);
/* Gates and ups, at most so many, for which the hypotheses of the activation are not of one mind: of values
 * that are rounded to 16 bits these are few in a million, looked for among all (act_grid.h). */
mp_status mp_act_pairs(const mp_case *like, double (*pair)[2], int most, int *count, mp_error *err);
/* infer_odd.c: elements whose gate or up is a NaN that is clamped, or whose up is a -0. What becomes of them
 * the contract says in fields of their own, so that they are no part of the question about the arithmetic. */
typedef enum mp_odd { MP_ODD_NOT, MP_ODD_NAN, MP_ODD_ZERO, MP_ODD_BOTH } mp_odd;
/* Gate and up of element n in a row of cache1; an up of 1 when not gated. */
void mp_act_operands(const mp_infer_run *r, int64_t row, int64_t n, double *gate, double *up);
/* MP_ODD_ZERO: only where a factor of +0 would be another one. */
mp_odd mp_act_odd(const mp_case *c, double gate, double up);
/* Whether the activation has either kind of them. */
bool mp_act_has_odd(const mp_case *c, mp_odd odd);
#define MP_QUESTION_NAN "a NaN under a clamp"
#define MP_QUESTION_ZERO "an up of -0"
/* Both questions; by class and sign alone, whatever the arithmetic. A case that has no such element asks
 * nothing. */
mp_status mp_infer_odd(const mp_infer_run *r, mp_error *err);
enum { MP_ODD_PAIRS = 32 };
/* Gates and ups of both kinds. */
void mp_act_odd_pairs(double (*pair)[2]);

/* infer_rows.c: what rows of filtered slots and of padding hold. */
mp_status mp_infer_rows(const mp_infer_run *r, mp_stage stage, mp_error *err);

/* How a float result becomes an element: to nearest even (as every contract has it), towards zero, to nearest
 * with ties away from zero. */
typedef enum mp_store { MP_STORE_NEAREST, MP_STORE_CUT, MP_STORE_AWAY, MP_STORE_COUNT } mp_store;
/* Its value on the axis `axis` of the question. */
int mp_store_value(mp_evidence *e, int question, int axis, mp_store store);
/* Whether float32 results are stored as they are: nothing rounds then, and there is one store. */
static inline bool mp_store_is_exact(mp_dtype dtype) {
    return dtype == MP_FP32 || dtype == MP_FP64;
}
/* n values -> codes of dtype. */
void mp_store_row(mp_store store, mp_dtype dtype, int64_t n, const double *values, void *codes);
void mp_store_row_f32(mp_store store, mp_dtype dtype, int64_t n, const float *values, void *codes);

/* A comparison of predicted rows with the run's; starts zeroed. */
typedef struct mp_tally_rows {
    int64_t compared, differing, first_row, first_column;
    uint64_t got, expected; /* codes of the first */
} mp_tally_rows;
/* Row got_row of `got`, which is row `row` of the stage's output, against predicted codes. Two NaN are the
 * same, whatever their payloads. */
void mp_tally_row(mp_tally_rows *tally, int64_t row, const mp_tensor *got, int64_t got_row,
                  const void *expected);
/* Whether so much differs, in 1000 elements, that the rest need not be compared: the share is known. */
static inline bool mp_tally_is_enough(const mp_tally_rows *tally) {
    return tally->differing >= 1000;
}
/* Adds the tally to the hypothesis, with the place of its first difference. */
void mp_tally_take(const mp_infer_run *r, mp_stage stage, int question, const int value[MP_EVIDENCE_AXES],
                   const mp_tally_rows *tally);

/* The text of a contract's field. */
const char *mp_contract_field(const mp_contract *contract, const char *name, char text[64]);

#endif
