/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of single tiles: blocks against the groups of the quantisation and the matrices, shared memory. */
#include "harness/tune/audit/audit.h"

#include "base/text.h"
#include "harness/tune/device.h"

#include <stdio.h>
#include <string.h>

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The kernels for weights alone look a scale up for each number of K; only those that quantise both operands
 * take one for a whole step. */
static bool one_scale_a_step(const mp_tuned_parts *name) {
    return strcmp(name->dtype, "int4_w4a16") != 0 && strcmp(name->dtype, "int8_w8a16") != 0;
}

static void audit_group(mp_audit *audit, size_t file, const mp_table_row *row, int64_t block_k) {
    const mp_audit_file *f = &audit->file[file];
    const mp_tuned_parts *name = &f->table.name;
    const int64_t group = name->block_k, clamp = smaller(name->block_n, name->block_k);
    const long long k = block_k, g = group;
    char what[32];
    snprintf(what, sizeof what, "%lld", k);
    if (!name->block_n || !group || !one_scale_a_step(name)) return;
    if (f->readers & MP_READ_BY_SGLANG && block_k > group)
        mp_audit_add(audit, MP_RULE_K_BLOCK_OVER_GROUP, file, row, "BLOCK_SIZE_K", what,
                     "BLOCK_SIZE_K=%lld over a group of %lld: one scale serves %lld groups, wrong numbers", k,
                     g, (k + g - 1) / g);
    else if (f->readers & MP_READ_BY_SGLANG && group % block_k != 0)
        mp_audit_add(
            audit, MP_RULE_K_BLOCK_STRADDLES_GROUP, file, row, "BLOCK_SIZE_K", what,
            "BLOCK_SIZE_K=%lld: a group of %lld is no multiple of it, a step reaches into the next group", k,
            g);
    else if (!(f->readers & MP_READ_BY_SGLANG) && block_k > clamp)
        mp_audit_add(audit, MP_RULE_K_BLOCK_CLAMPED, file, row, "BLOCK_SIZE_K", what,
                     "BLOCK_SIZE_K=%lld over block_shape [%lld, %lld]: %lld runs", k,
                     (long long)name->block_n, g, (long long)clamp);
    else if (!(f->readers & MP_READ_BY_SGLANG) && group % smaller(block_k, clamp) != 0)
        mp_audit_add(
            audit, MP_RULE_K_BLOCK_STRADDLES_GROUP, file, row, "BLOCK_SIZE_K", what,
            "BLOCK_SIZE_K=%lld: a group of %lld is no multiple of it, a step reaches into the next group", k,
            g);
}

/* ---- shared memory ---- */

/* Bits of a number of x and of w as they lie in shared memory; false for a dtype that is none. Names that
 * nobody asks for are meant all the same. */
static bool operand_bits(const char *dtype, int *x, int *w) {
    static const struct {
        const char *dtype;
        int x, w;
    } schemes[] = {{"", 16, 16},          {"fp8_w8a8", 8, 8},    {"int8_w8a8", 8, 8},
                   {"int8_w8a16", 16, 8}, {"int4_w4a16", 16, 4}, {"float32", 32, 32},
                   {"bf16", 16, 16},      {"float16", 16, 16},   {"float8", 8, 8}};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strcmp(schemes[i].dtype, dtype) == 0) {
            *x = schemes[i].x;
            *w = schemes[i].w;
            return true;
        }
    return false;
}

static void audit_shared(mp_audit *audit, size_t file, const mp_table_row *row, const int64_t block[3]) {
    const mp_audit_file *f = &audit->file[file];
    const mp_device_facts device = mp_device_by_name(f->table.name.device);
    int x, w;
    if (!device.shared_bytes || !operand_bits(f->table.name.dtype, &x, &w)) return;
    const int64_t stages = mp_table_number(row, "num_stages", 3), copies = stages > 1 ? stages - 1 : 1;
    /* What vLLM clamps needs the clamped block's memory. */
    const bool clamps = f->readers == MP_READ_BY_VLLM && f->table.name.block_k;
    const int64_t clamp = smaller(f->table.name.block_n, f->table.name.block_k),
                  k = clamps ? smaller(block[2], clamp) : block[2],
                  bytes = copies * (block[0] * k * x + k * block[1] * w) / 8;
    char what[32];
    snprintf(what, sizeof what, "%lld", (long long)bytes);
    if (bytes > device.shared_bytes)
        mp_audit_add(audit, MP_RULE_SHARED_MEMORY, file, row, "num_stages", what,
                     "%lldx%lldx%lld with %lld stages: about %lld KiB of shared memory, %s has %d KiB",
                     (long long)block[0], (long long)block[1], (long long)k, (long long)stages,
                     (long long)(bytes + 1023) / 1024, device.begin, device.shared_bytes / 1024);
}

/* ---- the file ---- */

/* Keys of the same overhang in one finding: it is told for hundreds of them. */
typedef struct overhang {
    mp_text columns, k;
    const mp_table_row *first_columns, *first_k;
} overhang;

static void note_overhang(bool down, int64_t N, const mp_table_row *row, int64_t block_n, int64_t block_k,
                          overhang *o) {
    if (!down && 2 * N % block_n != 0) {
        mp_text_add(&o->columns, "%s%s", o->first_columns ? ", " : "", row->key);
        if (!o->first_columns) o->first_columns = row;
    }
    if (N % block_k != 0) {
        mp_text_add(&o->k, "%s%s", o->first_k ? ", " : "", row->key);
        if (!o->first_k) o->first_k = row;
    }
}

void mp_audit_tiles(mp_audit *audit, size_t file) {
    static const char *const blocks[] = {"BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K"};
    const mp_table *t = &audit->file[file].table;
    overhang o = {0};
    if (t->broken || !t->named) return;
    /* The name has what the loader found: of packed weights the half. */
    const bool packed =
        audit->file[file].readers == MP_READ_BY_SGLANG && strcmp(t->name.dtype, "int4_w4a16") == 0;
    const int64_t N = t->name.N * (packed ? mp_loaders[MP_LOADER_SGLANG].packed_int4 : 1);
    if (N > INT64_MAX / 4) return;
    for (size_t i = 0; i < t->count; i++) {
        const mp_table_row *row = &t->row[i];
        int64_t block[3];
        bool sane = true;
        for (int k = 0; k < 3; k++) {
            block[k] = mp_table_number(row, blocks[k], 0);
            sane = sane && block[k] > 0 && block[k] <= 4096;
        }
        const int64_t stages = mp_table_number(row, "num_stages", 3);
        if (!sane || stages < 0 || stages > 64) continue; /* that is told already */
        audit_group(audit, file, row, block[2]);
        audit_shared(audit, file, row, block);
        note_overhang(t->name.down, N, row, block[1], block[2], &o);
    }
    if (o.first_columns)
        mp_audit_add(audit, MP_RULE_BLOCK_OVERHANG, file, o.first_columns, "BLOCK_SIZE_N", "columns",
                     "2 N = %lld columns of gate_up are no multiple of BLOCK_SIZE_N at keys %s",
                     (long long)(2 * N), mp_text_get(&o.columns));
    if (o.first_k)
        mp_audit_add(audit, MP_RULE_BLOCK_OVERHANG, file, o.first_k, "BLOCK_SIZE_K", "k",
                     "N = %lld, which is K of down, is no multiple of BLOCK_SIZE_K at keys %s", (long long)N,
                     mp_text_get(&o.k));
    mp_text_free(&o.columns);
    mp_text_free(&o.k);
}
