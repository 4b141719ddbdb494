/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/deferred.h"

#include "base/maker.h"
#include "cases/fill.h"

#include <stdlib.h>
#include <sys/mman.h>

typedef struct deferred {
    mp_maker maker;
    mp_case c;
    mp_tensor_id id;
    mp_tensor t;
    mp_normal normal;
    bool *made;       /* [dim[0]] */
    uint64_t *digest; /* [dim[0]]: of the matrices that are made */
    char *mapped;
    size_t mapped_bytes;
} deferred;

enum { PAGE = 4096 };
_Static_assert(MP_GUARD_BYTES % PAGE == 0, "data begin on a page");

/* From now on so many bytes from `at` on may be read and written. */
static bool open_pages(const deferred *d, size_t at, size_t bytes) {
    const size_t begin = at / PAGE * PAGE, end = (at + bytes + PAGE - 1) / PAGE * PAGE;
    return mprotect(d->mapped + begin, end - begin, PROT_READ | PROT_WRITE) == 0;
}

static bool is_wanted(const deferred *d, const bool *matrices, int64_t m) {
    return m < d->t.dim[0] && !d->made[m] && (!matrices || matrices[m]);
}

static size_t matrix_bytes(const deferred *d) {
    return mp_tensor_bytes(&d->t) / (size_t)d->t.dim[0];
}

static uint64_t digest_of(const deferred *d, int64_t m) {
    return mp_digest((const char *)d->t.data + (size_t)m * matrix_bytes(d), matrix_bytes(d));
}

static void make(mp_maker *self, const bool *matrices) {
    deferred *d = (deferred *)self;
    const int64_t rows = mp_tensor_rows(&d->t) / d->t.dim[0];
    const size_t bytes = matrix_bytes(d);
    for (int64_t m = 0, end; m < d->t.dim[0]; m = end + 1) {
        for (end = m; is_wanted(d, matrices, end); end++) d->made[end] = true;
        if (end == m) continue;
        /* without its pages a read is what it was before: a fault that stops the program */
        if (!open_pages(d, MP_GUARD_BYTES + (size_t)m * bytes, (size_t)(end - m) * bytes)) return;
        mp_fill_rows(&d->c, d->id, &d->t, m * rows, (end - m) * rows);
#pragma omp parallel for schedule(static)
        for (int64_t i = m; i < end; i++) d->digest[i] = digest_of(d, i);
    }
}

static bool unchanged(const mp_maker *self) {
    const deferred *d = (const deferred *)self;
    int64_t changed = 0;
#pragma omp parallel for schedule(static) reduction(+ : changed)
    for (int64_t m = 0; m < d->t.dim[0]; m++) changed += d->made[m] && digest_of(d, m) != d->digest[m];
    return changed == 0;
}

static void destroy(mp_maker *self) {
    deferred *d = (deferred *)self;
    if (d->mapped) munmap(d->mapped, d->mapped_bytes);
    free(d->made);
    free(d->digest);
    free(d);
}

mp_status mp_defer_tensor(const mp_case *c, mp_tensor_id id, mp_tensor *t, mp_error *err) {
    const size_t bytes = mp_tensor_bytes(t), all = (bytes + 2 * MP_GUARD_BYTES + PAGE - 1) / PAGE * PAGE;
    deferred *d = calloc(1, sizeof *d);
    if (!d) return mp_fail(err, MP_EMEMORY, "no memory for %s that is made later", mp_tensor_name(id));
    *d = (deferred){.maker = {.make = make, .destroy = destroy, .unchanged = unchanged},
                    .c = *c,
                    .id = id,
                    .mapped_bytes = all};
    if (!mp_fills_by_normal(c, id, &d->normal)) {
        destroy(&d->maker);
        return mp_fail(err, MP_EINTERNAL, "%s is not made by counting alone", mp_tensor_name(id));
    }
    d->maker.most = mp_decode_code(t->dtype, d->normal.kind == MP_NORMAL_UNSIGNED
                                                 ? d->normal.largest
                                                 : mp_normal_code_of(&d->normal, MP_CENTRED_MOST));
    void *mapped = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    d->mapped = mapped == MAP_FAILED ? NULL : mapped;
    if (d->mapped) madvise(mapped, all, MADV_HUGEPAGE); /* as base/space.c, for the same reason */
    d->made = calloc((size_t)t->dim[0], sizeof *d->made);
    d->digest = calloc((size_t)t->dim[0], sizeof *d->digest);
    if (!d->mapped || !d->made || !d->digest || !open_pages(d, 0, MP_GUARD_BYTES) ||
        !open_pages(d, MP_GUARD_BYTES + bytes, MP_GUARD_BYTES)) {
        destroy(&d->maker);
        return mp_fail(err, MP_EMEMORY, "no addresses for %zu bytes of %s that are made later", bytes,
                       mp_tensor_name(id));
    }
    mp_fill_pattern(d->mapped, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    mp_fill_pattern(d->mapped + MP_GUARD_BYTES + bytes, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    t->data = d->mapped + MP_GUARD_BYTES;
    d->t = *t;
    t->maker = &d->maker;
    return MP_OK;
}

static const deferred *of(const mp_tensor *t) {
    return t->maker && t->maker->make == make ? (const deferred *)t->maker : NULL;
}

const mp_normal *mp_deferred_normal(const mp_tensor *t) {
    const deferred *d = of(t);
    return d ? &d->normal : NULL;
}

uint64_t mp_deferred_digest(const mp_tensor *t) {
    const mp_normal *n = mp_deferred_normal(t);
    const uint64_t of_format = (uint64_t)t->dtype << 32 | (uint32_t)n->exponent,
                   of_rows = n->kind == MP_NORMAL_UNSIGNED ? mp_mix(n->row_length) + (uint64_t)n->zero : 0;
    return mp_mix(mp_mix(n->key + of_format) + (uint64_t)mp_tensor_count(t) + of_rows) | 1;
}
