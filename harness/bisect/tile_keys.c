/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/tile_keys.h"

#include "cases/case_tools.h"
#include "moeparity/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UP(field) offsetof(mp_tile_pair, up.field)
#define DOWN(field) offsetof(mp_tile_pair, down.field)
const mp_tile_key mp_tile_keys[MP_TILE_KEYS] = {
    {"BLOCK_SIZE_M", UP(block_size_m), DOWN(block_size_m)},
    {"BLOCK_SIZE_N", UP(block_size_n), MP_NO_KEY},
    {"BLOCK_SIZE_K", UP(block_size_k), MP_NO_KEY},
    {"GROUP_SIZE_M", UP(group_size_m), MP_NO_KEY},
    {"num_warps", UP(num_warps), MP_NO_KEY},
    {"num_stages", UP(num_stages), MP_NO_KEY},
    {"down BLOCK_SIZE_N", MP_NO_KEY, DOWN(block_size_n)},
    {"down BLOCK_SIZE_K", MP_NO_KEY, DOWN(block_size_k)},
    {"down GROUP_SIZE_M", MP_NO_KEY, DOWN(group_size_m)},
    {"down num_warps", MP_NO_KEY, DOWN(num_warps)},
    {"down num_stages", MP_NO_KEY, DOWN(num_stages)},
};

static int *at(mp_tile_pair *pair, size_t offset) {
    return (int *)((char *)pair + offset);
}

int mp_tile_key_value(const mp_tile_pair *pair, const mp_tile_key *k) {
    return *(const int *)((const char *)pair + (k->up == MP_NO_KEY ? k->down : k->up));
}

void mp_tile_key_take(mp_tile_pair *to, const mp_tile_pair *from, const mp_tile_key *k) {
    if (k->up != MP_NO_KEY) *at(to, k->up) = *at((mp_tile_pair *)from, k->up);
    if (k->down != MP_NO_KEY) *at(to, k->down) = *at((mp_tile_pair *)from, k->down);
}

static mp_status parse_file(const char *text, const mp_case *c, mp_tile_pair *pair, mp_error *err) {
    const char *colon = strrchr(text, ':');
    char *end = NULL, path[4096], source[4160];
    mp_case asked = *c;
    const long long tokens = colon ? strtoll(colon + 1, &end, 10) : 0;
    if (!colon || end == colon + 1 || *end || tokens < 0 || (size_t)(colon - text) >= sizeof path)
        return mp_fail(err, MP_EINPUT,
                       "'%s': expected tile=64x64x32x8x4x3, FILE:KEY with a tuned file and a key of it, or "
                       "default",
                       text);
    snprintf(path, sizeof path, "%.*s", (int)(colon - text), text);
    asked.M = tokens;
    asked.tile = asked.tile_down = (mp_tile){0};
    mp_config *config = malloc(sizeof *config); /* large */
    if (!config) return mp_fail(err, MP_EMEMORY, "no memory for a configuration");
    mp_status status = mp_config_resolve(&asked, &(mp_config_query){.file = path}, config, err);
    snprintf(source, sizeof source, "key %lld", tokens);
    const char *found = status == MP_OK ? strstr(config->source, source) : NULL;
    const char behind = found ? found[strlen(source)] : 'x';
    if (status == MP_OK && behind != '\0' && behind != ' ' && behind != ';')
        status = mp_fail(err, MP_EINPUT, "%s has no key %lld: the nearest is in %.200s", path, tokens,
                         config->source);
    if (status == MP_OK) *pair = (mp_tile_pair){config->up, config->down};
    free(config);
    return status;
}

static mp_status parse_default(const mp_case *c, mp_tile_pair *pair, mp_error *err) {
    mp_case asked = *c;
    asked.tile = asked.tile_down = (mp_tile){0};
    mp_config *config = malloc(sizeof *config); /* large */
    if (!config) return mp_fail(err, MP_EMEMORY, "no memory for a configuration");
    const mp_status status = mp_config_resolve(&asked, NULL, config, err);
    if (status == MP_OK) *pair = (mp_tile_pair){config->up, config->down};
    free(config);
    return status;
}

static mp_status parse_fields(const char *text, const mp_case *c, mp_tile_pair *pair, mp_error *err) {
    mp_case own = *c, read = *c;
    own.tile = own.tile_down = read.tile = read.tile_down = (mp_tile){0};
    mp_status status = mp_case_parse(&read, text, err);
    if (status != MP_OK) return status;
    *pair = (mp_tile_pair){read.tile, read.tile_down};
    read.tile = read.tile_down = (mp_tile){0};
    if (mp_case_compare(&own, &read) != 0 || mp_tile_is_auto(&pair->up))
        return mp_fail(err, MP_EINPUT, "'%s': expected tile=, and tile_down=, and nothing else", text);
    return MP_OK;
}

mp_status mp_tile_pair_parse(const char *text, const mp_case *c, mp_tile_pair *pair, mp_error *err) {
    *pair = (mp_tile_pair){c->tile, c->tile_down};
    mp_status status = MP_OK;
    if (!text && mp_tile_is_auto(&c->tile))
        status = mp_fail(err, MP_EINPUT, "no tile: the case names none, and nothing else does");
    if (text && strcmp(text, "default") == 0)
        status = parse_default(c, pair, err);
    else if (text)
        status = strchr(text, '=') ? parse_fields(text, c, pair, err) : parse_file(text, c, pair, err);
    if (status == MP_OK && memcmp(&pair->up, &pair->down, sizeof pair->up) == 0) pair->down = (mp_tile){0};
    return status;
}
