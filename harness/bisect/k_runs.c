/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/k_runs.h"

#include "harness/bisect/attempt.h"
#include "harness/wire.h"

#include <inttypes.h>
#include <math.h>

static bool find_seen(mp_k_runs *s, const mp_verdict *v) {
    for (int i = (int)s->stage; i < MP_STAGE_COUNT; i++) {
        const mp_stage_figures *f = &v->stage[i];
        if (f->predicted == 0 && !f->judged) continue;
        s->seen = (mp_stage)i;
        s->by_bits = f->predicted > 0;
        return true;
    }
    return false;
}

static mp_k_shown read_figures(const mp_k_runs *s, const mp_verdict *v) {
    const mp_stage_figures *f = &v->stage[s->seen];
    mp_k_shown r = {.failed = f->failed, .max_abs = f->max_abs};
    r.compared = s->by_bits ? f->predicted : f->compared;
    r.differing = s->by_bits ? f->mispredicted : f->failed;
    r.max_ulps = s->by_bits ? f->max_ulps : 0;
    r.parts = r.differing > 0 || (!s->by_bits && f->judged && !(f->max_ratio <= 1));
    return r;
}

static json_t *number_or_text(double v) {
    return isfinite(v) ? json_real(v) : json_string(isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
}

static mp_status note(mp_k_runs *s, const char *what, int64_t k, const char *edit, const mp_k_shown *r,
                      mp_error *err) {
    json_t *json = json_pack("{s:s, s:I, s:o, s:b, s:I, s:I, s:I, s:o}", "what", what, "k", (json_int_t)k,
                             "edit", mp_json_text(edit), "parts", (int)r->parts, "differing",
                             (json_int_t)r->differing, "compared", (json_int_t)r->compared, "beyond_bound",
                             (json_int_t)r->failed, "max_abs", number_or_text(r->max_abs));
    if (s->by_bits && json) json_object_set_new(json, "max_ulps", json_integer((json_int_t)r->max_ulps));
    return json_array_append_new(s->tries, json) == 0
               ? MP_OK
               : mp_fail(err, MP_EMEMORY, "no memory for what bisect k finds");
}

static mp_status run(mp_k_runs *s, const char *what, int64_t k, const char *edit, mp_verdict *v,
                     mp_error *err) {
    const char *own = s->how.settings.edit;
    mp_text edits = {0};
    mp_suite_options how = s->how;
    mp_text_add(&edits, "%s%s%s", own ? own : "", own && *edit ? "; " : "", edit);
    how.settings.edit = edits.length > 0 ? mp_text_get(&edits) : NULL;
    mp_verdict_init(v);
    mp_status status = mp_attempt(s->row, &how, v, NULL, s->info, err);
    s->count++;
    if (status == MP_OK && v->outcome == MP_SKIP) status = mp_fail(err, MP_EUNSUPPORTED, "%s", v->reason);
    if (status == MP_OK && (v->outcome == MP_CRASH || v->outcome == MP_TIMEOUT))
        status = mp_fail(err, MP_EDEVICE, "%s, k=%" PRId64 "%s%s: %s: %s", what, k, *edit ? ", --edit " : "",
                         edit, mp_outcome_name(v->outcome), v->reason);
    mp_text_free(&edits);
    return status;
}

mp_status mp_k_run_whole(mp_k_runs *s, int64_t terms, mp_k_shown *r, mp_verdict *v, mp_error *err) {
    mp_status status = run(s, "whole", terms, "", v, err);
    if (status == MP_OK && !find_seen(s, v))
        status = mp_fail(err, MP_EDEVICE, "nothing is known of %s: %s", mp_stage_name(s->stage),
                         v->reason[0] ? v->reason : v->check[MP_CHECK_BOUND].text);
    if (status != MP_OK) return status;
    *r = read_figures(s, v);
    return note(s, "whole", terms, "", r, err);
}

mp_status mp_k_run(mp_k_runs *s, const char *what, int64_t k, const char *edit, mp_k_shown *r, mp_verdict *v,
                   mp_error *err) {
    const mp_status status = run(s, what, k, edit, v, err);
    if (status != MP_OK) return status;
    *r = read_figures(s, v);
    return note(s, what, k, edit, r, err);
}
