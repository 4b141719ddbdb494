/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of files that answer for each other: the same name under several versions, up and down, copies. */
#include "harness/tune/audit/audit.h"

#include "base/text.h"
#include "harness/tune/device.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files by place and name ---- */

/* Newest version first, as a loader looks at them. */
static int by_name(const void *a, const void *b, void *ctx) {
    const mp_audit *audit = ctx;
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    const mp_audit_file *f = &audit->file[x], *g = &audit->file[y];
    int order = strcmp(f->place, g->place);
    if (order == 0) order = strcmp(f->table.file, g->table.file);
    if (order == 0 && f->version && g->version) order = -mp_triton_version_compare(f->version, g->version);
    return order ? order : x < y ? -1 : 1;
}

typedef struct tree {
    mp_audit *audit;
    const mp_audit_options *options;
    size_t *sorted, count; /* files by place, name and version */
} tree;

static const mp_audit_file *at(const tree *t, size_t i) {
    return &t->audit->file[t->sorted[i]];
}

/* The first of `name` in that place, and how many there are. */
static size_t find(const tree *t, const char *place, const char *name, size_t *count) {
    size_t low = 0, high = t->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        int order = strcmp(at(t, middle)->place, place);
        if (order == 0) order = strcmp(at(t, middle)->table.file, name);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *count = 0;
    while (low + *count < t->count && strcmp(at(t, low + *count)->place, place) == 0 &&
           strcmp(at(t, low + *count)->table.file, name) == 0)
        ++*count;
    return low;
}

/* ---- versions ---- */

static void audit_versions(tree *t, size_t first, size_t count) {
    bool differ = false;
    mp_text others = {0};
    if (count < 2 || !at(t, first)->version) return;
    for (size_t i = 1; i < count; i++) {
        differ = differ || !json_equal(at(t, first)->table.root, at(t, first + i)->table.root);
        mp_text_add(&others, "%s%s", i == 1 ? "" : ", ", at(t, first + i)->folder);
    }
    mp_audit_add_at(t->audit, differ ? MP_RULE_SHADOWED : MP_RULE_SHADOWED_COPY, t->sorted[first], 1, 0, NULL,
                    mp_text_get(&others), "the same name is in %s too, with %s contents",
                    mp_text_get(&others), differ ? "other" : "the same");
    mp_text_free(&others);
}

static void audit_other_triton(tree *t, size_t first, size_t count) {
    const char *running = t->options->triton;
    if (!running || !at(t, first)->version) return;
    for (size_t i = 0; i < count; i++)
        if (mp_triton_version_equal(at(t, first + i)->version, running)) return;
    mp_audit_add_at(t->audit, MP_RULE_OTHER_TRITON, t->sorted[first], 1, 0, NULL, running,
                    "in %s, and not in the folder of Triton %s, which falls back to it", at(t, first)->folder,
                    running);
}

/* ---- up and down ---- */

/* A file of the same place with another name: of the same version, else the newest; count 0: none. */
static const mp_audit_file *partner(const tree *t, const mp_audit_file *of, const char *name) {
    size_t count;
    const size_t first = find(t, of->place, name, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(at(t, first + i)->folder, of->folder) == 0) return at(t, first + i);
    return count ? at(t, first) : NULL;
}

/* Whether there is such a file beside one that was named alone. */
static bool beside(const mp_audit_file *f, const char *name) {
    char *path = NULL;
    const int folder = (int)(strlen(f->table.path) - strlen(f->table.file));
    const bool there = asprintf(&path, "%.*s%s", folder, f->table.path, name) >= 0 && access(path, F_OK) == 0;
    free(path);
    return f->lies == MP_LIES_ANYWHERE && there;
}

static void partner_name(const mp_audit_file *f, char name[2 * MP_TUNED_NAME_SIZE]) {
    const int stem = (int)strlen(f->table.file) - (f->table.name.down ? 10 : 5); /* _down.json, .json */
    snprintf(name, 2 * MP_TUNED_NAME_SIZE, "%.*s%s.json", stem, f->table.file,
             f->table.name.down ? "" : "_down");
}

static void audit_pair(tree *t, size_t down, const mp_audit_file *up) {
    const mp_table *a = &up->table, *b = &t->audit->file[down].table;
    mp_text missing = {0}, more = {0};
    for (size_t i = 0; i < b->count; i++) {
        const mp_table_row *row = &b->row[i], *with = mp_table_nearest(a, row->M);
        if (!row->is_number || !with) continue;
        const long long m = mp_table_number(row, "BLOCK_SIZE_M", 0),
                        n = mp_table_number(with, "BLOCK_SIZE_M", 0);
        if (with->M != row->M) mp_text_add(&more, "%s%s", more.length ? ", " : "", row->key);
        char what[48];
        snprintf(what, sizeof what, "%lld %lld", m, n);
        if (m != n)
            mp_audit_add(t->audit, MP_RULE_DOWN_BLOCK_M, down, row, "BLOCK_SIZE_M", what,
                         "BLOCK_SIZE_M=%lld, and up's key %lld has %lld, which runs", m, (long long)with->M,
                         n);
    }
    for (size_t i = 0; i < a->count; i++) {
        const mp_table_row *row = &a->row[i], *with = mp_table_nearest(b, row->M);
        if (row->is_number && with && with->M != row->M)
            mp_text_add(&missing, "%s%s", missing.length ? ", " : "", row->key);
    }
    if (missing.length || more.length)
        mp_audit_add_at(t->audit, MP_RULE_DOWN_KEYS, down, 1, 0, NULL, "", "%s%s%s%s%s",
                        missing.length ? "without the keys of up " : "", mp_text_get(&missing),
                        missing.length && more.length ? "; " : "",
                        more.length ? "with keys that up has not: " : "", mp_text_get(&more));
    mp_text_free(&missing);
    mp_text_free(&more);
}

static bool any_tma(const mp_table *t, const mp_table_row **first) {
    *first = NULL;
    for (size_t i = 0; i < t->count && !*first; i++)
        if (mp_table_true(&t->row[i], "USE_TMA")) *first = &t->row[i];
    return *first;
}

static void audit_tma(tree *t, size_t file, bool has_down) {
    const mp_audit_file *f = &t->audit->file[file];
    const mp_device_facts device = mp_device_by_name(f->table.name.device);
    const mp_table_row *row;
    if (!any_tma(&f->table, &row)) return;
    if (device.vendor != MP_VENDOR_UNKNOWN && !device.tma && (device.arch || device.vendor != MP_NVIDIA))
        mp_audit_add(t->audit, MP_RULE_TMA_NO_HARDWARE, file, row, "USE_TMA", "",
                     "USE_TMA, and %s has no tensor memory accelerator", f->table.name.device);
    if (f->table.name.down) return;
    mp_audit_add(t->audit, MP_RULE_TMA_ON_UP, file, row, "USE_TMA", "", "USE_TMA for gate_up");
    if (!has_down)
        mp_audit_add(t->audit, MP_RULE_TMA_SERVES_DOWN, file, row, "USE_TMA", "",
                     "USE_TMA, and no _down file: down takes these entries as well");
}

static void audit_partners(tree *t, size_t file) {
    const mp_audit_file *f = &t->audit->file[file];
    char name[2 * MP_TUNED_NAME_SIZE];
    if (!f->table.named || strlen(f->table.file) >= MP_TUNED_NAME_SIZE || !(f->readers & MP_READ_BY_SGLANG))
        return;
    partner_name(f, name);
    const mp_audit_file *other = partner(t, f, name);
    const bool has_partner = other || beside(f, name);
    audit_tma(t, file, has_partner);
    if (f->table.name.down && !has_partner)
        mp_audit_add_at(t->audit, MP_RULE_DOWN_WITHOUT_UP, file, 1, 0, NULL, "",
                        "there is no %s: gate_up takes the defaults", name);
    if (f->table.name.down && other && strcmp(other->folder, f->folder) == 0) audit_pair(t, file, other);
    if (other && f->version && strcmp(other->folder, f->folder) != 0)
        mp_audit_add_at(t->audit, MP_RULE_DOWN_ELSEWHERE, file, 1, 0, NULL, other->folder,
                        "the file of %s is in %s", f->table.name.down ? "gate_up" : "down", other->folder);
}

/* ---- copies ---- */

typedef struct digest {
    uint64_t hash;
    size_t file;
} digest;

static int by_hash(const void *a, const void *b) {
    const digest *x = a, *y = b;
    return x->hash != y->hash ? (x->hash < y->hash ? -1 : 1) : x->file < y->file ? -1 : x->file > y->file;
}

/* FNV-1a of the rows: equal tables have equal ones, and json_equal decides. */
static uint64_t hash_of(const mp_table *t) {
    uint64_t hash = UINT64_C(14695981039346656037);
    char *text = json_dumps(t->root, JSON_COMPACT | JSON_SORT_KEYS);
    for (const char *c = text ? text : ""; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    free(text);
    return hash;
}

/* Of a table under several names each but the first says where it is from. Small ones are equal by chance. */
static void audit_copies(tree *t) {
    enum { FEWEST = 4 };
    mp_audit *audit = t->audit;
    digest *digests = calloc(audit->file_count + 1, sizeof *digests);
    size_t n = 0;
    if (!digests) {
        audit->lost = true;
        return;
    }
    for (size_t i = 0; i < audit->file_count; i++)
        if (!audit->file[i].is_folder && audit->file[i].table.count >= FEWEST)
            digests[n++] = (digest){hash_of(&audit->file[i].table), i};
    qsort(digests, n, sizeof *digests, by_hash);
    for (size_t i = 1, first = 0; i < n; i++) {
        if (digests[i].hash != digests[first].hash) first = i;
        if (first == i) continue;
        const mp_audit_file *f = &audit->file[digests[i].file], *g = &audit->file[digests[first].file];
        if (strcmp(f->table.file, g->table.file) == 0 || !json_equal(f->table.root, g->table.root)) continue;
        mp_audit_add_at(audit, MP_RULE_FILE_COPIED, digests[i].file, 1, 0, NULL, g->table.file,
                        "the same table as %s%s%s", g->version ? g->folder : "", g->version ? "/" : "",
                        g->table.file);
    }
    free(digests);
}

/* ---- all of it ---- */

void mp_audit_tree(mp_audit *audit, const mp_audit_options *options) {
    tree t = {.audit = audit, .options = options};
    t.sorted = calloc(audit->file_count + 1, sizeof *t.sorted);
    if (!t.sorted) {
        audit->lost = true;
        return;
    }
    for (size_t i = 0; i < audit->file_count; i++)
        if (!audit->file[i].is_folder && !audit->file[i].table.broken) t.sorted[t.count++] = i;
    qsort_r(t.sorted, t.count, sizeof *t.sorted, by_name, audit);
    for (size_t i = 0, same; i < t.count; i += same) {
        find(&t, at(&t, i)->place, at(&t, i)->table.file, &same);
        audit_versions(&t, i, same);
        audit_other_triton(&t, i, same);
        for (size_t k = 0; k < same; k++) audit_partners(&t, t.sorted[i + k]);
    }
    audit_copies(&t);
    free(t.sorted);
}
