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

/* ---- shared memory: what Triton 3.6 makes of the packages' kernels, byte for byte in 44 of 47 tiles of all
 * schemes on 8.0 and 9.0; the others have one stage or 32 numbers of K ---- */

/* The operands of a scheme as the loop keeps them in shared memory: bits of a number of x and w. Weights
 * that are no operands of the product are made such in the loop, of int4 before they are stored (w: 0).
 * Scales lie in registers. */
typedef struct operands {
    const char *dtype;
    int x, w;
    bool converted;
    bool swapped; /* on 9.0, where x has fewer than 64 rows and w has them */
} operands;

/* NULL for a dtype that is none. Names that nobody asks for are meant all the same. */
static const operands *operands_of(const char *dtype) {
    static const operands schemes[] = {{"", 16, 16, false, false},         {"fp8_w8a8", 8, 8, false, true},
                                       {"int8_w8a8", 8, 8, false, false},  {"int8_w8a16", 16, 8, true, false},
                                       {"int4_w4a16", 16, 0, true, false}, {"float32", 32, 32, false, false},
                                       {"bf16", 16, 16, false, false},     {"float16", 16, 16, false, false},
                                       {"float8", 8, 8, false, true}};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strcmp(schemes[i].dtype, dtype) == 0) return &schemes[i];
    return NULL;
}

/* Whether the tensor cores read x and w where they lie, as those of 9.0 and 10.x do for 64 rows of what
 * stands first in the product. */
static bool reads_shared(const mp_device_facts *device, const operands *o, const int64_t block[3],
                         int64_t warps) {
    const bool swapped = o->swapped && block[1] >= 64;
    if (device->arch == 90) return warps % 4 == 0 && (block[0] >= 64 || swapped);
    return device->arch > 90 && device->arch < 120 && warps % 4 == 0 && block[0] >= 64;
}

/* Copies of a step: num_stages of what is read in shared memory, for it is read while the next one arrives;
 * one less of what goes through registers. */
static int64_t shared_bytes(const operands *o, bool in_place, const int64_t block[3], int64_t stages) {
    const int64_t few = stages > 1 ? stages - 1 : 1, all = in_place && stages > 1 ? stages : few,
                  x = block[0] * block[2] * o->x / 8, w = block[2] * block[1] * o->w / 8,
                  converted = block[2] * block[1] * o->x / 8;
    if (!o->converted) return all * (x + w);
    return all * x + few * w + (in_place || o->w == 0 ? converted : 0);
}

static void audit_shared(mp_audit *audit, size_t file, const mp_table_row *row, const int64_t block[3]) {
    const mp_audit_file *f = &audit->file[file];
    const mp_device_facts device = mp_device_by_name(f->table.name.device);
    const operands *o = operands_of(f->table.name.dtype);
    if (!device.shared_bytes || !o) return;
    const int64_t stages = mp_table_number(row, "num_stages", 3),
                  warps = mp_table_number(row, "num_warps", 4);
    /* What vLLM clamps needs the clamped block's memory. */
    const bool clamps = f->readers == MP_READ_BY_VLLM && f->table.name.block_k;
    const int64_t clamp = smaller(f->table.name.block_n, f->table.name.block_k),
                  ran[] = {block[0], block[1], clamps ? smaller(block[2], clamp) : block[2]},
                  bytes = shared_bytes(o, reads_shared(&device, o, ran, warps), ran, stages);
    char what[32];
    snprintf(what, sizeof what, "%lld", (long long)bytes);
    if (bytes > device.shared_bytes)
        mp_audit_add(audit, MP_RULE_SHARED_MEMORY, file, row, "num_stages", what,
                     "%lldx%lldx%lld with %lld stages: about %lld KiB of shared memory, %s has %d KiB",
                     (long long)ran[0], (long long)ran[1], (long long)ran[2], (long long)stages,
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
