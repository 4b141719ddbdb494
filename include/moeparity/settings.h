/* SPDX-License-Identifier: Apache-2.0 */
/* How cases are judged: what a command line, a run, its workers and a repro must agree on. */
#ifndef MOEPARITY_SETTINGS_H
#define MOEPARITY_SETTINGS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where nobody says otherwise: */
#define MP_TIMEOUT_SECONDS 600 /* of a case */
#define MP_REPEAT 2            /* runs of a case: the two poisons */

/* Zero, false and NULL mean the usual, but of `subject`, which must be named. Texts are borrowed. */
typedef struct mp_settings {
    const char *subject; /* its name */
    const char *against; /* the name of another one to compare with; NULL: none */
    const char *golden;  /* the path of a golden file to compare with; NULL: none */
    const char *device;  /* for which machine tiles are looked up; NULL: not said */
    const char *triton;  /* for which version of Triton; NULL: not said */
    const char
        *contract; /* in words, "sm_90 act.ulps=4", instead of what files or the subject say; NULL: that */
    const char *config; /* the file that they come from instead; NULL: none */
    const char *
        edit; /* what is written over the inputs of each case, "x[:,64:]=0" (docs/matrix.md); NULL: nothing */
    int repeat;     /* runs compared bit for bit, by the two poisons in turn; 0: MP_REPEAT */
    double timeout; /* seconds of a case, and of the start of a worker (with MP_KERNELS_SECONDS more once it
                       compiles); 0: MP_TIMEOUT_SECONDS */
    bool plain;     /* judge with plain loops even where OpenBLAS is present */
    const char *engine;  /* what computes the reference: "auto" (a GPU, of cases that it pays for), "cpu",
                              "device"; NULL: auto */
    bool golden_partial; /* what the golden lacks, or has of another contract, is not judged; else it fails */
    bool deterministic;  /* bits must repeat whatever the contract says */
    bool once;           /* one run, judged by float64 and the prediction, and no other check */
    bool figures;        /* histograms and maps of every stage are wanted (moeparity/picture.h) */
    bool strict;         /* what was asked for and not judged fails, and so does a skip */
    /* The run is a verification: repros are of `golden verify`, and a case of which nothing could be compared
     * fails, where it else is not judged. */
    bool golden_required;
    /* Which GPUs of this machine, as "0,1" or "all"; NULL: the first one that is visible. In a worker, and in
     * a repro, the one that the case runs on. */
    const char *devices;
    int jobs;    /* worker processes, of each device, which share the memory; 0: one */
    int threads; /* of each worker; 0: the workers share the cores, unless OMP_NUM_THREADS is set */
} mp_settings;

#ifdef __cplusplus
}
#endif

#endif
