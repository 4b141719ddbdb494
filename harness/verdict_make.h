/* SPDX-License-Identifier: Apache-2.0 */
/* What the harness fills verdicts with. */
#ifndef MP_HARNESS_VERDICT_MAKE_H
#define MP_HARNESS_VERDICT_MAKE_H

#include "moeparity/verdict.h"

/* Gives a text of v, of its checks or pairs, a new content; arguments may be texts of v. */
void mp_verdict_set(mp_verdict *v, const char **text, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a text of the run. */
void mp_run_info_set(mp_run_info *info, const char **text, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds it, behind "; ", where it is not among what the text tells already: of several workers, or shards. */
void mp_run_info_join(mp_run_info *info, const char **text, const char *more);

/* What is told of a place: the shape of a stage's output with `rows` rows, one a token or one a slot. */
void mp_stage_set_shape(mp_stage_figures *f, const mp_case *c, int64_t rows, int64_t width);

/* The exit code of a command that ended with an error. */
int mp_exit_code_of(mp_status status);

#endif
