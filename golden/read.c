/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a golden: everything in it but the tensors is read and checked here. */
#include "golden/store.h"

#include "base/file.h"
#include "base/printable.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

mp_status mp_golden_read_provenance(hid_t object, mp_provenance *who, mp_error *err) {
    char text[1024];
    for (int i = 0; i < MP_PROVENANCE_FIELDS; i++) {
        const mp_provenance_field *field = &mp_provenance_fields[i];
        const mp_status status = mp_h5_read_text(object, field->name, text, field->size, err);
        if (status != MP_OK) return status;
        mp_text_printable(text, (char *)who + field->offset, field->size); /* it is there to be shown */
    }
    return MP_OK;
}

/* A case of its own maker. */
static mp_status read_maker(hid_t group, mp_golden_entry *entry, mp_error *err) {
    if (H5Aexists(group, mp_provenance_fields[0].name) == 0) return MP_OK;
    mp_provenance *who = calloc(1, sizeof *who);
    if (!who) return mp_fail(err, MP_EMEMORY, "no memory for the provenance of a case");
    entry->who = who;
    return mp_golden_read_provenance(group, who, err);
}

static mp_status read_root(mp_golden *g, mp_error *err) {
    mp_status status;
    char text[1024];
    int64_t number;
    if ((status = mp_h5_read_text(g->file, "format", text, sizeof text, err)) != MP_OK ||
        strcmp(text, MP_GOLDEN_FORMAT) != 0) {
        if (status == MP_OK) mp_fail(err, MP_EINPUT, "format is '%s'", text);
        mp_error_prefix(err, "not a golden file, whose format is '" MP_GOLDEN_FORMAT "'");
        return MP_EINPUT;
    }
    if ((status = mp_h5_read_integer(g->file, "format_version", INT64_MIN, INT64_MAX, &number, err)) != MP_OK)
        return status;
    if (number < 1 || number > MP_GOLDEN_FORMAT_VERSION)
        return mp_fail(err, MP_EINPUT, "format_version %lld: this program reads versions 1 to %d",
                       (long long)number, MP_GOLDEN_FORMAT_VERSION);
    if ((status = mp_h5_read_integer(g->file, "fill_version", 0, INT32_MAX, &number, err)) != MP_OK)
        return status;
    g->fill_version = (int)number;
    if ((status = mp_golden_read_provenance(g->file, &g->who, err)) != MP_OK) return status;
    return mp_read_hex(g->file, MP_ROOT, &g->has_root, &g->root, err);
}

typedef struct listing {
    mp_golden *g;
    mp_status status;
    mp_error *err;
} listing;

static herr_t collect_name(hid_t root, const char *name, const H5L_info_t *info, void *ctx) {
    (void)root;
    listing *l = ctx;
    mp_golden *g = l->g;
    if (info->type != H5L_TYPE_HARD) {
        l->status = mp_h5_refuse_link(name, info->type, l->err);
        return -1;
    }
    if (strlen(name) >= MP_CASE_TEXT_MAX) {
        l->status = mp_fail(l->err, MP_EINPUT, "a name of %zu bytes; expected the text of a case, at most %d",
                            strlen(name), MP_CASE_TEXT_MAX - 1);
        return -1;
    }
    if (g->count == g->capacity) {
        size_t capacity = g->capacity == 0 ? 64 : 2 * g->capacity;
        mp_golden_entry *entries = realloc(g->entries, capacity * sizeof *entries);
        if (entries != NULL) {
            g->entries = entries;
            g->capacity = capacity;
        }
    }
    char *copy = g->count < g->capacity ? strdup(name) : NULL;
    if (copy == NULL) {
        l->status = mp_fail(l->err, MP_EMEMORY, "no memory for case %zu", g->count);
        return -1;
    }
    g->entries[g->count++] = (mp_golden_entry){.name = copy, .who = &g->who};
    return 0;
}

/* In the order in which they were recorded, where the file knows it: a file of h5py does not, and is read in
 * the order of the names. */
static mp_status list_cases(mp_golden *g, mp_error *err) {
    listing l = {.g = g, .status = MP_OK, .err = err};
    unsigned order = 0;
    const hid_t root = H5Gopen2(g->file, "/", H5P_DEFAULT),
                creation = root < 0 ? H5I_INVALID_HID : H5Gget_create_plist(root);
    const bool known = creation >= 0 && H5Pget_link_creation_order(creation, &order) >= 0;
    if (creation >= 0) H5Pclose(creation);
    if (root >= 0) H5Gclose(root);
    const H5_index_t by = order & H5P_CRT_ORDER_TRACKED ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME;
    if (known && H5Literate(g->file, by, H5_ITER_INC, NULL, collect_name, &l) >= 0) return MP_OK;
    return l.status != MP_OK ? l.status : mp_h5_fail(err, MP_EINPUT, "cannot list the cases");
}

/* A text that is compared, and quoted in verdicts. */
static mp_status read_plain_text(hid_t group, const char *name, char **text, mp_error *err) {
    char raw[MP_GOLDEN_TEXT_MAX], printable[MP_GOLDEN_TEXT_MAX];
    const mp_status status = mp_h5_read_text(group, name, raw, sizeof raw, err);
    if (status != MP_OK) return status;
    mp_text_printable(raw, printable, sizeof printable);
    if (strcmp(raw, printable) != 0)
        return mp_fail(err, MP_EINPUT, "attribute '%s' is '%s'; expected UTF-8 without control characters",
                       name, raw);
    *text = strdup(raw);
    return *text != NULL ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for attribute '%s'", name);
}

mp_status mp_read_hex(hid_t object, const char *name, bool *found, uint64_t *digest, mp_error *err) {
    char text[64], again[64];
    *found = H5Aexists(object, name) != 0;
    if (!*found) return MP_OK;
    const mp_status status = mp_h5_read_text(object, name, text, sizeof text, err);
    if (status != MP_OK) return status;
    *digest = strtoull(text, NULL, 16);
    snprintf(again, sizeof again, "%016" PRIx64, *digest);
    if (strcmp(text, again) == 0) return MP_OK;
    return mp_fail(err, MP_EINPUT, "attribute '%s' is '%s'; expected 16 hexadecimal digits", name, text);
}

static mp_status read_entry(hid_t file, mp_golden_entry *entry, mp_error *err) {
    char canonical[MP_CASE_TEXT_MAX];
    int64_t number;
    entry->c = mp_case_default();
    mp_status status = mp_case_parse(&entry->c, entry->name, err);
    if (status != MP_OK) return status;
    mp_case_text(&entry->c, canonical, sizeof canonical);
    if (strcmp(canonical, entry->name) != 0)
        return mp_fail(err, MP_EINPUT, "expected the name '%s'", canonical);
    const hid_t group = H5Gopen2(file, entry->name, H5P_DEFAULT);
    if (group < 0) return mp_h5_fail(err, MP_EINPUT, "cannot open the case; expected a group");
    if ((status = read_plain_text(group, "contract", &entry->contract, err)) != MP_OK ||
        (status = read_plain_text(group, "config", &entry->config, err)) != MP_OK ||
        (status = mp_h5_read_integer(group, "block_size_m", 1, MP_MOST_BLOCK_SIZE_M, &number, err)) != MP_OK)
        goto out;
    entry->block_size_m = (int)number;
    status = mp_read_hex(group, "contract_digest", &entry->has_contract_digest, &entry->contract_digest, err);
    if (status == MP_OK)
        status = mp_read_hex(group, "inputs_digest", &entry->has_inputs_digest, &entry->inputs_digest, err);
    if (status == MP_OK) status = mp_read_hex(group, MP_ROOT, &entry->has_root, &entry->root, err);
    if (status == MP_OK) status = read_maker(group, entry, err);
out:
    H5Gclose(group);
    return status;
}

static int compare_names(const void *a, const void *b, void *entries) {
    const mp_golden_entry *e = entries;
    return strcmp(e[*(const size_t *)a].name, e[*(const size_t *)b].name);
}

static mp_status read_entries(mp_golden *g, mp_error *err) {
    mp_status status = list_cases(g, err);
    for (size_t i = 0; status == MP_OK && i < g->count; i++) {
        status = read_entry(g->file, &g->entries[i], err);
        if (status != MP_OK) mp_error_prefix(err, "case '%s'", g->entries[i].name);
    }
    if (status != MP_OK) return status;
    if ((g->by_name = malloc((g->count + 1) * sizeof *g->by_name)) == NULL)
        return mp_fail(err, MP_EMEMORY, "no memory for %zu cases", g->count);
    for (size_t i = 0; i < g->count; i++) g->by_name[i] = i;
    qsort_r(g->by_name, g->count, sizeof *g->by_name, compare_names, g->entries);
    return MP_OK;
}

mp_status mp_golden_open(const char *path, mp_golden **golden, mp_error *err) {
    mp_error why;
    hid_t access = H5I_INVALID_HID;
    size_t bytes = 0;
    int fd = -1;
    *golden = NULL;
    mp_h5_quiet();

    /* HDF5 itself would wait for a FIFO, and calls a file that it may not read no HDF5 file. */
    if (mp_file_open(path, "a golden file", &fd, &bytes, &why) != MP_OK)
        return mp_fail(err, MP_EINPUT, "%s", why.text);
    close(fd);
    mp_golden *g = calloc(1, sizeof *g);
    if (g == NULL || (g->path = strdup(path)) == NULL) {
        free(g);
        return mp_fail(err, MP_EMEMORY, "no memory to open %s", path);
    }
    g->file = H5I_INVALID_HID;

    mp_status status = MP_EINPUT;
    if (H5Fis_hdf5(path) <= 0) {
        mp_h5_fail(err, status, "not an HDF5 file (%zu bytes); expected a golden file", bytes);
        goto out;
    }
    access = mp_golden_access();
    if (access >= 0) g->file = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (g->file < 0) {
        mp_h5_fail(err, status, "truncated or corrupted HDF5 file of %zu bytes", bytes);
        goto out;
    }
    if ((status = read_root(g, err)) != MP_OK) goto out;
    status = read_entries(g, err);
out:
    if (access >= 0) H5Pclose(access);
    if (status == MP_OK) {
        *golden = g;
    } else {
        mp_error_prefix(err, "%s", path);
        mp_golden_close(g);
    }
    return status;
}

bool mp_golden_root(const mp_golden *golden, uint64_t *root) {
    *root = golden->root;
    return golden->has_root;
}

const char *mp_golden_path(const mp_golden *golden) {
    return golden->path;
}

const mp_provenance *mp_golden_provenance(const mp_golden *golden) {
    return &golden->who;
}

int mp_golden_fill_version(const mp_golden *golden) {
    return golden->fill_version;
}

size_t mp_golden_count(const mp_golden *golden) {
    return golden->count;
}

const mp_golden_entry *mp_golden_at(const mp_golden *golden, size_t index) {
    return index < golden->count ? &golden->entries[index] : NULL;
}

const mp_golden_entry *mp_golden_find(const mp_golden *golden, const char *name) {
    size_t from = 0, to = golden->by_name ? golden->count : 0;
    while (from < to) {
        const size_t middle = from + (to - from) / 2;
        const mp_golden_entry *entry = &golden->entries[golden->by_name[middle]];
        const int order = strcmp(name, entry->name);
        if (order == 0) return entry;
        if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return NULL;
}

bool mp_golden_same_contract(const mp_golden_entry *entry, const mp_contract *contract) {
    char text[MP_CONTRACT_TEXT_MAX];
    if (entry->has_contract_digest) return entry->contract_digest == mp_contract_digest(contract);
    mp_contract_text(contract, text, sizeof text);
    return strcmp(entry->contract, text) == 0;
}

hid_t mp_golden_open_case(mp_golden *golden, const char *name, mp_error *err) {
    if (!mp_golden_find(golden, name)) {
        mp_fail(err, MP_EINPUT, "%s: no case '%s' among its %zu", golden->path, name, golden->count);
        return H5I_INVALID_HID;
    }
    hid_t group = H5Gopen2(golden->file, name, H5P_DEFAULT);
    if (group < 0) mp_h5_fail(err, MP_EINPUT, "%s: cannot open the case '%s'", golden->path, name);
    return group;
}

mp_status mp_golden_open_inputs(hid_t group, hid_t *inputs, mp_error *err) {
    bool found;
    *inputs = H5I_INVALID_HID;
    const mp_status status = mp_h5_find(group, MP_INPUTS_GROUP, &found, err);
    if (status != MP_OK || !found) return status;
    *inputs = H5Gopen2(group, MP_INPUTS_GROUP, H5P_DEFAULT);
    return *inputs >= 0 ? MP_OK : mp_h5_fail(err, MP_EINPUT, "cannot open the group '" MP_INPUTS_GROUP "'");
}
