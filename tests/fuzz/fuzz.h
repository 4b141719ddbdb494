/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzzers share. Each of them is one entry, LLVMFuzzerTestOneInput; libFuzzer calls it with inputs
 * that it makes up, and replay.c with the files of corpus/. Broken promises abort: the fuzzer keeps the
 * input. */
#ifndef MP_TESTS_FUZZ_H
#define MP_TESTS_FUZZ_H

#include "moeparity/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts with the text unless `holds`. */
static inline void fuzz_require(bool holds, const char *promise, const mp_error *err) {
    if (holds) return;
    fprintf(stderr, "broken promise: %s: %s\n", promise, err->text);
    abort();
}

/* A refused input has a reason, and one that can only be the input's fault; MP_EMEMORY is forgiven. */
static inline void fuzz_require_told(mp_status status, const mp_error *err) {
    if (status == MP_OK) return;
    fuzz_require(status == err->status, "the error carries the status", err);
    fuzz_require(err->text[0] != '\0', "the error has a text", err);
    fuzz_require(status == MP_EINPUT || status == MP_EMEMORY, "bad input is MP_EINPUT", err);
}

/* The bytes as a text, NUL-terminated; freed by the caller. */
char *fuzz_text(const uint8_t *data, size_t size);
/* Puts the bytes into a file that every input of this process overwrites, and returns its path: `name` in a
 * folder of its own, which is removed when the process ends. */
const char *fuzz_file(const char *name, const uint8_t *data, size_t size);

#endif
