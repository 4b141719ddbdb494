/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a case whether it is run or not: how it is run again, and the verdict that begins so. */
#ifndef MP_HARNESS_REPRO_H
#define MP_HARNESS_REPRO_H

#include "base/text.h"
#include "moeparity/run_case.h"

/* Appends the one command that runs exactly this case again, behind the one before it: `moeparity run
 * [--case BEFORE [--pair ...]...] --case CASE [--pair ...]... --subject S ...`, or with golden_required
 * `moeparity golden verify FILE [--case BEFORE] --case CASE --subject S ...`, and every option that is not at
 * its default. Words are quoted for a shell. */
void mp_repro(const mp_matrix_row *row, const mp_run_options *options, mp_text *text);

/* What is known of a case that is not run: initialises the verdict, and sets outcome, name, group, subject
 * and repro, which names options->after unless the outcome is PASS or SKIP. */
void mp_verdict_begin(const mp_matrix_row *row, const mp_run_options *options, mp_outcome outcome,
                      mp_verdict *v);

#endif
