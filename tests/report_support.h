/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of reports/ share: verdicts to tell of. */
#ifndef MP_TESTS_REPORT_SUPPORT_H
#define MP_TESTS_REPORT_SUPPORT_H

#include "harness/verdict_make.h"
#include "reports/report.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static inline mp_pair_figures pair(const char *text, bool required, bool equal, double max_abs) {
    mp_pair_figures p = {.required = required,
                         .bits_equal = equal,
                         .compared = 100,
                         .differing = equal ? 0 : 7,
                         .max_abs = max_abs};
    p.text = text;
    p.note = "";
    if (!equal) strcpy(p.first, "out [0,1]: 1 -> 2");
    return p;
}

static inline mp_stage_figures figures(double max_abs, double ratio) {
    return (mp_stage_figures){.judged = true,
                              .compared = 4096,
                              .failed = ratio <= 1 ? 0 : 3,
                              .max_abs = max_abs,
                              .max_ratio = ratio,
                              .worst_index = 17,
                              .worst_value = 0.5,
                              .worst_expected = 0.25,
                              .worst_bound = 0.001};
}

static inline mp_verdict passing(void) {
    mp_verdict v; /* its texts are literals: there is nothing to free */
    mp_verdict_init(&v);
    v.outcome = MP_PASS;
    v.pair_count = 1;
    v.seconds = 0.5;
    strcpy(v.name, "M=32 topk=2 act=silu");
    v.group = "smoke";
    v.repro = "moeparity run --case 'M=32 topk=2 act=silu'";
    v.stage[MP_ALIGN] =
        (mp_stage_figures){.judged = true, .compared = 90, .bit_equal = 90, .worst_index = -1};
    v.stage[MP_GATE_UP] = figures(1e-3, 0.25);
    v.stage[MP_DOWN] = figures(1.953125e-3, 0.43);
    v.pair[0] = pair("path=runner", true, true, 0);
    for (int i = 0; i < MP_CHECK_COUNT; i++) v.check[i].answer = MP_PASSED;
    v.check[MP_CHECK_GOLDEN].answer = MP_NOT_JUDGED;
    return v;
}

static inline mp_verdict failing(void) {
    mp_verdict v = passing();
    v.outcome = MP_FAIL;
    v.stage[MP_DOWN] = figures(0.25, 250);
    v.check[MP_CHECK_BOUND] = (mp_check_result){MP_FAILED, 2, "down [17]: 0.5 instead of 0.25"};
    v.check[MP_CHECK_PAIR] = (mp_check_result){MP_FAILED, 1, "path=chunked differs"};
    v.reason = "bound: down [17]: 0.5 instead of 0.25";
    v.pair_count = 3;
    v.pair[1] = pair("path=chunked", true, false, 1e-3);
    v.pair[2] = pair("subject host", false, false, 1.0);
    return v;
}

static inline mp_verdict ended(mp_outcome outcome, const char *reason) {
    mp_verdict v = passing();
    v.outcome = outcome;
    v.reason = reason;
    return v;
}

#define VERDICTS 7
static inline mp_verdict *some_verdicts(void) {
    static mp_verdict v[VERDICTS];
    v[0] = passing();
    v[1] = ended(MP_SKIP, "no GPU");
    v[2] = failing();
    v[3] = ended(MP_SKIP, "too large: 80 GiB");
    v[4] = ended(MP_CRASH, "signal 11: <&\"'>\x01 \xff gr\xc3\xbc\xc3\x9f \xed\xa0\x80 ]]>");
    v[5] = ended(MP_SKIP, "no GPU");
    v[6] = ended(MP_TIMEOUT, "hung\nfor 60 s");
    v[3].group = "large & wide";
    v[2].stage[MP_ACT].max_abs = (double)NAN;
    return v;
}

static const mp_run_info some_run = {.device = "",
                                     .version = "0.1.0",
                                     .commit = "abc",
                                     .command = "moeparity run \"a b\" <x>",
                                     .subject = "host",
                                     .host = "a CPU\x1b[2J",
                                     .versions = "gcc 12.2.0",
                                     .blas = "OpenBLAS 0.3.21 SkylakeX",
                                     .date = "2026-01-02T03:04:05Z",
                                     .settings = "",
                                     .matrix = "0123456789abcdef",
                                     .names = "00112233445566aa",
                                     .files = "golden 0123456789abcdef",
                                     .seconds = 12.34,
                                     .interrupted = true};

static inline void assert_contains(const char *text, const char *part) {
    if (strstr(text, part) == NULL) fail_msg("expected '%s' in:\n%s", part, text);
}

#endif
