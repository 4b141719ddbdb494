/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/picture.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A cell's number, 0: nothing was measured, as a character; of a level that of level + 1. */
static const char alphabet[] = "-.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw!";
_Static_assert(sizeof alphabet - 1 == MP_LEVELS + 1, "a character for each level");
enum { MOST_EXPERTS = 1 << 16 };

static json_t *histogram_to_json(const int64_t count[MP_LEVELS]) {
    json_t *json = json_object();
    for (int level = 0; level < MP_LEVELS; level++) {
        const char name[2] = {alphabet[level + 1], '\0'};
        if (count[level] > 0) json_object_set_new(json, name, json_integer(count[level]));
    }
    return json;
}

/* Null where no cell was measured. */
static json_t *map_to_json(const mp_picture *p, int map) {
    char text[MP_PICTURE_SIDE * MP_PICTURE_SIDE * 2 + 8];
    size_t used = 0;
    int run = 0;
    bool measured = false;
    unsigned char last = 0;
    for (int i = 0; i < p->row_cells * p->column_cells; i++) {
        const unsigned char cell = p->cell[map][i / p->column_cells][i % p->column_cells];
        measured = measured || cell > 0;
        if (run > 0 && cell == last) {
            run++;
            continue;
        }
        if (run > 1) used += (size_t)snprintf(text + used, sizeof text - used, "%d", run);
        text[used++] = alphabet[cell];
        last = cell;
        run = 1;
    }
    if (run > 1) used += (size_t)snprintf(text + used, sizeof text - used, "%d", run);
    return measured ? json_stringn(text, used) : json_null();
}

json_t *mp_picture_to_json(const mp_picture *p) {
    json_t *histograms = json_object(), *maps = json_object(), *experts = json_array();
    for (int i = 0; i < MP_HISTOGRAM_COUNT; i++)
        json_object_set_new(histograms, mp_histogram_name((mp_histogram)i), histogram_to_json(p->count[i]));
    for (int i = 0; i < MP_PICTURE_MAPS; i++)
        json_object_set_new(maps, mp_picture_map_name((mp_picture_map)i), map_to_json(p, i));
    for (int i = 0; i < p->expert_count; i++)
        json_array_append_new(experts,
                              json_pack("[i, I]", p->experts[i].expert, (json_int_t)p->experts[i].rows));
    return json_pack("{s:o, s:[I, I], s:[i, i], s:[I, I], s:o, s:o}", "histograms", histograms, "shape",
                     (json_int_t)p->rows, (json_int_t)p->columns, "cells", p->row_cells, p->column_cells,
                     "tile", (json_int_t)p->tile_rows, (json_int_t)p->tile_columns, "experts", experts,
                     "maps", maps);
}

/* Two integers from 0 to `most`. */
static mp_status pair_from_json(const json_t *json, const char *key, int64_t most, int64_t *a, int64_t *b,
                                mp_error *err) {
    const json_t *list = json_object_get(json, key), *first = json_array_get(list, 0),
                 *second = json_array_get(list, 1);
    *a = json_integer_value(first);
    *b = json_integer_value(second);
    if (json_array_size(list) == 2 && json_is_integer(first) && json_is_integer(second) && *a >= 0 &&
        *b >= 0 && *a <= most && *b <= most)
        return MP_OK;
    return mp_fail(err, MP_EINPUT, "%s: expected two integers from 0 to %lld", key, (long long)most);
}

static mp_status histograms_from_json(const json_t *json, mp_picture *p, mp_error *err) {
    for (int i = 0; i < MP_HISTOGRAM_COUNT; i++) {
        const char *name = mp_histogram_name((mp_histogram)i), *level;
        json_t *counts = json_object_get(json, name), *count;
        if (!json_is_object(counts)) return mp_fail(err, MP_EINPUT, "histograms.%s: expected counts", name);
        json_object_foreach(counts, level, count) {
            const char *at = level[0] != '\0' && level[1] == '\0' ? strchr(alphabet + 1, level[0]) : NULL;
            if (at == NULL || !json_is_integer(count) || json_integer_value(count) < 1)
                return mp_fail(err, MP_EINPUT, "histograms.%s: expected counts from 1 on by level", name);
            p->count[i][at - alphabet - 1] = json_integer_value(count);
        }
    }
    return MP_OK;
}

static mp_status map_from_json(const json_t *json, mp_picture_map map, mp_picture *p, mp_error *err) {
    const char *name = mp_picture_map_name(map);
    const json_t *value = json_object_get(json, name);
    if (json_is_null(value)) return MP_OK;
    const int all = p->row_cells * p->column_cells;
    int filled = 0;
    for (const char *text = json_string_value(value); text != NULL && *text != '\0';) {
        const char *letter = strchr(alphabet, *text++);
        long run = 1;
        if (letter == NULL) break;
        if (isdigit((unsigned char)*text)) run = strtol(text, (char **)&text, 10);
        if (run < 1 || run > all - filled) {
            filled = -1;
            break;
        }
        for (; run > 0; run--, filled++)
            p->cell[map][filled / p->column_cells][filled % p->column_cells] =
                (unsigned char)(letter - alphabet);
        if (*text == '\0' && filled == all) return MP_OK;
    }
    return mp_fail(err, MP_EINPUT, "maps.%s: expected the levels of %d x %d cells", name, p->row_cells,
                   p->column_cells);
}

static mp_status experts_from_json(const json_t *list, mp_picture *p, mp_error *err) {
    const size_t count = json_array_size(list);
    int64_t all = 0;
    if (!json_is_array(list) || count > MOST_EXPERTS)
        return mp_fail(err, MP_EINPUT, "experts: expected a list of at most %d", MOST_EXPERTS);
    if (count == 0) return MP_OK;
    p->experts = calloc(count, sizeof *p->experts);
    if (p->experts == NULL) return mp_fail(err, MP_EMEMORY, "no memory for %zu experts", count);
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(list, i), *expert = json_array_get(one, 0),
                     *rows = json_array_get(one, 1);
        if (json_array_size(one) != 2 || !json_is_integer(expert) || json_integer_value(expert) < 0 ||
            json_integer_value(expert) > INT32_MAX || !json_is_integer(rows) ||
            json_integer_value(rows) < 1 || json_integer_value(rows) > p->rows - all)
            return mp_fail(err, MP_EINPUT, "experts[%zu]: expected an expert, and rows of the picture", i);
        p->experts[p->expert_count++] =
            (mp_picture_expert){(int32_t)json_integer_value(expert), json_integer_value(rows)};
        all += json_integer_value(rows);
    }
    return all == p->rows ? MP_OK
                          : mp_fail(err, MP_EINPUT, "experts: expected %lld rows together, as in shape",
                                    (long long)p->rows);
}

mp_status mp_picture_from_json(const json_t *json, mp_picture **picture, mp_error *err) {
    int64_t cells[2];
    mp_picture *p = calloc(1, sizeof *p);
    *picture = NULL;
    if (p == NULL) return mp_fail(err, MP_EMEMORY, "no memory for a picture");
    mp_status status = histograms_from_json(json_object_get(json, "histograms"), p, err);
    if (status == MP_OK)
        status = pair_from_json(json, "shape", INT64_MAX / MP_PICTURE_SIDE, &p->rows, &p->columns, err);
    if (status == MP_OK) status = pair_from_json(json, "cells", MP_PICTURE_SIDE, &cells[0], &cells[1], err);
    if (status == MP_OK && (cells[0] > p->rows || cells[1] > p->columns))
        status = mp_fail(err, MP_EINPUT, "cells: expected no more than shape has elements");
    if (status == MP_OK) {
        p->row_cells = (int)cells[0];
        p->column_cells = (int)cells[1];
        status = pair_from_json(json, "tile", INT64_MAX, &p->tile_rows, &p->tile_columns, err);
    }
    if (status == MP_OK) status = experts_from_json(json_object_get(json, "experts"), p, err);
    for (int i = 0; i < MP_PICTURE_MAPS && status == MP_OK; i++)
        status = map_from_json(json_object_get(json, "maps"), (mp_picture_map)i, p, err);
    if (status == MP_OK)
        *picture = p;
    else
        mp_picture_free(p);
    return status;
}
