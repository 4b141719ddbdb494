/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/frame.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_BYTES = 4, READ_BYTES = 1 << 16 };

/* Room for `more` bytes behind those that are there; what is done with makes room first. */
static char *bytes_room(mp_bytes *b, size_t more) {
    if (b->taken == b->size) b->taken = b->size = 0;
    if (b->size + more > b->capacity && b->taken > 0) {
        memmove(b->data, b->data + b->taken, b->size - b->taken);
        b->size -= b->taken;
        b->taken = 0;
    }
    if (b->size + more > b->capacity) {
        const size_t capacity = b->size + more > 2 * b->capacity ? b->size + more : 2 * b->capacity;
        char *data = realloc(b->data, capacity);
        if (!data) return NULL;
        b->data = data;
        b->capacity = capacity;
    }
    return b->data + b->size;
}

void mp_channel_free(mp_channel *channel) {
    free(channel->received.data);
    free(channel->waiting.data);
    channel->received = channel->waiting = (mp_bytes){0};
}

mp_status mp_channel_push(mp_channel *channel, json_t *message, mp_error *err) {
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    const size_t length = text ? strlen(text) : 0;
    mp_status status = MP_OK;
    char *room = NULL;
    json_decref(message);
    if (length > MP_FRAME_BYTES_MAX)
        status = mp_fail(err, MP_EINPUT, "a message of %zu bytes to a worker; expected at most %u", length,
                         MP_FRAME_BYTES_MAX);
    else if (!text || !(room = bytes_room(&channel->waiting, HEADER_BYTES + length)))
        status = mp_fail(err, MP_EMEMORY, "no memory for a message of %zu bytes", length);
    if (status == MP_OK) {
        for (int i = 0; i < HEADER_BYTES; i++) room[i] = (char)(length >> 8 * i);
        memcpy(room + HEADER_BYTES, text, length);
        channel->waiting.size += HEADER_BYTES + length;
    }
    free(text);
    return status;
}

bool mp_channel_waiting(const mp_channel *channel) {
    return channel->waiting.taken < channel->waiting.size;
}

bool mp_channel_flush(mp_channel *channel) {
    mp_bytes *b = &channel->waiting;
    while (b->taken < b->size) {
        const ssize_t n = write(channel->out, b->data + b->taken, b->size - b->taken);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return true;
        if (n <= 0) return false;
        b->taken += (size_t)n;
    }
    return true;
}

bool mp_channel_receive(mp_channel *channel) {
    char *room = bytes_room(&channel->received, READ_BYTES);
    if (!room) return false;
    const ssize_t n = read(channel->in, room, READ_BYTES);
    if (n > 0) channel->received.size += (size_t)n;
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

mp_status mp_channel_next(mp_channel *channel, json_t **message, mp_error *err) {
    mp_bytes *b = &channel->received;
    const size_t there = b->size - b->taken;
    size_t length = 0;
    json_error_t why;
    *message = NULL;
    if (there < HEADER_BYTES) return MP_OK;
    for (int i = 0; i < HEADER_BYTES; i++)
        length |= (size_t)(unsigned char)b->data[b->taken + (size_t)i] << 8 * i;
    if (length > MP_FRAME_BYTES_MAX)
        return mp_fail(err, MP_EINPUT, "a message of %zu bytes came; expected at most %u", length,
                       MP_FRAME_BYTES_MAX);
    if (there < HEADER_BYTES + length) return MP_OK;
    *message = json_loadb(b->data + b->taken + HEADER_BYTES, length, 0, &why);
    b->taken += HEADER_BYTES + length;
    return *message ? MP_OK : mp_fail(err, MP_EINPUT, "a message that is no JSON came: %s", why.text);
}
