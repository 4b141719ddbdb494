/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of device memory that are kept. Only sizes that match to the byte are used again: what lies behind a
 * buffer's guard zone is no memory of anybody, as if the driver had given it. */
#include "kernels/handle.h"

#include <stdlib.h>

#define MOST_KEPT ((size_t)8 << 30) /* bytes that nobody uses */

static void give_back(mp_cuda *cuda, size_t i) {
    mp_pool *pool = &cuda->pool;
    cuda->driver->cuMemFree_v2(pool->blocks[i].base);
    pool->bytes -= pool->blocks[i].bytes;
    pool->blocks[i] = pool->blocks[--pool->count];
}

static void give_back_kept(mp_cuda *cuda) {
    for (size_t i = cuda->pool.count; i-- > 0;)
        if (!cuda->pool.blocks[i].used) give_back(cuda, i);
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
    for (size_t i = 0; i < pool->count; i++) {
        mp_block *block = &pool->blocks[i];
        if (block->used || block->bytes != bytes) continue;
        block->used = true;
        pool->kept_bytes -= bytes;
        *base = block->base;
        return MP_OK;
    }
    if (pool->count == pool->room) {
        const size_t room = 2 * pool->room + 64;
        mp_block *more = realloc(pool->blocks, room * sizeof *more);
        if (!more) return mp_fail(err, MP_EMEMORY, "a list of %zu blocks of device memory", room);
        pool->blocks = more;
        pool->room = room;
    }
    mp_status status = allocate(cuda, bytes, base, pool->kept_bytes ? NULL : err);
    if (status == MP_EMEMORY && pool->kept_bytes) {
        give_back_kept(cuda);
        status = allocate(cuda, bytes, base, err);
    }
    if (status != MP_OK) return status;
    pool->blocks[pool->count++] = (mp_block){*base, bytes, true};
    pool->bytes += bytes;
    return MP_OK;
}

void mp_pool_keep(mp_cuda *cuda, CUdeviceptr base) {
    mp_pool *pool = &cuda->pool;
    size_t i = 0;
    while (i < pool->count && pool->blocks[i].base != base) i++;
    if (i == pool->count) return;
    mp_deliver_nothing(cuda, base, pool->blocks[i].bytes);
    if (cuda->shared || pool->kept_bytes + pool->blocks[i].bytes > MOST_KEPT) {
        give_back(cuda, i); /* another process may have it open; or others want memory too */
        return;
    }
    pool->blocks[i].used = false;
    pool->kept_bytes += pool->blocks[i].bytes;
}

void mp_pool_close(mp_cuda *cuda) {
    while (cuda->pool.count > 0) give_back(cuda, cuda->pool.count - 1);
    free(cuda->pool.blocks);
}
