/* SPDX-License-Identifier: Apache-2.0 */
/* A case on the bench, without a subject: its inputs, what a contract's arithmetic makes of them, and the
 * verdict of the oracles on what a test then changed. */
#ifndef MP_TESTS_BENCH_SUPPORT_H
#define MP_TESTS_BENCH_SUPPORT_H

#include "harness/judge/judge.h"
#include "harness/judge/judge_bits.h"
#include "moeparity/config.h"
#include "ref/engine.h"
#include "ref/pipeline.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

typedef struct bench {
    mp_case c;
    mp_inputs in;
    mp_config config;
    mp_contract contract;
    mp_trace trace;
    mp_slot_map map; /* which row of a cache each slot has, where map_slots made it */
} bench;

/* The inputs, and the host's contract with bits that must be equal. */
static inline void open_bench(bench *b, const char *text) {
    mp_error err = {0};
    *b = (bench){.c = case_of(text)};
    assert_int_equal(mp_inputs_create(&b->c, &b->in, &err), MP_OK);
    assert_int_equal(mp_config_resolve(&b->c, NULL, &b->config, &err), MP_OK);
    b->contract = mp_host_contract(&b->c);
    for (int s = 0; s < MP_STAGE_COUNT; s++) b->contract.promise[s].bits = MP_BITS_REQUIRED;
}

static inline void close_bench(bench *b) {
    free(b->map.memory);
    mp_trace_destroy(&b->trace);
    mp_inputs_destroy(&b->in);
}

static inline void say(bench *b, const char *field, const char *value) {
    mp_error err = {0};
    if (mp_contract_set(&b->contract, field, value, &err) != MP_OK) fail_msg("%s", err.text);
}

/* The trace, as the contract has it. */
static inline mp_status predict(bench *b) {
    mp_error err = {0};
    return mp_host_predict(&b->contract, &b->c, &b->in, b->config.up.block_size_m, MP_POISON_A, &b->trace,
                           &err);
}

static inline void map_slots(bench *b) {
    mp_error err = {0};
    assert_int_equal(mp_slot_map_create(&b->c, b->trace.t, &b->map, &err), MP_OK);
}

/* Of the bits alone; kept until the next verdict. */
static inline const mp_verdict *bits_of(const bench *b) {
    static mp_verdict v; /* large */
    mp_error err = {0};
    mp_verdict_free(&v);
    mp_verdict_init(&v);
    if (mp_judge_bits(&b->c, &b->contract, &b->config, &b->in, &b->trace, &mp_engine_plain, &v, &err))
        fail_msg("%s", err.text);
    return &v;
}

/* Of float64 and its bounds, then of the bits; likewise. */
static inline const mp_verdict *verdict_of(const bench *b) {
    static mp_verdict v;
    mp_error err = {0};
    mp_verdict_free(&v);
    mp_verdict_init(&v);
    if (mp_judge(&b->c, &b->contract, NULL, &b->in, &b->trace, MP_POISON_A, &mp_engine_plain, &v, &err) ||
        mp_judge_bits(&b->c, &b->contract, &b->config, &b->in, &b->trace, &mp_engine_plain, &v, &err))
        fail_msg("%s", err.text);
    return &v;
}

#endif
