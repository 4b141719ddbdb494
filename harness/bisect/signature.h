/* SPDX-License-Identifier: Apache-2.0 */
/* By what a failure is known again: how the case ended, the first check that failed, and the stage in which
 * that begins. */
#ifndef MP_HARNESS_SIGNATURE_H
#define MP_HARNESS_SIGNATURE_H

#include "moeparity/status.h"
#include "moeparity/verdict.h"

#define MP_SIGNATURE_TEXT_MAX 320

typedef struct mp_signature {
    mp_outcome outcome; /* MP_FAIL, MP_CRASH or MP_TIMEOUT */
    int check;          /* of a FAIL: the first that failed; -1: none, or any that somebody asks for */
    int stage;          /* in which it begins; -1: that is not told, or any */
    int first;          /* of stages that are judged as one; else `stage`; not compared */
    char how[256];      /* of a CRASH: how the worker ended; "": that is not told, or any */
} mp_signature;

/* The signature of a verdict; false where it is none of a failure. */
bool mp_signature_of(const mp_verdict *v, mp_signature *s);
/* Whether the verdict is of the failure that is wanted: what `wanted` leaves open may be anything. */
bool mp_signature_fits(const mp_signature *wanted, const mp_verdict *v);
/* "bound:gate_up", "guard", "CRASH (the worker died of signal 11 (Segmentation fault))", "TIMEOUT". */
void mp_signature_text(const mp_signature *s, char text[MP_SIGNATURE_TEXT_MAX]);
/* Reads CHECK, CHECK:STAGE, CRASH or TIMEOUT. MP_EINPUT with the known names. */
mp_status mp_signature_parse(const char *text, mp_signature *s, mp_error *err);

#endif
