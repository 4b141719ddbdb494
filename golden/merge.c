/* SPDX-License-Identifier: Apache-2.0 */
/* Several goldens in one. */
#include "golden/files.h"
#include "golden/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mp_provenance mp_common_provenance(const mp_provenance *const *who, size_t count) {
    mp_provenance common = *who[0];
    for (int f = 0; f < MP_PROVENANCE_FIELDS; f++) {
        const mp_provenance_field *field = &mp_provenance_fields[f];
        char *text = (char *)&common + field->offset;
        for (size_t i = 1; i < count; i++)
            if (strcmp(text, (const char *)who[i] + field->offset) != 0)
                snprintf(text, field->size, "%s", MP_SEVERAL);
    }
    return common;
}

/* The first of the files before number `before` that holds the case; `before` where none does. */
static size_t holder_of(const mp_golden_merge *m, const char *name, size_t before) {
    size_t i = 0;
    while (i < before && !mp_golden_find(m->from[i], name)) i++;
    return i;
}

/* Counts the cases, and tells those that are in conflict. */
static mp_status look(mp_golden_merge *m, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < m->count && status == MP_OK; i++) {
        mp_golden *g = m->from[i];
        if (g->fill_version != m->from[0]->fill_version)
            return mp_fail(err, MP_EINPUT,
                           "%s was made with fill version %d, %s with %d: their cases have other inputs",
                           m->from[0]->path, m->from[0]->fill_version, g->path, g->fill_version);
        for (size_t k = 0; k < g->count && status == MP_OK; k++) {
            const mp_golden_entry *entry = &g->entries[k];
            const size_t first = holder_of(m, entry->name, i);
            m->cases += first == i;
            m->shared += first < i;
            if (first == i || mp_golden_find(m->from[first], entry->name)->root == entry->root) continue;
            bool equal = false;
            status = m->compare(m->ctx, m->from[first], g, entry->name, &equal, err);
            m->conflicts += !equal;
        }
    }
    return status;
}

/* What the file says of itself: all makers of its cases agree in it. */
static mp_status maker_of_all(const mp_golden_merge *m, mp_provenance *who, mp_error *err) {
    size_t count = 0;
    const mp_provenance **makers = malloc((m->cases + m->count) * sizeof *makers);
    if (!makers) return mp_fail(err, MP_EMEMORY, "no memory for the makers of %zu cases", m->cases);
    for (size_t i = 0; i < m->count; i++)
        for (size_t k = 0; k < m->from[i]->count; k++)
            if (holder_of(m, m->from[i]->entries[k].name, i) == i)
                makers[count++] = m->from[i]->entries[k].who;
    if (count == 0) makers[count++] = &m->from[0]->who; /* none of them holds a case */
    *who = mp_common_provenance(makers, count);
    free(makers);
    return MP_OK;
}

mp_status mp_golden_merge_files(mp_golden_merge *m, const char *path, mp_error *err) {
    mp_golden *merged = NULL;
    mp_provenance who;
    m->cases = m->shared = m->conflicts = 0;
    mp_status status = look(m, err);
    if (status != MP_OK || m->conflicts > 0) return status;
    if ((status = maker_of_all(m, &who, err)) != MP_OK) return status;
    if ((status = mp_golden_create(path, &who, SIZE_MAX, &merged, err)) != MP_OK) return status;
    status = mp_golden_set_fill_version(merged, m->from[0]->fill_version, err);
    for (size_t i = 0; i < m->count && status == MP_OK; i++)
        for (size_t k = 0; k < m->from[i]->count && status == MP_OK; k++)
            if (holder_of(m, m->from[i]->entries[k].name, i) == i)
                status = mp_golden_copy_case(merged, m->from[i], &m->from[i]->entries[k], err);
    if (status == MP_OK) return mp_golden_commit(merged, err);
    mp_golden_close(merged);
    return status;
}
