/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity judge and export: what a right file gives, a wrong element, a file that lacks tensors, and one
 * that is larger than memory; exports. */
#include "tests/cli_file_support.h"

#include <stdbool.h>

/* ---- right ---- */

static void what_is_exported_passes(void **state) {
    (void)state;
    static const char *const names[] = {"o.h5", "o.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char command[256], line[256];
        snprintf(command, sizeof command, EXPORT "--outputs --out %s", names[i]);
        expect(command, 0, "wrote o.", "");
        snprintf(command, sizeof command, "moeparity judge %s --json j.json", names[i]);
        snprintf(line, sizeof line, "%s: judged: align, gate_up, act, down, combine\n", names[i]);
        expect(command, 0, "predicted=equal", "");
        assert_non_null(strstr(out, line));
        json_t *report = json_file("j.json");
        const json_t *v = json_array_get(json_object_get(report, "verdicts"), 0);
        assert_string_equal(json_string_value(json_object_get(v, "name")), CASE " act=silu data=file");
        assert_string_equal(json_string_value(json_object_get(v, "group")), names[i]);
        const json_t *checks = json_object_get(v, "checks");
        static const char *const unasked[] = {"repeat", "guard", "input", "permutation", "batch", "poison"};
        for (size_t k = 0; k < sizeof unasked / sizeof *unasked; k++) {
            const json_t *check = json_object_get(checks, unasked[k]);
            assert_string_equal(json_string_value(json_object_get(check, "answer")), "not judged");
            assert_string_equal(json_string_value(json_object_get(check, "text")), "a file: nothing was run");
        }
        static const char *const passed[] = {"bound", "rms", "nan", "integer", "bits"};
        for (size_t k = 0; k < sizeof passed / sizeof *passed; k++)
            assert_string_equal(
                json_string_value(json_object_get(json_object_get(checks, passed[k]), "answer")), "passed");
        json_decref(report);
    }
    expect("moeparity judge o.h5 o.safetensors --jobs 2 --strict --junit j.xml", 0, "2 cases: 2 passed", "");
    expect("grep -c '<testcase' j.xml", 0, "2\n", "");
    expect("moeparity judge o.h5 --in-process --plain -v", 0, "1 passed", "");
    expect("moeparity judge o.h5 --contract weakest", 0, "bits 1", ""); /* it promises none */
    expect("moeparity judge o.h5 --contract any", 0,
           "weaker checks in 1 case: contract any: before the last rounding errors may be larger", "");
}

/* Every form of a case: what is derived is what it was made of. */
static void every_case_comes_back(void **state) {
    (void)state;
    static const char *const cases[] = {
        "M=5 E=3 topk=2 K=32 N=16 dtype=fp16 act=gelu rsf=2.5",
        "M=5 E=3 topk=1 K=32 N=16",
        "M=5 E=3 topk=1 K=32 N=16 shared=add",
        "M=5 E=4 topk=3 K=32 N=16 shared=slot rsf=2.5 filter=0.5",
        "M=5 E=3 topk=2 K=32 N=16 mode=no_combine bias=1",
        "M=5 E=3 topk=2 K=32 N=16 mode=inplace",
        "M=5 E=3 topk=2 K=32 N=16 act=relu2 gated=0 filter=0.5",
        "M=5 E=3 topk=2 K=32 N=16 layout=sorted",
        "M=5 E=3 topk=2 K=32 N=16 filter=0.3 layout=masked",
        "M=9 E=8 topk=4 K=32 N=16 fused_sum=1 dtype=fp32",
        "M=4 E=4 topk=2 K=32 N=16 data=special",
        "M=9 E=8 topk=2 K=32 N=16 data=unused filter=0.5 bias=1",
        "M=0 E=3 topk=2 K=32 N=16 bias=1",
        "M=0 E=3 topk=2 K=32 N=16 mode=no_combine",
        "M=0 topk=2 N=16 scope=act",
        "M=0 E=3 topk=3 scope=align",
        "M=5 E=3 topk=2 K=32 N=16 apply_router_weight_on_input=1",
        "M=5 topk=2 N=16 scope=act",
        "M=5 topk=2 K=32 dtype=fp64 scope=combine",
        "M=5 E=3 topk=3 scope=align routing=zipf",
        "M=9 E=3 topk=2 K=32 N=16 filter=0.5 sentinel=any",
        "M=9 E=3 topk=2 K=32 N=16 ep_size=2 ep_rank=1 expert_map=round_robin routing=padded sentinel=E",
        "M=9 E=3 topk=2 scope=align ep_size=4 ep_rank=3 expert_map=linear",
        "M=5 E=6 topk=2 K=32 N=16 ep_size=2 ep_rank=1 data=integer tile=32x32x32x1x4x2"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int format = 0; format < 2; format++) {
            char command[512];
            const char *name = format ? "c.h5" : "c.safetensors";
            snprintf(command, sizeof command, "moeparity export --case '%s' --outputs --out %s", cases[i],
                     name);
            expect(command, 0, "wrote", "");
            snprintf(command, sizeof command, "moeparity judge %s", name);
            expect(command, 0, "1 passed", "");
            if (!strstr(cases[i], "scope=")) assert_non_null(strstr(out, "data=file"));
        }
}

/* Codes and scales of every scheme come back as what they are: of 8 bits by name or as bytes, packed ones as
 * bytes. */
static void quantised_cases_come_back(void **state) {
    (void)state;
    static const char *const schemes[] = {"fp8-tensor",
                                          "fp8-tensor-static",
                                          "fp8-channel",
                                          "fp8-block",
                                          "fp8-block-ue8m0",
                                          "int8-channel",
                                          "int8-block",
                                          "int8-w8a16",
                                          "int8-w8a16-group",
                                          "int4-w4a16",
                                          "int4-w4a16-zp dtype=fp16",
                                          "mxfp4",
                                          "mxfp8",
                                          "nvfp4"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        for (int format = 0; format < 2; format++) {
            char command[512];
            const char *name = format ? "q.h5" : "q.safetensors", *codes = strstr(schemes[i], "w8a16");
            const bool weights_alone =
                codes || strstr(schemes[i], "w4a16") || strcmp(schemes[i], "mxfp4") == 0;
            snprintf(
                command, sizeof command,
                "moeparity export --case 'M=5 E=3 topk=2 K=192 N=160 filter=0.3 quant=%s' --outputs --out "
                "%s",
                schemes[i], name);
            expect(command, 0, "wrote", "");
            snprintf(command, sizeof command, "moeparity judge %s", name);
            expect(command, 0, "1 passed", "");
            if (!strstr(out, weights_alone
                                 ? "judged: align, gate_up, act, down, combine"
                                 : "judged: align, quant_x, gate_up, act, quant_act, down, combine"))
                fail_msg("%s: %s", schemes[i], out);
        }
}

/* One element of a file is another: the stage that made it fails, or that which read it, by its bound. */
static void a_wrong_scale_or_code_fails_where_it_is(void **state) {
    (void)state;
    static const struct {
        const char *scheme, *tensor, *said;
        size_t size;
        const char bytes[5];
    } wrong[] = {{"fp8-block", "x_scale", "bound: quant_x: token 0: scale 0 is ", 4, "\0\0\200\077"},
                 {"fp8-block", "x_codes", "bound: quant_x: token 0 column 0: code 0 is ", 1, "\x41"},
                 {"mxfp8", "cache2_scale", "bound: quant_act: token 0 slot 0, expert ", 1, "\x90"},
                 {"fp8-channel", "w1_scale", "bound: gate_up: ", 4, "\0\0\200\100"},
                 {"int4-w4a16-zp", "w1_zero", "bound: gate_up: ", 1, "\x0F"},
                 {"nvfp4", "w2_global_scale", "bound: down: ", 4, "\0\0\200\100"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char command[512];
        snprintf(
            command, sizeof command,
            "moeparity export --case 'M=5 E=3 topk=2 K=192 N=160 quant=%s' --outputs --out q.safetensors",
            wrong[i].scheme);
        expect(command, 0, "wrote", "");
        plant("q.safetensors", "wrong.safetensors", wrong[i].tensor, 0, wrong[i].size, wrong[i].bytes);
        expect("moeparity judge wrong.safetensors", 1, wrong[i].said, "");
    }
    /* What the text of the case says the bytes are, they must be. */
    expect("moeparity judge q.safetensors --case 'M=5 E=3 topk=2 K=192 N=160 quant=int8-channel'", 2, "",
           "w1: int32; expected codes of int8, or in int8");
    expect("moeparity judge q.safetensors --case 'M=5 E=3 topk=2 K=192 N=160'", 2, "",
           "w1: int32; expected "
           "floats");
}

/* ---- memory ---- */

/* A file without numbers: holes, which take no room on the disk. */
static void write_sparse(const char *path, const char *header, long long data_bytes) {
    write_safetensors(path, header, 0, 0);
    assert_int_equal(truncate(path, 8 + (long long)strlen(header) + data_bytes), 0);
}

static double peak_mib(const char *path) {
    json_t *report = json_file(path);
    const json_t *v = json_array_get(json_object_get(report, "verdicts"), 0);
    const double bytes = json_number_value(json_object_get(v, "peak_bytes"));
    json_decref(report);
    return bytes / 0x1p20;
}

/* Of a huge model with terabytes of weights the two tensors that the file holds: 24 MiB of memory, not more
 * than some times that. */
static void what_a_file_does_not_hold_needs_no_memory(void **state) {
    (void)state;
    write_sparse(
        "huge.safetensors",
        "{\"__metadata__\":{\"case\":\"E=65536 K=65536 act=silu\"},"
        "\"cache1\":{\"dtype\":\"BF16\",\"shape\":[1024,8192],\"data_offsets\":[0,16777216]},"
        "\"cache2\":{\"dtype\":\"BF16\",\"shape\":[1024,4096],\"data_offsets\":[16777216,25165824]}}",
        25165824);
    expect("moeparity judge huge.safetensors --json huge.json", 0, "1 passed", "");
    assert_non_null(
        strstr(out, "judged: act; not judged: gate_up (without x, w1, topk_ids), down (without "));
    const double peak = peak_mib("huge.json");
    if (!(peak > 32 && peak < 64)) fail_msg("%g MiB", peak);
}

/* A file that is larger than any memory is a row that says so, and others are judged. */
static void a_file_without_room_is_skipped(void **state) {
    (void)state;
    const long long cache2 = 1LL << 40; /* 2^30 rows of 512 bf16; cache1 is twice that */
    char header[512];
    snprintf(header, sizeof header,
             "{\"cache1\":{\"dtype\":\"BF16\",\"shape\":[1073741824,1024],\"data_offsets\":[0,%lld]},"
             "\"cache2\":{\"dtype\":\"BF16\",\"shape\":[1073741824,512],\"data_offsets\":[%lld,%lld]}}",
             2 * cache2, 2 * cache2, 3 * cache2);
    write_safetensors("large.safetensors", header, 0, 0);
    if (truncate("large.safetensors", 8 + (long long)strlen(header) + 3 * cache2) != 0)
        skip(); /* no file system for it */
    expect(EXPORT "--outputs --out o.h5", 0, "", "");
    expect("moeparity judge large.safetensors", 77, "1 case: 0 passed, 0 failed, 1 skipped", "");
    assert_non_null(strstr(out, "[SKIP]  M=1073741824 topk=1 N=512 act=silu data=file  needs "));
    assert_non_null(strstr(out, " GiB of host memory, "));
    expect("moeparity judge large.safetensors o.h5 --json l.json", 0,
           "2 cases: 1 passed, 0 failed, 1 skipped", "");
    assert_true(peak_mib("l.json") > 4 * 0x1p20);
    expect("moeparity judge large.safetensors --strict", 1, "strict: skipped: needs ", "");
    expect("MOEPARITY_REQUIRE_GPU=1 moeparity judge large.safetensors --in-process", 3, "1 skipped", "");
    expect("rm large.safetensors", 0, "", "");
}

/* ---- wrong in one element ---- */

static void one_wrong_element_is_found(void **state) {
    (void)state;
    static const struct {
        const char *tensor, *begins;
        size_t element;
    } faults[] = {{"cache1", "begins in gate_up", 2 * 32 + 5},
                  {"cache2", "begins in act", 16 + 7},
                  {"cache3", "begins in down", 3 * 32 + 1},
                  {"out", "begins in combine", 32 + 9},
                  {"sorted_token_ids", "begins in align", 0}};
    const uint16_t large = 0x4480; /* 1024 in bf16 */
    const int32_t five = 5;
    expect(EXPORT "--outputs --out r.safetensors", 0, "wrote", "");
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const bool integer = strcmp(faults[i].tensor, "sorted_token_ids") == 0;
        plant("r.safetensors", "f.safetensors", faults[i].tensor, faults[i].element, integer ? 4 : 2,
              integer ? (const void *)&five : &large);
        expect("moeparity judge f.safetensors", 1, faults[i].begins, "");
        assert_non_null(strstr(out, "repro: moeparity judge f.safetensors --case '" CASE));
        expect("moeparity judge r.safetensors f.safetensors", 1, "1 passed, 1 failed", "");
    }
    /* one ulp is seen by bits, and by nothing where none are promised */
    uint16_t code;
    FILE *file = fopen("r.safetensors", "r");
    fseek(file, place_of("r.safetensors", "out", 3, 2), SEEK_SET);
    assert_int_equal(fread(&code, 2, 1, file), 1);
    fclose(file);
    code ^= 1;
    plant("r.safetensors", "f.safetensors", "out", 3, 2, &code);
    expect("moeparity judge f.safetensors", 1, "bits: combine: token 0 column 3", "");
    char repro[512];
    assert_int_equal(sscanf(strstr(out, "repro: "), "repro: %511[^\n]", repro), 1);
    expect(repro, 1, "bits: combine: token 0 column 3", "");
    const uint16_t nan = 0x7FC0;
    plant("r.safetensors", "f.safetensors", "cache2", 0, 2, &nan);
    expect("moeparity judge f.safetensors", 1, "nan: ", "");
}

/* ---- some of the tensors ---- */

/* What the header still names of a file from which tensors are taken: the data of the others stays. */
static void keep(const char *names, const char *path) {
    char command[1024];
    snprintf(command, sizeof command,
             "rm -rf t && moeparity export --case '" CASE "' --outputs --format raw --out t && cd t && "
             "for n in *.bin; do case \" %s \" in *\" ${n%%.bin} \"*) ;; *) rm $n;; esac; done",
             names);
    assert_int_equal(sh(command), 0);
    json_t *manifest = json_file("t/manifest.json"), *header = json_object();
    const json_t *tensor;
    size_t i;
    json_int_t at = 0;
    FILE *data = fopen("data", "w");
    json_array_foreach(json_object_get(manifest, "tensors"), i, tensor) {
        const char *name = json_string_value(json_object_get(tensor, "name")),
                   *dtype = json_string_value(json_object_get(tensor, "dtype"));
        char bin[128], bytes[1 << 14];
        snprintf(bin, sizeof bin, "t/%s.bin", name);
        FILE *file = fopen(bin, "r");
        if (!file) continue;
        const size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        fwrite(bytes, 1, size, data);
        json_object_set_new(header, name,
                            json_pack("{s:s, s:O, s:[I,I]}", "dtype",
                                      strcmp(dtype, "bf16") == 0    ? "BF16"
                                      : strcmp(dtype, "int32") == 0 ? "I32"
                                                                    : "F32",
                                      "shape", json_object_get(tensor, "shape"), "data_offsets", at,
                                      at + (json_int_t)size));
        at += (json_int_t)size;
    }
    fclose(data);
    char *text = json_dumps(header, JSON_COMPACT);
    write_safetensors(path, text, 0, 0);
    free(text);
    json_decref(header);
    json_decref(manifest);
    snprintf(command, sizeof command, "cat data >> %s", path);
    assert_int_equal(sh(command), 0);
}

static void a_part_is_judged_as_far_as_it_goes(void **state) {
    (void)state;
    static const struct {
        const char *names, *covers;
    } parts[] = {
        {"cache1 cache2", "judged: act; not judged: gate_up (without x, w1, topk_ids), down (without out)"},
        {"x w1 w2 topk_ids topk_weights out", "judged: gate_up..combine\n"},
        {"x w1 topk_ids cache1 cache3 topk_weights out",
         "judged: gate_up, combine; not judged: act..down (without w2)\n"},
        {"topk_ids topk_weights w2 cache2 cache3",
         "judged: down; not judged: gate_up..act (without x, w1), combine (without out)\n"},
        {"cache3 out topk_ids",
         "judged: combine; not judged: gate_up..down (without x, w1, w2, topk_weights)"},
        {"topk_ids sorted_token_ids expert_ids num_tokens_post_padded",
         "judged: align; not judged: gate_up (without cache1)"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        keep(parts[i].names, "p.safetensors");
        expect("moeparity judge p.safetensors", 0, parts[i].covers, "");
    }
    keep("x w1 topk_ids cache2", "p.safetensors");
    expect("moeparity judge p.safetensors --case M=5", 2, "",
           "the text of the case has M=5, and x [4,32] has M=4");
    keep("x w1 w2 topk_ids", "p.safetensors");
    expect("moeparity judge p.safetensors", 2, "", "p.safetensors: holds no tensor that a stage of the case");
    keep("x w1 cache3 topk_ids", "p.safetensors");
    expect("moeparity judge p.safetensors", 2, "",
           "nothing can be judged: gate_up..down (without w2, topk_weights), combine (without out)");
    /* only the stage that is asked for */
    expect(EXPORT "--outputs --out r.safetensors", 0, "", "");
    expect("moeparity judge r.safetensors --case scope=act", 0, "judged: act; passed over in the file: x,",
           "");
    expect("moeparity judge r.safetensors --case act=gelu", 1, "begins in act", "");
}

/* ---- export ---- */

static void exports_are_whole_or_not_there(void **state) {
    (void)state;
    static const char *const names[] = {"e.npz", "e.h5", "e.hdf5", "e.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char command[256];
        snprintf(command, sizeof command, EXPORT "--out %s && cp %s again && rm %s", names[i], names[i],
                 names[i]);
        expect(command, 0, "wrote e.", "");
        snprintf(command, sizeof command, EXPORT "--out %s && cmp %s again", names[i], names[i]);
        expect(command, 0, "wrote", ""); /* the same content is the same bytes */
        snprintf(command, sizeof command, "ulimit -f 1; " EXPORT "--out %s", names[i]);
        expect(command, 2, "", "moeparity: cannot write");
        snprintf(command, sizeof command, "cmp %s again", names[i]);
        expect(command, 0, "", ""); /* the old one is kept */
    }
    expect("echo mine > e.npz; " EXPORT "--out e.npz", 2, "",
           "moeparity: e.npz would be overwritten, and is no .npz file: name another file behind --out, or "
           "remove it\n");
    expect("grep -c mine e.npz && echo mine > e.h5; " EXPORT "--out e.h5", 2, "",
           "and is no HDF5 file: name");
    expect("moeparity golden record mine.h5 --case M=1 --subject host -q && cp mine.h5 kept.h5", 0, "", "");
    expect(EXPORT "--out mine.h5", 2, "", "moeparity: mine.h5 would be overwritten, and is a golden: name");
    expect("cmp mine.h5 kept.h5 && rm mine.h5 kept.h5 e.h5 e.npz", 0, "", "");
    expect(EXPORT "--out seed.h5 && rm seed.h5", 0, "",
           ""); /* a golden that is installed is not in the way */
    expect(EXPORT "--format raw --out folder", 0, "wrote folder", "");
    expect("ls folder", 0, "manifest.json\ntopk_ids.bin\ntopk_weights.bin\nw1.bin\nw2.bin\nx.bin\n", "");
    expect("stat -c %s folder/w1.bin", 0, "8192\n", "");
    expect(EXPORT "--format raw --out folder", 2, "", "a folder is replaced if it is empty");
    expect("mkdir empty && " EXPORT "--format raw --out empty && ls empty", 0, "x.bin", "");
    expect("ulimit -f 1; " EXPORT "--format raw --out folder2", 2, "", "cannot write");
    expect("ls", 0, "", "");
    assert_null(strstr(out, "folder2"));
    expect(EXPORT "--out none/e.npz", 2, "", "cannot write none/e.npz");
    expect(EXPORT "--out e.txt", 2, "",
           "--out e.txt: expected a name that ends in .npz, .h5 or .safetensors");
    expect(EXPORT "--out e", 2, "", "expected a name that ends in");
    expect(EXPORT, 2, "", "moeparity: no file: give --out inputs.npz");
    expect("moeparity export --out e.npz", 2, "", "moeparity: no case");
    expect("moeparity export --case M=-1 --out e.npz", 2, "", "M=-1: expected");
    expect("moeparity export --case data=file --out n.npz", 2, "", "data=file: the numbers of this case");
    expect(EXPORT "--out e.npz --subject ref", 2, "", "--subject goes with --outputs");
    expect(EXPORT "--out e.npz --subject plugin:x --outputs", 2, "", "expected ref, host, cuda or auto");
    expect(EXPORT "--out n.npz --subject cuda --outputs", 77, "", "");
    expect("moeparity export --case 'M=100000000 K=100000' --out n.npz", 3, "", "GiB of host memory");
    expect(EXPORT "--outputs --subject ref --out f.h5 && moeparity judge f.h5", 0, "1 passed", "");
    no_temporary_files();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_exported_passes),
        cmocka_unit_test(quantised_cases_come_back),
        cmocka_unit_test(a_wrong_scale_or_code_fails_where_it_is),
        cmocka_unit_test(every_case_comes_back),
        cmocka_unit_test(what_a_file_does_not_hold_needs_no_memory),
        cmocka_unit_test(a_file_without_room_is_skipped),
        cmocka_unit_test(one_wrong_element_is_found),
        cmocka_unit_test(a_part_is_judged_as_far_as_it_goes),
        cmocka_unit_test(exports_are_whole_or_not_there),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
