/* SPDX-License-Identifier: Apache-2.0 */
/* The host subject with a contract, tiles or a trace spoiled: what a run leaves is changed as a test wants
 * it, in whichever of a case's runs. */
#ifndef MP_TESTS_SPOILED_H
#define MP_TESTS_SPOILED_H

#include "moeparity/run_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Sees every trace that the host leaves, the number of the run and the case that was run. */
typedef mp_status spoiler(int run, const mp_case *c, mp_trace *trace, mp_error *err);

typedef struct spoiled {
    mp_subject host;
    spoiler *spoil; /* NULL: nothing is spoiled */
    int runs;
    bool unordered;                         /* the contract does not promise determinism */
    bool any_order;                         /* nor the order of an expert's slots in align */
    int block_size_m;                       /* of the host's runs, in place of the configuration's; 0: that */
    bool zero_tile;                         /* the configuration lacks a number */
    bool two_blocks;                        /* its tiles do not share an alignment */
    bool device;                            /* the subject's tensors are copies */
    bool half_digests;                      /* there, of whose rows a digest leaves out the second half */
    bool no_tile;                           /* no variant of the tile can run */
    bool one_tile;                          /* nor is one offered */
    void (*promise)(mp_contract *contract); /* instead of what the host promises; NULL: that */
    void (*promise_sorted)(mp_contract *);  /* what it promises of the sorted layout, where that differs */
    mp_tensor_set hides;                    /* outputs that it does not show, */
    bool (*hides_in)(const mp_case *c);     /* in these cases alone; NULL: in all */
    size_t host_bytes;                      /* memory that it says it takes */
    bool same_calls;                        /* it says which variants are the same call as the host does */
} spoiled;

/* What a spoiler may want to know of the run it spoils. */
typedef struct spoiled_run_facts {
    uint32_t poison;
    const mp_case *c;
    const mp_tensor *t;  /* the tensors of this run */
    const char *first_x; /* of the first one */
} spoiled_run_facts;
extern spoiled_run_facts now;

/* The subject around `self`, whose host is opened here. */
mp_subject spoiled_subject(spoiled *self, const char *name);
/* The verdict about it, until the next one. pair: a variant, or "after " and a case that runs before, or
 * NULL; more: NULL: no other options. */
const mp_verdict *judge_by(spoiled self, const char *text, const char *pair, const mp_run_options *more);
const mp_verdict *judge(const char *text, const char *pair, spoiler *spoil, bool unordered,
                        const mp_run_options *more);
/* The check has failed, and its text names the place. */
void expect_failure(const mp_verdict *v, mp_check check, const char *where);

#endif
