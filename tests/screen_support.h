/* SPDX-License-Identifier: Apache-2.0 */
/* A trace of the host's pipeline, and the judge on it with an engine of offload/. */
#ifndef MP_TESTS_SCREEN_SUPPORT_H
#define MP_TESTS_SCREEN_SUPPORT_H

#include "harness/judge/judge.h"
#include "offload/offload.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

static mp_offload *offload;
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

static mp_status judge(const mp_engine *engine, mp_verdict *v, mp_error *err) {
    mp_verdict_init(v);
    mp_offload_begin(offload, &f.in);
    return mp_judge(&f.c, &contract, NULL, &f.in, &trace, MP_POISON_A, engine, v, err);
}

static int open_device(void **state) {
    (void)state;
    mp_error err = {0};
    if (mp_offload_open(4, &offload, &err) == MP_OK) return 0;
    print_message("SKIP: %s\n", err.text);
    exit(err.status == MP_EUNSUPPORTED ? 77 : 1);
}

static int close_device(void **state) {
    (void)state;
    mp_offload_close(offload);
    return 0;
}

#endif
