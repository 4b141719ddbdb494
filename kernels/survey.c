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
        MP_CU(cuMemcpyDtoH_v2(piece, mp_address_of(r->data) + i, count));
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
    MP_CU(cuMemcpyDtoH_v2(front, mp_address_of(r->data) - MP_GUARD_BYTES, sizeof front));
    MP_CU(cuMemcpyDtoH_v2(back, mp_address_of(r->data) + r->bytes, sizeof back));
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

/* An inspection under way: what its kernels find lies in scratch memory until all of it comes home. */
typedef struct inspected {
    const mp_inspection *what;
    mp_survey_region *table; /* [region_count], then digests of all rows */
    uint64_t *digests;
    size_t table_bytes, digest_bytes;
    CUdeviceptr scratch;
} inspected;

static mp_status begin_survey(mp_cuda *cuda, const inspected *x, mp_error *err) {
    mp_status status = MP_OK;
    CUfunction function = NULL;
    const mp_kernel kernel = mp_kernel_survey("survey");
    const int count = x->what->region_count;
    if (count == 0) return MP_OK;
    for (int i = 0; i < count; i++)
        x->table[i] = (mp_survey_region){.data = mp_address_of(x->what->regions[i].data),
                                         .bytes = x->what->regions[i].bytes,
                                         .digested = x->what->regions[i].digested,
                                         .first_changed = ~0ull};
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    MP_DO(mp_deliver_copy(cuda, x->scratch, x->table, x->table_bytes, err));
    mp_survey_params params = {
        .regions = x->scratch, .count = count, .zone_bytes = MP_GUARD_BYTES, .pattern = MP_GUARD_PATTERN};
    MP_DO(mp_cuda_launch(cuda, NULL, function, blocks_of(cuda), THREADS, 0, &params, err));
out:
    return status;
}

/* What no kernel should write is another digest each time: rows that nobody has looked at are equal to
 * none. */
static mp_status begin_digests(mp_cuda *cuda, const inspected *x, mp_error *err) {
    mp_status status = MP_OK;
    CUfunction function = NULL;
    const mp_kernel kernel = mp_kernel_survey("digest_rows");
    CUdeviceptr at = x->scratch + x->table_bytes;
    if (x->digest_bytes == 0) return MP_OK;
    MP_DO(mp_cuda_function(cuda, &kernel, &function, err));
    MP_DO(mp_fill_memory(cuda, at, x->digest_bytes, ++cuda->inspections, err));
    for (int i = 0; i < x->what->rows_count; i++) {
        const mp_rows_region *r = &x->what->rows[i];
        const int64_t wanted = (r->rows + THREADS / WARP - 1) / (THREADS / WARP),
                      blocks = wanted < blocks_of(cuda) ? wanted : blocks_of(cuda);
        mp_digest_rows_params params = {.data = mp_address_of(r->data),
                                        .digest = at,
                                        .rows = r->rows,
                                        .row_bytes = (long long)r->row_bytes};
        if (r->rows > 0) MP_DO(mp_cuda_launch(cuda, NULL, function, blocks, THREADS, 0, &params, err));
        at += (size_t)r->rows * sizeof *x->digests;
    }
out:
    return status;
}

static mp_status bring_home(mp_cuda *cuda, const inspected *x, mp_error *err) {
    const mp_inspection *what = x->what;
    mp_reading *readings = malloc(((size_t)what->reading_count + 2) * sizeof *readings);
    int count = 0;
    if (!readings) return mp_fail(err, MP_EMEMORY, "no memory to read %d buffers", what->reading_count);
    if (x->table_bytes)
        readings[count++] = (mp_reading){x->table, (const void *)(uintptr_t)x->scratch, x->table_bytes};
    if (x->digest_bytes)
        readings[count++] =
            (mp_reading){x->digests, (const void *)(uintptr_t)(x->scratch + x->table_bytes), x->digest_bytes};
    for (int i = 0; i < what->reading_count; i++) readings[count++] = what->readings[i];
    const mp_status status = mp_read_all(cuda, readings, count, err);
    free(readings);
    return status;
}

static mp_status inspect(mp_cuda *cuda, const mp_inspection *what, mp_error *err) {
    mp_status status = MP_OK;
    inspected x = {.what = what, .table_bytes = (size_t)what->region_count * sizeof *x.table};
    for (int i = 0; i < what->rows_count; i++)
        x.digest_bytes += (size_t)what->rows[i].rows * sizeof *x.digests;
    const size_t bytes = x.table_bytes + x.digest_bytes;
    if (bytes && !(x.table = malloc(bytes)))
        return mp_fail(err, MP_EMEMORY, "%zu bytes for what is found of buffers", bytes);
    x.digests = (uint64_t *)(x.table + what->region_count);
    if (bytes) MP_DO(take_scratch(cuda, bytes, &x.scratch, err));
    MP_DO(begin_survey(cuda, &x, err));
    MP_DO(begin_digests(cuda, &x, err));
    MP_DO(bring_home(cuda, &x, err));
    for (int i = 0; i < what->region_count; i++)
        MP_DO(take_findings(cuda, &x.table[i], &what->regions[i], err));
    for (int i = 0; i < what->rows_count; i++) {
        const mp_rows_region *r = &what->rows[i];
        memcpy(r->digest, x.digests, (size_t)r->rows * sizeof *r->digest);
        x.digests += r->rows;
    }
out:
    mp_pool_keep(cuda, x.scratch);
    free(x.table);
    return status;
}

mp_status mp_cuda_inspect(void *self, const mp_inspection *what, mp_error *err) {
    mp_cuda *cuda = self;
    mp_status status = MP_OK;
    if (cuda->can_compile) return inspect(cuda, what, err);
    for (int i = 0; i < what->region_count && status == MP_OK; i++)
        status = host_survey(cuda, &what->regions[i], err);
    return status == MP_OK ? mp_read_all(cuda, what->readings, what->reading_count, err) : status;
}

mp_status mp_cuda_survey(void *self, mp_region *regions, int count, mp_error *err) {
    return mp_cuda_inspect(self, &(mp_inspection){.regions = regions, .region_count = count}, err);
}

mp_status mp_cuda_digest_rows(void *self, const mp_rows_region *regions, int count, mp_error *err) {
    return mp_cuda_inspect(self, &(mp_inspection){.rows = regions, .rows_count = count}, err);
}
