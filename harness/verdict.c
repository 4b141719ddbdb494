/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/verdict.h"

#include "harness/picture.h"
#include "harness/verdict_json.h"
#include "harness/verdict_make.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *mp_outcome_name(mp_outcome outcome) {
    static const char *const names[MP_OUTCOME_COUNT] = {"PASS", "FAIL", "SKIP", "CRASH", "TIMEOUT"};
    return names[outcome];
}

const char *mp_check_name(mp_check check) {
#define NAME(check, name, asked) #name,
    static const char *const names[MP_CHECK_COUNT] = {MP_CHECKS(NAME)};
#undef NAME
    return names[check];
}

const char *mp_phase_name(mp_phase phase) {
#define NAME(phase, name) #name,
    static const char *const names[MP_PHASE_COUNT] = {MP_PHASES(NAME)};
#undef NAME
    return names[phase];
}

static const char *answer_name(int answer) {
    static const char *const names[] = {"not judged", "passed", "failed"};
    return names[answer];
}

int mp_verdict_worst_stage(const mp_verdict *v) {
    int worst = -1;
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        if (!v->stage[i].judged) continue;
        if (worst < 0 || !(v->stage[i].max_ratio <= v->stage[worst].max_ratio))
            worst = i; /* a NaN ratio is larger than any number */
        if (isnan(v->stage[worst].max_ratio)) break;
    }
    return worst;
}

double mp_verdict_max_abs(const mp_verdict *v) {
    double largest = 0;
    for (int i = 0; i < MP_STAGE_COUNT; i++)
        if (i != MP_ALIGN && v->stage[i].judged && !(v->stage[i].max_abs <= largest)) {
            largest = v->stage[i].max_abs;
            if (isnan(largest)) break;
        }
    return largest;
}

int mp_verdict_drift_stage(const mp_verdict *v) {
    int most = -1;
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        if (i == MP_ALIGN || !v->stage[i].judged) continue;
        if (most < 0 || !(v->stage[i].max_drift <= v->stage[most].max_drift)) most = i;
        if (isnan(v->stage[most].max_drift)) break;
    }
    return most;
}

void mp_stage_set_shape(mp_stage_figures *f, const mp_case *c, int64_t rows, int64_t width) {
    f->rank = rows == c->M ? 2 : 3;
    f->shape[0] = c->M;
    f->shape[1] = rows == c->M ? width : c->topk;
    f->shape[2] = rows == c->M ? 0 : width;
}

int mp_stage_index(const mp_stage_figures *f, int64_t flat, int64_t index[MP_MAX_RANK]) {
    for (int i = f->rank - 1; i >= 0; i--) {
        if (f->shape[i] <= 0 || flat < 0) return 0;
        index[i] = flat % f->shape[i];
        flat /= f->shape[i];
    }
    return flat == 0 ? f->rank : 0;
}

void mp_tally_add(mp_tally *tally, const mp_verdict *v) {
    tally->total++;
    tally->count[v->outcome]++;
}

bool mp_gpu_required(void) {
    const char *text = getenv("MOEPARITY_REQUIRE_GPU");
    return text && *text && strcmp(text, "0") != 0;
}

int mp_exit_code(const mp_tally *tally, const mp_run_info *info) {
    const int64_t skipped = tally->count[MP_SKIP], passed = info->recording ? 0 : tally->count[MP_PASS];
    const bool all_skipped = skipped > 0 && passed == 0;
    if (tally->count[MP_FAIL] > 0) return MP_EXIT_FAILURE;
    if (info->interrupted || tally->count[MP_CRASH] + tally->count[MP_TIMEOUT] > 0) return MP_EXIT_BROKEN;
    if (all_skipped) return mp_gpu_required() ? MP_EXIT_BROKEN : MP_EXIT_SKIPPED;
    return tally->total > 0 || info->shards > 1 ? MP_EXIT_OK : MP_EXIT_USAGE;
}

int mp_exit_code_of(mp_status status) {
    switch (status) {
    case MP_OK: return MP_EXIT_OK;
    case MP_EINPUT:
    case MP_EIO: return MP_EXIT_USAGE;
    case MP_EUNSUPPORTED: return mp_gpu_required() ? MP_EXIT_BROKEN : MP_EXIT_SKIPPED;
    default: return MP_EXIT_BROKEN;
    }
}

/* Both directions of the JSON form run through the same lists of fields, so that they cannot drift apart. */
typedef enum field_kind { TEXT, CHARS, REAL, INT64, INT, BOOL } field_kind; /* CHARS: an array */
typedef struct field {
    const char *name;
    field_kind kind;
    size_t offset, size;
} field;
#define FIELD(kind, type, name) \
    { #name, kind, offsetof(type, name), sizeof(((type *)NULL)->name) }
#define COUNT(fields) (sizeof(fields) / sizeof *(fields))

static const field verdict_fields[] = {
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
static const field stage_fields[] = {
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
};
static const field check_fields[] = {FIELD(INT, mp_check_result, failures),
                                     FIELD(TEXT, mp_check_result, text)};
static const field pair_fields[] = {
    FIELD(TEXT, mp_pair_figures, text),      FIELD(TEXT, mp_pair_figures, note),
    FIELD(BOOL, mp_pair_figures, required),  FIELD(BOOL, mp_pair_figures, bits_equal),
    FIELD(INT64, mp_pair_figures, compared), FIELD(INT64, mp_pair_figures, differing),
    FIELD(REAL, mp_pair_figures, max_abs),   FIELD(CHARS, mp_pair_figures, first),
};
static const field run_fields[] = {
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

static void clear_texts(const field *fields, size_t count, void *record) {
    for (const field *f = fields; f < fields + count; f++)
        if (f->kind == TEXT) *(const char **)((char *)record + f->offset) = "";
}

void mp_verdict_init(mp_verdict *v) {
    *v = (mp_verdict){0};
    clear_texts(verdict_fields, COUNT(verdict_fields), v);
    for (int i = 0; i < MP_CHECK_COUNT; i++) clear_texts(check_fields, COUNT(check_fields), &v->check[i]);
    for (int i = 0; i < MP_MAX_PAIRS; i++) clear_texts(pair_fields, COUNT(pair_fields), &v->pair[i]);
}

void mp_verdict_free(mp_verdict *v) {
    mp_texts_free(&v->texts);
    for (int i = 0; i < MP_STAGE_COUNT; i++) mp_picture_free(v->picture[i]);
    mp_verdict_init(v);
}

void mp_verdict_set(mp_verdict *v, const char **text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    *text = mp_texts_vadd(&v->texts, format, args);
    va_end(args);
}

void mp_run_info_init(mp_run_info *info) {
    *info = (mp_run_info){0};
    clear_texts(run_fields, COUNT(run_fields), info);
}

void mp_run_info_free(mp_run_info *info) {
    mp_texts_free(&info->texts);
    mp_run_info_init(info);
}

void mp_run_info_set(mp_run_info *info, const char **text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    *text = mp_texts_vadd(&info->texts, format, args);
    va_end(args);
}

void mp_run_info_join(mp_run_info *info, const char **text, const char *more) {
    const size_t length = strlen(more);
    if (length == 0) return;
    for (const char *p = strstr(*text, more); p; p = strstr(p + 1, more))
        if ((p == *text || (p > *text + 1 && strncmp(p - 2, "; ", 2) == 0)) &&
            (p[length] == '\0' || strncmp(p + length, "; ", 2) == 0))
            return;
    mp_run_info_set(info, text, "%s%s%s", *text, (*text)[0] ? "; " : "", more);
}

/* JSON text is UTF-8. What is not (a subject's output) keeps its ASCII part. */
static json_t *text_to_json(const char *text) {
    json_t *json = json_string(text);
    char *ascii = json == NULL ? strdup(text) : NULL;
    for (char *p = ascii; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    if (ascii != NULL) json = json_string(ascii);
    free(ascii);
    return json;
}

/* JSON has no NaN and no Inf: they become the texts "nan", "inf" and "-inf". */
static json_t *real_to_json(double value) {
    if (isnan(value)) return json_string("nan");
    if (isinf(value)) return json_string(value > 0 ? "inf" : "-inf");
    return json_real(value);
}

static bool real_from_json(const json_t *json, double *value) {
    if (json_is_number(json)) {
        *value = json_number_value(json);
        return true;
    }
    const char *text = json_string_value(json);
    if (text == NULL) return false;
    if (strcmp(text, "nan") == 0)
        *value = (double)NAN;
    else if (strcmp(text, "inf") == 0)
        *value = (double)INFINITY;
    else if (strcmp(text, "-inf") == 0)
        *value = -(double)INFINITY;
    else
        return false;
    return true;
}

static json_t *fields_to_json(const field *fields, size_t count, const void *record) {
    json_t *object = json_object();
    for (const field *f = fields; f < fields + count; f++) {
        const void *at = (const char *)record + f->offset;
        json_t *value = NULL;
        switch (f->kind) {
        case TEXT: value = text_to_json(*(const char *const *)at); break;
        case CHARS: value = text_to_json(at); break;
        case REAL: value = real_to_json(*(const double *)at); break;
        case INT64: value = json_integer(*(const int64_t *)at); break;
        case INT: value = json_integer(*(const int *)at); break;
        case BOOL: value = json_boolean(*(const bool *)at); break;
        }
        json_object_set_new(object, f->name, value);
    }
    return object;
}

static mp_status fields_from_json(const field *fields, size_t count, const json_t *object, void *record,
                                  mp_texts *texts, mp_error *err) {
    static const char *const expected[] = {[REAL] = "a number, \"nan\", \"inf\" or \"-inf\"",
                                           [INT64] = "an integer",
                                           [INT] = "an integer of 32 bits",
                                           [BOOL] = "true or false"};
    for (const field *f = fields; f < fields + count; f++) {
        void *at = (char *)record + f->offset;
        const json_t *value = json_object_get(object, f->name);
        bool right = false;
        switch (f->kind) {
        case TEXT:
            right = json_is_string(value) && json_string_length(value) <= MP_VERDICT_TEXT_MAX;
            if (right) *(const char **)at = mp_texts_add(texts, "%s", json_string_value(value));
            break;
        case CHARS:
            right = json_is_string(value) && json_string_length(value) < f->size;
            if (right) memcpy(at, json_string_value(value), json_string_length(value) + 1);
            break;
        case REAL: right = real_from_json(value, at); break;
        case INT64:
            right = json_is_integer(value);
            if (right) *(int64_t *)at = json_integer_value(value);
            break;
        case INT:
            right = json_is_integer(value) && json_integer_value(value) >= INT32_MIN &&
                    json_integer_value(value) <= INT32_MAX;
            if (right) *(int *)at = (int)json_integer_value(value);
            break;
        case BOOL:
            right = json_is_boolean(value);
            if (right) *(bool *)at = json_boolean_value(value);
            break;
        }
        if (right) continue;
        if (f->kind == TEXT || f->kind == CHARS)
            return mp_fail(err, MP_EINPUT, "%s: expected a text of at most %zu bytes", f->name,
                           f->kind == TEXT ? (size_t)MP_VERDICT_TEXT_MAX : f->size - 1);
        return mp_fail(err, MP_EINPUT, "%s: expected %s", f->name, expected[f->kind]);
    }
    return MP_OK;
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
    json_t *json = fields_to_json(stage_fields, COUNT(stage_fields), f);
    json_object_set_new(json, "shape", integers_to_json(f->shape, f->rank));
    json_object_set_new(json, "worst", place_to_json(f, f->judged, f->worst_index));
    json_object_set_new(json, "first", place_to_json(f, f->mispredicted > 0, f->first_index));
    return json;
}

static mp_status stage_from_json(const json_t *json, mp_stage_figures *f, mp_error *err) {
    mp_status status = fields_from_json(stage_fields, COUNT(stage_fields), json, f, NULL, err);
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
    return fields_to_json(run_fields, COUNT(run_fields), info);
}

mp_status mp_run_info_from_json(const json_t *json, mp_run_info *info, mp_error *err) {
    mp_run_info_init(info);
    mp_status status = json_is_object(json) ? MP_OK : mp_fail(err, MP_EINPUT, "expected an object");
    if (status == MP_OK)
        status = fields_from_json(run_fields, COUNT(run_fields), json, info, &info->texts, err);
    if (status != MP_OK) mp_error_prefix(err, "run");
    return status;
}

json_t *mp_verdict_to_json(const mp_verdict *v) {
    json_t *json = fields_to_json(verdict_fields, COUNT(verdict_fields), v);
    json_object_set_new(json, "outcome", json_string(mp_outcome_name(v->outcome)));

    json_t *phases = json_object();
    for (int i = 0; i < MP_PHASE_COUNT; i++)
        json_object_set_new(phases, mp_phase_name((mp_phase)i), real_to_json(v->phase_seconds[i]));
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
        json_t *check = fields_to_json(check_fields, COUNT(check_fields), &v->check[i]);
        json_object_set_new(check, "answer", json_string(answer_name((int)v->check[i].answer)));
        json_object_set_new(checks, mp_check_name((mp_check)i), check);
    }
    json_object_set_new(json, "checks", checks);

    json_t *pairs = json_array();
    for (int i = 0; i < v->pair_count; i++)
        json_array_append_new(pairs, fields_to_json(pair_fields, COUNT(pair_fields), &v->pair[i]));
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
        if (!real_from_json(json_object_get(phases, mp_phase_name((mp_phase)i)), &v->phase_seconds[i]))
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
        status = fields_from_json(check_fields, COUNT(check_fields), check, &v->check[i], &v->texts, err);
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
        status = fields_from_json(pair_fields, COUNT(pair_fields), json_array_get(pairs, (size_t)i),
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
        status = fields_from_json(verdict_fields, COUNT(verdict_fields), json, v, &v->texts, err);
    if (status == MP_OK)
        status = name_from_json(json, "outcome", outcome_name, MP_OUTCOME_COUNT, &outcome, err);
    if (status == MP_OK) status = parts_from_json(json, v, err);
    v->outcome = (mp_outcome)outcome;
    if (status != MP_OK) mp_error_prefix(err, "verdict");
    return status;
}
