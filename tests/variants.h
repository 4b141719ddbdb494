/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that differ from ours where they may, each with the contract that says so: right ones, which must
 * pass wherever they can run, and beside each a wrong one that its contract does not excuse. */
#ifndef MP_TESTS_VARIANTS_H
#define MP_TESTS_VARIANTS_H

#include "tests/faulty.h"

typedef struct variant {
    const char *name, *contract;            /* as faulty_open_under has it */
    bool unfused;                           /* says nothing true of fused_sum */
    void (*right)(const faulty_run *run);   /* NULL: the host's own arithmetic under the contract */
    void (*wrong)(const faulty_run *run);   /* NULL: the host's own, which breaks the contract */
    const char *case_text, *wrong_contract; /* where the wrong one must fail; NULL: under the same contract */
    unsigned checks;                        /* that must fail there */
    int stage;                              /* that must be blamed, or NO_STAGE */
} variant;

extern const variant variants[];
extern const size_t variant_count;

#endif
