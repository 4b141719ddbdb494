/* SPDX-License-Identifier: Apache-2.0 */
/* What a case's ids come to: figures that its text does not tell. */
#ifndef MP_CASES_FIGURES_H
#define MP_CASES_FIGURES_H

#include "moeparity/case.h"

/* Counted from the ids that the case will run with; of no other tensor anything is made. A slot is routed
 * where its id is not -1. All zero, and the last ones -1, where nothing is routed. */
typedef struct mp_figures {
    int64_t routed, filtered;       /* slots; their sum is M*topk */
    int64_t experts_used;           /* of E */
    int64_t blocks;                 /* of 16 rows that align makes of them, each expert's padded */
    int64_t fullest, emptiest_used; /* slots of the expert that has most; least, of those that have any */
    int64_t last_token, last_slot;  /* the last ones that are routed */
    int64_t last_expert;            /* the largest id */
    int64_t tokens_unrouted, tokens_mixed; /* tokens whose slots are all filtered; some of them */
    int64_t tokens_repeating;              /* tokens that have an expert twice */
    /* Bit b: some expert has more than 2^b slots, and their number is no multiple of 2^b: what is left fills
     * no block of 2^b rows. */
    unsigned row_tails;
} mp_figures;

/* MP_EINPUT for data=file, whose ids are in the file; MP_EMEMORY. */
mp_status mp_figures_of(const mp_case *c, mp_figures *f, mp_error *err);

#endif
