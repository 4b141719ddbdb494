/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/bisect_stage.h"

#include "base/text.h"
#include "cases/case_tools.h"
#include "harness/bisect/attempt.h"
#include "harness/verdict_json.h"
#include "harness/wire.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

bool mp_stage_parts(const mp_verdict *v, mp_stage stage, bool against) {
    const mp_stage_figures *f = &v->stage[stage];
    if (against) return f->mispredicted > 0;
    if (stage == MP_ALIGN) return v->check[MP_CHECK_INTEGER].answer == MP_FAILED;
    return f->mispredicted > 0 || f->failed > 0 || (f->judged && !(f->max_ratio <= 1));
}

static bool is_known(const mp_verdict *v, mp_stage stage, bool against) {
    const mp_stage_figures *f = &v->stage[stage];
    if (against) return f->predicted > 0;
    return f->predicted > 0 || f->judged ||
           (stage == MP_ALIGN && v->check[MP_CHECK_INTEGER].answer != MP_NOT_JUDGED);
}

static json_t *number_or_text(double v) {
    return isfinite(v) ? json_real(v) : json_string(isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
}

static json_t *tell_stage(const mp_verdict *v, mp_stage stage, bool against) {
    const mp_stage_figures *f = &v->stage[stage];
    json_t *json =
        json_pack("{s:s, s:b, s:b}", "stage", mp_stage_name(stage), "known", (int)is_known(v, stage, against),
                  "parts", (int)mp_stage_parts(v, stage, against));
    if (f->predicted > 0) {
        json_object_set_new(json, "compared", json_integer((json_int_t)f->predicted));
        json_object_set_new(json, "other_bits", json_integer((json_int_t)f->mispredicted));
        json_object_set_new(json, "max_ulps", json_integer((json_int_t)f->max_ulps));
    }
    if (f->judged) {
        json_object_set_new(json, "judged", json_integer((json_int_t)f->compared));
        json_object_set_new(json, "beyond_bound", json_integer((json_int_t)f->failed));
        json_object_set_new(json, "max_ratio", number_or_text(f->max_ratio));
        json_object_set_new(json, "max_drift", number_or_text(f->max_drift));
        json_object_set_new(json, "max_abs", number_or_text(f->max_abs));
    }
    return json;
}

/* The first element that differs, and what all have in common. */
static const char *where_text(const mp_verdict *v, mp_stage first, bool against) {
    if (against) return v->pair[v->pair_count - 1].first;
    if (first == MP_ALIGN) return v->check[MP_CHECK_INTEGER].text;
    if (v->stage[first].mispredicted > 0) return v->check[MP_CHECK_BITS].text;
    return v->check[v->check[MP_CHECK_BOUND].answer == MP_FAILED ? MP_CHECK_BOUND : MP_CHECK_NAN].text;
}

static void conclude(const mp_verdict *v, int first, bool against, const char *other, mp_text *text) {
    if (first < 0 && against)
        mp_text_add(text, "no difference: all %" PRId64 " elements are those of %s",
                    v->pair[v->pair_count - 1].compared, other);
    else if (first < 0)
        mp_text_add(text, "no difference: every stage that is shown keeps its bounds%s",
                    v->check[MP_CHECK_BITS].answer == MP_PASSED ? ", and has the predicted bits" : "");
    else if (v->begins[0])
        mp_text_add(text, "%s", v->begins);
    else /* other bits, where the contract does not require them */
        mp_text_add(text, "begins in %s: other bits than predicted, where the contract requires none",
                    mp_stage_name((mp_stage)first));
    if (first < 0 && v->outcome == MP_FAIL) /* a guard zone, an input that changed */
        mp_text_add(text, "; the case fails all the same: %s", v->reason);
}

static mp_status tell(const mp_case *c, const mp_verdict *v, const char *other, json_t *report,
                      mp_error *err) {
    const bool against = other != NULL;
    char name[MP_CASE_TEXT_MAX];
    mp_text text = {0};
    json_t *stages = json_array();
    int first = -1, known = 0;
    mp_case_text(c, name, sizeof name);
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (!mp_case_has_stage(c, (mp_stage)s)) continue;
        json_array_append_new(stages, tell_stage(v, (mp_stage)s, against));
        known += is_known(v, (mp_stage)s, against);
        if (first < 0 && mp_stage_parts(v, (mp_stage)s, against)) first = s;
    }
    if (known > 0) conclude(v, first, against, other, &text);
    json_object_set_new(report, "case", mp_json_text(name));
    json_object_set_new(report, "against", other ? mp_json_text(other) : json_null());
    json_object_set_new(report, "found", json_boolean(first >= 0));
    json_object_set_new(report, "stage",
                        first >= 0 ? json_string(mp_stage_name((mp_stage)first)) : json_null());
    json_object_set_new(report, "conclusion", mp_json_text(mp_text_get(&text)));
    json_object_set_new(report, "where",
                        mp_json_text(first >= 0 ? where_text(v, (mp_stage)first, against) : ""));
    json_object_set_new(report, "stages", stages);
    json_object_set_new(report, "repro", mp_json_text(v->repro));
    json_object_set_new(report, "verdict", mp_verdict_to_json(v));
    mp_text_free(&text);
    return known > 0 ? MP_OK
                     : mp_fail(err, MP_EDEVICE, "nothing could be compared: %s",
                               v->reason[0] ? v->reason : v->check[MP_CHECK_BOUND].text);
}

mp_status mp_bisect_stage(const mp_matrix *row, const mp_suite_options *how, mp_run_info *info, mp_verdict *v,
                          json_t **report, mp_error *err) {
    mp_suite_options once = *how;
    const char *other = how->settings.against;
    once.settings.once = once.settings.figures = true;
    *report = NULL;
    mp_status status = mp_attempt(row, &once, v, NULL, info, err);
    if (status == MP_OK && v->outcome == MP_SKIP) status = mp_fail(err, MP_EUNSUPPORTED, "%s", v->reason);
    if (status == MP_OK && (v->outcome == MP_CRASH || v->outcome == MP_TIMEOUT))
        status = mp_fail(err, MP_EDEVICE, "%s: %s", mp_outcome_name(v->outcome), v->reason);
    if (status == MP_OK && other && (v->pair_count == 0 || v->pair[v->pair_count - 1].note[0]))
        status = mp_fail(err, MP_EUNSUPPORTED, "%s: %s", other,
                         v->pair_count ? v->pair[v->pair_count - 1].note : "it was not run");
    json_t *found = status == MP_OK ? json_object() : NULL;
    if (status == MP_OK && !found) status = mp_fail(err, MP_EMEMORY, "no memory for what bisect stage finds");
    if (status == MP_OK) status = tell(&row->rows[0].c, v, other, found, err);
    if (status == MP_OK) *report = json_incref(found);
    json_decref(found);
    return status;
}
