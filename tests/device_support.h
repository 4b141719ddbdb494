/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA pipeline over a driver and an NVRTC that a test makes itself. */
#ifndef MP_TESTS_DEVICE_SUPPORT_H
#define MP_TESTS_DEVICE_SUPPORT_H

#include "harness/subjects/buffers.h"
#include "kernels/handle.h"
#include "tests/fake_cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static inline mp_case parsed(const char *text) {
    mp_case c = mp_case_default();
    mp_error err = {0};
    if (mp_case_parse(&c, text, &err) != MP_OK) fail_msg("%s", err.text);
    return c;
}

/* The subject cuda on a case, in the harness's surroundings. */
static inline mp_status run_in_surroundings(mp_subject *cuda, const mp_case *c, const mp_inputs *in,
                                            mp_trace *trace, mp_surroundings_report *report, mp_error *err) {
    mp_offer offer;
    *trace = (mp_trace){0};
    const mp_status status = mp_subject_describe(cuda, c, &offer, err);
    return status == MP_OK ? mp_run_surrounded(cuda, c, &offer, in, MP_POISON_A, trace, report, err) : status;
}

#define SMALL "M=5 E=3 K=33 N=17 bias=1 "

/* The tests, with an empty cache of kernels and without tuned files. */
#define run_device_tests(tests) \
    (open_own_cache() ? 1 : close_own_cache(cmocka_run_group_tests(tests, NULL, NULL)))
static char own_cache[] = "/tmp/test_device.XXXXXX";
static inline int open_own_cache(void) {
    unsetenv("SGLANG_MOE_CONFIG_DIR");
    unsetenv("VLLM_TUNED_CONFIG_FOLDER");
    return !mkdtemp(own_cache) || setenv("MOEPARITY_CACHE", own_cache, 1) != 0;
}
static inline int close_own_cache(int failed) {
    char command[64];
    snprintf(command, sizeof command, "rm -r '%s'", own_cache);
    return system(command) == 0 ? failed : 1;
}

#endif
