/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/audit/collect.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEEPEST = 32 };

static mp_status no_memory(const char *path, mp_error *err) {
    return mp_fail(err, MP_EMEMORY, "%s: no memory", path);
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_table_name(const char *name) {
    const size_t length = strlen(name);
    return strncmp(name, "E=", 2) == 0 && length > 7 && strcmp(name + length - 5, ".json") == 0;
}

/* Which loaders ask for such a name. */
static unsigned askers(const mp_table *t) {
    unsigned readers = 0;
    if (!t->named || t->name.other) return 0;
    const mp_tuned_key key = mp_tuned_key_of(&t->name);
    for (int i = 0; i < MP_LOADER_COUNT; i++) {
        char name[MP_TUNED_NAME_SIZE];
        mp_loader unpacked = mp_loaders[i]; /* the number stands in the name as it is asked for */
        unpacked.packed_int4 = 1;
        mp_tuned_name(&unpacked, &key, t->name.down, name);
        if (strcmp(name, t->file) == 0) readers |= 1u << i;
    }
    return readers;
}

/* The loaders that the contents are for: by the folder, else by the name, else all. */
static unsigned readers_of(const mp_audit_file *f) {
    const unsigned all = MP_READ_BY_SGLANG | MP_READ_BY_VLLM, by_name = askers(&f->table);
    if (f->version || f->lies == MP_LIES_ABOVE_VERSIONS || f->lies == MP_LIES_TOO_DEEP ||
        f->lies == MP_LIES_IN_ODD_FOLDER)
        return MP_READ_BY_SGLANG;
    if (f->lies != MP_LIES_ANYWHERE && by_name & MP_READ_BY_VLLM) return MP_READ_BY_VLLM;
    if (by_name) return by_name;
    return f->lies == MP_LIES_ANYWHERE ? all : MP_READ_BY_VLLM;
}

/* Whether the name ends as those of another kernel do, that a loader of these files asks for. */
static bool of_other_kernel(const mp_audit_file *f) {
    for (int i = 0; i < MP_LOADER_COUNT; i++) {
        const char *end = mp_loaders[i].flat_names;
        const size_t length = strlen(f->table.file), tail = strlen(end);
        if (tail && !mp_loaders[i].versioned == !f->version && length > tail &&
            strcmp(f->table.file + length - tail, end) == 0)
            return true;
    }
    return false;
}

static mp_status add_file(mp_audit *audit, const char *path, const char *folder, mp_lies lies, bool is_folder,
                          mp_error *err) {
    const size_t n = audit->file_count;
    mp_audit_file *longer = audit->file;
    if ((n & (n - 1)) == 0) longer = realloc(longer, (n ? 2 * n : 1) * sizeof *longer);
    if (!longer) return no_memory(path, err);
    audit->file = longer;
    mp_audit_file *f = &audit->file[audit->file_count++];
    *f = (mp_audit_file){.lies = lies, .is_folder = is_folder};
    f->folder = strdup(last_part(folder));
    f->place = strdup(folder);
    if (!f->folder || !f->place) return no_memory(path, err);
    if (is_folder) {
        f->table.path = strdup(path);
        f->table.file = f->table.path ? last_part(f->table.path) : "";
        return f->table.path ? MP_OK : no_memory(path, err);
    }
    const char *version;
    if (mp_triton_folder(f->folder, &version)) {
        f->version = version;
        char *slash = strrchr(f->place, '/');
        if (slash && slash > f->place) *slash = '\0';
    }
    mp_status status = mp_table_load(path, &f->table, err);
    if (status == MP_EIO && lies != MP_LIES_ANYWHERE) {
        /* the text begins with the path, which the finding has already */
        const char *text = err && strncmp(err->text, path, strlen(path)) == 0 ? err->text + strlen(path) + 2
                                                                              : "it cannot be read";
        f->table.broken = strdup(text);
        status = f->table.broken ? MP_OK : no_memory(path, err);
        if (err) *err = (mp_error){0};
    }
    if (status == MP_OK) {
        f->other_kernel = of_other_kernel(f);
        f->readers = readers_of(f);
    }
    return status;
}

/* ---- folders ---- */

typedef struct above {
    bool version;  /* a folder above is one of a version */
    bool versions; /* a folder above has such folders */
    bool files;    /* a folder above, of those that are looked through, has files itself */
} above;

static int no_dots(const struct dirent *entry) {
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static bool is_folder(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode); /* links lead in circles */
}

/* One folder: its files, then its folders, both by name. `real` is it without links and dots. */
static mp_status collect_folder(mp_audit *audit, const char *path, const char *real, above over, int depth,
                                mp_error *err) {
    struct dirent **entries = NULL;
    const char *text;
    bool versions = false, files = false;
    mp_status status = MP_OK;
    const int count = scandir(path, &entries, no_dots, alphasort);
    if (count < 0)
        return mp_fail(err, errno == ENOMEM ? MP_EMEMORY : MP_EIO, "%s: %s; expected a folder of tuned files",
                       path, strerror(errno));
    for (int i = 0; i < count; i++) {
        mp_triton_folder(entries[i]->d_name, &text);
        versions = versions || text;
        files = files || is_table_name(entries[i]->d_name);
    }
    const bool is_version = mp_triton_folder(last_part(real), &text), is_odd = text && !is_version;
    const mp_lies lies = over.version                ? MP_LIES_TOO_DEEP
                         : is_version                ? MP_LIES_IN_VERSION
                         : is_odd                    ? MP_LIES_IN_ODD_FOLDER
                         : versions || over.versions ? MP_LIES_ABOVE_VERSIONS
                         : over.files                ? MP_LIES_BELOW_FLAT
                                                     : MP_LIES_FLAT;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; status == MP_OK && i < count; i++) {
            const char *name = entries[i]->d_name;
            char *below = NULL, *real_below = NULL;
            if (asprintf(&below, "%s/%s", path, name) < 0 || asprintf(&real_below, "%s/%s", real, name) < 0) {
                free(below);
                status = no_memory(path, err);
                break;
            }
            const bool valid = mp_triton_folder(name, &text);
            if (pass == 0 && is_table_name(name))
                status = add_file(audit, below, real, lies, false, err);
            else if (pass == 0 && text && !valid)
                status = add_file(audit, below, real, MP_LIES_IN_ODD_FOLDER, true, err);
            if (pass == 1 && status == MP_OK && is_folder(below) && !is_table_name(name) && depth < DEEPEST)
                status = collect_folder(audit, below, real_below,
                                        (above){over.version || is_version, over.versions || versions,
                                                over.files || (files && !versions)},
                                        depth + 1, err);
            free(below);
            free(real_below);
        }
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return status;
}

/* Whether one of the folders above a path is one of a version. */
static bool below_version(const char *real) {
    char *copy = strdup(real);
    bool found = false;
    const char *text;
    for (char *slash; copy && (slash = strrchr(copy, '/'));) {
        *slash = '\0';
        found = found || mp_triton_folder(last_part(copy), &text);
    }
    free(copy);
    return found;
}

static mp_status collect(mp_audit *audit, const char *path, mp_error *err) {
    struct stat info;
    mp_status status = MP_OK;
    if (stat(path, &info) != 0)
        return mp_fail(err, MP_EINPUT, "%s: %s; expected a tuned file or a folder of them", path,
                       strerror(errno));
    char *real = realpath(path, NULL), *named = strdup(path);
    if (!real || !named) {
        status = mp_fail(err, MP_EIO, "%s: %s", path, strerror(errno));
    } else if (S_ISDIR(info.st_mode)) {
        for (size_t n = strlen(named); n > 1 && named[n - 1] == '/'; n--) named[n - 1] = '\0';
        const size_t before = audit->file_count;
        status = collect_folder(audit, strcmp(named, "/") == 0 ? "" : named, real,
                                (above){.version = below_version(real)}, 0, err);
        if (status == MP_OK && audit->file_count == before)
            status = mp_fail(err, MP_EINPUT, "%s: no file E=....json in it; expected a folder of tuned files",
                             path);
    } else {
        char *slash = strrchr(real, '/');
        *slash = '\0';
        status = add_file(audit, named, *real ? real : "/", MP_LIES_ANYWHERE, false, err);
    }
    free(real);
    free(named);
    return status;
}

/* A file that is named twice, or lies in a folder that is named too, is one file: the first. */
static mp_status drop_doubles(mp_audit *audit, mp_error *err) {
    size_t kept = 0;
    json_t *seen = json_object();
    mp_status status = MP_OK;
    for (size_t i = 0; i < audit->file_count; i++) {
        mp_audit_file *f = &audit->file[i];
        char *path = NULL;
        if (asprintf(&path, "%s/%s/%s", f->place, f->folder, f->table.file) < 0) path = NULL;
        if (!path) status = no_memory(f->table.path, err);
        if (path && json_object_get(seen, path)) {
            mp_audit_file_free(f);
        } else {
            if (path) json_object_set_new_nocheck(seen, path, json_true());
            audit->file[kept++] = *f;
        }
        free(path);
    }
    audit->file_count = kept;
    json_decref(seen);
    return status;
}

mp_status mp_audit_collect(mp_audit *audit, char *const *paths, size_t count, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; status == MP_OK && i < count; i++) status = collect(audit, paths[i], err);
    return status == MP_OK ? drop_doubles(audit, err) : status;
}
