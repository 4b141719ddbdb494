/* SPDX-License-Identifier: Apache-2.0 */
/* Messages over a pair of pipes: a length of 4 bytes, little-endian, and so many bytes of JSON text.
 * docs/protocol.md tells what they say. */
#ifndef MP_HARNESS_FRAME_H
#define MP_HARNESS_FRAME_H

#include "moeparity/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define MP_FRAME_BYTES_MAX (256u << 20) /* of one message; a longer one is a peer out of step */

typedef struct mp_bytes {
    char *data;
    size_t size, capacity;
    size_t taken; /* so many of `size` are done with */
} mp_bytes;

/* Both directions. The descriptors are the caller's; blocking or not. */
typedef struct mp_channel {
    int in, out;
    mp_bytes received, waiting;
} mp_channel;
void mp_channel_free(mp_channel *channel); /* the buffers; it can be used again with other descriptors */

/* Puts a message behind those that wait, and takes the reference. MP_EINPUT when it is too long; MP_EMEMORY.
 */
mp_status mp_channel_push(mp_channel *channel, json_t *message, mp_error *err);
/* Writes what waits: all of it, or as much as a non-blocking descriptor takes. False when the peer is gone.
 */
bool mp_channel_flush(mp_channel *channel);
bool mp_channel_waiting(const mp_channel *channel);

/* Reads once. False at the end of file, and when reading fails. */
bool mp_channel_receive(mp_channel *channel);
/* The next message that has come as a whole; *message is NULL when there is none. MP_EINPUT for what is no
 * message: the channel is of no use any more. */
mp_status mp_channel_next(mp_channel *channel, json_t **message, mp_error *err);

#endif
