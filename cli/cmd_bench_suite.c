/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity bench suite: a run, and where its time went. */
#include "cli/common.h"
#include "cli/judge.h"

#include "harness/floors.h"
#include "kernels/cuda.h"
#include "reports/phases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct machine {
    mp_floor_rates rates;
    char gpu[256]; /* its name, where the run used it, else "" */
} machine;

/* Whether the GPU is in what a run says of where it was. */
static bool was_on_gpu(const machine *m, const char *said) {
    return m->gpu[0] && strstr(said, m->gpu);
}

/* Rates of the CPU, and of the GPU where the run was on it. */
static mp_status measure(const mp_run_info *info, machine *m, mp_error *err) {
    mp_cuda *cuda = NULL;
    mp_status status = mp_cpu_rates_measure(&m->rates.cpu, err);
    if (status == MP_OK && mp_cuda_open(&cuda, NULL) == MP_OK) {
        snprintf(m->gpu, sizeof m->gpu, "%s", mp_cuda_device_name(cuda));
        m->rates.subject_there = was_on_gpu(m, info->device);
        if (m->rates.subject_there || was_on_gpu(m, info->blas))
            status = mp_cuda_rates_measure(cuda, &m->rates.device, err);
        else
            m->gpu[0] = '\0';
    }
    mp_cuda_close(cuda);
    return status;
}

static mp_status floors_of(const mp_verdict *v, const machine *m, double seconds[MP_PHASE_COUNT],
                           mp_error *err) {
    mp_floor_rates rates = m->rates;
    mp_case c = mp_case_default();
    rates.judge_there = was_on_gpu(m, v->blas);
    const mp_status status = mp_case_parse(&c, v->name, err);
    return status == MP_OK ? mp_phase_floors(&c, &rates, seconds, err) : status;
}

static void put_rates(const machine *m) {
    const mp_cuda_rates *d = &m->rates.device;
    printf("floors, by what was measured: this CPU copies %.1f GB/s, dgemm %.1f GFLOP/s\n",
           m->rates.cpu.copied_bytes * 1e-9, m->rates.cpu.dgemm * 1e-9);
    if (!m->gpu[0]) return;
    printf("%s: copies %.0f GB/s, read and written; %.1f GB/s to it, %.1f from it; TFLOP/s of float32 %.1f, "
           "float64 %.1f, products of",
           m->gpu, d->copied_bytes * 1e-9, d->up_bytes * 1e-9, d->down_bytes * 1e-9, d->float32 * 1e-12,
           d->float64 * 1e-12);
    const char *before = " ";
    for (int i = 0; i < MP_DTYPE_COUNT; i++) {
        if (!(d->products[i] > 0)) continue;
        printf("%s%s %.0f", before, mp_dtype_name((mp_dtype)i), d->products[i] * 1e-12);
        before = ", ";
    }
    putchar('\n');
}

static void tell(void *ctx, const mp_verdict *verdicts, size_t count, const mp_run_info *info) {
    mp_error err = {0};
    machine m = {0};
    double(*floors)[MP_PHASE_COUNT] = calloc(count + 1, sizeof *floors);
    mp_status *status = ctx;
    *status = floors ? measure(info, &m, &err)
                     : mp_fail(&err, MP_EMEMORY, "no memory for the floors of %zu cases", count);
    for (size_t i = 0; i < count && *status == MP_OK; i++)
        *status = floors_of(&verdicts[i], &m, floors[i], &err);
    if (*status == MP_OK) {
        putchar('\n');
        mp_report_phases(stdout, verdicts, count, floors);
        put_rates(&m);
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
