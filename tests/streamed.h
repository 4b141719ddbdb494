/* SPDX-License-Identifier: Apache-2.0 */
/* A subject on the host with streams and graphs, as a device has them: a stage that is begun waits in its
 * stream until somebody waits for the device, and then the stages of all streams take turns. A planted fault
 * shows in a graph or beside another run alone. */
#ifndef MP_TESTS_STREAMED_H
#define MP_TESTS_STREAMED_H

#include "moeparity/subject.h"

typedef enum streamed_fault {
    STREAMED_RIGHT,
    /* in a graph */
    STREAMED_FROZEN_COUNT,   /* gate_up has as many row blocks as the routing had when it was begun */
    STREAMED_FROZEN_IDS,     /* the ids are copied when it is begun */
    STREAMED_ADDS,           /* combine adds to what the output held, if that was a number */
    STREAMED_FLAG_BY_HOST,   /* the host resets a counter in the workspace, and no launch does */
    STREAMED_DEFAULT_STREAM, /* it works at once, and not on the stream */
    STREAMED_WAITS,          /* it waits for the device */
    STREAMED_WAITS_UNSEEN,   /* the same, and does not look whether it could */
    STREAMED_ALLOCATES,      /* it fails itself: MP_EDEVICE */
    STREAMED_SPOILS_X,       /* a replay overwrites an input */
    STREAMED_SPOILS_GUARD,   /* or the byte behind an output */
    /* beside another run */
    STREAMED_ONE_SCRATCH, /* cache2 lies in one place for all runs */
    STREAMED_ONE_COUNTER, /* combine counts the stages of all runs */
    /* no faults */
    STREAMED_NO_GRAPHS,
    STREAMED_NO_OVERLAP,
    STREAMED_REFUSES,
    STREAMED_NEVER_AT_ONCE
} streamed_fault;

mp_subject streamed_open(streamed_fault fault, const char *contract_fields);

#endif
