/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema (draft 2020-12), as far as the schemas of this project use it. A keyword that is not known here
 * is a failure, so that no schema says more than is checked; and so is a key of an object that its schema
 * does not describe, which the standard would let pass. */
#ifndef MP_TESTS_JSON_SCHEMA_H
#define MP_TESTS_JSON_SCHEMA_H

#include <jansson.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Where and why a value does not fit; "" while it does. */
typedef struct schema_failure {
    char text[512];
} schema_failure;

static bool schema_fail(schema_failure *f, const char *path, const char *keyword) {
    snprintf(f->text, sizeof f->text, "%.400s: %.100s", path, keyword);
    return false;
}

static bool schema_type(const json_t *value, const char *type) {
    if (strcmp(type, "object") == 0) return json_is_object(value);
    if (strcmp(type, "array") == 0) return json_is_array(value);
    if (strcmp(type, "string") == 0) return json_is_string(value);
    if (strcmp(type, "integer") == 0) return json_is_integer(value);
    if (strcmp(type, "number") == 0) return json_is_number(value);
    if (strcmp(type, "boolean") == 0) return json_is_boolean(value);
    return strcmp(type, "null") == 0 && json_is_null(value);
}

static bool schema_pattern(const json_t *value, const char *pattern) {
    regex_t r;
    if (regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB) != 0) return false;
    const bool fits = !json_is_string(value) || regexec(&r, json_string_value(value), 0, NULL, 0) == 0;
    regfree(&r);
    return fits;
}

static bool schema_fits(const json_t *root, const json_t *schema, const json_t *value, const char *path,
                        schema_failure *f);

static bool schema_properties(const json_t *root, const json_t *properties, json_t *value, const char *path,
                              schema_failure *f) {
    const char *key;
    json_t *item;
    json_object_foreach(value, key, item) {
        char below[512];
        snprintf(below, sizeof below, "%.380s.%.100s", path, key);
        const json_t *schema = json_object_get(properties, key);
        if (!schema) return schema_fail(f, below, "not in the schema");
        if (!schema_fits(root, schema, item, below, f)) return false;
    }
    return true;
}

static bool schema_items(const json_t *root, const json_t *schema, const json_t *value, const char *path,
                         schema_failure *f) {
    for (size_t i = 0; i < json_array_size(value); i++) {
        char below[512];
        snprintf(below, sizeof below, "%.400s[%zu]", path, i);
        if (!schema_fits(root, schema, json_array_get(value, i), below, f)) return false;
    }
    return true;
}

static bool schema_any(const json_t *root, const json_t *schemas, const json_t *value, const char *path) {
    schema_failure ignored;
    for (size_t i = 0; i < json_array_size(schemas); i++)
        if (schema_fits(root, json_array_get(schemas, i), value, path, &ignored)) return true;
    return false;
}

static bool schema_enum(const json_t *values, const json_t *value) {
    for (size_t i = 0; i < json_array_size(values); i++)
        if (json_equal(json_array_get(values, i), value)) return true;
    return false;
}

static bool schema_required(const json_t *names, const json_t *value) {
    for (size_t i = 0; i < json_array_size(names); i++)
        if (!json_object_get(value, json_string_value(json_array_get(names, i)))) return false;
    return true;
}

static bool schema_fits(const json_t *root, const json_t *schema, const json_t *value, const char *path,
                        schema_failure *f) {
    static const char *const remarks[] = {"$schema", "$defs", "title", "description"};
    const char *keyword;
    json_t *rule;
    json_object_foreach((json_t *)schema, keyword, rule) {
        const char *text = json_string_value(rule);
        const json_int_t number = json_integer_value(rule);
        bool remark = false, fits = false;
        for (size_t i = 0; i < sizeof remarks / sizeof *remarks; i++)
            remark = remark || strcmp(keyword, remarks[i]) == 0;
        if (remark) continue;
        if (strcmp(keyword, "properties") == 0) {
            if (!schema_properties(root, rule, (json_t *)value, path, f)) return false;
            continue;
        }
        if (strcmp(keyword, "additionalProperties") == 0) { /* where no other properties are described */
            const char *key;
            json_t *item;
            json_object_foreach((json_t *)value, key, item) {
                char below[512];
                snprintf(below, sizeof below, "%.380s.%.100s", path, key);
                if (!schema_fits(root, rule, item, below, f)) return false;
            }
            continue;
        }
        if (strcmp(keyword, "items") == 0) {
            if (!schema_items(root, rule, value, path, f)) return false;
            continue;
        }
        if (strcmp(keyword, "$ref") == 0) { /* "#/$defs/name" */
            const json_t *target = json_object_get(json_object_get(root, "$defs"), strrchr(text, '/') + 1);
            if (!target) return schema_fail(f, path, text);
            if (!schema_fits(root, target, value, path, f)) return false;
            continue;
        }
        if (strcmp(keyword, "type") == 0) fits = schema_type(value, text);
        if (strcmp(keyword, "pattern") == 0) fits = schema_pattern(value, text);
        if (strcmp(keyword, "enum") == 0) fits = schema_enum(rule, value);
        if (strcmp(keyword, "const") == 0) fits = json_equal(rule, value);
        if (strcmp(keyword, "required") == 0) fits = schema_required(rule, value);
        if (strcmp(keyword, "anyOf") == 0) fits = schema_any(root, rule, value, path);
        if (strcmp(keyword, "minimum") == 0) fits = json_number_value(value) >= (double)number;
        if (strcmp(keyword, "minItems") == 0) fits = json_array_size(value) >= (size_t)number;
        if (strcmp(keyword, "maxItems") == 0) fits = json_array_size(value) <= (size_t)number;
        if (!fits) return schema_fail(f, path, keyword);
    }
    return true;
}

#endif
