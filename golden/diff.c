/* SPDX-License-Identifier: Apache-2.0 */
/* Two goldens side by side, and what is in one. */
#include "base/printable.h"
#include "golden/files.h"
#include "golden/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mp_status load_tensor(const mp_stored *stored, mp_tensor *t, mp_error *err) {
    *t = stored->shape;
    mp_status status = mp_tensor_alloc(t, MP_POISON_A, err);
    if (status != MP_OK) return status;
    hid_t type = mp_h5_type(t->dtype);
    if (type < 0 || H5Dread(stored->dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, t->data) < 0)
        status = mp_h5_fail(err, MP_EINPUT, "cannot read the stored numbers");
    if (type >= 0) H5Tclose(type);
    return status;
}

/* Both stored. Where one side has digests only, the other's rows are digested: storing a tensor differently
 * is no difference. */
static mp_status compare_stored(const mp_stored *a, const mp_stored *b, mp_golden_difference *diff,
                                mp_error *err) {
    mp_tensor loaded = {0};
    mp_status status = MP_OK;
    if (a->digest && b->digest) return mp_stored_compare(a, NULL, &b->shape, b, NULL, NULL, diff, err);
    if (!mp_same_shape(&a->shape, &b->shape))
        return mp_stored_compare(a, NULL, &b->shape, NULL, NULL, NULL, diff, err);
    const mp_stored *full = b->digest ? a : b, *partner = b->digest ? b : a;
    if ((status = load_tensor(full, &loaded, err)) == MP_OK)
        status = mp_stored_compare(partner, NULL, &loaded, NULL, NULL, NULL, diff, err);
    mp_tensor_free(&loaded);
    return status;
}

typedef struct diff_job {
    mp_golden *a, *b;
    void (*report)(void *ctx, const char *line);
    void *ctx;
    bool *equal;
    mp_error *err;
} diff_job;

static mp_status tell(diff_job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));

static mp_status tell(diff_job *job, const char *format, ...) {
    char *line = NULL, *printable = NULL;
    va_list args;
    *job->equal = false;
    va_start(args, format);
    const int length = vasprintf(&line, format, args);
    va_end(args);
    const size_t size =
        length < 0 ? 0 : 4 * (size_t)length + 1; /* paths may hold anything: \xNN for each byte */
    if (length < 0 || !(printable = malloc(size))) {
        if (length >= 0) free(line);
        return mp_fail(job->err, MP_EMEMORY, "no memory for a line");
    }
    mp_text_printable(line, printable, size);
    job->report(job->ctx, printable);
    free(printable);
    free(line);
    return MP_OK;
}

static mp_status diff_opened(diff_job *job, const char *name, const char *what, const mp_stored *in_a,
                             const mp_stored *in_b) {
    mp_golden_difference d = {0};
    char text[MP_GOLDEN_DIFFERENCE_TEXT_MAX];
    if (in_a->dataset < 0 && in_b->dataset < 0) return MP_OK;
    if (in_a->dataset < 0 || in_b->dataset < 0)
        return tell(job, "%s: %s: only in %s", name, what, in_a->dataset >= 0 ? job->a->path : job->b->path);
    snprintf(d.tensor, sizeof d.tensor, "%s", what);
    const mp_status status = compare_stored(in_a, in_b, &d, job->err);
    if (status != MP_OK) {
        mp_error_prefix(job->err, "%s", what);
        return status;
    }
    if (!d.shape_differs && d.differing_rows == 0) return MP_OK;
    mp_golden_difference_text(&d, text);
    if (d.differing == 0) return tell(job, "%s: %s", name, text);
    return tell(job, "%s: %s, %lld element%s, max-abs=%.2e, first %s", name, text, (long long)d.differing,
                d.differing == 1 ? "" : "s", d.max_abs, d.first);
}

/* One tensor of the groups a and b, which is `what` in the lines. */
static mp_status diff_tensor(diff_job *job, const char *name, const char *what, const char *tensor,
                             const hid_t group[2], const mp_tensor *const plan[2]) {
    mp_stored in[2] = {{.dataset = H5I_INVALID_HID}, {.dataset = H5I_INVALID_HID}};
    mp_status status = MP_OK;
    for (int side = 0; side < 2 && status == MP_OK; side++) {
        status = mp_stored_open(group[side], tensor, plan[side], &in[side], job->err);
        if (status != MP_OK) mp_error_prefix(job->err, "%s: %s", side ? job->b->path : job->a->path, name);
    }
    if (status == MP_OK) {
        status = diff_opened(job, name, what, &in[0], &in[1]);
        if (status != MP_OK) mp_error_prefix(job->err, "%s, %s: %s", job->a->path, job->b->path, name);
    }
    mp_stored_close(&in[0]);
    mp_stored_close(&in[1]);
    return status;
}

static mp_status diff_trace(diff_job *job, const mp_golden_entry *a, const mp_golden_entry *b,
                            const hid_t group[2]) {
    mp_status status = MP_OK;
    for (int t = 0; t < MP_TENSOR_COUNT && status == MP_OK; t++) {
        const char *tensor = mp_tensor_name((mp_tensor_id)t);
        const mp_tensor plan_a = mp_golden_plan(a, (mp_tensor_id)t),
                        plan_b = mp_golden_plan(b, (mp_tensor_id)t);
        status =
            diff_tensor(job, a->name, tensor, tensor, group, (const mp_tensor *const[]){&plan_a, &plan_b});
    }
    return status;
}

/* Inputs that only one file holds are no difference: they follow from the case. */
static mp_status diff_inputs(diff_job *job, const mp_golden_entry *a, const mp_golden_entry *b,
                             const hid_t group[2]) {
    hid_t inputs[2] = {H5I_INVALID_HID, H5I_INVALID_HID};
    mp_inputs plan;
    mp_status status = mp_golden_open_inputs(group[0], &inputs[0], job->err);
    if (status == MP_OK) status = mp_golden_open_inputs(group[1], &inputs[1], job->err);
    if (status == MP_OK && (inputs[0] < 0 || inputs[1] < 0)) {
        if (a->has_inputs_digest && b->has_inputs_digest && a->inputs_digest != b->inputs_digest)
            status = tell(job, "%s: inputs: digest %016llx -> %016llx", a->name,
                          (unsigned long long)a->inputs_digest, (unsigned long long)b->inputs_digest);
        goto out;
    }
    mp_inputs_plan(&a->c, &plan);
    for (int t = 0; t < MP_TENSOR_COUNT && status == MP_OK; t++) {
        const char *tensor = mp_tensor_name((mp_tensor_id)t);
        char what[64];
        snprintf(what, sizeof what, MP_INPUTS_GROUP "/%s", tensor);
        status = diff_tensor(job, a->name, what, tensor, inputs,
                             (const mp_tensor *const[]){&plan.t[t], &plan.t[t]});
    }
out:
    if (inputs[0] >= 0) H5Gclose(inputs[0]);
    if (inputs[1] >= 0) H5Gclose(inputs[1]);
    return status;
}

/* The digest is the contract's identity; the text is for people, and may be worded anew. Without digests in
 * both, the texts decide. */
static mp_status diff_contract(diff_job *job, const mp_golden_entry *a, const mp_golden_entry *b) {
    const bool digests = a->has_contract_digest && b->has_contract_digest,
               same_text = strcmp(a->contract, b->contract) == 0;
    if (digests ? a->contract_digest == b->contract_digest : same_text) return MP_OK;
    if (!same_text) return tell(job, "%s: contract: '%s' -> '%s'", a->name, a->contract, b->contract);
    return tell(job, "%s: contract: digest %016llx -> %016llx", a->name,
                (unsigned long long)a->contract_digest, (unsigned long long)b->contract_digest);
}

static mp_status diff_case(diff_job *job, const mp_golden_entry *a, const mp_golden_entry *b) {
    mp_status status = MP_EINPUT;
    hid_t group[2] = {mp_golden_open_case(job->a, a->name, job->err), H5I_INVALID_HID};
    if (group[0] < 0 || (group[1] = mp_golden_open_case(job->b, b->name, job->err)) < 0) goto out;
    status = diff_contract(job, a, b);
    if (status == MP_OK && strcmp(a->config, b->config) != 0)
        status = tell(job, "%s: config: '%s' -> '%s'", a->name, a->config, b->config);
    if (status == MP_OK && a->block_size_m != b->block_size_m)
        status = tell(job, "%s: block_size_m: %d -> %d", a->name, a->block_size_m, b->block_size_m);
    if (status == MP_OK) status = diff_inputs(job, a, b, group);
    if (status == MP_OK) status = diff_trace(job, a, b, group);
out:
    if (group[0] >= 0) H5Gclose(group[0]);
    if (group[1] >= 0) H5Gclose(group[1]);
    return status;
}

mp_status mp_golden_diff(mp_golden *a, mp_golden *b, void (*report)(void *ctx, const char *line), void *ctx,
                         bool *equal, mp_error *err) {
    mp_status status = MP_OK;
    diff_job job = {a, b, report, ctx, equal, err};
    *equal = true;
    if (a->fill_version != b->fill_version)
        status = tell(&job, "fill_version: %d -> %d", a->fill_version, b->fill_version);
    for (size_t i = 0; status == MP_OK && i < a->count; i++) {
        const mp_golden_entry *other = mp_golden_find(b, a->entries[i].name);
        status = other ? diff_case(&job, &a->entries[i], other)
                       : tell(&job, "%s: only in %s", a->entries[i].name, a->path);
    }
    for (size_t i = 0; status == MP_OK && i < b->count; i++)
        if (!mp_golden_find(a, b->entries[i].name))
            status = tell(&job, "%s: only in %s", b->entries[i].name, b->path);
    if (status != MP_OK) *equal = false;
    return status;
}

typedef struct stored_counts {
    int full, digests;
    unsigned long long bytes;
    bool inputs;
} stored_counts;

static mp_status count_stored(hid_t group, const mp_golden_entry *entry, stored_counts *n, mp_error *err) {
    mp_status status = MP_OK;
    for (int t = 0; status == MP_OK && t < MP_TENSOR_COUNT; t++) {
        mp_stored stored;
        const mp_tensor plan = mp_golden_plan(entry, (mp_tensor_id)t);
        status = mp_stored_open(group, mp_tensor_name((mp_tensor_id)t), &plan, &stored, err);
        if (status != MP_OK || stored.dataset < 0) continue;
        *(stored.digest ? &n->digests : &n->full) += 1;
        n->bytes += H5Dget_storage_size(stored.dataset);
        mp_stored_close(&stored);
    }
    return status == MP_OK ? mp_h5_find(group, MP_INPUTS_GROUP, &n->inputs, err) : status;
}

mp_status mp_golden_list(mp_golden *golden, void (*report)(void *ctx, const char *line), void *ctx,
                         mp_error *err) {
    char line[MP_CASE_TEXT_MAX + 128];
    for (size_t i = 0; i < golden->count; i++) {
        const char *name = golden->entries[i].name; /* the text of a case: it can be printed as it is */
        stored_counts n = {0};
        hid_t group = mp_golden_open_case(golden, name, err);
        if (group < 0) return MP_EINPUT;
        const mp_status status = count_stored(group, &golden->entries[i], &n, err);
        H5Gclose(group);
        if (status != MP_OK) {
            mp_error_prefix(err, "%s: %s", golden->path, name);
            return status;
        }
        snprintf(line, sizeof line, "%s: %d tensors in full, %d as digests, %llu bytes%s", name, n.full,
                 n.digests, n.bytes, n.inputs ? ", with inputs" : "");
        report(ctx, line);
    }
    return MP_OK;
}
