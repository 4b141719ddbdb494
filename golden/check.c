/* SPDX-License-Identifier: Apache-2.0 */
/* Every number of a golden: whether it is there, and whether it can be read. */
#include "golden/files.h"
#include "golden/store.h"

#include <stdlib.h>

static mp_status check_tensor(hid_t group, const char *name, const mp_tensor *plan, mp_error *err) {
    mp_stored stored;
    uint64_t *digests = NULL;
    mp_status status = mp_stored_open(group, name, plan, &stored, err);
    if (status != MP_OK || stored.dataset < 0) return status;
    status =
        stored.digest ? mp_stored_digests(&stored, &digests, err) : mp_stored_read(&stored, NULL, NULL, err);
    if (status != MP_OK) mp_error_prefix(err, "%s", name);
    free(digests);
    mp_stored_close(&stored);
    return status;
}

static mp_status check_trace(hid_t group, const mp_golden_entry *entry, mp_error *err) {
    mp_status status = MP_OK;
    for (int t = 0; t < MP_TENSOR_COUNT && status == MP_OK; t++) {
        const mp_tensor plan = mp_golden_plan(entry, (mp_tensor_id)t);
        status = check_tensor(group, mp_tensor_name((mp_tensor_id)t), &plan, err);
    }
    return status;
}

static mp_status check_inputs(hid_t group, const mp_golden_entry *entry, mp_error *err) {
    mp_inputs plan;
    hid_t inputs;
    mp_status status = mp_golden_open_inputs(group, &inputs, err);
    if (status != MP_OK || inputs < 0) return status;
    mp_inputs_plan(&entry->c, &plan);
    for (int t = 0; t < MP_TENSOR_COUNT && status == MP_OK; t++)
        status = check_tensor(inputs, mp_tensor_name((mp_tensor_id)t), &plan.t[t], err);
    H5Gclose(inputs);
    return status;
}

mp_status mp_golden_check(mp_golden *golden, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < golden->count && status == MP_OK; i++) {
        const mp_golden_entry *entry = &golden->entries[i];
        const hid_t group = mp_golden_open_case(golden, entry->name, err);
        if (group < 0) return MP_EINPUT;
        status = check_trace(group, entry, err);
        if (status == MP_OK) status = check_inputs(group, entry, err);
        H5Gclose(group);
        if (status != MP_OK) mp_error_prefix(err, "%s: %s", golden->path, entry->name);
    }
    return status;
}
