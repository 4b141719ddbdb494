/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of a run went: a table of its cases by phases, the longest first. */
#ifndef MP_REPORTS_PHASES_H
#define MP_REPORTS_PHASES_H

#include "moeparity/verdict.h"

#include <stdio.h>

/* floors: of each verdict, [count][MP_PHASE_COUNT] seconds, 0: none. Two lines a case, its seconds and its
 * floors, then the sums of all. A floor above what a phase took is left out: the phase did not do that work,
 * or not on this CPU. */
void mp_report_phases(FILE *out, const mp_verdict *verdicts, size_t count, double (*floors)[MP_PHASE_COUNT]);

#endif
