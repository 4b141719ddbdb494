/* SPDX-License-Identifier: Apache-2.0 */
/* Every number of a golden: whether it is there, whether it can be read, and whether it is what was recorded.
 */
#include "golden/files.h"
#include "golden/root.h"

#include <stdlib.h>

/* A root that is there must be that of what lies below it. */
static mp_status expect_root(const char *of, bool has_root, uint64_t root, uint64_t is, mp_error *err) {
    if (!has_root || root == is) return MP_OK;
    return mp_fail(
        err, MP_EINPUT,
        "the root of %s is %016llx, what is stored gives %016llx: it was changed after it was made", of,
        (unsigned long long)root, (unsigned long long)is);
}

static mp_status check_stored(hid_t group, const char *name, const mp_stored *stored, uint64_t *root,
                              mp_error *err) {
    uint8_t *left_out = NULL;
    mp_status status = mp_stored_left_out(group, name, stored, &left_out, err);
    if (status == MP_OK) status = mp_root_of_stored(stored, left_out, root, err);
    if (status == MP_OK) status = expect_root("the tensor", stored->has_root, stored->root, *root, err);
    free(left_out);
    return status;
}

static mp_status check_trace(hid_t group, mp_golden_entry *entry, mp_error *err) {
    mp_tensor_roots tensors = {0};
    uint64_t root;
    mp_status status = MP_OK;
    for (int t = 0; t < MP_TENSOR_COUNT && status == MP_OK; t++) {
        const char *name = mp_tensor_name((mp_tensor_id)t);
        const mp_tensor plan = mp_golden_planned(entry, (mp_tensor_id)t);
        mp_stored stored;
        status = mp_stored_open(group, name, &plan, &stored, err);
        if (status != MP_OK || stored.dataset < 0) continue;
        status = check_stored(group, name, &stored, &tensors.root[t], err);
        if (status != MP_OK) mp_error_prefix(err, "%s", name);
        tensors.there |= MP_IN_SET(t);
        mp_stored_close(&stored);
    }
    if (status == MP_OK) status = mp_root_of_case(entry, &tensors, &root, err);
    if (status == MP_OK) status = expect_root("the case", entry->has_root, entry->root, root, err);
    if (status == MP_OK) entry->root = root;
    return status;
}

static mp_status check_inputs(hid_t group, const mp_golden_entry *entry, mp_error *err) {
    mp_inputs plan;
    hid_t inputs;
    mp_status status = mp_golden_open_inputs(group, &inputs, err);
    if (status != MP_OK || inputs < 0) return status;
    mp_inputs_plan(&entry->c, &plan);
    for (int t = 0; t < MP_TENSOR_COUNT && status == MP_OK; t++) {
        const char *name = mp_tensor_name((mp_tensor_id)t);
        mp_stored stored;
        status = mp_stored_open(inputs, name, &plan.t[t], &stored, err);
        if (status != MP_OK || stored.dataset < 0) continue;
        uint64_t root;
        status = mp_root_of_stored(&stored, NULL, &root, err);
        if (status != MP_OK) mp_error_prefix(err, "%s", name);
        mp_stored_close(&stored);
    }
    H5Gclose(inputs);
    return status;
}

/* What the file says of itself, once every case has been read. */
static mp_status check_file(mp_golden *golden, mp_error *err) {
    uint64_t root;
    mp_status status = mp_root_of_file(golden->fill_version, golden->entries, golden->count, &root, err);
    if (status == MP_OK) status = expect_root("the file", golden->has_root, golden->root, root, err);
    if (status == MP_OK) golden->root = root;
    if (status != MP_OK) mp_error_prefix(err, "%s", golden->path);
    return status;
}

mp_status mp_golden_check(mp_golden *golden, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < golden->count && status == MP_OK; i++) {
        mp_golden_entry *entry = &golden->entries[i];
        const hid_t group = mp_golden_open_case(golden, entry->name, err);
        if (group < 0) return MP_EINPUT;
        status = check_trace(group, entry, err);
        if (status == MP_OK) status = check_inputs(group, entry, err);
        H5Gclose(group);
        if (status != MP_OK) mp_error_prefix(err, "%s: %s", golden->path, entry->name);
    }
    return status == MP_OK ? check_file(golden, err) : status;
}

mp_status mp_golden_complete_roots(mp_golden *golden, mp_error *err) {
    for (size_t i = 0; i < golden->count; i++)
        if (!golden->entries[i].has_root) return mp_golden_check(golden, err);
    return MP_OK;
}
