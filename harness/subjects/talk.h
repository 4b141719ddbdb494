/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation with a program that is a subject: one request, one answer. */
#ifndef MP_HARNESS_TALK_H
#define MP_HARNESS_TALK_H

#include "base/process.h"
#include "harness/frame.h"

typedef struct mp_talk {
    mp_process process;
    mp_channel channel;
    char ended[256]; /* how the program ended, once it has; "" while it lives */
} mp_talk;
#define MP_TALK_NONE ((mp_talk){.process = {.to = -1, .from = -1}})

/* Starts the program as mp_process_start does (base/process.h). */
mp_status mp_talk_start(mp_talk *talk, const char *const *argv, const char *variable, int third,
                        mp_error *err);
/* Says that nothing more will come, waits, and kills what does not end. */
void mp_talk_end(mp_talk *talk);

/* Asks {asked: body}, whose reference it takes, and gives the body of {wanted: ...}: *answer, to be freed
 * with json_decref. Waits as long as it takes: the run watches the clock. MP_EDEVICE once the program has
 * ended, or says what is no answer; what `failed` holds where that came instead. */
mp_status mp_talk_ask(mp_talk *talk, const char *asked, json_t *body, const char *wanted, json_t **answer,
                      mp_error *err);

#endif
