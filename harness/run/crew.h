/* SPDX-License-Identifier: Apache-2.0 */
/* The workers of a run, and what becomes of the rows that they are handed. suite.c deals out; crew.c takes
 * what comes back, crew_start.c brings workers up and finds them lost. */
#ifndef MP_HARNESS_CREW_H
#define MP_HARNESS_CREW_H

#include "harness/run/deal.h"
#include "harness/run/devices.h"
#include "harness/run/link.h"
#include "harness/run/replay.h"

enum { MP_CREW_MAX = 64 };

/* The place of one worker, who may be replaced. */
typedef struct mp_slot {
    mp_link *link;
    const mp_device *device; /* on which it runs; NULL: there was no choice */
    bool retired;            /* no worker could be started there */
    size_t *ran, ran_count;  /* the rows that the present worker has judged, in order */
    mp_replay replay;        /* of a row that failed there: the place serves it alone until it ends */
} mp_slot;

typedef struct mp_crew {
    const mp_matrix *matrix;
    mp_suite_options o; /* with the subject that "auto" came to: for the repros, and for all workers */
    mp_verdict *verdicts;
    mp_run_info *info;
    mp_devices devices;
    mp_link links[MP_CREW_MAX];
    mp_slot slots[MP_CREW_MAX];
    int size, failed_starts;
    mp_deal deal; /* what is not handed out */
    bool opened;  /* a worker has said hello: the input is good, and the kernels are compiled */
    bool ended;   /* nothing more is handed out */
    mp_status status;
    mp_error err;
} mp_crew;

/* How many workers are in that state. */
int mp_crew_count(const mp_crew *crew, mp_link_state state);

/* ---- crew.c ---- */

/* The settings of the worker there. */
mp_settings mp_slot_settings(const mp_crew *crew, const mp_slot *slot);
void mp_slot_forget_rows(mp_slot *slot);
/* Hands the idle worker the row, with the threads that it has for it. */
void mp_slot_hand(mp_crew *crew, mp_slot *slot, size_t index);
/* The crew as the deal sees it; returns the seat of the slot (NULL: 0). */
int mp_crew_seats(const mp_crew *crew, const mp_slot *slot, mp_seat seats[MP_CREW_MAX]);
void mp_slot_take_verdict(mp_crew *crew, mp_slot *slot, const json_t *verdict, bool lacked_memory);
/* No verdict came, or none that can be believed: the worker is gone, or goes. */
void mp_slot_close_row(mp_crew *crew, mp_slot *slot, mp_outcome outcome, const char *reason);
/* A row that could not be handed to anybody. */
void mp_crew_give_up_row(mp_crew *crew, size_t index, const char *why);
void mp_slot_give_up_replay(mp_crew *crew, mp_slot *slot, const char *why);

/* ---- crew_start.c ---- */

/* Starts the slot's worker. Where it cannot be started the slot is retired while other workers live; the run
 * ends in crew->status and crew->err where the first one cannot. */
void mp_slot_start(mp_crew *crew, mp_slot *slot);
/* Takes all that the worker has said. */
void mp_slot_listen(mp_crew *crew, mp_slot *slot);
/* The worker ended before it was told to (why), or is past its deadline (why == NULL). */
void mp_slot_lost(mp_crew *crew, mp_slot *slot, const char *why);

#endif
