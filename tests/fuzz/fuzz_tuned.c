/* SPDX-License-Identifier: Apache-2.0 */
/* Tuned configurations: refused with a reason, or tiles that the kernels take; and read as they stand, which
 * refuses nothing. */
#include "fuzz/fuzz.h"

#include "harness/tune/table.h"
#include "moeparity/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const mp_config_query query = {.file = fuzz_file("tuned.json", data, size)};
    const mp_case c = mp_case_default();
    mp_config config;
    mp_error err = {0};
    const mp_status status = mp_config_resolve(&c, &query, &config, &err);
    fuzz_require_told(status, &err);
    if (status == MP_OK) {
        fuzz_require(mp_tile_validate(&config.up, &err) == MP_OK, "up is a tile", &err);
        fuzz_require(mp_tile_validate(&config.down, &err) == MP_OK, "down is a tile", &err);
        fuzz_require(config.tile_named && strstr(config.source, query.file), "the tile is that of the file",
                     &err);
    }
    mp_table table;
    fuzz_require(mp_table_load(query.file, &table, &err) == MP_OK, "what is wrong is told in the table",
                 &err);
    if (status == MP_OK)
        fuzz_require(!table.broken && table.count == table.step_count && table.twice_count == 0,
                     "what is right is right in the table", &err);
    size_t sides;
    free(mp_table_sides(&table, &sides));
    mp_table_free(&table);
    return 0;
}
