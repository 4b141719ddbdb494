/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/goldens/touched.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_NAMED = 6 };

static bool have_experts(const mp_touched *k) {
    return k->where->topk_ids && mp_where_rows_are_slots(k->where) &&
           k->where->rows == mp_case_slots(k->where->c);
}

mp_status mp_touched_start(mp_touched *k, const mp_where *where, mp_error *err) {
    const size_t rows = (size_t)(where->rows > 0 ? where->rows : 1);
    *k = (mp_touched){.where = where, .row = calloc(rows, 1)};
    if (!k->row) return mp_fail(err, MP_EMEMORY, "no memory to mark %zu rows", rows);
    if (!where->tile || where->rows != mp_case_slots(where->c)) return MP_OK;
    k->block = malloc(rows * sizeof *k->block);
    if (!k->block) return mp_fail(err, MP_EMEMORY, "no memory for the tiles of %zu rows", rows);
    if (!mp_where_blocks(where, k->block, &k->blocks)) {
        free(k->block);
        k->block = NULL;
        return MP_OK;
    }
    k->block_columns = (where->width + where->tile->block_size_n - 1) / where->tile->block_size_n;
    k->tile = calloc((size_t)k->blocks * (size_t)k->block_columns + 1, 1);
    if (!k->tile) return mp_fail(err, MP_EMEMORY, "no memory for %lld tiles", (long long)k->blocks);
    for (int64_t r = 0; r < where->rows; r++)
        for (int64_t n = 0; n < k->block_columns && k->block[r] >= 0; n++)
            k->tile[k->block[r] * k->block_columns + n] = 1;
    return MP_OK;
}

void mp_touched_add(mp_touched *k, int64_t row, int64_t column) {
    k->row[row] = 1;
    if (!k->block || column < 0 || k->block[row] < 0) return;
    k->tile[k->block[row] * k->block_columns + column / k->where->tile->block_size_n] = 2;
}

/* Rows of each expert, and those of them that are touched: [E], to be freed. */
static int64_t *count_rows(const mp_touched *k, bool all) {
    int64_t *count = have_experts(k) ? calloc((size_t)k->where->c->E, sizeof *count) : NULL;
    for (int64_t r = 0; count && r < k->where->rows; r++) {
        const int32_t expert = k->where->topk_ids[r];
        if (expert >= 0 && (all || k->row[r])) count[expert]++;
    }
    return count;
}

int64_t mp_touched_experts(const mp_touched *k) {
    int64_t *count = count_rows(k, false), touched = 0;
    for (int64_t e = 0; count && e < k->where->c->E; e++) touched += count[e] > 0;
    free(count);
    return touched;
}

void mp_touched_text(const mp_touched *k, char *text, size_t size) {
    int64_t *touched = count_rows(k, false), *all = count_rows(k, true), left = mp_touched_experts(k);
    size_t used = 0;
    text[0] = '\0';
    for (int named = 0; touched && all && named < MOST_NAMED && left > 0; named++, left--) {
        int64_t most = 0;
        for (int64_t e = 1; e < k->where->c->E; e++)
            if (touched[e] > touched[most]) most = e;
        used +=
            (size_t)snprintf(text + used, size - used, "%s%" PRId64 " (%" PRId64 " of %" PRId64 " row%s)",
                             named ? ", " : "", most, touched[most], all[most], all[most] == 1 ? "" : "s");
        touched[most] = 0;
    }
    if (left > 0 && touched && all) snprintf(text + used, size - used, " and %" PRId64 " more", left);
    free(touched);
    free(all);
}

int64_t mp_touched_tiles(const mp_touched *k, int64_t *tiles) {
    int64_t touched = 0;
    *tiles = 0;
    for (int64_t i = 0; k->tile && i < k->blocks * k->block_columns; i++) {
        *tiles += k->tile[i] > 0;
        touched += k->tile[i] == 2;
    }
    return touched;
}

void mp_touched_free(mp_touched *k) {
    free(k->row);
    free(k->block);
    free(k->tile);
}
