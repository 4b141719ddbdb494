/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of device memory that are kept. Only sizes that match to the byte are used again: what lies behind a
 * buffer's guard zone is no memory of anybody, as if the driver had given it. A long run has thousands of
 * sizes, so those that are kept are found by theirs. */
#include "kernels/handle.h"

#include <stdlib.h>

#define MOST_KEPT ((size_t)8 << 30) /* bytes that nobody uses */

static mp_block **list_of(mp_pool *pool, size_t bytes) {
    return &pool->kept[(bytes * UINT64_C(0x9E3779B97F4A7C15)) >> 32 & (MP_POOL_LISTS - 1)];
}

static void put(mp_block **list, mp_block *block) {
    block->next = *list;
    *list = block;
}

static mp_block *remove_first(mp_block **at) {
    mp_block *block = *at;
    *at = block->next;
    return block;
}

static void give_back(mp_cuda *cuda, mp_block *block) {
    cuda->driver->cuMemFree_v2(block->base);
    cuda->pool.bytes -= block->bytes;
    cuda->pool.count--;
    free(block);
}

static void give_back_list(mp_cuda *cuda, mp_block **list) {
    while (*list) give_back(cuda, remove_first(list));
}

static void give_back_kept(mp_cuda *cuda) {
    for (int i = 0; i < MP_POOL_LISTS; i++) give_back_list(cuda, &cuda->pool.kept[i]);
    cuda->pool.kept_bytes = 0;
}

static mp_status allocate(mp_cuda *cuda, size_t bytes, CUdeviceptr *base, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    MP_CU(cuMemAlloc_v2(base, bytes));
out:
    return status;
}

mp_status mp_pool_take(mp_cuda *cuda, size_t bytes, CUdeviceptr *base, mp_error *err) {
    mp_pool *pool = &cuda->pool;
    mp_block **at = list_of(pool, bytes), *block;
    while (*at && (*at)->bytes != bytes) at = &(*at)->next;
    if (*at) {
        block = remove_first(at);
        pool->kept_bytes -= bytes;
    } else {
        if (!(block = malloc(sizeof *block)))
            return mp_fail(err, MP_EMEMORY, "no memory to note a block of device memory");
        mp_status status = allocate(cuda, bytes, &block->base, pool->kept_bytes ? NULL : err);
        if (status == MP_EMEMORY && pool->kept_bytes) {
            give_back_kept(cuda);
            status = allocate(cuda, bytes, &block->base, err);
        }
        if (status != MP_OK) {
            free(block);
            return status;
        }
        block->bytes = bytes;
        pool->bytes += bytes;
        pool->count++;
    }
    put(&pool->used, block);
    *base = block->base;
    return MP_OK;
}

void mp_pool_keep(mp_cuda *cuda, CUdeviceptr base) {
    mp_pool *pool = &cuda->pool;
    mp_block **at = &pool->used;
    while (*at && (*at)->base != base) at = &(*at)->next;
    if (!*at) return;
    mp_block *block = remove_first(at);
    mp_deliver_nothing(cuda, base, block->bytes);
    if (cuda->shared || pool->kept_bytes + block->bytes > MOST_KEPT) {
        give_back(cuda, block); /* another process may have it open; or others want memory too */
        return;
    }
    pool->kept_bytes += block->bytes;
    put(list_of(pool, block->bytes), block);
}

void mp_pool_close(mp_cuda *cuda) {
    give_back_kept(cuda);
    give_back_list(cuda, &cuda->pool.used);
}
