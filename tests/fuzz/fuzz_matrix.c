/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix files: refused with a reason, or a list of valid, distinct cases. */
#include "fuzz/fuzz.h"

#include "moeparity/matrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mp_matrix m = {0};
    mp_error err = {0};
    const mp_status status = mp_matrix_load(&m, fuzz_file("matrix.yaml", data, size), &err);
    fuzz_require_told(status, &err);
    fuzz_require(status != MP_OK || m.count > 0, "a matrix that loads has cases", &err);
    for (size_t i = 0; i < m.count; i++) {
        const mp_matrix_row *row = &m.rows[i];
        fuzz_require(mp_case_validate(&row->c, &err) == MP_OK, "its cases are valid", &err);
        for (size_t p = 0; p < row->pair_count; p++)
            fuzz_require(mp_case_validate_pair(&row->c, &row->pairs[p], &err) == MP_OK, "so are its pairs",
                         &err);
    }
    mp_matrix_free(&m);
    return 0;
}
