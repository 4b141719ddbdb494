/* SPDX-License-Identifier: Apache-2.0 */
/* The public loaders of tuned files, as data: how each spells the name that it asks for, in which folders
 * it looks, and which part of a table it takes. The lookup of a case, `tune which` and `tune audit` read the
 * same rows. Written from what sglang 0.5.23 (moe_runner/triton_utils/fused_moe_triton_config.py) and vLLM
 * 0.33.0 (model_executor/layers/fused_moe/fused_moe.py) do. */
#ifndef MP_KERNELS_LOADER_H
#define MP_KERNELS_LOADER_H

#include "moeparity/case.h"
#include "moeparity/status.h"

#include <limits.h>

typedef enum mp_loader_id { MP_LOADER_SGLANG, MP_LOADER_VLLM, MP_LOADER_COUNT } mp_loader_id;

typedef struct mp_loader {
    const char *name;            /* "sglang": of the package too */
    const char *variable;        /* of the environment, which names a folder */
    const char *below_variable;  /* in which folder of it the files, or their folders, are; "": in itself */
    const char *own_folder;      /* the package's, below it */
    const char *off;             /* the mode in which no file is looked at, in words */
    const char *off_variable;    /* "1" in the environment: that mode; NULL: it is an option of the program */
    const char *device_blanks;   /* characters of a device name that become "_" */
    const char *device_family;   /* a word of device names whose whole family has one name; NULL: none */
    const char *family_name;     /* that name */
    const char *block_separator; /* between the numbers of block_shape */
    const char *flat_names;      /* how names of another kernel of this package end, which it asks for too */
    bool variable_replaces;      /* the variable's folder stands in place of the own one; else before it */
    bool versioned;         /* files lie in folders triton_X_Y_Z, of which the running version is first */
    bool blanks_run;        /* several such characters in a row become one */
    bool per_channel;       /* names say so */
    bool down_files;        /* the down GEMM has files of its own, `_down` */
    bool takes_version_out; /* a top-level "triton_version" is removed; else it is no number, and raises */
    bool clamps_block_k;    /* BLOCK_SIZE_K to the smaller number of block_shape; else it runs as it is */
    int packed_int4;        /* N of int4_w4a16 is divided by it: two numbers lie in a byte */
} mp_loader;
extern const mp_loader mp_loaders[MP_LOADER_COUNT];

/* What a loader is asked for. */
typedef struct mp_tuned_key {
    int64_t E, N;             /* of this rank; N behind the activation, unpacked */
    const char *device;       /* as the driver or as file names spell it */
    const char *dtype;        /* as names spell it: "fp8_w8a8"; "": bf16 or fp16 */
    int64_t block_n, block_k; /* of the quantisation; 0: none */
    bool per_channel;
} mp_tuned_key;

/* The dtypes that somebody asks for, separated by blanks. */
extern const char *const mp_tuned_dtypes;

enum { MP_DEVICE_NAME_MAX = 128, MP_TUNED_NAME_SIZE = 384 };
/* `E=128,N=768,device_name=NVIDIA_H100_80GB_HBM3.json`. key->device has at most MP_DEVICE_NAME_MAX
 * characters, key->dtype 31. */
void mp_tuned_name(const mp_loader *loader, const mp_tuned_key *key, bool down,
                   char name[MP_TUNED_NAME_SIZE]);
/* The device as it stands in that name. */
void mp_tuned_device(const mp_loader *loader, const char *device, char name[MP_DEVICE_NAME_MAX + 1]);

/* What the name of a file says. */
typedef struct mp_tuned_parts {
    int64_t E, N;
    char device[MP_DEVICE_NAME_MAX + 1], dtype[32];
    int64_t block_n, block_k;
    bool per_channel, down;
    bool other; /* there is more in it, as `backend=...` */
} mp_tuned_parts;
/* False where the name is no `E=...,N=...,device_name=...json` at all; *parts then is empty. */
bool mp_tuned_parse(const char *name, mp_tuned_parts *parts);
mp_tuned_key mp_tuned_key_of(const mp_tuned_parts *parts);

/* ---- folders ---- */

/* "triton_3_6_0": true, and its numbers are read. Both spellings, "3.6.0" and "3_6_0", are versions. */
bool mp_triton_version_valid(const char *version);
bool mp_triton_version_equal(const char *a, const char *b);
int mp_triton_version_compare(const char *a, const char *b); /* of two valid ones; number by number */
/* Whether a folder has the name of a version's, triton_X_Y_Z; *version then is "X_Y_Z". A name that begins
 * with triton_ and is no version has false, and *version set; others NULL. */
bool mp_triton_folder(const char *name, const char **version);

/* Why a loader looks at a place. */
typedef enum mp_place_rule {
    MP_PLACE_ASKED_VERSION, /* the folder of the running Triton */
    MP_PLACE_OTHER_VERSION, /* another version's, newest first */
    MP_PLACE_VARIABLE,      /* the folder that the environment names */
    MP_PLACE_OWN            /* the package's */
} mp_place_rule;
typedef struct mp_place {
    mp_place_rule rule;
    char *path;         /* of the file */
    bool there, denied; /* denied: nobody tells whether it is there */
} mp_place;

/* Where a loader looks for a name, in its order. */
typedef struct mp_search {
    mp_place *place;
    size_t count;
    char **odd; /* folders that begin with triton_ and are no version, "triton_3.6.0" among them */
    size_t odd_count;
    const char *raising; /* the one at whose parts, which are no numbers, the loader raises; NULL */
    int listing_failed;  /* errno of a folder of versions that could not be listed; 0 */
} mp_search;

/* A folder that holds files, or folders of versions where the loader has such. */
typedef struct mp_root {
    const char *folder;
    bool own; /* the package's */
} mp_root;

/* triton: the running version, "3.6.0" or "3_6_0"; "": not known, newest folder first. MP_EMEMORY. Free with
 * mp_search_free, after an error too. */
mp_status mp_loader_search(const mp_loader *loader, const mp_root *roots, size_t root_count, const char *name,
                           const char *triton, mp_search *search, mp_error *err);
/* The first place that is there; NULL. */
const mp_place *mp_search_first(const mp_search *search);
void mp_search_free(mp_search *search);

#endif
