/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/audit.h"

#include "base/printable.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Texts of strangers, safe to print. */
static void put(FILE *out, const char *text) {
    char line[4096 + 512];
    mp_text_printable(text, line, sizeof line);
    fputs(line, out);
}

static const char *reason_of(const mp_finding *f) {
    return f->reason ? f->reason : "";
}

/* By severity and rule, and what is said alike behind each other: a group is one line. */
static int by_group(const void *a, const void *b) {
    const mp_finding *x = *(const mp_finding *const *)a, *y = *(const mp_finding *const *)b;
    if (mp_rules[x->rule].severity != mp_rules[y->rule].severity)
        return (int)mp_rules[x->rule].severity - (int)mp_rules[y->rule].severity;
    if (x->rule != y->rule) return x->rule < y->rule ? -1 : 1;
    const int order = strcmp(reason_of(x), reason_of(y));
    return order ? order : x->line != y->line ? x->line - y->line : x < y ? -1 : 1;
}

static bool same_group(const mp_finding *x, const mp_finding *y) {
    return x->rule == y->rule && strcmp(reason_of(x), reason_of(y)) == 0;
}

static void put_group(FILE *out, const mp_audit *audit, const mp_finding **group, size_t count) {
    enum { MOST_KEYS = 24 };
    const mp_finding *f = group[0];
    const mp_rule_row *rule = &mp_rules[f->rule];
    put(out, audit->file[f->file].table.path);
    if (f->line) fprintf(out, ":%d", f->line);
    fprintf(out, ": %s %s: ", mp_severity_name(rule->severity), rule->id);
    if (f->key) {
        fprintf(out, "key%s ", count > 1 ? "s" : "");
        for (size_t i = 0; i < count && i < MOST_KEYS; i++) {
            fputs(i ? ", " : "", out);
            put(out, group[i]->key ? group[i]->key : "");
        }
        if (count > MOST_KEYS) fprintf(out, " and %zu more", count - MOST_KEYS);
        fputs(": ", out);
    }
    put(out, reason_of(f));
    fputc('\n', out);
}

void mp_report_audit_text(FILE *out, const mp_audit *audit, mp_severity most) {
    const mp_finding **sorted = calloc(audit->finding_count + 1, sizeof *sorted);
    if (!sorted) return;
    for (size_t i = 0, end; i < audit->finding_count; i = end) {
        size_t n = 0;
        for (end = i; end < audit->finding_count && audit->finding[end].file == audit->finding[i].file;
             end++) {
            const mp_finding *f = &audit->finding[end];
            if (!f->known && mp_rules[f->rule].severity <= most) sorted[n++] = f;
        }
        qsort(sorted, n, sizeof *sorted, by_group);
        for (size_t first = 0, last; first < n; first = last) {
            for (last = first + 1; last < n && same_group(sorted[first], sorted[last]); last++) {}
            put_group(out, audit, sorted + first, last - first);
        }
    }
    free(sorted);
}

void mp_report_audit_summary(FILE *out, const mp_audit *audit, size_t gone, double seconds) {
    size_t count[MP_RULE_COUNT] = {0}, files[MP_RULE_COUNT] = {0}, last[MP_RULE_COUNT], known = 0;
    for (int r = 0; r < MP_RULE_COUNT; r++) last[r] = SIZE_MAX;
    for (size_t i = 0; i < audit->finding_count; i++) {
        const mp_finding *f = &audit->finding[i];
        count[f->rule]++;
        if (last[f->rule] != f->file) files[f->rule]++;
        last[f->rule] = f->file;
        known += f->known;
    }
    for (int severity = MP_SEVERITY_ERROR; severity <= MP_SEVERITY_NOTE; severity++)
        for (int r = 0; r < MP_RULE_COUNT; r++)
            if (count[r] && (int)mp_rules[r].severity == severity)
                fprintf(out, "%-7s %-24s %6zu in %zu file%s: %s\n", mp_severity_name(mp_rules[r].severity),
                        mp_rules[r].id, count[r], files[r], files[r] == 1 ? "" : "s", mp_rules[r].summary);
    fprintf(out, "%zu file%s, %zu key%s: %zu error%s, %zu warning%s, %zu note%s", audit->table_count,
            audit->table_count == 1 ? "" : "s", audit->entry_count, audit->entry_count == 1 ? "" : "s",
            audit->fresh[MP_SEVERITY_ERROR], audit->fresh[MP_SEVERITY_ERROR] == 1 ? "" : "s",
            audit->fresh[MP_SEVERITY_WARNING], audit->fresh[MP_SEVERITY_WARNING] == 1 ? "" : "s",
            audit->fresh[MP_SEVERITY_NOTE], audit->fresh[MP_SEVERITY_NOTE] == 1 ? "" : "s");
    if (known) fprintf(out, "; %zu more that the baseline knows", known);
    if (gone) fprintf(out, "; %zu of the baseline are there no more", gone);
    fprintf(out, " (%.2f s)\n", seconds);
}

void mp_report_audit_rules(FILE *out) {
    for (int r = 0; r < MP_RULE_COUNT; r++)
        fprintf(out, "%-7s %-24s %s\n        %s\n", mp_severity_name(mp_rules[r].severity), mp_rules[r].id,
                mp_rules[r].summary, mp_rules[r].help);
}
