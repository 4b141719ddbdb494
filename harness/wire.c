/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/wire.h"

#include "base/printable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *mp_json_text(const char *text) {
    json_t *json = json_string(text);
    if (json) return json;
    const size_t size = 4 * strlen(text) + 1; /* a byte becomes four at most */
    char *printable = malloc(size);
    if (printable) mp_text_printable(text, printable, size);
    json = printable ? json_string(printable) : NULL;
    free(printable);
    return json;
}

json_t *mp_json_path(const char *path) {
    json_t *json = json_string(path);
    if (json) return json;
    json = json_array();
    for (const char *p = path; *p; p++) json_array_append_new(json, json_integer((unsigned char)*p));
    return json;
}

mp_status mp_json_to_path(const json_t *json, const char *what, char path[PATH_MAX], mp_error *err) {
    const char *text = json_string_value(json);
    const size_t length = text ? json_string_length(json) : json_array_size(json);
    if ((!text && !json_is_array(json)) || length >= PATH_MAX)
        return mp_fail(err, MP_EINPUT, "%s: expected a text, or a list of bytes, of less than %d", what,
                       PATH_MAX);
    for (size_t i = 0; i < length; i++) {
        const json_int_t byte = text ? (unsigned char)text[i] : json_integer_value(json_array_get(json, i));
        if (byte < 1 || byte > UCHAR_MAX)
            return mp_fail(err, MP_EINPUT, "%s: byte %zu of it is %lld; expected 1 to 255", what, i,
                           (long long)byte);
        path[i] = (char)byte;
    }
    path[length] = '\0';
    return MP_OK;
}

json_t *mp_json_failed(const mp_error *err) {
    return json_pack("{s:{s:s, s:o}}", "failed", "status", mp_status_name(err->status), "error",
                     mp_json_text(err->text));
}

mp_status mp_json_to_failed(const json_t *failed, mp_error *err) {
    const char *name = json_string_value(json_object_get(failed, "status"));
    mp_error told = {.status = MP_EINTERNAL, .text = "failed without a text"};
    for (int s = MP_EINPUT; name && s < MP_EINTERNAL; s++)
        if (strcmp(name, mp_status_name((mp_status)s)) == 0) told.status = (mp_status)s;
    const char *text = json_string_value(json_object_get(failed, "error"));
    if (text) snprintf(told.text, sizeof told.text, "%s", text);
    if (err) *err = told;
    return told.status;
}
