/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/lookup.h"

#include "kernels/tuned_scheme.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *mp_tuned_folder(int which, const char **variable) {
    *variable = mp_loaders[which].variable;
    const char *folder = getenv(*variable);
    return folder && *folder ? folder : NULL;
}

/* ---- one lookup ---- */

typedef struct lookup {
    const mp_config_query *query;
    mp_tuned_key key;
    const char *folders[MP_TUNED_FOLDERS];
    mp_config *config;
    char denied[PATH_MAX]; /* a path that nobody told us the contents of; "" */
} lookup;

static void file_name(const lookup *l, int loader, bool down, char name[MP_TUNED_NAME_SIZE]) {
    mp_tuned_name(&mp_loaders[loader], &l->key, down, name);
}

/* Who is not told what is there has not learnt that it is not. The first such path. */
static void note_denied(lookup *l, const char *path) {
    if (!*l->denied) snprintf(l->denied, sizeof l->denied, "%s", path);
}

static void note_version(const lookup *l, const mp_place *chosen, const char *name) {
    char asked[64];
    if (!*l->query->triton || chosen->rule != MP_PLACE_OTHER_VERSION) return;
    snprintf(asked, sizeof asked, "triton_%s", l->query->triton);
    for (char *s = asked; *s; s++)
        if (*s == '.') *s = '_';
    const char *end = strrchr(chosen->path, '/'), *begin = end;
    while (begin > chosen->path && begin[-1] != '/') begin--;
    mp_config_warn(l->config, "%s comes from %.*s, not from %s", name, (int)(end - begin), begin, asked);
}

/* The file of one loader. Where that one gives up, at a folder whose name is no version, this lookup goes
 * on. */
static mp_status find_by(lookup *l, int loader, bool down, mp_found_file *file, mp_error *err) {
    const mp_loader *rules = &mp_loaders[loader];
    char name[MP_TUNED_NAME_SIZE], folder[PATH_MAX + 16];
    mp_search search;
    file_name(l, loader, down, name);
    snprintf(folder, sizeof folder, "%s%s%s", l->folders[loader], *rules->below_variable ? "/" : "",
             rules->below_variable);
    const mp_status status =
        mp_loader_search(rules, &(mp_root){folder, false}, 1, name, l->query->triton, &search, err);
    const mp_place *chosen = mp_search_first(&search);
    for (size_t i = 0; i < search.count; i++)
        if (search.place[i].denied) note_denied(l, search.place[i].path);
    if (search.listing_failed == EACCES) note_denied(l, folder);
    for (size_t i = 0; i < search.odd_count; i++)
        mp_config_warn(l->config, "folder %s passed over: no version as in triton_3_6_0", search.odd[i]);
    if (chosen) {
        note_version(l, chosen, name);
        snprintf(file->path, sizeof file->path, "%s", chosen->path);
        file->versioned = rules->versioned;
    }
    mp_search_free(&search);
    return status;
}

static mp_status find(lookup *l, bool down, mp_found_file *file, mp_error *err) {
    mp_status status = MP_OK;
    *file = (mp_found_file){0};
    for (int i = 0; status == MP_OK && i < MP_TUNED_FOLDERS && !*file->path; i++)
        if (l->folders[i] && (!down || mp_loaders[i].down_files)) status = find_by(l, i, down, file, err);
    return status;
}

static void warn_of_defaults(const lookup *l) {
    char text[MP_CONFIG_TEXT_MAX] = "", name[MP_TUNED_NAME_SIZE];
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) {
        if (!l->folders[i]) continue;
        const size_t used = strlen(text);
        file_name(l, i, false, name);
        snprintf(text + used, sizeof text - used, "%s no %s below %s", used ? " and" : "", name,
                 l->folders[i]);
    }
    if (*text)
        mp_config_warn(l->config, "default,%s%s", text, *l->query->device ? "" : " (no GPU, no device name)");
}

/* Length of the folder's part of a path. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

static void warn_of_pair(const lookup *l, const char *up, const char *down) {
    const size_t a = folder_length(up), b = folder_length(down);
    if (!*down) return;
    if (!*up)
        mp_config_warn(l->config, "a _down file alone: gate_up has the default tile");
    else if (a != b || memcmp(up, down, a) != 0)
        mp_config_warn(l->config, "up and down come from different folders: %.*s and %.*s", (int)a, up,
                       (int)b, down);
}

/* FILE.json has FILE_down.json beside it, or serves both. */
static void take_named(const char *file, mp_found_file *up, mp_found_file *down) {
    static const char end[] = ".json";
    const size_t length = strlen(file), stem = length - strlen(end);
    *up = *down = (mp_found_file){0};
    snprintf(up->path, PATH_MAX, "%s", file);
    if (length < strlen(end) || strcmp(file + stem, end) != 0) return;
    const int needed = snprintf(down->path, PATH_MAX, "%.*s_down%s", (int)stem, file, end);
    if (needed >= PATH_MAX || access(down->path, F_OK) != 0) down->path[0] = '\0';
}

mp_status mp_tuned_check(const mp_config_query *query, mp_error *err) {
    const size_t device = strlen(query->device), file = strlen(query->file);
    if (device > MP_DEVICE_NAME_MAX)
        return mp_fail(err, MP_EINPUT, "device '%.40s...' has %zu characters: expected at most %d",
                       query->device, device, MP_DEVICE_NAME_MAX);
    if (*query->triton && (strlen(query->triton) > 32 || !mp_triton_version_valid(query->triton)))
        return mp_fail(err, MP_EINPUT, "Triton version '%.40s': expected numbers as in 3.6.0", query->triton);
    if (file >= PATH_MAX)
        return mp_fail(err, MP_EINPUT, "%.40s...: a path of %zu characters: expected fewer than %d",
                       query->file, file, PATH_MAX);
    /* Who points to a folder wants its files: one that is not there must not silently become the defaults. */
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) {
        const char *variable, *folder = mp_tuned_folder(i, &variable);
        struct stat info;
        if (folder && (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode)))
            return mp_fail(err, MP_EINPUT, "%s=%s: not a folder; expected one with tuned configurations",
                           variable, folder);
    }
    return MP_OK;
}

mp_status mp_tuned_find(const mp_case *c, const mp_config_query *query, mp_found_file *up,
                        mp_found_file *down, mp_config *config, mp_error *err) {
    lookup l = {.query = query, .config = config};
    mp_status status = MP_OK;
    l.key = (mp_tuned_key){.E = c->E, .N = c->N, .device = query->device};
    mp_tuned_key_of_case(c, &l.key);
    if (*query->file) {
        take_named(query->file, up, down);
        return MP_OK; /* who may not look beside it may not open it either */
    }
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) {
        const char *variable;
        l.folders[i] = mp_tuned_folder(i, &variable);
    }
    if (*query->triton && !l.folders[MP_LOADER_SGLANG])
        mp_config_warn(config, "Triton %s has no part in it: SGLANG_MOE_CONFIG_DIR is not set",
                       query->triton);
    status = find(&l, false, up, err);
    if (status == MP_OK && !*up->path) warn_of_defaults(&l);
    if (status == MP_OK) status = find(&l, true, down, err);
    if (status != MP_OK) return status;
    if (*l.denied)
        return mp_fail(err, MP_EIO, "%s: Permission denied; expected tuned configurations", l.denied);
    warn_of_pair(&l, up->path, down->path);
    return MP_OK;
}
