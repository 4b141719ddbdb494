/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at buffers where they lie: guard zones and digests, all of a run in one launch. Where nothing can
 * be compiled the bytes come to the host. */
#define XXH_INLINE_ALL
#include "kernels/device/params.h"
#include "kernels/handle.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { THREADS = 256, WARP = 32, BLOCKS_EACH = 8 /* of a multiprocessor */ };

static CUdeviceptr address(const void *data) {
    return (CUdeviceptr)(uintptr_t)data;
}

static int64_t blocks_of(const mp_cuda *cuda) {
    return BLOCKS_EACH * (int64_t)cuda->multiprocessors;
}

/* Scratch memory in few sizes, which the pool has again. */
static mp_status take_scratch(mp_cuda *cuda, size_t bytes, CUdeviceptr *scratch, mp_error *err) {
    const size_t step = 1 << 16;
    return mp_pool_take(cuda, (bytes + step - 1) / step * step, scratch, err);
}

/* ---- by copies to the host ---- */

static mp_status host_digest(mp_cuda *cuda, mp_region *r, mp_error *err) {
    enum { PIECE = 16 << 20 };
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    XXH3_state_t state; /* on the stack: its header promises the alignment */
    char *piece = malloc(PIECE);
    if (!piece) return mp_fail(err, MP_EMEMORY, "no memory for a digest");
    XXH3_64bits_reset(&state);
    for (size_t i = 0; i < r->digested; i += PIECE) {
        const size_t count = r->digested - i < PIECE ? r->digested - i : PIECE;
        MP_CU(cuMemcpyDtoH_v2(piece, address(r->data) + i, count));
        XXH3_64bits_update(&state, piece, count);
    }
    r->digest = XXH3_64bits_digest(&state);
out:
    free(piece);
    return status;
}

static mp_status host_survey(mp_cuda *cuda, mp_region *r, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    char front[MP_GUARD_BYTES], back[MP_GUARD_BYTES];
    MP_CU(cuMemcpyDtoH_v2(front, address(r->data) - MP_GUARD_BYTES, sizeof front));
    MP_CU(cuMemcpyDtoH_v2(back, address(r->data) + r->bytes, sizeof back));
    const int64_t before = mp_guard_first_changed(front), behind = mp_guard_first_changed(back);
    r->intact = before < 0 && behind < 0;
    r->offset = before >= 0 ? before - MP_GUARD_BYTES : (int64_t)r->bytes + behind;
    if (r->digested) MP_DO(host_digest(cuda, r, err));
out:
    return status;
}

/* ---- on the device ---- */

/* Parts of the work on a region: its zones, and warps that have something of the digest. */
static unsigned long long parts_of(const mp_cuda *cuda, const mp_region *r) {
    const unsigned long long wanted = ((r->digested + 15) / 16 + WARP - 1) / WARP,
                             there = (unsigned long long)blocks_of(cuda) * THREADS / WARP;
    return 2 + (wanted < there ? wanted : there);
}

static mp_status take_findings(const mp_cuda *cuda, const mp_survey_region *found, mp_region *r,
                               mp_error *err) {
    const unsigned long long parts = parts_of(cuda, r);
    if (found->looked_at != parts)
        return mp_fail(err, MP_EDEVICE, "the device looked at %llu of %llu parts of a buffer of %zu bytes",
                       found->looked_at, parts, r->bytes);
    const int64_t first = (int64_t)found->first_changed;
    r->intact = found->first_changed == ~0ull;
    r->offset = first < MP_GUARD_BYTES ? first - MP_GUARD_BYTES : (int64_t)r->bytes + first - MP_GUARD_BYTES;
    r->digest = found->digest;
    return MP_OK;
}

mp_status mp_cuda_survey(void *self, mp_region *regions, int count, mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUfunction function = NULL;
    CUdeviceptr d_table = 0;
    const mp_kernel kernel = mp_kernel_survey("survey");
    const size_t bytes = (size_t)count * sizeof(mp_survey_region);
    mp_survey_region *table = NULL;
    if (!cuda->can_compile)
        for (int i = 0; i < count && status == MP_OK; i++) status = host_survey(cuda, &regions[i], err);
    if (!cuda->can_compile || count == 0) return status;
    if (!(table = malloc(bytes))) return mp_fail(err, MP_EMEMORY, "no memory to look at %d buffers", count);
    for (int i = 0; i < count; i++)
        table[i] = (mp_survey_region){.data = address(regions[i].data),
                                      .bytes = regions[i].bytes,
                                      .digested = regions[i].digested,
                                      .first_changed = ~0ull};
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    MP_DO(take_scratch(cuda, bytes, &d_table, err));
    MP_DO(mp_deliver_copy(cuda, d_table, table, bytes, err));
    mp_survey_params params = {
        .regions = d_table, .count = count, .zone_bytes = MP_GUARD_BYTES, .pattern = MP_GUARD_PATTERN};
    MP_DO(mp_cuda_launch(cuda, NULL, function, blocks_of(cuda), THREADS, 0, &params, err));
    MP_CU(cuMemcpyDtoH_v2(table, d_table, bytes));
    for (int i = 0; i < count; i++) MP_DO(take_findings(cuda, &table[i], &regions[i], err));
out:
    mp_pool_keep(cuda, d_table);
    free(table);
    return status;
}

mp_status mp_cuda_digest_rows(void *self, const mp_rows_region *regions, int count, mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUfunction function = NULL;
    CUdeviceptr d_digests = 0;
    const mp_kernel kernel = mp_kernel_survey("digest_rows");
    uint64_t *digests = NULL;
    size_t all = 0, at = 0;
    for (int i = 0; i < count; i++) all += (size_t)regions[i].rows;
    const size_t bytes = all * sizeof *digests;
    if (all == 0) return MP_OK;
    if (!(digests = malloc(bytes))) return mp_fail(err, MP_EMEMORY, "no memory for %zu digests", all);
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    MP_DO(take_scratch(cuda, bytes, &d_digests, err));
    for (const mp_rows_region *r = regions; r < regions + count; at += (size_t)r++->rows) {
        const int64_t wanted = (r->rows + THREADS / WARP - 1) / (THREADS / WARP),
                      blocks = wanted < blocks_of(cuda) ? wanted : blocks_of(cuda);
        mp_digest_rows_params params = {.data = address(r->data),
                                        .digest = d_digests + at * sizeof *digests,
                                        .rows = r->rows,
                                        .row_bytes = (long long)r->row_bytes};
        if (r->rows > 0) MP_DO(mp_cuda_launch(cuda, NULL, function, blocks, THREADS, 0, &params, err));
    }
    MP_CU(cuMemcpyDtoH_v2(digests, d_digests, bytes));
    at = 0;
    for (const mp_rows_region *r = regions; r < regions + count; at += (size_t)r++->rows)
        memcpy(r->digest, digests + at, (size_t)r->rows * sizeof *digests);
out:
    mp_pool_keep(cuda, d_digests);
    free(digests);
    return status;
}
