/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of tuned files: refused with a reason, or checked against a file that asks for few launches,
 * of which none is believed that the record does not prove. */
#include "fuzz/fuzz.h"

#include "reports/certificate.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char table[] = "{\"2\": {\"BLOCK_SIZE_M\": 16, \"BLOCK_SIZE_N\": 32, \"BLOCK_SIZE_K\": 32, "
                            "\"GROUP_SIZE_M\": 1, \"num_warps\": 4, \"num_stages\": 2}}";

static char folder[64], file[128];

static void remove_table(void) {
    unlink(file);
    rmdir(folder);
}

/* The file that records are checked against. */
static void write_table(void) {
    strcpy(folder, "/tmp/moeparity-fuzz-XXXXXX");
    if (!mkdtemp(folder)) abort();
    snprintf(file, sizeof file, "%s/E=4,N=32,device_name=x.json", folder);
    FILE *out = fopen(file, "w");
    if (!out || fputs(table, out) < 0 || fclose(out) != 0) abort();
    atexit(remove_table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!*file) write_table();
    const char *path = fuzz_file("certificate.json", data, size);
    mp_texts against = {0}, notes = {0};
    mp_error err = {0};
    json_t *certificate = NULL;
    mp_status status = mp_certificate_read(path, &certificate, &err);
    fuzz_require_told(status, &err);
    if (status == MP_OK) {
        char *named = mp_certificate_file(path, certificate);
        const mp_tune_request request = mp_certificate_request(certificate, file);
        fuzz_require(named && request.suite.settings.repeat >= 2, "a repetition runs twice at least", &err);
        free(named);
        status = mp_certificate_check(certificate, file, NULL, &against, &notes, &err);
        fuzz_require_told(status, &err);
        /* A record of this file that names a device and its own digest would have to be made so. */
        fuzz_require(status != MP_OK || against.count > 0, "a stranger's record proves nothing", &err);
    }
    mp_texts_free(&against);
    mp_texts_free(&notes);
    json_decref(certificate);
    return 0;
}
