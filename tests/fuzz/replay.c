/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzzer's entry on kept inputs, without libFuzzer: `replay_case FOLDER`. So every compiler and every
 * run of the tests tries the corpus. */
#include "fuzz/fuzz.h"

#include "base/file.h"

#include <dirent.h>
#include <string.h>

int main(int argc, char **argv) {
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr, "usage: %s FOLDER, one with inputs\n", argv[0]);
        return 2;
    }
    int count = 0;
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char path[4096], *data = NULL;
        size_t size = 0;
        mp_error err = {0};
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        fprintf(stderr, "%s\n", path); /* before it runs: the last one is the one that crashed */
        if (mp_file_read(path, &data, &size, &err) != MP_OK) {
            fprintf(stderr, "%s\n", err.text);
            closedir(folder);
            return 2;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)data, size);
        free(data);
        count++;
    }
    closedir(folder);
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
