/* SPDX-License-Identifier: Apache-2.0 */
/* Tuned configurations: which file and which key of it a case takes, and the defaults. Host only; needs no
 * GPU. */
#ifndef MOEPARITY_CONFIG_H
#define MOEPARITY_CONFIG_H

#include "moeparity/case.h"

#ifdef __cplusplus
extern "C" {
#endif

/* For which machine tiles are looked up; it need not be this one. Each may be NULL or "". */
typedef struct mp_config_query {
    const char *device; /* as the driver or as file names spell it: "NVIDIA H200", "NVIDIA_H200" */
    const char *triton; /* the running version, "3.6.0" or "3_6_0"; "": newest folder first */
    const char *file;   /* this tuned file, and none that is looked up, serves every case without a tile of
                           its own: the up GEMM, and the down GEMM where it has no `_down` file beside it */
} mp_config_query;

/* Room for two paths and what is said about them. Texts are built of whole parts: what does not fit is left
 * out, and "; ..." says so. */
#define MP_CONFIG_TEXT_MAX 9216

/* The tiles of both GEMMs, and where they came from. down.block_size_m always equals up.block_size_m: both
 * share one alignment. */
typedef struct mp_config {
    mp_tile up, down;
    bool tile_named; /* the case or a file names at least one of them; else both are defaults */
    char source[MP_CONFIG_TEXT_MAX];  /* "explicit", "default", "FILE key 64", "FILE key 64 + FILE key 32" */
    char warning[MP_CONFIG_TEXT_MAX]; /* "" or what the lookup had to say: a fallback, a distant key, ... */
} mp_config;

/* Explicit tiles of the case win; then query->file; then the files that the public loaders would find for
 * (E, N, device, dtype), up and down each on its own:
 *   1. $SGLANG_MOE_CONFIG_DIR/configs/triton_X_Y_Z: the folder of query->triton, then the others, newest
 *      version first (equal versions spelt differently: the last in ASCII order). Folders whose name is no
 *      version are passed over;
 *   2. $VLLM_TUNED_CONFIG_FOLDER, where "/" in a device name is "_", the H200 family is NVIDIA_H200, and no
 *      `_down` file is looked for;
 * of a file the key nearest to the number of tokens, ties to the first in the file. Without a `_down` file
 * the up tile serves both. Without any file the built-in defaults. query may be NULL: no device, no version.
 *
 * What a person should know is in `warning`: nothing found, a file of another version, up and down from
 * different folders or `_down` alone, an overridden BLOCK_SIZE_M, a key below the first, above the last or
 * more than twice or less than half the tokens, warps or stages that the file leaves to the compiler, entries
 * that these kernels have no use for.
 *
 * MP_EINPUT: a folder that is not there, a version that is none, a file that is not right in all of its
 * keys, a tile out of range; MP_EIO: a file that cannot be read. */
mp_status mp_config_resolve(const mp_case *c, const mp_config_query *query, mp_config *config, mp_error *err);
/* Whether each number lies in its range. */
mp_status mp_tile_validate(const mp_tile *tile, mp_error *err);

#ifdef __cplusplus
}
#endif

#endif
