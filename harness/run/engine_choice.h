/* SPDX-License-Identifier: Apache-2.0 */
/* Which engine computes the reference of a case: plain loops, OpenBLAS, or the GPU (offload/). */
#ifndef MP_HARNESS_ENGINE_CHOICE_H
#define MP_HARNESS_ENGINE_CHOICE_H

#include "moeparity/run_case.h"
#include "offload/offload.h"

/* auto: the GPU for cases that it pays for, where its float64 is fast; cpu: never; device: for every case
 * with a GEMM, and without a GPU nothing is run. NULL is auto. */
typedef struct mp_engine_choice {
    mp_offload *offload; /* opened for the first case that it is wanted for; NULL: not yet, or never */
    bool tried;
} mp_engine_choice;

/* Names that the setting may have. MP_EINPUT for others, and for device with plain loops. */
mp_status mp_engine_choice_check(const mp_settings *settings, mp_error *err);
/* Where the setting is device, opens it. MP_EUNSUPPORTED with the reason where there is none. */
mp_status mp_engine_choice_begin(mp_engine_choice *choice, const mp_settings *settings, mp_error *err);
/* Whether float64 of the case takes so long on a CPU that the GPU is worth being opened and filled; where the
 * weights lie on it anyway, that it is worth being opened. */
bool mp_engine_pays(const mp_case *c, bool weights_are_there);
/* The GPU that judges the case of a subject (or NULL: the case is of a file); NULL: the CPU does. */
mp_offload *mp_engine_choose(mp_engine_choice *choice, const mp_settings *settings, const mp_subject *subject,
                             const mp_case *c);
/* Compiles what judges those rows that the GPU will judge, meanwhile: mp_offload_prepare. */
void mp_engine_prepare(mp_engine_choice *choice, const mp_settings *settings, mp_subject *subject,
                       const mp_matrix *matrix);
void mp_engine_choice_end(mp_engine_choice *choice);

#endif
