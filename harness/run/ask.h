/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that is started for a few requests, and ended after them. */
#ifndef MP_HARNESS_ASK_H
#define MP_HARNESS_ASK_H

#include "moeparity/suite.h"

#include <jansson.h>

typedef struct mp_request {
    json_t *message;    /* the reference is taken */
    const char *answer; /* the key of its answer, as docs/protocol.md has it */
    json_t *body;       /* set to what came under that key; the caller's to free, NULL where nothing came */
} mp_request;

/* Sends one request after the other, each when the one before it is answered; `how` says program,
 * settings.timeout (for each of them; 0: MP_TIMEOUT_SECONDS), phase and ctx. An error ends it: that of the
 * worker, where it says why it failed; MP_EDEVICE where it dies, is too late or speaks nonsense, with what it
 * was at; and where it was reading the file `path` then (NULL: it reads none), MP_EINPUT for a crash and
 * MP_EIO for being late. err must not be NULL. */
mp_status mp_ask_worker(const mp_suite_options *how, const char *path, mp_request *requests, int count,
                        mp_error *err);

#endif
