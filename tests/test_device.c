/* SPDX-License-Identifier: Apache-2.0 */
/* The host side of the CUDA pipeline, over a driver and an NVRTC that the test makes itself. */
#include "cases/scheme.h"
#include "harness/subjects/buffers.h"
#include "kernels/bench.h"
#include "kernels/handle.h"
#include "kernels/jit.h"
#include "kernels/stage/stage.h"
#include "tests/fake_cuda.h"

#include <glob.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static mp_case parsed(const char *text) {
    mp_case c = mp_case_default();
    mp_error err = {0};
    if (mp_case_parse(&c, text, &err) != MP_OK) fail_msg("%s", err.text);
    return c;
}

/* The subject cuda on a case, in the harness's surroundings. */
static mp_status run_in_surroundings(mp_subject *cuda, const mp_case *c, const mp_inputs *in, mp_trace *trace,
                                     mp_surroundings_report *report, mp_error *err) {
    mp_offer offer;
    *trace = (mp_trace){0};
    const mp_status status = mp_subject_describe(cuda, c, &offer, err);
    return status == MP_OK ? mp_run_surrounded(cuda, c, &offer, in, MP_POISON_A, trace, report, err) : status;
}

#define SMALL "M=5 E=3 K=33 N=17 bias=1 "

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

/* Odd sizes too: the zones begin at the first byte behind the data. */
static void device_buffers_have_guards_at_every_size(void **state) {
    (void)state;
    mp_cuda *cuda;
    mp_error err = {0};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    for (size_t bytes = 0; bytes < 9; bytes++)
        for (int64_t at = -MP_GUARD_BYTES; at < (int64_t)bytes + MP_GUARD_BYTES;
             at += at == -1 && bytes ? 1 : 97) {
            void *data;
            unsigned char content[8];
            assert_int_equal(space->alloc(space->self, bytes, MP_POISON_B, &data, &err), MP_OK);
            mp_region region = {.data = data, .bytes = bytes}, at_host = region;
            assert_int_equal(space->survey(space->self, &region, 1, &err), MP_OK);
            assert_true(region.intact);
            assert_int_equal(space->read(space->self, content, data, bytes, &err), MP_OK);
            for (size_t i = 0; i < bytes; i++)
                assert_int_equal(content[i], (MP_POISON_B >> 8 * (i % 4)) & 0xFF);
            ((unsigned char *)fake_memory((uintptr_t)data))[at] ^= 0x40;
            assert_int_equal(space->survey(space->self, &region, 1, &err), MP_OK);
            const bool inside = at >= 0 && at < (int64_t)bytes;
            assert_int_equal(region.intact, inside);
            if (!inside) assert_int_equal(region.offset, at);
            at_host.data = fake_memory((uintptr_t)data); /* the host says the same */
            assert_int_equal(mp_host_space.survey(NULL, &at_host, 1, &err), MP_OK);
            assert_int_equal(at_host.intact, inside);
            if (!inside) assert_int_equal(at_host.offset, at);
            space->free(space->self, data);
        }
    mp_cuda_close(cuda);
}

/* Piece by piece, with a last one that is short, in shares of one thread and of several, some of which have
 * nothing to carry. */
static void large_tensors_cross_whole(void **state) {
    (void)state;
    static const size_t sizes[] = {(4 << 20) - 1, (4 << 20) + 3, 32 << 20, (34 << 20) + 1};
    const int threads = omp_get_max_threads();
    mp_cuda *cuda;
    mp_error err = {0};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *data;
        uint32_t *sent = malloc(sizes[i] + 4), *got = calloc(1, sizes[i] + 4);
        assert_true(sent && got);
        for (size_t k = 0; k < sizes[i] / 4 + 1; k++) sent[k] = (uint32_t)(k * 2654435761u);
        assert_int_equal(space->alloc(space->self, sizes[i], MP_POISON_A, &data, &err), MP_OK);
        for (int t = 1; t <= 16; t += 5) {
            omp_set_num_threads(t);
            memset(fake_memory((uintptr_t)data), 0, sizes[i]);
            memset(got, 0, sizes[i]);
            assert_int_equal(space->write(space->self, data, sent, sizes[i], &err), MP_OK);
            assert_memory_equal(fake_memory((uintptr_t)data), sent, sizes[i]);
            assert_int_equal(space->read(space->self, got, data, sizes[i], &err), MP_OK);
            assert_memory_equal(got, sent, sizes[i]);
            assert_int_equal(((char *)got)[sizes[i]], 0);
        }
        omp_set_num_threads(threads);
        space->free(space->self, data);
        free(sent);
        free(got);
    }
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* A buffer, and what it must hold with its zones. */
typedef struct held {
    void *data;
    size_t bytes;
    unsigned char *all;
} held;

static void open_held(const mp_space *space, size_t bytes, uint32_t poison, held *h, mp_error *err) {
    *h = (held){.bytes = bytes, .all = malloc(bytes + 2 * MP_GUARD_BYTES)};
    assert_non_null(h->all);
    assert_int_equal(space->alloc(space->self, bytes, poison, &h->data, err), MP_OK);
    mp_fill_pattern(h->all, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    mp_fill_pattern(h->all + MP_GUARD_BYTES, bytes, poison);
    mp_fill_pattern(h->all + MP_GUARD_BYTES + bytes, MP_GUARD_BYTES, MP_GUARD_PATTERN);
}

static void write_held(const mp_space *space, held *h, size_t at, size_t bytes, mp_error *err) {
    unsigned char *content = malloc(bytes + 1);
    assert_non_null(content);
    for (size_t i = 0; i < bytes; i++) content[i] = (unsigned char)rand();
    assert_int_equal(space->write(space->self, (char *)h->data + at, content, bytes, err), MP_OK);
    memcpy(h->all + MP_GUARD_BYTES + at, content, bytes);
    free(content); /* nobody reads it any more */
}

/* Whatever is put off, and in whichever order one launch does it, buffers hold what they were given last. */
static void small_work_is_put_off_and_comes_to_the_same(void **state) {
    (void)state;
    enum { BUFFERS = 6, STEPS = 4000 };
    static const size_t sizes[] = {0, 1, 7, 64, 1000, 4099, 70001, (256 << 10) + 5};
    mp_cuda *cuda;
    mp_error err = {0};
    held h[BUFFERS] = {{0}};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    srand(1);
    fake.launched = 0;
    for (int step = 0; step < STEPS; step++) {
        held *b = &h[rand() % BUFFERS];
        const int what = rand() % 8;
        if (!b->data) {
            open_held(space, sizes[rand() % (int)(sizeof sizes / sizeof *sizes)],
                      rand() % 2 ? MP_POISON_A : MP_POISON_B, b, &err);
        } else if (what == 0) {
            space->free(space->self, b->data);
            free(b->all);
            *b = (held){0};
        } else if (what < 7) {
            const size_t at = what < 4 ? 0 : (size_t)rand() % (b->bytes + 1);
            write_held(space, b, at, what < 3 ? b->bytes : (b->bytes - at) / 2, &err);
        } else {
            assert_int_equal(mp_cuda_synchronize(cuda, &err), MP_OK);
            assert_memory_equal((char *)fake_memory((uintptr_t)b->data) - MP_GUARD_BYTES, b->all,
                                b->bytes + 2 * MP_GUARD_BYTES);
        }
    }
    assert_in_range(fake.launched, 1, STEPS / 2); /* it was put off at all */
    mp_reading readings[BUFFERS];
    int count = 0;
    for (int i = 0; i < BUFFERS; i++)
        if (h[i].data) readings[count++] = (mp_reading){calloc(1, h[i].bytes + 1), h[i].data, h[i].bytes};
    mp_region region = {.data = readings[0].from, .bytes = readings[0].bytes, .digested = readings[0].bytes};
    uint64_t digest[2];
    const mp_rows_region rows[] = {{readings[0].from, readings[0].bytes, 1, &digest[0]},
                                   {readings[1].from, readings[1].bytes, 1, &digest[1]}};
    const mp_inspection all = {&region, rows, readings, 1, 2, count};
    assert_int_equal(space->inspect(space->self, &all, &err), MP_OK);
    assert_true(region.intact && region.digest == mp_space_row_digest(readings[0].to, region.bytes));
    for (int i = 0; i < 2; i++)
        assert_true(digest[i] == mp_space_row_digest(readings[i].to, readings[i].bytes));
    for (int i = 0, k = 0; i < BUFFERS; i++) {
        if (!h[i].data) continue;
        assert_memory_equal(readings[k].to, h[i].all + MP_GUARD_BYTES, h[i].bytes);
        free(readings[k++].to);
    }
    assert_in_range(count, 4, BUFFERS);
    for (int i = 0; i < BUFFERS; i++) free(h[i].all);
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* Nothing is done any more to memory that somebody else has taken since. */
static void what_is_freed_is_left_alone(void **state) {
    (void)state;
    enum { BYTES = 1000 };
    mp_cuda *cuda;
    void *data;
    CUdeviceptr taken = 0;
    mp_error err = {0};
    unsigned char own[BYTES];
    memset(own, 0x55, sizeof own);
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    assert_int_equal(space->alloc(space->self, BYTES, MP_POISON_A, &data, &err), MP_OK);
    space->free(space->self, data);
    assert_int_equal(mp_pool_take(cuda, BYTES + 2 * MP_GUARD_BYTES, &taken, &err), MP_OK);
    assert_int_equal(taken, (uintptr_t)data - MP_GUARD_BYTES);
    memcpy(fake_memory((uintptr_t)data), own, sizeof own);
    assert_int_equal(mp_cuda_synchronize(cuda, &err), MP_OK);
    assert_memory_equal(fake_memory((uintptr_t)data), own, sizeof own);
    mp_pool_keep(cuda, taken);
    mp_cuda_close(cuda);
}

/* A kernel that writes no digest says of no row that it is what it was. */
static void digests_that_nobody_made_are_equal_to_none(void **state) {
    (void)state;
    enum { ROWS = 5, ROW_BYTES = 64 };
    mp_cuda *cuda;
    void *data;
    mp_error err = {0};
    uint64_t digest[3][ROWS];
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    assert_int_equal(space->alloc(space->self, ROWS * ROW_BYTES, MP_POISON_A, &data, &err), MP_OK);
    assert_int_equal(mp_cuda_synchronize(cuda, &err), MP_OK);
    for (int i = 0; i < 3; i++) {
        const mp_rows_region rows = {data, ROW_BYTES, ROWS, digest[i]};
        fake.no_digests = i < 2;
        assert_int_equal(space->digest_rows(space->self, &rows, 1, &err), MP_OK);
    }
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < 3; i++) assert_true(digest[i][row] != digest[(i + 1) % 3][row]);
    space->free(space->self, data);
    mp_cuda_close(cuda);
}

/* What was freed comes back, poisoned, for the same size alone; where the device has nothing left it is given
 * back. */
static void memory_of_the_same_size_is_used_again(void **state) {
    (void)state;
    mp_cuda *cuda;
    void *first, *again, *other;
    mp_region region;
    mp_error err = {0};
    size_t before, room, reserve;
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    assert_int_equal(mp_cuda_memory(cuda, &before, &reserve, &err), MP_OK);
    assert_int_equal(space->alloc(space->self, 1000, MP_POISON_A, &first, &err), MP_OK);
    memset((char *)fake_memory((uintptr_t)first) - 8, 0x11, 1016);
    space->free(space->self, first);
    assert_int_equal(mp_cuda_memory(cuda, &room, &reserve, &err), MP_OK);
    assert_true(room == before + 1000 + 2 * MP_GUARD_BYTES); /* the fake's driver does not count */
    assert_int_equal(space->alloc(space->self, 1001, MP_POISON_A, &other, &err), MP_OK);
    assert_ptr_not_equal(other, first);
    assert_int_equal(space->alloc(space->self, 1000, MP_POISON_B, &again, &err), MP_OK);
    assert_ptr_equal(again, first);
    region = (mp_region){.data = again, .bytes = 1000};
    assert_int_equal(space->survey(space->self, &region, 1, &err), MP_OK);
    assert_true(region.intact);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(((unsigned char *)fake_memory((uintptr_t)again))[i],
                         (MP_POISON_B >> 8 * (i % 4)) & 0xFF);
    space->free(space->self, again);
    space->free(space->self, other);
    const int kept = fake.live;
    fake.no_memory = 1;
    assert_int_equal(space->alloc(space->self, 5000, MP_POISON_A, &again, &err), MP_OK);
    assert_true(fake.live < kept); /* all that was kept for one that is new */
    fake.no_memory = 2;
    assert_int_equal(space->alloc(space->self, 6000, MP_POISON_A, &other, &err), MP_EMEMORY);
    fake.no_memory = 0;
    space->free(space->self, again);
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* For programs that launch kernels of their own: no NVRTC and no architecture is asked for, a buffer is alone
 * in its blocks, and digests are those of the bytes. */
static void memory_alone_needs_no_compiler(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        mp_cuda *cuda = NULL;
        mp_error err = {0};
        void *data = NULL, *copy = NULL;
        mp_cuda_handle handle, other;
        size_t offset = 0;
        uint64_t before_change;
        fake.architecture = 75; /* which this NVRTC does not know */
        if (mp_cuda_open_memory(&cuda, &err) != MP_OK) fail_msg("%s", err.text);
        assert_string_equal(mp_cuda_versions(cuda), "driver 13.0, sm_75");
        const mp_space *space = mp_cuda_space(cuda);
        const size_t bytes = (size_t)(i ? MP_CUDA_BLOCK_BYTES - 2 * MP_GUARD_BYTES + 1 : 1000),
                     before = fake.bytes;
        assert_int_equal(space->alloc(space->self, bytes, MP_POISON_A, &data, &err), MP_OK);
        assert_int_equal(fake.bytes - before, (i + 1) * MP_CUDA_BLOCK_BYTES);
        assert_int_equal(space->alloc(space->self, bytes, MP_POISON_A, &copy, &err), MP_OK);
        assert_int_equal(mp_cuda_share(cuda, data, &handle, &offset, &err), MP_OK);
        assert_int_equal(mp_cuda_share(cuda, copy, &other, &offset, &err), MP_OK);
        assert_int_equal(offset, MP_GUARD_BYTES);
        assert_memory_not_equal(&handle, &other, sizeof(void *));
        mp_region both[] = {{.data = data, .bytes = bytes, .digested = bytes},
                            {.data = copy, .bytes = bytes, .digested = bytes}};
        assert_int_equal(space->survey(space->self, both, 2, &err), MP_OK);
        assert_true(both[0].digest == both[1].digest && both[0].intact && both[1].intact);
        before_change = both[1].digest;
        ((unsigned char *)fake_memory((uintptr_t)copy))[bytes - 1] ^= 1;
        assert_int_equal(space->survey(space->self, both, 2, &err), MP_OK);
        assert_true(both[0].digest == before_change && both[1].digest != before_change);
        space->free(space->self, data);
        space->free(space->self, copy);
        fake.failing = fake.calls + 1; /* the second call of sharing */
        assert_int_equal(mp_cuda_share(cuda, data, &handle, &offset, &err), MP_EDEVICE);
        fake.failing = -1;
        mp_cuda_close(cuda);
        assert_int_equal(fake.live, 0);
    }
    fake.architecture = 90;
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

/* ---- streams and graphs ---- */

typedef struct begun {
    mp_case c;
    mp_inputs in;
    mp_subject cuda;
    mp_offer offer;
    mp_buffers *buffers;
    void *stream;
} begun;

/* The case has run once, lies in buffers, and a stream is open. */
static mp_status open_begun(const char *text, begun *b, mp_error *err) {
    mp_trace trace;
    mp_surroundings_report report;
    mp_buffer_sizes sizes = {0};
    b->c = parsed(text);
    assert_int_equal(mp_inputs_create(&b->c, &b->in, err), MP_OK);
    mp_status status = mp_subject_open("cuda", &b->cuda, err);
    if (status == MP_OK) status = run_in_surroundings(&b->cuda, &b->c, &b->in, &trace, &report, err);
    mp_trace_destroy(&trace);
    if (status == MP_OK) status = mp_subject_describe(&b->cuda, &b->c, &b->offer, err);
    mp_buffer_sizes_add(&b->c, &b->offer, &sizes);
    if (status == MP_OK)
        status = mp_buffers_open(&b->cuda, &sizes, MP_BUFFERS_KEPT, MP_POISON_A, &b->buffers, err);
    if (status == MP_OK) status = mp_buffers_load(b->buffers, &b->c, &b->offer, &b->in, err);
    return status == MP_OK ? b->cuda.streams->open(b->cuda.streams->self, &b->stream, err) : status;
}

static void close_begun(begun *b) {
    if (b->cuda.streams) b->cuda.streams->close(b->cuda.streams->self, b->stream);
    mp_buffers_close(b->buffers);
    mp_subject_close(&b->cuda);
    mp_inputs_destroy(&b->in);
}

static mp_status begin(begun *b, mp_error *err) {
    const mp_execution e = mp_buffers_execution(b->buffers);
    return b->cuda.begin(&b->cuda, &e, b->stream, err);
}

static void a_run_that_is_begun_is_on_its_stream_and_waits_for_nothing(void **state) {
    (void)state;
    static const char *const texts[] = {SMALL,
                                        SMALL "topk=3 fused_sum=1 rsf=2.5",
                                        SMALL "layout=sorted",
                                        SMALL "mode=inplace",
                                        SMALL "lora_adapters=3 lora_rank=5",
                                        "M=5 E=3 topk=2 N=17 lora_adapters=3 scope=expand_gate_up",
                                        "M=70000 topk=1 E=2 K=8 N=8 path=chunked",
                                        "M=5 E=3 topk=2 scope=align",
                                        "M=5 E=3 topk=2 K=33 scope=combine"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        begun b = {0};
        mp_error err = {0};
        void *graph = NULL;
        if (open_begun(texts[i], &b, &err) != MP_OK) fail_msg("%s: %s", texts[i], err.text);
        assert_true(b.offer.graphs && b.offer.overlaps);
        const mp_streams *streams = b.cuda.streams;
        const int unordered = fake.unordered, before = fake.launched;
        assert_int_equal(begin(&b, &err), MP_OK);
        const int launches = fake.launched - before;
        assert_true(launches > 0);
        assert_int_equal(streams->record(streams->self, b.stream, &err), MP_OK);
        assert_int_equal(begin(&b, &err), MP_OK);
        if (streams->recorded(streams->self, b.stream, &graph, &err) != MP_OK) fail_msg("%s", err.text);
        assert_int_equal(fake.launched - before, launches);
        for (int k = 2; k < 4; k++) {
            assert_int_equal(streams->launch(streams->self, graph, b.stream, &err), MP_OK);
            assert_int_equal(fake.launched - before, k * launches);
        }
        assert_int_equal(fake.unordered, unordered);
        streams->discard(streams->self, graph);
        close_begun(&b);
        assert_int_equal(fake.live, 0);
    }
}

/* What one block can sort is one launch; with fused_quant act is the quantiser's. */
static void kernels_that_can_be_one_are(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int launches;
    } rows[] = {{"M=5 E=3 topk=2 scope=align", 1},
                {"M=8000 E=3 topk=2 scope=align", 5},
                {"M=5 E=2000 topk=2 scope=align", 5}, /* more keys than it has room for */
                {"M=5 E=3 topk=2 scope=align lora_adapters=3", 2},
                {"M=5 E=3 topk=2 scope=align lora_adapters=900", 6},
                {"M=5 E=3 topk=2 K=32 N=32 quant=fp8-channel", 7},
                {"M=5 E=3 topk=2 K=32 N=32 quant=fp8-channel fused_quant=1", 6}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begun b = {0};
        mp_error err = {0};
        if (open_begun(rows[i].text, &b, &err) != MP_OK) fail_msg("%s: %s", rows[i].text, err.text);
        const int before = fake.launched;
        if (begin(&b, &err) != MP_OK) fail_msg("%s: %s", rows[i].text, err.text);
        if (fake.launched - before != rows[i].launches)
            fail_msg("%s: %d launches", rows[i].text, fake.launched - before);
        close_begun(&b);
    }
}

static void the_runner_cannot_be_begun(void **state) {
    (void)state;
    begun b = {0};
    mp_error err = {0};
    assert_int_equal(open_begun(SMALL "path=runner", &b, &err), MP_OK);
    assert_false(b.offer.graphs || b.offer.overlaps);
    assert_int_equal(begin(&b, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "path=runner"));
    close_begun(&b);
}

static void who_waits_while_it_is_recorded_is_refused(void **state) {
    (void)state;
    begun b = {0};
    mp_error err = {0};
    void *graph = NULL;
    assert_int_equal(open_begun(SMALL, &b, &err), MP_OK);
    const mp_streams *streams = b.cuda.streams;
    assert_int_equal(streams->record(streams->self, b.stream, &err), MP_OK);
    assert_int_equal(begin(&b, &err), MP_OK);
    assert_int_equal(streams->wait(streams->self, &err), MP_EDEVICE);
    assert_non_null(strstr(err.text, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"));
    assert_int_equal(streams->recorded(streams->self, b.stream, &graph, &err), MP_EDEVICE);
    assert_non_null(strstr(err.text, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"));
    assert_null(graph);
    assert_int_equal(streams->wait(streams->self, &err), MP_OK); /* it is over */
    close_begun(&b);
    assert_int_equal(fake.live, 0);
}

/* What a subject has begun to record, and has not ended, is over when its stream is closed, and the next one
 * that opens a stream finds one whose work is done. */
static void a_stream_that_is_left_recording_is_not_used_again(void **state) {
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        begun b = {0};
        mp_error err = {0};
        void *other;
        assert_int_equal(open_begun(SMALL, &b, &err), MP_OK);
        const mp_streams *streams = b.cuda.streams;
        assert_int_equal(streams->record(streams->self, b.stream, &err), MP_OK);
        if (refused) assert_int_equal(streams->wait(streams->self, &err), MP_EDEVICE);
        streams->close(streams->self, b.stream);
        assert_int_equal(streams->wait(streams->self, &err), MP_OK); /* nothing is recorded any more */
        assert_int_equal(streams->open(streams->self, &b.stream, &err), MP_OK);
        const int before = fake.launched;
        assert_int_equal(begin(&b, &err), MP_OK);
        assert_true(fake.launched > before);
        streams->close(streams->self, b.stream);
        assert_int_equal(streams->open(streams->self, &other, &err), MP_OK);
        assert_ptr_equal(other, b.stream); /* a sound one is kept */
        close_begun(&b);
        assert_int_equal(fake.live, 0);
    }
}

static void streams_fail_cleanly_at_every_call(void **state) {
    (void)state;
    bool whole = false;
    for (int n = 0; !whole; n++) {
        begun b = {0};
        mp_error err = {0};
        void *graph = NULL, *second = NULL;
        assert_int_equal(open_begun("M=5 E=3 topk=2 scope=align", &b, &err), MP_OK);
        const mp_streams *streams = b.cuda.streams;
        fake.calls = 0, fake.failing = n;
        mp_status status = streams->record(streams->self, b.stream, &err);
        if (status == MP_OK) status = begin(&b, &err);
        mp_status ended = streams->recorded(streams->self, b.stream, &graph, &err);
        if (status == MP_OK) status = ended;
        if (status == MP_OK) status = streams->launch(streams->self, graph, b.stream, &err);
        if (status == MP_OK) status = streams->open(streams->self, &second, &err);
        if (status == MP_OK) status = streams->hold(streams->self, (void *const[]){b.stream, second}, &err);
        streams->release(streams->self);
        if (status == MP_OK) status = streams->wait(streams->self, &err);
        whole = fake.calls <= n;
        assert_int_equal(status, whole ? MP_OK : MP_EDEVICE);
        fake.failing = -1;
        streams->discard(streams->self, graph);
        streams->close(streams->self, second);
        close_begun(&b);
        assert_int_equal(fake.live, 0);
    }
}

static void borrowed_weights_are_written_once(void **state) {
    (void)state;
    begun b = {0};
    mp_error err = {0};
    mp_inputs other;
    assert_int_equal(open_begun(SMALL, &b, &err), MP_OK);
    assert_int_equal(mp_inputs_other(&b.c, &b.in, SIZE_MAX, &other, &err), MP_OK);
    const size_t weights = mp_tensor_bytes(&b.in.t[MP_W1]) + mp_tensor_bytes(&b.in.t[MP_W2]);
    for (int i = 0; i < 4; i++) {
        mp_surroundings_report report;
        const size_t before = fake.uploaded;
        assert_int_equal(mp_buffers_load(b.buffers, &b.c, &b.offer, i == 2 ? &b.in : &other, &err), MP_OK);
        /* those of `other` come once; the owner's own always */
        assert_int_equal(fake.uploaded - before > weights, i != 1);
        assert_int_equal(mp_buffers_look(b.buffers, &report, &err), MP_OK);
        assert_string_equal(report.input, "");
    }
    mp_inputs_destroy(&other);
    close_begun(&b);
}

int main(void) {
    char folder[] = "/tmp/test_device.XXXXXX", command[64];
    unsetenv("SGLANG_MOE_CONFIG_DIR");
    unsetenv("VLLM_TUNED_CONFIG_FOLDER");
    if (!mkdtemp(folder) || setenv("MOEPARITY_CACHE", folder, 1) != 0) return 1;
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
        cmocka_unit_test(device_buffers_have_guards_at_every_size),
        cmocka_unit_test(large_tensors_cross_whole),
        cmocka_unit_test(small_work_is_put_off_and_comes_to_the_same),
        cmocka_unit_test(what_is_freed_is_left_alone),
        cmocka_unit_test(digests_that_nobody_made_are_equal_to_none),
        cmocka_unit_test(memory_of_the_same_size_is_used_again),
        cmocka_unit_test(memory_alone_needs_no_compiler),
        cmocka_unit_test(the_plan_covers_what_a_run_takes),
        cmocka_unit_test(every_scheme_is_timed),
        cmocka_unit_test(stages_that_do_not_fit_are_noted),
        cmocka_unit_test(a_run_that_is_begun_is_on_its_stream_and_waits_for_nothing),
        cmocka_unit_test(kernels_that_can_be_one_are),
        cmocka_unit_test(the_runner_cannot_be_begun),
        cmocka_unit_test(who_waits_while_it_is_recorded_is_refused),
        cmocka_unit_test(a_stream_that_is_left_recording_is_not_used_again),
        cmocka_unit_test(streams_fail_cleanly_at_every_call),
        cmocka_unit_test(borrowed_weights_are_written_once),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) == 0 ? failed : 1;
}
