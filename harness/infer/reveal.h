/* SPDX-License-Identifier: Apache-2.0 */
/* The order of a subject's sums, asked of itself: it is run on tensors of ones in which M and -M stand at
 * every pair of places, a token for each (harness/infer/sum_tree.h). */
#ifndef MP_HARNESS_REVEAL_H
#define MP_HARNESS_REVEAL_H

#include "moeparity/subject.h"

enum { MP_REVEAL_TEXT = 1024 };

/* The tree of the stage's sum: of gate_up and down over 32 terms of k, of combine over 8 slots of topk. like:
 * a case that the subject runs, for formats and activation. text: the tree, or, where *revealed is false, why
 * there is none: the subject does not run or show what it takes, or no tree explains what came out. Errors
 * are the subject's own, or memory. */
mp_status mp_reveal_sum(mp_subject *subject, const mp_case *like, mp_stage stage, bool *revealed,
                        char text[MP_REVEAL_TEXT], mp_error *err);

#endif
