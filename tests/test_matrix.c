/* SPDX-License-Identifier: Apache-2.0 */
/* cases/matrix.c, group.c, yaml.c, models.c: what each word of the matrix language gives, and where each
 * error is reported. */
#include "cases/models.h"
#include "moeparity/matrix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char folder[64];

static int make_folder(void **unused) {
    (void)unused;
    strcpy(folder, "/tmp/test_matrix_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **unused) {
    (void)unused;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void write_file(const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static mp_status load_file(mp_matrix *m, const char *name, mp_error *err) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return mp_matrix_load(m, path, err);
}

static mp_matrix loaded(const char *text) {
    mp_matrix m = {0};
    mp_error err;
    write_file("m.yaml", text);
    if (load_file(&m, "m.yaml", &err)) fail_msg("%s", err.text);
    return m;
}

/* All texts of a matrix, one a line, pairs in brackets. */
static char *listing(const mp_matrix *m) {
    static char text[65536];
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        n += mp_case_text(&m->rows[i].c, text + n, sizeof text - n);
        for (size_t p = 0; p < m->rows[i].pair_count; p++)
            n += (size_t)snprintf(text + n, sizeof text - n, " [%s]", m->rows[i].pair_text[p]);
        for (size_t p = 0; p < m->rows[i].after_count; p++)
            n += (size_t)snprintf(text + n, sizeof text - n, " [after %s]", m->rows[i].after_text[p]);
        n += (size_t)snprintf(text + n, sizeof text - n, "\n");
    }
    text[n] = 0;
    return text;
}

static void expect(const char *yaml, const char *cases) {
    mp_matrix m = loaded(yaml);
    assert_string_equal(listing(&m), cases);
    mp_matrix_free(&m);
}

static void language(void **unused) {
    (void)unused;
    /* A group without axes is one case. */
    expect("groups: [{name: g}]", "M=32 topk=2 act=silu\n");
    /* Defaults, and a scalar axis over them. */
    expect("defaults: {M: 4, act: gelu, gated: false}\ngroups: [{name: g, axes: {M: 8}}]",
           "M=8 topk=2 act=gelu gated=0\n");
    /* The cross product, the last axis fastest. */
    expect("groups: [{name: g, axes: {M: [1, 2], topk: [1, 4]}}]",
           "M=1 topk=1 act=silu\nM=1 topk=4 act=silu\nM=2 topk=1 act=silu\nM=2 topk=4 act=silu\n");
    /* Ranges end at or before `to`. */
    expect("groups: [{name: g, axes: {M: {from: 1, to: 6, step: 2}}}]",
           "M=1 topk=2 act=silu\nM=3 topk=2 act=silu\nM=5 topk=2 act=silu\n");
    expect("groups: [{name: g, axes: {M: {from: 3, to: 12, times: 2}}}]",
           "M=3 topk=2 act=silu\nM=6 topk=2 act=silu\nM=12 topk=2 act=silu\n");
    expect("groups: [{name: g, axes: {seed: {from: 9223372036854775806, to: 9223372036854775807, step: 1}}}]",
           "M=32 topk=2 act=silu seed=9223372036854775806\nM=32 topk=2 act=silu seed=9223372036854775807\n");
    /* Zipped fields move together, crossed with the axes. */
    expect("groups: [{name: g, axes: {M: [1, 2]}, zip: [{K: [96, 72], N: [8, 9]}]}]",
           "M=1 topk=2 K=96 N=8 act=silu\nM=1 topk=2 K=72 N=9 act=silu\nM=2 topk=2 K=96 N=8 act=silu\nM=2 "
           "topk=2 K=72 N=9 act=silu\n");
    expect("groups: [{name: g, zip: [{K: [96, 72], N: [8, 9]}, {M: {from: 1, to: 2, step: 1}, E: [3, 4]}]}]",
           "M=1 E=3 topk=2 K=96 N=8 act=silu\nM=2 E=4 topk=2 K=96 N=8 act=silu\n"
           "M=1 E=3 topk=2 K=72 N=9 act=silu\nM=2 E=4 topk=2 K=72 N=9 act=silu\n");
    /* Models, and axes that override them. */
    expect("groups: [{name: g, model: Mixtral-8x7B}]", "M=32 topk=2 K=4096 N=14336 act=silu\n");
    expect("groups: [{name: g, model: [Kimi-K2, Llama-4-Scout], axes: {M: 1, N: 64}}]",
           "M=1 E=384 topk=8 K=7168 N=64 act=silu rsf=2.827\nM=1 E=16 topk=1 K=5120 N=64 act=silu "
           "apply_router_weight_on_input=1\n");
    /* Exclusion by mapping and by expression; what is excluded need not be possible. */
    expect("groups: [{name: g, axes: {M: [1, 2], topk: [1, 4]}, exclude: [{M: 1, topk: 4}, M>1 topk=1]}]",
           "M=1 topk=1 act=silu\nM=2 topk=4 act=silu\n");
    expect("groups: [{name: g, axes: {act: [relu2, silu], gated: [0, 1]}, exclude: [act=relu2 gated=1]}]",
           "M=32 topk=2 act=relu2 gated=0\nM=32 topk=2 act=silu gated=0\nM=32 topk=2 act=silu\n");
    /* Impossible combinations left out on request. */
    expect("groups: [{name: g, skip_impossible: true, axes: {act: [relu2, gelu_tanh], gated: [0, 1]}}]",
           "M=32 topk=2 act=relu2 gated=0\nM=32 topk=2 act=gelu_tanh\n");
    /* Pairs: text, mapping, condition. */
    expect("groups: [{name: g, axes: {M: [1, 70000]}, pairs: [path=runner, {layout: sorted, mode: inplace}, "
           "{when: M>65536, "
           "variant: path=chunked},\n"
           "  {when: M=1, variant: {path: runner, mode: inplace}}]}]",
           "M=1 topk=2 act=silu [path=runner] [layout=sorted mode=inplace] [path=runner mode=inplace]\n"
           "M=70000 topk=2 act=silu [path=runner] [layout=sorted mode=inplace] [path=chunked]\n");
    /* A variant that is impossible, or the case itself, is left out on request. */
    expect("groups: [{name: g, skip_impossible: true, axes: {mode: [combine, inplace], rsf: 2}, pairs: "
           "[mode=inplace, "
           "mode=no_combine]}]",
           "M=32 topk=2 act=silu rsf=2 [mode=inplace]\nM=32 topk=2 act=silu rsf=2 mode=inplace\n");
}

static void what_runs_before(void **unused) {
    (void)unused;
    expect("groups: [{name: g, axes: {M: [1, 9]}, after: [seed=1, {M: 70, routing: first}, {when: M>1, "
           "variant: M=0}]}]",
           "M=1 topk=2 act=silu [after seed=1] [after M=70 routing=first]\n"
           "M=9 topk=2 act=silu [after seed=1] [after M=70 routing=first] [after M=0]\n");
    /* It may be the case itself. Equal cases have all, each once. */
    expect("groups: [{name: g, axes: {M: 9}, after: [M=9]}, {name: h, axes: {M: 9}, pairs: [path=runner], "
           "after: [M=9 seed=0, seed=2]}]",
           "M=9 topk=2 act=silu [path=runner] [after M=9] [after seed=2]\n");
    /* What is impossible is left out on request. */
    expect("groups: [{name: g, skip_impossible: true, axes: {topk: [1, 2]}, after: [routing=duplicates]}]",
           "M=32 topk=1 act=silu\nM=32 topk=2 act=silu [after routing=duplicates]\n");
    mp_matrix m = loaded("groups: [{name: g, axes: {M: 5}, after: [seed=3]}]");
    assert_int_equal(m.rows[0].afters[0].M, 5);
    assert_int_equal(m.rows[0].afters[0].seed, 3);
    mp_matrix_free(&m);
}

static void pairs_are_complete_cases(void **unused) {
    (void)unused;
    mp_matrix m = loaded(
        "groups: [{name: g, tier: smoke, axes: {M: 5}, pairs: [path=runner]}, {name: h, axes: {M: 6}}]");
    assert_int_equal(m.rows[0].pairs[0].M, 5);
    assert_int_equal(m.rows[0].pairs[0].path, MP_RUNNER);
    assert_string_equal(m.rows[0].group, "g");
    assert_int_equal(m.rows[0].tier, MP_SMOKE);
    assert_int_equal(m.rows[1].tier, MP_CI); /* the default */
    mp_matrix_free(&m);
}

static void duplicates_are_merged(void **unused) {
    (void)unused;
    mp_matrix m = loaded("groups: [{name: g, tier: full, axes: {M: [1, 2]}, pairs: [path=runner]}, {name: h, "
                         "tier: smoke, axes: "
                         "{M: [3, 1]}, pairs: [path=runner, "
                         "layout=sorted]}]");
    assert_string_equal(
        listing(&m), "M=1 topk=2 act=silu [path=runner] [layout=sorted]\nM=2 topk=2 act=silu [path=runner]\n"
                     "M=3 topk=2 act=silu [path=runner] [layout=sorted]\n");
    assert_int_equal(m.rows[0].tier, MP_SMOKE);
    assert_int_equal(m.rows[1].tier, MP_FULL);
    assert_string_equal(m.rows[0].group, "g");
    mp_error err;
    assert_int_equal(load_file(&m, "m.yaml", &err), MP_OK); /* the same file again adds nothing */
    assert_int_equal(m.count, 3);
    mp_matrix_free(&m);
}

static void includes(void **unused) {
    (void)unused;
    mp_matrix m = {0};
    mp_error err;
    write_file("a.yaml", "include: [b.yaml, c.yaml]\ndefaults: {K: 64}\ngroups: [{name: a, axes: {M: 1}}]\n");
    write_file("b.yaml", "include: [c.yaml]\n");
    write_file("c.yaml", "groups: [{name: c, axes: {M: 2}}]\n"); /* K stays: defaults belong to their file */
    if (load_file(&m, "a.yaml", &err)) fail_msg("%s", err.text);
    assert_string_equal(listing(&m), "M=2 topk=2 act=silu\nM=1 topk=2 K=64 act=silu\n");
    mp_matrix_free(&m);

    write_file("c.yaml", "# one\ninclude:\n  - a.yaml\n");
    assert_int_equal(load_file(&m, "a.yaml", &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "a.yaml includes itself"));
    assert_non_null(strstr(err.text, "c.yaml:3: include"));
    write_file("c.yaml", "groups: [{name: c, axes: {M: -1}}]\n");
    assert_int_equal(load_file(&m, "a.yaml", &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "a.yaml:1: include: "));
    assert_non_null(strstr(err.text, "c.yaml:1: M=-1"));
    write_file("c.yaml", "include: [none.yaml]\n");
    assert_int_equal(load_file(&m, "a.yaml", &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "none.yaml: No such file"));
    assert_int_equal(m.count, 0);
}

/* Each of 24 files includes the next one twice: 2^23 ways lead to the last. */
static void a_file_is_read_once(void **unused) {
    (void)unused;
    mp_matrix m = {0};
    mp_error err;
    char name[32], text[128];
    for (int i = 0; i < 24; i++) {
        snprintf(name, sizeof name, "twice%d.yaml", i);
        snprintf(text, sizeof text,
                 "include: [twice%d.yaml, ./twice%d.yaml]\ngroups: [{name: g, axes: {M: %d}}]\n", i + 1,
                 i + 1, i + 1);
        write_file(name, i < 23 ? text : "groups: [{name: g, axes: {M: 24}}]");
    }
    alarm(60);
    if (load_file(&m, "twice0.yaml", &err)) fail_msg("%s", err.text);
    alarm(0);
    assert_int_equal(m.count, 24);
    for (size_t i = 0; i < m.count; i++) assert_int_equal(m.rows[i].c.M, 24 - i); /* the innermost first */
    mp_matrix_free(&m);
}

/* Through a link or another path, a file is the same file. */
static void a_cycle_is_seen_under_any_name(void **unused) {
    (void)unused;
    mp_matrix m = {0};
    mp_error err;
    char link[128], file[128], detour[128];
    snprintf(file, sizeof file, "%s/a.yaml", folder);
    snprintf(link, sizeof link, "%s/link.yaml", folder);
    snprintf(detour, sizeof detour, "include: [../%s/./a.yaml]\n", strrchr(folder, '/') + 1);
    assert_int_equal(symlink(file, link), 0);
    write_file("b.yaml", "include: [link.yaml]\n");
    const char *const texts[] = {"include: [a.yaml]\n", "include: [link.yaml]\n", detour,
                                 "include: [b.yaml]\n"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        write_file("a.yaml", texts[i]);
        assert_int_equal(load_file(&m, "a.yaml", &err), MP_EINPUT);
        if (!strstr(err.text, "includes itself")) fail_msg("%s", err.text);
    }
}

static void includes_do_not_nest_without_end(void **unused) {
    (void)unused;
    mp_matrix m = {0};
    mp_error err;
    char name[32], text[64];
    for (int deepest = 32; deepest <= 34; deepest++) {
        for (int i = 0; i <= deepest; i++) {
            snprintf(name, sizeof name, "deep%d.yaml", i);
            snprintf(text, sizeof text, "include: [deep%d.yaml]\n", i + 1);
            write_file(name, i < deepest ? text : "groups: [{name: g}]");
        }
        const mp_status status = load_file(&m, "deep0.yaml", &err);
        assert_int_equal(status, deepest == 32 ? MP_OK : MP_EINPUT);
        if (status && !strstr(err.text, "deep33.yaml: an include within 32 others")) fail_msg("%s", err.text);
        mp_matrix_free(&m);
    }
}

/* Where no file is, none is waited for; and what an error quotes is safe on a terminal. */
static void strange_files_are_refused(void **unused) {
    (void)unused;
    mp_matrix m = {0};
    mp_error err;
    char fifo[128];
    snprintf(fifo, sizeof fifo, "%s/fifo.yaml", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    write_file("a.yaml", "include: [fifo.yaml]\n");
    alarm(20);
    assert_int_equal(load_file(&m, "fifo.yaml", &err), MP_EIO);
    assert_non_null(strstr(err.text, "fifo.yaml: a FIFO; expected a regular file"));
    assert_int_equal(load_file(&m, "a.yaml", &err), MP_EIO);
    assert_non_null(strstr(err.text, "a.yaml:1: include: "));
    alarm(0);
    assert_int_equal(mp_matrix_load(&m, folder, &err), MP_EIO);
    assert_non_null(strstr(err.text, "a directory; expected a regular file"));
    assert_int_equal(mp_matrix_load(&m, "/dev/null", &err), MP_EIO);
    assert_non_null(strstr(err.text, "/dev/null: a device; expected a regular file"));

    write_file("a.yaml", "groups: [{name: g, \"\\e[31m\\u202e\": 1}]\n");
    assert_int_equal(load_file(&m, "a.yaml", &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "unknown key '\\x1b[31m\\xe2\\x80\\xae'"));
    write_file("a.yaml", "groups: [{name: g, axes: {M: \"\\e]0;x\\a\"}}]\n");
    assert_int_equal(load_file(&m, "a.yaml", &err), MP_EINPUT);
    assert_null(strpbrk(err.text, "\x1b\a"));
}

/* Texts that cost more than their length: neither memory nor time is spent on them. */
static void large_texts_are_refused_soon(void **unused) {
    (void)unused;
    mp_matrix m = {0};
    mp_error err;
    const size_t size = (size_t)1 << 20;
    char *text = malloc(size + 2);
    assert_non_null(text);
    memset(text, '#', size + 1);
    text[size + 1] = '\0';
    alarm(60);
    write_file("a.yaml", text);
    assert_int_equal(load_file(&m, "a.yaml", &err), MP_EIO);
    assert_non_null(strstr(err.text, "1048577 bytes; expected at most 1048576"));

    size_t used = (size_t)sprintf(text, "groups: [{name: g}]\ndefaults:\n");
    for (unsigned i = 0; used + 32 < size; i++) used += (size_t)sprintf(text + used, " a%x: 1\n", i);
    write_file("a.yaml", text);
    assert_int_equal(load_file(&m, "a.yaml", &err), MP_EINPUT);
    if (!strstr(err.text, "a.yaml:3: defaults: ") || !strstr(err.text, " keys; expected at most 256"))
        fail_msg("%s", err.text);

    const struct {
        const char *piece, *because;
    } costly[] = {{"[", "a.yaml:1: nests too deeply; expected at most 64"},
                  {"{a: ", "a.yaml:1: nests too deeply"},
                  {"- ", "a.yaml:1: nests too deeply"},
                  {"- &a%x 1\n", "a.yaml:1025: too many anchors; expected at most 1024"},
                  {"%%TAG !%x! b\n", "times '%'; expected at most 1024"},
                  {"%%TAG !%x! b\r", "times '%'; expected at most 1024"}};
    for (size_t i = 0; i < COUNT(costly); i++) {
        used = 0;
        for (unsigned k = 0; used + 32 < size; k++) {
            char piece[32];
            snprintf(piece, sizeof piece, costly[i].piece, k);
            used += (size_t)sprintf(text + used, "%s", piece);
        }
        write_file("a.yaml", text);
        assert_int_equal(load_file(&m, "a.yaml", &err), MP_EINPUT);
        if (!strstr(err.text, costly[i].because))
            fail_msg("expected '%s' in: %s", costly[i].because, err.text);
    }
    /* As deep as is allowed is YAML like any other. */
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    text[128] = '\0';
    write_file("a.yaml", text);
    assert_int_equal(load_file(&m, "a.yaml", &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "a.yaml:1: matrix: expected a mapping"));
    alarm(0);
    free(text);
}

static void errors_name_file_and_line(void **unused) {
    (void)unused;
    static const struct {
        const char *yaml;
        int line;
        const char *message;
    } e[] = {
        {"", 1, "empty"},
        {"# only a comment\n", 1, "empty"},
        {"groups:\n\t- name: g\n", 2, "not YAML"},
        {"groups: [\n", 2, "not YAML"},
        {"groups: [{name: g}]\n---\ngroups: [{name: h}]\n", 3, "second document"},
        {"- 1\n", 1, "expected a mapping"},
        {"defaults: {M: 1}\n", 1, "neither include nor groups"},
        {"groups: [{name: g}]\ngroup: 1\n", 2,
         "unknown key 'group'; expected one of include, defaults, groups"},
        {"groups: [{name: g}]\ngroups: [{name: g}]\n", 2, "key 'groups' is given twice"},
        {"groups: {name: g}\n", 1, "groups: expected a list"},
        {"groups: []\n", 1, "the list is empty"},
        {"groups:\n  - 5\n", 2, "group: expected a mapping"},
        {"include: a.yaml\n", 1, "include: expected a list"},
        {"include:\n  - [a]\n", 2, "expected a path"},
        {"defaults:\n  M: -1\ngroups: [{name: g}]\n", 2, "M=-1: expected an integer from 0"},
        {"defaults:\n  E: 4\n  m: 1\ngroups: [{name: g}]\n", 3, "did you mean 'M'?"},
        {"defaults:\n  rsf: 1e-400\ngroups: [{name: g}]\n", 2, "1e-400 is too small for a float64"},
        {"groups:\n  - name: g\n    axes:\n      rsf: [1, 1e400]\n", 4, "1e400 is too large for a float64"},
        {"groups:\n  - name: g\n    exclude:\n      - ''\n", 4, "exclude: an empty match expression"},
        {"groups:\n  - name: g\n    pairs:\n      - {when: ' ', variant: path=runner}\n", 4,
         "when: an empty match expression"},
        {"defaults:\n  M: [1]\ngroups: [{name: g}]\n", 2, "expected one value"},
        {"groups:\n  - tier: ci\n", 2, "expected a name"},
        {"groups:\n  - name: [g]\n", 2, "expected a name"},
        {"groups:\n  - name: g\n    tiers: ci\n", 3,
         "unknown key 'tiers'; expected one of name, tier, model, axes, zip, exclude, pairs, after, "
         "skip_impossible"},
        {"groups:\n  - name: g\n    tier: fast\n", 3, "'fast'; expected smoke, ci or full"},
        {"groups:\n  - name: g\n    skip_impossible: yes\n", 3, "expected true or false"},
        {"groups:\n  - name: g\n    model: Mixtral\n", 3,
         "unknown 'Mixtral'; expected one of Mixtral-8x7B, "},
        {"groups:\n  - name: g\n    model: []\n", 3, "the list is empty"},
        {"groups:\n  - name: g\n    axes: [M]\n", 3, "axes: expected a mapping"},
        {"groups:\n  - name: g\n    axes:\n      M: [1,\n          -1]\n", 5, "M=-1: expected"},
        {"groups:\n  - name: g\n    axes:\n      M: []\n", 4, "the list is empty"},
        {"groups:\n  - name: g\n    axes:\n      M: [[1]]\n", 4,
         "expected a value, a list of values, or a range"},
        {"groups:\n  - name: g\n    axes:\n      M: 1\n      M: 2\n", 5, "key 'M' is given twice"},
        {"groups:\n  - name: g\n    axes: {[M]: 2}\n", 3, "expected a name"},
        {"groups:\n  - name: g\n    axes: {M: 1 topk=4}\n", 3, "M=1 topk=4: expected an integer"},
        {"groups:\n  - name: g\n    axes: {M: {from: 1, to: 8}}\n", 3, "expected either step or times"},
        {"groups:\n  - name: g\n    axes: {M: {from: 1, to: 8, step: 1, times: 2}}\n", 3,
         "expected either step or times"},
        {"groups:\n  - name: g\n    axes: {M: {to: 8, step: 1}}\n", 3, "'from' is missing"},
        {"groups:\n  - name: g\n    axes: {M: {from: 9, to: 8, step: 1}}\n", 3, "from 9 is above to 8"},
        {"groups:\n  - name: g\n    axes: {M: {from: 1, to: 8, step: 0}}\n", 3, "step must be at least 1"},
        {"groups:\n  - name: g\n    axes: {M: {from: 1, to: 8, times: 1}}\n", 3, "times must be at least 2"},
        {"groups:\n  - name: g\n    axes: {M: {from: 0, to: 8, times: 2}}\n", 3, "from at least 1"},
        {"groups:\n  - name: g\n    axes: {M: {from: 1, to: x, step: 1}}\n", 3, "to: x; expected an integer"},
        {"groups:\n  - name: g\n    axes: {M: {from: 1, to: 8, by: 1}}\n", 3, "unknown key 'by'"},
        {"groups:\n  - name: g\n    axes: {act: {from: 1, to: 8, step: 1}}\n", 3, "act=1: expected silu"},
        {"groups:\n  - name: g\n    axes: {M: {from: 1, to: 100000, step: 1}}\n", 3,
         "more than 65536 values"},
        {"groups:\n  - name: g\n    axes: {M: {from: 1, to: 9999, step: 1}, seed: {from: 1, to: 9999, step: "
         "1}}\n",
         2, "crosses to more than 1048576 cases"},
        {"groups:\n  - name: g\n    zip: {M: [1], E: [1]}\n", 3, "zip: expected a list"},
        {"groups:\n  - name: g\n    zip:\n      - {M: [1]}\n", 4, "at least two fields"},
        {"groups:\n  - name: g\n    zip:\n      - M: [1, 2]\n        E: [1]\n", 5,
         "E has 1 values where the fields before it have 2"},
        {"groups:\n  - name: g\n    axes: {M: 1}\n    zip:\n      - {E: [1], M: [2]}\n", 5,
         "M is set by two axes"},
        {"groups:\n  - name: g\n    exclude: M=32\n", 3, "exclude: expected a list"},
        {"groups:\n  - name: g\n    exclude:\n      - Q=32\n", 4, "unknown field 'Q'"},
        {"groups:\n  - name: g\n    exclude:\n      - {M: x}\n", 4, "M=x: expected"},
        {"groups:\n  - name: g\n    exclude:\n      - M=33\n", 4, "matches no case of group 'g'"},
        {"groups:\n  - name: g\n    exclude: [M=32]\n", 2, "group 'g' has no case left"},
        {"groups:\n  - name: g\n    axes: {act: relu2}\n    skip_impossible: true\n", 2, "has no case left"},
        {"groups:\n  - name: g\n    axes: {act: [silu, relu2]}\n", 2,
         "'M=32 topk=2 act=relu2' is impossible"},
        {"groups:\n  - name: g\n    pairs: path=runner\n", 3, "pairs: expected a list"},
        {"groups:\n  - name: g\n    pairs:\n      - runner\n", 4, "'runner': expected name=value"},
        {"groups:\n  - name: g\n    pairs:\n      - path=run\n", 4,
         "path=run: expected fused, runner, chunked"},
        {"groups:\n  - name: g\n    pairs:\n      - path=fused\n", 4, "the variant is the case itself"},
        {"groups:\n  - name: g\n    pairs:\n      - fused_sum=1\n", 4,
         "pair 'fused_sum=1' of 'M=32 topk=2 act=silu': fused_sum=1 is used with topk > 2"},
        {"groups:\n  - name: g\n    pairs:\n      - seed=5\n", 4,
         "pair 'seed=5' of 'M=32 topk=2 act=silu': seed=5 instead of seed=0 is another problem"},
        {"groups:\n  - name: g\n    skip_impossible: true\n    pairs:\n      - {data: wide}\n", 5,
         "is another problem"},
        {"groups:\n  - name: g\n    pairs:\n      - {when: M=1, variant: path=runner}\n", 4,
         "when: 'M=1' matches no case"},
        {"groups:\n  - name: g\n    pairs:\n      - {when: M=1}\n", 4, "expected both when and variant"},
        {"groups:\n  - name: g\n    pairs:\n      - {when: M=x, variant: path=runner}\n", 4, "M=x: expected"},
        {"groups:\n  - name: g\n    pairs:\n      - {when: M=32, varant: path=runner}\n", 4,
         "unknown key 'varant'"},
        {"groups:\n  - name: g\n    pairs:\n      - [path=runner]\n", 4, "pairs: expected a mapping"},
        {"groups:\n  - name: g\n    after: seed=1\n", 3, "after: expected a list"},
        {"groups:\n  - name: g\n    after: ['']\n", 3, "after: an empty variant: expected name=value"},
        {"groups:\n  - name: g\n    after: [seed=1, {}]\n", 3, "after: an empty variant"},
        {"groups:\n  - name: g\n    pairs: [{when: M=32, variant: ' '}]\n", 3, "pairs: an empty variant"},
        {"groups:\n  - name: g\n    after:\n      - seed\n", 4, "after: 'seed': expected name=value"},
        {"groups:\n  - name: g\n    after:\n      - K=64\n", 4,
         "after 'K=64' of 'M=32 topk=2 act=silu': K=64 instead of K=512 does not run on the same buffers"},
        {"groups:\n  - name: g\n    after:\n      - seed=1\n      - path=runner\n", 5,
         "the case before may differ in M, routing, seed, filter, data and lora_routing"},
        {"groups:\n  - name: g\n    after:\n      - {when: M=1, variant: seed=1}\n", 4,
         "when: 'M=1' matches no case"},
        {"groups:\n  - name: g\n    after: [M=0, M=1, M=2, M=3, M=4, M=5, M=6, M=7, M=8]\n", 3,
         "a case runs after at most 8 others"},
    };
    for (size_t i = 0; i < COUNT(e); i++) {
        mp_matrix m = {0};
        mp_error err = {0};
        char start[256];
        write_file("m.yaml", e[i].yaml);
        if (load_file(&m, "m.yaml", &err) != MP_EINPUT)
            fail_msg("accepted, or another status (%s):\n%s", err.text, e[i].yaml);
        snprintf(start, sizeof start, "%s/m.yaml:%d: ", folder, e[i].line);
        if (strncmp(err.text, start, strlen(start)) || !strstr(err.text, e[i].message))
            fail_msg("%s\ngives      %s\nexpected   %s... %s", e[i].yaml, err.text, start, e[i].message);
        assert_int_equal(err.status, MP_EINPUT);
        assert_null(m.rows);
    }
}

static void failure_leaves_the_matrix(void **unused) {
    (void)unused;
    mp_error err;
    mp_matrix m = loaded("groups: [{name: g}]");
    write_file("m.yaml", "groups: [{name: g, axes: {M: [1, 2]}}, {name: h, axes: {M: -1}}]");
    assert_int_equal(load_file(&m, "m.yaml", &err), MP_EINPUT);
    assert_string_equal(listing(&m), "M=32 topk=2 act=silu\n");
    const char *const bad[] = {"path=fused", "M=512", "dtype=fp32", "mode=no_combine"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(mp_matrix_add(&m, "M=5", &bad[i], 1, &err), MP_EINPUT);
    assert_int_equal(mp_matrix_add(&m, "M=-1", NULL, 0, &err), MP_EINPUT);
    assert_int_equal(m.count, 1);
    mp_matrix_free(&m);
}

/* A verdict has room for 16 comparisons, one of them with another subject. */
static void pairs_of_a_case_are_limited(void **unused) {
    (void)unused;
    for (int count = MP_MATRIX_MAX_PAIRS; count <= MP_MATRIX_MAX_PAIRS + 1; count++) {
        char yaml[2048] = "groups:\n  - name: g\n    pairs:\n",
             merged[2048] = "groups:\n  - {name: g, pairs: [path=runner]}\n  - name: h\n    pairs:\n";
        for (int i = 0; i < count; i++) {
            snprintf(yaml + strlen(yaml), sizeof yaml - strlen(yaml), "      - tile=64x64x32x%dx4x3\n",
                     i + 1);
            if (i > 0)
                snprintf(merged + strlen(merged), sizeof merged - strlen(merged),
                         "      - tile=64x64x32x%dx4x3\n", i);
        }
        const bool fits = count == MP_MATRIX_MAX_PAIRS;
        const char *const files[] = {yaml, merged};
        for (int f = 0; f < 2; f++) {
            mp_matrix m = {0};
            mp_error err = {0};
            char start[256];
            write_file("m.yaml", files[f]);
            assert_int_equal(load_file(&m, "m.yaml", &err), fits ? MP_OK : MP_EINPUT);
            if (fits) assert_int_equal(m.rows[0].pair_count, MP_MATRIX_MAX_PAIRS);
            snprintf(start, sizeof start, f == 0 ? "%s/m.yaml:%d: pair '" : "%s/m.yaml: pair '", folder,
                     3 + count);
            if (!fits && (strncmp(err.text, start, strlen(start)) || !strstr(err.text, "at most 15 pairs")))
                fail_msg("%s", err.text);
            mp_matrix_free(&m);
        }
    }
}

/* An empty variable of a script is no case and no filter. */
static void empty_texts_are_refused(void **unused) {
    (void)unused;
    mp_error err;
    mp_matrix m = loaded("groups: [{name: g}]");
    for (const char *const *text = (const char *const[]){"", " ", "\t\n", NULL}; *text; text++) {
        assert_int_equal(mp_matrix_add(&m, *text, NULL, 0, &err), MP_EINPUT);
        assert_non_null(strstr(err.text, "': an empty case: expected name=value"));
        assert_int_equal(mp_matrix_add(&m, "M=7", text, 1, &err), MP_EINPUT);
        assert_int_equal(mp_matrix_select(&m, MP_FULL, *text, &err), MP_EINPUT);
        assert_non_null(strstr(err.text, "an empty match expression: expected terms"));
        assert_int_equal(m.count, 1);
    }
    mp_matrix_free(&m);
}

static void add_and_select(void **unused) {
    (void)unused;
    mp_error err;
    mp_matrix m = {0};
    const char *const pairs[] = {"path=runner", "layout=sorted"};
    assert_int_equal(mp_matrix_add(&m, "M=7 act=gelu", pairs, 2, &err), MP_OK);
    assert_int_equal(mp_matrix_add(&m, "act=gelu M=7", NULL, 0, &err), MP_OK); /* the same case */
    assert_string_equal(listing(&m), "M=7 topk=2 act=gelu [path=runner] [layout=sorted]\n");
    mp_matrix_free(&m);

    const char *yaml = "groups: [{name: s, tier: smoke, axes: {M: [1, 2]}}, {name: c, tier: ci, axes: {M: "
                       "[3, 4]}}, {name: f, "
                       "tier: full, axes: {M: 5}}]";
    static const struct {
        mp_tier tier;
        const char *expr;
        size_t count;
    } s[] = {{MP_SMOKE, NULL, 2},
             {MP_CI, NULL, 4},
             {MP_FULL, NULL, 5},
             {MP_FULL, "M>1 M<5", 3},
             {MP_SMOKE, "M=2", 1}};
    for (size_t i = 0; i < COUNT(s); i++) {
        m = loaded(yaml);
        assert_int_equal(mp_matrix_select(&m, s[i].tier, s[i].expr, &err), MP_OK);
        assert_int_equal(m.count, s[i].count);
        mp_matrix_free(&m);
    }
    m = loaded(yaml);
    assert_int_equal(mp_matrix_select(&m, MP_CI, "Q=1", &err), MP_EINPUT);
    assert_int_equal(m.count, 5);
    assert_int_equal(mp_matrix_select(&m, MP_CI, "M=5", &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "no case left of 5: tier ci, match M=5"));
    mp_matrix_free(&m);
}

/* Models are known by the shape that they give a case, in any matrix, and among cases of a command line. */
static void models_are_selected_by_name(void **unused) {
    (void)unused;
    mp_error err;
    const char *yaml =
        "groups:\n"
        "  - {name: a, model: [Qwen3-30B-A3B, Qwen3-235B-A22B, DeepSeek-V3, GPT-OSS-20B], axes: {M: [1, "
        "2]}}\n"
        "  - {name: b, model: DeepSeek-V3, axes: {E: 32, ep_size: 8}}\n" /* an axis overrides the model */
        "  - {name: c, axes: {E: 128, topk: 8, K: 2048, N: 768, act: gelu}}\n";
    static const struct {
        const char *expr;
        size_t count;
        int64_t E; /* of the first that is left */
    } s[] = {{"model=Qwen3-30B-A3B", 3, 128}, {"model=qwen3-30b-a3b act=gelu", 1, 128},
             {"model=qwen3* M=2", 2, 128},    {"model=*", 9, 128},
             {"model=DeepSeek-V3", 2, 256},   {"model!=Qwen3* model!=GPT-OSS-20B", 3, 256},
             {"model=GPT-OSS*", 2, 32}};
    for (size_t i = 0; i < COUNT(s); i++) {
        mp_matrix m = loaded(yaml);
        assert_int_equal(m.count, 10);
        if (mp_matrix_select(&m, MP_FULL, s[i].expr, &err)) fail_msg("'%s': %s", s[i].expr, err.text);
        if (m.count != s[i].count) fail_msg("'%s' leaves %zu", s[i].expr, m.count);
        assert_int_equal(m.rows[0].c.E, s[i].E);
        mp_matrix_free(&m);
    }
}

static void tiers_have_names(void **unused) {
    (void)unused;
    for (unsigned i = 0; i < MP_TIER_COUNT; i++) {
        mp_tier tier;
        assert_true(mp_tier_parse(mp_tier_name((mp_tier)i), &tier));
        assert_int_equal(tier, i);
    }
    mp_tier tier;
    assert_false(mp_tier_parse("nightly", &tier));
}

static void models_are_possible_cases(void **unused) {
    (void)unused;
    size_t count;
    const mp_model *list = mp_model_list(&count);
    assert_true(count >= 13);
    for (size_t i = 0; i < count; i++) {
        mp_error err;
        mp_case c = mp_case_default();
        if (mp_case_parse(&c, list[i].overrides, &err)) fail_msg("%s: %s", list[i].name, err.text);
        assert_ptr_equal(mp_model_find(list[i].name), &list[i]);
    }
    assert_null(mp_model_find("mixtral"));
}

static void shipped_matrices_load(void **unused) {
    (void)unused;
    static const struct {
        const char *name;
        size_t least, smoke;
    } files[] = {
        {"seed", 11, 10}, {"options", 200, 10}, {"stages", 100, 10}, {"edge", 200, 10}, {"models", 40, 0}};
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[512];
        mp_error err;
        mp_matrix m = {0};
        snprintf(path, sizeof path, "%s/%s.yaml", MP_MATRIX_FOLDER, files[i].name);
        if (mp_matrix_load(&m, path, &err)) fail_msg("%s", err.text);
        assert_true(m.count >= files[i].least);
        if (files[i].smoke) assert_int_equal(mp_matrix_select(&m, MP_SMOKE, NULL, &err), MP_OK);
        if (files[i].smoke) assert_true(m.count >= files[i].smoke);
        mp_matrix_free(&m);
    }
}

/* The rows of the public parity run, in its order. */
static void seed_is_the_public_table(void **unused) {
    (void)unused;
    mp_error err;
    mp_matrix m = {0};
    assert_int_equal(mp_matrix_load(&m, MP_MATRIX_FOLDER "/seed.yaml", &err), MP_OK);
    assert_string_equal(listing(&m), "M=32 topk=2 act=silu [path=runner]\n"
                                     "M=32 topk=1 act=silu [path=runner]\n"
                                     "M=32 topk=4 act=silu [path=runner]\n"
                                     "M=64 topk=2 act=silu rsf=2.5 [path=runner]\n"
                                     "M=8 topk=2 act=silu [path=runner]\n"
                                     "M=32 topk=2 act=gelu [path=runner]\n"
                                     "M=32 topk=2 act=silu mode=no_combine [path=runner]\n"
                                     "M=32 topk=2 act=silu mode=inplace [path=runner]\n"
                                     "M=128 topk=4 act=silu [path=runner]\n"
                                     "M=128 topk=4 act=silu rsf=0.5 [path=runner]\n"
                                     "M=70000 topk=2 act=silu [path=runner] [path=chunked]\n");
    mp_matrix_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(language),
        cmocka_unit_test(what_runs_before),
        cmocka_unit_test(pairs_are_complete_cases),
        cmocka_unit_test(duplicates_are_merged),
        cmocka_unit_test(includes),
        cmocka_unit_test(a_file_is_read_once),
        cmocka_unit_test(a_cycle_is_seen_under_any_name),
        cmocka_unit_test(includes_do_not_nest_without_end),
        cmocka_unit_test(strange_files_are_refused),
        cmocka_unit_test(large_texts_are_refused_soon),
        cmocka_unit_test(errors_name_file_and_line),
        cmocka_unit_test(failure_leaves_the_matrix),
        cmocka_unit_test(empty_texts_are_refused),
        cmocka_unit_test(add_and_select),
        cmocka_unit_test(pairs_of_a_case_are_limited),
        cmocka_unit_test(models_are_selected_by_name),
        cmocka_unit_test(tiers_have_names),
        cmocka_unit_test(models_are_possible_cases),
        cmocka_unit_test(shipped_matrices_load),
        cmocka_unit_test(seed_is_the_public_table),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
