/* SPDX-License-Identifier: Apache-2.0 */
/* What the phases of a case take at least, so that it is seen how far each is from it. */
#ifndef MP_HARNESS_FLOORS_H
#define MP_HARNESS_FLOORS_H

#include "kernels/rates.h"
#include "moeparity/verdict.h"
#include "ref/bench.h"

/* How fast this machine is, and what of a case was done on its GPU: by the subject, by the judge. `device` is
 * not read where neither was there. */
typedef struct mp_floor_rates {
    mp_cpu_rates cpu;
    mp_cuda_rates device;
    bool subject_there, judge_there;
} mp_floor_rates;

/* Seconds; 0 where there is no floor. Bytes are of tensors, each once; operations those of both GEMMs, two a
 * product, in slots that go to an expert. A phase that does its work twice takes two floors at least. Of a
 * case whose ids are in a file all are 0. MP_EMEMORY.
 *
 *   inputs, digest  bytes of inputs by the rate of copies: of the GPU for those that it makes for itself
 *   upload          bytes of the other inputs by the rate to the GPU; on the CPU all by that of copies
 *   run             on the GPU stage by stage what takes longer: bytes that it reads and writes by the rate
 *                   of copies, or products by that of such operands (fp32: of float32); on the CPU operations
 *                   by dgemm
 *   look, compare   bytes of outputs by the rate of copies where the subject is, and the judge
 *   download        the same by the rate to the host
 *   judge           operations twice, values and magnitudes, by dgemm or by the GPU's float64
 *   end_to_end      the same once, on the CPU for the tokens that it measures, or four times, with the radii
 *                   of codes
 *   predict         operations by dgemm; on the GPU by float64, of which the sums of tensor cores take a
 *                   multiply-add a term, those of fp32 by float32; of int8 there is none there
 */
mp_status mp_phase_floors(const mp_case *c, const mp_floor_rates *rates, double seconds[MP_PHASE_COUNT],
                          mp_error *err);

#endif
