/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/audit.h"

#include "base/file.h"
#include "base/text.h"
#include "reports/xml.h"

#include <stdlib.h>
#include <string.h>

/* The findings of a file: one behind the other. */
typedef struct span {
    size_t first, count;
    bool fails; /* has a new error */
} span;

static void put_lines(FILE *out, const mp_audit *audit, const span *s) {
    for (size_t i = s->first; i < s->first + s->count; i++) {
        const mp_finding *f = &audit->finding[i];
        mp_text line = {0};
        mp_text_add(&line, "%s:%d: %s %s: %s%s%s%s%s\n", audit->file[f->file].table.path, f->line,
                    mp_severity_name(mp_rules[f->rule].severity), mp_rules[f->rule].id, f->key ? "key " : "",
                    f->key ? f->key : "", f->key ? ": " : "", f->reason, f->known ? " (known)" : "");
        mp_xml_text(out, mp_text_get(&line));
        mp_text_free(&line);
    }
}

static void put_case(FILE *out, const mp_audit *audit, size_t file, const span *s) {
    const mp_audit_file *f = &audit->file[file];
    fputs("    <testcase", out);
    mp_xml_attribute(out, "classname", f->folder);
    mp_xml_attribute(out, "name", f->table.file);
    fputs(" time=\"0\">\n", out);
    if (s->count) {
        const char *element = s->fails ? "failure" : "system-out";
        const mp_finding *first = &audit->finding[s->first];
        for (size_t i = s->first; s->fails && i < s->first + s->count; i++) {
            first = &audit->finding[i];
            if (!first->known && mp_rules[first->rule].severity == MP_SEVERITY_ERROR) break;
        }
        fprintf(out, "      <%s", element);
        if (s->fails) {
            mp_xml_attribute(out, "type", mp_rules[first->rule].id);
            mp_xml_attribute(out, "message", first->reason);
        }
        fputc('>', out);
        put_lines(out, audit, s);
        fprintf(out, "</%s>\n", element);
    }
    fputs("    </testcase>\n", out);
}

static void put_report(FILE *out, const mp_audit *audit, const span *spans) {
    size_t failures = 0;
    for (size_t i = 0; i < audit->file_count; i++) failures += spans[i].fails;
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", out);
    fprintf(out, "<testsuites name=\"moeparity tune audit\" tests=\"%zu\" failures=\"%zu\">\n",
            audit->file_count, failures);
    for (size_t i = 0, end; i < audit->file_count; i = end) {
        const mp_audit_file *f = &audit->file[i];
        for (end = i, failures = 0;
             end < audit->file_count && strcmp(audit->file[end].folder, f->folder) == 0 &&
             strcmp(audit->file[end].place, f->place) == 0;
             end++)
            failures += spans[end].fails;
        fputs("  <testsuite", out);
        mp_xml_attribute(out, "name", f->folder);
        fprintf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"0\" time=\"0\">\n", end - i,
                failures);
        for (size_t k = i; k < end; k++) put_case(out, audit, k, &spans[k]);
        fputs("  </testsuite>\n", out);
    }
    fputs("</testsuites>\n", out);
}

mp_status mp_report_audit_junit(const char *path, const mp_audit *audit, mp_error *err) {
    char *text = NULL;
    size_t size = 0;
    span *spans = calloc(audit->file_count + 1, sizeof *spans);
    FILE *out = open_memstream(&text, &size);
    mp_status status = MP_OK;
    if (!spans || !out) {
        status = mp_fail(err, MP_EMEMORY, "no memory for the findings as JUnit XML");
        if (out) fclose(out);
        goto out;
    }
    for (size_t i = 0; i < audit->finding_count; i++) {
        const mp_finding *f = &audit->finding[i];
        span *s = &spans[f->file];
        if (s->count++ == 0) s->first = i;
        s->fails = s->fails || (!f->known && mp_rules[f->rule].severity == MP_SEVERITY_ERROR);
    }
    put_report(out, audit, spans);
    const bool whole = ferror(out) == 0;
    if (fclose(out) != 0 || !whole)
        status = mp_fail(err, MP_EMEMORY, "no memory for the findings as JUnit XML");
    if (status == MP_OK) status = mp_file_replace(path, text, size, err);
out:
    free(spans);
    free(text);
    return status;
}
