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

typedef struct mp_space {
    const char *name; /* of its buffers in messages: "device buffer"; "" on the host */
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
    /* *intact, or the first changed byte of a zone relative to data (negative: before it; >= bytes: behind
     * it). Like digest it sees, as read does, what all work begun before has left. */
    mp_status (*guards)(void *self, const void *data, size_t bytes, bool *intact, int64_t *offset,
                        mp_error *err);
    /* Equal for equal bytes, and likely for no others; compared only with digests of the same space. */
    mp_status (*digest)(void *self, const void *data, size_t bytes, uint64_t *digest, mp_error *err);
} mp_space;

/* The host's memory: buffers begin at multiples of 64 bytes. */
extern const mp_space mp_host_space;

/* The pattern from its first byte on; a rest of less than four bytes gets its first bytes. */
void mp_fill_pattern(void *to, size_t bytes, uint32_t pattern);
/* Offset of the first byte of a zone that is not the guard pattern's, or -1. */
int64_t mp_guard_first_changed(const void *zone);

#ifdef __cplusplus
}
#endif

#endif
