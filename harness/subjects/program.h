/* SPDX-License-Identifier: Apache-2.0 */
/* Subjects that are programs: docs/protocol.md, "Subjects that are programs". */
#ifndef MP_HARNESS_PROGRAM_SUBJECT_H
#define MP_HARNESS_PROGRAM_SUBJECT_H

#include "moeparity/subject.h"

#define MP_PROGRAM_PREFIX "worker:"
/* Its ends of the conversation are MP_PROCESS_IN and MP_PROCESS_OUT; the memory of the tensors is
 * MP_PROCESS_THIRD. */
enum { MP_PROGRAM_PROTOCOL = 1 };
#define MP_PROGRAM_VARIABLE "MOEPARITY_SUBJECT"
#define MP_NO_CUDA_IPC "MOEPARITY_NO_CUDA_IPC" /* not empty and not 0: no device memory is shared */

/* Starts the command of `worker:COMMAND`, words as a shell splits them, and makes what answers a subject.
 * MP_EINPUT: no such program, or what it says is not the protocol; MP_EUNSUPPORTED: it cannot run here;
 * MP_EDEVICE: it ended. */
mp_status mp_program_open(const char *name, mp_subject *s, mp_error *err);

#endif
