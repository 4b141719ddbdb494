/* SPDX-License-Identifier: Apache-2.0 */
/* What a case needs of the host's memory, and what there is. */
#ifndef MP_HARNESS_MEMORY_H
#define MP_HARNESS_MEMORY_H

#include "harness/checks/session.h"

/* Bytes that judging the case takes: inputs and a permuted copy of the tokens, a trace, beside it a predicted
 * stage or what is kept of the first run, the judge's slabs for every thread. Where a run differs from the
 * first one there are two traces; what does not fit then is left out. */
size_t mp_case_host_bytes(const mp_case *c, int block_size_m);
/* The same where nothing is run, of a file that holds these tensors: they themselves, and what the judge
 * makes for the stages that can be judged from them. */
size_t mp_file_host_bytes(const mp_case *c, mp_tensor_set holds, int block_size_m);
/* Whether the largest of the case and its variants fits, for the subject and for the one it is compared with:
 * MP_EUNSUPPORTED with the figures where it does not. `there`: bytes of its inputs that are held already.
 * Sets peak_bytes of the verdict, and lacked_memory. */
mp_status mp_plan_memory(mp_session *s, size_t there, mp_error *err);

#endif
