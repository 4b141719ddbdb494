/* SPDX-License-Identifier: Apache-2.0 */
/* The record as it is read again: nothing in it is believed that can be looked at. */
#include "reports/certificate.h"

#include "base/file.h"
#include "base/text.h"
#include "moeparity/version.h"
#include "reports/certificate_parts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CERTIFICATE_MOST = 16 << 20 };

const char *mp_certificate_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

long long mp_certificate_number(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static mp_status check_shape(const json_t *shape, mp_error *err) {
    static const char *const texts[] = {"proof", "tile", "tile_down", "reason", "row"};
    const json_t *launches = json_object_get(shape, "launches"), *launch;
    size_t i;
    const json_t *speed = json_object_get(shape, "speed");
    if (speed && !json_is_array(speed)) return mp_fail(err, MP_EINPUT, "speed: expected a list of keys");
    if (!json_is_string(json_object_get(shape, "case")) || !json_is_array(launches))
        return mp_fail(err, MP_EINPUT, "a shape: expected an object with \"case\" and \"launches\"");
    json_array_foreach(launches, i, launch) {
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            if (!json_is_string(json_object_get(launch, texts[k])))
                return mp_fail(err, MP_EINPUT, "launch %zu: %s: expected a text", i + 1, texts[k]);
        if (!json_is_integer(json_object_get(launch, "M")) ||
            !json_is_array(json_object_get(launch, "checks")))
            return mp_fail(err, MP_EINPUT, "launch %zu: expected a whole number M, and a list of checks",
                           i + 1);
    }
    return MP_OK;
}

static mp_status check_form(const json_t *c, mp_error *err) {
    static const char *const objects[] = {"file", "target", "how", "run", "totals", "signed_off"};
    const json_t *shapes = json_object_get(c, "shapes"), *shape;
    size_t i;
    if (strcmp(mp_certificate_text(c, "format"), MP_CERTIFICATE_FORMAT) != 0)
        return mp_fail(err, MP_EINPUT, "no certificate: expected \"format\": \"%s\"", MP_CERTIFICATE_FORMAT);
    if (mp_certificate_number(c, "version") != MP_CERTIFICATE_VERSION)
        return mp_fail(err, MP_EINPUT, "version %lld: this program reads version %d",
                       mp_certificate_number(c, "version"), MP_CERTIFICATE_VERSION);
    for (size_t k = 0; k < sizeof objects / sizeof *objects; k++)
        if (!json_is_object(json_object_get(c, objects[k])))
            return mp_fail(err, MP_EINPUT, "%s: expected an object", objects[k]);
    if (!json_is_array(shapes) || json_array_size(shapes) > MP_TUNE_SHAPES_MAX)
        return mp_fail(err, MP_EINPUT, "shapes: expected a list of at most %d", MP_TUNE_SHAPES_MAX);
    json_array_foreach(shapes, i, shape) {
        const mp_status status = check_shape(shape, err);
        if (status != MP_OK) return status;
    }
    return MP_OK;
}

mp_status mp_certificate_read(const char *path, json_t **certificate, mp_error *err) {
    json_error_t where;
    char *data = NULL;
    size_t size = 0;
    *certificate = NULL;
    mp_status status = mp_file_read_at_most(path, CERTIFICATE_MOST, &data, &size, err);
    if (status != MP_OK) return status;
    json_t *json = json_loadb(data, size, JSON_REJECT_DUPLICATES, &where);
    free(data);
    if (!json) return mp_fail(err, MP_EINPUT, "%s:%d: %s", path, where.line, where.text);
    status = check_form(json, err);
    if (status == MP_OK)
        *certificate = json;
    else
        json_decref(json);
    if (status != MP_OK) mp_error_prefix(err, "%s", path);
    return status;
}

mp_tune_request mp_certificate_request(const json_t *c, const char *file) {
    const json_t *how = json_object_get(c, "how");
    const char *model = mp_certificate_text(how, "model"), *with = mp_certificate_text(how, "with");
    const long long repeat = mp_certificate_number(how, "repeat"), most = mp_certificate_number(how, "most");
    return (mp_tune_request){
        .path = file,
        .model = *model ? model : NULL,
        .with = *with ? with : NULL,
        .choice = {.each = json_is_true(json_object_get(how, "each")),
                   .own_tiles = json_is_true(json_object_get(how, "own_tiles")),
                   .most = most > 0 && most <= INT32_MAX ? most : 0},
        .suite = {.settings = {.subject = mp_certificate_text(how, "subject"),
                               .repeat = repeat >= 2 && repeat <= INT_MAX ? (int)repeat : 2,
                               .jobs = 1}},
    };
}

char *mp_certificate_file(const char *path, const json_t *c) {
    const json_t *file = json_object_get(c, "file");
    const char *named = mp_certificate_text(file, "path"), *slash = strrchr(path, '/');
    mp_text beside = {0};
    mp_text_add(&beside, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path,
                mp_certificate_text(file, "name"));
    const char *found = access(mp_text_get(&beside), F_OK) == 0 ? mp_text_get(&beside) : named;
    char *copy = strdup(found);
    mp_text_free(&beside);
    return copy;
}

/* ---- the check ---- */

typedef struct reading {
    const json_t *c;
    mp_texts *against, *notes;
} reading;

static void check_file(reading *k, const char *key, const char *what, const char *path, size_t most) {
    const json_t *recorded = json_object_get(k->c, key);
    char digest[MP_SHA256_SIZE];
    mp_error why = {0};
    if (!*path && !recorded) return;
    if (!recorded) {
        mp_texts_add(k->against, "%s: the certificate has none, and there is %s", what, path);
    } else if (!*path || mp_sha256_file(path, most, digest, NULL, &why) != MP_OK) {
        mp_texts_add(k->against, "%s: %s", what, *path ? why.text : "there is none any more");
    } else if (strcmp(digest, mp_certificate_text(recorded, "sha256")) != 0) {
        mp_texts_add(k->against, "%s: %s has SHA-256 %s: expected %s", what, path, digest,
                     mp_certificate_text(recorded, "sha256"));
    }
}

static bool has_check(const json_t *launch, mp_check check) {
    const json_t *name;
    size_t i;
    json_array_foreach(json_object_get(launch, "checks"), i,
                       name) if (json_is_string(name) &&
                                 strcmp(json_string_value(name), mp_check_name(check)) == 0) return true;
    return false;
}

/* What any proof must have looked at. */
static const char *missing_check(const json_t *launch) {
    static const mp_check needed[] = {MP_CHECK_BOUND, MP_CHECK_NAN,    MP_CHECK_POISON,
                                      MP_CHECK_GUARD, MP_CHECK_REPEAT, MP_CHECK_INPUT};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!has_check(launch, needed[i])) return mp_check_name(needed[i]);
    return NULL;
}

static const json_t *launch_at(const json_t *launches, int64_t M) {
    const json_t *launch;
    size_t i;
    json_array_foreach(launches, i,
                       launch) if (json_integer_value(json_object_get(launch, "M")) == M) return launch;
    return NULL;
}

/* The launches that the file asks for today, each in the record, with the file's tiles, and proven. */
static void check_launches(reading *k, const json_t *shape, const mp_tune_plan *plan) {
    const json_t *launches = json_object_get(shape, "launches");
    for (size_t i = 0; i < plan->count; i++) {
        const mp_launch *l = &plan->launch[i];
        const json_t *launch = launch_at(launches, l->point.M);
        const long long M = (long long)l->point.M;
        char up[64], down[64];
        mp_tile_text(&l->up, up);
        mp_tile_text(&l->down, down);
        const char *proof = mp_certificate_text(launch, "proof");
        if (!launch)
            mp_texts_add(k->against, "M=%lld is not in it", M);
        else if (strcmp(up, mp_certificate_text(launch, "tile")) != 0 ||
                 strcmp(down, mp_certificate_text(launch, "tile_down")) != 0)
            mp_texts_add(k->against, "M=%lld: tiles %s and %s: the file says %s and %s", M,
                         mp_certificate_text(launch, "tile"), mp_certificate_text(launch, "tile_down"), up,
                         down);
        else if (strcmp(proof, mp_proof_name(MP_PROVEN)) != 0)
            mp_texts_add(k->against, "M=%lld: %s%s%s", M, *proof ? proof : "not proven",
                         *mp_certificate_text(launch, "reason") ? ": " : "",
                         mp_certificate_text(launch, "reason"));
        else if (missing_check(launch))
            mp_texts_add(k->against, "M=%lld: proven without the check %s", M, missing_check(launch));
    }
    if (json_array_size(launches) > plan->count)
        mp_texts_add(k->against, "it has %zu launches, the file asks for %zu", json_array_size(launches),
                     plan->count);
    if (plan->left_out) mp_texts_add(k->against, "%zu larger batch sizes were left out", plan->left_out);
}

/* Keys that were timed and not shown to keep their speed. */
static void check_speed(reading *k, const json_t *shape) {
    const json_t *race;
    size_t i;
    json_array_foreach(
        json_object_get(shape, "speed"), i,
        race) if (strcmp(mp_certificate_text(race, "outcome"), mp_race_outcome_name(MP_RACE_KEPT)) != 0)
        mp_texts_add(k->against, "key %lld: speed %s%s%s", mp_certificate_number(race, "key"),
                     mp_certificate_text(race, "outcome"), *mp_certificate_text(race, "why") ? ": " : "",
                     mp_certificate_text(race, "why"));
}

/* What is wrong with the files as they stand today. */
static mp_status check_audit(reading *k, mp_tune_target *target, mp_error *err) {
    char *paths[] = {target->path, target->down_path};
    mp_audit audit;
    const mp_status status =
        mp_audit_paths(paths, *target->down_path ? 2 : 1, &(mp_audit_options){0}, &audit, err);
    for (size_t i = 0; status == MP_OK && i < audit.finding_count; i++) {
        const mp_finding *f = &audit.finding[i];
        if (mp_rules[f->rule].severity == MP_SEVERITY_ERROR)
            mp_texts_add(k->against, "%s: %s%s%s", mp_rules[f->rule].id, f->key ? f->key : "",
                         f->key ? ": " : "", f->reason);
    }
    mp_audit_free(&audit);
    return status;
}

/* The shapes that a proof of the file runs today, each of them in the record, and no other. */
static mp_status check_which_shapes(reading *k, const mp_tune_target *target, mp_error *err) {
    const json_t *shapes = json_object_get(k->c, "shapes"), *shape;
    const mp_tune_request request = mp_certificate_request(k->c, target->path);
    mp_tune_target *today = calloc(MP_TUNE_SHAPES_MAX, sizeof *today);
    mp_error why = {0};
    int count = 0;
    size_t at;
    if (!today) return mp_fail(err, MP_EMEMORY, "no memory for shapes");
    if (mp_tune_shapes(target, request.model, request.with, today, &count, &why) != MP_OK) {
        mp_texts_add(k->against, "how it was run: %s", why.text);
        count = 0;
    } else if (json_array_size(shapes) > (size_t)count) {
        mp_texts_add(k->against, "it has %zu shapes, the file has %d", json_array_size(shapes), count);
    }
    for (int i = 0; i < count; i++) {
        char text[MP_CASE_TEXT_MAX];
        bool there = false;
        today[i].base.M = 1;
        mp_case_text(&today[i].base, text, sizeof text);
        json_array_foreach(shapes, at, shape) there =
            there || strcmp(text, mp_certificate_text(shape, "case")) == 0;
        if (!there) mp_texts_add(k->against, "%s: %s is not in it", today[i].model, text);
    }
    free(today);
    return MP_OK;
}

static void check_shapes(reading *k, const mp_tune_target *target) {
    const json_t *shapes = json_object_get(k->c, "shapes"), *shape;
    const mp_tune_request request = mp_certificate_request(k->c, target->path);
    size_t i;
    if (json_array_size(shapes) == 0) mp_texts_add(k->against, "nothing was run");
    json_array_foreach(shapes, i, shape) {
        mp_tune_target as_run = *target;
        mp_tune_plan plan = {0};
        mp_error why = {0};
        as_run.base = mp_case_default();
        mp_status status = mp_case_parse(&as_run.base, mp_certificate_text(shape, "case"), &why);
        if (status == MP_OK && (as_run.base.E != target->E || as_run.base.N != target->N))
            status = mp_fail(&why, MP_EINPUT, "E=%lld N=%lld is not the file's shape",
                             (long long)as_run.base.E, (long long)as_run.base.N);
        if (status == MP_OK && as_run.base.scope != MP_SCOPE_ALL)
            mp_texts_add(k->against, "%s: a stage alone, and the file tunes two",
                         mp_certificate_text(shape, "case"));
        if (status == MP_OK) status = mp_tune_plan_make(&as_run, &request.choice, &plan, &why);
        if (status == MP_OK)
            check_launches(k, shape, &plan);
        else
            mp_texts_add(k->against, "shape %zu: %s", i + 1, why.text);
        mp_tune_plan_free(&plan);
        check_speed(k, shape);
    }
}

static void check_run(reading *k, const mp_tune_target *target) {
    const json_t *run = json_object_get(k->c, "run"), *how = json_object_get(k->c, "how");
    const char *subject = mp_certificate_text(run, "subject"), *device = mp_certificate_text(run, "device"),
               *version = mp_certificate_text(run, "version"), *model = mp_certificate_text(how, "model");
    if (*mp_certificate_text(k->c, "not_run"))
        mp_texts_add(k->against, "nothing was run: %s", mp_certificate_text(k->c, "not_run"));
    if (strcmp(subject, "host") == 0 || strcmp(subject, "ref") == 0)
        mp_texts_add(k->against, "subject %s is a prediction on the CPU: no tile was run", subject);
    else if (!*device)
        mp_texts_add(k->against, "it does not say on which device it ran");
    else if (*target->device && strcmp(device, target->device) != 0)
        mp_texts_add(k->against, "it ran on %s, and the file is for %s", device, target->device);
    if (json_is_true(json_object_get(run, "interrupted"))) mp_texts_add(k->against, "it was interrupted");
    if (json_is_true(json_object_get(how, "own_tiles")) &&
        !strstr(mp_certificate_text(how, "subject"), " expects="))
        mp_texts_add(k->against,
                     "the subject chose its tiles itself (--own-tiles), and nothing compared them "
                     "with the file's: expected a subject with expects=FILE");
    if (strcmp(version, mp_version()) != 0)
        mp_texts_add(k->notes, "made by moeparity %s, this is %s", *version ? version : "of no version",
                     mp_version());
    if (*model)
        mp_texts_add(k->notes, "of all models with this E and N it is about one: --model '%s'", model);
    if (*mp_certificate_text(how, "with"))
        mp_texts_add(k->notes, "the shape was given: --with '%s'", mp_certificate_text(how, "with"));
    if (*mp_certificate_text(how, "against"))
        mp_texts_add(k->notes, "beside %s a key may be %g %% slower: --threshold",
                     mp_certificate_text(how, "against"),
                     100 * json_real_value(json_object_get(how, "threshold")));
    if (mp_certificate_number(how, "repeat") < 2)
        mp_texts_add(k->against, "it ran each case once: expected at least twice");
    if (!*mp_certificate_text(json_object_get(k->c, "signed_off"), "by"))
        mp_texts_add(k->against, "nobody signed it off");
}

mp_status mp_certificate_check(const json_t *certificate, const char *file, const char *report,
                               mp_texts *against, mp_texts *notes, mp_error *err) {
    reading k = {certificate, against, notes};
    char digest[MP_SHA256_SIZE];
    mp_tune_target *target = malloc(sizeof *target);
    if (!target || !mp_certificate_digest(certificate, digest)) {
        free(target);
        return mp_fail(err, MP_EMEMORY, "no memory to check a certificate");
    }
    mp_status status = mp_tune_target_read(file, target, err);
    if (status == MP_OK) status = check_audit(&k, target, err);
    if (status == MP_OK) {
        if (strcmp(digest, mp_certificate_text(certificate, "sha256")) != 0)
            mp_texts_add(against, "the certificate was changed: its SHA-256 is %s: expected %s", digest,
                         mp_certificate_text(certificate, "sha256"));
        check_file(&k, "file", "the file", target->path, MP_TUNED_FILE_MOST);
        check_file(&k, "down_file", "the down file", target->down_path, MP_TUNED_FILE_MOST);
        if (report)
            check_file(&k, "report", "the report", report, MP_FILE_MOST_BYTES);
        else if (json_object_get(certificate, "report"))
            mp_texts_add(notes, "its report was not looked at: --report FILE");
        check_run(&k, target);
        check_shapes(&k, target);
        status = check_which_shapes(&k, target, err);
    }
    free(target);
    return status;
}
