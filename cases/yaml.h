/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cases/: a YAML file as a tree of libyaml nodes, read with errors that name file and line. */
#ifndef MP_CASES_YAML_H
#define MP_CASES_YAML_H

#include "moeparity/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <yaml.h>

typedef struct mp_yaml {
    const char *path;
    yaml_document_t document;
    bool loaded;
    mp_error *err; /* where every function below reports */
} mp_yaml;

/* Loads the one document of a file; the caller closes, after an error too. `path` must outlive it. */
mp_status mp_yaml_open(mp_yaml *y, const char *path, mp_error *err);
void mp_yaml_close(mp_yaml *y);

const yaml_node_t *mp_yaml_root(mp_yaml *y);
static inline int mp_yaml_line(const yaml_node_t *node) {
    return (int)node->start_mark.line + 1;
}
/* MP_EINPUT "path:line: message". */
#define mp_yaml_fail(y, node, format, ...) \
    mp_fail((y)->err, MP_EINPUT, "%s:%d: " format, (y)->path, mp_yaml_line(node), ##__VA_ARGS__)

static inline bool mp_yaml_is_list(const yaml_node_t *node) {
    return node->type == YAML_SEQUENCE_NODE;
}
static inline bool mp_yaml_is_mapping(const yaml_node_t *node) {
    return node->type == YAML_MAPPING_NODE;
}
/* Text of a scalar, NULL for anything else. */
const char *mp_yaml_text(const yaml_node_t *node);

/* Lists, and any other node as a list of one. */
size_t mp_yaml_length(const yaml_node_t *node);
const yaml_node_t *mp_yaml_item(mp_yaml *y, const yaml_node_t *node, size_t i);

/* Mappings: the number of pairs, pair i, and the value of a key (NULL when absent). */
size_t mp_yaml_pairs(const yaml_node_t *node);
const char *mp_yaml_pair(mp_yaml *y, const yaml_node_t *node, size_t i, const yaml_node_t **value);
const yaml_node_t *mp_yaml_get(mp_yaml *y, const yaml_node_t *node, const char *key);

/* Fails unless node is a mapping with scalar keys, none twice, and (when `known` is not NULL) each one of the
 * NULL-terminated list.
 */
mp_status mp_yaml_check_mapping(mp_yaml *y, const yaml_node_t *node, const char *what,
                                const char *const *known);
mp_status mp_yaml_check_list(mp_yaml *y, const yaml_node_t *node, const char *what);
/* An integer value of a key that must be there. */
mp_status mp_yaml_get_int(mp_yaml *y, const yaml_node_t *node, const char *key, int64_t *value);

#endif
