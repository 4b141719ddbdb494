/* SPDX-License-Identifier: Apache-2.0 */
/* The host side of the CUDA pipeline: opened, run with hooks, planned and timed. */
#include "cases/scheme.h"
#include "kernels/bench.h"
#include "kernels/jit.h"
#include "kernels/stage/stage.h"
#include "tests/device_support.h"

#include <glob.h>
#include <math.h>
#include <sys/wait.h>

/* Runs before anything is loaded: what came of loading is remembered for the life of a process. */
static void a_missing_nvrtc_is_unsupported_and_says_where_it_was_looked_for(void **state) {
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        mp_cuda *cuda;
        mp_error err = {0};
        fake.nvrtc_absent = true;
        setenv("CUDA_HOME", "/opt/cuda", 1);
        bool good = mp_cuda_open(&cuda, &err) == MP_EUNSUPPORTED && err.status == MP_EUNSUPPORTED && !cuda;
        for (const char *const *word =
                 (const char *const[]){"no NVRTC", "libnvrtc.so.13, libnvrtc.so.12 and libnvrtc.so",
                                       "CUDA_HOME is /opt/cuda", NULL};
             *word; word++)
            good &= strstr(err.text, *word) != NULL;
        good &= strcmp(fake.asked, "libnvrtc.so.13 libnvrtc.so.12 libnvrtc.so /opt/cuda/lib64/libnvrtc.so.13 "
                                   "/opt/cuda/lib64/libnvrtc.so.12 "
                                   "/opt/cuda/lib64/libnvrtc.so /usr/local/cuda/lib64/libnvrtc.so.13 "
                                   "/usr/local/cuda/lib64/libnvrtc.so.12 "
                                   "/usr/local/cuda/lib64/libnvrtc.so ") == 0;
        if (!good) fprintf(stderr, "%s\nasked for %s\n", err.text, fake.asked);
        _exit(good ? 0 : 1);
    }
    int exit_status = 1;
    assert_int_equal(waitpid(child, &exit_status, 0), child);
    assert_int_equal(exit_status, 0);
}

/* Folders may be as long as the system takes them. */
#define COMPONENT "/a-long-name-of-a-folder-a-long-name-of-a-folder-a-long-name-of-a-folder"
#define LONG_PATH COMPONENT COMPONENT COMPONENT COMPONENT COMPONENT COMPONENT COMPONENT COMPONENT COMPONENT

static void ends_well(pid_t child) {
    int exit_status = 1;
    assert_int_equal(waitpid(child, &exit_status, 0), child);
    assert_int_equal(exit_status, 0);
}

static void a_long_cuda_home_is_whole(void **state) {
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        const mp_nvrtc *nvrtc;
        fake.nvrtc_absent = true;
        setenv("CUDA_HOME", LONG_PATH, 1);
        mp_nvrtc_load(&nvrtc, NULL);
        _exit(strstr(fake.asked, " " LONG_PATH "/lib64/libnvrtc.so ") ? 0 : 1);
    }
    ends_well(child);
}

static void a_long_cache_folder_is_whole(void **state) {
    (void)state;
    const char *above = getenv("MOEPARITY_CACHE");
    char folder[1024];
    snprintf(folder, sizeof folder, "%s" LONG_PATH, above);
    const pid_t child = fork();
    if (child == 0) {
        const mp_kernel kernel = mp_kernel_align("align_count");
        void *cubin = NULL;
        size_t bytes = 0;
        glob_t found = {0};
        mp_error err = {0};
        char pattern[1100];
        setenv("MOEPARITY_CACHE", folder, 1);
        bool good = strcmp(mp_jit_cache_folder(&err), folder) == 0 &&
                    mp_jit_cubin(&kernel, 90, &cubin, &bytes, &err) == MP_OK;
        snprintf(pattern, sizeof pattern, "%s/*.cubin", folder);
        good &= glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1;
        if (!good) fprintf(stderr, "%s\n", err.text);
        _exit(good ? 0 : 1);
    }
    ends_well(child);
}

static void why_there_is_no_cache_is_told(void **state) {
    (void)state;
    static const struct {
        const char *cache, *why;
    } rows[] = {{"/proc/none/cache", "cannot create the directory /proc/none"},
                {NULL, "none of MOEPARITY_CACHE, XDG_CACHE_HOME and HOME is set"}};
    for (size_t i = 0; i < 2; i++) {
        const pid_t child = fork();
        if (child == 0) {
            mp_error err = {0};
            unsetenv("XDG_CACHE_HOME");
            unsetenv("HOME");
            if (rows[i].cache)
                setenv("MOEPARITY_CACHE", rows[i].cache, 1);
            else
                unsetenv("MOEPARITY_CACHE");
            const bool good = !*mp_jit_cache_folder(&err) && strstr(err.text, rows[i].why);
            if (!good) fprintf(stderr, "%s\n", err.text);
            _exit(good ? 0 : 1);
        }
        ends_well(child);
    }
}

static void opening_fails_cleanly_at_every_call(void **state) {
    (void)state;
    int opened = 0;
    for (fake.failing = 0; !opened; fake.failing++) {
        mp_cuda *cuda;
        mp_error err = {0};
        fake.calls = 0;
        const mp_status status = mp_cuda_open(&cuda, &err);
        opened = fake.calls <= fake.failing;
        assert_int_equal(status, opened             ? MP_OK
                                 : fake.failing < 2 ? MP_EUNSUPPORTED
                                                    : MP_EDEVICE); /* a driver without a device is no error */
        assert_int_equal(err.status, status);
        assert_int_equal(fake.live, opened);
        mp_cuda_close(cuda);
        assert_int_equal(fake.live, 0);
    }
    fake.failing = -1;
}

static void devices_that_cannot_be_served_are_named(void **state) {
    (void)state;
    static const struct {
        int architecture;
        const char *text;
    } devices[] = {{75, "sm_80 or newer is needed"},
                   {103, "NVRTC 99.0 does not know sm_103; the newest it knows is sm_90"}};
    for (size_t i = 0; i < 2; i++) {
        mp_cuda *cuda;
        mp_error err = {0};
        fake.architecture = devices[i].architecture;
        assert_int_equal(mp_cuda_open(&cuda, &err), MP_EUNSUPPORTED);
        assert_non_null(strstr(err.text, devices[i].text));
        assert_null(cuda);
    }
    fake.architecture = 90;
}

/* What a handle has of the driver: the context, what is loaded in it, memory for the next run, events, and
 * what is staged. */
static int things_of(const mp_cuda *cuda) {
    int events = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) events += !!cuda->stage_start[s] + !!cuda->stage_end[s];
    return 1 + (int)cuda->module_count + (int)cuda->pool.count + events + !!cuda->deliveries.staged;
}

static void a_run_fails_cleanly_at_every_call(void **state) {
    (void)state;
    const mp_case c = parsed(SMALL "path=runner rsf=2.5");
    mp_inputs in;
    mp_error err = {0};
    assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
    for (int all = 0; all < 2; all++) {
        bool whole = false;
        for (int n = 0; !whole; n++) {
            mp_subject subject;
            mp_trace trace;
            mp_surroundings_report report;
            assert_int_equal(mp_subject_open("cuda", &subject, &err), MP_OK);
            const mp_cuda *cuda = subject.self;
            fake.calls = 0, fake.failing = n, fake.lost = all;
            const mp_status status = run_in_surroundings(&subject, &c, &in, &trace, &report, &err);
            whole = fake.calls <= n;
            assert_int_equal(status, whole ? MP_OK : MP_EDEVICE);
            if (!whole) assert_non_null(strstr(err.text, "CUDA_ERROR_ILLEGAL_ADDRESS"));
            mp_trace_destroy(&trace);
            assert_int_equal(fake.live, things_of(cuda));
            assert_null(cuda->pool.used);
            mp_subject_close(&subject);
            assert_int_equal(fake.live, 0);
            fake.failing = -1, fake.lost = false;
        }
    }
    mp_inputs_destroy(&in);
}

/* Device memory is host memory here, so a hook can look around. */
typedef struct witness {
    int gate_up, down;
    bool guards_are_nan;
    int64_t write_behind; /* overwrite this 16-bit word behind cache1; < 0: none */
    mp_status answer;
} witness;

static mp_status seen_gate_up(void *context, const mp_cuda_hook_view *view, mp_error *err) {
    witness *w = context;
    const mp_case *c = view->c;
    w->gate_up++;
    assert_int_equal(w->down, 0);
    assert_true(view->topk_weights && view->topk_ids && view->cache2 && view->cache3);
    w->guards_are_nan =
        isnan(mp_decode(c->dtype, fake_memory(view->x), c->M * c->K)) &&
        isnan(mp_decode(c->dtype, fake_memory(view->x), -1)) &&
        isnan(mp_decode(c->dtype, fake_memory(view->cache1), mp_case_slots(c) * mp_case_w1_rows(c)));
    mp_encode(c->dtype, fake_memory(view->cache1), 7, 42.0);
    if (w->write_behind >= 0)
        ((uint16_t *)fake_memory(view->cache1))[mp_case_slots(c) * mp_case_w1_rows(c) + w->write_behind] =
            0x7FFA;
    return w->answer == MP_OK ? MP_OK : mp_fail(err, w->answer, "the adapter is missing");
}

static mp_status seen_down(void *context, const mp_cuda_hook_view *view, mp_error *err) {
    (void)err;
    witness *w = context;
    assert_int_equal(w->gate_up, 1);
    w->down++;
    mp_encode(view->c->dtype, fake_memory(view->cache3), 8, 43.0);
    return MP_OK;
}

static mp_status run_with(const char *text, const mp_cuda_hooks *hooks, mp_trace *trace,
                          int64_t *default_calls, mp_surroundings_report *report, mp_error *err) {
    const mp_case c = parsed(text);
    mp_inputs in;
    mp_subject cuda;
    assert_int_equal(mp_inputs_create(&c, &in, err), MP_OK);
    assert_int_equal(mp_subject_open("cuda", &cuda, err), MP_OK);
    if (hooks) mp_cuda_set_hooks(cuda.self, hooks);
    const mp_status status = run_in_surroundings(&cuda, &c, &in, trace, report, err);
    *default_calls = mp_cuda_hook_calls(cuda.self);
    mp_subject_close(&cuda);
    mp_inputs_destroy(&in);
    return status;
}

static void hooks_run_between_the_stages_of_the_runner_and_nowhere_else(void **state) {
    (void)state;
    mp_error err = {0};
    mp_trace trace;
    mp_surroundings_report report;
    int64_t default_calls;
    static const struct {
        const char *text;
        int calls, out; /* of each hook; which tensor holds what the second one changed */
    } cases[] = {{SMALL "topk=2 path=runner", 1, MP_CACHE3_HOOKED},
                 {SMALL "path=runner topk=1", 1, MP_CACHE3_HOOKED},
                 {SMALL "path=runner mode=no_combine", 1, MP_OUT},
                 {SMALL "path=fused lora_adapters=2", 0, 0},
                 {SMALL "path=fused", 0, 0},
                 {"M=70000 topk=1 E=2 K=8 N=8 path=chunked", 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        witness w = {.write_behind = -1};
        const mp_cuda_hooks hooks = {&w, seen_gate_up, seen_down};
        assert_int_equal(run_with(cases[i].text, &hooks, &trace, &default_calls, &report, &err), MP_OK);
        assert_int_equal(w.gate_up, cases[i].calls);
        assert_int_equal(w.down, cases[i].calls);
        assert_int_equal(default_calls, 0);
        if (cases[i].calls) {
            assert_true(w.guards_are_nan);
            assert_true(mp_decode(MP_BF16, trace.t[MP_CACHE1_HOOKED].data, 7) == 42.0);
            assert_false(mp_decode(MP_BF16, trace.t[MP_CACHE1].data, 7) == 42.0); /* what gate_up left */
            assert_true(mp_decode(MP_BF16, trace.t[cases[i].out].data, 8) == 43.0);
        }
        mp_trace_destroy(&trace);
        assert_int_equal(run_with(cases[i].text, NULL, &trace, &default_calls, &report, &err), MP_OK);
        assert_int_equal(default_calls, 2 * cases[i].calls);
        mp_trace_destroy(&trace);
    }
}

/* With adapters the hooks of a new handle run behind what LoRA adds; others have no tensor that shows what
 * they would add. */
static void adapters_leave_no_room_for_other_hooks(void **state) {
    (void)state;
    mp_error err = {0};
    mp_trace trace;
    mp_surroundings_report report;
    int64_t default_calls;
    witness w = {.write_behind = -1};
    const mp_cuda_hooks hooks = {&w, seen_gate_up, seen_down};
    for (int combines = 0; combines < 2; combines++) {
        const char *text = combines ? SMALL "path=runner lora_adapters=2"
                                    : SMALL "path=runner lora_adapters=2 mode=no_combine";
        assert_int_equal(run_with(text, NULL, &trace, &default_calls, &report, &err), MP_OK);
        assert_int_equal(default_calls, 2);
        mp_trace_destroy(&trace);
        assert_int_equal(run_with(text, &hooks, &trace, &default_calls, &report, &err), MP_EUNSUPPORTED);
        assert_non_null(strstr(err.text, "lora_adapters=0"));
        assert_int_equal(w.gate_up + w.down, 0);
        mp_trace_destroy(&trace);
        assert_int_equal(fake.live, 0);
    }
}

/* Kernels write the rows that have an adapter, and here nothing: of a shrink all others are zeros, of an
 * expand what it adds to. */
static void rows_without_an_adapter_are_there_before_the_kernels(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int out, base; /* -1: zeros */
    } rows[] = {{"M=5 E=3 topk=2 K=33 lora_adapters=2 lora_rank=3 scope=shrink_gate_up", MP_LORA_H1, -1},
                {"M=5 E=3 topk=2 N=17 lora_adapters=2 lora_rank=3 scope=shrink_down", MP_LORA_H2, -1},
                {"M=5 E=3 topk=2 N=17 lora_adapters=2 scope=expand_gate_up", MP_CACHE1_HOOKED, MP_CACHE1},
                {"M=5 E=3 topk=2 K=33 lora_adapters=2 scope=expand_down", MP_CACHE3_HOOKED, MP_CACHE3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mp_case c = parsed(rows[i].text);
        mp_error err = {0};
        mp_inputs in;
        mp_subject cuda;
        mp_trace trace;
        mp_surroundings_report report;
        assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
        assert_int_equal(mp_subject_open("cuda", &cuda, &err), MP_OK);
        assert_int_equal(run_in_surroundings(&cuda, &c, &in, &trace, &report, &err), MP_OK);
        const mp_tensor *out = &trace.t[rows[i].out];
        const size_t bytes = mp_tensor_bytes(out);
        void *zeros = calloc(1, bytes);
        assert_memory_equal(out->data, rows[i].base < 0 ? zeros : in.t[rows[i].base].data, bytes);
        free(zeros);
        mp_trace_destroy(&trace);
        mp_subject_close(&cuda);
        mp_inputs_destroy(&in);
    }
}

static void a_hook_can_end_the_run(void **state) {
    (void)state;
    mp_error err = {0};
    mp_trace trace;
    mp_surroundings_report report;
    int64_t default_calls;
    witness w = {.write_behind = -1, .answer = MP_EUNSUPPORTED};
    const mp_cuda_hooks hooks = {&w, seen_gate_up, seen_down};
    assert_int_equal(run_with(SMALL "path=runner", &hooks, &trace, &default_calls, &report, &err),
                     MP_EUNSUPPORTED);
    assert_string_equal(err.text, "the adapter is missing");
    assert_int_equal(w.down, 0);
    assert_int_equal(fake.live, 0);
    mp_trace_destroy(&trace);
}

static void a_changed_guard_word_is_reported_where_it_is(void **state) {
    (void)state;
    static const int64_t words[] = {0, 1, 1000, MP_GUARD_BYTES / 2 - 1};
    for (size_t d = 0; d < 3; d++)
        for (size_t i = 0; i < 4; i++) {
            mp_error err = {0};
            mp_trace trace;
            mp_surroundings_report report;
            int64_t default_calls;
            char text[128], expected[128];
            snprintf(text, sizeof text, SMALL "path=runner dtype=%s", mp_dtype_name((mp_dtype)d));
            const mp_case c = parsed(text);
            const int64_t bytes = mp_case_slots(&c) * mp_case_w1_rows(&c) * (int64_t)mp_dtype_size(c.dtype);
            const int64_t behind = words[i] + (bytes - mp_case_slots(&c) * mp_case_w1_rows(&c) * 2) /
                                                  2; /* counted in 16-bit words */
            witness w = {.write_behind = behind};
            const mp_cuda_hooks hooks = {&w, seen_gate_up, NULL};
            assert_int_equal(run_with(text, &hooks, &trace, &default_calls, &report, &err), MP_OK);
            assert_true(w.guards_are_nan);
            snprintf(expected, sizeof expected,
                     "device buffer cache1_hooked: byte %lld of a buffer of %lld was written",
                     (long long)(bytes + 2 * words[i]), (long long)bytes);
            assert_string_equal(report.guard, expected);
            mp_trace_destroy(&trace);
        }
}

static void the_plan_covers_what_a_run_takes(void **state) {
    (void)state;
    const mp_case c = parsed(SMALL);
    mp_subject cuda;
    mp_offer offer;
    mp_error err = {0};
    assert_int_equal(mp_subject_open("cuda", &cuda, &err), MP_OK);
    assert_int_equal(mp_subject_describe(&cuda, &c, &offer, &err), MP_OK);
    assert_int_equal(offer.device_available, 1 << 30);
    assert_true(offer.device_bytes >= (size_t)64 << 20); /* machine code and stacks */
    mp_inputs in;
    mp_trace trace;
    mp_surroundings_report report;
    assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
    fake.bytes = 0;
    assert_int_equal(mp_run_surrounded(&cuda, &c, &offer, &in, MP_POISON_A, &trace, &report, &err), MP_OK);
    const size_t scratch = (size_t)2 << 16; /* out of the reserve */
    assert_in_range(fake.bytes, 1, mp_surroundings_device_bytes(&cuda, &c, &offer) + scratch);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    mp_subject_close(&cuda);
}

/* A tile that is built otherwise than it is named is said to be. */
static void stages_that_do_not_fit_are_noted(void **state) {
    (void)state;
    static const struct {
        const char *text, *note;
    } rows[] = {
        {SMALL "tile=128x256x64x16x8x4", ""},
        {SMALL "tile=128x256x64x16x8x5", "tile 128x256x64x16x8x5 is built with 4 stages: 5 do not fit"},
        {SMALL "tile=128x64x32x8x4x3 tile_down=128x256x64x16x8x5",
         "tile 128x256x64x16x8x5 is built with 4 stages: 5 do not fit"}};
    mp_subject cuda;
    mp_offer offer;
    mp_error err = {0};
    assert_int_equal(mp_subject_open("cuda", &cuda, &err), MP_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mp_case c = parsed(rows[i].text);
        if (mp_subject_describe(&cuda, &c, &offer, &err) != MP_OK) fail_msg("%s", err.text);
        assert_string_equal(offer.config.warning, rows[i].note);
    }
    mp_subject_close(&cuda);
}

/* ---- what is timed ---- */

/* Each scheme that has kernels, with the scales that its codes need. */
static void every_scheme_is_timed(void **state) {
    (void)state;
    int timed = 0;
    mp_cuda *cuda;
    assert_int_equal(mp_cuda_open(&cuda, NULL), MP_OK);
    for (int quant = 0; quant < MP_SCHEME_COUNT; quant++) {
        char text[128];
        snprintf(text, sizeof text, "M=8 topk=2 E=4 K=256 N=256 quant=%s", mp_schemes[quant].name);
        const mp_case c = parsed(text);
        size_t scales = 0;
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            const mp_tensor t = mp_case_shape(&c, (mp_tensor_id)id, 16);
            if (mp_case_inputs(&c) & MP_IN_SET(id) && mp_scaled_tensor((mp_tensor_id)id) != MP_TENSOR_COUNT)
                scales += mp_tensor_bytes(&t);
        }
        mp_config config;
        mp_cuda_bench_result r;
        mp_error err = {0};
        assert_int_equal(mp_config_resolve(&c, NULL, &config, &err), MP_OK);
        fake.uploaded = 0;
        const mp_status status = mp_cuda_bench(cuda, &c, &config, 1, 4096, &r, &err);
        if (status == MP_EUNSUPPORTED) continue;
        if (status != MP_OK) fail_msg("%s: %s", text, err.text);
        assert_true(fake.uploaded >= scales && (scales > 0) == (quant != MP_SCHEME_NONE));
        const bool quantises = mp_schemes[quant].quantises_activations;
        assert_true(isfinite(r.gemm_tflops) && r.gemm_tflops > 0);
        assert_true((r.quant_gbs[0] > 0) == quantises && (r.quant_gbs[1] > 0) == quantises);
        if (quant == MP_SCHEME_FP8_BLOCK) /* of 8 rows, 256 bf16 numbers, as many codes, 2 scales; in 1 ms */
            assert_true(fabs(r.quant_gbs[0] - 8 * (256 * 3 + 2 * 4) * 1e-6) < 1e-12);
        timed++;
    }
    assert_in_range(timed, 11, MP_SCHEME_COUNT);
    mp_cuda_close(cuda);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_nvrtc_is_unsupported_and_says_where_it_was_looked_for),
        cmocka_unit_test(a_long_cuda_home_is_whole),
        cmocka_unit_test(a_long_cache_folder_is_whole),
        cmocka_unit_test(why_there_is_no_cache_is_told),
        cmocka_unit_test(opening_fails_cleanly_at_every_call),
        cmocka_unit_test(devices_that_cannot_be_served_are_named),
        cmocka_unit_test(a_run_fails_cleanly_at_every_call),
        cmocka_unit_test(hooks_run_between_the_stages_of_the_runner_and_nowhere_else),
        cmocka_unit_test(adapters_leave_no_room_for_other_hooks),
        cmocka_unit_test(rows_without_an_adapter_are_there_before_the_kernels),
        cmocka_unit_test(a_hook_can_end_the_run),
        cmocka_unit_test(a_changed_guard_word_is_reported_where_it_is),
        cmocka_unit_test(the_plan_covers_what_a_run_takes),
        cmocka_unit_test(every_scheme_is_timed),
        cmocka_unit_test(stages_that_do_not_fit_are_noted),
    };
    return run_device_tests(tests);
}
