/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void mp_clear_texts(const mp_field *fields, size_t count, void *record) {
    for (const mp_field *f = fields; f < fields + count; f++)
        if (f->kind == MP_FIELD_TEXT) *(const char **)((char *)record + f->offset) = "";
}

/* JSON text is UTF-8. What is not (a subject's output) keeps its ASCII part. */
static json_t *text_to_json(const char *text) {
    json_t *json = json_string(text);
    char *ascii = json == NULL ? strdup(text) : NULL;
    for (char *p = ascii; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    if (ascii != NULL) json = json_string(ascii);
    free(ascii);
    return json;
}

json_t *mp_real_to_json(double value) {
    if (isnan(value)) return json_string("nan");
    if (isinf(value)) return json_string(value > 0 ? "inf" : "-inf");
    return json_real(value);
}

bool mp_real_from_json(const json_t *json, double *value) {
    if (json_is_number(json)) {
        *value = json_number_value(json);
        return true;
    }
    const char *text = json_string_value(json);
    if (text == NULL) return false;
    if (strcmp(text, "nan") == 0)
        *value = (double)NAN;
    else if (strcmp(text, "inf") == 0)
        *value = (double)INFINITY;
    else if (strcmp(text, "-inf") == 0)
        *value = -(double)INFINITY;
    else
        return false;
    return true;
}

json_t *mp_fields_to_json(const mp_field *fields, size_t count, const void *record) {
    json_t *object = json_object();
    for (const mp_field *f = fields; f < fields + count; f++) {
        const void *at = (const char *)record + f->offset;
        json_t *value = NULL;
        switch (f->kind) {
        case MP_FIELD_TEXT: value = text_to_json(*(const char *const *)at); break;
        case MP_FIELD_CHARS: value = text_to_json(at); break;
        case MP_FIELD_REAL: value = mp_real_to_json(*(const double *)at); break;
        case MP_FIELD_INT64: value = json_integer(*(const int64_t *)at); break;
        case MP_FIELD_INT: value = json_integer(*(const int *)at); break;
        case MP_FIELD_BOOL: value = json_boolean(*(const bool *)at); break;
        }
        json_object_set_new(object, f->name, value);
    }
    return object;
}

mp_status mp_fields_from_json(const mp_field *fields, size_t count, const json_t *object, void *record,
                              mp_texts *texts, mp_error *err) {
    static const char *const expected[] = {[MP_FIELD_REAL] = "a number, \"nan\", \"inf\" or \"-inf\"",
                                           [MP_FIELD_INT64] = "an integer",
                                           [MP_FIELD_INT] = "an integer of 32 bits",
                                           [MP_FIELD_BOOL] = "true or false"};
    for (const mp_field *f = fields; f < fields + count; f++) {
        void *at = (char *)record + f->offset;
        const json_t *value = json_object_get(object, f->name);
        bool right = false;
        switch (f->kind) {
        case MP_FIELD_TEXT:
            right = json_is_string(value) && json_string_length(value) <= MP_FIELD_TEXT_MAX;
            if (right) *(const char **)at = mp_texts_add(texts, "%s", json_string_value(value));
            break;
        case MP_FIELD_CHARS:
            right = json_is_string(value) && json_string_length(value) < f->size;
            if (right) memcpy(at, json_string_value(value), json_string_length(value) + 1);
            break;
        case MP_FIELD_REAL: right = mp_real_from_json(value, at); break;
        case MP_FIELD_INT64:
            right = json_is_integer(value);
            if (right) *(int64_t *)at = json_integer_value(value);
            break;
        case MP_FIELD_INT:
            right = json_is_integer(value) && json_integer_value(value) >= INT32_MIN &&
                    json_integer_value(value) <= INT32_MAX;
            if (right) *(int *)at = (int)json_integer_value(value);
            break;
        case MP_FIELD_BOOL:
            right = json_is_boolean(value);
            if (right) *(bool *)at = json_boolean_value(value);
            break;
        }
        if (right) continue;
        if (f->kind == MP_FIELD_TEXT || f->kind == MP_FIELD_CHARS)
            return mp_fail(err, MP_EINPUT, "%s: expected a text of at most %zu bytes", f->name,
                           f->kind == MP_FIELD_TEXT ? (size_t)MP_FIELD_TEXT_MAX : f->size - 1);
        return mp_fail(err, MP_EINPUT, "%s: expected %s", f->name, expected[f->kind]);
    }
    return MP_OK;
}
