/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs in a subject's space: what many runs read is brought there once, and stays for later runs, weights
 * for later cases too. A copy is known by the digest of its content; it is trusted only while every run since
 * has left it, and its guard zones, as they were, and is written anew otherwise. */
#ifndef MP_HARNESS_COPIES_H
#define MP_HARNESS_COPIES_H

#include "cases/graph_tables.h"
#include "moeparity/space.h"

typedef struct mp_copies mp_copies;

/* What a copy is of: digest of the packed tensor (mp_inputs_sealed), its format, and where in the buffer its
 * elements lie. */
typedef struct mp_copy_key {
    mp_tensor_id id;
    mp_dtype dtype;
    uint64_t content;
    mp_placement place;
} mp_copy_key;

typedef struct mp_copy {
    mp_copy_key key;
    void *data;      /* a buffer of key.place.bytes */
    uint64_t digest; /* the space's own, of all of it */
    bool sure;       /* it holds what it should; false in a new one, and while it is in a subject's hands */
    int users;
} mp_copy;

/* Of the tensor t, `id` of the case, with that content. */
mp_copy_key mp_copy_key_of(const mp_case *c, mp_tensor_id id, const mp_tensor *t, uint64_t content);

/* NULL where there is no memory; in a space that keeps no buffers there are none. */
mp_copies *mp_copies_open(const mp_space *space);
void mp_copies_close(mp_copies *copies); /* takes NULL */

/* Whether inputs of a subject in this space are taken from them; takes NULL. */
bool mp_copies_serve(const mp_copies *copies, const mp_space *space);
/* The copy that is there, if it holds what it should; or NULL. */
const mp_copy *mp_copies_find(const mp_copies *copies, const mp_copy_key *key);
/* The copy that is there, or a new buffer that the caller writes. To be left as often as it was taken. */
mp_status mp_copies_take(mp_copies *copies, const mp_copy_key *key, mp_copy **copy, mp_error *err);
void mp_copies_leave(mp_copies *copies, mp_copy *copy); /* one that nobody is sure of is given up */
bool mp_copy_is(const mp_copy *copy, const mp_copy_key *key);

size_t mp_copies_bytes(const mp_copies *copies); /* of all copies; takes NULL */
/* From now on so many bytes of copies that nobody has taken are kept, 20 GiB before it is called. Takes
 * NULL. */
void mp_copies_keep(mp_copies *copies, size_t bytes);
/* Gives up the copies that nobody has taken: whether there were any. Takes NULL. */
bool mp_copies_make_room(mp_copies *copies);

#endif
