/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/tuned.h"

#include "base/file.h"
#include "base/text.h"
#include "base/words.h"
#include "cases/case_tools.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { DEFAULT_WARPS = 4, DEFAULT_STAGES = 3, MOST_BYTES = 4 << 20 }; /* published files have some kB */

/* What an entry may hold beside the numbers of a tile: of other kernels and other vendors. */
static const char *const other_keys[] = {
    "USE_TMA", "SPLIT_K", "num_ctas", "waves_per_eu", "matrix_instr_nonkdim", "kpack"};

/* A value as the file has it, cut to a readable length. */
static void value_text(const json_t *value, char text[64]) {
    char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    const bool fits = dump && strlen(dump) < 48;
    snprintf(text, 64, "%.*s%s", fits ? 63 : 44, dump ? dump : "?", fits ? "" : "...");
    free(dump);
}

static mp_status bad_value(const char *name, const json_t *value, const char *expected, mp_error *err) {
    char text[64];
    value_text(value, text);
    return mp_fail(err, MP_EINPUT, "%s=%s: expected %s", name, text, expected);
}

static mp_status read_tile(const json_t *json, mp_tuned_entry *entry, mp_error *err) {
    for (int part = 0; part < MP_TILE_PARTS; part++) {
        const char *name = mp_tile_parts[part].name;
        const json_t *value = json_object_get(json, name);
        int *number = mp_tile_at(&entry->tile, part);
        char expected[64];
        mp_tile_part_expected(part, expected);
        if (!value && number == &entry->tile.num_warps) {
            *number = DEFAULT_WARPS;
            entry->default_warps = true;
        } else if (!value && number == &entry->tile.num_stages) {
            *number = DEFAULT_STAGES;
            entry->default_stages = true;
        } else if (!value) {
            return mp_fail(err, MP_EINPUT, "%s is missing: expected %s", name, expected);
        } else if (!json_is_integer(value) || !mp_tile_part_allows(part, json_integer_value(value))) {
            return bad_value(name, value, expected, err);
        } else {
            *number = (int)json_integer_value(value);
        }
    }
    return MP_OK;
}

/* Numbers that say nothing to this pipeline are checked all the same: who misspelt one value has seldom
 * misspelt one only. */
static mp_status read_number(const json_t *json, const char *name, int least, int *number, mp_error *err) {
    const json_t *value = json_object_get(json, name);
    char expected[64];
    if (!value) return MP_OK;
    const json_int_t read = json_integer_value(value);
    snprintf(expected, sizeof expected, "an integer from %d to %d", least, INT32_MAX);
    if (!json_is_integer(value) || read < least || read > INT32_MAX)
        return bad_value(name, value, expected, err);
    *number = (int)read;
    return MP_OK;
}

static mp_status check_names(const json_t *json, mp_error *err) {
    const char *known[MP_TILE_PARTS + COUNT(other_keys)], *name;
    const json_t *value;
    for (int i = 0; i < MP_TILE_PARTS; i++) known[i] = mp_tile_parts[i].name;
    for (size_t i = 0; i < COUNT(other_keys); i++) known[MP_TILE_PARTS + i] = other_keys[i];
    json_object_foreach((json_t *)json, name, value) {
        size_t i = 0;
        while (i < COUNT(known) && strcmp(name, known[i]) != 0) i++;
        if (i < COUNT(known)) continue;
        const char *nearest = mp_nearest_word(name, known, COUNT(known), 8);
        mp_text names = {0};
        for (i = 0; i < COUNT(known); i++) mp_text_add(&names, "%s%s", i ? ", " : "", known[i]);
        const mp_status status = mp_fail(err, MP_EINPUT, "unknown '%s'%s%s%s; expected one of %s", name,
                                         nearest ? ", did you mean '" : "", nearest ? nearest : "",
                                         nearest ? "'?" : "", mp_text_get(&names));
        mp_text_free(&names);
        return status;
    }
    return MP_OK;
}

static mp_status read_entry(const json_t *json, mp_tuned_entry *entry, mp_error *err) {
    int unused = 0;
    if (!json_is_object(json)) {
        char text[64];
        value_text(json, text);
        return mp_fail(err, MP_EINPUT, "%s: expected an object with BLOCK_SIZE_M and the like", text);
    }
    mp_status status = check_names(json, err);
    if (status == MP_OK) status = read_tile(json, entry, err);
    if (status == MP_OK) status = read_number(json, "SPLIT_K", 1, &entry->split_k, err);
    if (status == MP_OK) status = read_number(json, "num_ctas", 1, &entry->num_ctas, err);
    if (status == MP_OK) status = read_number(json, "waves_per_eu", 0, &unused, err);
    if (status == MP_OK) status = read_number(json, "matrix_instr_nonkdim", 0, &unused, err);
    if (status == MP_OK) status = read_number(json, "kpack", 1, &unused, err);
    const json_t *tma = json_object_get(json, "USE_TMA");
    if (status == MP_OK && tma && !json_is_boolean(tma))
        status = bad_value("USE_TMA", tma, "true or false", err);
    entry->use_tma = json_is_true(tma);
    return status;
}

/* Digits without leading zeros, so that two keys are the same number only where they are the same text, which
 * the parser refuses. */
static bool read_key(const char *text, int64_t *key) {
    if (*text < '1' || *text > '9' || text[strspn(text, "0123456789")]) return false;
    errno = 0;
    *key = strtoll(text, NULL, 10);
    return errno == 0;
}

static mp_status read_root(const json_t *root, mp_tuned_file *file, mp_error *err) {
    const char *name;
    const json_t *json;
    json_object_foreach((json_t *)root, name, json) {
        if (strcmp(name, "triton_version") == 0) {
            if (!json_is_string(json) || json_string_length(json) >= sizeof file->triton_version)
                return bad_value(name, json, "a text as in \"3.6.0\"", err);
            snprintf(file->triton_version, sizeof file->triton_version, "%s", json_string_value(json));
            continue;
        }
        mp_tuned_entry entry = {.split_k = 1, .num_ctas = 1};
        if (!read_key(name, &entry.key))
            return mp_fail(err, MP_EINPUT, "key \"%s\": expected a token count from 1 to %" PRId64, name,
                           INT64_MAX);
        const mp_status status = read_entry(json, &entry, err);
        if (status != MP_OK) {
            mp_error_prefix(err, "key \"%s\"", name);
            return status;
        }
        if (file->count == 0 || entry.key < file->first) file->first = entry.key;
        if (file->count == 0 || entry.key > file->last) file->last = entry.key;
        file->entries[file->count++] = entry;
    }
    return file->count ? MP_OK : mp_fail(err, MP_EINPUT, "no keys: expected at least one token count");
}

static mp_status read_file(const char *path, mp_tuned_file *file, mp_error *err) {
    json_error_t where;
    char *data = NULL;
    size_t size = 0;
    json_t *root = NULL;
    *file = (mp_tuned_file){0};
    mp_status status = mp_file_read_at_most(path, MOST_BYTES, &data, &size, err);
    if (status != MP_OK) goto out;
    root = json_loadb(data, size, JSON_REJECT_DUPLICATES, &where);
    if (!root) {
        status = mp_fail(err, MP_EINPUT, "%s:%d: %s", path, where.line, where.text);
    } else if (!json_is_object(root)) {
        status = mp_fail(err, MP_EINPUT, "%s: expected a JSON object", path);
    } else if (!(file->entries = malloc((json_object_size(root) + 1) * sizeof *file->entries))) {
        status = mp_fail(err, MP_EMEMORY, "%s: no memory for %zu keys", path, json_object_size(root));
    } else if ((status = read_root(root, file, err)) != MP_OK) {
        mp_error_prefix(err, "%s", path);
    }
out:
    if (status != MP_OK) free(file->entries);
    json_decref(root);
    free(data);
    return status;
}

/* Files that were read: a list that only grows, since callers keep pointers into it. */
typedef struct loaded {
    struct loaded *next;
    off_t size;
    struct timespec modified;
    mp_tuned_file file;
    char path[];
} loaded;

mp_status mp_tuned_load(const char *path, const mp_tuned_file **file, mp_error *err) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static loaded *list;
    mp_status status = MP_OK;
    struct stat info = {0};
    loaded *found;
    *file = NULL;
    pthread_mutex_lock(&lock);
    if (stat(path, &info) != 0) info.st_size = -1; /* read_file says why */
    for (found = list; found; found = found->next)
        if (found->size == info.st_size && found->modified.tv_sec == info.st_mtim.tv_sec &&
            found->modified.tv_nsec == info.st_mtim.tv_nsec && strcmp(found->path, path) == 0)
            break;
    if (!found) {
        loaded *fresh = malloc(sizeof *fresh + strlen(path) + 1);
        status = fresh ? read_file(path, &fresh->file, err)
                       : mp_fail(err, MP_EMEMORY, "%s: no memory for a tuned file", path);
        if (status != MP_OK) {
            free(fresh);
        } else {
            fresh->size = info.st_size;
            fresh->modified = info.st_mtim;
            strcpy(fresh->path, path);
            fresh->next = list;
            found = list = fresh;
        }
    }
    if (status == MP_OK) *file = &found->file;
    pthread_mutex_unlock(&lock);
    return status;
}

/* Both are positive, so that their distance cannot overflow. */
const mp_tuned_entry *mp_tuned_nearest(const mp_tuned_file *file, int64_t num_tokens) {
    const mp_tuned_entry *nearest = &file->entries[0];
    for (size_t i = 1; i < file->count; i++)
        if (llabs(file->entries[i].key - num_tokens) < llabs(nearest->key - num_tokens))
            nearest = &file->entries[i];
    return nearest;
}

int64_t mp_tuned_last_of_smaller(int64_t smaller, int64_t larger, bool larger_is_first) {
    const int64_t distance = larger - smaller, middle = smaller + distance / 2;
    const bool tie = distance % 2 == 0; /* `middle` is as far from both */
    return tie && larger_is_first ? middle - 1 : middle;
}
