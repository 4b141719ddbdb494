/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys of a tile make a case fail, against a tile with which it passes. */
#ifndef MP_HARNESS_BISECT_CONFIG_H
#define MP_HARNESS_BISECT_CONFIG_H

#include "moeparity/suite.h"

#include <jansson.h>

/* The tiles of both GEMMs; down is all zero where up serves both. */
typedef struct mp_tile_pair {
    mp_tile up, down;
} mp_tile_pair;

/* Reads a pair of tiles for a case like c: "tile=64x64x32x8x4x3 tile_down=...", "FILE:KEY" of a tuned file,
 * beside which FILE's _down counts, "default", or, of NULL, the case's own. MP_EINPUT names what was
 * expected; MP_EIO: the file cannot be read. */
mp_status mp_tile_pair_parse(const char *text, const mp_case *c, mp_tile_pair *pair, mp_error *err);

/* Runs the one row of `row`, with its pairs, by the tile `bad`, which shall fail, and `good`, which shall
 * not; then with one key of bad in good, with two of them, with one of good in bad, and the least set of
 * keys that still fails as bad does, each in a new process: at most 2 + 2 n + n (n-1) / 2 runs for n keys in
 * which they differ, and those of the least set. A tile that cannot be built or run is neither a failure nor
 * a pass. *info is filled. *report, a new reference, is what was found, in the terms of docs/bisect.md;
 * "found" is false where bad passes. MP_EINPUT: good fails too, or they are one tile; MP_EUNSUPPORTED: the
 * subject, or one of the two tiles, cannot run here. */
mp_status mp_bisect_config(const mp_matrix *row, const mp_tile_pair *good, const mp_tile_pair *bad,
                           const mp_suite_options *how, mp_run_info *info, json_t **report, mp_error *err);

#endif
