/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of a case goes: every moment of the thread that runs it belongs to one phase. */
#ifndef MP_HARNESS_PHASES_H
#define MP_HARNESS_PHASES_H

#include "moeparity/verdict.h"

/* From now on time counts for nothing but MP_PHASE_OTHER, until a phase is entered; figures so far are
 * dropped. One case at a time. */
void mp_phases_begin(void);
/* Enters a phase; returns the one that was left, for the caller to go back to. */
mp_phase mp_phase_enter(mp_phase phase);
/* Seconds of each, up to now. */
void mp_phases_end(double seconds[MP_PHASE_COUNT]);

/* The most tokens that the phase MP_PHASE_MODEL measures by itself (mp_measure_end_to_end). */
enum { MP_END_TO_END_TOKENS = 8192 };

#endif
