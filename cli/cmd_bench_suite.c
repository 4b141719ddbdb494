/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity bench suite: a run, and where its time went. */
#include "cli/common.h"
#include "cli/judge.h"

#include "harness/floors.h"
#include "reports/phases.h"

#include <stdlib.h>

static mp_status floors_of(const mp_verdict *v, const mp_cpu_rates *rates, double seconds[MP_PHASE_COUNT],
                           mp_error *err) {
    mp_case c = mp_case_default();
    const mp_status status = mp_case_parse(&c, v->name, err);
    return status == MP_OK ? mp_phase_floors(&c, rates, seconds, err) : status;
}

static void tell(void *ctx, const mp_verdict *verdicts, size_t count, const mp_run_info *info) {
    mp_error err = {0};
    mp_cpu_rates rates;
    double(*floors)[MP_PHASE_COUNT] = calloc(count + 1, sizeof *floors);
    mp_status *status = ctx;
    (void)info;
    *status = floors ? mp_cpu_rates_measure(&rates, &err)
                     : mp_fail(&err, MP_EMEMORY, "no memory for the floors of %zu cases", count);
    for (size_t i = 0; i < count && *status == MP_OK; i++)
        *status = floors_of(&verdicts[i], &rates, floors[i], &err);
    if (*status == MP_OK) {
        putchar('\n');
        mp_report_phases(stdout, verdicts, count, floors);
        printf("floors: of this CPU, %.1f GB/s copied and %.1f GFLOP/s of dgemm\n", rates.copied_bytes * 1e-9,
               rates.dgemm * 1e-9);
    } else {
        mp_cli_fail(&err);
    }
    free(floors);
}

int mp_cmd_bench_suite(const mp_args *args) {
    mp_status told = MP_OK;
    const int code = mp_cli_run_cases(args, tell, &told);
    return code == MP_EXIT_OK && told != MP_OK ? MP_EXIT_BROKEN : code;
}
