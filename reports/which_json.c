/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/which.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum { SCHEMA_VERSION = 1 };

static json_t *places_json(const mp_which_part *part) {
    static const char *const rules[] = {"running version", "other version", "variable", "package"};
    json_t *list = json_array();
    for (size_t i = 0; i < part->search.count; i++) {
        const mp_place *p = &part->search.place[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:b}", "path", p->path, "rule", rules[p->rule], "there", p->there));
    }
    return list;
}

static json_t *part_json(const mp_which_part *part, const char *gemm) {
    static const char *const outcomes[] = {"file", "gate_up", "default", "raises"};
    json_t *json =
        json_pack("{s:s, s:s, s:s}", "gemm", gemm, "outcome", outcomes[part->outcome], "because", part->why);
    if (!json || !part->asked) return json;
    json_object_set_new(json, "name", json_string(part->name));
    json_object_set_new(json, "places", places_json(part));
    if (part->outcome == MP_WHICH_FILE) json_object_set_new(json, "file", json_string(part->chosen->path));
    return json;
}

static json_t *gemm_json(const mp_which_query *query, const mp_which *w, const mp_which_choice *c, bool down,
                         int64_t M) {
    const mp_table_row *row = down ? c->down : c->up;
    mp_text tile = {0};
    int64_t overridden;
    mp_which_tile(query, w, c, down, M, &tile, &overridden);
    json_t *json = json_pack("{s:s}", "tile", mp_text_get(&tile));
    if (row) {
        json_object_set_new(json, "key", json_integer(row->M));
        json_object_set_new(json, "entry", json_deep_copy(row->entry));
        json_object_set_new(json, "because", json_string(mp_text_get(down ? &c->down_why : &c->up_why)));
    }
    if (overridden) json_object_set_new(json, "block_size_m_overridden", json_integer(overridden));
    mp_text_free(&tile);
    return json;
}

static json_t *choices_json(const mp_which_query *query, const mp_which *w) {
    json_t *list = json_array();
    if (w->up.outcome == MP_WHICH_RAISES || w->down.outcome == MP_WHICH_RAISES) return list;
    for (size_t i = 0; i < w->M_count; i++) {
        mp_which_choice c;
        mp_which_choose(w, w->M[i], &c);
        json_t *json = json_pack("{s:I, s:o}", "M", (json_int_t)w->M[i], "gate_up",
                                 gemm_json(query, w, &c, false, w->M[i]));
        if (!c.down_is_up) json_object_set_new(json, "down", gemm_json(query, w, &c, true, w->M[i]));
        json_array_append_new(list, json);
        mp_text_free(&c.up_why);
        mp_text_free(&c.down_why);
    }
    return list;
}

static json_t *loader_json(const mp_which_query *query, const mp_which *w) {
    json_t *json = json_pack("{s:s, s:s, s:b}", "loader", w->loader->name, "where", w->where, "asked",
                             w->root_count > 0);
    if (!json || !w->root_count) return json;
    json_t *near = json_array();
    for (size_t i = 0; i < w->near_count; i++)
        json_array_append_new(
            near, json_pack("{s:s, s:s}", "path", w->near[i].path, "differs", w->near[i].differs));
    json_object_set_new(json, "lookups",
                        json_pack("[o, o]", part_json(&w->up, "gate_up"), part_json(&w->down, "down")));
    json_object_set_new(json, "choices", choices_json(query, w));
    json_object_set_new(json, "near", near);
    return json;
}

mp_status mp_report_which_json(const char *path, const mp_which_query *query, const mp_which *which,
                               size_t count, mp_error *err) {
    const mp_tuned_key *k = &query->key;
    json_t *loaders = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(loaders, loader_json(query, &which[i]));
    json_t *asked =
        json_pack("{s:I, s:I, s:s, s:s, s:I, s:I, s:b, s:s}", "E", (json_int_t)k->E, "N", (json_int_t)k->N,
                  "device", k->device, "dtype", k->dtype, "block_n", (json_int_t)k->block_n, "block_k",
                  (json_int_t)k->block_k, "per_channel", k->per_channel, "triton", query->triton);
    json_t *root = json_pack("{s:s, s:i, s:o, s:o}", "format", "moeparity tune which", "schema_version",
                             SCHEMA_VERSION, "query", asked, "loaders", loaders);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for what was found as JSON");
    free(text);
    json_decref(root);
    return status;
}
