/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in a subject's memory on a device is lent to a judge on the same device (mp_offload_lend), while
 * no run is under way. A subject elsewhere has nothing to lend, and no judge takes nothing. */
#ifndef MP_HARNESS_LEND_H
#define MP_HARNESS_LEND_H

#include "harness/subjects/surroundings.h"
#include "offload/offload.h"

/* Inputs of the case of which the subject has packed copies that are known to hold what they should: the last
 * run that had them in its hands has been looked at. */
void mp_lend_inputs(const mp_subject *subject, const mp_case *c, const mp_inputs *in, mp_offload *offload);
/* Outputs that the run has left in its buffers, as those of `trace`, which were read from there. The buffers
 * must stay for as long. */
void mp_lend_outputs(const mp_subject *subject, const mp_left *left, const mp_trace *trace,
                     mp_offload *offload);

#endif
