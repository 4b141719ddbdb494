/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/message.h"

#include "base/printable.h"
#include "harness/verdict_make.h"
#include "moeparity/run_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *mp_json_text(const char *text) {
    json_t *json = json_string(text);
    if (json) return json;
    const size_t size = 4 * strlen(text) + 1; /* a byte becomes four at most */
    char *printable = malloc(size);
    if (printable) mp_text_printable(text, printable, size);
    json = printable ? json_string(printable) : NULL;
    free(printable);
    return json;
}

json_t *mp_json_path(const char *path) {
    json_t *json = json_string(path);
    if (json) return json;
    json = json_array();
    for (const char *p = path; *p; p++) json_array_append_new(json, json_integer((unsigned char)*p));
    return json;
}

mp_status mp_json_to_path(const json_t *json, const char *what, char path[PATH_MAX], mp_error *err) {
    const char *text = json_string_value(json);
    const size_t length = text ? json_string_length(json) : json_array_size(json);
    if ((!text && !json_is_array(json)) || length >= PATH_MAX)
        return mp_fail(err, MP_EINPUT, "%s: expected a text, or a list of bytes, of less than %d", what,
                       PATH_MAX);
    for (size_t i = 0; i < length; i++)
        path[i] = text ? text[i] : (char)json_integer_value(json_array_get(json, i));
    path[length] = '\0';
    return MP_OK;
}

/* ---- rows ---- */

json_t *mp_json_row(const mp_matrix_row *row) {
    char text[MP_CASE_TEXT_MAX];
    mp_case_text(&row->c, text, sizeof text);
    json_t *pairs = json_array();
    for (size_t i = 0; i < row->pair_count; i++)
        json_array_append_new(pairs, mp_json_text(row->pair_text[i]));
    return json_pack("{s:s, s:o, s:o}", "case", text, "pairs", pairs, "group",
                     mp_json_text(row->group ? row->group : ""));
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
    const mp_status status = mp_matrix_add(m, text, pair, count, err);
    if (status != MP_OK || m->count == before || !group) return status;
    char *copy = strdup(group);
    if (!copy) return mp_fail(err, MP_EMEMORY, "no memory for the name of a group");
    free(m->rows[before].group);
    m->rows[before].group = copy;
    return MP_OK;
}

/* ---- open ---- */

static json_t *record_to_json(const mp_record_options *r) {
    return json_pack("{s:o, s:I, s:b, s:o, s:o, s:o, s:o, s:o}", "path", mp_json_path(r->path),
                     "digest_above",
                     r->digest_above < INT64_MAX ? (json_int_t)r->digest_above : (json_int_t)INT64_MAX,
                     "inputs", (int)r->inputs, "version", mp_json_text(r->who.version), "commit",
                     mp_json_text(r->who.commit), "date", mp_json_text(r->who.date), "device",
                     mp_json_text(r->who.device), "versions", mp_json_text(r->who.versions));
}

json_t *mp_json_open(const mp_suite_options *o, const mp_matrix *matrix, size_t first, bool check_golden) {
    json_t *rows = json_array();
    for (size_t i = first; i < matrix->count; i++) json_array_append_new(rows, mp_json_row(&matrix->rows[i]));
    json_t *open = json_pack("{s:i, s:o, s:b, s:b, s:i, s:i, s:i, s:b, s:o}", "protocol", MP_PROTOCOL,
                             "subject", mp_json_path(o->subject), "golden_required", (int)o->golden_required,
                             "check_golden", (int)check_golden, "repeat", o->repeat, "jobs", o->jobs,
                             "threads", o->threads, "plain", (int)o->plain, "rows", rows);
    if (o->against) json_object_set_new(open, "against", mp_json_path(o->against));
    if (o->golden_path) json_object_set_new(open, "golden", mp_json_path(o->golden_path));
    if (o->config_file) json_object_set_new(open, "config_file", mp_json_path(o->config_file));
    if (o->device) json_object_set_new(open, "device", mp_json_text(o->device));
    if (o->triton) json_object_set_new(open, "triton", mp_json_text(o->triton));
    json_object_set_new(open, "golden_partial", json_boolean(o->golden_partial));
    json_object_set_new(open, "strict", json_boolean(o->strict));
    json_object_set_new(open, "timeout", json_real(o->timeout_seconds));
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

static bool take_bool(const json_t *object, const char *name) {
    return json_is_true(json_object_get(object, name));
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
                             .inputs = take_bool(json, "inputs")};
    take_text(json, "version", r->who.version, sizeof r->who.version);
    take_text(json, "commit", r->who.commit, sizeof r->who.commit);
    take_text(json, "date", r->who.date, sizeof r->who.date);
    take_text(json, "device", r->who.device, sizeof r->who.device);
    take_text(json, "versions", r->who.versions, sizeof r->who.versions);
    order->options.record = r;
    return status;
}

mp_status mp_json_to_order(const json_t *open, mp_order *order, mp_error *err) {
    const json_t *against = json_object_get(open, "against"), *golden = json_object_get(open, "golden"),
                 *config = json_object_get(open, "config_file"), *record = json_object_get(open, "record"),
                 *rows = json_object_get(open, "rows");
    const int protocol = take_int(open, "protocol", 0);
    *order = (mp_order){.check_golden = take_bool(open, "check_golden")};
    order->options =
        (mp_suite_options){.subject = order->subject,
                           .against = against ? order->against : NULL,
                           .golden_path = golden ? order->golden_path : NULL,
                           .golden_required = take_bool(open, "golden_required"),
                           .repeat = take_int(open, "repeat", MP_REPEAT),
                           .jobs = take_int(open, "jobs", 1),
                           .threads = take_int(open, "threads", 0),
                           .plain = take_bool(open, "plain"),
                           .golden_partial = take_bool(open, "golden_partial"),
                           .strict = take_bool(open, "strict"),
                           .timeout_seconds = json_number_value(json_object_get(open, "timeout")),
                           .config_file = config ? order->config_file : NULL,
                           .device = json_object_get(open, "device") ? order->device : NULL,
                           .triton = json_object_get(open, "triton") ? order->triton : NULL};
    take_text(open, "device", order->device, sizeof order->device);
    take_text(open, "triton", order->triton, sizeof order->triton);
    if (protocol != MP_PROTOCOL)
        return mp_fail(err, MP_EINPUT, "protocol %d: this worker speaks version %d", protocol, MP_PROTOCOL);
    mp_status status = mp_json_to_path(json_object_get(open, "subject"), "subject", order->subject, err);
    if (status == MP_OK && against) status = mp_json_to_path(against, "against", order->against, err);
    if (status == MP_OK && golden) status = mp_json_to_path(golden, "golden", order->golden_path, err);
    if (status == MP_OK && config) status = mp_json_to_path(config, "config_file", order->config_file, err);
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

/* ---- answers ---- */

json_t *mp_json_hello(const mp_subject *subject, const char *blas) {
    return json_pack("{s:{s:i, s:o, s:o, s:o, s:o}}", "hello", "protocol", MP_PROTOCOL, "subject",
                     mp_json_text(subject->name), "device", mp_json_text(subject->device), "versions",
                     mp_json_text(subject->versions), "blas", mp_json_text(blas));
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
                  {"blas", &info->blas}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *value = json_string_value(json_object_get(hello, fields[i].name));
        mp_run_info_set(info, fields[i].text, "%s", value ? value : "");
    }
    return MP_OK;
}

json_t *mp_json_failed(const mp_error *err) {
    return json_pack("{s:{s:s, s:o}}", "failed", "status", mp_status_name(err->status), "error",
                     mp_json_text(err->text));
}

mp_status mp_json_to_failed(const json_t *failed, mp_error *err) {
    const char *name = json_string_value(json_object_get(failed, "status"));
    mp_error told = {.status = MP_EINTERNAL, .text = "a worker failed without a text"};
    for (int s = MP_EINPUT; name && s < MP_EINTERNAL; s++)
        if (strcmp(name, mp_status_name((mp_status)s)) == 0) told.status = (mp_status)s;
    take_text(failed, "error", told.text, sizeof told.text);
    if (err) *err = told;
    return told.status;
}
