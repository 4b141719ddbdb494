/* SPDX-License-Identifier: Apache-2.0 */
/* Findings: how they are made, ordered and counted; and the rules, one behind the other. */
#include "harness/tune/audit/audit.h"

#include "base/text.h"
#include "harness/tune/audit/collect.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- findings ---- */

static void make_fingerprint(const mp_audit *audit, mp_finding *f, const char *what) {
    const mp_audit_file *file = &audit->file[f->file];
    const char *const parts[] = {mp_rules[f->rule].id, file->folder,           file->table.file,
                                 f->key ? f->key : "", f->name ? f->name : "", what};
    mp_text text = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) mp_text_add(&text, "%s\n", parts[i]);
    snprintf(f->fingerprint, sizeof f->fingerprint, "%016llx",
             (unsigned long long)XXH3_64bits(mp_text_get(&text), strlen(mp_text_get(&text))));
    mp_text_free(&text);
}

static void add(mp_audit *audit, mp_finding f, const char *key, const char *name, const char *what,
                const char *format, va_list args) {
    mp_text reason = {0};
    const size_t before = audit->file[f.file].found[f.rule]++;
    if (before >= MP_AUDIT_MOST_FINDINGS) return;
    const size_t n = audit->finding_count;
    mp_finding *longer = audit->finding;
    if ((n & (n - 1)) == 0) longer = realloc(longer, (n ? 2 * n : 1) * sizeof *longer);
    if (!longer) {
        audit->lost = true;
        return;
    }
    audit->finding = longer;
    mp_text_vadd(&reason, format, args);
    if (before + 1 == MP_AUDIT_MOST_FINDINGS) mp_text_add(&reason, "; no more of this rule are listed");
    f.key = key ? strdup(key) : NULL;
    f.name = name ? strdup(name) : NULL;
    f.reason = mp_text_steal(&reason);
    audit->lost = audit->lost || (key && !f.key) || (name && !f.name) || !f.reason;
    make_fingerprint(audit, &f, what);
    audit->finding[audit->finding_count++] = f;
}

void mp_audit_add(mp_audit *audit, mp_rule rule, size_t file, const mp_table_row *row, const char *name,
                  const char *what, const char *format, ...) {
    mp_finding f = {.rule = rule, .file = file};
    va_list args;
    if (row) f.line = mp_table_line(&audit->file[file].table, row, name, &f.column);
    va_start(args, format);
    add(audit, f, row ? row->key : NULL, name, what, format, args);
    va_end(args);
}

void mp_audit_add_at(mp_audit *audit, mp_rule rule, size_t file, int line, int column, const char *key,
                     const char *what, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add(audit, (mp_finding){.rule = rule, .file = file, .line = line, .column = column}, key, NULL, what,
        format, args);
    va_end(args);
}

/* By file, then as they stand in it. */
static int in_order(const void *a, const void *b) {
    const mp_finding *x = a, *y = b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    if (x->line != y->line) return x->line - y->line;
    if (x->column != y->column) return x->column - y->column;
    if (x->rule != y->rule) return x->rule < y->rule ? -1 : 1;
    const int order = strcmp(x->fingerprint, y->fingerprint);
    return order ? order : strcmp(x->reason ? x->reason : "", y->reason ? y->reason : "");
}

/* ---- all of it ---- */

mp_status mp_audit_paths(char *const *paths, size_t count, const mp_audit_options *options, mp_audit *audit,
                         mp_error *err) {
    *audit = (mp_audit){0};
    if (options->triton && !mp_triton_version_valid(options->triton))
        return mp_fail(err, MP_EINPUT, "Triton version '%.40s': expected numbers as in 3.6.0",
                       options->triton);
    const mp_status status = mp_audit_collect(audit, paths, count, err);
    if (status != MP_OK) return status;
    for (size_t i = 0; i < audit->file_count; i++) {
        mp_audit_place(audit, i);
        if (audit->file[i].is_folder) continue;
        audit->table_count++;
        audit->entry_count += audit->file[i].table.count;
        mp_audit_contents(audit, i);
        mp_audit_ladder(audit, i);
        if (!audit->file[i].other_kernel) mp_audit_tiles(audit, i);
    }
    mp_audit_tree(audit, options);
    if (audit->lost) return mp_fail(err, MP_EMEMORY, "no memory for %zu findings", audit->finding_count);
    if (audit->finding_count) qsort(audit->finding, audit->finding_count, sizeof *audit->finding, in_order);
    for (size_t i = 0; i < audit->finding_count; i++) {
        audit->count[mp_rules[audit->finding[i].rule].severity]++;
        audit->fresh[mp_rules[audit->finding[i].rule].severity]++;
    }
    return MP_OK;
}

void mp_audit_file_free(mp_audit_file *file) {
    mp_table_free(&file->table);
    free(file->folder);
    free(file->place);
}

void mp_audit_free(mp_audit *audit) {
    for (size_t i = 0; i < audit->finding_count; i++) {
        free(audit->finding[i].key);
        free(audit->finding[i].name);
        free(audit->finding[i].reason);
    }
    for (size_t i = 0; i < audit->file_count; i++) mp_audit_file_free(&audit->file[i]);
    free(audit->finding);
    free(audit->file);
    *audit = (mp_audit){0};
}
