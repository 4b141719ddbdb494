/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of a file's name and folder: whether anybody finds it. */
#include "harness/tune/audit/audit.h"

#include "base/words.h"
#include "harness/tune/device.h"

#include <stdio.h>
#include <string.h>

/* The name that this loader would ask for instead; the numbers stand in it as they are asked for. */
static void asked_name(const mp_loader *loader, const mp_tuned_parts *parts, char name[MP_TUNED_NAME_SIZE]) {
    const mp_tuned_key key = mp_tuned_key_of(parts);
    mp_loader unpacked = *loader;
    unpacked.packed_int4 = 1;
    mp_tuned_name(&unpacked, &key, parts->down, name);
}

/* The loader of such a folder; of a file that was named alone, of such a name. */
static const mp_loader *loader_of(const mp_audit_file *f) {
    const bool flat = f->lies == MP_LIES_FLAT || f->lies == MP_LIES_BELOW_FLAT;
    return &mp_loaders[!flat && f->readers & MP_READ_BY_SGLANG ? MP_LOADER_SGLANG : MP_LOADER_VLLM];
}

#define NOBODY(what, ...) \
    mp_audit_add_at(audit, MP_RULE_NAME_NOBODY_ASKS, file, 1, 0, NULL, what, __VA_ARGS__)

static void audit_name(mp_audit *audit, size_t file) {
    const mp_audit_file *f = &audit->file[file];
    const mp_tuned_parts *name = &f->table.name;
    const mp_loader *loader = loader_of(f);
    char asked[MP_TUNED_NAME_SIZE], device[MP_DEVICE_NAME_MAX + 1];
    if (f->other_kernel) return;
    if (!f->table.named) {
        if (f->lies != MP_LIES_ANYWHERE)
            NOBODY("form", "expected E=...,N=...,device_name=...[,dtype=...][,block_shape=...].json");
        return;
    }
    if (name->other) {
        NOBODY("parts",
               "no loader has such parts in a name: expected E, N, device_name, dtype, block_shape%s",
               loader->per_channel ? ", per_channel_quant=True" : "");
        return;
    }
    if (!*name->device) {
        NOBODY("device", "the device name is empty: no driver reports such a device");
        return;
    }
    if (*name->dtype && !mp_word_listed(mp_tuned_dtypes, name->dtype)) {
        NOBODY("dtype", "dtype=%s: expected one of %s, or no dtype for bf16 and fp16", name->dtype,
               mp_tuned_dtypes);
        return;
    }
    if (name->E == 0 || name->N == 0) {
        NOBODY("size", "E=%lld,N=%lld: expected positive sizes", (long long)name->E, (long long)name->N);
        return;
    }
    if (name->block_n && name->block_k && (name->N % name->block_n || name->N % name->block_k)) {
        NOBODY("shard", "N=%lld is no shard: models whose blocks of %lld x %lld it cuts are refused",
               (long long)name->N, (long long)name->block_n, (long long)name->block_k);
        return;
    }
    if (!loader->down_files && name->down && f->lies != MP_LIES_ANYWHERE) {
        NOBODY("down", "%s looks for no _down file", loader->name);
        return;
    }
    mp_tuned_device(loader, name->device, device);
    asked_name(loader, name, asked);
    if (f->lies == MP_LIES_ANYWHERE && f->readers == (MP_READ_BY_SGLANG | MP_READ_BY_VLLM)) {
        char other[MP_TUNED_NAME_SIZE];
        asked_name(&mp_loaders[MP_LOADER_VLLM], name, other);
        if (strcmp(other, f->table.file) == 0) return;
    }
    if (strcmp(asked, f->table.file) != 0)
        NOBODY("spelling", "%s asks for %s", loader->name, asked);
    else if (mp_device_full_names(name->device))
        mp_audit_add_at(audit, MP_RULE_SHORT_DEVICE_NAME, file, 1, 0, NULL, "", "%s: drivers report %s",
                        name->device, mp_device_full_names(name->device));
}

void mp_audit_place(mp_audit *audit, size_t file) {
    const mp_audit_file *f = &audit->file[file];
    const char *const folder = f->folder;
    if (f->is_folder) {
        mp_audit_add_at(audit, MP_RULE_VERSION_FOLDER, file, 0, 0, NULL, "",
                        "%s: expected numbers as in triton_3_6_0; sglang's loader raises on it",
                        f->table.file);
        return;
    }
    switch (f->lies) {
    case MP_LIES_ABOVE_VERSIONS:
        mp_audit_add_at(audit, MP_RULE_FOLDER_NOT_READ, file, 1, 0, NULL, "",
                        "in %s, beside the folders triton_X_Y_Z, which alone are looked into", folder);
        break;
    case MP_LIES_TOO_DEEP:
        mp_audit_add_at(audit, MP_RULE_FOLDER_NOT_READ, file, 1, 0, NULL, "",
                        "in %s, below a folder triton_X_Y_Z: one level too deep", folder);
        break;
    case MP_LIES_BELOW_FLAT:
        mp_audit_add_at(audit, MP_RULE_FOLDER_NOT_READ, file, 1, 0, NULL, "",
                        "in %s, below the folder of the other files, which alone is looked into", folder);
        break;
    case MP_LIES_IN_ODD_FOLDER:
        mp_audit_add_at(audit, MP_RULE_FOLDER_NOT_READ, file, 1, 0, NULL, "",
                        "in %s, which is no version as triton_3_6_0 is", folder);
        break;
    case MP_LIES_ANYWHERE:
    case MP_LIES_IN_VERSION:
    case MP_LIES_FLAT: break;
    }
    audit_name(audit, file);
}
