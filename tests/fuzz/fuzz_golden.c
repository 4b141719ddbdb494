/* SPDX-License-Identifier: Apache-2.0 */
/* Golden files: refused with a reason, or every part of it can be asked for. */
#include "fuzz/fuzz.h"

#include "golden/files.h"
#include "harness/goldens/diff.h"

/* HDF5 1.10 itself leaks when it refuses a damaged file; our own allocations stay under LeakSanitizer's eye.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libhdf5\n";
}

static void ignore(void *ctx, const char *line) {
    (void)ctx, (void)line;
}

static void ask_for_case(mp_golden *golden, const mp_golden_entry *entry) {
    const mp_contract contract = mp_contract_weakest();
    const mp_case *c = &entry->c;
    mp_trace trace = {0};
    mp_error err = {0};
    fuzz_require(mp_golden_find(golden, entry->name) == entry, "a case is found by its name", &err);
    mp_golden_same_contract(entry, &contract);
    if (c->M > 64 || c->topk > 8 || c->K > 1024 || c->N > 1024 || c->E > 64)
        return; /* a trace of a few megabytes */
    mp_status status = mp_trace_create(c, 16, MP_POISON_A, &trace, &err);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        mp_golden_difference difference;
        if (!trace.t[id].data) continue;
        status = mp_golden_compare(golden, entry->name, (mp_tensor_id)id, &trace.t[id], NULL, NULL,
                                   &difference, &err);
        fuzz_require_told(status, &err);
    }
    mp_trace_destroy(&trace);
}

/* A case beside itself, whatever its root says. */
static mp_status compare_in_full(void *ctx, const mp_case_diff *d, mp_error *err) {
    static mp_case_diff again;
    const mp_golden_side side = {ctx, d->a};
    return mp_goldens_diff_case(&side, &side, &again, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mp_golden *golden = NULL;
    mp_error err = {0};
    mp_diff_counts counts;
    const mp_status status = mp_golden_open(fuzz_file("golden.h5", data, size), &golden, &err);
    fuzz_require_told(status, &err);
    if (status != MP_OK) return 0;
    fuzz_require_told(mp_golden_list(golden, ignore, NULL, &err), &err);
    if (mp_golden_check(golden, &err) == MP_OK)
        fuzz_require_told(
            mp_goldens_diff(golden, golden, &(mp_align_rules){0}, compare_in_full, golden, &counts, &err),
            &err);
    for (size_t i = 0; i < mp_golden_count(golden); i++) ask_for_case(golden, mp_golden_at(golden, i));
    mp_golden_close(golden);
    return 0;
}
