/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/deferred.h"

#include "base/maker.h"
#include "cases/fill.h"
#include "cases/fill_rows.h"
#include "cases/graph_tables.h"

#include <stdlib.h>
#include <sys/mman.h>

typedef struct deferred {
    mp_maker maker;
    mp_tensor_id id;
    mp_tensor t;
    mp_numbers numbers;
    int64_t *source;   /* [rows]: whose numbers each has; NULL: its own */
    size_t from_bytes; /* what is chosen of it is deferred from so many bytes on */
    bool *made;        /* [units] */
    uint64_t *digest;  /* [units]: of those that are made */
    double most;       /* no number can be larger */
    int64_t matrices;  /* of activations one */
    double *largest;   /* [matrices]: numbers that are, where a device has looked; NULL: none has */
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

static bool is_wanted(const deferred *d, const bool *units, int64_t u) {
    return u < d->maker.units && !d->made[u] && (!units || units[u]);
}

/* The first row of a unit, and of what is behind the last one. */
static int64_t first_row(const deferred *d, int64_t u) {
    const int64_t row = u * d->maker.unit_rows, rows = mp_tensor_rows(&d->t);
    return row < rows ? row : rows;
}

static uint64_t digest_of(const deferred *d, int64_t u) {
    const int64_t first = first_row(d, u);
    return mp_digest(mp_tensor_row(&d->t, first),
                     (size_t)(first_row(d, u + 1) - first) * mp_tensor_row_bytes(&d->t));
}

/* Whether units lie so far apart that the kernel has an account to keep of each. */
static bool are_scattered(const deferred *d, const bool *units) {
    enum { MANY = 4096 }; /* of some 65000 in a process */
    int64_t runs = 0;
    for (int64_t u = 0; u < d->maker.units; u++)
        runs += is_wanted(d, units, u) && (u == 0 || !is_wanted(d, units, u - 1));
    return runs > MANY;
}

static void make(mp_maker *self, const bool *units) {
    deferred *d = (deferred *)self;
    const size_t row_bytes = mp_tensor_row_bytes(&d->t);
    if (units && are_scattered(d, units)) units = NULL;
    for (int64_t u = 0, end; u < d->maker.units; u = end + 1) {
        for (end = u; is_wanted(d, units, end); end++) d->made[end] = true;
        if (end == u) continue;
        const int64_t first = first_row(d, u), count = first_row(d, end) - first;
        /* without its pages a read is what it was before: a fault that stops the program */
        if (!open_pages(d, MP_GUARD_BYTES + (size_t)first * row_bytes, (size_t)count * row_bytes)) return;
        mp_fill_rows(&d->numbers, d->source, &d->t, first, count);
#pragma omp parallel for schedule(static)
        for (int64_t i = u; i < end; i++) d->digest[i] = digest_of(d, i);
    }
}

static bool unchanged(const mp_maker *self) {
    const deferred *d = (const deferred *)self;
    int64_t changed = 0;
#pragma omp parallel for schedule(static) reduction(+ : changed)
    for (int64_t u = 0; u < d->maker.units; u++) changed += d->made[u] && digest_of(d, u) != d->digest[u];
    return changed == 0;
}

static double largest(const mp_maker *self, const bool *matrices) {
    const deferred *d = (const deferred *)self;
    double found = d->largest ? 0 : d->most;
    for (int64_t m = 0; m < d->matrices && d->largest; m++)
        if ((!matrices || matrices[m]) && d->largest[m] > found) found = d->largest[m];
    return found;
}

static void destroy(mp_maker *self) {
    deferred *d = (deferred *)self;
    if (d->mapped) munmap(d->mapped, d->mapped_bytes);
    free(d->source);
    free(d->made);
    free(d->digest);
    free(d->largest);
    free(d);
}

/* A number that none of them is larger than. */
static double most_of(const mp_numbers *n, mp_dtype dtype) {
    const mp_code_format *f = &n->format;
    const mp_row_rule *rule = &n->rule;
    mp_u64 code = f->largest;
    int larger = 0; /* of rows, by powers of two */
    for (int i = 0; i < 4; i++) larger = n->shift[i] > larger ? n->shift[i] : larger;
    if (f->kind != MP_CODES_UNSIGNED && !n->some_special) {
        if (rule->style == MP_STYLE_NORMAL)
            code = mp_code_of(f, mp_number_of(MP_CENTRED_MOST + mp_has_low_bits(f), rule->exponent + larger));
        if (rule->style == MP_STYLE_INT) code = mp_code_of(f, mp_number_of(2, 0));
        if (rule->style == MP_STYLE_WIDE)
            code = mp_code_of(f, mp_number_of(MP_WIDE_MOST, rule->exponent + MP_WIDE_MOST_EXPONENT));
        if (rule->style == MP_STYLE_ONE) code = mp_code_of(f, mp_number_of(1, rule->exponent));
        if (rule->style == MP_STYLE_ZERO) code = 0;
    }
    if (code < f->largest) return mp_decode_code(dtype, code);
    return mp_decode_code(dtype, f->largest) + (f->kind == MP_CODES_SIGNED); /* the least integer */
}

bool mp_can_be_deferred(const mp_case *c, mp_tensor_id id) {
    const bool filters = c->filter > 0 || c->ep_size > 1 || c->routing == MP_PADDED,
               lora = c->scope != MP_SCOPE_ALL && mp_stage_is_lora((mp_stage)(c->scope - 1));
    if (c->data == MP_UNUSED || c->data == MP_FROM_FILE) return false; /* the ids, or nobody, know */
    if (mp_dtype_bits(mp_case_dtype(c, id)) > 32) return false;
    switch (id) {
    case MP_W1:
    case MP_W2:
    case MP_LORA_A1:
    case MP_LORA_B1:
    case MP_LORA_A2:
    case MP_LORA_B2: return true;
    case MP_X:
    case MP_X_CODES:
    case MP_CACHE1:
    case MP_CACHE2:
    case MP_CACHE2_CODES: return !lora;
    case MP_CACHE3: return !lora && !filters; /* rows of filtered slots are zeros */
    default: return false;
    }
}

/* Of activations as many rows as are worth a look at the time. */
static int64_t unit_rows(mp_tensor_id id, const mp_tensor *t) {
    const size_t worth = (size_t)64 << 10, row = mp_tensor_row_bytes(t);
    if (mp_tensors[id].rows == MP_ROWS_WHOLE) return mp_tensor_rows(t) / t->dim[0];
    return row < worth ? (int64_t)(worth / row) : 1;
}

/* `made_of`: numbers, and their source, which is taken over. */
static mp_status defer(deferred made_of, mp_tensor_id id, mp_tensor *t, mp_error *err) {
    const size_t bytes = mp_tensor_bytes(t), all = (bytes + 2 * MP_GUARD_BYTES + PAGE - 1) / PAGE * PAGE;
    const int64_t each = unit_rows(id, t), units = (mp_tensor_rows(t) + each - 1) / each;
    const int style = made_of.numbers.rule.style;
    deferred *d = calloc(1, sizeof *d);
    if (!d) {
        free(made_of.source);
        return mp_fail(err, MP_EMEMORY, "no memory for %s that is made later", mp_tensor_name(id));
    }
    *d = made_of;
    d->id = id;
    d->matrices = mp_tensors[id].rows == MP_ROWS_WHOLE ? t->dim[0] : 1;
    d->maker = (mp_maker){.unit_rows = each,
                          .units = units,
                          .make = make,
                          .destroy = destroy,
                          .unchanged = unchanged,
                          .largest = largest,
                          .integers = style == MP_STYLE_INT || style == MP_STYLE_ONE,
                          .onehot = style == MP_STYLE_ONE};
    d->most = most_of(&d->numbers, t->dtype);
    void *mapped = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    d->mapped = mapped == MAP_FAILED ? NULL : mapped;
    d->mapped_bytes = all;
    if (d->mapped) madvise(mapped, all, MADV_HUGEPAGE); /* as base/large_pages.c, for the same reason */
    d->made = calloc((size_t)units, sizeof *d->made);
    d->digest = calloc((size_t)units, sizeof *d->digest);
    if (!d->mapped || !d->made || !d->digest || !open_pages(d, 0, MP_GUARD_BYTES) ||
        !open_pages(d, MP_GUARD_BYTES + bytes, MP_GUARD_BYTES)) {
        destroy(&d->maker);
        return mp_fail(err, MP_EMEMORY, "no addresses for %zu bytes of %s that are made later", bytes,
                       mp_tensor_name(id));
    }
    mp_fill_pattern(d->mapped, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    mp_fill_pattern(d->mapped + MP_GUARD_BYTES + bytes, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    d->maker.data = t->data = d->mapped + MP_GUARD_BYTES;
    d->t = *t;
    t->maker = &d->maker;
    return MP_OK;
}

mp_status mp_defer_tensor(const mp_case *c, mp_tensor_id id, size_t from_bytes, mp_tensor *t, mp_error *err) {
    if (!mp_can_be_deferred(c, id))
        return mp_fail(err, MP_EINTERNAL, "%s is not made by counting alone", mp_tensor_name(id));
    return defer((deferred){.numbers = mp_numbers_of(c, id), .from_bytes = from_bytes}, id, t, err);
}

static const deferred *of(const mp_tensor *t) {
    return t->maker && t->maker->make == make ? (const deferred *)t->maker : NULL;
}

bool mp_defers_selection(const mp_tensor *from, size_t bytes) {
    const deferred *d = of(from);
    return d && bytes >= d->from_bytes;
}

mp_status mp_defer_selection(const mp_tensor *from, const int64_t *tokens, int64_t each, mp_tensor *t,
                             mp_error *err) {
    const deferred *d = of(from);
    const int64_t rows = mp_tensor_rows(t);
    int64_t *source = malloc((size_t)rows * sizeof *source);
    if (!source) return mp_fail(err, MP_EMEMORY, "no memory to choose %lld rows", (long long)rows);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t row = tokens[r / each] * each + r % each;
        source[r] = d->source ? d->source[row] : row;
    }
    return defer((deferred){.numbers = d->numbers, .source = source, .from_bytes = d->from_bytes}, d->id, t,
                 err);
}

const mp_numbers *mp_deferred_numbers(const mp_tensor *t) {
    const deferred *d = of(t);
    return d ? &d->numbers : NULL;
}

const int64_t *mp_deferred_source(const mp_tensor *t) {
    const deferred *d = of(t);
    return d ? d->source : NULL;
}

bool mp_deferred_lacks_largest(const mp_tensor *t) {
    const deferred *d = of(t);
    return d && !d->largest && !d->source; /* nobody bounds sums of what is chosen */
}

int64_t mp_deferred_matrices(const mp_tensor *t) {
    return of(t)->matrices;
}

static double number_of(const deferred *d, mp_u64 magnitude) {
    return mp_dtype_is_integer(d->t.dtype) ? (double)magnitude : mp_decode_code(d->t.dtype, magnitude);
}

/* Of so many numbers of a matrix, from its first one on, by counting. */
static mp_u64 largest_of_some(const deferred *d, int64_t matrix, int64_t count) {
    const mp_u64 first = (mp_u64)(matrix * (mp_tensor_count(&d->t) / d->matrices));
    const mp_numbers *n = &d->numbers;
    mp_u64 most = 0;
    for (int64_t i = 0; i < count; i++) {
        const mp_u64 here = mp_code_magnitude(&n->format, mp_code_of_element(n, first + (mp_u64)i));
        if (here > most) most = here;
    }
    return most;
}

mp_status mp_deferred_take_largest(const mp_tensor *t, const unsigned *magnitude, mp_error *err) {
    enum { SOME = 64 };
    deferred *d = (deferred *)t->maker;
    const int64_t each = mp_tensor_count(t) / d->matrices, some = each < SOME ? each : SOME;
    double *found = malloc((size_t)d->matrices * sizeof *found);
    mp_status status =
        found ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for %lld numbers", (long long)d->matrices);
    for (int64_t m = 0; m < d->matrices && status == MP_OK; m++) {
        found[m] = number_of(d, magnitude[m]);
        const double least = number_of(d, largest_of_some(d, m, some));
        if (!(found[m] >= least && found[m] <= d->most))
            status = mp_fail(err, MP_EDEVICE,
                             "%.9g was found the largest number of %s[%lld], expected %.9g .. %.9g", found[m],
                             mp_tensor_name(d->id), (long long)m, least, d->most);
    }
    if (status != MP_OK) {
        free(found);
        return status;
    }
    free(d->largest);
    d->largest = found;
    return MP_OK;
}

mp_status mp_deferred_confirm_largest(const mp_tensor *t, mp_error *err) {
    const deferred *d = of(t);
    const int64_t each = mp_tensor_count(t) / d->matrices;
    int64_t wrong = -1;
#pragma omp parallel for schedule(dynamic, 1) reduction(max : wrong)
    for (int64_t m = 0; m < (d->largest ? d->matrices : 0); m++)
        if (number_of(d, largest_of_some(d, m, each)) != d->largest[m]) wrong = m;
    if (wrong < 0) return MP_OK;
    return mp_fail(err, MP_EDEVICE, "the device found %.9g the largest number of %s[%lld], which it is not",
                   d->largest[wrong], mp_tensor_name(d->id), (long long)wrong);
}

uint64_t mp_deferred_digest(const mp_tensor *t) {
    const mp_numbers *n = mp_deferred_numbers(t);
    const int64_t *source = mp_deferred_source(t);
    const uint64_t shape = mp_mix((uint64_t)t->dtype + 1) + (uint64_t)mp_tensor_count(t),
                   rows = source ? mp_digest(source, (size_t)mp_tensor_rows(t) * sizeof *source) : 0;
    return mp_mix((mp_digest(n, sizeof *n) ^ rows) + shape) | 1;
}
