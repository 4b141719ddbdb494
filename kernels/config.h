/* Tuned configurations: file format, lookup, defaults. Host only; needs no GPU. */
#ifndef MP_KERNELS_CONFIG_H
#define MP_KERNELS_CONFIG_H

#include "cases/case.h"

/* The tiles of both GEMMs, and where they came from. down.block_size_m always equals up.block_size_m: both
 * share one alignment. */
typedef struct mp_config {
    mp_tile up, down;
    bool tile_named;   /* the case or a tuned file names a tile: not the built-in defaults */
    char source[512];  /* "explicit", "default", or "FILE key 64" */
    char warning[256]; /* "" or what the lookup had to say: a fallback, an overridden BLOCK_SIZE_M */
} mp_config;

/* The folders of tuned files: $SGLANG_MOE_CONFIG_DIR and $VLLM_TUNED_CONFIG_FOLDER. Fills the variable's
 * name; NULL where it is not set, or empty. */
enum { MP_TUNED_FOLDERS = 2 };
const char *mp_tuned_folder(int which, const char **variable);

/* Explicit tiles of the case win; else the tuned file for (E, N, device_name, dtype) is looked up with the
 * public rule (SGLANG_MOE_CONFIG_DIR or VLLM_TUNED_CONFIG_FOLDER, newest triton_* folder first, nearest key,
 * ties to the first key in the file); else the built-in defaults. device_name: as the driver tells it, ""
 * when there is no device. MP_EINPUT for a file that is corrupt. */
mp_status mp_config_resolve(const mp_case *c, const char *device_name, mp_config *config, mp_error *err);
/* The ranges a tile may have: BLOCK_SIZE_M 16..256, N 16..256, K 32..256 (powers of two), num_warps 1..8,
 * num_stages 1..5, GROUP_SIZE_M >= 1. */
mp_status mp_tile_validate(const mp_tile *tile, mp_error *err);

#endif
