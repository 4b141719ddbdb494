/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/audit/baseline.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

static const char format[] = "moeparity audit baseline";
enum { SCHEMA_VERSION = 1 };

static mp_status read_baseline(const char *path, json_t *known, mp_error *err) {
    char *data = NULL;
    size_t size = 0, i;
    json_error_t where;
    json_t *root = NULL;
    const json_t *finding;
    mp_status status = mp_file_read(path, &data, &size, err);
    if (status != MP_OK) return status;
    root = json_loadb(data, size, 0, &where);
    const char *says = json_string_value(json_object_get(root, "format"));
    const json_t *version = json_object_get(root, "schema_version"),
                 *list = json_object_get(root, "findings");
    if (!root)
        status = mp_fail(err, MP_EINPUT, "%s:%d: %s; expected a baseline of an audit", path, where.line,
                         where.text);
    else if (!says || strcmp(says, format) != 0)
        status = mp_fail(err, MP_EINPUT, "%s: format '%.40s': expected '%s'", path, says ? says : "", format);
    else if (!json_is_integer(version) || json_integer_value(version) != SCHEMA_VERSION)
        status = mp_fail(err, MP_EINPUT, "%s: schema_version: expected %d", path, SCHEMA_VERSION);
    else if (!json_is_array(list))
        status = mp_fail(err, MP_EINPUT, "%s: findings: expected a list", path);
    json_array_foreach((json_t *)list, i, finding) {
        const char *fingerprint = json_string_value(json_object_get(finding, "fingerprint"));
        if (status != MP_OK) break;
        if (!fingerprint || strlen(fingerprint) != 16)
            status = mp_fail(err, MP_EINPUT, "%s: findings[%zu].fingerprint: expected 16 hexadecimal digits",
                             path, i);
        else
            json_object_set_new(known, fingerprint, json_false());
    }
    json_decref(root);
    free(data);
    return status;
}

mp_status mp_baseline_apply(const char *path, mp_audit *audit, size_t *gone, mp_error *err) {
    json_t *known = json_object();
    const char *fingerprint;
    const json_t *seen;
    const mp_status status = read_baseline(path, known, err);
    *gone = 0;
    memset(audit->fresh, 0, sizeof audit->fresh);
    for (size_t i = 0; i < audit->finding_count; i++) {
        mp_finding *f = &audit->finding[i];
        f->known = json_object_get(known, f->fingerprint);
        if (f->known)
            json_object_set_new_nocheck(known, f->fingerprint, json_true());
        else
            audit->fresh[mp_rules[f->rule].severity]++;
    }
    json_object_foreach(known, fingerprint, seen) *gone += !json_is_true(seen);
    json_decref(known);
    return status;
}

static int by_fingerprint(const void *a, const void *b) {
    const mp_finding *x = *(const mp_finding *const *)a, *y = *(const mp_finding *const *)b;
    return strcmp(x->fingerprint, y->fingerprint);
}

mp_status mp_baseline_write(const char *path, const mp_audit *audit, mp_error *err) {
    const mp_finding **sorted = calloc(audit->finding_count + 1, sizeof *sorted);
    json_t *list = json_array();
    if (!sorted || !list) {
        free(sorted);
        json_decref(list);
        return mp_fail(err, MP_EMEMORY, "no memory for a baseline");
    }
    for (size_t i = 0; i < audit->finding_count; i++) sorted[i] = &audit->finding[i];
    qsort(sorted, audit->finding_count, sizeof *sorted, by_fingerprint);
    for (size_t i = 0; i < audit->finding_count; i++) {
        const mp_finding *f = sorted[i];
        if (i > 0 && strcmp(f->fingerprint, sorted[i - 1]->fingerprint) == 0) continue;
        json_t *one =
            json_pack("{s:s, s:s, s:s, s:s}", "fingerprint", f->fingerprint, "rule", mp_rules[f->rule].id,
                      "folder", audit->file[f->file].folder, "file", audit->file[f->file].table.file);
        if (f->key) json_object_set_new(one, "key", json_string(f->key));
        json_array_append_new(list, one);
    }
    json_t *root =
        json_pack("{s:s, s:i, s:o}", "format", format, "schema_version", SCHEMA_VERSION, "findings", list);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for a baseline");
    free(text);
    json_decref(root);
    free(sorted);
    return status;
}
