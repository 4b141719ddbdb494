/* SPDX-License-Identifier: Apache-2.0 */
/* A run's end of the line to one worker. Nothing here waits for the worker, but where it says so. */
#ifndef MP_HARNESS_LINK_H
#define MP_HARNESS_LINK_H

#include "base/process.h"
#include "harness/frame.h"
#include "harness/progress.h"
#include "harness/run/devices.h"
#include "moeparity/suite.h"

#include <poll.h>

#define MP_TELL_SECONDS 1.0 /* a phase that goes on is told again after */

typedef enum mp_link_state {
    MP_LINK_NONE,     /* no process */
    MP_LINK_STARTING, /* until its hello */
    MP_LINK_IDLE,
    MP_LINK_BUSY, /* with a case */
} mp_link_state;

typedef struct mp_link {
    mp_link_state state;
    mp_process process;
    mp_channel channel;
    size_t index, previous;             /* the case it has, the one that it had before; MP_NO_CASE: none */
    double since, deadline;             /* of the case, or of the start; mp_seconds_now's clock */
    bool compiles;                      /* its start has got MP_KERNELS_SECONDS more */
    double told;                        /* when its phase was last passed on */
    char stage[32], what[MP_PHASE_MAX]; /* what it said last that it is at; "" before */
    int died_of;                        /* the signal that ended it; 0: none, or not known */
} mp_link;

/* Starts a worker, whose first message (the reference is taken) is on its way, and which has so many seconds
 * to say hello. It sees that device alone; NULL: what this program sees. MP_EINPUT when there is no such
 * program. */
mp_status mp_link_start(mp_link *link, const char *const *program, const mp_device *device, json_t *first,
                        double seconds, mp_error *err);
/* Puts a message on its way (the reference is taken). That the worker is gone is found when it is read from.
 */
void mp_link_send(mp_link *link, json_t *message);
/* What to wait for; nothing where there is no process. */
struct pollfd mp_link_poll(const mp_link *link, int which /* 0: its messages, 1: room for ours */);
/* The next message, or NULL where none has come as a whole. *gone: none will come any more; *why says that it
 * has ended, or what it sent that is no message. The process is then gone; mp_link_kill frees the rest. */
json_t *mp_link_receive(mp_link *link, bool *gone, char why[200]);
/* Takes a progress message: stage and what. */
void mp_link_progress(mp_link *link, const json_t *progress);
void mp_link_kill(mp_link *link);
/* Ends all workers. Those that are idle are told so, all of them first, and then have half a minute in common
 * to close their subjects; `kill`: they are not asked. */
void mp_links_close(mp_link *links, int count, bool kill);

/* Tells o->phase what the worker is at. */
void mp_link_tell_phase(mp_link *link, const mp_suite_options *o);
/* Waits for the next message that is no progress, until the worker's deadline, and tells o->phase meanwhile.
 * *body is what came under `key`, the caller's to free; NULL after an error: the one that the worker tells
 * of, or that of mp_link_blame with `path` where none came; the process is then gone. */
mp_status mp_link_answer(mp_link *link, const mp_suite_options *o, const char *key, const char *path,
                         json_t **body, mp_error *err);
/* The error of a worker that is gone before it answered, or that hangs (why == NULL), and its status: it is
 * about `path` where that is a file that the worker was reading. */
mp_status mp_link_blame(const mp_link *link, const char *path, const char *why, mp_error *err);

#endif
