/* SPDX-License-Identifier: Apache-2.0 */
/* Where the rows of a stored case lie, as far as the file tells. */
#ifndef MP_HARNESS_GOLDENS_ROWS_H
#define MP_HARNESS_GOLDENS_ROWS_H

#include "cases/graph_tables.h"
#include "golden/files.h"
#include "moeparity/config.h"

typedef struct mp_row_map {
    mp_case c;
    /* sorted_token_ids and expert_ids where they are stored in full, topk_ids as they are stored or as the
     * case's family makes them; of others no data. */
    mp_tensor t[MP_TENSOR_COUNT];
    mp_config config; /* the tiles of both GEMMs, where the text of the golden names them */
    bool has_config, has_inputs;
    bool rows_known; /* of the caches */
    int64_t slots, cache_rows;
    int64_t *row_of_slot, *slot_of_row; /* [slots], [cache_rows]; -1: none */
} mp_row_map;

/* Free it with mp_row_map_free, after an error too. */
mp_status mp_row_map_read(const mp_golden_side *side, mp_row_map *layout, mp_error *err);
void mp_row_map_free(mp_row_map *layout);

/* Where the rows of the tensor lie depends on BLOCK_SIZE_M and on the order in which align sorts. */
bool mp_lies_by_alignment(const mp_case *c, mp_tensor_id id);

#endif
