/* SPDX-License-Identifier: Apache-2.0 */
/* What subjects that are not part of this program say of a case, in words. */
#ifndef MP_HARNESS_FOREIGN_H
#define MP_HARNESS_FOREIGN_H

#include "kernels/cuda.h"
#include "moeparity/subject.h"

typedef struct mp_foreign_words {
    const char *contract; /* as mp_contract_of_words takes it, "sm_90" or "sm_90 act.ulps=2"; NULL: any */
    const char *fields;   /* "act.ulps=2 combine.bits=none", set over it; NULL: none */
    const char *exposes;  /* names of outputs, separated by blanks; NULL: all that the case has */
    int block_size_m;     /* 0: that of the case's tile */
} mp_foreign_words;

/* Whether a subject knows all that the case asks for. `takes`: names of the fields that are younger than
 * plug-ins and the protocol, as it says them, or NULL. MP_EUNSUPPORTED, which is a SKIP, where another one of
 * them has not its default: who never heard of a field would run another problem. */
mp_status mp_foreign_knows(const char *takes, const mp_case *c, const char *name, mp_error *err);
/* Fills contract, exposes and config of *offer, whose exposes holds all outputs of the case. MP_EDEVICE says
 * which word is wrong, and what was expected. */
mp_status mp_foreign_offer(const mp_foreign_words *words, const mp_case *c, const mp_config_query *query,
                           mp_offer *offer, mp_error *err);
/* Sets what the device has free, and in device_bytes what is kept free on it beside the buffers, besides
 * `own`, which the subject takes itself. */
mp_status mp_foreign_device(mp_cuda *cuda, size_t own, mp_offer *offer, mp_error *err);

#endif
