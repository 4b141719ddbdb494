#include "golden/store.h"

#include <stdio.h>

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
    if (a->digest && b->digest) return mp_stored_compare(a, &b->shape, b, diff, err);
    if (!mp_same_shape(&a->shape, &b->shape)) return mp_stored_compare(a, &b->shape, NULL, diff, err);
    const mp_stored *full = b->digest ? a : b, *partner = b->digest ? b : a;
    if ((status = load_tensor(full, &loaded, err)) == MP_OK)
        status = mp_stored_compare(partner, &loaded, NULL, diff, err);
    mp_tensor_free(&loaded);
    return status;
}

static void difference_line(const char *name, const mp_golden_difference *d, char *line, size_t size) {
    char rows[320];
    mp_golden_difference_text(d, rows, sizeof rows);
    if (d->shape_differs || d->digest)
        snprintf(line, size, "%s: %s", name, rows);
    else
        snprintf(line, size, "%s: %s, %lld elements, max-abs=%.2e, first %s", name, rows,
                 (long long)d->differing, d->max_abs, d->first);
}

typedef struct diff_job {
    mp_golden *a, *b;
    void (*report)(void *ctx, const char *line);
    void *ctx;
    bool *equal;
} diff_job;

static void tell(diff_job *job, const char *line) {
    *job->equal = false;
    job->report(job->ctx, line);
}

static mp_status diff_case(diff_job *job, const char *name, mp_error *err) {
    mp_status status = MP_EINPUT;
    char line[MP_CASE_TEXT_MAX + 512];
    hid_t b = H5I_INVALID_HID, a = mp_golden_open_case(job->a, name, err);
    if (a < 0 || (b = mp_golden_open_case(job->b, name, err)) < 0) goto out;
    status = MP_OK;
    for (int i = 0; status == MP_OK && i < MP_TENSOR_COUNT; i++) {
        mp_golden_difference d = {0};
        snprintf(d.tensor, sizeof d.tensor, "%s", mp_tensor_name((mp_tensor_id)i));
        mp_stored in_a, in_b = {.dataset = H5I_INVALID_HID};
        status = mp_stored_open(a, d.tensor, &in_a, err);
        if (status == MP_OK) status = mp_stored_open(b, d.tensor, &in_b, err);
        if (status == MP_OK && (in_a.dataset >= 0) != (in_b.dataset >= 0)) {
            snprintf(line, sizeof line, "%s: %s: only in %s", name, d.tensor,
                     in_a.dataset >= 0 ? job->a->path : job->b->path);
            tell(job, line);
        } else if (status == MP_OK && in_a.dataset >= 0) {
            status = compare_stored(&in_a, &in_b, &d, err);
            if (status != MP_OK) mp_error_prefix(err, "%s", d.tensor);
            if (status == MP_OK && (d.shape_differs || d.differing_rows > 0)) {
                difference_line(name, &d, line, sizeof line);
                tell(job, line);
            }
        }
        mp_stored_close(&in_a);
        mp_stored_close(&in_b);
    }
    if (status != MP_OK) mp_error_prefix(err, "%s, %s: %s", job->a->path, job->b->path, name);
out:
    if (a >= 0) H5Gclose(a);
    if (b >= 0) H5Gclose(b);
    return status;
}

mp_status mp_golden_diff(mp_golden *a, mp_golden *b, void (*report)(void *ctx, const char *line), void *ctx,
                         bool *equal, mp_error *err) {
    mp_status status = MP_OK;
    char line[MP_CASE_TEXT_MAX + 512];
    diff_job job = {a, b, report, ctx, equal};
    *equal = true;
    for (size_t i = 0; status == MP_OK && i < a->count; i++) {
        if (mp_golden_has(b, a->names[i])) {
            status = diff_case(&job, a->names[i], err);
        } else {
            snprintf(line, sizeof line, "%s: only in %s", a->names[i], a->path);
            tell(&job, line);
        }
    }
    for (size_t i = 0; status == MP_OK && i < b->count; i++) {
        if (mp_golden_has(a, b->names[i])) continue;
        snprintf(line, sizeof line, "%s: only in %s", b->names[i], b->path);
        tell(&job, line);
    }
    if (status != MP_OK) *equal = false;
    return status;
}

mp_status mp_golden_list(mp_golden *golden, void (*report)(void *ctx, const char *line), void *ctx,
                         mp_error *err) {
    char line[MP_CASE_TEXT_MAX + 128];
    for (size_t i = 0; i < golden->count; i++) {
        const char *name = golden->names[i];
        mp_status status = MP_OK;
        int full = 0, digests = 0;
        unsigned long long bytes = 0;
        hid_t group = mp_golden_open_case(golden, name, err);
        if (group < 0) return MP_EINPUT;
        for (int t = 0; status == MP_OK && t < MP_TENSOR_COUNT; t++) {
            mp_stored stored;
            if ((status = mp_stored_open(group, mp_tensor_name((mp_tensor_id)t), &stored, err)) != MP_OK)
                break;
            if (stored.dataset >= 0) {
                *(stored.digest ? &digests : &full) += 1;
                bytes += H5Dget_storage_size(stored.dataset);
            }
            mp_stored_close(&stored);
        }
        bool inputs = H5Lexists(group, "inputs", H5P_DEFAULT) > 0;
        H5Gclose(group);
        if (status != MP_OK) {
            mp_error_prefix(err, "%s: %s", golden->path, name);
            return status;
        }
        snprintf(line, sizeof line, "%s: %d tensors in full, %d as digests, %llu bytes%s", name, full,
                 digests, bytes, inputs ? ", with inputs" : "");
        report(ctx, line);
    }
    return MP_OK;
}
