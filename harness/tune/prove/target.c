/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/prove/target.h"

#include "cases/case_tools.h"
#include "cases/models.h"
#include "harness/tune/device.h"
#include "kernels/tuned_scheme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the name ---- */

/* As in the name: what of it tells the formats, and what shares a scale. */
static void scheme_text(const mp_tuned_parts *parts, char *text, size_t size) {
    char block[48] = "";
    if (parts->block_n || parts->block_k)
        snprintf(block, sizeof block, " block_shape=[%lld,%lld]", (long long)parts->block_n,
                 (long long)parts->block_k);
    snprintf(text, size, "%s%s%s", parts->dtype, block, parts->per_channel ? " per channel" : "");
}

static mp_status read_name(const char *name, mp_tune_target *t, mp_error *err) {
    mp_tuned_parts parts;
    if (!mp_tuned_parse(name, &parts) || parts.E < 1 || parts.E > INT32_MAX || parts.N < 1 ||
        parts.N > INT32_MAX)
        return mp_fail(err, MP_EINPUT, "%s: expected a name as in E=128,N=768,device_name=NVIDIA_H200.json",
                       name);
    const mp_device_facts device = mp_device_by_name(parts.device);
    t->E = parts.E;
    t->N = parts.N;
    snprintf(t->device, sizeof t->device, "%s", parts.device);
    scheme_text(&parts, t->dtype, sizeof t->dtype);
    for (char *s = t->device; *s; s++)
        if (*s == '_') *s = ' ';
    t->limits = (mp_device_limits){device.arch, device.shared_bytes};
    t->base = mp_case_default();
    t->base.E = t->E;
    t->base.N = t->N;
    /* N of int4 is packed in the names of one loader alone, and the folder tells which it is: not run. */
    t->runs = mp_tuned_case_of_name(&parts, &t->base) && strcmp(parts.dtype, "int4_w4a16") != 0;
    return MP_OK;
}

mp_status mp_tune_target_read(const char *path, mp_tune_target *t, mp_error *err) {
    static const char down[] = "_down.json", end[] = ".json";
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t length = strlen(path);
    *t = (mp_tune_target){0};
    if (length + sizeof down > PATH_MAX)
        return mp_fail(err, MP_EINPUT, "a path of %zu characters: expected at most %d", length,
                       PATH_MAX - (int)sizeof down);
    mp_status status = read_name(name, t, err);
    if (status != MP_OK) return status;
    const bool is_down = length > strlen(down) && strcmp(path + length - strlen(down), down) == 0;
    const int stem = (int)(length - strlen(is_down ? down : end));
    snprintf(t->path, sizeof t->path, "%.*s%s", stem, path, end);
    snprintf(t->down_path, sizeof t->down_path, "%.*s%s", stem, path, down);
    if (access(t->down_path, F_OK) != 0) t->down_path[0] = '\0';
    if (is_down && access(t->path, F_OK) != 0)
        return mp_fail(err, MP_EINPUT, "%s: its up file is not beside it: a down table never runs alone",
                       path);
    status = mp_tuned_load(t->path, &t->up, err);
    if (status == MP_OK && *t->down_path) status = mp_tuned_load(t->down_path, &t->down, err);
    return status;
}

/* ---- shapes ---- */

enum { MOST_SHARDS = 16 }; /* of one layer, as models are served */

static bool same_shape(const mp_case *a, const mp_case *b) {
    return mp_case_compare(a, b) == 0;
}

/* The model on so many shards, where E and N are then the file's. */
static mp_status add_model(const mp_tune_target *t, const mp_model *model, int64_t shards,
                           mp_tune_target *shapes, int *count, mp_error *err) {
    mp_case c = mp_case_default();
    mp_status status = mp_case_parse(&c, model->overrides, err);
    if (status != MP_OK || c.E != t->E || c.N != t->N * shards || *count == MP_TUNE_SHAPES_MAX) return status;
    c.N = t->N;
    c.dtype = t->base.dtype;
    c.quant = t->base.quant;
    c.group = t->base.group;
    for (int i = 0; i < *count; i++)
        if (same_shape(&shapes[i].base, &c)) return MP_OK;
    mp_tune_target *shape = &shapes[(*count)++];
    *shape = *t;
    shape->base = c;
    if (shards > 1)
        snprintf(shape->model, sizeof shape->model, "%s on %lld shards", model->name, (long long)shards);
    else
        snprintf(shape->model, sizeof shape->model, "%s", model->name);
    return MP_OK;
}

static mp_status add_defaults(const mp_tune_target *t, const char *with, mp_tune_target *shapes, int *count) {
    mp_tune_target *shape = &shapes[(*count)++];
    *shape = *t;
    shape->base.K = 2048;
    shape->base.topk = t->E < 8 ? t->E : 8;
    snprintf(shape->model, sizeof shape->model, "%s",
             with ? "as given" : "no published model has this E and N: K and topk are a guess");
    return MP_OK;
}

mp_status mp_tune_shapes(const mp_tune_target *t, const char *model, const char *with, mp_tune_target *shapes,
                         int *count, mp_error *err) {
    size_t models;
    const mp_model *list = mp_model_list(&models);
    mp_status status = MP_OK;
    *count = 0;
    if (model && !mp_model_find(model)) {
        char names[MP_MODEL_NAMES_MAX];
        mp_model_names(names);
        return mp_fail(err, MP_EINPUT, "model '%s': expected one of %s", model, names);
    }
    /* Whole models before shards of them: a file that is one's is not every shard's as well. */
    for (int64_t shards = 1; shards <= MOST_SHARDS && *count == 0; shards *= 2)
        for (size_t i = 0; i < models && status == MP_OK; i++)
            if (!model || strcmp(model, list[i].name) == 0)
                status = add_model(t, &list[i], shards, shapes, count, err);
    if (status == MP_OK && model && *count == 0)
        return mp_fail(err, MP_EINPUT, "model %s has not E=%lld and N=%lld, on no number of shards", model,
                       (long long)t->E, (long long)t->N);
    if (status == MP_OK && *count == 0) status = add_defaults(t, with, shapes, count);
    for (int i = 0; i < *count && with && status == MP_OK; i++) {
        const mp_case before = shapes[i].base;
        status = mp_case_parse(&shapes[i].base, with, err);
        const mp_case *c = &shapes[i].base;
        if (status == MP_OK && (c->M != before.M || !mp_tile_is_auto(&c->tile)))
            status = mp_fail(err, MP_EINPUT, "'%s' changes M or tiles, which the file tells", with);
        if (status == MP_OK && (c->E != t->E || c->N != t->N))
            status =
                mp_fail(err, MP_EINPUT, "'%s' changes E or N, which the file's name tells: E=%lld N=%lld",
                        with, (long long)t->E, (long long)t->N);
    }
    return status;
}
