/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/message.h"

#include "base/printable.h"
#include "harness/run/settings.h"
#include "harness/verdict_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

json_t *mp_json_row(const mp_matrix_row *row) {
    char text[MP_CASE_TEXT_MAX];
    mp_case_text(&row->c, text, sizeof text);
    json_t *pairs = json_array();
    for (size_t i = 0; i < row->pair_count; i++)
        json_array_append_new(pairs, mp_json_text(row->pair_text[i]));
    json_t *json = json_pack("{s:s, s:o, s:o}", "case", text, "pairs", pairs, "group",
                             mp_json_text(row->group ? row->group : ""));
    json_t *afters = row->after_count > 0 ? json_array() : NULL;
    for (size_t i = 0; i < row->after_count; i++)
        json_array_append_new(afters, mp_json_text(row->after_text[i]));
    if (afters) json_object_set_new(json, "after", afters);
    if (row->file) json_object_set_new(json, "file", mp_json_path(row->file));
    return json;
}

static mp_status take_file(const json_t *json, mp_matrix_row *row, mp_error *err) {
    char path[PATH_MAX];
    const json_t *file = json_object_get(json, "file");
    const mp_status status = file ? mp_json_to_path(file, "file", path, err) : MP_OK;
    if (status == MP_OK && file && !(row->file = strdup(path)))
        return mp_fail(err, MP_EMEMORY, "no memory for the path of a file");
    return status;
}

static mp_status take_afters(const json_t *afters, const char *text, mp_matrix *m, mp_error *err) {
    const json_t *after;
    size_t i;
    mp_status status = MP_OK;
    json_array_foreach(afters, i, after) {
        if (status == MP_OK && !json_is_string(after))
            status = mp_fail(err, MP_EINPUT, "after %zu is not a text", i);
        if (status == MP_OK) status = mp_matrix_add_after(m, text, json_string_value(after), err);
    }
    return status;
}

mp_status mp_json_to_row(const json_t *json, mp_matrix *m, mp_error *err) {
    const char *text = json_string_value(json_object_get(json, "case")),
               *group = json_string_value(json_object_get(json, "group")), *pair[MP_MATRIX_MAX_PAIRS];
    const json_t *pairs = json_object_get(json, "pairs");
    const size_t count = json_array_size(pairs), before = m->count;
    if (!text) return mp_fail(err, MP_EINPUT, "a row without a case");
    if (count > MP_MATRIX_MAX_PAIRS)
        return mp_fail(err, MP_EINPUT, "%zu pairs; expected at most %d", count, MP_MATRIX_MAX_PAIRS);
    for (size_t i = 0; i < count; i++)
        if (!(pair[i] = json_string_value(json_array_get(pairs, i))))
            return mp_fail(err, MP_EINPUT, "pair %zu is not a text", i);
    mp_status status = mp_matrix_add(m, text, pair, count, err);
    if (status == MP_OK && m->count > before) status = take_file(json, &m->rows[before], err);
    if (status == MP_OK) status = take_afters(json_object_get(json, "after"), text, m, err);
    if (status != MP_OK || m->count == before || !group) return status;
    char *copy = strdup(group);
    if (!copy) return mp_fail(err, MP_EMEMORY, "no memory for the name of a group");
    free(m->rows[before].group);
    m->rows[before].group = copy;
    return MP_OK;
}

/* ---- open ---- */

static json_t *record_to_json(const mp_record_options *r) {
    json_t *cases = json_array();
    for (size_t i = 0; i < r->case_count; i++) json_array_append_new(cases, mp_json_text(r->cases[i]));
    json_t *json =
        json_pack("{s:o, s:I, s:b, s:o, s:o, s:o, s:o, s:o}", "path", mp_json_path(r->path), "digest_above",
                  r->digest_above < INT64_MAX ? (json_int_t)r->digest_above : (json_int_t)INT64_MAX, "inputs",
                  (int)r->inputs, "version", mp_json_text(r->who.version), "commit",
                  mp_json_text(r->who.commit), "date", mp_json_text(r->who.date), "device",
                  mp_json_text(r->who.device), "versions", mp_json_text(r->who.versions));
    json_object_set_new(json, "keep", json_boolean(r->keep));
    json_object_set_new(json, "mixed", json_boolean(r->mixed));
    json_object_set_new(json, "cases", cases);
    return json;
}

static json_t *setting_to_json(const mp_settings *settings, const mp_setting *row) {
    const char *text = mp_setting_text(settings, row);
    const double number = mp_setting_number(settings, row);
    switch (row->kind) {
    case MP_SETTING_TEXT: return text ? mp_json_path(text) : NULL;
    case MP_SETTING_COUNT: return json_integer((json_int_t)number);
    case MP_SETTING_SECONDS: return json_real(number);
    case MP_SETTING_FLAG: return json_boolean(number != 0);
    }
    return NULL;
}

json_t *mp_json_open(const mp_suite_options *o, const mp_matrix *matrix, size_t first, bool check_golden) {
    json_t *rows = json_array();
    for (size_t i = first; i < matrix->count; i++) json_array_append_new(rows, mp_json_row(&matrix->rows[i]));
    json_t *open = json_pack("{s:i, s:b, s:o}", "protocol", MP_PROTOCOL, "check_golden", (int)check_golden,
                             "rows", rows);
    for (int i = 0; i < mp_setting_count; i++) {
        json_t *value = setting_to_json(&o->settings, &mp_setting_rows[i]);
        if (value) json_object_set_new(open, mp_setting_rows[i].name, value);
    }
    if (o->record) json_object_set_new(open, "record", record_to_json(o->record));
    return json_pack("{s:o}", "open", open);
}

/* What is absent leaves the text as it is. */
static void take_text(const json_t *object, const char *name, char *text, size_t size) {
    const char *value = json_string_value(json_object_get(object, name));
    if (value) snprintf(text, size, "%s", value);
}

static int take_int(const json_t *object, const char *name, int otherwise) {
    const json_t *value = json_object_get(object, name);
    const json_int_t number = json_integer_value(value);
    return json_is_integer(value) && number >= 0 && number <= INT_MAX ? (int)number : otherwise;
}

static mp_status json_to_record(const json_t *json, mp_order *order, mp_error *err) {
    mp_record_options *r = &order->record;
    const json_t *above = json_object_get(json, "digest_above");
    const mp_status status =
        mp_json_to_path(json_object_get(json, "path"), "record.path", order->record_path, err);
    *r = (mp_record_options){.path = order->record_path,
                             .digest_above = json_is_integer(above) && json_integer_value(above) >= 0
                                                 ? (size_t)json_integer_value(above)
                                                 : SIZE_MAX,
                             .inputs = json_is_true(json_object_get(json, "inputs"))};
    r->keep = json_is_true(json_object_get(json, "keep"));
    r->mixed = json_is_true(json_object_get(json, "mixed"));
    const json_t *name;
    size_t i;
    json_array_foreach(json_object_get(json, "cases"), i, name) {
        const char *text = json_string_value(name);
        mp_texts_add(&order->record_cases, "%s", text ? text : "");
    }
    r->cases = (const char *const *)order->record_cases.text;
    r->case_count = order->record_cases.count;
    take_text(json, "version", r->who.version, sizeof r->who.version);
    take_text(json, "commit", r->who.commit, sizeof r->who.commit);
    take_text(json, "date", r->who.date, sizeof r->who.date);
    take_text(json, "device", r->who.device, sizeof r->who.device);
    take_text(json, "versions", r->who.versions, sizeof r->who.versions);
    order->options.record = r;
    return status;
}

static mp_status refuse(const mp_setting *row, mp_error *err) {
    static const char *const expected[] = {[MP_SETTING_TEXT] = "a text",
                                           [MP_SETTING_COUNT] = "a whole number from 0",
                                           [MP_SETTING_SECONDS] = "a number from 0",
                                           [MP_SETTING_FLAG] = "true or false"};
    return mp_fail(err, MP_EINPUT, "%s: expected %s", row->name, expected[row->kind]);
}

/* What is absent is the usual; of another type it is nothing that could be guessed. */
static mp_status json_to_setting(const json_t *json, const mp_setting *row, mp_settings *settings,
                                 mp_error *err) {
    char text[PATH_MAX], *copy;
    const double number = json_is_boolean(json) ? json_is_true(json) : json_number_value(json);
    bool right = false;
    if (!json || json_is_null(json)) return MP_OK;
    switch (row->kind) {
    case MP_SETTING_TEXT: right = true; break; /* told below */
    case MP_SETTING_COUNT: right = json_is_integer(json) && number <= INT_MAX; break;
    case MP_SETTING_SECONDS: right = json_is_number(json); break;
    case MP_SETTING_FLAG: right = json_is_boolean(json); break;
    }
    if (!right || !(number >= 0)) return refuse(row, err);
    if (row->kind != MP_SETTING_TEXT) {
        mp_setting_set(settings, row, NULL, number);
        return MP_OK;
    }
    const bool is_string = json_is_string(json); /* of any length: a list of edits may be a long one */
    const mp_status status = is_string ? MP_OK : mp_json_to_path(json, row->name, text, err);
    if (status != MP_OK) return status;
    if (!(copy = strdup(is_string ? json_string_value(json) : text)))
        return mp_fail(err, MP_EMEMORY, "no memory for %s", row->name);
    mp_setting_set(settings, row, copy, 0);
    return MP_OK;
}

mp_status mp_json_to_order(const json_t *open, mp_order *order, mp_error *err) {
    const json_t *record = json_object_get(open, "record"), *rows = json_object_get(open, "rows");
    const int protocol = take_int(open, "protocol", 0);
    mp_settings *settings = &order->options.settings;
    mp_status status = MP_OK;
    *order = (mp_order){.check_golden = json_is_true(json_object_get(open, "check_golden"))};
    if (protocol != MP_PROTOCOL)
        return mp_fail(err, MP_EINPUT, "protocol %d: this worker speaks version %d", protocol, MP_PROTOCOL);
    for (int i = 0; status == MP_OK && i < mp_setting_count; i++)
        status = json_to_setting(json_object_get(open, mp_setting_rows[i].name), &mp_setting_rows[i],
                                 settings, err);
    if (status == MP_OK) status = mp_settings_check(settings, err);
    if (status == MP_OK && record) status = json_to_record(record, order, err);
    const size_t count = json_array_size(rows);
    if (status == MP_OK && count > 0 && !(order->matrix.rows = calloc(count, sizeof *order->matrix.rows)))
        status = mp_fail(err, MP_EMEMORY, "no memory for %zu rows", count);
    for (size_t i = 0; status == MP_OK && i < count; i++) {
        mp_matrix one = {0}; /* one by one: they are known to be different */
        if ((status = mp_json_to_row(json_array_get(rows, i), &one, err)) == MP_OK)
            order->matrix.rows[order->matrix.count++] = one.rows[0];
        free(one.rows);
    }
    return status;
}

void mp_order_free(mp_order *order) {
    for (int i = 0; i < mp_setting_count; i++)
        free((char *)mp_setting_text(&order->options.settings, &mp_setting_rows[i]));
    mp_matrix_free(&order->matrix);
    mp_texts_free(&order->record_cases);
    *order = (mp_order){0};
}

/* ---- answers ---- */

json_t *mp_json_hello(const mp_subject *subject, const char *blas, const char *files, json_t *host_bytes) {
    return json_pack("{s:{s:i, s:o, s:o, s:o, s:o, s:o, s:o*}}", "hello", "protocol", MP_PROTOCOL, "subject",
                     mp_json_text(subject->name), "device", mp_json_text(subject->device), "versions",
                     mp_json_text(subject->versions), "blas", mp_json_text(blas), "files",
                     mp_json_text(files), "host_bytes", host_bytes);
}

mp_status mp_json_to_hello(const json_t *hello, mp_run_info *info, mp_error *err) {
    const int protocol = take_int(hello, "protocol", 0);
    if (protocol != MP_PROTOCOL)
        return mp_fail(err, MP_EINPUT, "the worker speaks protocol %d; expected %d", protocol, MP_PROTOCOL);
    const struct {
        const char *name, **text;
    } fields[] = {{"subject", &info->subject},
                  {"device", &info->device},
                  {"versions", &info->versions},
                  {"blas", &info->blas},
                  {"files", &info->files}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *value = json_string_value(json_object_get(hello, fields[i].name));
        mp_run_info_set(info, fields[i].text, "%s", value ? value : "");
    }
    return MP_OK;
}
