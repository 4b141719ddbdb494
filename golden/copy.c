/* SPDX-License-Identifier: Apache-2.0 */
/* Cases from one golden into another. */
#include "golden/files.h"
#include "golden/put.h"
#include "golden/root.h"

#include <stdlib.h>
#include <string.h>

static mp_status copy_full(hid_t to, const char *name, const mp_stored *stored, const uint8_t *left_out,
                           uint64_t *root, mp_error *err) {
    mp_tensor t;
    mp_row_digests rows = {0};
    mp_status status = mp_stored_load(stored, &t, err);
    if (status == MP_OK && root) status = mp_row_digests_of(&t, left_out, &rows, err);
    if (status == MP_OK && root) *root = rows.root;
    if (status == MP_OK) status = mp_put_full(to, name, &t, root, err);
    mp_row_digests_free(&rows);
    mp_tensor_free(&t);
    return status;
}

static mp_status copy_tree(hid_t to, const char *name, const mp_stored *stored, uint64_t *root,
                           mp_error *err) {
    mp_tree tree;
    mp_status status = mp_stored_tree(stored, &tree, err);
    if (status == MP_OK) *root = mp_root_of_tree(&stored->shape, &tree);
    if (status == MP_OK) status = mp_put_tree(to, name, &stored->shape, &tree, root, err);
    mp_tree_free(&tree);
    return status;
}

/* Of the first format, whose digests are one a row whatever their number. */
static mp_status copy_digests(hid_t to, const char *name, const mp_stored *stored, uint64_t *root,
                              mp_error *err) {
    mp_row_digests rows = {0};
    mp_status status = mp_stored_digests(stored, &rows.digest, err);
    if (status == MP_OK) status = mp_row_digests_finish(&stored->shape, NULL, &rows, err);
    *root = rows.root;
    if (status == MP_OK && rows.tree.node)
        status = mp_put_tree(to, name, &stored->shape, &rows.tree, root, err);
    else if (status == MP_OK)
        status = mp_put_digests(to, name, &stored->shape, rows.digest, root, err);
    mp_row_digests_free(&rows);
    return status;
}

static mp_status copy_tensor(hid_t to, hid_t from, const mp_golden_entry *entry, mp_tensor_id id,
                             mp_tensor_roots *roots, mp_error *err) {
    const char *name = mp_tensor_name(id);
    const mp_tensor plan = mp_golden_planned(entry, id);
    mp_stored stored;
    uint8_t *left_out = NULL;
    mp_status status = mp_stored_open(from, name, &plan, &stored, err);
    if (status != MP_OK || stored.dataset < 0) return status;
    status = mp_stored_left_out(from, name, &stored, &left_out, err);
    if (status == MP_OK && stored.tree.words > 0)
        status = copy_tree(to, name, &stored, &roots->root[id], err);
    else if (status == MP_OK && stored.digest)
        status = copy_digests(to, name, &stored, &roots->root[id], err);
    else if (status == MP_OK)
        status = copy_full(to, name, &stored, left_out, &roots->root[id], err);
    if (status == MP_OK && left_out)
        status = mp_put_left_out(to, name, mp_tensor_rows(&stored.shape), left_out, err);
    roots->there |= MP_IN_SET(id);
    free(left_out);
    mp_stored_close(&stored);
    return status;
}

static mp_status copy_inputs(hid_t to, hid_t from, const mp_golden_entry *entry, mp_error *err) {
    hid_t inputs, copy;
    mp_inputs plan;
    mp_status status = mp_golden_open_inputs(from, &inputs, err);
    if (status != MP_OK || inputs < 0) return status;
    mp_inputs_plan(&entry->c, &plan);
    status = mp_put_group(to, MP_INPUTS_GROUP, &copy, err);
    for (int t = 0; t < MP_TENSOR_COUNT && status == MP_OK; t++) {
        const char *name = mp_tensor_name((mp_tensor_id)t);
        mp_stored stored;
        status = mp_stored_open(inputs, name, &plan.t[t], &stored, err);
        if (status != MP_OK || stored.dataset < 0) continue;
        status = stored.digest ? mp_fail(err, MP_EINPUT, "inputs/%s is stored as digests", name)
                               : copy_full(copy, name, &stored, NULL, NULL, err);
        mp_stored_close(&stored);
    }
    if (copy >= 0) H5Gclose(copy);
    H5Gclose(inputs);
    return status;
}

mp_status mp_golden_copy_case(mp_golden *to, mp_golden *from, const mp_golden_entry *entry, mp_error *err) {
    mp_tensor_roots roots = {0};
    hid_t group;
    const hid_t source = mp_golden_open_case(from, entry->name, err);
    if (source < 0) return MP_EINPUT;
    mp_status status = mp_golden_begin_case(to, entry, &group, err);
    if (status == MP_OK) {
        for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
            status = copy_tensor(group, source, entry, (mp_tensor_id)id, &roots, err);
        if (status == MP_OK) status = copy_inputs(group, source, entry, err);
        if (status != MP_OK) mp_error_prefix(err, "from %s", from->path);
        status = mp_golden_end_case(to, group, &roots, status, err);
    }
    H5Gclose(source);
    return status;
}
