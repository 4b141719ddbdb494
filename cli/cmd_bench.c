/* moeparity bench reference | predict | kernels. */
#include "cli/common.h"

#include "kernels/bench.h"
#include "ref/bench.h"
#include "ref/blas.h"
#include "ref/predict/predict.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: moeparity bench reference [--case TEXT]              [M=70000 topk=2 act=silu]\n"
    "       moeparity bench predict [--case TEXT]                [M=70000 topk=2 act=silu]\n"
    "       moeparity bench kernels [--case TEXT] [--repeat N]   [M=16384 topk=8 E=128 K=2048 N=768]\n";

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

static mp_status bench_reference(const mp_case *c, int repeat, mp_error *err) {
    mp_ref_bench_result r;
    (void)repeat;
    const mp_status status = mp_ref_bench(c, &r, err);
    if (status != MP_OK) return status;
    printf("%s, %d threads\n", mp_blas_name(), r.threads);
    printf("dgemm ceiling          %8.1f GFLOP/s\n", r.dgemm_gflops);
    printf("values                 %8.1f GFLOP/s  %5.1f %% of the ceiling  %.2f s\n", r.blas_gflops,
           100 * r.blas_gflops / r.dgemm_gflops, r.blas_seconds);
    printf("values and magnitudes  %8.1f GFLOP/s  %5.1f %% of the ceiling  %.2f s\n", r.blas_mass_gflops,
           100 * r.blas_mass_gflops / r.dgemm_gflops, r.blas_mass_seconds);
    printf("plain loops            %8.1f GFLOP/s  OpenBLAS is %.1f times as fast (%lld tokens)\n",
           r.plain_gflops, r.blas_mass_gflops / r.plain_gflops, (long long)r.plain_tokens);
    printf("peak memory            %8.2f GiB\n", peak_gib());
    return MP_OK;
}

/* Multiply-adds of the tensor-core model beside dgemm's on the same cores, then what each stage of a whole
 * prediction takes. */
static mp_status bench_predict(const mp_case *c, int repeat, mp_error *err) {
    mp_predict_bench_result r;
    mp_config config;
    mp_inputs in = {0};
    mp_trace trace = {0};
    (void)repeat;
    mp_status status = mp_predict_bench(c, &r, err);
    if (status != MP_OK) return status;
    printf("%-10s %14s %14s   (1e9 multiply-adds a second)\n", "kernel", "one thread", "all threads");
    for (int i = 0; i < r.kernels; i++)
        printf("%-10s %14.2f %14.2f   %.2f of linear, %.2f of dgemm\n", r.kernel[i].name,
               r.kernel[i].one_thread * 1e-9, r.kernel[i].all_threads * 1e-9,
               r.kernel[i].all_threads / (r.kernel[i].one_thread * r.threads),
               r.kernel[i].all_threads / r.dgemm_all_threads);
    printf("%-10s %14.2f %14.2f   %s, %d threads\n", "dgemm", r.dgemm_one_thread * 1e-9,
           r.dgemm_all_threads * 1e-9, mp_blas_name(), r.threads);
    status = mp_config_resolve(c, NULL, &config, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_host_run(c, &in, config.up.block_size_m, MP_POISON_A, &trace, err);
    for (int s = 0; s < MP_STAGE_COUNT && status == MP_OK; s++)
        printf("%-10s %11.3f s\n", mp_stage_name((mp_stage)s), trace.stage_ns[s] * 1e-9);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

static mp_status bench_kernels(const mp_case *c, int repeat, mp_error *err) {
    mp_cuda *cuda = NULL;
    mp_cuda_bench_result r;
    mp_config config;
    mp_status status = mp_cuda_open(&cuda, err);
    if (status == MP_OK)
        status = mp_config_resolve(c, &(mp_config_query){.device = mp_cuda_device_name(cuda)}, &config, err);
    if (status == MP_OK) status = mp_cuda_bench(cuda, c, &config, repeat, &r, err);
    if (status == MP_OK) {
        printf("%s, %s\nconfig %s\n", mp_cuda_device_name(cuda), mp_cuda_versions(cuda), r.config);
        for (int s = 0; s < MP_STAGE_COUNT; s++)
            if (r.stage_ms[s] > 0) printf("%-8s %9.3f ms\n", mp_stage_name((mp_stage)s), r.stage_ms[s]);
        printf("both GEMMs  %8.1f TFLOP/s\n", r.gemm_tflops);
        printf("copy        %8.1f GB/s\n", r.copy_gbs);
        printf("activation  %8.1f GB/s  %5.1f %% of the copy\n", r.act_gbs, 100 * r.act_gbs / r.copy_gbs);
        if (r.combine_gbs > 0)
            printf("combine     %8.1f GB/s  %5.1f %% of the copy\n", r.combine_gbs,
                   100 * r.combine_gbs / r.copy_gbs);
    }
    mp_cuda_close(cuda);
    return status;
}

int mp_cmd_bench(int argc, char **argv) {
    enum { CASE = 1, REPEAT, HELP };
    static const struct option options[] = {
        {"case", 1, 0, CASE}, {"repeat", 1, 0, REPEAT}, {"help", 0, 0, HELP}, {0}};
    static const struct {
        const char *name, *default_case;
        mp_status (*run)(const mp_case *c, int repeat, mp_error *err);
        bool repeats;
    } benches[] = {{"reference", "M=70000 topk=2 act=silu", bench_reference, false},
                   {"predict", "M=70000 topk=2 act=silu", bench_predict, false},
                   {"kernels", "M=16384 topk=8 E=128 K=2048 N=768", bench_kernels, true}};
    const char *text = NULL;
    int64_t repeat = 0; /* not given */
    mp_error err = {0};
    mp_status status = MP_OK;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1 && status == MP_OK;) switch (o) {
        case CASE: text = optarg; break;
        case REPEAT: status = mp_cli_number("--repeat", optarg, 1, 10000, &repeat, &err); break;
        case HELP: fputs(help, stdout); return MP_EXIT_OK;
        default: fputs(help, stderr); return MP_EXIT_USAGE;
        }
    for (size_t i = 0; status == MP_OK && optind + 1 == argc && i < sizeof benches / sizeof *benches; i++) {
        if (strcmp(argv[optind], benches[i].name) != 0) continue;
        if (repeat > 0 && !benches[i].repeats)
            return mp_cli_usage("bench %s takes no --repeat", benches[i].name);
        mp_case c = mp_case_default();
        status = mp_case_parse(&c, text ? text : benches[i].default_case, &err);
        if (status == MP_OK) status = benches[i].run(&c, repeat > 0 ? (int)repeat : 10, &err);
        return status == MP_OK ? MP_EXIT_OK : mp_cli_fail(&err);
    }
    if (status != MP_OK) return mp_cli_fail(&err);
    fputs(help, stderr);
    return optind < argc ? mp_cli_usage("unknown bench '%s': expected one of reference, predict and kernels",
                                        argv[argc - 1])
                         : MP_EXIT_USAGE;
}
