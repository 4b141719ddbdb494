/* SPDX-License-Identifier: Apache-2.0 */
#include "golden/root.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t root_of(const mp_tensor *shape, const uint64_t *words, size_t count) {
    char shape_text[MP_SHAPE_TEXT_MAX], text[MP_SHAPE_TEXT_MAX + 20];
    mp_shape_text(shape, shape_text);
    const int length =
        snprintf(text, sizeof text, "%s %016" PRIx64, shape_text, mp_digest(words, count * sizeof *words));
    return mp_digest(text, (size_t)length);
}

uint64_t mp_root_of_digests(const mp_tensor *shape, const uint64_t *digests) {
    return root_of(shape, digests, (size_t)mp_tensor_rows(shape));
}

uint64_t mp_root_of_tree(const mp_tensor *shape, const mp_tree *tree) {
    return root_of(shape, tree->node, (size_t)tree->groups * (size_t)tree->words);
}

mp_status mp_row_digests_finish(const mp_tensor *shape, const uint8_t *left_out, mp_row_digests *rows,
                                mp_error *err) {
    const int64_t count = mp_tensor_rows(shape);
    if (count <= MP_TREE_GROUP) {
        rows->root = mp_root_of_digests(shape, rows->digest);
        return MP_OK;
    }
    rows->tree = mp_tree_shape(count);
    const mp_status status = mp_tree_start(&rows->tree, err);
    if (status != MP_OK) return status;
    mp_tree_add_rows(&rows->tree, 0, count, rows->digest, left_out);
    rows->root = mp_root_of_tree(shape, &rows->tree);
    return MP_OK;
}

static mp_status begin(const mp_tensor *shape, mp_row_digests *rows, mp_error *err) {
    const size_t count = (size_t)mp_tensor_rows(shape);
    *rows = (mp_row_digests){.digest = malloc((count ? count : 1) * sizeof *rows->digest)};
    return rows->digest ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for %zu row digests", count);
}

mp_status mp_row_digests_of(const mp_tensor *t, const uint8_t *left_out, mp_row_digests *rows,
                            mp_error *err) {
    mp_status status = begin(t, rows, err);
    for (int64_t r = 0; status == MP_OK && r < mp_tensor_rows(t); r++)
        rows->digest[r] = mp_tensor_row_digest(t, r);
    return status == MP_OK ? mp_row_digests_finish(t, left_out, rows, err) : status;
}

void mp_row_digests_free(mp_row_digests *rows) {
    mp_tree_free(&rows->tree);
    free(rows->digest);
    rows->digest = NULL;
}

typedef struct digesting {
    const mp_tensor *shape;
    uint64_t *digest;
} digesting;

static void digest_rows(void *ctx, int64_t first, int64_t count, const char *bytes) {
    const digesting *d = ctx;
    const size_t row_bytes = mp_tensor_row_bytes(d->shape);
    for (int64_t r = first; r < first + count; r++, bytes += row_bytes)
        d->digest[r] = mp_digest(bytes, row_bytes);
}

/* Of a batch of no tokens, or of rows without elements, nothing is read. */
static mp_status read_rows(const mp_stored *stored, uint64_t *digest, mp_error *err) {
    const int64_t rows = mp_tensor_rows(&stored->shape);
    if (mp_tensor_count(&stored->shape) == 0)
        for (int64_t r = 0; r < rows; r++) digest[r] = mp_digest("", 0);
    return mp_stored_read(stored, digest_rows, &(digesting){&stored->shape, digest}, err);
}

mp_status mp_root_of_stored(const mp_stored *stored, const uint8_t *left_out, uint64_t *root, mp_error *err) {
    mp_row_digests rows = {0};
    mp_status status;
    if (stored->tree.words > 0) {
        status = mp_stored_tree(stored, &rows.tree, err);
        if (status == MP_OK) rows.root = mp_root_of_tree(&stored->shape, &rows.tree);
    } else if (stored->digest) {
        status = mp_stored_digests(stored, &rows.digest, err);
        if (status == MP_OK) status = mp_row_digests_finish(&stored->shape, left_out, &rows, err);
    } else {
        status = begin(&stored->shape, &rows, err);
        if (status == MP_OK) status = read_rows(stored, rows.digest, err);
        if (status == MP_OK) status = mp_row_digests_finish(&stored->shape, left_out, &rows, err);
    }
    *root = rows.root;
    mp_row_digests_free(&rows);
    return status;
}

/* The root of the text, which is freed. */
static mp_status take_root(mp_text *text, uint64_t *root, mp_error *err) {
    const bool lost = text->lost;
    *root = mp_digest(mp_text_get(text), text->length);
    mp_text_free(text);
    return lost ? mp_fail(err, MP_EMEMORY, "no memory for the root of a golden") : MP_OK;
}

mp_status mp_root_of_case(const mp_golden_entry *entry, const mp_tensor_roots *tensors, uint64_t *root,
                          mp_error *err) {
    mp_text text = {0};
    mp_text_add(&text, "%s\n", entry->name);
    if (entry->has_contract_digest) mp_text_add(&text, "%016" PRIx64, entry->contract_digest);
    mp_text_add(&text, "\n%s\n%d\n", entry->config, entry->block_size_m);
    if (entry->has_inputs_digest) mp_text_add(&text, "%016" PRIx64, entry->inputs_digest);
    mp_text_add(&text, "\n");
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (tensors->there & MP_IN_SET(id))
            mp_text_add(&text, "%s %016" PRIx64 "\n", mp_tensor_name((mp_tensor_id)id), tensors->root[id]);
    return take_root(&text, root, err);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const mp_golden_entry *const *)a)->name, (*(const mp_golden_entry *const *)b)->name);
}

mp_status mp_root_of_file(int fill_version, const mp_golden_entry *entries, size_t count, uint64_t *root,
                          mp_error *err) {
    mp_text text = {0};
    const mp_golden_entry **sorted = malloc((count ? count : 1) * sizeof *sorted);
    if (!sorted) return mp_fail(err, MP_EMEMORY, "no memory to sort %zu cases", count);
    for (size_t i = 0; i < count; i++) sorted[i] = &entries[i];
    qsort(sorted, count, sizeof *sorted, by_name);
    mp_text_add(&text, "%d\n", fill_version);
    for (size_t i = 0; i < count; i++)
        mp_text_add(&text, "%s %016" PRIx64 "\n", sorted[i]->name, sorted[i]->root);
    free(sorted);
    return take_root(&text, root, err);
}
