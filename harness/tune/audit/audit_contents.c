/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of what stands in a file: keys, names, values. */
#include "harness/tune/audit/audit.h"

#include "base/words.h"
#include "harness/tune/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum value_kind { NUMBER, POWER_OF_TWO, SWITCH, WORD } value_kind;

/* What an entry may hold, and who takes it. Ranges are Triton's, not those of the kernels of this tree. */
typedef struct entry_name {
    const char *name;
    value_kind kind;
    int least, most;
    bool needed;      /* no default */
    unsigned loaders; /* whose kernel has it */
    unsigned vendors; /* whose compiler has it */
} entry_name;

enum { ALL_LOADERS = MP_READ_BY_SGLANG | MP_READ_BY_VLLM, ALL_VENDORS = 15, LARGEST = 1024, MANY = 1 << 30 };
#define VENDOR(v) (1u << (v) | 1u << MP_VENDOR_UNKNOWN)
static const entry_name names[] = {
    {"BLOCK_SIZE_M", POWER_OF_TWO, 1, LARGEST, true, ALL_LOADERS, ALL_VENDORS},
    {"BLOCK_SIZE_N", POWER_OF_TWO, 1, LARGEST, true, ALL_LOADERS, ALL_VENDORS},
    {"BLOCK_SIZE_K", POWER_OF_TWO, 16, LARGEST, true, ALL_LOADERS, ALL_VENDORS},
    {"GROUP_SIZE_M", NUMBER, 1, MANY, true, ALL_LOADERS, ALL_VENDORS},
    {"num_warps", POWER_OF_TWO, 1, 32, false, ALL_LOADERS, ALL_VENDORS},
    {"num_stages", NUMBER, 0, 16, false, ALL_LOADERS, ALL_VENDORS},
    {"num_ctas", POWER_OF_TWO, 1, 16, false, ALL_LOADERS, ALL_VENDORS},
    {"maxnreg", NUMBER, 1, 255, false, ALL_LOADERS, VENDOR(MP_NVIDIA)},
    {"waves_per_eu", NUMBER, 0, 16, false, ALL_LOADERS, VENDOR(MP_AMD)},
    {"matrix_instr_nonkdim", NUMBER, 0, 64, false, ALL_LOADERS, VENDOR(MP_AMD)},
    {"kpack", NUMBER, 1, 2, false, ALL_LOADERS, VENDOR(MP_AMD)},
    {"grf_mode", WORD, 0, 0, false, ALL_LOADERS, VENDOR(MP_INTEL)},
    {"USE_TMA", SWITCH, 0, 0, false, MP_READ_BY_SGLANG, ALL_VENDORS},
    {"SPLIT_K", NUMBER, 1, MANY, false, MP_READ_BY_VLLM, ALL_VENDORS},
};
enum { NAMES = sizeof names / sizeof *names };

/* A value as the file has it, cut to a readable length. */
static void value_text(const json_t *value, char text[64]) {
    char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    const bool fits = dump && strlen(dump) < 48;
    snprintf(text, 64, "%.*s%s", fits ? 63 : 44, dump ? dump : "?", fits ? "" : "...");
    free(dump);
}

static bool allows(const entry_name *n, const json_t *value) {
    const json_int_t number = json_integer_value(value);
    switch (n->kind) {
    case SWITCH: return json_is_boolean(value);
    case WORD: return json_is_string(value) || json_is_integer(value);
    case POWER_OF_TWO:
        if (number < 1 || (number & (number - 1)) != 0) return false; /* fallthrough */
    case NUMBER: break;
    }
    return json_is_integer(value) && number >= n->least && number <= n->most;
}

static void expectation(const entry_name *n, char text[64]) {
    switch (n->kind) {
    case SWITCH: snprintf(text, 64, "true or false"); break;
    case WORD: snprintf(text, 64, "a word"); break;
    case POWER_OF_TWO: snprintf(text, 64, "a power of two from %d to %d", n->least, n->most); break;
    case NUMBER:
        if (n->most == MANY)
            snprintf(text, 64, "an integer from %d on", n->least);
        else
            snprintf(text, 64, "an integer from %d to %d", n->least, n->most);
        break;
    }
}

/* vLLM's kernel for weights of 4 or 8 bits fills in the blocks of N and K that an entry lacks. */
static bool may_lack(const mp_audit_file *f, const char *name) {
    const bool packed =
        strcmp(f->table.name.dtype, "int4_w4a16") == 0 || strcmp(f->table.name.dtype, "int8_w8a16") == 0;
    return packed && f->readers == MP_READ_BY_VLLM &&
           (strcmp(name, "BLOCK_SIZE_N") == 0 || strcmp(name, "BLOCK_SIZE_K") == 0);
}

static void audit_value(mp_audit *audit, size_t file, const mp_table_row *row, const entry_name *n) {
    const json_t *value = json_object_get(row->entry, n->name);
    char text[64], expected[64];
    expectation(n, expected);
    if (!value && n->needed && !may_lack(&audit->file[file], n->name)) {
        mp_audit_add(audit, MP_RULE_VALUE_MISSING, file, row, n->name, "", "%s is missing: expected %s",
                     n->name, expected);
    } else if (value && !allows(n, value)) {
        value_text(value, text);
        mp_audit_add(audit, MP_RULE_VALUE_OUT_OF_RANGE, file, row, n->name, text, "%s=%s: expected %s",
                     n->name, text, expected);
    }
}

static void audit_name(mp_audit *audit, size_t file, const mp_table_row *row, const char *name) {
    const mp_audit_file *f = &audit->file[file];
    const mp_device_facts device = mp_device_by_name(f->table.name.device);
    const char *known[NAMES];
    size_t i = 0;
    while (i < NAMES && strcmp(names[i].name, name) != 0) i++;
    if (i == NAMES) {
        for (size_t k = 0; k < NAMES; k++) known[k] = names[k].name;
        const char *nearest = mp_nearest_word(name, known, NAMES, 8);
        mp_audit_add(audit, MP_RULE_UNKNOWN_ENTRY_KEY, file, row, name, "",
                     "unknown '%.60s'%s%s%s: the kernel does not take it", name,
                     nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    } else if (!(names[i].loaders & f->readers)) {
        mp_audit_add(audit, MP_RULE_UNKNOWN_ENTRY_KEY, file, row, name, "",
                     "%s: the kernel of %s does not take it", name,
                     mp_loaders[f->readers & MP_READ_BY_SGLANG ? MP_LOADER_SGLANG : MP_LOADER_VLLM].name);
    } else if (!(names[i].vendors & 1u << device.vendor)) {
        mp_audit_add(audit, MP_RULE_UNKNOWN_ENTRY_KEY, file, row, name, "",
                     "%s: the compiler for %s devices does not take it, and %s is one", name,
                     mp_vendor_name(device.vendor), f->table.name.device);
    }
}

static void audit_entry(mp_audit *audit, size_t file, const mp_table_row *row) {
    const mp_table *t = &audit->file[file].table;
    if (!json_is_object(row->entry)) {
        char text[64];
        value_text(row->entry, text);
        mp_audit_add(audit, MP_RULE_ENTRY_NOT_OBJECT, file, row, NULL, text,
                     "%s: expected an object with BLOCK_SIZE_M and the like", text);
        return;
    }
    if (audit->file[file].other_kernel) return; /* whose names are not known here */
    for (size_t i = 0; i < NAMES; i++) audit_value(audit, file, row, &names[i]);
    for (size_t i = 0; i < row->words; i++) audit_name(audit, file, row, t->word[row->word + i].name);
    const bool warps = json_object_get(row->entry, "num_warps"),
               stages = json_object_get(row->entry, "num_stages");
    if (!warps || !stages)
        mp_audit_add(audit, MP_RULE_DEFAULTS_LEFT, file, row, NULL, "", "no %s: the compiler's %s",
                     warps    ? "num_stages"
                     : stages ? "num_warps"
                              : "num_warps and num_stages",
                     warps    ? "3"
                     : stages ? "4"
                              : "4 and 3");
}

static void audit_key(mp_audit *audit, size_t file, const mp_table_row *row) {
    if (!row->is_number || row->M < 1 || row->M == INT64_MAX)
        mp_audit_add(audit, MP_RULE_KEY_NOT_POSITIVE, file, row, NULL, "",
                     "key \"%.60s\": expected a positive number of tokens", row->key);
    else if (!row->is_plain)
        mp_audit_add(audit, MP_RULE_KEY_SPELLING, file, row, NULL, "", "key \"%.60s\" is read as %lld",
                     row->key, (long long)row->M);
}

/* Keys that are spelt differently and are one number. */
static int by_number(const void *a, const void *b) {
    const mp_table_row *x = *(const mp_table_row *const *)a, *y = *(const mp_table_row *const *)b;
    return x->M != y->M         ? (x->M < y->M ? -1 : 1)
           : x->line != y->line ? x->line - y->line
                                : x->column - y->column;
}

static void audit_equal_keys(mp_audit *audit, size_t file) {
    const mp_table *t = &audit->file[file].table;
    const mp_table_row **rows = calloc(t->count + 1, sizeof *rows);
    size_t n = 0;
    if (!rows) {
        audit->lost = true;
        return;
    }
    for (size_t i = 0; i < t->count; i++)
        if (t->row[i].is_number) rows[n++] = &t->row[i];
    qsort(rows, n, sizeof *rows, by_number);
    for (size_t i = 1; i < n; i++)
        if (rows[i]->M == rows[i - 1]->M && rows[i]->M != INT64_MAX)
            mp_audit_add(audit, MP_RULE_DUPLICATE_KEY, file, rows[i], NULL, "",
                         "key \"%.60s\" is the same number as \"%.60s\" in line %d", rows[i]->key,
                         rows[i - 1]->key, rows[i - 1]->line);
    free(rows);
}

void mp_audit_contents(mp_audit *audit, size_t file) {
    const mp_audit_file *f = &audit->file[file];
    const mp_table *t = &f->table;
    if (t->broken) {
        mp_audit_add_at(audit, MP_RULE_CORRUPT_JSON, file, t->broken_line, 0, NULL, "", "%s", t->broken);
        return;
    }
    if (t->count == 0)
        mp_audit_add_at(audit, MP_RULE_NO_KEYS, file, 1, 0, NULL, "",
                        "no keys: expected at least one token count");
    if (t->triton_version && f->readers & MP_READ_BY_SGLANG && f->readers != ALL_LOADERS)
        mp_audit_add_at(
            audit, MP_RULE_TRITON_VERSION_KEY, file, t->triton_line, 0, "triton_version", "",
            "key \"triton_version\": sglang's loader takes it for a number of tokens, and raises");
    for (size_t i = 0; i < t->twice_count; i++) {
        const mp_table_double *d = &t->twice[i];
        if (d->name)
            mp_audit_add_at(audit, MP_RULE_DUPLICATE_KEY, file, d->line, d->column, d->key, d->name,
                            "%.60s of key \"%.60s\" stands in line %d already; the last one counts", d->name,
                            d->key, d->first_line);
        else
            mp_audit_add_at(audit, MP_RULE_DUPLICATE_KEY, file, d->line, d->column, d->key, "",
                            "key \"%.60s\" stands in line %d already; the last one counts", d->key,
                            d->first_line);
    }
    for (size_t i = 0; i < t->count; i++) {
        audit_key(audit, file, &t->row[i]);
        audit_entry(audit, file, &t->row[i]);
    }
    audit_equal_keys(audit, file);
}
