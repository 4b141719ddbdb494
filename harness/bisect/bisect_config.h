/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys of a tile make a case fail, against a tile with which it passes. */
#ifndef MP_HARNESS_BISECT_CONFIG_H
#define MP_HARNESS_BISECT_CONFIG_H

#include "harness/bisect/tile_keys.h"
#include "moeparity/suite.h"

#include <jansson.h>

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
