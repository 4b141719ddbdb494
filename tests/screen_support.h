/* SPDX-License-Identifier: Apache-2.0 */
/* A trace of the host's pipeline, and the judge on it with an engine of offload/. */
#ifndef MP_TESTS_SCREEN_SUPPORT_H
#define MP_TESTS_SCREEN_SUPPORT_H

#include "harness/judge/judge.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"
#include "tests/offload_support.h"

static fixture f;
static mp_trace trace;
static mp_contract contract;

static void start(const char *text) {
    mp_error err;
    f = made(text);
    contract = mp_host_contract(&f.c);
    if (mp_host_run(&f.c, &f.in, 16, MP_POISON_A, &trace, &err)) fail_msg("%s", err.text);
}

static void stop(void) {
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&f.in);
}

static inline mp_status judge(const mp_engine *engine, mp_verdict *v, mp_error *err) {
    mp_verdict_init(v);
    mp_offload_begin(offload, &f.in);
    return mp_judge(&f.c, &contract, NULL, &f.in, &trace, MP_POISON_A, engine, v, err);
}

#endif
