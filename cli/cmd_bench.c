/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity bench reference | predict | kernels. */
#include "cli/bench_against.h"
#include "cli/common.h"
#include "cli/progress.h"

#include "kernels/bench.h"
#include "ref/bench.h"
#include "ref/blas.h"
#include "ref/predict/predict.h"

#include <stdio.h>

static mp_status_line timing; /* says what is being timed, until there are figures */

/* The program's largest resident size so far. */
static double peak_gib(void) {
    char line[128];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %llu kB", &kib) == 1) break;
    if (file) fclose(file);
    return (double)kib / 0x1p20;
}

static void print_reference(const char *what, double gflops, double seconds, const mp_ref_bench_result *r) {
    printf("%-22s %8.1f GFLOP/s  %5.1f %% of the ceiling, %.1f %% of these shapes  %.2f s\n", what, gflops,
           100 * gflops / r->dgemm_gflops, 100 * gflops / r->own_gflops, seconds);
}

static mp_status bench_reference(const mp_matrix *cases, const mp_args *args, mp_error *err) {
    const mp_case *c = &cases->rows[0].c;
    mp_ref_bench_result r;
    (void)args;
    const mp_status status = mp_ref_bench(c, &r, err);
    mp_status_line_clear(&timing);
    if (status != MP_OK) return status;
    printf("%s, %d threads\n", mp_blas_name(), r.threads);
    printf("dgemm ceiling          %8.1f GFLOP/s\n", r.dgemm_gflops);
    printf("dgemm of these shapes  %8.1f GFLOP/s  %5.1f %% of the ceiling\n", r.own_gflops,
           100 * r.own_gflops / r.dgemm_gflops);
    print_reference("values", r.blas_gflops, r.blas_seconds, &r);
    print_reference("values and magnitudes", r.blas_mass_gflops, r.blas_mass_seconds, &r);
    printf("plain loops            %8.1f GFLOP/s  OpenBLAS is %.1f times as fast (%lld tokens)\n",
           r.plain_gflops, r.blas_mass_gflops / r.plain_gflops, (long long)r.plain_tokens);
    printf("peak memory            %8.2f GiB\n", peak_gib());
    return MP_OK;
}

/* Multiply-adds of the tensor-core model beside dgemm's on the same cores, then what each stage of a whole
 * prediction takes. */
static mp_status bench_predict(const mp_matrix *cases, const mp_args *args, mp_error *err) {
    const mp_case *c = &cases->rows[0].c;
    mp_predict_bench_result r;
    mp_config config;
    mp_inputs in = {0};
    mp_trace trace = {0};
    (void)args;
    mp_status status = mp_predict_bench(c, &r, err);
    mp_status_line_clear(&timing);
    if (status != MP_OK) return status;
    const double first = r.row[0].all_threads; /* bf16 or fp16, by the fastest kernel */
    printf("%-10s %-10s %14s %14s   (1e9 multiply-adds a second)\n", "sum", "kernel", "one thread",
           "all threads");
    for (int i = 0; i < r.rows; i++) {
        printf("%-10s %-10s %14.2f %14.2f   %.2f of linear, %.2f of dgemm, %.2f of the first", r.row[i].sum,
               r.row[i].kernel, r.row[i].one_thread * 1e-9, r.row[i].all_threads * 1e-9,
               r.row[i].all_threads / (r.row[i].one_thread * r.threads),
               r.row[i].all_threads / r.dgemm_all_threads, r.row[i].all_threads / first);
        if (r.row[i].open >= 0) printf(", %.1f %% by steps", 100 * r.row[i].open);
        printf("\n");
    }
    printf("%-10s %-10s %14.2f %14.2f   %s, %d threads\n", "dgemm", "", r.dgemm_one_thread * 1e-9,
           r.dgemm_all_threads * 1e-9, mp_blas_name(), r.threads);
    mp_status_line_show(&timing, "a whole prediction");
    status = mp_config_resolve(c, NULL, &config, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_host_run(c, &in, config.up.block_size_m, MP_POISON_A, &trace, err);
    mp_status_line_clear(&timing);
    for (int s = 0; s < MP_STAGE_COUNT && status == MP_OK; s++)
        if (mp_case_has_stage(c, (mp_stage)s))
            printf("%-10s %11.3f s\n", mp_stage_name((mp_stage)s), trace.stage_ns[s] * 1e-9);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

static void show_kernels(const mp_cuda *cuda, const mp_cuda_bench_result *r) {
    printf("%s, %s\nconfig %s\n", mp_cuda_device_name(cuda), mp_cuda_versions(cuda), r->config);
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (r->stage_ms[s] > 0) printf("%-14s %9.4f ms\n", mp_stage_name((mp_stage)s), r->stage_ms[s]);
    printf("both GEMMs  %8.1f TFLOP/s\n", r->gemm_tflops);
    printf("copy        %8.1f GB/s\n", r->copy_gbs);
    printf("activation  %8.1f GB/s  %5.1f %% of the copy\n", r->act_gbs, 100 * r->act_gbs / r->copy_gbs);
    for (int i = 0; i < 2; i++)
        if (r->quant_gbs[i] > 0)
            printf("%-11s %8.1f GB/s  %5.1f %% of the copy\n", mp_stage_name(i ? MP_QUANT_ACT : MP_QUANT_X),
                   r->quant_gbs[i], 100 * r->quant_gbs[i] / r->copy_gbs);
    if (r->combine_gbs > 0)
        printf("combine     %8.1f GB/s  %5.1f %% of the copy\n", r->combine_gbs,
               100 * r->combine_gbs / r->copy_gbs);
}

static mp_status bench_kernels(const mp_matrix *cases, const mp_args *args, mp_error *err) {
    mp_cuda *cuda = NULL;
    mp_status status = mp_cuda_open(&cuda, err);
    const int repeat = (int)mp_args_number(args, MP_OPT_BENCH_REPEAT);
    mp_config_query query = mp_cli_query(args);
    if (!query.device) query.device = status == MP_OK ? mp_cuda_device_name(cuda) : "";
    for (size_t i = 0; i < cases->count && status == MP_OK; i++) {
        const mp_case *c = &cases->rows[i].c;
        mp_cuda_bench_result r;
        mp_config config;
        char text[MP_CASE_TEXT_MAX];
        mp_case_text(c, text, sizeof text);
        mp_status_line_show(&timing, "%s: %s", mp_commands[args->command].name, text);
        status = mp_config_resolve(c, &query, &config, err);
        if (status == MP_OK) status = mp_cuda_bench(cuda, c, &config, repeat, (size_t)1 << 30, &r, err);
        mp_status_line_clear(&timing);
        if (status != MP_OK) break;
        if (cases->count > 1) printf("%s%s\n", i ? "\n" : "", text);
        show_kernels(cuda, &r);
    }
    mp_cuda_close(cuda);
    return status;
}

static mp_status parse(const mp_args *args, const char *text, mp_matrix *cases, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < args->case_count && status == MP_OK; i++)
        status = mp_matrix_add(cases, args->cases[i].text, NULL, 0, err);
    if (args->case_count == 0) status = mp_matrix_add(cases, text, NULL, 0, err);
    for (size_t i = 0; i < cases->count && status == MP_OK; i++)
        if (cases->rows[i].c.M == 0)
            status = mp_fail(err, MP_EINPUT, "M=0: expected at least one token to time");
    return status;
}

static mp_status check(const mp_args *args, mp_error *err) {
    static const mp_option with[] = {MP_OPT_BENCH_SUBJECT, MP_OPT_BENCH_ROUNDS};
    const bool against = mp_args_given(args, MP_OPT_BENCH_AGAINST);
    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        if (!against && mp_args_given(args, with[i]))
            return mp_fail(err, MP_EINPUT, "--%s goes with --against", mp_options[with[i]].name);
    if (against && mp_args_given(args, MP_OPT_BENCH_REPEAT))
        return mp_fail(err, MP_EINPUT, "--repeat does not go with --against, which runs --rounds");
    return MP_OK;
}

int mp_cmd_bench(const mp_args *args) {
    static const struct {
        const char *default_case;
        mp_status (*run)(const mp_matrix *cases, const mp_args *args, mp_error *err);
    } benches[MP_COMMAND_COUNT] = {
        [MP_CMD_BENCH_REFERENCE] = {"M=70000 topk=2 act=silu", bench_reference},
        [MP_CMD_BENCH_PREDICT] = {"M=70000 topk=2 act=silu", bench_predict},
        [MP_CMD_BENCH_KERNELS] = {"M=16384 topk=8 E=128 K=2048 N=768", bench_kernels},
    };
    mp_error err = {0};
    mp_matrix cases = {0};
    mp_status status = check(args, &err);
    if (status == MP_OK) status = parse(args, benches[args->command].default_case, &cases, &err);
    if (status == MP_OK) {
        const mp_case *c = &cases.rows[0].c;
        char text[MP_CASE_TEXT_MAX];
        mp_case_text(c, text, sizeof text);
        timing = mp_status_line_open();
        mp_status_line_show(&timing, "%s: %s", mp_commands[args->command].name, text);
        status = mp_args_given(args, MP_OPT_BENCH_AGAINST) ? mp_bench_against(args, &cases, &timing, &err)
                                                           : benches[args->command].run(&cases, args, &err);
        mp_status_line_clear(&timing);
    }
    mp_matrix_free(&cases);
    return status == MP_OK ? MP_EXIT_OK : mp_cli_fail(&err);
}
