/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a golden file.
 *
 * The file is built in memory by HDF5's core driver and written in one piece at the end. HDF5 1.10 does not
 * survive a disk that fills up: closing a file whose data cannot be flushed corrupts its memory. This way a
 * full disk only meets mp_file_replace.
 */
#include "base/file.h"
#include "base/printable.h"
#include "golden/left_out.h"
#include "golden/put.h"
#include "golden/root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) \
    { #name, offsetof(mp_provenance, name), sizeof(((mp_provenance *)NULL)->name) }
const mp_provenance_field mp_provenance_fields[MP_PROVENANCE_FIELDS] = {
    FIELD(version), FIELD(commit), FIELD(subject), FIELD(device), FIELD(versions), FIELD(date), FIELD(origin),
};
#undef FIELD

bool mp_same_provenance(const mp_provenance *a, const mp_provenance *b) {
    for (int i = 0; i < MP_PROVENANCE_FIELDS; i++)
        if (strcmp((const char *)a + mp_provenance_fields[i].offset,
                   (const char *)b + mp_provenance_fields[i].offset) != 0)
            return false;
    return true;
}

hid_t mp_golden_access(void) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0) return access;
    /* The 1.10 layout has a checksum over every piece of metadata, the older one has none. STRONG: ids left
     * open close with the file. */
    if (H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) < 0 ||
        H5Pset_file_locking(access, false, true) < 0 || H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0) {
        H5Pclose(access);
        return H5I_INVALID_HID;
    }
    return access;
}

mp_status mp_golden_write_provenance(hid_t object, const mp_provenance *who, mp_error *err) {
    mp_status status = MP_OK;
    for (int i = 0; status == MP_OK && i < MP_PROVENANCE_FIELDS; i++)
        status = mp_h5_write_text(object, mp_provenance_fields[i].name,
                                  (const char *)who + mp_provenance_fields[i].offset, err);
    return status;
}

static mp_status write_root(hid_t file, const mp_provenance *who, mp_error *err) {
    mp_status status = mp_h5_write_text(file, "format", MP_GOLDEN_FORMAT, err);
    if (status == MP_OK)
        status = mp_h5_write_integers(file, "format_version", &(int64_t){MP_GOLDEN_FORMAT_VERSION}, 1, err);
    if (status == MP_OK)
        status = mp_h5_write_integers(file, "fill_version", &(int64_t){MP_FILL_VERSION}, 1, err);
    return status == MP_OK ? mp_golden_write_provenance(file, who, err) : status;
}

mp_status mp_golden_set_fill_version(mp_golden *golden, int version, mp_error *err) {
    const int64_t value = version;
    if (version == golden->fill_version) return MP_OK;
    golden->fill_version = version;
    if (H5Adelete(golden->file, "fill_version") < 0)
        return mp_h5_fail(err, MP_EIO, "%s: cannot write attribute 'fill_version'", golden->path);
    return mp_h5_write_integers(golden->file, "fill_version", &value, 1, err);
}

mp_status mp_golden_create(const char *path, const mp_provenance *who, size_t digest_above,
                           mp_golden **golden, mp_error *err) {
    hid_t access_list = H5I_INVALID_HID, creation = H5I_INVALID_HID;
    *golden = NULL;
    mp_h5_quiet();

    /* A golden is worth its hours of computing: said before the first case, not after the last. */
    mp_status status = mp_file_writable(path, err);
    if (status != MP_OK) return status;
    mp_golden *g = calloc(1, sizeof *g);
    if (g == NULL || (g->path = strdup(path)) == NULL) {
        free(g);
        return mp_fail(err, MP_EMEMORY, "no memory to create %s", path);
    }
    g->file = H5I_INVALID_HID;
    g->writing = true;
    g->digest_above = digest_above;
    g->who = *who;
    g->fill_version = MP_FILL_VERSION;

    access_list = mp_golden_access();
    creation = H5Pcreate(H5P_FILE_CREATE);
    if (access_list >= 0 && creation >= 0 && mp_h5_build_in_memory(access_list, &g->image) &&
        H5Pset_obj_track_times(creation, false) >= 0 && /* the same content gives the same bytes */
        H5Pset_link_creation_order(creation, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED) >= 0)
        g->file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access_list);
    status = g->file >= 0 ? write_root(g->file, who, err)
                          : mp_h5_fail(err, MP_EIO, "cannot create an HDF5 file in memory");
    if (status != MP_OK) mp_error_prefix(err, "%s", path);
    if (creation >= 0) H5Pclose(creation);
    if (access_list >= 0) H5Pclose(access_list);
    if (status == MP_OK)
        *golden = g;
    else
        mp_golden_close(g);
    return status;
}

static mp_status write_inputs(hid_t group, const mp_inputs *inputs, mp_error *err) {
    hid_t sub;
    mp_status status = mp_put_group(group, MP_INPUTS_GROUP, &sub, err);
    for (int i = 0; status == MP_OK && i < MP_TENSOR_COUNT; i++)
        if (inputs->t[i].data != NULL)
            status = mp_put_full(sub, mp_tensor_name((mp_tensor_id)i), &inputs->t[i], NULL, err);
    if (sub >= 0) H5Gclose(sub);
    return status;
}

/* What read.c refuses is not written. */
static mp_status check_text(const char *name, const char *text, mp_error *err) {
    char printable[MP_GOLDEN_TEXT_MAX];
    if (strlen(text) >= MP_GOLDEN_TEXT_MAX)
        return mp_fail(err, MP_EINPUT, "%s of %zu bytes; expected at most %d", name, strlen(text),
                       MP_GOLDEN_TEXT_MAX - 1);
    mp_text_printable(text, printable, sizeof printable);
    if (strcmp(text, printable) == 0) return MP_OK;
    return mp_fail(err, MP_EINPUT, "%s is '%s'; expected UTF-8 without control characters", name, text);
}

void mp_golden_store_inputs(mp_golden *golden) {
    golden->store_inputs = true;
}

/* What is known of a case beside its tensors. */
static mp_status write_entry(const mp_golden *golden, hid_t group, const mp_golden_entry *entry,
                             mp_error *err) {
    const int64_t block_size_m = entry->block_size_m;
    mp_status status = mp_h5_write_text(group, "contract", entry->contract, err);
    if (status == MP_OK && entry->has_contract_digest)
        status = mp_put_hex(group, "contract_digest", entry->contract_digest, err);
    if (status == MP_OK) status = mp_h5_write_text(group, "config", entry->config, err);
    if (status == MP_OK) status = mp_h5_write_integers(group, "block_size_m", &block_size_m, 1, err);
    if (status == MP_OK && entry->has_inputs_digest)
        status = mp_put_hex(group, "inputs_digest", entry->inputs_digest, err);
    if (status == MP_OK && entry->who && !mp_same_provenance(entry->who, &golden->who))
        status = mp_golden_write_provenance(group, entry->who, err);
    return status;
}

/* A copy of the entry at the end of the list; its name may be there already. */
static mp_status remember(mp_golden *golden, const mp_golden_entry *entry, mp_error *err) {
    if (golden->count == golden->capacity) {
        const size_t capacity = golden->capacity == 0 ? 64 : 2 * golden->capacity;
        mp_golden_entry *entries = realloc(golden->entries, capacity * sizeof *entries);
        if (!entries) return mp_fail(err, MP_EMEMORY, "no memory for case %zu", golden->count);
        golden->entries = entries;
        golden->capacity = capacity;
    }
    mp_golden_entry copy = *entry;
    copy.who = &golden->who;
    copy.name = strdup(entry->name);
    copy.contract = strdup(entry->contract);
    copy.config = strdup(entry->config);
    golden->entries[golden->count++] = copy; /* what there is of it is freed with the golden */
    return copy.name && copy.contract && copy.config
               ? MP_OK
               : mp_fail(err, MP_EMEMORY, "no memory for case %zu", golden->count - 1);
}

mp_status mp_golden_begin_case(mp_golden *golden, const mp_golden_entry *entry, hid_t *group, mp_error *err) {
    *group = H5I_INVALID_HID;
    if (!golden->writing) return mp_fail(err, MP_EINTERNAL, "%s is open for reading only", golden->path);
    if (H5Lexists(golden->file, entry->name, H5P_DEFAULT) > 0)
        return mp_fail(err, MP_EINPUT, "case '%s' recorded twice in one golden file", entry->name);
    if (check_text("config", entry->config, err) != MP_OK) return MP_EINPUT;
    mp_status status = remember(golden, entry, err);
    if (status == MP_OK) status = mp_put_group(golden->file, entry->name, group, err);
    if (status == MP_OK) status = write_entry(golden, *group, entry, err);
    return status == MP_OK ? MP_OK : mp_golden_end_case(golden, *group, NULL, status, err);
}

mp_status mp_golden_end_case(mp_golden *golden, hid_t group, const mp_tensor_roots *roots, mp_status status,
                             mp_error *err) {
    mp_golden_entry *entry = golden->count > 0 ? &golden->entries[golden->count - 1] : NULL;
    if (status == MP_OK) status = mp_root_of_case(entry, roots, &entry->root, err);
    if (status == MP_OK) status = mp_put_hex(group, MP_ROOT, entry->root, err);
    if (group >= 0) H5Gclose(group);
    if (status == MP_OK) return MP_OK;
    golden->failed = true;
    mp_error_prefix(err, "%s: %s", golden->path, entry && entry->name ? entry->name : "a case");
    return status;
}

/* One tensor of a trace, in full or as what is kept of its rows. */
static mp_status write_tensor(const mp_golden *golden, hid_t group, mp_tensor_id id, const mp_tensor *t,
                              const uint8_t *left_out, uint64_t *root, mp_error *err) {
    const char *name = mp_tensor_name(id);
    mp_row_digests rows;
    mp_status status = mp_row_digests_of(t, left_out, &rows, err);
    *root = rows.root;
    if (status == MP_OK && mp_tensor_bytes(t) <= golden->digest_above)
        status = mp_put_full(group, name, t, root, err);
    else if (status == MP_OK && rows.tree.node)
        status = mp_put_tree(group, name, t, &rows.tree, root, err);
    else if (status == MP_OK)
        status = mp_put_digests(group, name, t, rows.digest, root, err);
    if (status == MP_OK && left_out) status = mp_put_left_out(group, name, mp_tensor_rows(t), left_out, err);
    mp_row_digests_free(&rows);
    return status;
}

mp_status mp_golden_write(mp_golden *golden, const mp_case *c, const mp_contract *contract,
                          const char *config, const mp_trace *trace, const mp_inputs *inputs, mp_error *err) {
    char name[MP_CASE_TEXT_MAX], contract_text[MP_CONTRACT_TEXT_MAX];
    mp_tensor_roots roots = {0};
    hid_t group;
    mp_case_text(c, name, sizeof name);
    mp_contract_text(contract, contract_text, sizeof contract_text);
    const mp_golden_entry entry = {.name = name,
                                   .c = *c,
                                   .contract = contract_text,
                                   .config = (char *)config,
                                   .block_size_m = trace->block_size_m,
                                   .has_contract_digest = true,
                                   .contract_digest = mp_contract_digest(contract),
                                   .has_inputs_digest = inputs != NULL,
                                   .inputs_digest = inputs ? mp_inputs_digest(inputs) : 0,
                                   .has_root = true};
    mp_status status = mp_golden_begin_case(golden, &entry, &group, err);
    if (status != MP_OK) return status;
    for (int i = 0; i < MP_TENSOR_COUNT && status == MP_OK; i++) {
        const mp_tensor *t = &trace->t[i];
        uint8_t *left_out = NULL;
        if (t->data == NULL) continue;
        status = mp_rows_left_out(c, contract, trace, inputs, (mp_tensor_id)i, &left_out, err);
        if (status == MP_OK)
            status = write_tensor(golden, group, (mp_tensor_id)i, t, left_out, &roots.root[i], err);
        roots.there |= MP_IN_SET(i);
        free(left_out);
    }
    if (status == MP_OK && inputs != NULL && golden->store_inputs) status = write_inputs(group, inputs, err);
    return mp_golden_end_case(golden, group, &roots, status, err);
}

static mp_status write_root_digest(mp_golden *golden, mp_error *err) {
    uint64_t root;
    const mp_status status =
        mp_root_of_file(golden->fill_version, golden->entries, golden->count, &root, err);
    return status == MP_OK ? mp_put_hex(golden->file, MP_ROOT, root, err) : status;
}

mp_status mp_golden_commit(mp_golden *golden, mp_error *err) {
    mp_status status = MP_EIO;
    if (golden->failed) {
        mp_fail(err, status, "%s is not written: recording a case into it failed", golden->path);
        goto out;
    }
    if ((status = write_root_digest(golden, err)) != MP_OK) goto out;
    status = MP_EIO;
    hid_t file = golden->file;
    golden->file = H5I_INVALID_HID;
    if (H5Fclose(file) < 0 || golden->image == NULL) {
        mp_h5_fail(err, status, "cannot finish %s", golden->path);
        goto out;
    }
    status = mp_file_replace(golden->path, golden->image, mp_h5_image_size(golden->image), err);
out:
    mp_golden_close(golden);
    return status;
}

void mp_golden_close(mp_golden *golden) {
    if (golden == NULL) return;
    if (golden->file >= 0) H5Fclose(golden->file);
    free(golden->image);
    for (size_t i = 0; i < golden->count; i++) {
        free(golden->entries[i].name);
        free(golden->entries[i].contract);
        free(golden->entries[i].config);
        if (golden->entries[i].who != &golden->who) free((void *)golden->entries[i].who);
    }
    free(golden->entries);
    free(golden->by_name);
    free(golden->path);
    free(golden);
}
