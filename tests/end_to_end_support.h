/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of offload/end_to_end.c share: a case that the host has run, and its output judged. */
#ifndef MP_TESTS_END_TO_END_SUPPORT_H
#define MP_TESTS_END_TO_END_SUPPORT_H

#include "harness/judge/judge.h"
#include "harness/verdict_make.h"
#include "offload/offload.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

typedef struct host_run {
    fixture f;
    mp_contract contract;
    mp_trace trace;
} host_run;

/* The offload has the inputs until the run is freed. */
static inline void host_run_create(host_run *r, const char *text, mp_offload *offload) {
    mp_error err = {0};
    *r = (host_run){.f = made(text)};
    r->contract = mp_host_contract(&r->f.c);
    if (mp_host_run(&r->f.c, &r->f.in, 16, MP_POISON_A, &r->trace, &err)) fail_msg("%s: %s", text, err.text);
    mp_offload_begin(offload, &r->f.in);
}

static inline void host_run_free(host_run *r, mp_offload *offload) {
    mp_offload_begin(offload, NULL);
    mp_trace_destroy(&r->trace);
    mp_inputs_destroy(&r->f.in);
}

static inline mp_status end_to_end_by(const host_run *r, const mp_engine *engine, mp_stage_figures *figures,
                                      mp_error *err) {
    static mp_verdict v; /* large */
    mp_verdict_init(&v);
    const mp_status status =
        mp_measure_end_to_end(&r->f.c, &r->contract, &r->f.in, &r->trace, engine, &v, err);
    *figures = v.end_to_end;
    mp_verdict_free(&v);
    return status;
}

#endif
