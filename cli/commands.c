/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include "cli/common.h"

#include <limits.h>
#include <stddef.h>

const mp_command_row mp_commands[MP_COMMAND_COUNT] = {
    [MP_CMD_RUN] =
        {"run", mp_cmd_run,
         "MATRIX... [option ...]\n--case 'M=32 topk=2 act=silu' [--pair 'path=runner']... ...",
         MP_OPERANDS_MATRIX, 0, INT_MAX, "matrix files", "judge the cases of matrix files, or single cases",
         "Every case runs in a worker process, under a watchdog; a worker that crashed or hung is replaced. "
         "A row is printed for each case, and under one that is not OK what failed and one command that "
         "repeats it. A matrix is a path, or the name of one that is installed (moeparity list --matrices)."},
    [MP_CMD_LIST] = {"list", mp_cmd_list, "MATRIX... [option ...]\n--matrices", MP_OPERANDS_MATRIX, 0,
                     INT_MAX, "matrix files", "print the cases of matrix files, one name a line", NULL},
    [MP_CMD_COVERAGE] = {"coverage", mp_cmd_coverage,
                         "MATRIX... [option ...]\n--case 'M=32 topk=2 act=silu'... [option ...]",
                         MP_OPERANDS_MATRIX, 0, INT_MAX, "matrix files",
                         "which conditions the cases of matrix files produce, and which none does",
                         "A fault shows only where a case has what it needs: an odd number of k groups, an "
                         "expert without tokens, an offset beyond 2^31. docs/coverage.md lists these "
                         "conditions. Ids are generated, nothing is executed. Exit code 1: a condition that "
                         "--require or --require-from names is produced by no case."},
    [MP_CMD_SHOW] = {"show", mp_cmd_show, "--case 'M=32 topk=2 act=silu' [option ...]\n--fields",
                     MP_OPERANDS_NONE, 0, 0, "no argument",
                     "one case: fields, contract, config, memory plan, bounds", NULL},
    [MP_CMD_JUDGE] =
        {"judge", mp_cmd_judge, "FILE... [option ...]", MP_OPERANDS_TRACE, 1, INT_MAX, "files of tensors",
         "judge the tensors that another program has written into a file",
         "HDF5 as h5py writes it, or safetensors: inputs, and any of the tensors that stages leave. Every "
         "stage is judged whose input and output are there; stages between two tensors that are there are "
         "judged as one. Sizes and dtype follow from the shapes (docs/files.md)."},
    [MP_CMD_EXPORT] = {"export", mp_cmd_export, "--case 'M=32 topk=2 act=silu' --out FILE [option ...]",
                       MP_OPERANDS_NONE, 0, 0, "no argument",
                       "write the inputs of a case into a file, for any language",
                       ".npz, .h5, .safetensors, or a folder with one raw file a tensor and a manifest. FILE "
                       "is replaced in one step."},
    [MP_CMD_RECORD] =
        {"golden record", mp_cmd_golden_record,
         "FILE MATRIX... [option ...]\nFILE --case 'M=32 topk=2 act=silu' [option ...]",
         MP_OPERANDS_GOLDEN_MATRIX, 1, INT_MAX, "a file and matrices",
         "judge every case, and store their traces if all of them pass",
         "Writes nothing unless every case passes; an old FILE is replaced at the end, in one step."},
    [MP_CMD_VERIFY] = {"golden verify", mp_cmd_golden_verify, "FILE [option ...]", MP_OPERANDS_GOLDEN, 1, 1,
                       "one file", "execute the cases of a golden again, and compare",
                       "Judges like run. A case that cannot be compared with the golden fails. A golden is a "
                       "path, or the name of one that is installed."},
    [MP_CMD_DIFF] =
        {"golden diff", mp_cmd_golden_diff, "FILE FILE [option ...]", MP_OPERANDS_GOLDEN, 2, 2, "two files",
         "compare two goldens, tensor by tensor",
         "A line for everything in which they differ: where it begins, by how much, which experts and tiles "
         "that touches; counts by stage at the end. Exit code 1 when they differ."},
    [MP_CMD_LS] = {"golden ls", mp_cmd_golden_ls, "FILE", MP_OPERANDS_GOLDEN, 1, 1, "one file",
                   "what a golden holds, and who made it", NULL},
    [MP_CMD_GOLDEN_MERGE] =
        {"golden merge", mp_cmd_golden_merge, "OUT FILE...", MP_OPERANDS_GOLDEN, 2, INT_MAX,
         "a file to write and at least one golden", "put the cases of several goldens into one",
         "A case that several files hold must be the same in all of them: else they are named, nothing is "
         "written, and the exit code is 1. Each case keeps who recorded it."},
    [MP_CMD_REFRESH] =
        {"golden refresh", mp_cmd_golden_refresh, "FILE [MATRIX...] [option ...]", MP_OPERANDS_GOLDEN_MATRIX,
         1, INT_MAX, "a golden and matrices",
         "record the cases of a golden again, if what changes is explained",
         "Executes and judges them like record: those of the matrices, or those that the file holds. Prints "
         "what has changed, and why that is legal: another contract, fill version or tiles, a tensor or a "
         "case that is new, a case that the matrices do not have. The file is replaced in one step if "
         "everything is legal; else it stays as it is, and the exit code is 1."},
    [MP_CMD_REPORT_MERGE] = {"report merge", mp_cmd_report_merge, "OUT.json FILE... [option ...]",
                             MP_OPERANDS_REPORT, 2, INT_MAX, "a file to write and reports",
                             "make one report of those of all shards of a matrix",
                             "The JSON reports of `--shard 0/N` to `N-1/N`, in any order. The exit code is "
                             "that of the whole. A shard that is missing, there twice, or of another matrix, "
                             "commit, subject or setting is bad input (docs/ci.md)."},
    [MP_CMD_REPORT_DIFF] =
        {"report diff", mp_cmd_report_diff, "FIRST.json SECOND.json [option ...]", MP_OPERANDS_REPORT, 2, 2,
         "two JSON reports", "what changed from one JSON report to another",
         "Cases are the same by their names. The gravest change comes first: an outcome that is worse, a "
         "case that is gone, a check that is not judged any more, bits, error over bound, drift, what is "
         "said of the subject. Exit code 1: an outcome is worse, or a case is gone."},
    [MP_CMD_REPORT_HTML] = {"report html", mp_cmd_report_html, "OUT.html FILE.json [OTHER.json]",
                            MP_OPERANDS_REPORT, 2, 3, "a page to write, and one or two JSON reports",
                            "a page that people look at, of a JSON report or of two",
                            "One file, which needs no network: a table with filters, and of each case its "
                            "stages, checks and repro. Reports of older versions are drawn too. Of two the "
                            "first is the older one: the page shows what changed."},
    [MP_CMD_INFER] = {"infer", mp_cmd_infer, "[--subject S] [option ...]", MP_OPERANDS_NONE, 0, 0,
                      "no argument", "the contract of a subject, found out from its bits",
                      "Runs the subject on cases that tell hypotheses about its arithmetic apart, computes "
                      "every stage from the subject's own input of it under each hypothesis, and prints how "
                      "many elements differ; then the contract to paste, what the data could not separate, "
                      "and the order of its sums. Exit codes: 0 every stage that is seen has a hypothesis "
                      "that fits; 1 one has none; 2, 3 and 77 as always (docs/infer.md)."},
    [MP_CMD_BISECT_STAGE] =
        {"bisect stage", mp_cmd_bisect_stage, "--case 'M=32 topk=2 act=silu' [--against S2] [option ...]",
         MP_OPERANDS_NONE, 0, 0, "no argument",
         "the first stage in which a subject parts from what is expected, or from another subject",
         "Runs the case once, and says of every stage how many elements have other bits than predicted, or "
         "than those of --against, and how many are beyond their bounds; where that begins, and what these "
         "elements have in common. Exit codes: 0 no stage parts; 1 one does; 2, 3 and 77 as always "
         "(docs/bisect.md)."},
    [MP_CMD_BISECT_K] =
        {"bisect k", mp_cmd_bisect_k, "--case 'M=32 topk=2 act=silu' [option ...]", MP_OPERANDS_NONE, 0, 0,
         "no argument", "the group of terms with which a grouped GEMM begins to err",
         "Zeroes the inputs of all terms behind k, and finds by halving the first group of k with which the "
         "subject parts from the prediction, or leaves its bounds; then says of what kind the difference is. "
         "Exit codes: 0 there is no difference; 1 it was found; 2, 3 and 77 as always (docs/bisect.md)."},
    [MP_CMD_BISECT_CONFIG] =
        {"bisect config", mp_cmd_bisect_config,
         "--case 'M=32 topk=2 act=silu' --good TILE --bad TILE [option ...]", MP_OPERANDS_NONE, 0, 0,
         "no argument", "the keys of a tile that make a case fail",
         "Runs the case with the good tile, the bad one, one key of the bad one in the good one, two of "
         "them, one of the good one in the bad one, and finds the least set of keys that still fails as the "
         "bad tile does. A tile that cannot be built or run is no failure. Exit codes: 0 the bad tile "
         "passes; 1 it was found; 2, 3 and 77 as always (docs/bisect.md)."},
    [MP_CMD_BISECT_CASE] =
        {"bisect case", mp_cmd_bisect_case,
         "--case 'M=32 topk=2 act=silu' [--subject S] [option ...]\n--report FILE [--index N | --name TEXT]",
         MP_OPERANDS_NONE, 0, 0, "no argument", "a case that fails, made as small as it goes",
         "Tries smaller and plainer cases, each in a process of its own, and keeps those that fail in the "
         "same check and stage: pairs and rows before it are dropped, one stage is taken alone, options go "
         "to their defaults, M, E, topk, N and K down, numbers of the inputs to 0 or 1. Of several --case "
         "the last is shrunk, and the others run before it. Prints what it finds, and at the end one line "
         "that repeats the smallest, which has been run. Exit codes: 0 the case passes; 1 it fails, and was "
         "shrunk; 2, 3 and 77 as always (docs/bisect.md)."},
    [MP_CMD_BISECT_SET] =
        {"bisect set", mp_cmd_bisect_set,
         "MATRIX... [option ...]\n--case 'M=32 topk=2 act=silu'... [option ...]\n--report FILE [--index N | "
         "--name TEXT]",
         MP_OPERANDS_MATRIX, 0, INT_MAX, "matrix files", "which rows must run before the one that fails",
         "Runs the rows in one process until one fails, then that one alone, and if it passes there, behind "
         "fewer and fewer of the others, in a new process each time, until none can be left out. Exit codes: "
         "0 no row fails; 1 one does; 2, 3 and 77 as always (docs/bisect.md)."},
    [MP_CMD_BISECT_STEP] =
        {"bisect step", mp_cmd_bisect_step, "[--build CMD] [--fails-in WHAT] -- <arguments of moeparity run>",
         MP_OPERANDS_MATRIX, 1, INT_MAX, "the arguments of moeparity run behind --",
         "one commit, as `git bisect run` asks about it",
         "Builds it, runs the cases, and answers with the exit code that git wants: 0 good; 1 bad; 125 it "
         "cannot be tested: the build failed, the subject cannot be loaded or a file of the commit cannot be "
         "read, every case is skipped, or it fails otherwise than --fails-in says; 129, which ends the "
         "bisection: this line itself is wrong (docs/bisect.md)."},
    [MP_CMD_TUNE_WHICH] =
        {"tune which", mp_cmd_tune_which, "--device NAME --E E --N N [option ...]", MP_OPERANDS_NONE, 0, 0,
         "no argument", "the tuned file and key that each public loader picks, and why",
         "By the rules of sglang's and vLLM's loaders: the names they ask for, the folders they look into, "
         "the file that is taken, the key that serves each M; and files that are nearly it. Looked up in "
         "--sglang and --vllm, or where the environment points to, or in the installed packages; nothing of "
         "them is imported (docs/tune.md). Exit codes: 0 each loader that was asked finds a file for "
         "gate_up; 1 one takes its defaults, or raises; 2 bad input."},
    [MP_CMD_TUNE_AUDIT] =
        {"tune audit", mp_cmd_tune_audit, "DIR|FILE... [option ...]\n--rules", MP_OPERANDS_TUNED, 0, INT_MAX,
         "tuned files or folders of them", "what is wrong with files of tuned configurations",
         "Every file named E=....json below a folder, and files that are named: what cannot be read or "
         "launched, blocks that give wrong numbers, names and folders that nobody looks for, pairs and "
         "ladders that are not what they seem. No GPU. Exit codes: 0 no error; 1 an error that --baseline "
         "does not know; 2 bad input (docs/tune.md)."},
    [MP_CMD_TUNE_VERIFY] =
        {"tune verify", mp_cmd_tune_verify, "FILE [option ...]", MP_OPERANDS_TUNED, 1, 1,
         "a file of tuned configurations", "prove a file of tuned configurations, launch by launch",
         "Every key, both sides of every M at which another key takes over, below and above them all, and a "
         "tail for each. First all tiles are compiled for the device in the file's name, which needs no GPU; "
         "then they run on a GPU and are judged by float64, predicted bits, repeats and guard zones "
         "(docs/tune.md). Exit codes: 0 every launch is proven; 1 one is refuted, or only some are proven; "
         "77 nothing could be run here, and nothing is refuted."},
    [MP_CMD_TUNE_DIFF] = {"tune diff", mp_cmd_tune_diff, "OLD NEW [option ...]", MP_OPERANDS_TUNED, 2, 2,
                          "two files of tuned configurations",
                          "the M whose tiles a file changes, and the proof of those",
                          "Tells each range of M in which NEW has other tiles than OLD, from what to what, "
                          "and proves the launches in these ranges as tune verify does. With --dry-run the "
                          "ranges alone, and what would run."},
    [MP_CMD_TUNE_CERTIFICATE] =
        {"tune certificate", mp_cmd_tune_certificate, "FILE --out CERT.json --by NAME [option ...]",
         MP_OPERANDS_TUNED, 1, 1, "a file of tuned configurations",
         "prove a file, and write down what was run, on what, with which results",
         "As tune verify; then the record, with the SHA-256 of the file and of the report, for the pull "
         "request: tune check verifies it again. A digest is no signature: --by is a name, and who can "
         "change the record can change its digests. It is written whatever came of it, and says so."},
    [MP_CMD_TUNE_CHECK] =
        {"tune check", mp_cmd_tune_check, "CERT.json [option ...]", MP_OPERANDS_TUNED, 1, 1,
         "a certificate of tune certificate", "whether a certificate proves its file",
         "The digests; whether its batch sizes are all that the file asks for; whether each was proven, on a "
         "device, and on the one in the file's name. Exit code 1 says why it proves less."},
    [MP_CMD_PROBE] =
        {"probe", mp_cmd_probe, "[option ...]", MP_OPERANDS_NONE, 0, 0, "no argument",
         "what this device's arithmetic is, and whether the bit model holds on it",
         "Exit codes: 0 the bit model holds; 1 it does not, or there is none for this device; 77 no GPU."},
    [MP_CMD_BENCH_REFERENCE] = {"bench reference", mp_cmd_bench, "[option ...]", MP_OPERANDS_NONE, 0, 0,
                                "no argument", "time the float64 reference",
                                "Without --case: M=70000 topk=2 act=silu."},
    [MP_CMD_BENCH_PREDICT] = {"bench predict", mp_cmd_bench, "[option ...]", MP_OPERANDS_NONE, 0, 0,
                              "no argument", "time the prediction of a device's bits",
                              "Without --case: M=70000 topk=2 act=silu, which takes many minutes, for each "
                              "kernel of the CPU is timed, the portable ones too; with M=2048 less than one. "
                              "The table comes in the end."},
    [MP_CMD_BENCH_KERNELS] = {"bench kernels", mp_cmd_bench, "[option ...]", MP_OPERANDS_NONE, 0, 0,
                              "no argument", "time the kernels on the GPU",
                              "Without --case: M=16384 topk=8 E=128 K=2048 N=768."},
    [MP_CMD_BENCH_SUITE] =
        {"bench suite", mp_cmd_bench_suite, "MATRIX... [option ...]\n--case 'M=32 topk=2 act=silu' ...",
         MP_OPERANDS_MATRIX, 0, INT_MAX, "matrix files", "run cases, and tell where their time went",
         "A run as `moeparity run`, then its cases by their seconds, the longest first, with those of each "
         "phase and under them the least that this CPU takes for it: bytes by the rate of a copy, both GEMMs "
         "by dgemm's."},
    [MP_CMD_DOCTOR] = {"doctor", mp_cmd_doctor, "", MP_OPERANDS_NONE, 0, 0, "no argument",
                       "versions, device, BLAS core, caches; what will be skipped and why", NULL},
    [MP_CMD_WORKER] =
        {"worker", mp_cmd_worker, "", MP_OPERANDS_NONE, 0, 0, "no argument",
         "judge the cases that a run hands over",
         "Runs start their workers with it, and talk to them through descriptors 3 and 4: docs/protocol.md."},
    [MP_CMD_HELP] = {"help", mp_cmd_help, "[COMMAND]", MP_OPERANDS_COMMAND, 0, 2, "a command",
                     "what a command does, and a description of its options", NULL},
};
