#include "kernels/config.h"

#include "base/file.h"
#include "cases/graph.h"

#include <ctype.h>
#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_power_of_two(int v) {
    return v > 0 && (v & (v - 1)) == 0;
}

mp_status mp_tile_validate(const mp_tile *tile, mp_error *err) {
    const struct {
        const char *name;
        int value, min, max;
        bool power_of_two;
    } rules[] = {
        {"BLOCK_SIZE_M", tile->block_size_m, 16, 256, true},
        {"BLOCK_SIZE_N", tile->block_size_n, 16, 256, true},
        {"BLOCK_SIZE_K", tile->block_size_k, 32, 256, true},
        {"GROUP_SIZE_M", tile->group_size_m, 1, INT32_MAX, false},
        {"num_warps", tile->num_warps, 1, 8, true},
        {"num_stages", tile->num_stages, 1, 5, false},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const int v = rules[i].value;
        if (v < rules[i].min || v > rules[i].max || (rules[i].power_of_two && !is_power_of_two(v)))
            return mp_fail(err, MP_EINPUT, "%s=%d: expected %s%d..%d", rules[i].name, v,
                           rules[i].power_of_two ? "a power of two in " : "", rules[i].min, rules[i].max);
    }
    return MP_OK;
}

/* `E=128,N=768,device_name=NVIDIA_H100_80GB_HBM3.json`; bf16 and fp16 have no dtype part. */
static void file_name(const mp_case *c, const char *device_name, bool down, char *name, size_t size) {
    snprintf(name, size, "E=%lld,N=%lld,device_name=%s%s%s.json", (long long)c->E, (long long)c->N,
             device_name, c->dtype == MP_FP32 ? ",dtype=float32" : "", down ? "_down" : "");
    for (char *s = name; *s; s++)
        if (*s == ' ') *s = '_';
}

/* Compares two names `triton_X_Y_Z` by version, number by number: 3_10_0 is newer than 3_2_0. */
static int compare_versions(const char *a, const char *b) {
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            char *end_a, *end_b;
            const long x = strtol(a, &end_a, 10), y = strtol(b, &end_b, 10);
            if (x != y) return x < y ? -1 : 1;
            a = end_a, b = end_b;
        } else {
            if (*a != *b) return *a < *b ? -1 : 1;
            a++, b++;
        }
    }
    return (*a != 0) - (*b != 0);
}

enum { SGLANG, VLLM };

const char *mp_tuned_folder(int which, const char **variable) {
    static const char *const names[MP_TUNED_FOLDERS] = {
        [SGLANG] = "SGLANG_MOE_CONFIG_DIR", [VLLM] = "VLLM_TUNED_CONFIG_FOLDER"};
    const char *folder = getenv(names[which]);
    *variable = names[which];
    return folder && *folder ? folder : NULL;
}

/* Who points to a folder wants its files: one that is not there must not silently become the defaults. Fills
 * one that is there, or NULL. */
static mp_status check_folders(const char **any, mp_error *err) {
    *any = NULL;
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) {
        const char *variable, *folder = mp_tuned_folder(i, &variable);
        struct stat info;
        if (!folder) continue;
        if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
            return mp_fail(err, MP_EINPUT, "%s=%s: not a folder; expected one with tuned configurations",
                           variable, folder);
        if (!*any) *any = folder;
    }
    return MP_OK;
}

/* True and its path when a folder that is configured has the file. Another project keeps its files directly
 * in its folder. */
static bool find_file(const char *name, char *path, size_t size) {
    const char *variable, *sglang = mp_tuned_folder(SGLANG, &variable),
                          *vllm = mp_tuned_folder(VLLM, &variable);
    bool found = false;
    char configs[PATH_MAX], candidate[PATH_MAX], newest[256] = "";
    if (sglang && snprintf(configs, sizeof configs, "%s/configs", sglang) < (int)sizeof configs) {
        DIR *folder = opendir(configs);
        for (const struct dirent *entry; folder && (entry = readdir(folder));) {
            const bool fits = snprintf(candidate, sizeof candidate, "%s/%s/%s", configs, entry->d_name,
                                       name) < (int)sizeof candidate;
            if (!fits || strncmp(entry->d_name, "triton_", 7) != 0 || access(candidate, F_OK) != 0) continue;
            if (found && compare_versions(entry->d_name, newest) <= 0) continue;
            snprintf(newest, sizeof newest, "%s", entry->d_name);
            snprintf(path, size, "%s", candidate);
            found = true;
        }
        if (folder) closedir(folder);
    }
    if (!found && vllm) {
        snprintf(path, size, "%s/%s", vllm, name);
        found = access(path, F_OK) == 0;
    }
    return found;
}

static mp_status read_tile(const json_t *entry, mp_tile *tile, mp_error *err) {
    const struct {
        const char *name;
        int *to;
    } fields[] = {
        {"BLOCK_SIZE_M", &tile->block_size_m}, {"BLOCK_SIZE_N", &tile->block_size_n},
        {"BLOCK_SIZE_K", &tile->block_size_k}, {"GROUP_SIZE_M", &tile->group_size_m},
        {"num_warps", &tile->num_warps},       {"num_stages", &tile->num_stages},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *value = json_object_get(entry, fields[i].name);
        if (!json_is_integer(value))
            return mp_fail(err, MP_EINPUT, "%s is missing or no integer", fields[i].name);
        const json_int_t number = json_integer_value(value);
        *fields[i].to = number < 0           ? -1
                        : number > INT32_MAX ? INT32_MAX
                                             : (int)number; /* both ends are out of every range */
    }
    return mp_tile_validate(tile, err);
}

/* Reads the tile of the key nearest to num_tokens; of two equally near the one first in the file (jansson
 * keeps the file's order). */
static mp_status look_up(const char *path, int64_t num_tokens, mp_tile *tile, int64_t *key, mp_error *err) {
    json_error_t where;
    char *data = NULL;
    size_t size = 0;
    json_t *root = NULL;
    const json_t *entry = NULL, *nearest = NULL;
    const char *name;
    mp_status status = mp_file_read(path, &data, &size, err);
    if (status != MP_OK) goto out;
    root = json_loadb(data, size, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(root)) {
        status = mp_fail(err, MP_EINPUT, "%s:%d: %s", path, root ? 1 : where.line,
                         root ? "expected a JSON object" : where.text);
        goto out;
    }
    json_object_foreach((json_t *)root, name, entry) {
        if (strcmp(name, "triton_version") == 0) continue;
        char *end = NULL;
        const long long number = strtoll(name, &end, 10);
        if (!isdigit((unsigned char)*name) || *end || number < 1 || !json_is_object(entry)) {
            status = mp_fail(err, MP_EINPUT, "%s: key \"%s\": expected a positive token count with an object",
                             path, name);
            goto out;
        }
        if (!nearest || llabs(number - num_tokens) < llabs(*key - num_tokens)) {
            nearest = entry;
            *key = number;
        }
    }
    if (!nearest) {
        status = mp_fail(err, MP_EINPUT, "%s has no keys", path);
        goto out;
    }
    status = read_tile(nearest, tile, err);
    if (status != MP_OK) mp_error_prefix(err, "%s: key \"%lld\"", path, (long long)*key);
out:
    json_decref(root);
    free(data);
    return status;
}

/* The public defaults for unquantised weights; warps and stages are Triton's. */
static mp_tile default_tile(const mp_case *c, int64_t num_tokens) {
    return num_tokens <= c->E ? (mp_tile){16, 32, 64, 1, 4, 3} : (mp_tile){64, 64, 32, 8, 4, 3};
}

static void warn(mp_config *config, const char *text) {
    const size_t used = strlen(config->warning);
    snprintf(config->warning + used, sizeof config->warning - used, "%s%s", used ? "; " : "", text);
}

mp_status mp_config_resolve(const mp_case *c, const char *device_name, mp_config *config, mp_error *err) {
    char name[512], path[PATH_MAX], text[256];
    int64_t key = 0, down_key = 0;
    mp_status status = MP_OK;
    const int64_t num_tokens =
        mp_case_chunk_tokens(c, 0); /* the old chunk loop looks up what one chunk holds */
    *config = (mp_config){0};
    const char *folder;
    if ((status = check_folders(&folder, err)) != MP_OK) return status;

    file_name(c, device_name, false, name, sizeof name);
    if (!mp_tile_is_auto(&c->tile)) {
        config->up = c->tile;
        config->tile_named = true;
        snprintf(config->source, sizeof config->source, "explicit");
    } else if (find_file(name, path, sizeof path)) {
        status = look_up(path, num_tokens, &config->up, &key, err);
        if (status != MP_OK) return status;
        config->tile_named = true;
        snprintf(config->source, sizeof config->source, "%.480s key %lld", path, (long long)key);
    } else {
        config->up = default_tile(c, num_tokens);
        snprintf(config->source, sizeof config->source, "default");
        if (folder) {
            snprintf(text, sizeof text, "default, no %.90s below %.90s%s", name, folder,
                     *device_name ? "" : " (no GPU, no device name)");
            warn(config, text);
        }
    }

    config->down = config->up;
    file_name(c, device_name, true, name, sizeof name);
    if (!mp_tile_is_auto(&c->tile_down)) {
        config->down = c->tile_down;
    } else if (mp_tile_is_auto(&c->tile) && find_file(name, path, sizeof path)) {
        status = look_up(path, num_tokens, &config->down, &down_key, err);
        if (status != MP_OK) return status;
        snprintf(text, sizeof text, " + _down key %lld", (long long)down_key);
        strncat(config->source, text, sizeof config->source - strlen(config->source) - 1);
    }
    if (config->down.block_size_m != config->up.block_size_m) {
        snprintf(text, sizeof text, "down BLOCK_SIZE_M %d overridden by up's %d", config->down.block_size_m,
                 config->up.block_size_m);
        warn(config, text);
        config->down.block_size_m = config->up.block_size_m;
    }
    status = mp_tile_validate(&config->up, err);
    return status == MP_OK ? mp_tile_validate(&config->down, err) : status;
}
