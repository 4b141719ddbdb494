/* SPDX-License-Identifier: Apache-2.0 */
/* The hostile surroundings of one run: buffers between guard zones, full of poison, looked at before and
 * after. They are the harness's, whoever the subject is and wherever its memory lies. */
#ifndef MP_HARNESS_SURROUNDINGS_H
#define MP_HARNESS_SURROUNDINGS_H

#include "moeparity/subject.h"

/* What a run did that it must not have done: "" = nothing. */
typedef struct mp_surroundings_report {
    char guard[256]; /* the first buffer whose guard zones changed, with the place */
    char input[256]; /* the first input, as the subject had it, that changed */
} mp_surroundings_report;

/* Allocates everything in the subject's space, runs it, looks around, and leaves the exposed outputs in
 * *trace on the host (the caller's to destroy, after an error too). Inputs on the host are handed over as
 * they are; the caller looks after their contents. In place, the subject gets a copy of x in the output's
 * buffer. */
mp_status mp_run_surrounded(mp_subject *subject, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                            uint32_t poison, mp_trace *trace, mp_surroundings_report *report, mp_error *err);

/* Whether the rows of an output are compared by their digests, where these can be made: rows by slot or token
 * that are much larger. What has a row a chunk tells which rows those are. */
bool mp_is_compared_by_digests(const mp_tensor *t, mp_tensor_id id);

/* What a run has left, and where what is not on the host lies: as mp_buffers_mark leaves it. */
typedef struct mp_left {
    mp_trace trace;
    struct mp_buffers *buffers; /* NULL: all is on the host */
    bool lent;                  /* the buffers are somebody else's, and stay open */
} mp_left;

/* The same for a run that is compared with another one. *left is the caller's to destroy, after an error
 * too. */
mp_status mp_run_marked(mp_subject *subject, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                        uint32_t poison, mp_left *left, mp_surroundings_report *report, mp_error *err);
/* All of it comes to the host; mp_left_fetch then gives buffers back that are not lent. */
mp_status mp_left_read(mp_left *left, mp_error *err);
mp_status mp_left_fetch(mp_left *left, mp_error *err);
void mp_left_destroy(mp_left *left);

/* Bytes that mp_run_surrounded takes in the subject's space beside the inputs on the host; 0 for a subject on
 * the host. */
size_t mp_surroundings_device_bytes(const mp_subject *subject, const mp_case *c, const mp_offer *offer);

#endif
