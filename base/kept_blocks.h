/* SPDX-License-Identifier: Apache-2.0 */
/* Large blocks of host memory that were given back and wait for the next of their size. A case runs several
 * times, each time into buffers of the same sizes, and the system clears each page that it hands out: of
 * 70000 tokens that took a tenth of all the time of the case. Workspaces of GEMMs too, one a thread. */
#ifndef MP_BASE_KEPT_BLOCKS_H
#define MP_BASE_KEPT_BLOCKS_H

#include <stddef.h>

/* Keeps at most so many bytes from now on, 0 at first, and gives the rest back to the system. Of the whole
 * process. */
void mp_blocks_keep(size_t most_bytes);

/* A block, large ones in large pages, small ones aligned to a cache line. It may hold anything. NULL: there
 * is no memory. Any thread may call. */
void *mp_block_take(size_t bytes);
void mp_block_give(void *block); /* NULL: nothing */

#endif
