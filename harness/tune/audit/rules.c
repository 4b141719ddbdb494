/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/audit/rules.h"

#define E MP_SEVERITY_ERROR
#define W MP_SEVERITY_WARNING
#define N MP_SEVERITY_NOTE

const mp_rule_row mp_rules[MP_RULE_COUNT] = {
    [MP_RULE_CORRUPT_JSON] = {"corrupt-json", E, "the file is no JSON object",
                              "The loaders find a file by its name alone, and raise when they read it: the "
                              "server does not start. Write it anew."},
    [MP_RULE_NO_KEYS] = {"no-keys", E, "the file has no token count",
                         "Both loaders find the file, see nothing in it, and take their built-in defaults "
                         "without a warning."},
    [MP_RULE_KEY_NOT_POSITIVE] = {"key-not-positive", E, "a key is no positive number of tokens",
                                  "The loaders call int() on every key, and raise where it is no number. A "
                                  "key of zero or below serves small batches by an entry for none."},
    [MP_RULE_KEY_SPELLING] = {"key-spelling", W, "a key is a number in an unusual spelling",
                              "int() takes blanks, signs, leading zeros and underscores; other readers, and "
                              "people who search for the key, do not."},
    [MP_RULE_DUPLICATE_KEY] = {"duplicate-key", E, "a key or a name of an entry stands twice",
                               "Parsers keep the last one and say nothing. The place in the order, which "
                               "decides ties, is that of the first."},
    [MP_RULE_TRITON_VERSION_KEY] = {"triton-version-key", E,
                                    "\"triton_version\" in a file of the loader that takes it for a key",
                                    "vLLM's loader removes it; sglang's converts every key to a number, and "
                                    "raises on it. Take it out."},
    [MP_RULE_ENTRY_NOT_OBJECT] = {"entry-not-object", E, "a key has no entry",
                                  "The kernel is launched with what stands there: it must be an object with "
                                  "BLOCK_SIZE_M and the like."},
    [MP_RULE_VALUE_MISSING] = {"value-missing", E, "an entry lacks a block size or GROUP_SIZE_M",
                               "They are compile-time parameters of the kernel without a default: its launch "
                               "fails for all M that the key serves."},
    [MP_RULE_VALUE_OUT_OF_RANGE] = {"value-out-of-range", E,
                                    "a value is of another type, out of range, or no power of two",
                                    "Triton's ranges have lengths that are powers of two, a product needs 16 "
                                    "numbers of K, and a block has at most 32 warps: the kernel does not "
                                    "compile."},
    [MP_RULE_UNKNOWN_ENTRY_KEY] = {"unknown-entry-key", E,
                                   "an entry has a name that the kernel does not know",
                                   "The loaders hand every name to the kernel, and Triton refuses a keyword "
                                   "that is neither a parameter nor an option of the device's compiler: the "
                                   "launch fails. Mostly misspelt, or of another vendor."},
    [MP_RULE_DEFAULTS_LEFT] = {"defaults-left", N, "num_warps or num_stages is left to the compiler",
                               "Triton takes 4 warps and 3 stages, and may take others in its next version. "
                               "Who tuned this has not tuned them."},
    [MP_RULE_K_BLOCK_OVER_GROUP] =
        {"k-block-over-group", E, "BLOCK_SIZE_K is greater than the group of the quantisation",
         "sglang's kernel loads one scale for each step of K: with a step of two "
         "groups the second is multiplied by the first one's scale, and the "
         "numbers are wrong (relative rms 0.14 to 0.20 instead of 0.0017, measured "
         "on an H100). Nothing fails. Tune with BLOCK_SIZE_K at most the group."},
    [MP_RULE_K_BLOCK_STRADDLES_GROUP] = {"k-block-straddles-group", E,
                                         "the group of the quantisation is no multiple of BLOCK_SIZE_K",
                                         "A step of K then reaches from one group into the next, and one "
                                         "scale serves both: wrong numbers."},
    [MP_RULE_K_BLOCK_CLAMPED] = {"k-block-clamped", W,
                                 "BLOCK_SIZE_K is greater than the group, and is made smaller at launch",
                                 "vLLM runs the smaller number of block_shape instead, without a word: the "
                                 "numbers are right, but the tile that runs was never what the file says. "
                                 "The same file in sglang gives wrong numbers."},
    [MP_RULE_BLOCK_OVERHANG] = {"block-overhang", N, "the last block reaches beyond the matrix",
                                "Legal, the kernel masks it; what was tuned pays for the part beyond, and "
                                "the masked code runs. Told for N of the name alone: 2 N columns of gate_up, "
                                "N as K of down. The hidden size is not in the name."},
    [MP_RULE_SHARED_MEMORY] =
        {"shared-memory", W, "the estimate of shared memory is above what the device has",
         "The steps that the loop of Triton 3.6 keeps: num_stages of what the tensor cores read in shared "
         "memory (9.0 and 10.x, 64 rows or swapped fp8), else num_stages - 1; weights that are converted "
         "once "
         "more in the model's format. Another compiler may need less or more: only compiling proves it. A "
         "tile "
         "that does not fit fails at launch."},
    [MP_RULE_NAME_NOBODY_ASKS] = {"name-nobody-asks", E, "no loader asks for a file of this name",
                                  "The file is never read, and its model runs on defaults, or on another "
                                  "file, with a warning in the log at most. `moeparity tune which` tells the "
                                  "name that is asked for."},
    [MP_RULE_FOLDER_NOT_READ] = {"folder-not-read", E, "no loader looks into the folder of this file",
                                 "sglang reads configs/triton_X_Y_Z/ and nothing above or below it, vLLM one "
                                 "flat folder. Move the file."},
    [MP_RULE_VERSION_FOLDER] = {"version-folder", E, "a folder triton_... that is no version",
                                "sglang's loader sorts all folders by their numbers as soon as a file is not "
                                "in the running version's, and raises at this one."},
    [MP_RULE_OTHER_TRITON] = {"other-triton", W, "the file is there for another Triton version only",
                              "It serves all the same, newest version first; what is fast under one "
                              "compiler need not be under the next. Told with --triton."},
    [MP_RULE_SHORT_DEVICE_NAME] = {"short-device-name", N, "a device name that drivers report in full",
                                   "The loaders ask for the whole name. As far as is known no driver reports "
                                   "the short one."},
    [MP_RULE_SHADOWED] = {"shadowed", W, "the same name under several Triton versions, with other contents",
                          "Which one serves depends on the running version; the newest serves all that have "
                          "no file of their own."},
    [MP_RULE_SHADOWED_COPY] = {"shadowed-copy", N,
                               "the same name under several Triton versions, with the same contents",
                               "Copied, not tuned anew."},
    [MP_RULE_DOWN_BLOCK_M] = {"down-block-m", W, "up and down have different BLOCK_SIZE_M",
                              "Both share one alignment: down runs with up's, so that the pair that runs is "
                              "not the pair that was tuned."},
    [MP_RULE_DOWN_KEYS] = {"down-keys", W, "up and down have different keys",
                           "For an M between them each takes the nearest of its own: pairs that were never "
                           "tuned together."},
    [MP_RULE_DOWN_WITHOUT_UP] =
        {"down-without-up", W, "a _down file without the file of gate_up",
         "gate_up runs on built-in defaults, and down's BLOCK_SIZE_M becomes theirs."},
    [MP_RULE_DOWN_ELSEWHERE] = {"down-elsewhere", W, "up and down come from different version folders",
                                "Each is looked up on its own, newest first: the pair is of two tunings."},
    [MP_RULE_TMA_SERVES_DOWN] = {"tma-serves-down", W,
                                 "USE_TMA in the file of gate_up, which serves down too",
                                 "Without a _down file down takes these entries as they are, USE_TMA with "
                                 "them, and so the TMA path, for which they were not tuned."},
    [MP_RULE_TMA_ON_UP] = {"tma-on-up", N, "USE_TMA in the file of gate_up",
                           "The TMA path of gate_up is opt-in. LoRA hooks switch it off for down alone."},
    [MP_RULE_TMA_NO_HARDWARE] = {"tma-no-hardware", W, "USE_TMA for a device without it",
                                 "Devices before Hopper have no tensor memory accelerator: the loader drops "
                                 "it, and the tile runs on a path for which it was not tuned."},
    [MP_RULE_LADDER_SINGLE_KEY] = {"ladder-single-key", W, "a single key serves every M",
                                   "One token and 65536 take the tile of one batch size."},
    [MP_RULE_LADDER_BEGINS_LATE] = {"ladder-begins-late", N, "the first key is above 1",
                                    "Decoding one token takes the tile of the first key."},
    [MP_RULE_LADDER_ENDS_EARLY] = {"ladder-ends-early", N, "the last key is below 1024",
                                   "Prefill has thousands of tokens, which take the tile of the last key."},
    [MP_RULE_LADDER_SPARSE] = {"ladder-sparse", N, "an M between two keys is served from more than 2x away",
                               "The nearest key by difference can be far by ratio."},
    [MP_RULE_LADDER_ORDER] = {"ladder-order", N, "the keys are not ascending",
                              "An M in the middle of two keys takes the one that stands first in the file: "
                              "sorting the file would change what runs."},
    [MP_RULE_ROWS_COPIED] = {"rows-copied", N, "all keys have the same entry",
                             "Measured at one batch size and copied, or not measured."},
    [MP_RULE_ROWS_THRASH] = {"rows-thrash", N, "a key between two of the same entry has another",
                             "Neighbouring batch sizes jump between tiles: mostly the noise of a tuning run. "
                             "Each tile is compiled and kept of its own."},
    [MP_RULE_FILE_COPIED] = {"file-copied", N, "the same table under another E, N, device or dtype",
                             "Copied from another shape, not measured for this one."},
};

const char *mp_severity_name(mp_severity severity) {
    static const char *const names[] = {"error", "warning", "note"};
    return names[severity];
}
