/* SPDX-License-Identifier: Apache-2.0 */
/* What the phases of a case take at least on a CPU, so that it is seen how far each is from it. */
#ifndef MP_HARNESS_FLOORS_H
#define MP_HARNESS_FLOORS_H

#include "moeparity/verdict.h"
#include "ref/bench.h"

/* Seconds; 0 where there is no floor. Of bytes that are made, read or compared, each once, by the rate of a
 * copy: inputs and their digest, upload, download, compare. Of the operations of both GEMMs, by dgemm's rate:
 * run and predict once, where the CPU predicts; judge twice, values and magnitudes; end_to_end once, of the
 * tokens that it measures, or, with the radii of codes, four times. A phase that does its work twice takes
 * two floors at least. Of a case whose ids are in a file all are 0. MP_EMEMORY. */
mp_status mp_phase_floors(const mp_case *c, const mp_cpu_rates *rates, double seconds[MP_PHASE_COUNT],
                          mp_error *err);

#endif
