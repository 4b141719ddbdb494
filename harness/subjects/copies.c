/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/copies.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 64 }; /* copies: those of a few shapes */

struct mp_copies {
    const mp_space *space;
    mp_copy *list[MOST]; /* the one that was left last at the end */
    int count;
    size_t kept_bytes; /* of those that nobody has taken, at most */
};

mp_copies *mp_copies_open(const mp_space *space) {
    mp_copies *copies = calloc(1, sizeof *copies);
    if (copies) *copies = (mp_copies){.space = space, .kept_bytes = (size_t)20 << 30};
    return copies;
}

static void give_up(mp_copies *copies, int i) {
    mp_copy *copy = copies->list[i];
    copies->space->free(copies->space->self, copy->data);
    free(copy);
    copies->count--;
    memmove(&copies->list[i], &copies->list[i + 1], (size_t)(copies->count - i) * sizeof *copies->list);
}

void mp_copies_close(mp_copies *copies) {
    while (copies && copies->count > 0) give_up(copies, copies->count - 1);
    free(copies);
}

bool mp_copies_serve(const mp_copies *copies, const mp_space *space) {
    return copies && copies->space == space && space->keeps;
}

mp_copy_key mp_copy_key_of(const mp_case *c, mp_tensor_id id, const mp_tensor *t, uint64_t content) {
    return (mp_copy_key){id, t->dtype, content, mp_case_placement(c, id, t)};
}

bool mp_copy_is(const mp_copy *copy, const mp_copy_key *key) {
    const mp_placement *a = &copy->key.place, *b = &key->place;
    return copy->key.id == key->id && copy->key.dtype == key->dtype && copy->key.content == key->content &&
           mp_placement_same(a, b);
}

bool mp_copies_make_room(mp_copies *copies) {
    bool any = false;
    for (int i = copies ? copies->count - 1 : -1; i >= 0; i--) {
        if (copies->list[i]->users > 0) continue;
        give_up(copies, i);
        any = true;
    }
    return any;
}

/* The one that has not been used for longest. */
static void give_up_oldest(mp_copies *copies) {
    int i = 0;
    while (i < copies->count && copies->list[i]->users > 0) i++;
    if (i < copies->count) give_up(copies, i);
}

static mp_status add(mp_copies *copies, const mp_copy_key *key, mp_error *err) {
    const mp_space *space = copies->space;
    if (copies->count == MOST) give_up_oldest(copies);
    if (copies->count == MOST) return mp_fail(err, MP_EINTERNAL, "%d copies of weights are in use", MOST);
    mp_copy *copy = calloc(1, sizeof *copy);
    if (!copy) return mp_fail(err, MP_EMEMORY, "no memory for a copy of weights");
    copy->key = *key;
    const size_t bytes = key->place.bytes;
    mp_status status = space->alloc(space->self, bytes, MP_POISON_A, &copy->data, err);
    if (status == MP_EMEMORY && mp_copies_make_room(copies))
        status = space->alloc(space->self, bytes, MP_POISON_A, &copy->data, err);
    if (status != MP_OK) {
        mp_error_prefix(err, "%s%s", space->name, mp_tensor_name(key->id));
        free(copy);
        return status;
    }
    copies->list[copies->count++] = copy;
    return MP_OK;
}

static int place_of(const mp_copies *copies, const mp_copy_key *key) {
    int i = 0;
    while (i < copies->count && !mp_copy_is(copies->list[i], key)) i++;
    return i;
}

const mp_copy *mp_copies_find(const mp_copies *copies, const mp_copy_key *key) {
    const int i = place_of(copies, key);
    return i < copies->count && copies->list[i]->sure ? copies->list[i] : NULL;
}

mp_status mp_copies_take(mp_copies *copies, const mp_copy_key *key, mp_copy **copy, mp_error *err) {
    int i = place_of(copies, key);
    if (i == copies->count) {
        const mp_status status = add(copies, key, err);
        if (status != MP_OK) return status;
        i = copies->count - 1;
    }
    *copy = copies->list[i];
    (*copy)->users++;
    return MP_OK;
}

static size_t bytes_of(const mp_copy *copy) {
    return copy->key.place.bytes + 2 * MP_GUARD_BYTES;
}

static size_t idle_bytes(const mp_copies *copies) {
    size_t bytes = 0;
    for (int i = 0; i < copies->count; i++)
        if (copies->list[i]->users == 0) bytes += bytes_of(copies->list[i]);
    return bytes;
}

void mp_copies_leave(mp_copies *copies, mp_copy *copy) {
    int i = 0;
    while (copies->list[i] != copy) i++;
    if (--copy->users > 0) return;
    if (!copy->sure) {
        give_up(copies, i);
        return;
    }
    memmove(&copies->list[i], &copies->list[i + 1], (size_t)(copies->count - 1 - i) * sizeof *copies->list);
    copies->list[copies->count - 1] = copy;
    while (idle_bytes(copies) > copies->kept_bytes) give_up_oldest(copies);
}

void mp_copies_keep(mp_copies *copies, size_t bytes) {
    if (copies) copies->kept_bytes = bytes;
}

size_t mp_copies_bytes(const mp_copies *copies) {
    size_t bytes = 0;
    for (int i = 0; copies && i < copies->count; i++) bytes += bytes_of(copies->list[i]);
    return bytes;
}
