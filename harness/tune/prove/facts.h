/* SPDX-License-Identifier: Apache-2.0 */
/* What the compiler alone says of a tile: needs NVRTC, no driver and no GPU. It is the kernel of this
 * pipeline that is compiled; a published package has its own, of which its adapter tells. */
#ifndef MP_HARNESS_TUNE_FACTS_H
#define MP_HARNESS_TUNE_FACTS_H

#include "kernels/report.h"
#include "moeparity/trace.h"

/* One GEMM of one tile. */
typedef struct mp_tile_facts {
    mp_tile tile;
    mp_stage stage; /* MP_GATE_UP or MP_DOWN */
    bool compiled;  /* the rest is known; else `why`, or the compiler told nothing */
    mp_compile_report report;
    int64_t shared_bytes; /* a block: static and dynamic */
    int stages;           /* that it is built with: num_stages, or one less where they do not fit */
    char why[512];        /* why it cannot run on this device; "" where it can */
} mp_tile_facts;

typedef struct mp_facts {
    mp_tile_facts *tile;
    size_t count;
    char skipped[512]; /* why nothing was compiled: no NVRTC, an unknown device; "" */
} mp_facts;

/* Compiles each different tile of the cases, whose tiles are named, once for each GEMM, for the device. A
 * tile that does not compile or fit says so in `why`, and is no error. Free with mp_facts_free, after an
 * error too. MP_EMEMORY. */
mp_status mp_facts_find(const mp_case *cases, size_t count, const mp_device_limits *limits, mp_facts *facts,
                        mp_error *err);
/* The facts of a case's stage; NULL where nothing was compiled. */
const mp_tile_facts *mp_facts_of(const mp_facts *facts, const mp_case *c, mp_stage stage);
void mp_facts_free(mp_facts *facts);

#endif
