/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/audit.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum { SCHEMA_VERSION = 1 };

static json_t *finding_json(const mp_audit *audit, const mp_finding *f) {
    const mp_audit_file *file = &audit->file[f->file];
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "rule", mp_rules[f->rule].id, "severity",
                             mp_severity_name(mp_rules[f->rule].severity), "file", file->table.path, "reason",
                             f->reason, "fingerprint", f->fingerprint, "known", f->known);
    if (!json) return NULL;
    if (f->line) json_object_set_new(json, "line", json_integer(f->line));
    if (f->column) json_object_set_new(json, "column", json_integer(f->column));
    if (f->key) json_object_set_new(json, "key", json_string(f->key));
    if (f->name) json_object_set_new(json, "name", json_string(f->name));
    return json;
}

static json_t *counts_json(const size_t count[MP_SEVERITY_NOTE + 1]) {
    return json_pack("{s:I, s:I, s:I}", "errors", (json_int_t)count[MP_SEVERITY_ERROR], "warnings",
                     (json_int_t)count[MP_SEVERITY_WARNING], "notes", (json_int_t)count[MP_SEVERITY_NOTE]);
}

mp_status mp_report_audit_json(const char *path, const mp_audit *audit, const char *version, mp_error *err) {
    json_t *list = json_array();
    bool whole = list;
    for (size_t i = 0; whole && i < audit->finding_count; i++)
        whole = json_array_append_new(list, finding_json(audit, &audit->finding[i])) == 0;
    json_t *root = json_pack("{s:s, s:i, s:s, s:I, s:I, s:o, s:o, s:o}", "format", "moeparity audit",
                             "schema_version", SCHEMA_VERSION, "version", version, "files",
                             (json_int_t)audit->table_count, "keys", (json_int_t)audit->entry_count, "found",
                             counts_json(audit->count), "new", counts_json(audit->fresh), "findings", list);
    char *text = whole && root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for the findings as JSON");
    free(text);
    json_decref(root);
    return status;
}
