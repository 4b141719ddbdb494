/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity show: everything that is known of a case before it runs. */
#include "base/host_memory.h"
#include "cli/common.h"

#include "base/clock.h"
#include "base/process.h"
#include "cases/case_json.h"
#include "cases/case_tools.h"
#include "cases/edit.h"
#include "cases/scheme.h"
#include "harness/run/memory.h"
#include "harness/subjects/surroundings.h"
#include "moeparity/run_case.h"
#include "ref/bounds.h"

#include <inttypes.h>
#include <stdio.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void print_line(void *ctx, const char *text) {
    (void)ctx;
    puts(text);
}

static void print_tensors(const char *title, const mp_tensor t[MP_TENSOR_COUNT]) {
    printf("%s\n", title);
    for (int i = 0; i < MP_TENSOR_COUNT; i++) {
        if (t[i].rank == 0) continue;
        printf("  %-24s %-6s [", mp_tensor_name((mp_tensor_id)i), mp_dtype_name(t[i].dtype));
        for (int d = 0; d < t[i].rank; d++) printf("%s%lld", d ? ", " : "", (long long)t[i].dim[d]);
        printf("]  %.3f MiB\n", (double)mp_tensor_bytes(&t[i]) / 0x1p20);
    }
}

static void print_promises(const mp_contract *contract, const mp_case *c) {
    static const char *const bits[MP_BITS_COUNT] = {"not compared", "reported", "required"};
    printf("bits     ");
    for (int i = 0; i < MP_STAGE_COUNT; i++)
        if (mp_case_has_stage(c, (mp_stage)i))
            printf(" %s %s;", mp_stage_name((mp_stage)i), bits[contract->promise[i].bits]);
    printf(" contract %016llx\n", (unsigned long long)mp_contract_digest(contract));
}

static void print_edit(void *ctx, const char *text, int64_t elements) {
    (void)ctx;
    mp_cli_say(stdout, "edit      %s: %" PRId64 " element%s", text, elements, elements == 1 ? "" : "s");
}

/* "128", or "all". */
static const char *length_text(int64_t length, char text[24]) {
    snprintf(text, 24, "%" PRId64, length);
    return length == MP_WHOLE_AXIS ? "all" : text;
}

static void print_scheme(const mp_contract *contract, const mp_case *c) {
    static const char *const enter[] = {[MP_SCALES_AFTER] = "scale the sum over all of k",
                                        [MP_SCALES_PER_TILE] = "scale the sum of each tile of k",
                                        [MP_SCALES_BEFORE] = "make numbers of codes, which are multiplied"};
    const mp_scheme *s = mp_scheme_of(c);
    char rows[24], columns[24];
    if (!c->quant) return;
    printf("scheme    %s: weights %s", s->name, mp_dtype_name(mp_scheme_dtype(c, MP_W1)));
    if (s->zeros)
        printf(" around zero points");
    else if (s->zero)
        printf(" around %d", s->zero);
    printf(", a scale in %s for %s x %s of [n, k]", mp_dtype_name(mp_scheme_dtype(c, MP_W1_SCALE)),
           length_text(s->block_rows, rows), length_text(mp_case_group(c), columns));
    if (s->global) printf(", one in fp32 for an expert");
    if (s->quantises_activations) {
        const mp_dtype scale = s->made ? mp_scheme_dtype(c, MP_X_SCALE) : MP_FP32;
        printf("; activations %s, ", mp_dtype_name(mp_scheme_dtype(c, MP_X_CODES)));
        printf("a scale in %s %s ", mp_dtype_name(scale), s->made ? "for" : "given for");
        if (s->granularity == MP_PER_GROUP)
            printf("%s columns of a row", columns);
        else
            printf("%s", s->granularity == MP_PER_ROW ? "a row" : "all rows");
        if (s->made && s->given) printf(", one in fp32 given");
        printf(", by %s", contract->quantiser == MP_ANY_QUANTISER
                              ? "any quantiser"
                              : mp_quantiser_name((mp_quantiser)contract->quantiser));
    } else {
        printf("; activations %s", mp_dtype_name(c->dtype));
    }
    printf("; scales %s\n", enter[s->enters]);
}

/* Of an accumulation over k, before its epilogue. */
static double relative_bound(const mp_gemm_contract *gemm, const mp_case *c, int64_t k) {
    const mp_dtype operands = mp_case_multiplied(c);
    const int64_t block = mp_case_scaled_terms(c, k);
    return block > 0 ? mp_scaled_gemm_bound(gemm, operands, k, block, 1).rel
                     : mp_gemm_bound(gemm, operands, k, 1).rel;
}

static mp_status show(mp_subject *subject, const mp_case *c, const char *edits, mp_error *err) {
    char text[MP_CASE_TEXT_MAX], up[64], down[64];
    mp_offer offer;
    mp_status status = edits ? mp_edits_check_case(edits, c, err) : MP_OK;
    if (status == MP_OK) status = mp_subject_describe(subject, c, &offer, err);
    if (status != MP_OK) return status;
    const mp_config *config = &offer.config;
    mp_case_text(c, text, sizeof text);
    printf("case      %s\n", text);
    json_t *json = mp_case_json(c);
    char *fields = json ? json_dumps(json, JSON_PRESERVE_ORDER) : NULL;
    printf("fields    %s\n", fields ? fields : "");
    free(fields);
    json_decref(json);
    if (edits) mp_edits_each(edits, c, print_edit, NULL, err);
    mp_contract_text(&offer.contract, text, sizeof text);
    printf("subject   %s\ncontract  %s: %s\n", subject->name, offer.contract.preset, text);
    print_promises(&offer.contract, c);
    print_scheme(&offer.contract, c);
    mp_tile_text(&config->up, up);
    mp_tile_text(&config->down, down);
    mp_cli_say(stdout, "config    gate_up %s, down %s (%s)%s%s", up, down, config->source,
               config->warning[0] ? "; " : "", config->warning);
    if (c->scope == MP_SCOPE_ALL) {
        printf("bounds    gate_up: |error| <= %.3g * sum|x*w| before the store; down: %.3g * sum|c*w|; a "
               "store to %s adds half an ulp\n",
               relative_bound(&offer.contract.gate_up, c, c->K),
               relative_bound(&offer.contract.down, c, c->N), mp_dtype_name(mp_case_dtype(c, MP_CACHE1)));
    }
    mp_inputs in;
    mp_trace trace;
    mp_inputs_plan(c, &in);
    mp_trace_plan(c, config->up.block_size_m, &trace);
    print_tensors("inputs", in.t);
    print_tensors("trace", trace.t);
    printf("memory    host %.3f GiB of %.3f GiB available",
           (double)(mp_case_host_bytes(c, config->up.block_size_m) + offer.host_bytes) / 0x1p30,
           (double)mp_memory_available() / 0x1p30);
    if (offer.device_available > 0)
        printf("; device %.3f GiB of %.3f GiB free",
               (double)(mp_surroundings_device_bytes(subject, c, &offer) + offer.device_bytes) / 0x1p30,
               (double)offer.device_available / 0x1p30);
    putchar('\n');
    return MP_OK;
}

/* Somebody else's code may crash or hang: it is described by a program of its own, this one again. */
static int show_in_child(const mp_args *args, mp_error *err) {
    char **argv = calloc((size_t)args->argc + 2, sizeof *argv);
    pid_t child;
    int status = 0;
    if (!argv) return mp_fail(err, MP_EMEMORY, "no memory for a command"), MP_EXIT_BROKEN;
    for (int i = 0; i < args->argc; i++) argv[i] = args->argv[i];
    argv[args->argc] = (char *)"--in-process";
    const int failed = posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ);
    free(argv);
    if (failed)
        return mp_fail(err, MP_EMEMORY, "cannot start a program: %s", strerror(failed)), MP_EXIT_BROKEN;
    const double deadline = mp_seconds_now() + MP_TIMEOUT_SECONDS;
    pid_t ended;
    while ((ended = waitpid(child, &status, WNOHANG)) == 0 && mp_seconds_now() < deadline) usleep(10000);
    if (ended == 0) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return mp_fail(err, MP_EDEVICE, "the subject has not described itself after %d s",
                       MP_TIMEOUT_SECONDS),
               MP_EXIT_BROKEN;
    }
    if (ended == child && WIFEXITED(status)) return WEXITSTATUS(status);
    char text[128];
    mp_process_end_text(ended == child ? status : MP_PROCESS_END_UNKNOWN, text, sizeof text);
    return mp_fail(err, MP_EDEVICE, "what described the subject %s", text), MP_EXIT_BROKEN;
}

int mp_cmd_show(const mp_args *args) {
    mp_error err = {0};
    mp_subject subject = {0};
    mp_case c = mp_case_default();
    if (mp_args_given(args, MP_OPT_FIELDS)) {
        mp_case_describe_fields(print_line, NULL);
        return MP_EXIT_OK;
    }
    if (args->case_count == 0) return mp_cli_usage("no case: give --case 'M=32 topk=2 act=silu'");
    mp_status status = mp_case_parse(&c, args->cases[0].text, &err);
    const char *name = mp_args_text(args, MP_OPT_SUBJECT);
    if (status == MP_OK && mp_subject_is_foreign(name) && !mp_args_given(args, MP_OPT_IN_PROCESS)) {
        const int code = show_in_child(args, &err);
        return err.text[0] ? mp_cli_fail(&err) : code;
    }
    if (status == MP_OK) status = mp_subject_open(name, &subject, &err);
    subject.query = mp_cli_query(args);
    if (status == MP_OK) status = show(&subject, &c, mp_args_text(args, MP_OPT_EDIT), &err);
    mp_subject_close(&subject);
    return status == MP_OK ? MP_EXIT_OK : mp_cli_fail(&err);
}
