/* SPDX-License-Identifier: Apache-2.0 */
/* A space in memory that another process maps too: one file that has no name, which grows. */
#ifndef MP_HARNESS_SHARED_SPACE_H
#define MP_HARNESS_SHARED_SPACE_H

#include "moeparity/space.h"

typedef struct mp_shared_space {
    mp_space space;  /* its `self` is this struct, which must stay where it is */
    int descriptor;  /* of the file; close-on-exec; -1: not open */
    char *mapped;    /* the file from its beginning, at an address that stays */
    size_t reserved; /* addresses at `mapped` */
    size_t bytes;    /* of the file: what the other process must map to see all buffers */
    size_t used;     /* up to the end of the last buffer */
    int buffers;     /* that are not freed: when there is none, the file is begun anew */
} mp_shared_space;

/* MP_EMEMORY where the system gives no such file, or no addresses for it. */
mp_status mp_shared_space_open(mp_shared_space *shared, mp_error *err);
void mp_shared_space_close(mp_shared_space *shared);

/* Where in the file a buffer of this space begins. */
size_t mp_shared_space_offset(const mp_shared_space *shared, const void *data);

#endif
