/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a verdict's checks. */
#include "harness/answers.h"

#include "base/text.h"
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
    const bool open = result->answer == MP_NOT_JUDGED && result->text[0]; /* a part of it was not judged */
    if (result->answer == MP_NOT_JUDGED && !open)
        *result = (mp_check_result){.answer = MP_PASSED, .text = ""};
}

void mp_check_pass_partly(mp_verdict *v, mp_check check, const char *note) {
    mp_check_result *result = &v->check[check];
    mp_check_pass(v, check);
    if (result->answer == MP_PASSED) mp_verdict_set(v, &result->text, "%s", note);
}

void mp_check_not_judged(mp_verdict *v, mp_check check, const char *format, ...) {
    mp_check_result *result = &v->check[check];
    if (result->answer == MP_FAILED || (result->answer == MP_NOT_JUDGED && result->text[0])) return;
    result->answer = MP_NOT_JUDGED;
    va_list args;
    va_start(args, format);
    result->text = mp_texts_vadd(&v->texts, format, args);
    va_end(args);
}

void mp_begins(mp_verdict *v, mp_stage first, mp_stage last, const char *what) {
    if (v->begins[0] && v->begins_stage <= last) return;
    v->begins_stage = last;
    mp_verdict_set(v, &v->begins, "begins in %s%s%s: %s", first < last ? mp_stage_name(first) : "",
                   first < last ? ".." : "", mp_stage_name(last), what);
}

void mp_begins_conclude(mp_verdict *v, const mp_case *c) {
    mp_text wrong = {0};
    bool later = false;
    if (!v->begins[0]) return;
    for (int s = (int)v->begins_stage + 1; s < MP_STAGE_COUNT; s++) {
        later = later || mp_case_has_stage(c, (mp_stage)s);
        const bool other_bits = v->stage[s].mispredicted > 0 && v->check[MP_CHECK_BITS].answer == MP_FAILED;
        if (v->stage[s].failed > 0 || other_bits)
            mp_text_add(&wrong, "%s%s", wrong.length > 0 ? ", " : "", mp_stage_name((mp_stage)s));
    }
    if (wrong.length > 0)
        mp_verdict_set(v, &v->begins, "%s; wrong for themselves too: %s", v->begins, mp_text_get(&wrong));
    else if (later)
        mp_verdict_set(v, &v->begins, "%s; later stages follow from it", v->begins);
    mp_text_free(&wrong);
}
