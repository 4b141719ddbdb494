/* SPDX-License-Identifier: Apache-2.0 */
/* Proving a tuned file: every launch in which it can differ from another file, planned as rows of a matrix,
 * and what the verdicts say of each.
 *
 * To judge every batch size by the CPU's references would take minutes for each large one. Where a subject
 * promises that a token's bits depend neither on its batch nor on the tile (sm_90: measured, and predicted by
 * the model of its tensor cores), one batch is judged whole, by float64 and by its predicted bits, and the
 * smaller ones are pairs of it: the same tokens, launched at that size with that tile, must leave the same
 * bits in every element of every stage. That is no sample, and no weaker: an element with the bits of one
 * that was judged has been judged. Without the promise equality is not asked for, and nothing is proven by a
 * pair: `each` makes every batch size a row of its own. */
#ifndef MP_HARNESS_TUNE_VERIFY_H
#define MP_HARNESS_TUNE_VERIFY_H

#include "harness/tune/prove/facts.h"
#include "harness/tune/prove/points.h"
#include "harness/tune/prove/target.h"
#include "moeparity/matrix.h"
#include "moeparity/verdict.h"

typedef enum mp_proof {
    MP_UNPROVEN, /* nothing speaks against it, and nothing proves it */
    MP_PROVEN,
    MP_REFUTED
} mp_proof;
const char *mp_proof_name(mp_proof proof); /* "unproven" ... */

#define MP_NO_ROW SIZE_MAX

/* A batch size, and what came of it. */
typedef struct mp_launch {
    mp_point point;
    mp_case c;        /* its tiles are named, unless the subject looks them up itself */
    mp_tile up, down; /* of the files */
    size_t row;       /* of the matrix; MP_NO_ROW: it is not run */
    int pair;         /* of that row; -1: the row itself */
    bool alone;       /* its row is one of plan->alone */
    mp_proof proof;
    unsigned passed;  /* checks of the row that passed, as bits: of a pair those of what it equals */
    char reason[768]; /* what refutes it, or why it is not proven; of a pair that is proven, what it equals */
} mp_launch;

typedef struct mp_tune_choice {
    bool each;                        /* every launch is judged by itself */
    bool own_tiles;                   /* the cases name no tile: the subject finds it */
    int64_t most;                     /* larger M are left out; 0: none are */
    const mp_tune_target *instead_of; /* only the launches to which this other file gives another tile, and
                                         those where it changes; NULL: all */
} mp_tune_choice;

typedef struct mp_tune_plan {
    const mp_tune_target *target;
    mp_launch *launch; /* ascending M */
    size_t count, left_out;
    mp_matrix matrix;
    mp_matrix alone; /* launches of which their row told nothing, each by itself */
} mp_tune_plan;

/* The tiles that a target's files give to a batch. */
mp_status mp_tune_tiles(const mp_tune_target *target, int64_t M, mp_tile *up, mp_tile *down, mp_error *err);
/* Whether two targets say the same of a batch in what an entry holds beside its tile: USE_TMA, SPLIT_K and
 * num_ctas, which kernels of others read. */
bool mp_tune_same_beside_tiles(const mp_tune_target *a, const mp_tune_target *b, int64_t M);
/* *target is read as long as the plan lives. Free with mp_tune_plan_free, after an error too. */
mp_status mp_tune_plan_make(const mp_tune_target *target, const mp_tune_choice *choice, mp_tune_plan *plan,
                            mp_error *err);
/* Makes the matrix of the launches that nothing refutes yet. */
mp_status mp_tune_plan_rows(mp_tune_plan *plan, const mp_tune_choice *choice, mp_error *err);
void mp_tune_plan_free(mp_tune_plan *plan);

/* Refutes the launches whose tile does not compile or fit: they are in no row then. */
void mp_tune_take_facts(mp_tune_plan *plan, const mp_facts *facts);
/* verdicts[i] is that of the matrix's row i; one with an empty name was not reached. */
void mp_tune_take_verdicts(mp_tune_plan *plan, const mp_verdict *verdicts);
/* Where a row's process died or hung with its smaller batches, nobody knows in which; and where a row is
 * wrong, nothing is learnt of those that were compared with it. Each of them becomes a row of its own in
 * plan->alone. After mp_tune_take_verdicts. */
mp_status mp_tune_plan_alone(mp_tune_plan *plan, const mp_verdict *verdicts, mp_error *err);
/* verdicts[i] is that of row i of plan->alone. */
void mp_tune_take_alone(mp_tune_plan *plan, const mp_verdict *verdicts);
/* The worst of the launches that `entry` serves, and how many there are (*count may be NULL). */
mp_proof mp_tune_key_proof(const mp_tune_plan *plan, const mp_tuned_entry *entry, size_t *count);

#endif
