/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of a device and graphs of what was begun on one: what a subject needs to be run as engines run
 * kernels, replayed from a graph and beside others. */
#ifndef MOEPARITY_STREAMS_H
#define MOEPARITY_STREAMS_H

#include "moeparity/status.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MP_HOLD_SECONDS 0.2

/* A stream and a graph are opaque: CUstream and CUgraphExec on a GPU. */
typedef struct mp_streams {
    void *self;
    /* A stream that waits for no other one, the default one included. */
    mp_status (*open)(void *self, void **stream, mp_error *err);
    void (*close)(void *self, void *stream); /* takes NULL; whatever is recorded on it is given up */
    /* Waits until the device has done all that was begun, on every stream: what was written before is there
     * for what begins later. */
    mp_status (*wait)(void *self, mp_error *err);
    /* What is begun on both streams from now on waits until `release`, and then begins together: so it
     * overlaps, however quick it is. It waits MP_HOLD_SECONDS at most: nobody hangs who waits for it. */
    mp_status (*hold)(void *self, void *const stream[2], mp_error *err);
    bool (*release)(void *self); /* false: it had not waited so long */
    /* From now on what is begun on the stream is recorded, and not executed. Until the end of it nothing may
     * be waited for, allocated or copied to or from the host. */
    mp_status (*record)(void *self, void *stream, mp_error *err);
    /* Ends the recording, after a failure too. *graph is what was recorded, ready to be launched; NULL on
     * error: the device refused what was begun, or nothing was recorded. */
    mp_status (*recorded)(void *self, void *stream, void **graph, mp_error *err);
    /* Begins all that was recorded, with the addresses and values that it had then. */
    mp_status (*launch)(void *self, void *graph, void *stream, mp_error *err);
    void (*discard)(void *self, void *graph); /* takes NULL */
} mp_streams;

#ifdef __cplusplus
}
#endif

#endif
