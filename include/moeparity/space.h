/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that a subject works in, the host's or a device's: buffers between guard zones, filled with poison.
 */
#ifndef MOEPARITY_SPACE_H
#define MOEPARITY_SPACE_H

#include "moeparity/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MP_POISON_A 0xFFF7FFF7u /* NaN as bf16, fp16, fp32, fp64; negative as int32 */
#define MP_POISON_B 0x7FF97FF9u /* NaN as bf16, fp16, fp32, fp64; far above any index as int32 */
/* What guard zones hold, on the host and on the device. Like the poisons a NaN in every float format and an
 * impossible index, so that a read beyond the end shows in the result; unlike them, so that a stray poison
 * fill shows as a changed guard. Both halves are equal, and a zone's pattern begins at its own first byte. */
#define MP_GUARD_PATTERN 0x7FFB7FFBu
#define MP_GUARD_BYTES 4096 /* on each side; a multiple of every alignment in use */

/* A buffer that is looked at, and what was found. Digests are equal for equal bytes, and likely for no
 * others; they are compared only with digests of the same space. */
typedef struct mp_region {
    const void *data; /* what alloc gave */
    size_t bytes;     /* as many as were asked for */
    size_t digested;  /* the digest is that of so many bytes from data on; 0: nobody asks for one */
    bool intact;      /* no byte of a zone has changed; else the first that has, relative to data: */
    int64_t offset;   /* negative: before it; >= bytes: behind it */
    uint64_t digest;
} mp_region;

/* Packed rows, and where their digests go, on the host: mp_space_row_digest of each. */
typedef struct mp_rows_region {
    const void *data;
    size_t row_bytes;
    int64_t rows;
    uint64_t *digest; /* [rows] */
} mp_rows_region;

/* What is read, and where it goes on the host. */
typedef struct mp_reading {
    void *to;
    const void *from;
    size_t bytes;
} mp_reading;

/* All that is asked of what a run has left. */
typedef struct mp_inspection {
    mp_region *regions;
    const mp_rows_region *rows;
    const mp_reading *readings;
    int region_count, rows_count, reading_count;
} mp_inspection;

typedef struct mp_space {
    const char *name; /* of its buffers in messages: "device buffer"; "" on the host */
    bool keeps;       /* buffers may stay for later runs, while others come and go */
    bool one_digest;  /* that of a region is mp_space_row_digest, too */
    void *self;
    /* A buffer of `bytes` (0 is fine) between two zones of MP_GUARD_BYTES, all of it poisoned. *data is the
     * address in this space, aligned as its subject needs it: nobody else aligns. What alloc and write have
     * put there is there for all work that begins later, on any stream. MP_EMEMORY, or the device's error. */
    mp_status (*alloc)(void *self, size_t bytes, uint32_t poison, void **data, mp_error *err);
    void (*free)(void *self, void *data); /* takes NULL */
    mp_status (*write)(void *self, void *to, const void *from, size_t bytes,
                       mp_error *err); /* from the host */
    /* To the host, what all work begun before has left there. */
    mp_status (*read)(void *self, void *to, const void *from, size_t bytes, mp_error *err);
    /* From one place of the space to another. */
    mp_status (*copy)(void *self, void *to, const void *from, size_t bytes, mp_error *err);
    /* Looks at buffers: whether their zones are as alloc left them, and what their digests are. Like read it
     * sees what all work begun before has left. */
    mp_status (*survey)(void *self, mp_region *regions, int count, mp_error *err);
    /* Digests of the rows of tensors, likewise; NULL: numbers must be read to be compared. */
    mp_status (*digest_rows)(void *self, const mp_rows_region *regions, int count, mp_error *err);
    /* survey, digest_rows and read, of several places, which it may do at once, and wait for once; NULL: they
     * are done one after the other. */
    mp_status (*inspect)(void *self, const mp_inspection *what, mp_error *err);
} mp_space;

/* The host's memory: buffers begin at multiples of 64 bytes. */
extern const mp_space mp_host_space;

/* All of it in that space; rows where it has digests of rows alone. */
mp_status mp_space_inspect(const mp_space *space, const mp_inspection *what, mp_error *err);
/* The pattern from its first byte on; a rest of less than four bytes gets its first bytes. */
void mp_fill_pattern(void *to, size_t bytes, uint32_t pattern);
/* 64-bit digest of a row of bytes, the same in every space that has digests of rows. */
uint64_t mp_space_row_digest(const void *row, size_t bytes);
/* Offset of the first byte of a zone that is not the guard pattern's, or -1. */
int64_t mp_guard_first_changed(const void *zone);

#ifdef __cplusplus
}
#endif

#endif
