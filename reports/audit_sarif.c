/* SPDX-License-Identifier: Apache-2.0 */
/* SARIF 2.1.0 (OASIS), what code scanners of hosting services read. */
#include "reports/audit.h"

#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The path from one folder to a file, both without links and dots: with `..` as far as needed. */
static void relative_path(const char *from, const char *to, mp_text *path) {
    size_t common = 0; /* behind the last "/" that both have */
    size_t i = 0;
    for (; from[i] && from[i] == to[i]; i++)
        if (from[i] == '/') common = i + 1;
    if (!from[i] && to[i] == '/') common = i + 1;
    for (const char *rest = strlen(from) >= common ? from + common : ""; *rest;) {
        mp_text_add(path, "../");
        rest += strcspn(rest, "/");
        rest += *rest == '/';
    }
    mp_text_add(path, "%s", to + common);
}

/* The relative address of a file (RFC 3986): unreserved characters and slashes stay. */
static void add_uri(mp_text *uri, const char *here, const char *path) {
    mp_text relative = {0};
    char *slash = NULL, *copy = strdup(path), *folder = NULL;
    if (copy && (slash = strrchr(copy, '/'))) *slash = '\0';
    folder = copy ? realpath(!slash ? "." : *copy ? copy : "/", NULL) : NULL;
    if (folder) {
        mp_text whole = {0};
        mp_text_add(&whole, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, slash ? slash + 1 : path);
        relative_path(here, mp_text_get(&whole), &relative);
        mp_text_free(&whole);
    }
    const char *text = relative.length ? mp_text_get(&relative) : path;
    for (const char *c = text; *c; c++) {
        if (isalnum((unsigned char)*c) || strchr("-._~/=,", *c))
            mp_text_add(uri, "%c", *c);
        else
            mp_text_add(uri, "%%%02X", (unsigned)(unsigned char)*c);
    }
    free(folder);
    free(copy);
    mp_text_free(&relative);
}

static json_t *rules_json(void) {
    static const char *const levels[] = {"error", "warning", "note"};
    json_t *rules = json_array();
    for (int r = 0; r < MP_RULE_COUNT; r++)
        json_array_append_new(rules,
                              json_pack("{s:s, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}}", "id", mp_rules[r].id,
                                        "shortDescription", "text", mp_rules[r].summary, "fullDescription",
                                        "text", mp_rules[r].help, "help", "text", mp_rules[r].help,
                                        "defaultConfiguration", "level", levels[mp_rules[r].severity]));
    return rules;
}

static json_t *result_json(const mp_audit *audit, const mp_finding *f, const char *uri, bool baseline) {
    mp_text message = {0};
    if (f->key) mp_text_add(&message, "key %s: ", f->key);
    mp_text_add(&message, "%s", f->reason);
    json_t *place = json_pack("{s:{s:s, s:s}}", "artifactLocation", "uri", uri, "uriBaseId", "%SRCROOT%");
    if (place && f->line) {
        json_t *region = json_pack("{s:i}", "startLine", f->line);
        if (f->column) json_object_set_new(region, "startColumn", json_integer(f->column));
        json_object_set_new(place, "region", region);
    }
    json_t *result =
        json_pack("{s:s, s:i, s:s, s:{s:s}, s:[{s:o}], s:{s:s}}", "ruleId", mp_rules[f->rule].id, "ruleIndex",
                  (int)f->rule, "level", mp_severity_name(mp_rules[f->rule].severity), "message", "text",
                  mp_text_get(&message), "locations", "physicalLocation", place, "partialFingerprints",
                  "moeparity/v1", f->fingerprint);
    if (result && baseline)
        json_object_set_new(result, "baselineState", json_string(f->known ? "unchanged" : "new"));
    mp_text_free(&message);
    (void)audit;
    return result;
}

mp_status mp_report_audit_sarif(const char *path, const mp_audit *audit, const char *version, bool baseline,
                                mp_error *err) {
    json_t *results = json_array();
    mp_text uri = {0};
    size_t of = SIZE_MAX;
    char *here = realpath(".", NULL), *text = NULL;
    bool whole = results && here;
    for (size_t i = 0; whole && i < audit->finding_count; i++) {
        const mp_finding *f = &audit->finding[i];
        if (f->file != of) {
            mp_text_free(&uri);
            add_uri(&uri, here, audit->file[f->file].table.path);
            of = f->file;
        }
        whole = json_array_append_new(results, result_json(audit, f, mp_text_get(&uri), baseline)) == 0;
    }
    json_t *root = json_pack(
        "{s:s, s:s, s:[{s:{s:{s:s, s:s, s:o}}, s:o}]}", "$schema",
        "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version", "2.1.0", "runs", "tool", "driver", "name", "moeparity tune audit", "semanticVersion",
        version, "rules", rules_json(), "results", results);
    if (whole && root) text = json_dumps(root, JSON_INDENT(1));
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for the findings as SARIF");
    mp_text_free(&uri);
    free(text);
    free(here);
    json_decref(root);
    return status;
}
