/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a case whether it is run or not: how it is run again, and the verdict that begins so. */
#ifndef MP_HARNESS_REPRO_H
#define MP_HARNESS_REPRO_H

#include "base/text.h"
#include "moeparity/matrix.h"
#include "moeparity/settings.h"
#include "moeparity/verdict.h"

/* A line names no more rows that ran before than these, the last of them. */
enum { MP_REPRO_ROWS = 32 };

/* Appends the one command that runs exactly this case again, behind `before` (what ran before it in the same
 * process, in order): `moeparity run [--case BEFORE ...]... --case CASE [--pair ...]... [--after ...]...
 * --subject S ...`, or with golden_required `moeparity golden verify FILE [--case BEFORE]... --case CASE
 * ...`, and every setting that is not the usual. Words are quoted for a shell. */
void mp_repro(const mp_matrix_row *row, const mp_matrix_row *const *before, size_t count,
              const mp_settings *settings, mp_text *text);

/* Appends the settings as options of a line, those that are not the usual, each with a blank before it: what
 * a case may owe its verdict to, but for the subject and the device. */
void mp_settings_text(const mp_settings *settings, mp_text *text);

/* What is known of a case that is not run: initialises the verdict, and sets outcome, name, group, subject
 * and repro. */
void mp_verdict_begin(const mp_matrix_row *row, const mp_matrix_row *const *before, size_t count,
                      const mp_settings *settings, mp_outcome outcome, mp_verdict *v);
/* Sets the repro by the outcome, and in history what the line leaves out. What passed, or was skipped, needs
 * nothing before it to be repeated; what did not may owe it to what ran before. */
void mp_verdict_set_repro(const mp_matrix_row *row, const mp_matrix_row *const *before, size_t count,
                          const mp_settings *settings, mp_verdict *v);

#endif
