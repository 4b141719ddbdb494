/* SPDX-License-Identifier: Apache-2.0 */
/* How checks answer in a verdict, and where a failure begins. */
#ifndef MP_HARNESS_ANSWERS_H
#define MP_HARNESS_ANSWERS_H

#include "moeparity/verdict.h"

/* Says where a failure begins: `begins in gate_up: expert 3 only, 7 of its 7 rows, columns 64..127`. The
 * earliest stage that fails is kept, whichever check finds it; first..last: a span that was judged as one. */
void mp_begins(mp_verdict *v, mp_stage first, mp_stage last, const char *what);
/* Once all is judged: `; later stages follow from it`, or those that are wrong by their own input as well. */
void mp_begins_conclude(mp_verdict *v, const mp_case *c);

/* How the reason of a FAIL begins where the tile that a case or a tuned file names cannot be built or run. */
#define MP_TILE_REFUSED "the tile that was asked for cannot run: "

/* What float64 answers of numbers, a bit for each check: those that MP_CHECKS asks for where there are
 * `numbers`. */
#define MP_CHECKS_OF_NUMBERS (1u << MP_CHECK_BOUND | 1u << MP_CHECK_RMS | 1u << MP_CHECK_NAN)

/* Records an answer of a part. A failure counts and keeps the first text; else the check is not judged where
 * a part was not, whatever comes before or after it; else it has passed. */
void mp_check_fail(mp_verdict *v, mp_check check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mp_check_pass(mp_verdict *v, mp_check check);
void mp_check_pass_partly(mp_verdict *v, mp_check check,
                          const char *note); /* passed, with a text that says what it does not cover */
void mp_check_not_judged(mp_verdict *v, mp_check check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
