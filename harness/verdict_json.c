/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/verdict_json.h"

#include "harness/fields.h"
#include "harness/picture.h"

#include <string.h>

#define COUNT(fields) (sizeof(fields) / sizeof *(fields))

static const mp_field verdict_fields[] = {
    FIELD(CHARS, mp_verdict, name),   FIELD(TEXT, mp_verdict, group),
    FIELD(TEXT, mp_verdict, subject), FIELD(TEXT, mp_verdict, contract),
    FIELD(TEXT, mp_verdict, config),  FIELD(TEXT, mp_verdict, config_note),
    FIELD(TEXT, mp_verdict, blas),    FIELD(TEXT, mp_verdict, reason),
    FIELD(REAL, mp_verdict, seconds), FIELD(INT64, mp_verdict, peak_bytes),
    FIELD(TEXT, mp_verdict, repro),   FIELD(TEXT, mp_verdict, begins),
    FIELD(TEXT, mp_verdict, weaker),  FIELD(TEXT, mp_verdict, covers),
    FIELD(TEXT, mp_verdict, history), FIELD(INT64, mp_verdict, row),
    FIELD(TEXT, mp_verdict, device),
};
static const mp_field stage_fields[] = {
    FIELD(BOOL, mp_stage_figures, judged),      FIELD(INT64, mp_stage_figures, compared),
    FIELD(INT64, mp_stage_figures, failed),     FIELD(INT64, mp_stage_figures, bit_equal),
    FIELD(REAL, mp_stage_figures, max_abs),     FIELD(REAL, mp_stage_figures, max_ratio),
    FIELD(REAL, mp_stage_figures, max_drift),   FIELD(REAL, mp_stage_figures, max_error_ulps),
    FIELD(REAL, mp_stage_figures, max_row_rms), FIELD(INT64, mp_stage_figures, worst_index),
    FIELD(REAL, mp_stage_figures, worst_value), FIELD(REAL, mp_stage_figures, worst_expected),
    FIELD(REAL, mp_stage_figures, worst_bound), FIELD(REAL, mp_stage_figures, time_ns),
    FIELD(INT64, mp_stage_figures, predicted),  FIELD(INT64, mp_stage_figures, mispredicted),
    FIELD(INT64, mp_stage_figures, max_ulps),   FIELD(INT64, mp_stage_figures, first_index),
    FIELD(REAL, mp_stage_figures, first_value), FIELD(REAL, mp_stage_figures, first_predicted),
    FIELD(INT64, mp_stage_figures, saturated),  FIELD(REAL, mp_stage_figures, quant_bound),
    FIELD(INT64, mp_stage_figures, by_cpu),
};
static const mp_field check_fields[] = {FIELD(INT, mp_check_result, failures),
                                        FIELD(TEXT, mp_check_result, text)};
static const mp_field pair_fields[] = {
    FIELD(TEXT, mp_pair_figures, text),      FIELD(TEXT, mp_pair_figures, note),
    FIELD(BOOL, mp_pair_figures, required),  FIELD(BOOL, mp_pair_figures, bits_equal),
    FIELD(INT64, mp_pair_figures, compared), FIELD(INT64, mp_pair_figures, differing),
    FIELD(REAL, mp_pair_figures, max_abs),   FIELD(CHARS, mp_pair_figures, first),
};
static const mp_field run_fields[] = {
    FIELD(TEXT, mp_run_info, version),     FIELD(TEXT, mp_run_info, commit),
    FIELD(TEXT, mp_run_info, command),     FIELD(TEXT, mp_run_info, subject),
    FIELD(TEXT, mp_run_info, device),      FIELD(TEXT, mp_run_info, versions),
    FIELD(TEXT, mp_run_info, date),        FIELD(TEXT, mp_run_info, blas),
    FIELD(TEXT, mp_run_info, host),        FIELD(REAL, mp_run_info, seconds),
    FIELD(TEXT, mp_run_info, settings),    FIELD(TEXT, mp_run_info, matrix),
    FIELD(TEXT, mp_run_info, names),       FIELD(TEXT, mp_run_info, files),
    FIELD(INT64, mp_run_info, cases),      FIELD(INT, mp_run_info, shard),
    FIELD(INT, mp_run_info, shards),       FIELD(BOOL, mp_run_info, recording),
    FIELD(BOOL, mp_run_info, interrupted),
};

void mp_verdict_init(mp_verdict *v) {
    *v = (mp_verdict){0};
    mp_clear_texts(verdict_fields, COUNT(verdict_fields), v);
    for (int i = 0; i < MP_CHECK_COUNT; i++) mp_clear_texts(check_fields, COUNT(check_fields), &v->check[i]);
    for (int i = 0; i < MP_MAX_PAIRS; i++) mp_clear_texts(pair_fields, COUNT(pair_fields), &v->pair[i]);
}

void mp_verdict_free(mp_verdict *v) {
    mp_texts_free(&v->texts);
    for (int i = 0; i < MP_STAGE_COUNT; i++) mp_picture_free(v->picture[i]);
    mp_verdict_init(v);
}

void mp_run_info_init(mp_run_info *info) {
    *info = (mp_run_info){0};
    mp_clear_texts(run_fields, COUNT(run_fields), info);
}

void mp_run_info_free(mp_run_info *info) {
    mp_texts_free(&info->texts);
    mp_run_info_init(info);
}

static const char *answer_name(int answer) {
    static const char *const names[] = {"not judged", "passed", "failed"};
    return names[answer];
}

static json_t *integers_to_json(const int64_t *values, int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(list, json_integer(values[i]));
    return list;
}

/* An element of the stage's output: its index, null where there is none. */
static json_t *place_to_json(const mp_stage_figures *f, bool there, int64_t flat) {
    int64_t index[MP_MAX_RANK];
    const int rank = there ? mp_stage_index(f, flat, index) : 0;
    return rank > 0 ? integers_to_json(index, rank) : json_null();
}

/* The fields, and what follows from them for readers: shape, and the places of worst_index and first_index.
 */
static json_t *stage_to_json(const mp_stage_figures *f) {
    json_t *json = mp_fields_to_json(stage_fields, COUNT(stage_fields), f);
    json_object_set_new(json, "shape", integers_to_json(f->shape, f->rank));
    json_object_set_new(json, "worst", place_to_json(f, f->judged, f->worst_index));
    json_object_set_new(json, "first", place_to_json(f, f->mispredicted > 0, f->first_index));
    return json;
}

static mp_status stage_from_json(const json_t *json, mp_stage_figures *f, mp_error *err) {
    mp_status status = mp_fields_from_json(stage_fields, COUNT(stage_fields), json, f, NULL, err);
    if (status != MP_OK) return status;
    const json_t *shape = json_object_get(json, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > MP_MAX_RANK)
        return mp_fail(err, MP_EINPUT, "shape: expected a list of at most %d integers", MP_MAX_RANK);
    f->rank = (int)json_array_size(shape);
    for (int i = 0; i < f->rank; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);
        if (!json_is_integer(size)) return mp_fail(err, MP_EINPUT, "shape: expected integers");
        f->shape[i] = json_integer_value(size);
    }
    static const char *const places[] = {"worst", "first"};
    for (int i = 0; i < 2; i++) {
        json_t *expected = i == 0 ? place_to_json(f, f->judged, f->worst_index)
                                  : place_to_json(f, f->mispredicted > 0, f->first_index);
        const bool right = json_equal(json_object_get(json, places[i]), expected);
        json_decref(expected);
        if (!right)
            return mp_fail(err, MP_EINPUT, "%s: expected the place of %s_index in shape", places[i],
                           places[i]);
    }
    return MP_OK;
}

json_t *mp_run_info_to_json(const mp_run_info *info) {
    return mp_fields_to_json(run_fields, COUNT(run_fields), info);
}

mp_status mp_run_info_from_json(const json_t *json, mp_run_info *info, mp_error *err) {
    mp_run_info_init(info);
    mp_status status = json_is_object(json) ? MP_OK : mp_fail(err, MP_EINPUT, "expected an object");
    if (status == MP_OK)
        status = mp_fields_from_json(run_fields, COUNT(run_fields), json, info, &info->texts, err);
    if (status != MP_OK) mp_error_prefix(err, "run");
    return status;
}

json_t *mp_verdict_to_json(const mp_verdict *v) {
    json_t *json = mp_fields_to_json(verdict_fields, COUNT(verdict_fields), v);
    json_object_set_new(json, "outcome", json_string(mp_outcome_name(v->outcome)));

    json_t *phases = json_object();
    for (int i = 0; i < MP_PHASE_COUNT; i++)
        json_object_set_new(phases, mp_phase_name((mp_phase)i), mp_real_to_json(v->phase_seconds[i]));
    json_object_set_new(json, "phases", phases);

    json_t *stages = json_object();
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        json_t *stage = stage_to_json(&v->stage[i]);
        if (v->picture[i] != NULL) json_object_set_new(stage, "picture", mp_picture_to_json(v->picture[i]));
        json_object_set_new(stages, mp_stage_name((mp_stage)i), stage);
    }
    json_object_set_new(json, "stages", stages);
    json_object_set_new(json, "end_to_end", stage_to_json(&v->end_to_end));

    json_t *checks = json_object();
    for (int i = 0; i < MP_CHECK_COUNT; i++) {
        json_t *check = mp_fields_to_json(check_fields, COUNT(check_fields), &v->check[i]);
        json_object_set_new(check, "answer", json_string(answer_name((int)v->check[i].answer)));
        json_object_set_new(checks, mp_check_name((mp_check)i), check);
    }
    json_object_set_new(json, "checks", checks);

    json_t *pairs = json_array();
    for (int i = 0; i < v->pair_count; i++)
        json_array_append_new(pairs, mp_fields_to_json(pair_fields, COUNT(pair_fields), &v->pair[i]));
    json_object_set_new(json, "pairs", pairs);
    return json;
}

/* Finds the name among names_of(0..count). */
static mp_status name_from_json(const json_t *object, const char *key, const char *(*name_of)(int), int count,
                                int *value, mp_error *err) {
    const char *text = json_string_value(json_object_get(object, key));
    for (int i = 0; text != NULL && i < count; i++) {
        if (strcmp(text, name_of(i)) != 0) continue;
        *value = i;
        return MP_OK;
    }
    return mp_fail(err, MP_EINPUT, "%s: '%s' is not one of its names (%s, %s, ...)", key,
                   text != NULL ? text : "(no text)", name_of(0), name_of(1));
}

static const char *outcome_name(int outcome) {
    return mp_outcome_name((mp_outcome)outcome);
}

static mp_status phases_from_json(const json_t *json, mp_verdict *v, mp_error *err) {
    const json_t *phases = json_object_get(json, "phases");
    for (int i = 0; i < MP_PHASE_COUNT; i++)
        if (!mp_real_from_json(json_object_get(phases, mp_phase_name((mp_phase)i)), &v->phase_seconds[i]))
            return mp_fail(err, MP_EINPUT, "phases.%s: expected a number", mp_phase_name((mp_phase)i));
    return MP_OK;
}

static mp_status parts_from_json(const json_t *json, mp_verdict *v, mp_error *err) {
    mp_status status = phases_from_json(json, v, err);
    if (status != MP_OK) return status;
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        const char *name = mp_stage_name((mp_stage)i);
        const json_t *stage = json_object_get(json_object_get(json, "stages"), name);
        const json_t *picture = json_object_get(stage, "picture");
        status = stage_from_json(stage, &v->stage[i], err);
        if (status == MP_OK && picture != NULL) {
            status = mp_picture_from_json(picture, &v->picture[i], err);
            if (status != MP_OK) mp_error_prefix(err, "picture");
        }
        if (status != MP_OK) {
            mp_error_prefix(err, "stages.%s", name);
            return status;
        }
    }
    status = stage_from_json(json_object_get(json, "end_to_end"), &v->end_to_end, err);
    if (status != MP_OK) {
        mp_error_prefix(err, "end_to_end");
        return status;
    }
    for (int i = 0; i < MP_CHECK_COUNT; i++) {
        const char *name = mp_check_name((mp_check)i);
        const json_t *check = json_object_get(json_object_get(json, "checks"), name);
        int answer = MP_NOT_JUDGED;
        status = mp_fields_from_json(check_fields, COUNT(check_fields), check, &v->check[i], &v->texts, err);
        if (status == MP_OK)
            status = name_from_json(check, "answer", answer_name, MP_FAILED + 1, &answer, err);
        if (status != MP_OK) {
            mp_error_prefix(err, "checks.%s", name);
            return status;
        }
        v->check[i].answer = (mp_answer)answer;
    }
    const json_t *pairs = json_object_get(json, "pairs");
    if (!json_is_array(pairs) || json_array_size(pairs) > MP_MAX_PAIRS)
        return mp_fail(err, MP_EINPUT, "pairs: expected a list of at most %d", MP_MAX_PAIRS);
    v->pair_count = (int)json_array_size(pairs);
    for (int i = 0; i < v->pair_count; i++) {
        status = mp_fields_from_json(pair_fields, COUNT(pair_fields), json_array_get(pairs, (size_t)i),
                                     &v->pair[i], &v->texts, err);
        if (status != MP_OK) {
            mp_error_prefix(err, "pairs[%d]", i);
            return status;
        }
    }
    return MP_OK;
}

mp_status mp_verdict_from_json(const json_t *json, mp_verdict *v, mp_error *err) {
    int outcome = 0;
    mp_verdict_init(v);
    mp_status status = json_is_object(json) ? MP_OK : mp_fail(err, MP_EINPUT, "expected an object");
    if (status == MP_OK)
        status = mp_fields_from_json(verdict_fields, COUNT(verdict_fields), json, v, &v->texts, err);
    if (status == MP_OK)
        status = name_from_json(json, "outcome", outcome_name, MP_OUTCOME_COUNT, &outcome, err);
    if (status == MP_OK) status = parts_from_json(json, v, err);
    v->outcome = (mp_outcome)outcome;
    if (status != MP_OK) mp_error_prefix(err, "verdict");
    return status;
}
