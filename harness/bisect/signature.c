/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/signature.h"

#include "base/text.h"
#include "moeparity/case.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int stage_named(const char *name, size_t length) {
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (strlen(mp_stage_name((mp_stage)s)) == length &&
            strncmp(mp_stage_name((mp_stage)s), name, length) == 0)
            return s;
    return -1;
}

/* "begins in gate_up..act: every row, ...": of stages that are judged as one it is the last. */
static int stage_of(const char *begins, int *first) {
    static const char opening[] = "begins in ";
    if (strncmp(begins, opening, strlen(opening)) != 0) return -1;
    const char *name = begins + strlen(opening);
    const size_t length = strcspn(name, ":");
    const char *dots = strstr(name, "..");
    const bool several = dots && dots < name + length;
    const int last =
        several ? stage_named(dots + 2, length - (size_t)(dots + 2 - name)) : stage_named(name, length);
    *first = several ? stage_named(name, (size_t)(dots - name)) : last;
    return last;
}

/* How a worker ended, without what it was at and without numbers, which differ from case to case. */
static void how_it_ended(const char *reason, char how[256]) {
    const char *end = strstr(reason, " before it");
    size_t used = 0;
    for (const char *p = reason; *p && p != end && used < 255; p++)
        if (!isdigit((unsigned char)*p) || end) how[used++] = *p;
    how[used] = '\0';
}

bool mp_signature_of(const mp_verdict *v, mp_signature *s) {
    *s = (mp_signature){.outcome = v->outcome, .check = -1, .stage = -1, .first = -1};
    if (v->outcome == MP_CRASH) how_it_ended(v->reason, s->how);
    if (v->outcome != MP_FAIL) return v->outcome == MP_CRASH || v->outcome == MP_TIMEOUT;
    for (int i = 0; i < MP_CHECK_COUNT && s->check < 0; i++)
        if (v->check[i].answer == MP_FAILED) s->check = i;
    s->stage = stage_of(v->begins, &s->first);
    return true;
}

bool mp_signature_fits(const mp_signature *wanted, const mp_verdict *v) {
    mp_signature s;
    if (!mp_signature_of(v, &s) || s.outcome != wanted->outcome) return false;
    return (wanted->check < 0 || wanted->check == s.check) &&
           (wanted->stage < 0 || wanted->stage == s.stage) &&
           (!wanted->how[0] || strcmp(wanted->how, s.how) == 0);
}

void mp_signature_text(const mp_signature *s, char text[MP_SIGNATURE_TEXT_MAX]) {
    const bool check = s->check >= 0, stage = s->stage >= 0;
    snprintf(text, MP_SIGNATURE_TEXT_MAX, "%s%s%s%s%s%s",
             check ? mp_check_name((mp_check)s->check) : mp_outcome_name(s->outcome), stage ? ":" : "",
             stage ? mp_stage_name((mp_stage)s->stage) : "", s->how[0] ? " (" : "", s->how,
             s->how[0] ? ")" : "");
}

static mp_status unknown(const char *text, mp_error *err) {
    mp_text known = {0};
    for (int i = 0; i < MP_CHECK_COUNT; i++) mp_text_add(&known, "%s, ", mp_check_name((mp_check)i));
    mp_fail(err, MP_EINPUT,
            "'%s': expected CRASH, TIMEOUT, or one of %sand a stage behind it, as bound:gate_up", text,
            mp_text_get(&known));
    mp_text_free(&known);
    return MP_EINPUT;
}

mp_status mp_signature_parse(const char *text, mp_signature *s, mp_error *err) {
    const size_t length = strcspn(text, ":");
    *s = (mp_signature){.outcome = MP_FAIL, .check = -1, .stage = -1, .first = -1};
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (strlen(mp_check_name((mp_check)i)) == length &&
            strncmp(mp_check_name((mp_check)i), text, length) == 0)
            s->check = i;
    if (s->check < 0) {
        const bool crash = strcmp(text, "CRASH") == 0;
        if (!crash && strcmp(text, "TIMEOUT") != 0) return unknown(text, err);
        s->outcome = crash ? MP_CRASH : MP_TIMEOUT;
        return MP_OK;
    }
    if (!text[length]) return MP_OK;
    s->stage = stage_named(text + length + 1, strlen(text + length + 1));
    return s->stage >= 0 ? MP_OK : unknown(text, err);
}
