/* SPDX-License-Identifier: Apache-2.0 */
/* Which file and key a public loader picks, and why. Told from its rules (kernels/loader.h) and the files
 * that are there; nothing of a package is imported or executed. */
#ifndef MP_HARNESS_TUNE_WHICH_H
#define MP_HARNESS_TUNE_WHICH_H

#include "base/text.h"
#include "harness/tune/table.h"

/* What becomes of a lookup. */
typedef enum mp_which_outcome {
    MP_WHICH_FILE,    /* a file serves */
    MP_WHICH_UP,      /* of down: the file of gate_up, or its defaults, serves down too */
    MP_WHICH_DEFAULT, /* the built-in defaults */
    MP_WHICH_RAISES   /* the loader gives up with an exception: the server does not start */
} mp_which_outcome;

/* The lookup of one GEMM's file. */
typedef struct mp_which_part {
    bool asked;                    /* the loader has such a lookup: vLLM has none for down */
    char name[MP_TUNED_NAME_SIZE]; /* asked for */
    mp_search search;
    mp_which_outcome outcome;
    const mp_place *chosen; /* of MP_WHICH_FILE, and where a file raises; else NULL */
    char *why;              /* of the outcome, in words */
    mp_table table;         /* of MP_WHICH_FILE */
} mp_which_part;

/* A file that is nearly the one. */
typedef struct mp_near {
    char *path, *differs; /* in what, in words */
    int weight;           /* smaller is nearer */
    bool down;
} mp_near;

typedef struct mp_which {
    const mp_loader *loader;
    char *where; /* its folders, and who named them, in words; "" with no root: nowhere to look */
    char *folder[2];
    mp_root root[2];
    size_t root_count;
    bool off; /* no file is looked at */
    mp_which_part up, down;
    int64_t *M; /* ascending where all were asked for */
    size_t M_count;
    mp_near *near;
    size_t near_count;
} mp_which;

typedef struct mp_which_query {
    mp_tuned_key key;
    const char *triton;                  /* "": not known */
    const char *folder[MP_LOADER_COUNT]; /* named by the caller; all NULL: those of the environment, and of
                                            installed packages */
    bool off;                            /* deterministic inference, batch-invariant mode */
    const int64_t *M;                    /* NULL: every key and both sides of where another takes over */
    size_t M_count;
} mp_which_query;

/* One loader's answer. MP_EINPUT: a folder that is none, or has no such files. No folder at all is no error:
 * root_count is 0. Free with mp_which_free, after an error too. */
mp_status mp_which_ask(const mp_which_query *query, mp_loader_id loader, mp_which *which, mp_error *err);
void mp_which_free(mp_which *which);

/* What serves M tokens. */
typedef struct mp_which_choice {
    const mp_table_row *up, *down; /* NULL: the defaults; down: NULL also where up's entry serves it */
    bool down_is_up;
    mp_text up_why, down_why; /* how the key is found; free both */
} mp_which_choice;
void mp_which_choose(const mp_which *which, int64_t M, mp_which_choice *choice);

/* The built-in default of a loader, as BLOCK_SIZE_M x N x K x GROUP_SIZE_M x num_warps x num_stages, or that
 * it is chosen at launch. */
void mp_which_default(const mp_loader *loader, const mp_tuned_key *key, int64_t M, bool off, mp_text *text);

/* which_folders.c: sets where, folder, root. */
mp_status mp_which_folders(const mp_which_query *query, mp_which *which, mp_error *err);
/* which_near.c: fills near. */
mp_status mp_which_near(const mp_which_query *query, mp_which *which, mp_error *err);

#endif
