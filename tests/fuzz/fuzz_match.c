/* SPDX-License-Identifier: Apache-2.0 */
/* Match expressions over a few cases: refused with a reason, or some of the cases are kept, in order. */
#include "fuzz/fuzz.h"

#include "cases/case_tools.h"
#include "moeparity/matrix.h"

static const char *const cases[] = {
    "M=1 topk=1",
    "M=32 topk=2 act=gelu dtype=fp16 rsf=2.5",
    "M=33 topk=4 K=96 N=72 filter=0.25 mode=no_combine",
    "M=64 topk=2 tile=64x64x32x8x4x3 layout=sorted",
    "M=128 scope=align E=64 routing=zipf seed=9223372036854775807",
};
enum { COUNT = sizeof cases / sizeof *cases };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *expression = fuzz_text(data, size);
    mp_matrix m = {0};
    mp_error err = {0};
    mp_case all[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fuzz_require(mp_matrix_add(&m, cases[i], NULL, 0, &err) == MP_OK, "the case is one", &err);
        all[i] = m.rows[i].c;
    }
    const mp_status status = mp_matrix_select(&m, MP_FULL, expression, &err);
    fuzz_require_told(status, &err);
    if (status == MP_OK) {
        size_t found = 0;
        for (int i = 0; i < COUNT && found < m.count; i++)
            found += mp_case_compare(&all[i], &m.rows[found].c) == 0;
        fuzz_require(found == m.count && found > 0, "what is left was there before", &err);
    }
    mp_matrix_free(&m);
    free(expression);
    return 0;
}
