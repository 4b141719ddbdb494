/* SPDX-License-Identifier: Apache-2.0 */
/* tune verify, diff, certificate and check through the program, on a machine without a GPU. */
#include "tests/cli_support.h"

#define TILE(m, n, more) \
    "{\"BLOCK_SIZE_M\": " #m ", \"BLOCK_SIZE_N\": " #n ", \"BLOCK_SIZE_K\": 32, \"GROUP_SIZE_M\": 1" more "}"
#define FULL ", \"num_warps\": 4, \"num_stages\": 2"
/* of a device whose architecture nobody knows: nothing is compiled */
#define NAME "E=4,N=32,device_name=Nobodys.json"
#define H100 "E=4,N=32,device_name=NVIDIA_H100_80GB_HBM3.json"
#define HOST " --subject host --with 'K=64 topk=2'"

static void write_tables(void) {
    static const char *const folders[] = {"old", "new", "int4", "wrong"};
    for (size_t i = 0; i < 4; i++) mkdir(folders[i], 0777);
    write_file("old/" NAME, "{\"1\": " TILE(16, 32, FULL) ", \"16\": " TILE(16, 64, FULL) "}\n");
    write_file("new/" NAME, "{\"1\": " TILE(16, 32, FULL) ", \"16\": " TILE(32, 64, FULL) "}\n");
    write_file("new/" H100,
               "{\"1\": " TILE(16, 32, FULL) ", \"16\": " TILE(256, 256, ", \"num_warps\": 1") "}\n");
    write_file("int4/E=4,N=32,device_name=Nobodys,dtype=int4_w4a16.json",
               "{\"1\": " TILE(16, 32, FULL) "}\n");
}

static void a_file_is_verified(void **state) {
    (void)state;
    /* 1, 8 | 9, 16, 17: the tie at 8 goes to the first in the file */
    expect("moeparity tune verify new/" NAME HOST, 0, "5 batch sizes: 5 proven, 0 refuted, 0 not proven", "");
    assert_non_null(strstr(out, "[OK]   key 16    M 9..         32x64x32x1x4x2"));
    assert_non_null(strstr(out, "no tile is run nor timed; not proven on a device"));
    assert_non_null(strstr(out, "SKIP    compile: the architecture of this device is not known here"));
    expect("moeparity tune verify new/" NAME HOST " -v --json r.json", 0,
           "M=8 (last before a change): every element equal to that of M=17", "");
    json_t *report = json_file("r.json");
    assert_int_equal(total(report, "cases"), 1);
    assert_int_equal(total(report, "passed"), 1);
    json_decref(report);
    expect("moeparity tune verify new/" NAME HOST " --each --json r.json", 0, "5 batch sizes in 5 rows", "");
    /* nothing here can run a tile */
    expect("moeparity tune verify new/" NAME, 77, "not proven on a device", "");
    assert_int_equal(count_of(out, "no CUDA driver"), 1);
    /* of some elements nothing is known: the others prove no launch */
    expect("moeparity tune verify new/" NAME " -v --each --subject host"
           " --with 'K=64 topk=4 dtype=fp16 data=overflow fused_sum=1 rsf=2.5'",
           1, "elements have no finite bound", "");
    assert_non_null(strstr(out, " 0 refuted, "));
    assert_null(strstr(out, "[OK] M=17"));
    expect("MOEPARITY_REQUIRE_GPU=1 moeparity tune verify new/" NAME, 3, "not proven on a device", "");
    expect("moeparity tune verify new/" NAME " --static", 0, "only what needs no GPU was asked for", "");
    expect("moeparity tune verify new/" NAME HOST " --most 9", 0, "left out, and not proven: 2 larger", "");
    expect("moeparity tune verify new/" NAME " --dry-run", 0, "row 1: M=17 E=4 topk=4 K=2048 N=32", "");
    expect("moeparity tune verify int4/*.json", 77, "nothing was run: no case here has int4_w4a16", "");
    expect("moeparity tune verify new/" NAME " --subject 'worker:false' --with 'K=64 topk=2'", 3, "",
           "moeparity: ");
}

#define FP8 "E=4,N=128,device_name=Nobodys,dtype=fp8_w8a8,block_shape="
#define STEP(m, k) \
    "{\"BLOCK_SIZE_M\": " #m ", \"BLOCK_SIZE_N\": 32, \"BLOCK_SIZE_K\": " #k ", \"GROUP_SIZE_M\": 1" FULL "}"

/* What no case here has is not proven; what is wrong with it as it stands fails all the same. */
static void a_file_is_audited(void **state) {
    (void)state;
    write_file("wrong/E=4,N=128,device_name=Nobodys,dtype=int8_w8a8,block_shape=[64, 128].json",
               "{\"1\": " STEP(16, 256) "}\n");
    expect("moeparity tune verify wrong/*int8*.json", 1, "error k-block-over-group: key 1: BLOCK_SIZE_K=256",
           "");
    assert_non_null(strstr(out, "SKIP    compile: no case here has int8_w8a8 block_shape=[64,128]"));
    expect("moeparity tune verify wrong/*int8*.json --static", 1, "k-block-over-group", "");
}

/* Steps of K beyond the group give other numbers in one package, and are none in the other. */
static void steps_beyond_the_group_are_refuted_by_numbers(void **state) {
    (void)state;
    write_file("wrong/" FP8 "[128, 128].json", "{\"1\": " STEP(16, 128) ", \"16\": " STEP(16, 256) "}\n");
    expect("moeparity tune verify wrong/*fp8*.json --static", 1,
           "[OK]   steps of sglang, on the CPU: BLOCK_SIZE_K 128: gate_up within", "");
    assert_non_null(strstr(out, "[FAIL] steps of sglang, on the CPU: BLOCK_SIZE_K 256: in steps of 256 terms "
                                "128..255 meet the scales of group 0 of 128: gate_up["));
    assert_non_null(strstr(out, "; down within")); /* its 128 terms are one group */
    assert_non_null(strstr(out, "5 batch sizes: 0 proven, 3 refuted, 2 not proven"));
    /* of its own kernels, which the CPU predicts, the other key is right */
    expect("moeparity tune verify wrong/*fp8*.json --subject host --with 'K=256 topk=2'", 1,
           "5 batch sizes: 2 proven, 3 refuted", "");
    write_file("old/" FP8 "[128,128].json", "{\"1\": " STEP(16, 256) "}\n");
    expect("moeparity tune verify old/*block*.json --static", 0,
           "[OK]   steps of vllm, on the CPU: BLOCK_SIZE_K 256: gate_up within", "");
    assert_non_null(strstr(out, "warning k-block-clamped"));
    write_file("wrong/" FP8 "[128, 192].json", "{\"1\": " STEP(16, 128) "}\n");
    expect("moeparity tune verify wrong/*192*.json --static", 1,
           "in steps of 128 terms 192..255 meet the scales of group 0 of 192: gate_up[", "");
}

/* Names of files reach no terminal as they are. */
static void names_are_printable(void **state) {
    (void)state;
    write_file("E=4,N=32,device_name=\033[31mred.json", "{\"1\": " TILE(16, 32, FULL) "}");
    expect("moeparity tune verify E=4,N=32,device_name=?*red.json" HOST, 0, "device_name=\\x1b[31mred", "");
    assert_null(strchr(out, '\033'));
}

/* A tile that is too large fails its key whatever runs; the others are proven all the same. */
static void a_tile_that_does_not_fit_fails(void **state) {
    (void)state;
    expect("moeparity tune verify new/" H100 HOST, 1, "", "");
    if (strstr(out, "SKIP    compile")) skip(); /* no NVRTC here */
    assert_non_null(strstr(out, "[FAIL] M=9 16 17: gate_up: tile 256x256x32x1x1x3 needs 2048 accumulators"));
    assert_non_null(strstr(out, "[OK]   key 1 "));
    assert_non_null(strstr(out, "5 batch sizes: 2 proven, 3 refuted, 0 not proven"));
}

/* A compiler that tells nothing of what it made, as one that had made it before: that refutes no tile. */
static void no_figures_refute_nothing(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* a sanitizer wants to be the first library */
#endif
    write_file("old/" H100, "{\"1\": " TILE(16, 32, FULL) "}\n");
    expect("LD_PRELOAD=" MP_FAKE_GPU " MOEPARITY_CACHE=cache moeparity tune verify old/" H100
           " --with 'K=64 topk=2' --static",
           0, "no figures; at 1 2", "");
    assert_null(strstr(out, "does not compile"));
}

static void files_differ(void **state) {
    (void)state;
    expect("moeparity tune diff old/" NAME " new/" NAME HOST, 0,
           "M 9..          16x64x32x1x4x2 -> 32x64x32x1x4x2\nevery other M", "");
    assert_non_null(strstr(out, "3 batch sizes: 3 proven"));
    expect("moeparity tune diff old/" NAME " new/" NAME " --dry-run", 0, "M=17", "");
    expect("moeparity tune diff old/" NAME " old/" NAME, 0, "every M has the tiles that it had", "");
    expect("moeparity tune diff old/" NAME " int4/*.json", 2, "", "tables of different kernels");
    /* what changes lies above: no launch is no proof */
    expect("moeparity tune diff old/" NAME " new/" NAME HOST " --most 2", 77, "0 batch sizes: 0 proven", "");
    /* the tile is the same, and the kernel another */
    write_file("wrong/" NAME,
               "{\"1\": " TILE(16, 32, FULL) ", \"16\": " TILE(16, 64, FULL ", \"USE_TMA\": true") "}\n");
    expect("moeparity tune diff old/" NAME " wrong/" NAME HOST, 0,
           "M 9..          16x64x32x1x4x2 -> 16x64x32x1x4x2, and USE_TMA, SPLIT_K or num_ctas\nevery other M",
           "");
    assert_non_null(strstr(out, "3 batch sizes: 3 proven"));
}

static void keys_are_timed(void **state) {
    (void)state;
    /* on the host times are noise: what they say is not asked here, but that it counts */
    const int code =
        sh("moeparity tune verify new/" NAME HOST " --against old/" NAME " --threshold 1000 --rounds 9");
    const int kept = strstr(out, "9 rounds: kept") != NULL;
    if (code != !kept || count_of(out, "9 rounds: ") != 1) fail_msg("exit %d\n%s\n%s", code, out, err);
    assert_non_null(strstr(out, "16x64x32x1x4x2 -> 32x64x32x1x4x2: ")); /* key 1 has the tile that it had */
    assert_int_equal(!kept, strstr(out, "keys that lose: 16") || strstr(out, "keys not shown to keep"));
    expect("moeparity tune verify old/" NAME HOST " --against old/" NAME, 0, "nothing to time", "");
    expect("moeparity tune verify new/" NAME " --against default", 77, "not proven", "");
    expect("moeparity tune verify new/" NAME HOST " --against none.json", 2, "",
           "none.json: expected a name");
    expect("moeparity tune verify new/" NAME HOST " --against old/" NAME " --rounds 5", 2, "",
           "expected a whole number from 6");
}

#define CERTIFY "moeparity tune certificate new/" NAME HOST " --by 'A. Person' -o c.json"

static void a_certificate_is_checked(void **state) {
    (void)state;
    expect(CERTIFY " --markdown c.md --json r.json", 0, "certificate c.json, signed off by A. Person", "");
    static char markdown[1 << 14];
    read_into(markdown, sizeof markdown, "c.md");
    assert_non_null(strstr(markdown, "**Not proven on a device.** 5 of 5 launches proven"));
    assert_non_null(strstr(markdown, "signed off by | A. Person"));
    /* a prediction proves no tile, and nothing else speaks against it */
    expect("moeparity tune check c.json --file new/" NAME " --report r.json", 1,
           "subject host is a prediction on the CPU: no tile was run", "");
    assert_int_equal(count_of(out, "[FAIL]"), 1);
    expect("moeparity tune check c.json", 1, "does not prove new/" NAME, "");
    static const char *const changed[][2] = {
        {"s/\"by\": \"A. Person\"/\"by\": \"B. Person\"/", "the certificate was changed: its SHA-256 is"},
        {"s/\"M\": 9,/\"M\": 10,/", "M=9 is not in it"},
        {"s/\"proof\": \"proven\"/\"proof\": \"refuted\"/", "M=17: refuted"},
        {"s/\"guard\",//", "M=1 8 9 16 17: proven without the check guard"},
        {"s/\"repeat\": 2/\"repeat\": 1/", "it ran each case once"},
        {"s/\"most\": 0/\"most\": 9/", "2 larger batch sizes were left out"},
        {"s/\"case\": \"M=1 E=4/\"case\": \"M=1 E=5/", "E=5 N=32 is not the file's shape"},
        {"s/\"case\": \"M=1 E=4 topk=2/\"case\": \"M=1 E=4 topk=1/",
         "M=1 E=4 topk=2 K=64 N=32 act=silu is not"},
        {"s/\"with\": \"K=64 topk=2\"/\"with\": null/", "M=1 E=4 topk=4 K=2048 N=32 act=silu is not in it"},
        {"s/\"own_tiles\": false/\"own_tiles\": true/", "chose its tiles itself"},
        {"s/\"interrupted\": false/\"interrupted\": true/", "it was interrupted"},
        {"s/\"launches\": \\[/&{\"M\": 99, \"proof\": \"refuted\", \"tile\": \"\", \"tile_down\": \"\", "
         "\"reason\": \"\", \"row\": \"\", \"checks\": []},/",
         "it has 6 launches, the file asks for 5"},
    };
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++) {
        char command[320];
        snprintf(command, sizeof command,
                 "sed '%s' c.json > d.json; moeparity tune check d.json --report r.json", changed[i][0]);
        expect(command, 1, changed[i][1], "");
        assert_non_null(strstr(out, "the certificate was changed"));
    }
    expect("moeparity tune check c.json --file old/" NAME, 1, "M=9 16 17: tiles 32x64x32x1x4x2", "");
    assert_non_null(strstr(out, "the file: old/" NAME " has SHA-256 "));
    expect("echo >> r.json; moeparity tune check c.json --report r.json", 1, "the report: r.json has SHA-256",
           "");
    expect("moeparity tune certificate new/" NAME " --subject host --each --with 'K=64 topk=2 scope=gate_up' "
           "--by x -o e.json",
           0, "", "");
    expect("moeparity tune check e.json", 1, "scope=gate_up: a stage alone, and the file tunes two", "");
    expect("moeparity tune check c.json --again", 1, "5 batch sizes: 5 proven", "");
    assert_null(strstr(out, "repeats no times"));
    expect("sed 's/\"against\": null/\"against\": \"old.json\"/' c.json > timed.json; "
           "moeparity tune check timed.json --again",
           1, "note: --again repeats no times: tune verify --against old.json measures them anew\n", "");
    expect("sed 's/\"subject\": \"host\"/\"subject\": \"worker:touch pwned\"/' c.json > d.json; "
           "moeparity tune check d.json --again",
           2, "", "--again starts it only where --subject names it");
    assert_int_not_equal(access("pwned", F_OK), 0);
}

static void bad_input_is_refused(void **state) {
    (void)state;
    static const char *const lines[][2] = {
        {"tune verify", "tune verify takes a file"},
        {"tune verify nowhere/" NAME, "No such file"},
        {"tune verify ok.yaml", "ok.yaml: expected a name as in E=128,N=768"},
        {"tune verify new", "new: expected a name"},
        {"tune verify 'E=4,N=32,device_name=x.json'", "a directory"},
        {"tune verify 'E=5,N=32,device_name=x.json'", "end of file expected"},
        {"tune verify 'E=6,N=32,device_name=x.json'", "no keys"},
        {"tune verify 'E=7,N=32,device_name=x.json'", "expected at most 1024"},
        {"tune verify 'E=8,N=32,device_name=x_down.json'", "its up file is not beside it"},
        {"tune verify new/" NAME " --model Qwen9", "model 'Qwen9': expected one of"},
        {"tune verify new/" NAME " --model Mixtral-8x7B", "has not E=4 and N=32"},
        {"tune verify new/" NAME " --with K=0", "K=0"},
        {"tune verify new/" NAME " --with E=8", "changes E or N"},
        {"tune verify new/" NAME " --with M=3", "changes M or tiles"},
        {"tune verify new/" NAME " --subject nobody", "nobody"},
        {"tune verify new/" NAME HOST " --own-tiles", "it looks no tile up"},
        {"tune verify new/" NAME HOST " --json new/" NAME, "would be overwritten"},
        {"tune verify new/" NAME HOST " --json no/r.json", "cannot write no/r.json"},
        {"tune diff new/" NAME, "two files"},
        {"tune certificate new/" NAME HOST " --by x", "expected --out"},
        {"tune certificate new/" NAME HOST " -o c.json", "expected --by NAME"},
        {"tune certificate new/" NAME HOST " --by ' ' -o c.json", "expected --by NAME"},
        {"tune certificate new/" NAME HOST " --by x -o c.json --markdown c.json", "named twice"},
        {"tune check new/" NAME, "no certificate"},
        {"tune check old", "a directory"},
        {"tune check junk.h5", "junk.h5:1: "},
        {"tune check odd.json", "odd.json: file: expected an object"},
        {"tune check odder.json", "odder.json: launch 1: proof: expected a text"},
        {"tune check later.json", "version 2: this program reads version 1"},
    };
#define HEAD "{\"format\": \"moeparity tuned-file certificate\", \"version\": "
    mkdir("E=4,N=32,device_name=x.json", 0777);
    write_file("E=5,N=32,device_name=x.json", "{} more");
    write_file("E=6,N=32,device_name=x.json", "{}");
    write_file("E=8,N=32,device_name=x_down.json", "{\"1\": " TILE(16, 32, FULL) "}");
    FILE *many = fopen("E=7,N=32,device_name=x.json", "w");
    assert_non_null(many);
    for (int i = 1; i <= 20000; i++) fprintf(many, "%s\"%d\": " TILE(16, 32, FULL), i == 1 ? "{" : ", ", i);
    fputs("}", many);
    fclose(many);
    write_file("odd.json", HEAD "1}");
    write_file("later.json", HEAD "2}");
    write_file(
        "odder.json",
        HEAD "1, \"file\": {}, \"target\": {}, \"how\": {}, \"run\": {}, \"totals\": {}, \"signed_off\": {}, "
             "\"shapes\": [{\"case\": \"M=1\", \"launches\": [{\"M\": 1}]}]}");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char command[512];
        snprintf(command, sizeof command, "moeparity %s", lines[i][0]);
        expect(command, 2, "", lines[i][1]);
    }
    no_temporary_files();
}

static int begin(void **state) {
    const int failed = set_up(state);
    unsetenv("SGLANG_MOE_CONFIG_DIR");
    unsetenv("VLLM_TUNED_CONFIG_FOLDER");
    if (!failed) write_tables();
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_verified),
        cmocka_unit_test(a_tile_that_does_not_fit_fails),
        cmocka_unit_test(a_file_is_audited),
        cmocka_unit_test(steps_beyond_the_group_are_refuted_by_numbers),
        cmocka_unit_test(names_are_printable),
        cmocka_unit_test(no_figures_refute_nothing),
        cmocka_unit_test(files_differ),
        cmocka_unit_test(keys_are_timed),
        cmocka_unit_test(a_certificate_is_checked),
        cmocka_unit_test(bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, begin, tear_down);
}
