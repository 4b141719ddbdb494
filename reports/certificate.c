/* SPDX-License-Identifier: Apache-2.0 */
/* The record as it is made; certificate_check.c reads it. */
#include "reports/certificate.h"

#include "base/file.h"
#include "base/text.h"
#include "harness/verdict_json.h"
#include "harness/wire.h"
#include "reports/certificate_parts.h"
#include "reports/sha256.h"

#include <stdlib.h>
#include <string.h>

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static mp_status add_file(json_t *to, const char *key, const char *path, size_t most, mp_error *err) {
    char digest[MP_SHA256_SIZE];
    size_t bytes = 0;
    const mp_status status = mp_sha256_file(path, most, digest, &bytes, err);
    if (status == MP_OK)
        json_object_set_new(to, key,
                            json_pack("{s:o, s:o, s:I, s:s}", "name", mp_json_text(last_part(path)), "path",
                                      mp_json_text(path), "bytes", (json_int_t)bytes, "sha256", digest));
    return status;
}

static json_t *tile_json(const mp_tile *tile) {
    char text[64];
    mp_tile_text(tile, text);
    return json_string(text);
}

static json_t *facts_json(const mp_facts *facts) {
    json_t *list = json_array();
    for (size_t i = 0; i < facts->count; i++) {
        const mp_tile_facts *f = &facts->tile[i];
        json_t *entry =
            json_pack("{s:o, s:s}", "tile", tile_json(&f->tile), "stage", mp_stage_name(f->stage));
        if (f->compiled)
            json_object_update_new(
                entry, json_pack("{s:i, s:i, s:I, s:i}", "registers", f->report.registers, "spilled_bytes",
                                 f->report.spill_store_bytes + f->report.spill_load_bytes, "shared_bytes",
                                 (json_int_t)f->shared_bytes, "stages", f->stages));
        else
            json_object_set_new(entry, "why", mp_json_text(f->why));
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *checks_json(unsigned passed) {
    json_t *list = json_array();
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (passed >> i & 1) json_array_append_new(list, json_string(mp_check_name((mp_check)i)));
    return list;
}

static json_t *launch_json(const mp_tune_plan *plan, const mp_launch *l) {
    char why[96], name[MP_CASE_TEXT_MAX] = "";
    mp_point_text(l->point.why, why);
    if (l->row != MP_NO_ROW)
        mp_case_text(&(l->alone ? &plan->alone : &plan->matrix)->rows[l->row].c, name, sizeof name);
    return json_pack("{s:I, s:s, s:I, s:o, s:o, s:s, s:o, s:s, s:b, s:o}", "M", (json_int_t)l->point.M, "why",
                     why, "key", (json_int_t)l->point.entry->key, "tile", tile_json(&l->up), "tile_down",
                     tile_json(&l->down), "proof", mp_proof_name(l->proof), "reason", mp_json_text(l->reason),
                     "row", name, "by_itself", l->pair < 0, "checks", checks_json(l->passed));
}

static json_t *races_json(const mp_tune_shape *shape) {
    json_t *list = json_array();
    for (size_t i = 0; i < shape->race_count; i++) {
        const mp_race *r = &shape->races[i];
        json_t *race = json_pack("{s:I, s:o, s:o, s:o, s:o, s:s}", "key", (json_int_t)r->key, "old",
                                 tile_json(&r->old_up), "old_down", tile_json(&r->old_down), "new",
                                 tile_json(&r->new_up), "new_down", tile_json(&r->new_down), "outcome",
                                 mp_race_outcome_name(r->outcome));
        if (r->outcome == MP_RACE_NOT_RUN)
            json_object_set_new(race, "why", mp_json_text(r->why[0] ? r->why : shape->not_timed));
        else
            json_object_update_new(race, json_pack("{s:f, s:f, s:f, s:f, s:f, s:i}", "old_ms", r->old_ms,
                                                   "new_ms", r->new_ms, "ratio", r->ratio, "low", r->low,
                                                   "high", r->high, "rounds", r->rounds));
        json_array_append_new(list, race);
    }
    return list;
}

static json_t *shape_json(const mp_tune_shape *shape) {
    const mp_tune_plan *plan = &shape->plan;
    json_t *launches = json_array();
    mp_case c = shape->target.base;
    char text[MP_CASE_TEXT_MAX];
    c.M = 1;
    mp_case_text(&c, text, sizeof text);
    for (size_t i = 0; i < plan->count; i++)
        json_array_append_new(launches, launch_json(plan, &plan->launch[i]));
    json_t *json =
        json_pack("{s:s, s:s, s:o, s:I, s:o}", "model", shape->target.model, "case", text, "compiled",
                  facts_json(&shape->facts), "left_out", (json_int_t)plan->left_out, "launches", launches);
    if (shape->races) json_object_set_new(json, "speed", races_json(shape));
    if (shape->facts.skipped[0])
        json_object_set_new(json, "not_compiled", mp_json_text(shape->facts.skipped));
    return json;
}

static json_t *text_or_null(const char *text) {
    return text ? mp_json_text(text) : json_null();
}

/* What a repetition has to be told. */
static json_t *how_json(const mp_tune_request *r) {
    return json_pack("{s:o, s:o, s:o, s:b, s:b, s:I, s:i, s:o, s:f}", "subject",
                     mp_json_text(r->suite.settings.subject), "model", text_or_null(r->model), "with",
                     text_or_null(r->with), "each", r->choice.each, "own_tiles", r->choice.own_tiles, "most",
                     (json_int_t)r->choice.most, "repeat", r->suite.settings.repeat, "against",
                     text_or_null(r->against), "threshold", r->threshold);
}

static json_t *target_json(const mp_tune_target *t) {
    return json_pack("{s:I, s:I, s:o, s:o, s:i}", "E", (json_int_t)t->E, "N", (json_int_t)t->N, "dtype",
                     mp_json_text(*t->dtype ? t->dtype : "bf16"), "device", mp_json_text(t->device),
                     "architecture", t->limits.architecture);
}

mp_status mp_certificate_make(const mp_tune_request *request, const mp_tune_result *result,
                              const mp_run_info *info, const char *by, const char *report,
                              json_t **certificate, mp_error *err) {
    const mp_tune_tally tally = mp_tune_count(result);
    json_t *json = json_object(), *shapes = json_array();
    char digest[MP_SHA256_SIZE];
    *certificate = NULL;
    json_object_set_new(json, "format", json_string(MP_CERTIFICATE_FORMAT));
    json_object_set_new(json, "version", json_integer(MP_CERTIFICATE_VERSION));
    json_object_set_new(json, "signed_off",
                        json_pack("{s:o, s:s, s:s}", "by", mp_json_text(by), "date", info->date, "note",
                                  "a name, and digests of contents: no signature"));
    mp_status status = add_file(json, "file", result->target.path, MP_TUNED_FILE_MOST, err);
    if (status == MP_OK && *result->target.down_path)
        status = add_file(json, "down_file", result->target.down_path, MP_TUNED_FILE_MOST, err);
    if (status == MP_OK && report) status = add_file(json, "report", report, MP_FILE_MOST_BYTES, err);
    for (int i = 0; i < result->count; i++) json_array_append_new(shapes, shape_json(&result->shape[i]));
    json_object_set_new(json, "target", target_json(&result->target));
    json_object_set_new(json, "how", how_json(request));
    json_object_set_new(json, "run", mp_run_info_to_json(info));
    if (*result->not_run) json_object_set_new(json, "not_run", mp_json_text(result->not_run));
    json_object_set_new(json, "totals",
                        json_pack("{s:I, s:I, s:I, s:I}", "launches", (json_int_t)tally.total, "proven",
                                  (json_int_t)tally.proven, "refuted", (json_int_t)tally.refuted, "unproven",
                                  (json_int_t)tally.unproven));
    json_object_set_new(json, "shapes", shapes);
    if (status == MP_OK && !mp_certificate_digest(json, digest))
        status = mp_fail(err, MP_EMEMORY, "no memory for a certificate");
    if (status == MP_OK) json_object_set_new(json, "sha256", json_string(digest));
    if (status == MP_OK)
        *certificate = json;
    else
        json_decref(json);
    return status;
}

/* Of all but the digest itself, keys in order, without blanks. */
bool mp_certificate_digest(const json_t *certificate, char digest[MP_SHA256_SIZE]) {
    json_t *copy = json_copy((json_t *)certificate);
    if (copy) json_object_del(copy, "sha256");
    char *text = copy ? json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
    if (text) mp_sha256(text, strlen(text), digest);
    json_decref(copy);
    free(text);
    return text != NULL;
}

mp_status mp_certificate_write(const char *path, const json_t *certificate, mp_error *err) {
    char *text = json_dumps(certificate, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    mp_text whole = {0};
    if (text) mp_text_add(&whole, "%s\n", text);
    const mp_status status = text && !whole.lost ? mp_file_replace(path, whole.data, whole.length, err)
                                                 : mp_fail(err, MP_EMEMORY, "no memory for a certificate");
    mp_text_free(&whole);
    free(text);
    return status;
}

/* ---- for people ---- */

/* A cell of a table: one line, without what Markdown would take for its own. */
static void add_cell(mp_text *to, const char *text) {
    for (; *text; text++) {
        if (strchr("|<>`*_[]\\", *text)) mp_text_add(to, "\\");
        mp_text_add(to, "%c", *text == '\n' ? ' ' : *text);
    }
}

static void add_line(mp_text *to, const char *what, const char *value) {
    if (!*value) return;
    mp_text_add(to, "| %s | ", what);
    add_cell(to, value);
    mp_text_add(to, " |\n");
}

static void add_digest(mp_text *to, const char *what, const json_t *file) {
    if (!file) return;
    mp_text_add(to, "| %s | ", what);
    add_cell(to, mp_certificate_text(file, "name"));
    mp_text_add(to, "<br>SHA-256 %s |\n", mp_certificate_text(file, "sha256"));
}

static void add_races(mp_text *to, const json_t *shape) {
    const json_t *race;
    size_t i;
    if (!json_array_size(json_object_get(shape, "speed"))) return;
    mp_text_add(to,
                "\n| key | old, ms | new, ms | new / old | 95 %% interval | |\n|---|---|---|---|---|---|\n");
    json_array_foreach(json_object_get(shape, "speed"), i, race) {
        mp_text_add(to, "| %lld | %.4f | %.4f | %.3f | %.3f .. %.3f | %s |\n",
                    mp_certificate_number(race, "key"), json_real_value(json_object_get(race, "old_ms")),
                    json_real_value(json_object_get(race, "new_ms")),
                    json_real_value(json_object_get(race, "ratio")),
                    json_real_value(json_object_get(race, "low")),
                    json_real_value(json_object_get(race, "high")), mp_certificate_text(race, "outcome"));
    }
}

static void add_launches(mp_text *to, const json_t *shape) {
    const json_t *launch;
    size_t i;
    mp_text_add(to, "\n");
    add_cell(to, mp_certificate_text(shape, "model"));
    mp_text_add(to, ", `%s`:\n\n| M | key | tile | | |\n|---|---|---|---|---|\n",
                mp_certificate_text(shape, "case"));
    json_array_foreach(json_object_get(shape, "launches"), i, launch) {
        const char *up = mp_certificate_text(launch, "tile"),
                   *down = mp_certificate_text(launch, "tile_down");
        const bool same = strcmp(up, down) == 0;
        mp_text_add(to, "| %lld | %lld | %s%s%s | %s | ", mp_certificate_number(launch, "M"),
                    mp_certificate_number(launch, "key"), up, same ? "" : " + ", same ? "" : down,
                    mp_certificate_text(launch, "proof"));
        add_cell(to, mp_certificate_text(launch, "reason"));
        mp_text_add(to, " |\n");
    }
}

mp_status mp_certificate_markdown(const char *path, const json_t *c, mp_error *err) {
    const json_t *run = json_object_get(c, "run"), *totals = json_object_get(c, "totals"), *shape;
    const long long all = mp_certificate_number(totals, "launches"),
                    proven = mp_certificate_number(totals, "proven");
    const char *subject = mp_certificate_text(run, "subject");
    const bool predicted = strcmp(subject, "host") == 0 || strcmp(subject, "ref") == 0;
    mp_text text = {0};
    size_t i;
    mp_text_add(&text, "## ");
    add_cell(&text, mp_certificate_text(json_object_get(c, "file"), "name"));
    mp_text_add(&text,
                "\n\n%s%lld of %lld launches proven, %lld refuted, %lld not proven.\n\n| | |\n|---|---|\n",
                proven == all && all > 0 && !predicted ? "" : "**Not proven on a device.** ", proven, all,
                mp_certificate_number(totals, "refuted"), mp_certificate_number(totals, "unproven"));
    add_line(&text, "not run", mp_certificate_text(c, "not_run"));
    add_line(&text, "signed off by", mp_certificate_text(json_object_get(c, "signed_off"), "by"));
    add_line(&text, "date", mp_certificate_text(run, "date"));
    add_line(&text, "command", mp_certificate_text(run, "command"));
    add_line(&text, "subject", mp_certificate_text(run, "subject"));
    add_line(&text, "device", mp_certificate_text(run, "device"));
    add_line(&text, "versions", mp_certificate_text(run, "versions"));
    add_line(&text, "moeparity", mp_certificate_text(run, "version"));
    add_line(&text, "commit", mp_certificate_text(run, "commit"));
    add_digest(&text, "file", json_object_get(c, "file"));
    add_digest(&text, "down file", json_object_get(c, "down_file"));
    add_digest(&text, "report", json_object_get(c, "report"));
    mp_text_add(&text, "| certificate | SHA-256 %s |\n", mp_certificate_text(c, "sha256"));
    json_array_foreach(json_object_get(c, "shapes"), i, shape) {
        add_launches(&text, shape);
        add_races(&text, shape);
    }
    mp_text_add(&text, "\nThe digests are of contents, and the name is a name: neither is a signature. "
                       "`moeparity tune check` verifies the JSON record; with `--again` it runs all of this "
                       "once more.\n");
    const mp_status status = text.lost ? mp_fail(err, MP_EMEMORY, "no memory for %s", path)
                                       : mp_file_replace(path, text.data, text.length, err);
    mp_text_free(&text);
    return status;
}
