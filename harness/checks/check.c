/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a verdict's checks. */
#include "harness/judge/judge.h"
#include "harness/verdict_make.h"

#include <stdarg.h>

void mp_check_fail(mp_verdict *v, mp_check check, const char *format, ...) {
    mp_check_result *result = &v->check[check];
    result->answer = MP_FAILED;
    if (result->failures++ > 0) return;
    va_list args;
    va_start(args, format);
    result->text = mp_texts_vadd(&v->texts, format, args);
    va_end(args);
}

void mp_check_pass(mp_verdict *v, mp_check check) {
    mp_check_result *result = &v->check[check];
    if (result->answer == MP_NOT_JUDGED) *result = (mp_check_result){.answer = MP_PASSED, .text = ""};
}

void mp_check_pass_partly(mp_verdict *v, mp_check check, const char *note) {
    mp_check_result *result = &v->check[check];
    mp_check_pass(v, check);
    if (result->answer == MP_PASSED) mp_verdict_set(v, &result->text, "%s", note);
}

void mp_check_not_judged(mp_verdict *v, mp_check check, const char *format, ...) {
    mp_check_result *result = &v->check[check];
    if (result->answer != MP_NOT_JUDGED || result->text[0]) return;
    va_list args;
    va_start(args, format);
    result->text = mp_texts_vadd(&v->texts, format, args);
    va_end(args);
}

void mp_begins(mp_verdict *v, const mp_case *c, mp_stage first, mp_stage last, const char *what) {
    bool later = false;
    if (v->begins[0] && v->begins_stage <= last) return;
    for (int s = (int)last + 1; s < MP_STAGE_COUNT; s++) later = later || mp_case_has_stage(c, (mp_stage)s);
    v->begins_stage = last;
    mp_verdict_set(v, &v->begins, "begins in %s%s%s: %s%s", first < last ? mp_stage_name(first) : "",
                   first < last ? ".." : "", mp_stage_name(last), what,
                   later ? "; later stages follow from it" : "");
}
