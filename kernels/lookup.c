/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/lookup.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- versions ---- */

enum { VERSION_PARTS = 8 };
typedef struct version {
    long part[VERSION_PARTS];
    int count;
} version;

static bool parse_version(const char *text, const char *separators, version *v) {
    *v = (version){0};
    for (;; text++) {
        const size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 9 || v->count == VERSION_PARTS) return false;
        v->part[v->count++] = strtol(text, NULL, 10);
        text += digits;
        if (*text == '\0') return true;
        if (!strchr(separators, *text)) return false;
    }
}

/* Number by number: 3.10 is newer than 3.9, and 3.2.0 than 3.2. */
static int compare_versions(const version *a, const version *b) {
    for (int i = 0; i < a->count && i < b->count; i++)
        if (a->part[i] != b->part[i]) return a->part[i] < b->part[i] ? -1 : 1;
    return a->count - b->count;
}

bool mp_triton_version_equal(const char *a, const char *b) {
    version x, y;
    return parse_version(a, "._", &x) && parse_version(b, "._", &y) && compare_versions(&x, &y) == 0;
}

/* ---- folders ---- */

enum { SGLANG, VLLM };

const char *mp_tuned_folder(int which, const char **variable) {
    static const char *const names[MP_TUNED_FOLDERS] = {
        [SGLANG] = "SGLANG_MOE_CONFIG_DIR", [VLLM] = "VLLM_TUNED_CONFIG_FOLDER"};
    const char *folder = getenv(names[which]);
    *variable = names[which];
    return folder && *folder ? folder : NULL;
}

static const char prefix[] = "triton_";
#define VERSION_OF(folder) ((folder) + sizeof prefix - 1)

static int is_version_folder(const struct dirent *entry) {
    return strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
}

static int by_version(const struct dirent **a, const struct dirent **b) {
    version x, y;
    parse_version(VERSION_OF((*a)->d_name), "_", &x);
    parse_version(VERSION_OF((*b)->d_name), "_", &y);
    const int order = compare_versions(&x, &y);
    return order ? order : strcmp((*a)->d_name, (*b)->d_name);
}

/* ---- one lookup ---- */

typedef struct lookup {
    const mp_case *c;
    const mp_config_query *query;
    const char *folders[MP_TUNED_FOLDERS];
    mp_config *config;
    char denied[PATH_MAX]; /* a path that nobody told us the contents of; "" */
} lookup;

enum { DEVICE_NAME_MAX = 128, FILE_NAME_SIZE = 256 };

/* `E=128,N=768,device_name=NVIDIA_H100_80GB_HBM3.json`; bf16 and fp16 have no dtype part. */
static void file_name(const lookup *l, int loader, bool down, char name[FILE_NAME_SIZE]) {
    char device[DEVICE_NAME_MAX + 1], parts[DEVICE_NAME_MAX + 3];
    snprintf(device, sizeof device, "%s", l->query->device);
    for (char *s = device; *s; s++)
        if (*s == ' ' || (*s == '/' && loader == VLLM)) *s = '_';
    snprintf(parts, sizeof parts, "_%s_", device);
    if (loader == VLLM && strstr(parts, "_H200_")) strcpy(device, "NVIDIA_H200");
    snprintf(name, FILE_NAME_SIZE, "E=%lld,N=%lld,device_name=%s%s%s.json", (long long)l->c->E,
             (long long)l->c->N, device, l->c->dtype == MP_FP32 ? ",dtype=float32" : "", down ? "_down" : "");
}

static bool make_path(lookup *l, char path[PATH_MAX], const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether there is such a path, and room for it. One that may not be looked at is not the same as none. */
static bool make_path(lookup *l, char path[PATH_MAX], const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(path, PATH_MAX, format, args);
    va_end(args);
    if (length >= PATH_MAX) return false;
    if (access(path, F_OK) == 0) return true;
    if (errno == EACCES && !*l->denied) strcpy(l->denied, path); /* the first */
    return false;
}

/* The asked version's folder first, then the others, newest first. */
static bool find_versioned(lookup *l, bool down, char path[PATH_MAX]) {
    char configs[PATH_MAX], candidate[PATH_MAX], name[FILE_NAME_SIZE], asked[64] = "";
    struct dirent **entries = NULL;
    const char *chosen = NULL;
    version v;
    file_name(l, SGLANG, down, name);
    if (*l->query->triton) snprintf(asked, sizeof asked, "%s%s", prefix, l->query->triton);
    for (char *s = asked; *s; s++)
        if (*s == '.') *s = '_';
    const bool there = make_path(l, configs, "%s/configs", l->folders[SGLANG]);
    const int count = there ? scandir(configs, &entries, is_version_folder, by_version) : 0;
    if (count < 0 && errno == EACCES) strcpy(l->denied, configs);
    for (int i = count - 1; i >= 0; i--) {
        const char *folder = entries[i]->d_name;
        if (!parse_version(VERSION_OF(folder), "_", &v)) {
            mp_config_warn(l->config, "folder %s passed over: no version as in triton_3_6_0", folder);
        } else if (make_path(l, candidate, "%s/%s/%s", configs, folder, name) &&
                   (!chosen || strcmp(folder, asked) == 0)) {
            chosen = folder;
            strcpy(path, candidate);
        }
    }
    if (chosen && *asked && strcmp(chosen, asked) != 0)
        mp_config_warn(l->config, "%s comes from %s, not from %s", name, chosen, asked);
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return chosen;
}

static bool find(lookup *l, bool down, mp_found_file *file) {
    char name[FILE_NAME_SIZE];
    *file = (mp_found_file){0};
    file->versioned = l->folders[SGLANG] && find_versioned(l, down, file->path);
    if (file->versioned) return true;
    file_name(l, VLLM, down, name);
    if (l->folders[VLLM] && make_path(l, file->path, "%s/%s", l->folders[VLLM], name)) return true;
    file->path[0] = '\0';
    return false;
}

static void warn_of_defaults(const lookup *l) {
    char text[MP_CONFIG_TEXT_MAX] = "", name[FILE_NAME_SIZE];
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
static void take_named(lookup *l, const char *file, mp_found_file *up, mp_found_file *down) {
    static const char end[] = ".json";
    const size_t length = strlen(file), stem = length - strlen(end);
    *up = *down = (mp_found_file){0};
    snprintf(up->path, PATH_MAX, "%s", file);
    if (length < strlen(end) || strcmp(file + stem, end) != 0 ||
        !make_path(l, down->path, "%.*s_down%s", (int)stem, file, end))
        down->path[0] = '\0';
}

mp_status mp_tuned_check(const mp_config_query *query, mp_error *err) {
    const size_t device = strlen(query->device), file = strlen(query->file);
    version v;
    if (device > DEVICE_NAME_MAX)
        return mp_fail(err, MP_EINPUT, "device '%.40s...' has %zu characters: expected at most %d",
                       query->device, device, DEVICE_NAME_MAX);
    if (*query->triton && (strlen(query->triton) > 32 || !parse_version(query->triton, "._", &v)))
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
    lookup l = {.c = c, .query = query, .config = config};
    if (*query->file) {
        take_named(&l, query->file, up, down);
        return MP_OK; /* who may not look beside it may not open it either */
    }
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) {
        const char *variable;
        l.folders[i] = mp_tuned_folder(i, &variable);
    }
    if (*query->triton && !l.folders[SGLANG])
        mp_config_warn(config, "Triton %s has no part in it: SGLANG_MOE_CONFIG_DIR is not set",
                       query->triton);
    if (!find(&l, false, up)) warn_of_defaults(&l);
    find(&l, true, down);
    if (*l.denied)
        return mp_fail(err, MP_EIO, "%s: Permission denied; expected tuned configurations", l.denied);
    warn_of_pair(&l, up->path, down->path);
    return MP_OK;
}
