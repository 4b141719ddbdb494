/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of `moeparity judge` on files share: an exported case, and safetensors, byte by byte. */
#ifndef MP_TESTS_CLI_FILE_SUPPORT_H
#define MP_TESTS_CLI_FILE_SUPPORT_H

#include "tests/cli_support.h"

#include <stdint.h>

#define CASE "M=4 E=4 topk=2 K=32 N=16"
#define EXPORT "moeparity export --case '" CASE "' "

/* Writes a header whose length is told as `told` (0: as it is), and so many zeros. */
static inline void write_safetensors(const char *path, const char *header, uint64_t told, size_t data_bytes) {
    FILE *file = fopen(path, "w");
    const uint64_t length = told ? told : strlen(header);
    assert_non_null(file);
    assert_int_equal(fwrite(&length, 8, 1, file), 1);
    fputs(header, file);
    for (size_t i = 0; i < data_bytes; i++) fputc(0, file);
    fclose(file);
}

/* Where the element of a tensor lies in an exported file: the header says where each begins. */
static inline long place_of(const char *path, const char *name, size_t element, size_t size) {
    char head[1 << 14];
    uint64_t length;
    json_error_t why;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(&length, 8, 1, file), 1);
    assert_true(length < sizeof head);
    assert_int_equal(fread(head, 1, length, file), length);
    fclose(file);
    json_t *header = json_loadb(head, length, 0, &why);
    const json_t *entry = json_object_get(header, name);
    const json_int_t begin = json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
    if (!entry) fail_msg("%s holds no %s", path, name);
    json_decref(header);
    return (long)(8 + length) + (long)begin + (long)(element * size);
}

/* Copies a file with other bytes at one element. */
static inline void plant(const char *from, const char *to, const char *name, size_t element, size_t size,
                         const void *bytes) {
    char command[256];
    snprintf(command, sizeof command, "cp %s %s", from, to);
    assert_int_equal(sh(command), 0);
    FILE *file = fopen(to, "r+");
    assert_non_null(file);
    fseek(file, place_of(from, name, element, size), SEEK_SET);
    assert_int_equal(fwrite(bytes, size, 1, file), 1);
    fclose(file);
}

#endif
