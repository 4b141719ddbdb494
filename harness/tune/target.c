/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/target.h"

#include "cases/case_tools.h"
#include "cases/models.h"
#include "kernels/lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- devices ---- */

/* What a block can have of shared memory by architecture: CUDA C++ Programming Guide, technical
 * specifications per compute capability, less the 1 KiB that the system keeps of each block. */
static const mp_device_limits architectures[] = {
    {80, 163 << 10}, {86, 99 << 10},   {87, 163 << 10},  {89, 99 << 10},
    {90, 227 << 10}, {100, 227 << 10}, {103, 227 << 10}, {120, 99 << 10},
};

/* Words of device names, and what they are; the first that occurs. */
static const struct {
    const char *word;
    int architecture;
} devices[] = {
    {"GH200", 90}, {"H100", 90},   {"H200", 90},     {"H800", 90},    {"H20", 90},      {"GB300", 103},
    {"B300", 103}, {"GB200", 100}, {"B200", 100},    {"A100", 80},    {"A800", 80},     {"A30", 80},
    {"A40", 86},   {"A10", 86},    {"A6000", 86},    {"RTX 30", 86},  {"L40", 89},      {"L20", 89},
    {"L4", 89},    {"RTX 40", 89}, {"6000 Ada", 89}, {"RTX 50", 120}, {"RTX PRO", 120}, {"Orin", 87},
};

static mp_device_limits limits_of(const char *device) {
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (strstr(device, devices[i].word))
            for (size_t k = 0; k < sizeof architectures / sizeof *architectures; k++)
                if (architectures[k].architecture == devices[i].architecture) return architectures[k];
    return (mp_device_limits){0};
}

/* ---- the name ---- */

static bool read_size(const char *name, const char *key, int64_t *size) {
    const char *at = strstr(name, key);
    char *end;
    if (!at || (at != name && at[-1] != ',')) return false;
    at += strlen(key);
    if (*at < '1' || *at > '9') return false;
    *size = strtoll(at, &end, 10);
    return *end == ',' && *size <= INT32_MAX;
}

static void read_part(const char *name, const char *key, const char *end, char *text, size_t size) {
    const char *at = strstr(name, key);
    if (!at) return;
    at += strlen(key);
    snprintf(text, size, "%.*s", (int)strcspn(at, end), at);
}

static mp_status read_name(const char *name, mp_tune_target *t, mp_error *err) {
    char stem[256];
    const char *dot = strrchr(name, '.');
    snprintf(stem, sizeof stem, "%.*s", (int)(dot ? dot - name : 0), name);
    if (!dot || strcmp(dot, ".json") != 0 || !read_size(stem, "E=", &t->E) || !read_size(stem, "N=", &t->N) ||
        !strstr(stem, ",device_name="))
        return mp_fail(err, MP_EINPUT, "%s: expected a name as in E=128,N=768,device_name=NVIDIA_H200.json",
                       name);
    const size_t length = strlen(stem), tail = strlen("_down");
    if (length > tail && strcmp(stem + length - tail, "_down") == 0) stem[length - tail] = '\0';
    read_part(stem, ",device_name=", ",", t->device, sizeof t->device);
    read_part(stem, ",dtype=", ",", t->dtype, sizeof t->dtype);
    for (char *s = t->device; *s; s++)
        if (*s == '_') *s = ' ';
    t->limits = limits_of(t->device);
    t->runs = !*t->dtype || strcmp(t->dtype, "float32") == 0;
    t->base = mp_case_default();
    t->base.E = t->E;
    t->base.N = t->N;
    t->base.dtype = strcmp(t->dtype, "float32") == 0 ? MP_FP32 : MP_BF16;
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
        status = mp_case_parse(&shapes[i].base, with, err);
        if (status == MP_OK && (shapes[i].base.E != t->E || shapes[i].base.N != t->N))
            status =
                mp_fail(err, MP_EINPUT, "'%s' changes E or N, which the file's name tells: E=%lld N=%lld",
                        with, (long long)t->E, (long long)t->N);
    }
    return status;
}
