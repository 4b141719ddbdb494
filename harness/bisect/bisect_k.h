/* SPDX-License-Identifier: Apache-2.0 */
/* Where along k a grouped GEMM begins to err: the first group of terms with which it parts from what is
 * expected of it, found by zeroing the inputs of all terms behind. */
#ifndef MP_HARNESS_BISECT_K_H
#define MP_HARNESS_BISECT_K_H

#include "moeparity/suite.h"

#include <jansson.h>

typedef struct mp_k_question {
    int stage; /* MP_GATE_UP or MP_DOWN; -1: the one GEMM of the case's scope, or gate_up */
    bool
        weights; /* w1 or w2 are zeroed, instead of what they multiply: where that is no input of the case, as
                     of down behind other stages, they are all the same */
    int64_t group;   /* terms; 0: those that the contract's accumulator adds in a step, else BLOCK_SIZE_K */
    bool exhaustive; /* every group is tried: whether a difference vanishes where more terms follow */
} mp_k_question;

/* Shortens the sums of the case, the one row of `row`, from both ends, by halving: 2 + 2*log2(groups) runs,
 * each in a new process, once, and judged by predicted bits where the contract has any, else by bounds; then
 * in up to 3 more, which say of what kind the difference is. `how` as for mp_attempt; its edits stay. *info
 * is filled. *report, a new reference, is what was found, in the terms of docs/bisect.md; "found" is false
 * where there is no difference. MP_EINPUT: the case has no such GEMM, or no tokens; MP_EUNSUPPORTED: the
 * subject cannot run it here; MP_EDEVICE: it crashes, or hangs, or shows nothing of the stage. */
mp_status mp_bisect_k(const mp_matrix *row, const mp_k_question *question, const mp_suite_options *how,
                      mp_run_info *info, json_t **report, mp_error *err);

#endif
