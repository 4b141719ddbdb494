/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/special_unit_tables.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

static struct {
    pthread_once_t once;
    mp_special_unit unit;
    mp_status status;
    const char *why;
} sm90 = {.once = PTHREAD_ONCE_INIT};

static bool unpack(const unsigned char *packed, size_t packed_bytes, int8_t *ulps) {
    uLongf unpacked_bytes = MP_SPECIAL_UNIT_ENTRIES;
    return uncompress((Bytef *)ulps, &unpacked_bytes, packed, (uLong)packed_bytes) == Z_OK &&
           unpacked_bytes == MP_SPECIAL_UNIT_ENTRIES;
}

static void load(void) {
    int8_t *ulps = malloc(2 * (size_t)MP_SPECIAL_UNIT_ENTRIES);
    uint32_t *tables = malloc(2 * (size_t)MP_SPECIAL_UNIT_ENTRIES * sizeof *tables);
    if (!ulps || !tables) {
        sm90.status = MP_EMEMORY;
        sm90.why = "no memory for 64 MiB of tables";
        goto out;
    }
    if (!unpack(mp_sm_90_ex2_z, mp_sm_90_ex2_z_bytes, ulps) ||
        !unpack(mp_sm_90_rcp_z, mp_sm_90_rcp_z_bytes, ulps + MP_SPECIAL_UNIT_ENTRIES)) {
        sm90.status = MP_EINTERNAL;
        sm90.why = "the tables in this program are damaged";
        goto out;
    }
    mp_special_unit_expand(ulps, ulps + MP_SPECIAL_UNIT_ENTRIES, tables, tables + MP_SPECIAL_UNIT_ENTRIES);
    sm90.unit = (mp_special_unit){.ex2 = tables, .rcp = tables + MP_SPECIAL_UNIT_ENTRIES};
    tables = NULL;
out:
    free(ulps);
    free(tables);
}

mp_status mp_special_unit_sm90(const mp_special_unit **unit, mp_error *err) {
    pthread_once(&sm90.once, load);
    if (sm90.status != MP_OK)
        return mp_fail(err, sm90.status, "the special-function unit of sm_90: %s", sm90.why);
    *unit = &sm90.unit;
    return MP_OK;
}

mp_status mp_special_unit_pack(const int8_t *ulps, void **packed, size_t *packed_bytes, mp_error *err) {
    uLongf bytes = compressBound(MP_SPECIAL_UNIT_ENTRIES);
    *packed = malloc(bytes);
    if (!*packed || compress2(*packed, &bytes, (const Bytef *)ulps, MP_SPECIAL_UNIT_ENTRIES,
                              Z_BEST_COMPRESSION) != Z_OK) {
        free(*packed);
        *packed = NULL;
        return mp_fail(err, MP_EMEMORY, "no memory to compress a table of %d ulps", MP_SPECIAL_UNIT_ENTRIES);
    }
    *packed_bytes = bytes;
    return MP_OK;
}
