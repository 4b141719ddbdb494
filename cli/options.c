/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

enum { /* a bit each, of 64 */
       RUN = INT64_C(1) << MP_CMD_RUN | INT64_C(1) << MP_CMD_BENCH_SUITE,
       LIST = INT64_C(1) << MP_CMD_LIST,
       COVERAGE = INT64_C(1) << MP_CMD_COVERAGE,
       SHOW = INT64_C(1) << MP_CMD_SHOW,
       JUDGE = INT64_C(1) << MP_CMD_JUDGE,
       EXPORT = INT64_C(1) << MP_CMD_EXPORT,
       RECORD_ALONE = INT64_C(1) << MP_CMD_RECORD,
       VERIFY = INT64_C(1) << MP_CMD_VERIFY,
       GOLDEN_DIFF = INT64_C(1) << MP_CMD_DIFF,
       REFRESH = INT64_C(1) << MP_CMD_REFRESH,
       MERGE = INT64_C(1) << MP_CMD_REPORT_MERGE,
       REPORT_DIFF = INT64_C(1) << MP_CMD_REPORT_DIFF,
       INFER = INT64_C(1) << MP_CMD_INFER,
       BISECT_STAGE = INT64_C(1) << MP_CMD_BISECT_STAGE,
       BISECT_K = INT64_C(1) << MP_CMD_BISECT_K,
       BISECT_CONFIG = INT64_C(1) << MP_CMD_BISECT_CONFIG,
       BISECT_CASE = INT64_C(1) << MP_CMD_BISECT_CASE,
       BISECT_SET = INT64_C(1) << MP_CMD_BISECT_SET,
       BISECT_STEP = INT64_C(1) << MP_CMD_BISECT_STEP,
       WHICH = INT64_C(1) << MP_CMD_TUNE_WHICH,
       AUDIT = INT64_C(1) << MP_CMD_TUNE_AUDIT,
       TUNE_VERIFY = INT64_C(1) << MP_CMD_TUNE_VERIFY,
       TUNE_DIFF = INT64_C(1) << MP_CMD_TUNE_DIFF,
       CERTIFICATE = INT64_C(1) << MP_CMD_TUNE_CERTIFICATE,
       CHECK = INT64_C(1) << MP_CMD_TUNE_CHECK,
       PROBE = INT64_C(1) << MP_CMD_PROBE,
       KERNELS = INT64_C(1) << MP_CMD_BENCH_KERNELS,
       HELP = INT64_C(1) << MP_CMD_HELP,
       RECORD = RECORD_ALONE | REFRESH,
       LOCATING = BISECT_STAGE | BISECT_K | BISECT_CONFIG, /* where one failing case fails */
       BISECTING = BISECT_CASE | BISECT_SET,
       PROVING = TUNE_VERIFY | TUNE_DIFF | CERTIFICATE,
       JUDGING = RUN | VERIFY,
       BENCH = INT64_C(1) << MP_CMD_BENCH_REFERENCE | INT64_C(1) << MP_CMD_BENCH_PREDICT | KERNELS,
       ALL = (INT64_C(1) << MP_COMMAND_COUNT) - 1
};

const mp_option_row mp_options[MP_OPTION_COUNT] = {
    /* ---- the cases, and how they are judged ---- */
    [MP_OPT_CASE] =
        {"case", 0, MP_TAKES_TEXT, "TEXT", .commands = RUN | COVERAGE | RECORD | VERIFY | BISECTING,
         .repeats = RUN | COVERAGE | RECORD | VERIFY | BISECTING, .summary = "one case, as `name=value ...`",
         .details =
             "Fields that are not named keep their default (moeparity show --fields). Several cases run in "
             "this order, with one job in one process: what a case leaves behind meets the next."},
    [MP_OPT_ONE_CASE] = {"case", 0, MP_TAKES_TEXT, "TEXT", .commands = SHOW | EXPORT | LOCATING,
                         .summary = "the case, as `name=value ...`",
                         .details =
                             "Fields that are not named keep their default (moeparity show --fields)."},
    [MP_OPT_FILE_CASE] =
        {"case", 0, MP_TAKES_TEXT, "TEXT", .commands = JUDGE,
         .summary = "what the shapes do not tell of the case, as `act=gelu rsf=2.5`",
         .details = "Instead of the text in the file, and for every file. Sizes and dtype follow from the "
                    "shapes: what is said of them must agree. scope=act judges that stage alone."},
    [MP_OPT_PAIR] = {"pair", 0, MP_TAKES_TEXT, "TEXT",
                     .commands = RUN | COVERAGE | RECORD | BISECTING | BISECT_CONFIG,
                     .repeats = RUN | COVERAGE | RECORD | BISECTING | BISECT_CONFIG,
                     .summary = "a variant of the --case before it that must give the same bits",
                     .details =
                         "Fields that differ, as `path=runner`; or ranks or shards, as `ep_size=4 E=2` or "
                         "`N=64`, whose outputs must sum to the case's. Matrices have pairs of their own."},
    [MP_OPT_AFTER] = {"after", 0, MP_TAKES_TEXT, "TEXT",
                      .commands = RUN | COVERAGE | RECORD | BISECTING | BISECT_CONFIG,
                      .repeats = RUN | COVERAGE | RECORD | BISECTING | BISECT_CONFIG,
                      .summary = "a case that runs right before the --case before it, on the same buffers",
                      .details = "Fields that differ, as `M=200 seed=1`: M, routing, seed, filter and data "
                                 "may. What it leaves in outputs and workspaces must change nothing of the "
                                 "case's result. Matrices have such cases of their own."},
    [MP_OPT_EDIT] = {"edit", 0, MP_TAKES_TEXT, "EDIT", .commands = RUN | SHOW | EXPORT | BISECTING | LOCATING,
                     .repeats = RUN | SHOW | EXPORT | BISECTING | LOCATING,
                     .summary = "write over the inputs of each case, as `x[:,64:]=0` or `w1[3]*=0.5`",
                     .details =
                         "An input, indices and slices as numpy has them, `=` or `*=`, and a number, nan or "
                         "inf; several behind `;` or in options of their own take place in this order. "
                         "Pairs, permutations and batches see the edited inputs; of a case that runs before, "
                         "or beside it, the weights are edited. Not with a golden."},
    [MP_OPT_MATCH] = {"match", 0, MP_TAKES_TEXT, "EXPR",
                      .commands = RUN | LIST | COVERAGE | RECORD | VERIFY | BISECT_SET,
                      .summary = "only cases that match, as `M>16 act=silu`",
                      .details = "Blank-separated terms that must all hold: name=value, !=, and for numbers "
                                 "<, <=, >, >=; model=Qwen* for the shape of a published model; or a bare "
                                 "word that occurs in the case's name."},
    [MP_OPT_TIER] = {"tier", 0, MP_TAKES_CHOICE, "T", .choices = "smoke ci full", .fallback = "ci",
                     .commands = RUN | LIST | COVERAGE | RECORD | BISECT_SET,
                     .summary = "smoke, ci or full: each contains the ones before it"},
    [MP_OPT_SHARD] =
        {"shard", 0, MP_TAKES_TEXT, "I/N", .commands = JUDGING | LIST | RECORD_ALONE,
         .summary = "of the cases, those of shard I of N, from 0/N on; or auto, auto/N",
         .details =
             "The cases are cut into N parts of about equal cost, everywhere alike: run them anywhere, and "
             "put their reports together by moeparity report merge. auto: what the engine tells that has "
             "started this (Slurm array, mpirun, Kubernetes with auto/N). GTEST_TOTAL_SHARDS and "
             "GTEST_SHARD_INDEX are obeyed without this option, but in a recording (docs/ci.md)."},
    [MP_OPT_CONTRACT] =
        {"contract", 0, MP_TAKES_TEXT, "WORDS", .commands = JUDGE | JUDGING | RECORD | LOCATING,
         .summary = "what the maker of the file, or of the subject, promises, as `sm_90 act.ulps=4`",
         .details = "A preset, and fields over it. Without it what the file says, else `any`, or what the "
                    "subject says. moeparity show prints a contract; docs/subjects.md tells more."},
    [MP_OPT_SUBJECT] =
        {"subject", 0, MP_TAKES_TEXT, "S", .fallback = "auto",
         .commands = RUN | SHOW | RECORD | VERIFY | INFER | BISECTING | LOCATING,
         .summary = "ref, host, cuda, or auto (cuda where a GPU is found, else host)",
         .details = "What executes the cases. ref: the float64 reference, rounded where the contract rounds. "
                    "host: the prediction of sm_90, on the CPU. cuda: the kernels. plugin:PATH[,words]: your "
                    "kernel in a shared library; worker:COMMAND: in a program (docs/subjects.md)."},
    [MP_OPT_AGAINST] = {"against", 0, MP_TAKES_TEXT, "S2", .commands = JUDGING | BISECT_STAGE,
                        .summary = "compare every case with a second subject as well",
                        .details = "Reported, not judged: both have their own bounds."},
    [MP_OPT_GOLDEN] = {"golden", 0, MP_TAKES_FILE, "FILE", .commands = RUN,
                       .summary = "compare with stored traces as well"},
    [MP_OPT_GOLDEN_PARTIAL] = {"golden-partial", 0, MP_TAKES_NOTHING, .commands = RUN,
                               .summary = "the golden need not hold every case",
                               .details = "A case that --golden does not hold, or holds from another "
                                          "contract, is then not judged against it; otherwise it fails."},
    [MP_OPT_STRICT] =
        {"strict", 0, MP_TAKES_NOTHING, .commands = JUDGING | RECORD | BISECTING | BISECT_CONFIG,
         .summary = "what was asked for and not judged fails, and so does a skip",
         .details =
             "Asked for are --golden, --against, the pairs, and every check that the contract promises for "
             "the case. For CI: a run that judged less than it looks like ends with exit code 1."},
    [MP_OPT_FILE_STRICT] =
        {"strict", 0, MP_TAKES_NOTHING, .commands = JUDGE,
         .summary = "what a file can be asked and was not judged fails, and so does a skip",
         .details = "Asked for are the numbers of the stages that it covers, and their bits where the "
                    "contract requires them; not what needs a run (repeats, guard zones, permuted tokens). "
                    "Stages for which a tensor is lacking are told, and do not fail."},
    [MP_OPT_REPEAT] = {"repeat", 0, MP_TAKES_NUMBER, "N", 1, 100000, .fallback = "2",
                       .commands = JUDGING | RECORD | BISECTING | BISECT_CONFIG | PROVING,
                       .summary = "runs of a case that must agree bit for bit",
                       .details = "From the second on, buffers hold another poison than in the first: with 1 "
                                  "a dependence on old contents is not seen."},
    [MP_OPT_DETERMINISTIC] =
        {"deterministic", 0, MP_TAKES_NOTHING, .commands = JUDGING | RECORD | BISECTING | BISECT_CONFIG,
         .summary = "runs must agree bit for bit whatever the contract says",
         .details =
             "A sum whose order is not fixed may differ from run to run where its contract says so, and "
             "keeps its bound; with this option it fails. With --repeat 20 rare differences are found too."},
    [MP_OPT_DEVICE] = {"device", 0, MP_TAKES_TEXT, "NAME",
                       .commands = RUN | SHOW | RECORD | VERIFY | INFER | BISECTING | LOCATING,
                       .summary = "look tuned tiles up for this device",
                       .details = "As the driver or a file's name spells it: `NVIDIA H200`. Without it the "
                                  "device at hand, or none."},
    [MP_OPT_TRITON] = {"triton", 0, MP_TAKES_TEXT, "VERSION",
                       .commands = RUN | SHOW | RECORD | VERIFY | INFER | BISECTING | LOCATING,
                       .summary = "prefer tuned tiles of this Triton version, as 3.6.0"},
    [MP_OPT_CONFIG] = {"config", 0, MP_TAKES_FILE, "FILE",
                       .commands = RUN | SHOW | RECORD | VERIFY | INFER | BISECTING | LOCATING | KERNELS,
                       .summary = "take tiles from this tuned file, whatever its name"},
    [MP_OPT_DEVICES] =
        {"devices", 0, MP_TAKES_TEXT, "LIST", .commands = JUDGING | RECORD,
         .summary = "the GPUs that cases run on, as 0,1, or all",
         .details = "As many workers for each as --jobs says; each sees that GPU alone, and gets a row "
                    "as soon as it is free. Numbers count what CUDA_VISIBLE_DEVICES leaves. Without it, the "
                    "first one. A recording has one worker, and so one device."},
    [MP_OPT_JOBS] =
        {"jobs", 0, MP_TAKES_NUMBER, "N", 1, 64, .choices = "auto", .fallback = "auto",
         .commands = JUDGE | JUDGING, .summary = "worker processes",
         .details = "auto: one for every core and every 16 cases, at most 8, of subjects that "
                    "moeparity has itself, and on a GPU 3; else one. Of each of the --devices, where they "
                    "are chosen. They share the cores, unless OMP_NUM_THREADS says how many "
                    "threads each one has, and the memory: large cases run a few at a time, with "
                    "most of the cores. bench suite has one worker."},
    [MP_OPT_TIMEOUT] = {"timeout", 0, MP_TAKES_NUMBER, "S", 1, 1000000, .fallback = "600",
                        .commands = JUDGING | RECORD | BISECTING | LOCATING | PROVING,
                        .summary = "seconds before a case counts as hung",
                        .details =
                            "The start of a worker has as many, and 900 more once it compiles kernels."},
    [MP_OPT_FILE_TIMEOUT] = {"timeout", 0, MP_TAKES_NUMBER, "S", 1, 1000000, .fallback = "600",
                             .commands = JUDGE, .summary = "seconds before a file counts as hung",
                             .details = "While it is read, and again while it is judged."},
    [MP_OPT_INFER_TIMEOUT] =
        {"timeout", 0, MP_TAKES_NUMBER, "S", 1, 1000000, .fallback = "600", .commands = INFER,
         .summary = "seconds for all cases and questions together",
         .details = "The start of the subject has as many before, and 900 more once it compiles kernels."},
    [MP_OPT_FAIL_FAST] = {"fail-fast", 0, MP_TAKES_NOTHING, .commands = JUDGE | JUDGING,
                          .summary = "stop after the first case that fails, crashes or hangs",
                          .details = "What was not reached is not in the reports."},
    [MP_OPT_PLAIN] = {"plain", 0, MP_TAKES_NOTHING,
                      .commands = JUDGE | JUDGING | RECORD | BISECTING | LOCATING,
                      .summary = "judge with plain loops instead of OpenBLAS"},
    [MP_OPT_ENGINE] = {"engine", 0, MP_TAKES_TEXT, "E",
                       .commands = JUDGE | JUDGING | RECORD | BISECTING | LOCATING,
                       .summary = "what computes float64: auto, cpu, or device (a GPU)",
                       .details =
                           "auto, the usual: a GPU where there is one whose float64 is fast, of cases that "
                           "are large enough. device: of all cases; without a GPU nothing is run."},
    [MP_OPT_IN_PROCESS] = {"in-process", 0, MP_TAKES_NOTHING,
                           .commands = JUDGE | JUDGING | RECORD | SHOW | INFER | PROVING,
                           .summary = "no worker processes, no watchdog: for debuggers and memory checkers",
                           .details = "No parent survives a crash then: where cases are judged, `case i/n: "
                                      "<repro>` goes to stderr before each one, unless that is a terminal."},
    [MP_OPT_DRY_RUN] = {"dry-run", 0, MP_TAKES_NOTHING, .commands = JUDGING | RECORD | PROVING,
                        .summary = "say which cases would run, and what would be judged; run nothing"},
    /* ---- reports, and what is printed ---- */
    [MP_OPT_JSON] = {"json", 0, MP_TAKES_FILE, "FILE",
                     .commands = JUDGE | JUDGING | RECORD | LIST | COVERAGE | GOLDEN_DIFF | REPORT_DIFF |
                                 INFER | BISECTING | LOCATING | WHICH | AUDIT | PROVING | PROBE,
                     .summary = "write what was found as JSON, too",
                     .details =
                         "Of cases that are judged the verdicts (docs/report.schema.json); of cases that "
                         "are listed name, group, tier, pairs, what they run after, and all fields."},
    [MP_OPT_HTML] = {"html", 0, MP_TAKES_FILE, "FILE", .commands = JUDGE | JUDGING | MERGE,
                     .summary = "write a page that people look at: cases, histograms, maps, repros",
                     .details = "One file, which needs no network. Implies --figures. moeparity report html "
                                "makes the same of a JSON report."},
    [MP_OPT_FIGURES] =
        {"figures", 0, MP_TAKES_NOTHING, .commands = JUDGE | JUDGING,
         .summary = "histograms and maps of every stage in the JSON report",
         .details = "Of error over bound, drift and ulps: docs/reports.md. For pages that are made later."},
    [MP_OPT_JUNIT] = {"junit", 0, MP_TAKES_FILE, "FILE", .commands = JUDGE | JUDGING | RECORD | MERGE | AUDIT,
                      .summary = "write verdicts, or what an audit finds, as JUnit XML"},
    [MP_OPT_SUMMARY] = {"summary", 0, MP_TAKES_FILE, "FILE", .commands = JUDGE | JUDGING | RECORD | MERGE,
                        .summary = "write counts, failures, skips and drift as a Markdown table",
                        .details = "For the page that a CI job shows. A FILE that GITHUB_STEP_SUMMARY names "
                                   "is appended to; any other is replaced."},
    [MP_OPT_QUIET] = {"quiet", 'q', MP_TAKES_NOTHING, .commands = JUDGE | JUDGING | RECORD | AUDIT,
                      .summary = "print only what fails, and the last lines"},
    [MP_OPT_VERBOSE] = {"verbose", 'v', MP_TAKES_NOTHING, .commands = JUDGE | JUDGING | RECORD,
                        .summary = "print the figures of every stage under each case"},
    [MP_OPT_COLOR] = {"color", 0, MP_TAKES_CHOICE, "WHEN", .choices = "auto always never", .fallback = "auto",
                      .commands = JUDGE | JUDGING | RECORD, .summary = "auto, always or never",
                      .details = "auto: on a terminal, and where FORCE_COLOR is set; not where NO_COLOR is."},
    /* ---- golden record, golden refresh, golden diff ---- */
    [MP_OPT_INPUTS] = {"inputs", 0, MP_TAKES_NOTHING, .commands = RECORD_ALONE,
                       .summary = "store the inputs too"},
    [MP_OPT_DIGEST_ABOVE] = {"digest-above", 0, MP_TAKES_NUMBER, "BYTES", 0, INT64_MAX, .fallback = "1048576",
                             .commands = RECORD_ALONE, .summary = "of larger tensors digests are kept",
                             .details = "One a row; above 512 rows 64 bytes for 512 of them, from which the "
                                        "rows that differ can still be told (docs/goldens.md)."},
    [MP_OPT_RESUME] = {"resume", 0, MP_TAKES_NOTHING, .commands = RECORD,
                       .summary = "go on with what an interrupted recording has kept",
                       .details = "FILE.part keeps each case that has passed. They are not executed again, "
                                  "and are in no report of this run. Those that another commit, subject or "
                                  "device has recorded, or under another contract, are refused."},
    [MP_OPT_ALLOW_MIXED] = {"allow-mixed", 0, MP_TAKES_NOTHING, .commands = RECORD,
                            .summary = "--resume takes cases that others have recorded, too",
                            .details = "Each case then keeps who recorded it."},
    [MP_OPT_ALLOW] = {"allow", 0, MP_TAKES_TEXT, "KINDS", .commands = REFRESH,
                      .summary = "let through what nothing explains: bits, inputs, missing",
                      .details = "bits: a tensor differs under the same contract, fill version and tiles; "
                                 "inputs: they differ under the same fill version; missing: a tensor is not "
                                 "shown any more. Several with commas or blanks."},
    [MP_OPT_MAP] = {"map", 0, MP_TAKES_TEXT, "RULES", .commands = GOLDEN_DIFF,
                    .summary = "compare cases of other fields, as `tile=64x64x64x8x4x3 -> seed=1`",
                    .details = "TERMS -> FIELDS, and further ones behind `;`. A case of the first file that "
                               "matches the terms (as --match has them; none: each case) stands beside the "
                               "one of the second that has these fields instead of its own."},
    [MP_OPT_IGNORE] = {"ignore", 0, MP_TAKES_TEXT, "FIELDS", .commands = GOLDEN_DIFF,
                       .summary = "fields in which cases may differ that stand side by side, as `tile seed`"},
    /* ---- list, coverage, show, export ---- */
    [MP_OPT_PAIRS] = {"pairs", 0, MP_TAKES_NOTHING, .commands = LIST,
                      .summary = "print under each case its pairs, and what it runs after"},
    [MP_OPT_MATRICES] = {"matrices", 0, MP_TAKES_NOTHING, .commands = LIST,
                         .summary = "the matrices and goldens that are found by their names"},
    [MP_OPT_MISSING] = {"missing", 0, MP_TAKES_NOTHING, .commands = COVERAGE,
                        .summary = "only the conditions that no case produces"},
    [MP_OPT_REQUIRE] = {"require", 0, MP_TAKES_TEXT, "NAMES", .commands = COVERAGE,
                        .summary = "fail where no case produces one of these, as `k-odd-groups filtered`",
                        .details = "Separated by blanks or commas. `ci` stands for all but those that only "
                                   "rows of tier full are expected to produce, `all` for all."},
    [MP_OPT_REQUIRE_FROM] = {"require-from", 0, MP_TAKES_FILE, "FILE", .commands = COVERAGE,
                             .summary = "the same, with the names in a file",
                             .details = "One or more a line; what follows a # is a comment."},
    [MP_OPT_FIELDS] = {"fields", 0, MP_TAKES_NOTHING, .commands = SHOW,
                       .summary = "the fields of a case, their defaults and allowed values"},
    [MP_OPT_OUT] = {"out", 0, MP_TAKES_FILE, "FILE", .commands = EXPORT,
                    .summary = "the file that is written"},
    [MP_OPT_FORMAT] = {"format", 0, MP_TAKES_CHOICE, "F", .choices = "npz h5 safetensors raw",
                       .commands = EXPORT,
                       .summary = "npz, h5, safetensors or raw, whatever the name of the file"},
    [MP_OPT_OUTPUTS] = {"outputs", 0, MP_TAKES_NOTHING, .commands = EXPORT,
                        .summary =
                            "write what the stages leave, too, and the contract: moeparity judge takes it"},
    [MP_OPT_EXPORT_SUBJECT] = {"subject", 0, MP_TAKES_CHOICE, "S", .choices = "ref host cuda auto",
                               .fallback = "host", .commands = EXPORT,
                               .summary = "what makes the --outputs: ref, host, cuda or auto"},
    /* ---- infer ---- */
    [MP_OPT_INFER_CASE] = {"case", 0, MP_TAKES_TEXT, "TEXT", .commands = INFER, .repeats = INFER,
                           .summary = "infer from this case, as `name=value ...`, instead of the usual ones",
                           .details = "May be given several times; all of one dtype and one activation."},
    [MP_OPT_WITH] = {"with", 0, MP_TAKES_TEXT, "TEXT", .commands = INFER,
                     .summary = "fields to set over the usual cases, as `dtype=fp16 act=gelu`"},
    [MP_OPT_STAGE] = {"stage", 0, MP_TAKES_CHOICE, "STAGE", .choices = "align gate_up act down combine",
                      .commands = INFER, .summary = "ask about this stage alone"},
    [MP_OPT_INFER_REPEAT] = {"repeat", 0, MP_TAKES_NUMBER, "N", 1, 100000, .fallback = "3", .commands = INFER,
                             .summary = "runs of each case, to see whether its bits repeat"},
    [MP_OPT_INFER_VERBOSE] = {"verbose", 'v', MP_TAKES_NOTHING, .commands = INFER,
                              .summary = "print every hypothesis, not the nearest ones alone"},
    /* ---- bisect ---- */
    [MP_OPT_GEMM] = {"stage", 0, MP_TAKES_CHOICE, "STAGE", .choices = "gate_up down", .commands = BISECT_K,
                     .summary = "which GEMM; without it that of the case's scope, or gate_up"},
    [MP_OPT_WEIGHTS] = {"weights", 0, MP_TAKES_NOTHING, .commands = BISECT_K,
                        .summary = "zero terms in the weights, not in what they multiply",
                        .details = "For down, unless it is a stage alone (scope=down), that is so anyway: "
                                   "what it reads there is no input."},
    [MP_OPT_GROUP] = {"group", 0, MP_TAKES_NUMBER, "N", 1, 1 << 20, .commands = BISECT_K,
                      .summary = "terms of a group",
                      .details = "Without it those that the contract's accumulator adds in one step (16 on "
                                 "an sm_90), else BLOCK_SIZE_K of the tile."},
    [MP_OPT_EXHAUSTIVE] = {"exhaustive", 0, MP_TAKES_NOTHING, .commands = BISECT_K,
                           .summary = "try every group, to see whether a difference vanishes again"},
    [MP_OPT_GOOD] = {"good", 0, MP_TAKES_TEXT, "TILE", .fallback = "default", .commands = BISECT_CONFIG,
                     .summary = "a tile with which the case passes, as `tile=64x64x32x8x4x3`",
                     .details =
                         "With tile_down= where the second GEMM has one of its own; or FILE:KEY, a tuned "
                         "file and a key of it; or default, the tile of a case that names none."},
    [MP_OPT_BAD] = {"bad", 0, MP_TAKES_TEXT, "TILE", .commands = BISECT_CONFIG,
                    .summary = "the tile with which it fails; without it the case's own"},
    [MP_OPT_SVG] = {"svg", 0, MP_TAKES_FILE, "FILE", .commands = BISECT_STAGE,
                    .summary = "draw the stages there: rows by expert, columns, tiles"},
    [MP_OPT_SVG_SHOWS] =
        {"show", 0, MP_TAKES_CHOICE, "WHAT", .choices = "ratio drift ulps", .commands = BISECT_STAGE,
         .summary = "what --svg shows: error over bound, drift, or ulps to the other bits",
         .details =
             "Without it ulps of the stages whose bits were compared, and error over bound of the others."},
    [MP_OPT_BISECT_VERBOSE] = {"verbose", 'v', MP_TAKES_NOTHING, .commands = LOCATING,
                               .summary = "print every try"},
    [MP_OPT_TRIES] = {"tries", 0, MP_TAKES_NUMBER, "N", 1, 1000000, .fallback = "1000", .commands = BISECTING,
                      .summary = "try at most so many cases"},
    [MP_OPT_SECONDS] = {"seconds", 0, MP_TAKES_NUMBER, "S", 1, 1000000, .fallback = "60",
                        .commands = BISECTING, .summary = "begin no try after so many seconds"},
    [MP_OPT_NO_VALUES] = {"no-values", 0, MP_TAKES_NOTHING, .commands = BISECT_CASE,
                          .summary = "leave the numbers of the inputs as they are",
                          .details =
                              "Without it they become 0 or 1 where the case fails all the same, by --edit."},
    [MP_OPT_REPRO_OUT] =
        {"out", 0, MP_TAKES_FILE, "FOLDER", .commands = BISECT_CASE,
         .summary = "write the smallest case there, for people without this program",
         .details =
             "A folder, or a name that ends in .npz or .h5: the inputs, what the subject left, what was "
             "expected; and beside it a program of numpy that computes the stage and shows what is wrong."},
    [MP_OPT_REPORT] = {"report", 0, MP_TAKES_FILE, "FILE", .commands = BISECTING | LOCATING,
                       .summary = "begin with a failure of this JSON report, the first one of it",
                       .details = "Its repro tells cases and settings; those of this line go before them."},
    [MP_OPT_INDEX] = {"index", 0, MP_TAKES_NUMBER, "N", 0, INT64_MAX, .commands = BISECTING | LOCATING,
                      .summary = "the verdict of --report, counted from 0"},
    [MP_OPT_NAME] = {"name", 0, MP_TAKES_TEXT, "CASE", .commands = BISECTING | LOCATING,
                     .summary = "the verdict of --report about the case of this name"},
    [MP_OPT_ROW] = {"row", 0, MP_TAKES_NUMBER, "N", 0, INT64_MAX, .commands = BISECT_SET,
                    .summary = "the row that fails, counted from 0, instead of the first one that does"},
    [MP_OPT_BUILD] = {"build", 0, MP_TAKES_TEXT, "CMD", .commands = BISECT_STEP,
                      .summary = "build the commit by this shell command first",
                      .details = "Where it fails, or takes longer than --build-timeout, the commit cannot be "
                                 "tested. What it prints goes to the standard error."},
    [MP_OPT_BUILD_TIMEOUT] = {"build-timeout", 0, MP_TAKES_NUMBER, "S", 1, 1000000, .fallback = "3600",
                              .commands = BISECT_STEP, .summary = "seconds of --build"},
    [MP_OPT_FAILS_IN] = {"fails-in", 0, MP_TAKES_TEXT, "WHAT", .commands = BISECT_STEP,
                         .summary = "only this failure is bad, as bound:gate_up, guard, CRASH or TIMEOUT",
                         .details = "The first check that fails, and the stage in which it begins. A commit "
                                    "that fails in another way cannot be tested."},
    /* ---- tune which, tune audit ---- */
    [MP_OPT_TUNE_DEVICE] = {"device", 0, MP_TAKES_TEXT, "NAME", .commands = WHICH,
                            .summary = "the device, as the driver spells it: `NVIDIA H100 80GB HBM3`"},
    [MP_OPT_TUNE_TRITON] = {"triton", 0, MP_TAKES_TEXT, "VERSION", .commands = WHICH | AUDIT,
                            .summary = "the running Triton, as 3.6.0",
                            .details =
                                "Its folder is the first that sglang's loader looks into; without it the "
                                "newest. An audit tells what it would take from other versions' folders."},
    [MP_OPT_TUNE_E] = {"E", 0, MP_TAKES_NUMBER, "E", 1, INT64_C(1) << 40, .commands = WHICH,
                       .summary = "experts of this rank, fused shared ones among them"},
    [MP_OPT_TUNE_N] = {"N", 0, MP_TAKES_NUMBER, "N", 1, INT64_C(1) << 40, .commands = WHICH,
                       .summary = "intermediate size of this shard, behind the activation, unpacked"},
    [MP_OPT_TUNE_DTYPE] = {"dtype", 0, MP_TAKES_CHOICE, "T",
                           .choices = "bf16 fp16 fp32 fp8_w8a8 int8_w8a8 int8_w8a16 int4_w4a16",
                           .fallback = "bf16", .commands = WHICH,
                           .summary = "bf16, fp16, fp32, fp8_w8a8, int8_w8a8, int8_w8a16 or int4_w4a16"},
    [MP_OPT_BLOCK_SHAPE] = {"block-shape", 0, MP_TAKES_TEXT, "N,K", .commands = WHICH,
                            .summary = "of a quantisation by blocks, as 128,128"},
    [MP_OPT_PER_CHANNEL] = {"per-channel", 0, MP_TAKES_NOTHING, .commands = WHICH,
                            .summary = "weights are quantised by channel"},
    [MP_OPT_TUNE_M] = {"M", 0, MP_TAKES_TEXT, "M[,M...]", .fallback = "all", .commands = WHICH,
                       .summary =
                           "numbers of tokens, or all: every key and both sides of where another takes over"},
    [MP_OPT_SGLANG] = {"sglang", 0, MP_TAKES_FILE, "DIR", .commands = WHICH,
                       .summary = "sglang's package, or a folder as SGLANG_MOE_CONFIG_DIR",
                       .details = "Instead of the environment and the installed package. With --sglang or "
                                  "--vllm no loader is asked but theirs."},
    [MP_OPT_VLLM] = {"vllm", 0, MP_TAKES_FILE, "DIR", .commands = WHICH,
                     .summary = "vLLM's package, or a folder as VLLM_TUNED_CONFIG_FOLDER"},
    [MP_OPT_LOADER_OFF] = {"deterministic", 0, MP_TAKES_NOTHING, .commands = WHICH,
                           .summary =
                               "in deterministic inference, or batch-invariant mode: no file is looked at"},
    [MP_OPT_SARIF] = {"sarif", 0, MP_TAKES_FILE, "FILE", .commands = AUDIT,
                      .summary = "write the findings as SARIF 2.1.0, for code scanners"},
    [MP_OPT_BASELINE] = {"baseline", 0, MP_TAKES_FILE, "FILE", .commands = AUDIT,
                         .summary = "findings that are known: they are counted, and fail nothing"},
    [MP_OPT_WRITE_BASELINE] = {"write-baseline", 0, MP_TAKES_FILE, "FILE", .commands = AUDIT,
                               .summary = "write all findings there, for --baseline"},
    [MP_OPT_RULES] = {"rules", 0, MP_TAKES_NOTHING, .commands = AUDIT,
                      .summary = "list the rules, with why they matter"},
    [MP_OPT_AUDIT_VERBOSE] = {"verbose", 'v', MP_TAKES_NOTHING, .commands = AUDIT,
                              .summary = "print notes too"},
    /* ---- probe, bench ---- */
    [MP_OPT_VECTORS] = {"vectors", 0, MP_TAKES_NUMBER, "N", 1, INT64_C(1) << 40, .fallback = "1048576",
                        .commands = PROBE,
                        .summary = "random vectors of each instruction in each of the three modes"},
    [MP_OPT_SEED] = {"seed", 0, MP_TAKES_NUMBER, "S", 0, INT64_MAX, .fallback = "0", .commands = PROBE,
                     .summary = "of the random vectors"},
    [MP_OPT_TABLES] = {"tables", 0, MP_TAKES_FILE, "FOLDER", .commands = PROBE,
                       .summary = "write the tables of the special-function unit there",
                       .details =
                           "sm_90_ex2.z and sm_90_rcp.z, by the device's architecture: for every fraction "
                           "and mantissa by how many ulps the device differs from the correctly rounded "
                           "value, one signed byte each, compressed by zlib, as ref/predict keeps them."},
    [MP_OPT_BENCH_CASE] = {"case", 0, MP_TAKES_TEXT, "TEXT", .commands = BENCH, .repeats = KERNELS,
                           .summary = "the case that is timed, as `name=value ...`",
                           .details = "Of `bench kernels` there may be several."},
    [MP_OPT_BENCH_REPEAT] = {"repeat", 0, MP_TAKES_NUMBER, "N", 1, 10000, .fallback = "10",
                             .commands = KERNELS, .summary = "timed runs"},
    [MP_OPT_BENCH_AGAINST] =
        {"against", 0, MP_TAKES_TEXT, "S2", .commands = KERNELS,
         .summary = "time each case beside this subject, as worker:COMMAND",
         .details =
             "On the same inputs, the stages as each subject measures them; the other one, twice ours, "
             "and the other one again in each round, each run after one that warms it up. Told are "
             "medians, and how many times as fast ours is, with a 95 % interval of order statistics."},
    [MP_OPT_BENCH_SUBJECT] = {"subject", 0, MP_TAKES_TEXT, "S", .fallback = "cuda", .commands = KERNELS,
                              .summary = "what --against is compared with"},
    [MP_OPT_BENCH_ROUNDS] = {"rounds", 0, MP_TAKES_NUMBER, "N", 6, 10000, .fallback = "25",
                             .commands = KERNELS, .summary = "rounds of --against"},
    /* ---- tune verify, tune diff, tune certificate, tune check ---- */
    [MP_OPT_TUNE_SUBJECT] = {"subject", 0, MP_TAKES_TEXT, "S", .fallback = "auto",
                             .commands = PROVING | CHECK,
                             .summary =
                                 "what runs the tiles: cuda, plugin:PATH, worker:COMMAND; host predicts",
                             .details = "auto is cuda, with or without a GPU. host and ref compute the same "
                                        "cases on the CPU, where there are no tiles."},
    [MP_OPT_TUNE_MODEL] = {"model", 0, MP_TAKES_TEXT, "NAME", .commands = PROVING,
                           .summary = "take K, topk and options of this published model",
                           .details = "Without it those of every model that has the E and N of the file's "
                                      "name, or N on several shards."},
    [MP_OPT_TUNE_WITH] = {"with", 0, MP_TAKES_TEXT, "TEXT", .commands = PROVING,
                          .summary = "fields to set over that, as `K=4096 topk=8 dtype=fp16`"},
    [MP_OPT_TUNE_STATIC] =
        {"static", 0, MP_TAKES_NOTHING, .commands = PROVING,
         .summary = "only what needs no GPU: the tiles are compiled, and nothing is run",
         .details = "Exit code 0 then says that nothing speaks against the file, not that it is proven."},
    [MP_OPT_TUNE_EACH] = {"each", 0, MP_TAKES_NOTHING, .commands = PROVING,
                          .summary = "judge every launch by itself, not as a smaller batch of another one",
                          .details = "For subjects that do not promise a token the same bits in every batch. "
                                     "Takes many times as long."},
    [MP_OPT_TUNE_OWN_TILES] =
        {"own-tiles", 0, MP_TAKES_NOTHING, .commands = PROVING,
         .summary = "name no tile: the subject finds its own for each M",
         .details = "For a package that looks its tables up itself: what is proven is what it would run."},
    [MP_OPT_TUNE_MOST] = {"most", 0, MP_TAKES_NUMBER, "M", 1, INT32_MAX, .commands = PROVING,
                          .summary = "leave out larger batch sizes; they are not proven then"},
    [MP_OPT_TUNE_VERBOSE] = {"verbose", 'v', MP_TAKES_NOTHING, .commands = PROVING,
                             .summary = "print every launch, not only those that are not proven"},
    [MP_OPT_TUNE_AGAINST] =
        {"against", 0, MP_TAKES_FILE, "OLD|default", .commands = TUNE_VERIFY | CERTIFICATE,
         .summary = "time each key beside the tiles of this file, or the defaults, as well",
         .details = "Old, new, new, old in each round, the stages' own times on the device; the median of "
                    "the rounds' ratios, with a 95 % interval of order statistics. A key that is slower than "
                    "--threshold allows, or not shown to be within it, fails."},
    [MP_OPT_TUNE_THRESHOLD] = {"threshold", 0, MP_TAKES_NUMBER, "PERCENT", 0, 1000, .fallback = "5",
                               .commands = TUNE_VERIFY | CERTIFICATE,
                               .summary = "how much longer than --against a key may take"},
    [MP_OPT_TUNE_ROUNDS] = {"rounds", 0, MP_TAKES_NUMBER, "N", 6, 10000, .fallback = "25",
                            .commands = TUNE_VERIFY | CERTIFICATE, .summary = "rounds of --against"},
    [MP_OPT_TUNE_OUT] = {"out", 'o', MP_TAKES_FILE, "CERT.json", .commands = CERTIFICATE,
                         .summary = "the certificate that is written"},
    [MP_OPT_TUNE_MARKDOWN] = {"markdown", 0, MP_TAKES_FILE, "FILE", .commands = CERTIFICATE,
                              .summary = "write it for people as well, for the text of a pull request"},
    [MP_OPT_TUNE_BY] = {"by", 0, MP_TAKES_TEXT, "NAME", .commands = CERTIFICATE,
                        .summary = "who signs it off"},
    [MP_OPT_TUNE_FILE] = {"file", 0, MP_TAKES_FILE, "FILE", .commands = CHECK,
                          .summary = "the tuned file, where it is not at the path that the certificate says"},
    [MP_OPT_TUNE_REPORT] = {"report", 0, MP_TAKES_FILE, "FILE", .commands = CHECK,
                            .summary = "the JSON report that was written with it, to be checked too"},
    [MP_OPT_TUNE_AGAIN] = {"again", 0, MP_TAKES_NOTHING, .commands = CHECK,
                           .summary = "prove the file again here, in the same way, and compare"},
    /* ---- report diff ---- */
    [MP_OPT_DIFF_THRESHOLD] = {"threshold", 0, MP_TAKES_TEXT, "X", .fallback = "0.01",
                               .commands = REPORT_DIFF,
                               .summary = "changes of error over bound and of drift up to this do not count",
                               .details = "Their unit is the bound: 0.01 is a hundredth of it."},
    [MP_OPT_DIFF_STRICT] = {"strict", 0, MP_TAKES_NOTHING, .commands = REPORT_DIFF,
                            .summary = "exit code 1 for any change that counts"},
    [MP_OPT_DIFF_QUIET] = {"quiet", 'q', MP_TAKES_NOTHING, .commands = REPORT_DIFF,
                           .summary = "print the counts alone"},
    /* ---- help ---- */
    [MP_OPT_MAN] = {"man", 0, MP_TAKES_NOTHING, .commands = HELP, .hidden = true,
                    .summary = "the manual page"},
    [MP_OPT_BASH] = {"bash", 0, MP_TAKES_NOTHING, .commands = HELP, .hidden = true,
                     .summary = "the completion of bash"},
    [MP_OPT_ZSH] = {"zsh", 0, MP_TAKES_NOTHING, .commands = HELP, .hidden = true,
                    .summary = "the completion of zsh"},
    [MP_OPT_HELP] = {"help", 'h', MP_TAKES_NOTHING, .commands = ALL, .summary = "say what there is to say"},
};
