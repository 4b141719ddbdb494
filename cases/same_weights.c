/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/case_tools.h"
#include "cases/field.h"

/* What no whole tensor (mp_tensors, MP_ROWS_WHOLE) is filled by: neither its shape nor its numbers. */
static const char *const of_no_weight[] = {"M",   "routing", "filter",    "path",   "mode",
                                           "rsf", "tile",    "tile_down", "layout", "gemm"};

bool mp_case_same_weights(const mp_case *a, const mp_case *b) {
    /* data=unused spoils experts by the ids, data=file has no family */
    if (a->data == MP_UNUSED || a->data == MP_FROM_FILE) return false;
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        bool may = false;
        for (size_t k = 0; k < sizeof of_no_weight / sizeof *of_no_weight; k++)
            may = may || strcmp(mp_fields[i].name, of_no_weight[k]) == 0;
        if (!may && mp_field_compare(&mp_fields[i], a, b) != 0) return false;
    }
    return true;
}
