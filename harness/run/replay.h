/* SPDX-License-Identifier: Apache-2.0 */
/* A row that failed behind others in one process, run again: alone in a new one, and if it passes there,
 * behind more and more of those others, until it fails again. It is a plan: the suite runs it. */
#ifndef MP_HARNESS_REPLAY_H
#define MP_HARNESS_REPLAY_H

#include "moeparity/matrix.h"
#include "moeparity/settings.h"
#include "moeparity/verdict.h"

typedef struct mp_replay {
    bool active;
    size_t row;     /* of the matrix: the one that failed */
    size_t *before; /* those that its process had run, in order; owned */
    size_t count;
    size_t tried; /* how many of the last of them run before it now; 0: it runs alone */
    size_t done;  /* how many of those have run */
} mp_replay;

/* Takes over `before`. */
void mp_replay_begin(mp_replay *replay, size_t row, size_t *before, size_t count);
/* The row that comes next in the present process. */
size_t mp_replay_next(const mp_replay *replay);
/* All rows of the present process, the last of which is the one that failed: tried + 1 of them. */
size_t mp_replay_at(const mp_replay *replay, size_t i);

typedef enum mp_replay_step {
    MP_REPLAY_GOES_ON,  /* the next row, in the same process */
    MP_REPLAY_RESTARTS, /* in a new one */
    MP_REPLAY_ENDS,     /* and *v says what came of it */
} mp_replay_step;

/* After the outcome of mp_replay_next's row; v: the verdict that the row had got, whose history and repro are
 * set where this ends it. */
mp_replay_step mp_replay_take(mp_replay *replay, mp_outcome outcome, const mp_matrix *matrix,
                              const mp_settings *settings, mp_verdict *v);
/* Ends it before it has come to anything, why says for what reason: the repro stays as it was. */
void mp_replay_give_up(mp_replay *replay, const char *why, mp_verdict *v);

#endif
