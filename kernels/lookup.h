/* SPDX-License-Identifier: Apache-2.0 */
/* Where the public loaders would find a case's tuned files. */
#ifndef MP_KERNELS_LOOKUP_H
#define MP_KERNELS_LOOKUP_H

#include "kernels/loader.h"
#include "moeparity/config.h"

#include <limits.h>

/* The folders of tuned files: $SGLANG_MOE_CONFIG_DIR and $VLLM_TUNED_CONFIG_FOLDER, in the order of
 * mp_loaders. Fills the variable's name; NULL where it is not set, or empty. */
enum { MP_TUNED_FOLDERS = MP_LOADER_COUNT };
const char *mp_tuned_folder(int which, const char **variable);

typedef struct mp_found_file {
    char path[PATH_MAX]; /* "": none */
    bool versioned;      /* in a folder triton_X_Y_Z, whose loader takes every key for a number of tokens */
} mp_found_file;

/* MP_EINPUT: a folder of tuned files that is not there, a version or a device name that is none. query has no
 * NULL. */
mp_status mp_tuned_check(const mp_config_query *query, mp_error *err);

/* The files of both GEMMs by the rule of mp_config_resolve. What there is to say goes into config->warning.
 * MP_EIO: a folder whose contents nobody told us. */
mp_status mp_tuned_find(const mp_case *c, const mp_config_query *query, mp_found_file *up,
                        mp_found_file *down, mp_config *config, mp_error *err);

/* Appends to config->warning, once for equal texts. */
void mp_config_warn(mp_config *config, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
