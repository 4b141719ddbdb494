/* SPDX-License-Identifier: Apache-2.0 */
/* What is stored of a tensor in one golden, and beside it what is stored in another. */
#include "golden/files.h"
#include "golden/store.h"

#include <stdio.h>
#include <stdlib.h>

/* A tensor of a case with what it lies in. */
typedef struct opened {
    hid_t group, inputs; /* of the case; negative */
    mp_stored stored;
    uint8_t *left_out;
} opened;

static void close_it(opened *o) {
    free(o->left_out);
    mp_stored_close(&o->stored);
    if (o->inputs >= 0) H5Gclose(o->inputs);
    if (o->group >= 0) H5Gclose(o->group);
}

/* Where the tensor is not there the dataset is negative. */
static mp_status open_it(mp_golden *golden, const mp_golden_entry *entry, bool input, mp_tensor_id id,
                         opened *o, mp_error *err) {
    const char *name = mp_tensor_name(id);
    mp_inputs inputs;
    *o = (opened){.inputs = H5I_INVALID_HID, .stored = {.dataset = H5I_INVALID_HID}};
    if ((o->group = mp_golden_open_case(golden, entry->name, err)) < 0) return MP_EINPUT;
    mp_status status = input ? mp_golden_open_inputs(o->group, &o->inputs, err) : MP_OK;
    if (status == MP_OK && (!input || o->inputs >= 0)) {
        mp_inputs_plan(&entry->c, &inputs);
        const mp_tensor plan = input ? inputs.t[id] : mp_golden_planned(entry, id);
        status = mp_stored_open(input ? o->inputs : o->group, name, &plan, &o->stored, err);
        if (status == MP_OK && !input && o->stored.dataset >= 0)
            status = mp_stored_left_out(o->group, name, &o->stored, &o->left_out, err);
    }
    if (status != MP_OK) mp_error_prefix(err, "%s: %s", golden->path, entry->name);
    return status;
}

mp_status mp_golden_look_at(mp_golden *golden, const mp_golden_entry *entry, bool input, mp_tensor_id id,
                            mp_golden_look *look, mp_error *err) {
    opened o;
    const mp_status status = open_it(golden, entry, input, id, &o, err);
    *look = (mp_golden_look){.there = status == MP_OK && o.stored.dataset >= 0,
                             .digest = o.stored.digest,
                             .has_root = o.stored.has_root,
                             .shape = o.stored.shape,
                             .root = o.stored.root};
    close_it(&o);
    return status;
}

mp_status mp_golden_load(mp_golden *golden, const mp_golden_entry *entry, bool input, mp_tensor_id id,
                         mp_tensor *t, mp_error *err) {
    opened o;
    *t = (mp_tensor){0};
    mp_status status = open_it(golden, entry, input, id, &o, err);
    if (status == MP_OK && (o.stored.dataset < 0 || o.stored.digest))
        status = mp_fail(err, MP_EINPUT, "%s: %s: %s is not stored in full", golden->path, entry->name,
                         mp_tensor_name(id));
    if (status == MP_OK) status = mp_stored_load(&o.stored, t, err);
    close_it(&o);
    return status;
}

/* Where one side has digests only, the other's rows are digested. */
static mp_status compare_opened(const opened *a, const opened *b, mp_golden_visit *visit, void *ctx,
                                mp_golden_difference *diff, mp_error *err) {
    const uint8_t *left_out = a->left_out ? a->left_out : b->left_out;
    mp_tensor loaded = {0};
    if (a->stored.digest && b->stored.digest)
        return mp_stored_compare(&a->stored, left_out, &b->stored.shape, &b->stored, visit, ctx, diff, err);
    if (!mp_same_shape(&a->stored.shape, &b->stored.shape))
        return mp_stored_compare(&a->stored, NULL, &b->stored.shape, NULL, NULL, NULL, diff, err);
    const mp_stored *full = b->stored.digest ? &a->stored : &b->stored,
                    *partner = b->stored.digest ? &b->stored : &a->stored;
    mp_status status = mp_stored_load(full, &loaded, err);
    if (status == MP_OK) status = mp_stored_compare(partner, left_out, &loaded, NULL, visit, ctx, diff, err);
    mp_tensor_free(&loaded);
    return status;
}

mp_status mp_golden_compare_stored(const mp_golden_side *a, const mp_golden_side *b, bool input,
                                   mp_tensor_id id, mp_golden_visit *visit, void *ctx,
                                   mp_golden_difference *diff, mp_error *err) {
    opened in_a,
        in_b = {.group = H5I_INVALID_HID, .inputs = H5I_INVALID_HID, .stored = {.dataset = H5I_INVALID_HID}};
    *diff = (mp_golden_difference){0};
    snprintf(diff->tensor, sizeof diff->tensor, "%s", mp_tensor_name(id));
    mp_status status = open_it(a->golden, a->entry, input, id, &in_a, err);
    if (status == MP_OK) status = open_it(b->golden, b->entry, input, id, &in_b, err);
    if (status == MP_OK && (in_a.stored.dataset < 0 || in_b.stored.dataset < 0))
        status = mp_fail(err, MP_EINTERNAL, "%s is not there on both sides", diff->tensor);
    if (status == MP_OK) {
        status = compare_opened(&in_a, &in_b, visit, ctx, diff, err);
        if (status != MP_OK)
            mp_error_prefix(err, "%s, %s: %s: %s", a->golden->path, b->golden->path, a->entry->name,
                            diff->tensor);
    }
    close_it(&in_a);
    close_it(&in_b);
    return status;
}
