#include "harness/run_case.h"

#include "harness/compare.h"
#include "harness/judge.h"
#include "harness/judge_bits.h"
#include "ref/blas.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the checks of one case share. */
typedef struct session {
    const mp_matrix_row *row;
    const mp_run_options *options;
    const mp_inputs *in;
    mp_contract contract;
    mp_config config;
    mp_trace first; /* the run with poison A: the one that is judged */
    mp_engine engine;
    mp_verdict *v;
} session;

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

size_t mp_memory_available(void) {
    FILE *file = fopen("/proc/meminfo", "r");
    unsigned long long kib = 0;
    char line[128];
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) break;
    if (file) fclose(file);
    size_t available = (size_t)kib * 1024;
    /* A container's limit, when it is lower (cgroup v2). */
    unsigned long long limit = 0, used = 0;
    file = fopen("/sys/fs/cgroup/memory.max", "r");
    const bool limited = file && fscanf(file, "%llu", &limit) == 1;
    if (file) fclose(file);
    file = limited ? fopen("/sys/fs/cgroup/memory.current", "r") : NULL;
    if (file && fscanf(file, "%llu", &used) == 1 && limit > used && limit - used < available) available = (size_t)(limit - used);
    if (file) fclose(file);
    return available;
}

static size_t total_bytes(const mp_tensor *t, int count) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) bytes += mp_tensor_count(&t[i]) > 0 ? mp_tensor_bytes(&t[i]) + 2 * MP_GUARD_BYTES : 0;
    return bytes;
}

size_t mp_run_case_bytes(const mp_case *c, int block_size_m) {
    enum { JUDGE_BYTES = 768 << 20 }; /* the end-to-end slab and the threads' float64 slabs */
    mp_inputs in;
    mp_trace trace;
    mp_inputs_plan(c, &in);
    mp_trace_plan(c, block_size_m, &trace);
    const size_t inputs = total_bytes(in.t, MP_INPUT_COUNT), traces = total_bytes(trace.t, MP_TRACE_COUNT);
    const size_t tokens = total_bytes(&in.t[MP_X], 1); /* a permuted copy */
    const size_t maps = (size_t)mp_case_slots(c) * 64;
    const size_t fused = c->fused_sum ? (size_t)(c->M * c->K) * 24 : 0;
    size_t predicted = 0; /* the bits oracle holds one stage at a time */
    for (int i = 0; i < MP_TRACE_COUNT; i++) predicted = total_bytes(&trace.t[i], 1) > predicted ? total_bytes(&trace.t[i], 1) : predicted;
    return inputs + tokens + 2 * traces + predicted + maps + fused + JUDGE_BYTES;
}

static void append(char *text, size_t size, const char *format, ...) {
    const size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

void mp_repro(const mp_matrix_row *row, const mp_run_options *options, char *text, size_t size) {
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(&row->c, name, sizeof name);
    snprintf(text, size, "moeparity run --case '%s' --subject %s", name, options->subject->name);
    for (size_t i = 0; i < row->pair_count; i++) append(text, size, " --pair '%s'", row->pair_text[i]);
    if (options->against) append(text, size, " --against %s", options->against->name);
    if (options->golden_path) append(text, size, " --golden '%s'", options->golden_path);
    if (options->repeat != 2) append(text, size, " --repeat %d", options->repeat);
    if (options->plain) append(text, size, " --plain");
}

/* Ends the case: a subject that cannot run here is a SKIP, one that broke or ran out of memory a CRASH, any other error a FAIL. */
static void end_with(mp_verdict *v, const mp_error *err) {
    v->outcome = err->status == MP_EUNSUPPORTED                                                                     ? MP_SKIP
                 : err->status == MP_EDEVICE || err->status == MP_EMEMORY || err->status == MP_EINTERNAL ? MP_CRASH
                                                                                                                    : MP_FAIL;
    snprintf(v->reason, sizeof v->reason, "%s", err->text);
}

static mp_status run_subject(mp_subject *subject, const mp_case *c, const mp_inputs *in, uint32_t poison, mp_trace *trace, mp_error *err) {
    *trace = (mp_trace){0};
    return subject->run(subject, c, in, poison, trace, err);
}

static void check_guards(mp_verdict *v, const mp_trace *trace) {
    bool intact = true;
    for (int i = 0; i < MP_TRACE_COUNT; i++) {
        int64_t offset = 0;
        if (trace->t[i].data && !mp_tensor_guards_intact(&trace->t[i], &offset)) {
            intact = false;
            mp_check_fail(v, MP_CHECK_GUARD, "%s: byte %lld of a buffer of %zu was written", mp_trace_tensor_name((mp_trace_tensor)i),
                          (long long)offset, mp_tensor_bytes(&trace->t[i]));
        }
    }
    if (trace->guard_report[0]) mp_check_fail(v, MP_CHECK_GUARD, "%s", trace->guard_report);
    if (intact && !trace->guard_report[0]) mp_check_pass(v, MP_CHECK_GUARD);
}

static void check_inputs(const session *s, uint64_t before, const mp_trace *trace) {
    const uint64_t after = mp_inputs_digest(s->in);
    for (int i = 0; i < MP_INPUT_COUNT; i++) {
        int64_t offset = 0;
        if (!mp_tensor_guards_intact(&s->in->t[i], &offset))
            mp_check_fail(s->v, MP_CHECK_GUARD, "%s: byte %lld of an input of %zu was written", mp_input_name((mp_input)i), (long long)offset,
                          mp_tensor_bytes(&s->in->t[i]));
    }
    if (after != before)
        mp_check_fail(s->v, MP_CHECK_INPUT, "the inputs changed: digest %016llx before, %016llx after", (unsigned long long)before,
                      (unsigned long long)after);
    else if (trace->input_report[0])
        mp_check_fail(s->v, MP_CHECK_INPUT, "%s", trace->input_report);
    else
        mp_check_pass(s->v, MP_CHECK_INPUT);
}

static void check_unwritten(const session *s, const mp_trace *trace, uint32_t poison) {
    char text[200];
    if (mp_unwritten_intact(&s->row->c, s->in, trace, poison, text, sizeof text))
        mp_check_pass(s->v, MP_CHECK_POISON);
    else
        mp_check_fail(s->v, MP_CHECK_POISON, "%s", text);
}

static const int32_t *ids_of(const mp_inputs *in) {
    return in->t[MP_TOPK_IDS].data;
}

/* A second run of the same case against the first. */
static mp_status compare_with_first(const session *s, const mp_trace *trace, mp_pair_figures *f, mp_error *err) {
    const mp_side a = {&s->row->c, &s->first, NULL}, b = {&s->row->c, trace, NULL};
    return mp_compare(&a, &b, s->row->c.M, ids_of(s->in), true, f, err);
}

/* The same case again, on buffers poisoned differently. A difference that goes away with the first poison and comes back with the other is a read of memory
 * that nobody wrote; any other is a run that does not repeat. Where the order of additions is not fixed the second run is judged against float64 too. */
static mp_status check_repeats(const session *s, mp_error *err) {
    const mp_case *c = &s->row->c;
    for (int i = 1; i < s->options->repeat; i++) {
        const uint32_t poison = i % 2 ? MP_POISON_B : MP_POISON_A;
        mp_trace again;
        mp_pair_figures f = {0};
        mp_status status = run_subject(s->options->subject, c, s->in, poison, &again, err);
        if (status == MP_OK) {
            check_guards(s->v, &again);
            check_unwritten(s, &again, poison);
            status = compare_with_first(s, &again, &f, err);
        }
        if (status == MP_OK && !s->contract.deterministic) {
            mp_verdict second = {0};
            status = mp_judge(c, &s->contract, s->in, &again, poison, s->engine, &second, err);
            if (second.check[MP_CHECK_BOUND].answer == MP_FAILED)
                mp_check_fail(s->v, MP_CHECK_POISON, "with another poison: %s", second.check[MP_CHECK_BOUND].text);
        }
        mp_trace_destroy(&again);
        if (status != MP_OK) return status;
        if (f.bits_equal || !s->contract.deterministic) continue;

        bool changed[2] = {false}; /* once more with either poison: does the difference follow the poison? */
        for (int k = 0; k < 2; k++) {
            mp_pair_figures g = {0};
            if ((status = run_subject(s->options->subject, c, s->in, k ? MP_POISON_B : MP_POISON_A, &again, err)) == MP_OK)
                status = compare_with_first(s, &again, &g, err);
            mp_trace_destroy(&again);
            if (status != MP_OK) return status;
            changed[k] = !g.bits_equal;
        }
        if (poison == MP_POISON_B && !changed[0] && changed[1])
            mp_check_fail(s->v, MP_CHECK_POISON, "the result depends on what the buffers held before: %s", f.first);
        else
            mp_check_fail(s->v, MP_CHECK_REPEAT, "run %d differs in %lld of %lld elements, first %s", i + 1, (long long)f.differing,
                          (long long)f.compared, f.first);
        return MP_OK;
    }
    if (s->contract.deterministic && s->options->repeat > 1)
        mp_check_pass(s->v, MP_CHECK_REPEAT);
    else
        mp_check_not_judged(s->v, MP_CHECK_REPEAT, s->contract.deterministic ? "one run only" : "the order of additions is not fixed");
    return MP_OK;
}

static mp_pair_figures *new_pair(mp_verdict *v, const char *text, bool required) {
    if (v->pair_count == MP_MAX_PAIRS) return NULL;
    mp_pair_figures *f = &v->pair[v->pair_count++];
    *f = (mp_pair_figures){.required = required};
    snprintf(f->text, sizeof f->text, "%s", text);
    return f;
}

static void judge_pair(mp_verdict *v, const mp_pair_figures *f) {
    if (f->bits_equal)
        mp_check_pass(v, MP_CHECK_PAIR);
    else if (f->required)
        mp_check_fail(v, MP_CHECK_PAIR, "%s: %lld of %lld elements differ, first %s", f->text, (long long)f->differing, (long long)f->compared, f->first);
}

/* Variants of the case that must give the same bits, from the same inputs. A variant that cannot run here is not judged, and says why. */
static mp_status check_pairs(const session *s, mp_error *err) {
    for (size_t i = 0; i < s->row->pair_count; i++) {
        const mp_case *variant = &s->row->pairs[i];
        mp_pair_figures *f = new_pair(s->v, s->row->pair_text[i], s->contract.deterministic);
        if (!f) return mp_fail(err, MP_EINPUT, "%zu pairs; at most %d", s->row->pair_count, MP_MAX_PAIRS);
        mp_trace trace;
        mp_error why = {0};
        mp_status status = run_subject(s->options->subject, variant, s->in, MP_POISON_B, &trace, &why);
        if (status == MP_EUNSUPPORTED) {
            snprintf(f->first, sizeof f->first, "not run: %.140s", why.text);
            mp_check_not_judged(s->v, MP_CHECK_PAIR, f->first);
            f->required = false;
        } else if (status == MP_OK) {
            const mp_side a = {&s->row->c, &s->first, NULL}, b = {variant, &trace, NULL};
            check_guards(s->v, &trace);
            if ((status = mp_compare(&a, &b, s->row->c.M, ids_of(s->in), false, f, &why)) == MP_OK) judge_pair(s->v, f);
        }
        mp_trace_destroy(&trace);
        if (status != MP_OK && status != MP_EUNSUPPORTED) {
            if (err) *err = why;
            mp_error_prefix(err, "pair %s", s->row->pair_text[i]);
            return status;
        }
    }
    return MP_OK;
}

/* Runs the tokens `token[0..count)` alone, as a batch of their own, and compares them with the same tokens of the first run. */
static mp_status check_selection(const session *s, const int64_t *token, int64_t count, mp_check check, mp_error *err) {
    mp_case c = s->row->c;
    c.M = count;
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_pair_figures f = {0};
    mp_status status = mp_inputs_select(s->in, token, count, &in, err);
    if (status == MP_OK) status = run_subject(s->options->subject, &c, &in, MP_POISON_B, &trace, err);
    if (status == MP_OK) {
        const mp_side a = {&s->row->c, &s->first, token}, b = {&c, &trace, NULL};
        check_guards(s->v, &trace);
        status = mp_compare(&a, &b, count, ids_of(&in), false, &f, err);
    }
    if (status == MP_OK && !f.bits_equal)
        mp_check_fail(s->v, check, "%lld tokens, the first of them %lld: %lld of %lld elements differ, first %s", (long long)count, (long long)token[0],
                      (long long)f.differing, (long long)f.compared, f.first);
    else if (status == MP_OK)
        mp_check_pass(s->v, check);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

static int64_t greatest_common_divisor(int64_t a, int64_t b) {
    return b == 0 ? a : greatest_common_divisor(b, a % b);
}

/* All tokens in another order, and single tokens alone. */
static mp_status check_invariance(const session *s, mp_error *err) {
    const int64_t M = s->row->c.M;
    if (s->row->c.scope != MP_SCOPE_ALL || !s->contract.batch_invariant || M == 1) {
        const char *why = s->row->c.scope != MP_SCOPE_ALL ? "one stage alone" : M == 1 ? "one token" : "the contract does not promise it";
        mp_check_not_judged(s->v, MP_CHECK_PERMUTATION, why);
        mp_check_not_judged(s->v, MP_CHECK_BATCH, why);
        return MP_OK;
    }
    int64_t *order = malloc((size_t)M * sizeof *order);
    if (!order) return mp_fail(err, MP_EMEMORY, "no memory to permute %lld tokens", (long long)M);
    int64_t stride = (int64_t)(0.618 * (double)M) + 1; /* near the golden section, so that neighbours end up far apart */
    while (greatest_common_divisor(stride, M) != 1) stride++;
    for (int64_t i = 0; i < M; i++) order[i] = (i + 1) * stride % M;
    mp_status status = check_selection(s, order, M, MP_CHECK_PERMUTATION, err);
    const int64_t alone[] = {0, M / 2, M - 1};
    for (int i = 0; i < 3 && status == MP_OK; i++) status = check_selection(s, &alone[i], 1, MP_CHECK_BATCH, err);
    free(order);
    return status;
}

/* Another subject on the same case. Equal contracts promise equal bits only where nothing is left open: the same accumulator in a fixed order is
 * not enough, so the comparison is reported; both are judged against float64 in their own right. */
static mp_status compare_subjects(const session *s, mp_error *err) {
    if (!s->options->against) return MP_OK;
    char text[96];
    snprintf(text, sizeof text, "subject %s", s->options->against->name);
    mp_pair_figures *f = new_pair(s->v, text, false);
    if (!f) return MP_OK;
    mp_trace trace;
    mp_status status = run_subject(s->options->against, &s->row->c, s->in, MP_POISON_B, &trace, err);
    if (status == MP_OK) {
        const mp_side a = {&s->row->c, &s->first, NULL}, b = {&s->row->c, &trace, NULL};
        status = mp_compare(&a, &b, s->row->c.M, ids_of(s->in), false, f, err);
        if (status == MP_OK) judge_pair(s->v, f);
    }
    mp_trace_destroy(&trace);
    if (status != MP_OK) mp_error_prefix(err, "%s", text);
    return status;
}

static void cannot_compare(const session *s, const char *why) {
    if (s->options->golden_required)
        mp_check_fail(s->v, MP_CHECK_GOLDEN, "%s", why);
    else
        mp_check_not_judged(s->v, MP_CHECK_GOLDEN, why);
}

/* Equality with a stored trace is promised only by a golden of the same contract and fill. */
static mp_status check_golden(const session *s, mp_error *err) {
    mp_golden *golden = s->options->golden;
    char stored[256];
    if (!golden) {
        mp_check_not_judged(s->v, MP_CHECK_GOLDEN, "no golden file given");
        return MP_OK;
    }
    if (!mp_golden_has(golden, s->v->name)) {
        cannot_compare(s, "the golden file does not hold this case");
        return MP_OK;
    }
    mp_golden_difference diff[MP_TRACE_COUNT];
    int count = 0;
    mp_status status = mp_golden_contract(golden, &s->row->c, stored, sizeof stored, err);
    if (status == MP_OK) status = mp_golden_compare(golden, &s->row->c, &s->first, diff, &count, err);
    if (status != MP_OK) return status;
    if (count == 0) {
        cannot_compare(s, "the golden and the trace have no tensor in common");
        return MP_OK;
    }
    const mp_golden_difference *first = NULL;
    for (int i = 0; i < count && !first; i++)
        if (diff[i].shape_differs || diff[i].differing_rows > 0) first = &diff[i];
    if (!first) {
        mp_check_pass(s->v, MP_CHECK_GOLDEN);
        return MP_OK;
    }
    char text[256];
    if (first->shape_differs)
        snprintf(text, sizeof text, "%s has another shape", first->tensor);
    else
        snprintf(text, sizeof text, "%s: %lld of %lld rows differ, first row %lld%s%s", first->tensor, (long long)first->differing_rows,
                 (long long)first->rows, (long long)first->first_rows[0], first->first[0] ? ", " : "", first->first);
    if (strcmp(stored, s->v->contract) == 0) {
        mp_check_fail(s->v, MP_CHECK_GOLDEN, "%s", text);
    } else {
        char why[320];
        snprintf(why, sizeof why, "made under another contract (%.60s...); %s", stored, text);
        cannot_compare(s, why);
    }
    return MP_OK;
}

static void conclude(mp_verdict *v) {
    bool judged = false;
    for (int i = 0; i < MP_STAGE_COUNT; i++) judged = judged || v->stage[i].judged;
    v->outcome = judged ? MP_PASS : MP_FAIL;
    if (!judged) snprintf(v->reason, sizeof v->reason, "no stage was judged");
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (v->check[i].answer == MP_FAILED) {
            v->outcome = MP_FAIL;
            snprintf(v->reason, sizeof v->reason, "%s: %s", mp_check_name((mp_check)i), v->check[i].text);
            return;
        }
}

static mp_status plan_memory(const mp_case *c, mp_subject *subject, int block_size_m, mp_verdict *v, mp_error *err) {
    mp_memory memory = {0};
    mp_status status = subject->plan(subject, c, &memory, err);
    if (status != MP_OK) return status;
    const size_t host = mp_run_case_bytes(c, block_size_m) + memory.host_bytes, available = mp_memory_available();
    v->peak_bytes = (int64_t)host;
    if (available > 0 && host > available)
        return mp_fail(err, MP_EUNSUPPORTED, "needs %.1f GiB of host memory, %.1f GiB are available", (double)host / 0x1p30, (double)available / 0x1p30);
    if (memory.device_available > 0 && memory.device_bytes > memory.device_available)
        return mp_fail(err, MP_EUNSUPPORTED, "needs %.1f GiB of device memory, %.1f GiB are free", (double)memory.device_bytes / 0x1p30,
                       (double)memory.device_available / 0x1p30);
    return MP_OK;
}

static mp_status run_checks(session *s, mp_error *err) {
    const mp_case *c = &s->row->c;
    mp_verdict *v = s->v;
    const uint64_t digest = mp_inputs_digest(s->in);
    mp_status status = mp_inputs_check_ids(c, s->in, err);
    if (status == MP_OK) status = run_subject(s->options->subject, c, s->in, MP_POISON_A, &s->first, err);
    if (status != MP_OK) return status;
    check_guards(v, &s->first);
    check_unwritten(s, &s->first, MP_POISON_A);
    if ((status = mp_judge(c, &s->contract, s->in, &s->first, MP_POISON_A, s->engine, v, err)) != MP_OK) return status;
    if ((status = mp_judge_bits(c, &s->contract, &s->config, s->in, &s->first, v, err)) != MP_OK) return status;
    if ((status = check_repeats(s, err)) != MP_OK) return status;
    if ((status = check_pairs(s, err)) != MP_OK) return status;
    if ((status = check_invariance(s, err)) != MP_OK) return status;
    if ((status = compare_subjects(s, err)) != MP_OK) return status;
    if ((status = check_golden(s, err)) != MP_OK) return status;
    check_inputs(s, digest, &s->first);
    return MP_OK;
}

void mp_run_case(const mp_matrix_row *row, const mp_run_options *options, mp_verdict *v) {
    const double start = seconds_now();
    mp_error err = {0};
    mp_inputs in = {0};
    session s = {.row = row, .options = options, .in = &in, .v = v};
    mp_subject *subject = options->subject;

    *v = (mp_verdict){0};
    mp_case_text(&row->c, v->name, sizeof v->name);
    snprintf(v->group, sizeof v->group, "%s", row->group ? row->group : "");
    snprintf(v->subject, sizeof v->subject, "%s", subject->name);
    mp_repro(row, options, v->repro, sizeof v->repro);
    s.engine = options->plain || mp_blas_load(NULL) != MP_OK ? MP_ENGINE_PLAIN : MP_ENGINE_BLAS;
    snprintf(v->blas, sizeof v->blas, "%s", s.engine == MP_ENGINE_BLAS ? mp_blas_name() : "plain loops");

    mp_status status = subject->resolve(subject, &row->c, &s.contract, &s.config, &err);
    if (status == MP_OK) {
        char up[64], down[64];
        mp_contract_text(&s.contract, v->contract, sizeof v->contract);
        mp_tile_text(&s.config.up, up);
        mp_tile_text(&s.config.down, down);
        snprintf(v->config, sizeof v->config, "%s %s (%.280s)%s%.90s", up, down, s.config.source, s.config.warning[0] ? "; " : "",
                 s.config.warning);
        status = plan_memory(&row->c, subject, s.config.up.block_size_m, v, &err);
    }
    if (status == MP_OK) status = mp_inputs_create(&row->c, &in, &err);
    if (status == MP_OK) status = run_checks(&s, &err);
    mp_trace_destroy(&s.first);
    mp_inputs_destroy(&in);
    if (status == MP_OK)
        conclude(v);
    else
        end_with(v, &err);
    v->seconds = seconds_now() - start;
}
