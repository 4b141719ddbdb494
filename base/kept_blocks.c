/* SPDX-License-Identifier: Apache-2.0 */
#include "base/kept_blocks.h"

#include "base/large_pages.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h> /* a block that waits is as good as freed */
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

enum { ALIGNMENT = 64, MOST_BLOCKS = 64 };
#define WORTH_KEEPING MP_LARGE_PAGE

typedef struct kept_block {
    void *block;
    size_t bytes; /* that it has room for */
} kept_block;

static struct {
    pthread_mutex_t lock;
    size_t most, bytes;
    kept_block kept[MOST_BLOCKS]; /* the longest kept first */
    int count;
} blocks = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Takes one out; the lock is held. */
static void *take_out(int i) {
    const kept_block found = blocks.kept[i];
    blocks.bytes -= found.bytes;
    blocks.count--;
    memmove(&blocks.kept[i], &blocks.kept[i + 1], (size_t)(blocks.count - i) * sizeof *blocks.kept);
    ASAN_UNPOISON_MEMORY_REGION(found.block, found.bytes);
    return found.block;
}

static void give_back_beyond(size_t most) {
    while (blocks.bytes > most) free(take_out(0));
}

void mp_blocks_keep(size_t most_bytes) {
    pthread_mutex_lock(&blocks.lock);
    blocks.most = most_bytes;
    give_back_beyond(most_bytes);
    pthread_mutex_unlock(&blocks.lock);
}

/* Of this size, up to what alignment added to it. NULL: none. */
static void *take_kept(size_t bytes) {
    void *block = NULL;
    pthread_mutex_lock(&blocks.lock);
    for (int i = 0; i < blocks.count && !block; i++)
        if (blocks.kept[i].bytes >= bytes && blocks.kept[i].bytes - bytes < 3 * MP_LARGE_PAGE)
            block = take_out(i);
    pthread_mutex_unlock(&blocks.lock);
    return block;
}

static void *take_new(size_t bytes) {
    if (bytes >= WORTH_KEEPING) return mp_large_pages_alloc(bytes);
    return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

void *mp_block_take(size_t bytes) {
    void *block = bytes >= WORTH_KEEPING ? take_kept(bytes) : NULL;
    if (!block) block = take_new(bytes);
    if (block) return block;
    pthread_mutex_lock(&blocks.lock); /* what waits makes room */
    give_back_beyond(0);
    pthread_mutex_unlock(&blocks.lock);
    return take_new(bytes);
}

void mp_block_give(void *block) {
    const size_t bytes = block ? malloc_usable_size(block) : 0;
    pthread_mutex_lock(&blocks.lock);
    const bool keeps = bytes >= WORTH_KEEPING && bytes <= blocks.most;
    if (keeps) {
        give_back_beyond(blocks.most - bytes);
        if (blocks.count == MOST_BLOCKS) free(take_out(0));
        ASAN_POISON_MEMORY_REGION(block, bytes);
        blocks.kept[blocks.count++] = (kept_block){block, bytes};
        blocks.bytes += bytes;
    }
    pthread_mutex_unlock(&blocks.lock);
    if (!keeps) free(block);
}
