/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs of tiles as people name them, and the keys in which two of them differ. */
#ifndef MP_HARNESS_TILE_KEYS_H
#define MP_HARNESS_TILE_KEYS_H

#include "moeparity/case.h"

/* The tiles of both GEMMs; down is all zero where up serves both. */
typedef struct mp_tile_pair {
    mp_tile up, down;
} mp_tile_pair;

/* Reads a pair of tiles for a case like c: "tile=64x64x32x8x4x3 tile_down=...", "FILE:KEY" of a tuned file,
 * beside which FILE's _down counts, "default", or, of NULL, the case's own. MP_EINPUT names what was
 * expected; MP_EIO: the file cannot be read. */
mp_status mp_tile_pair_parse(const char *text, const mp_case *c, mp_tile_pair *pair, mp_error *err);

/* What one may exchange of a pair of tiles, by its public name. BLOCK_SIZE_M is one key: both GEMMs share one
 * alignment. */
typedef struct mp_tile_key {
    const char *name;
    size_t up, down; /* offsets into the pair; MP_NO_KEY: the tile has not this one */
} mp_tile_key;
enum { MP_NO_KEY = 4096, MP_TILE_KEYS = 11 };
extern const mp_tile_key mp_tile_keys[MP_TILE_KEYS];

/* A key's number in a pair; and the same taken over from another pair, for both tiles where both have it. */
int mp_tile_key_value(const mp_tile_pair *pair, const mp_tile_key *k);
void mp_tile_key_take(mp_tile_pair *to, const mp_tile_pair *from, const mp_tile_key *k);

#endif
