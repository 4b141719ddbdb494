/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/config.h"

#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "kernels/lookup.h"
#include "kernels/tuned.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static_assert(MP_CONFIG_TEXT_MAX >= 2 * PATH_MAX + 1024, "room for two paths and what is said about them");

mp_status mp_tile_validate(const mp_tile *tile, mp_error *err) {
    mp_tile t = *tile;
    for (int part = 0; part < MP_TILE_PARTS; part++) {
        const int value = *mp_tile_at(&t, part);
        char expected[64];
        if (mp_tile_part_allows(part, value)) continue;
        mp_tile_part_expected(part, expected);
        return mp_fail(err, MP_EINPUT, "%s=%d: expected %s", mp_tile_parts[part].name, value, expected);
    }
    return MP_OK;
}

/* ---- texts ---- */

/* Appends a whole part behind the separator, or "; ..." once where it does not fit. */
static void append(char text[MP_CONFIG_TEXT_MAX], const char *separator, const char *part) {
    static const char more[] = "; ...";
    const size_t used = strlen(text), mark = strlen(more);
    if (used >= mark && strcmp(text + used - mark, more) == 0) return;
    if (used == 0) separator = "";
    if (used + strlen(separator) + strlen(part) + sizeof more <= MP_CONFIG_TEXT_MAX)
        sprintf(text + used, "%s%s", separator, part);
    else
        strcpy(text + used, more); /* room for it is always left */
}

void mp_config_warn(mp_config *config, const char *format, ...) {
    char text[MP_CONFIG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!strstr(config->warning, text)) append(config->warning, "; ", text);
}

/* ---- tiles ---- */

/* The public defaults for unquantised weights; warps and stages are Triton's. */
static mp_tile default_tile(const mp_case *c, int64_t num_tokens) {
    return num_tokens <= c->E ? (mp_tile){16, 32, 64, 1, 4, 3} : (mp_tile){64, 64, 32, 8, 4, 3};
}

/* Whether this key was meant for so many tokens. */
static void note_distance(mp_config *config, const char *which, const mp_tuned_file *file, int64_t key,
                          int64_t num_tokens) {
    const bool below = num_tokens<file->first, above = num_tokens> file->last,
               far = key - num_tokens > num_tokens || num_tokens - key > key;
    if (!below && !above && !far) return;
    mp_config_warn(config, "%s: %lld tokens are %s key %lld%s", which, (long long)num_tokens,
                   below   ? "below the first"
                   : above ? "above the last"
                           : "served by",
                   (long long)key, far ? ", more than 2x away" : "");
}

/* What the entry leaves open, and what of it these kernels do not do. */
static void note_entry(mp_config *config, const char *which, const mp_tuned_entry *e) {
    const long long key = e->key;
    if (e->default_warps)
        mp_config_warn(config, "%s: key %lld has no num_warps: the compiler's %d", which, key,
                       e->tile.num_warps);
    if (e->default_stages)
        mp_config_warn(config, "%s: key %lld has no num_stages: the compiler's %d", which, key,
                       e->tile.num_stages);
    if (e->use_tma) mp_config_warn(config, "%s: key %lld says USE_TMA, which is not used here", which, key);
    if (e->split_k > 1)
        mp_config_warn(config, "%s: key %lld says SPLIT_K %d, used here is 1", which, key, e->split_k);
    if (e->num_ctas > 1)
        mp_config_warn(config, "%s: key %lld says num_ctas %d, used here is 1", which, key, e->num_ctas);
}

/* The tile that the file has for the case. */
static mp_status take(const char *which, const mp_found_file *found, const mp_case *c, const char *triton,
                      mp_config *config, mp_tile *tile, mp_error *err) {
    const int64_t num_tokens = mp_case_chunk_tokens(c, 0); /* the chunk loop looks up what one chunk holds */
    const mp_tuned_file *file;
    char text[PATH_MAX + 32];
    const mp_status status = mp_tuned_load(found->path, &file, err);
    if (status != MP_OK) return status;
    if (found->versioned && *file->triton_version)
        return mp_fail(err, MP_EINPUT,
                       "%s: key \"triton_version\": expected a token count: only the flat folder's loader "
                       "takes it out",
                       found->path);
    if (*triton && *file->triton_version && !mp_triton_version_equal(triton, file->triton_version))
        mp_config_warn(config, "%s: the file says triton_version %s, not %s", which, file->triton_version,
                       triton);
    const mp_tuned_entry *entry = mp_tuned_nearest(file, num_tokens);
    note_distance(config, which, file, entry->key, num_tokens);
    note_entry(config, which, entry);
    snprintf(text, sizeof text, "%s key %lld", found->path, (long long)entry->key);
    append(config->source, " + ", text);
    *tile = entry->tile;
    config->tile_named = true;
    return MP_OK;
}

/* Tiles that the case leaves open. */
static mp_status look_up(const mp_case *c, const mp_config_query *query, mp_config *config, mp_error *err) {
    mp_found_file up, down;
    const mp_status found = mp_tuned_find(c, query, &up, &down, config, err);
    if (found != MP_OK) return found;
    if (*up.path) {
        const mp_status status = take("up", &up, c, query->triton, config, &config->up, err);
        if (status != MP_OK) return status;
    } else {
        config->up = default_tile(c, mp_case_chunk_tokens(c, 0));
        append(config->source, "", "default");
    }
    config->down = config->up;
    return *down.path ? take("down", &down, c, query->triton, config, &config->down, err) : MP_OK;
}

mp_status mp_config_resolve(const mp_case *c, const mp_config_query *query, mp_config *config,
                            mp_error *err) {
    mp_config_query q = query ? *query : (mp_config_query){0};
    if (!q.device) q.device = "";
    if (!q.triton) q.triton = "";
    if (!q.file) q.file = "";
    *config = (mp_config){0};
    mp_status status = mp_tuned_check(&q, err);
    if (status == MP_OK && mp_tile_is_auto(&c->tile)) status = look_up(c, &q, config, err);
    if (status != MP_OK) return status;
    if (!mp_tile_is_auto(&c->tile)) {
        config->up = c->tile;
        config->down = mp_tile_is_auto(&c->tile_down) ? c->tile : c->tile_down;
        config->tile_named = true;
        append(config->source, "", "explicit");
        if (*q.file) mp_config_warn(config, "%s is not used: the case has a tile of its own", q.file);
    }
    if (config->down.block_size_m != config->up.block_size_m) {
        mp_config_warn(config, "down BLOCK_SIZE_M %d overridden by up's %d", config->down.block_size_m,
                       config->up.block_size_m);
        config->down.block_size_m = config->up.block_size_m;
    }
    status = mp_tile_validate(&config->up, err);
    return status == MP_OK ? mp_tile_validate(&config->down, err) : status;
}
