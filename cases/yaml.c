/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/yaml.h"

#include "base/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A matrix is written by hand, and its tree takes tens of times the bytes of its text. */
#define MOST_BYTES ((size_t)1 << 20)
/* No mapping of the language has more; comparing all of its keys takes the square of their number. */
#define MOST_KEYS ((size_t)256)
/* So do brackets within brackets, anchors and directives in libyaml: a small file would hold it for hours. */
#define MOST_DEPTH 64
#define MOST_ANCHORS 1024
#define MOST_PERCENTS 1024

static bool start_parser(yaml_parser_t *parser, const char *data, size_t size) {
    if (!yaml_parser_initialize(parser)) return false;
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(parser, (const unsigned char *)data, size);
    return true;
}

static bool names_anchor(const yaml_event_t *event) {
    return (event->type == YAML_SCALAR_EVENT && event->data.scalar.anchor) ||
           (event->type == YAML_SEQUENCE_START_EVENT && event->data.sequence_start.anchor) ||
           (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.anchor);
}

/* Reads the text event by event, and no further than where it becomes costly. What is no YAML is not told
 * here. */
static mp_status check_cost(const char *path, const char *data, size_t size, mp_error *err) {
    yaml_parser_t parser;
    yaml_event_t event;
    mp_status status = MP_OK;
    int depth = 0, anchors = 0, percents = 0;
    for (size_t i = 0; i < size; i++) percents += data[i] == '%'; /* each directive has one */
    if (percents > MOST_PERCENTS)
        return mp_fail(err, MP_EINPUT, "%s: %d times '%%'; expected at most %d", path, percents,
                       MOST_PERCENTS);
    if (!start_parser(&parser, data, size))
        return mp_fail(err, MP_EMEMORY, "%s: no memory for the YAML parser", path);
    for (bool more = true; status == MP_OK && more && yaml_parser_parse(&parser, &event);) {
        const yaml_event_type_t type = event.type;
        more = type != YAML_STREAM_END_EVENT;
        depth += type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT;
        depth -= type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT;
        anchors += names_anchor(&event);
        if (depth > MOST_DEPTH || anchors > MOST_ANCHORS)
            status =
                mp_fail(err, MP_EINPUT, "%s:%zu: %s; expected at most %d", path, event.start_mark.line + 1,
                        depth > MOST_DEPTH ? "nests too deeply" : "too many anchors",
                        depth > MOST_DEPTH ? MOST_DEPTH : MOST_ANCHORS);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

mp_status mp_yaml_open(mp_yaml *y, const char *path, mp_error *err) {
    *y = (mp_yaml){.path = path, .err = err};
    char *data = NULL;
    size_t size = 0;
    yaml_parser_t parser;
    yaml_document_t rest;
    mp_status status = mp_file_read_at_most(path, MOST_BYTES, &data, &size, err);
    if (status == MP_OK) status = check_cost(path, data, size, err);
    if (status == MP_OK && !start_parser(&parser, data, size))
        status = mp_fail(err, MP_EMEMORY, "%s: no memory for the YAML parser", path);
    if (status != MP_OK) {
        free(data);
        return status;
    }
    status = MP_EINPUT;
    y->loaded = yaml_parser_load(&parser, &y->document);
    if (!y->loaded) {
        mp_fail(err, status, "%s:%zu: not YAML: %s; expected a mapping of include, defaults and groups", path,
                parser.problem_mark.line + 1, parser.problem ? parser.problem : "unreadable");
        goto out;
    }
    if (!mp_yaml_root(y)) {
        mp_fail(err, status, "%s:1: empty; expected a mapping of include, defaults and groups", path);
        goto out;
    }
    if (!yaml_parser_load(&parser, &rest)) {
        mp_fail(err, status, "%s:%zu: not YAML: %s", path, parser.problem_mark.line + 1,
                parser.problem ? parser.problem : "unreadable");
        goto out;
    }
    const yaml_node_t *second = yaml_document_get_root_node(&rest);
    if (second) mp_yaml_fail(y, second, "a second document begins; expected one document in a file");
    status = second ? MP_EINPUT : MP_OK;
    yaml_document_delete(&rest);
out:
    yaml_parser_delete(&parser);
    free(data);
    return status;
}

void mp_yaml_close(mp_yaml *y) {
    if (y->loaded) yaml_document_delete(&y->document);
    y->loaded = false;
}

const yaml_node_t *mp_yaml_root(mp_yaml *y) {
    return yaml_document_get_root_node(&y->document);
}

const char *mp_yaml_text(const yaml_node_t *node) {
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

size_t mp_yaml_length(const yaml_node_t *node) {
    return mp_yaml_is_list(node) ? (size_t)(node->data.sequence.items.top - node->data.sequence.items.start)
                                 : 1;
}

const yaml_node_t *mp_yaml_item(mp_yaml *y, const yaml_node_t *node, size_t i) {
    return mp_yaml_is_list(node) ? yaml_document_get_node(&y->document, node->data.sequence.items.start[i])
                                 : node;
}

size_t mp_yaml_pairs(const yaml_node_t *node) {
    return (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
}

const char *mp_yaml_pair(mp_yaml *y, const yaml_node_t *node, size_t i, const yaml_node_t **value) {
    const yaml_node_pair_t *pair = &node->data.mapping.pairs.start[i];
    *value = yaml_document_get_node(&y->document, pair->value);
    return mp_yaml_text(yaml_document_get_node(&y->document, pair->key));
}

const yaml_node_t *mp_yaml_get(mp_yaml *y, const yaml_node_t *node, const char *key) {
    for (size_t i = 0; i < mp_yaml_pairs(node); i++) {
        const yaml_node_t *value;
        if (!strcmp(mp_yaml_pair(y, node, i, &value), key)) return value;
    }
    return NULL;
}

mp_status mp_yaml_check_list(mp_yaml *y, const yaml_node_t *node, const char *what) {
    if (!mp_yaml_is_list(node)) return mp_yaml_fail(y, node, "%s: expected a list", what);
    if (mp_yaml_length(node) == 0)
        return mp_yaml_fail(y, node, "%s: the list is empty; expected at least one entry", what);
    return MP_OK;
}

mp_status mp_yaml_check_mapping(mp_yaml *y, const yaml_node_t *node, const char *what,
                                const char *const *known) {
    if (!mp_yaml_is_mapping(node)) return mp_yaml_fail(y, node, "%s: expected a mapping", what);
    if (mp_yaml_pairs(node) > MOST_KEYS)
        return mp_yaml_fail(y, node, "%s: %zu keys; expected at most %zu", what, mp_yaml_pairs(node),
                            MOST_KEYS);
    for (size_t i = 0; i < mp_yaml_pairs(node); i++) {
        const yaml_node_t *value,
            *key_node = yaml_document_get_node(&y->document, node->data.mapping.pairs.start[i].key);
        const char *key = mp_yaml_pair(y, node, i, &value);
        if (!key) return mp_yaml_fail(y, key_node, "%s: a key is a list or a mapping; expected a name", what);
        if (mp_yaml_get(y, node, key) != value)
            return mp_yaml_fail(y, key_node, "%s: key '%s' is given twice", what, key);
        if (!known) continue;
        char names[256] = "";
        bool found = false;
        for (size_t k = 0; known[k]; k++) {
            found = found || !strcmp(key, known[k]);
            const size_t length = strlen(names);
            snprintf(names + length, sizeof names - length, "%s%s", k ? ", " : "", known[k]);
        }
        if (!found)
            return mp_yaml_fail(y, key_node, "%s: unknown key '%s'; expected one of %s", what, key, names);
    }
    return MP_OK;
}

mp_status mp_yaml_get_int(mp_yaml *y, const yaml_node_t *node, const char *key, int64_t *value) {
    const yaml_node_t *found = mp_yaml_get(y, node, key);
    if (!found) return mp_yaml_fail(y, node, "'%s' is missing", key);
    const char *text = mp_yaml_text(found);
    if (!text || !*text || text[strspn(text, "-0123456789")])
        return mp_yaml_fail(y, found, "%s: %s; expected an integer", key,
                            text ? text : "a list or a mapping");
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (*end || errno) return mp_yaml_fail(y, found, "%s: %s; expected an integer of 64 bits", key, text);
    return MP_OK;
}
