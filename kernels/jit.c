/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/jit.h"

#include "base/file.h"
#include "base/text.h"
#include "kernels/driver.h"
#include "kernels/includes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAX_OPTIONS 32
#define INVALID_OPTION 5 /* NVRTC_ERROR_INVALID_OPTION */

/* Options that every kernel gets. No contraction, IEEE division, subnormals kept: the bits of the CPU
 * model. */
static const char *const common_options[] = {"--std=c++17",      "--fmad=false", "--prec-div=true",
                                             "--prec-sqrt=true", "--ftz=false",  "--ptxas-options=-v"};

/* From sm_90 on the architecture-specific target has what the family has, and more. */
static void architecture_option(int architecture, char *option, size_t size) {
    snprintf(option, size, "--gpu-architecture=sm_%d%s", architecture, architecture >= 90 ? "a" : "");
}

mp_status mp_jit_check_architecture(int architecture, mp_error *err) {
    const mp_nvrtc *nvrtc = NULL;
    int known[256] = {0}, count = 0, newest = 0;
    const mp_status status = mp_nvrtc_load(&nvrtc, err);
    if (status != MP_OK) return status;
    if (nvrtc->nvrtcGetNumSupportedArchs(&count) != 0 || count < 1 ||
        count > (int)(sizeof known / sizeof *known) || nvrtc->nvrtcGetSupportedArchs(known) != 0)
        return mp_fail(err, MP_EDEVICE, "NVRTC %d.%d does not list its architectures (count %d)",
                       nvrtc->major, nvrtc->minor, count);
    for (int i = 0; i < count; i++) {
        if (known[i] == architecture) return MP_OK;
        if (known[i] > newest) newest = known[i];
    }
    return mp_fail(err, MP_EUNSUPPORTED,
                   "NVRTC %d.%d does not know sm_%d; the newest it knows is sm_%d: a newer NVRTC is needed",
                   nvrtc->major, nvrtc->minor, architecture, newest);
}

/* The first line that says "error", or the first line. */
static void first_error_line(const char *log, char *line, size_t size) {
    const char *at = strstr(log, "error");
    while (at && at > log && at[-1] != '\n') at--;
    if (!at) at = log;
    snprintf(line, size, "%.*s", (int)strcspn(at, "\n"), at);
}

mp_status mp_jit_compile(const mp_kernel *kernel, int architecture, void **cubin, size_t *cubin_bytes,
                         char **log, mp_error *err) {
    mp_status status = MP_EINTERNAL;
    const mp_nvrtc *nvrtc = NULL;
    nvrtcProgram program = NULL;
    char *text = NULL, *code = NULL, target[64], line[512];
    const struct mp_device_text *file[MP_MAX_INCLUDES];
    const char *headers[MP_MAX_INCLUDES], *header_names[MP_MAX_INCLUDES], *options[MAX_OPTIONS + 1];
    char words[sizeof kernel->options];
    int option_count = 0;
    if (log) *log = NULL;

    if (strlen(kernel->options) + 1 == sizeof kernel->options) { /* where they were cut, one may say less */
        status = mp_fail(err, MP_EINTERNAL, "%s: options of %zu bytes or more: %s", kernel->source,
                         sizeof kernel->options - 1, kernel->options);
        goto out;
    }
    MP_DO(mp_nvrtc_load(&nvrtc, err));
    MP_DO(mp_jit_check_architecture(architecture, err));
    const int files = mp_device_includes(kernel->texts, kernel->source, file);
    if (files < 1) {
        status = mp_fail(err, MP_EINTERNAL, "%s is not among the %d embedded device texts, or more than %d",
                         kernel->source, kernel->texts->count, MP_MAX_INCLUDES);
        goto out;
    }
    for (int i = 1; i < files; i++) {
        headers[i - 1] = file[i]->text;
        header_names[i - 1] = file[i]->name;
    }
    architecture_option(architecture, target, sizeof target);
    options[option_count++] = target;
    for (size_t i = 0; i < sizeof common_options / sizeof *common_options; i++)
        options[option_count++] = common_options[i];
    memcpy(words, kernel->options, sizeof words);
    for (char *save, *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        if (option_count == MAX_OPTIONS) {
            status = mp_fail(err, MP_EINTERNAL, "%s has more than %d options: %s", kernel->source,
                             MAX_OPTIONS, kernel->options);
            goto out;
        }
        options[option_count++] = word;
    }

    nvrtcResult result =
        nvrtc->nvrtcCreateProgram(&program, file[0]->text, kernel->source, files - 1, headers, header_names);
    /* NVRTCs that keep what they compiled, where there is a driver, have no log of it the second time. */
    options[option_count] = "--no-cache";
    if (result == 0) result = nvrtc->nvrtcCompileProgram(program, option_count + (log ? 1 : 0), options);
    if (result == INVALID_OPTION && log) /* an older NVRTC, without such a cache */
        result = nvrtc->nvrtcCompileProgram(program, option_count, options);
    size_t log_bytes = 0;
    if (program && nvrtc->nvrtcGetProgramLogSize(program, &log_bytes) == 0) {
        text = calloc(1, log_bytes + 1);
        if (text) nvrtc->nvrtcGetProgramLog(program, text);
    }
    if (result != 0) {
        first_error_line(text ? text : "", line, sizeof line);
        status = mp_fail(err, MP_EDEVICE, "%s %s for sm_%d: %s: %s", kernel->source, kernel->options,
                         architecture, nvrtc->nvrtcGetErrorString(result), line);
        goto out;
    }
    size_t code_bytes = 0;
    if (nvrtc->nvrtcGetCUBINSize(program, &code_bytes) != 0 || code_bytes == 0) {
        status = mp_fail(err, MP_EDEVICE, "%s %s: NVRTC made no machine code for sm_%d", kernel->source,
                         kernel->options, architecture);
        goto out;
    }
    code = malloc(code_bytes);
    if (!code || !text) {
        status = mp_fail(err, MP_EMEMORY, "%zu bytes for machine code", code_bytes);
        goto out;
    }
    nvrtc->nvrtcGetCUBIN(program, code);
    if (cubin) {
        *cubin = code;
        *cubin_bytes = code_bytes;
        code = NULL;
    }
    if (log) {
        *log = text;
        text = NULL;
    }
    status = MP_OK;
out:
    if (program) nvrtc->nvrtcDestroyProgram(&program);
    free(code);
    free(text);
    return status;
}

/* The cache folder, "" when there is none, and why. The environment is read and the folder made once. */
static const char *cache_folder = "";
static mp_error no_cache;
static void find_cache_folder(void) {
    const char *own = getenv("MOEPARITY_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    mp_text folder = {0};
    if (own && *own)
        mp_text_add(&folder, "%s", own);
    else if (xdg && *xdg)
        mp_text_add(&folder, "%s/moeparity", xdg);
    else if (home && *home)
        mp_text_add(&folder, "%s/.cache/moeparity", home);
    else
        mp_fail(&no_cache, MP_EUNSUPPORTED, "none of MOEPARITY_CACHE, XDG_CACHE_HOME and HOME is set");
    char *path = mp_text_steal(&folder);
    if (path && *path && mp_file_make_directories(path, &no_cache) == MP_OK)
        cache_folder = path;
    else
        free(path);
}

const char *mp_jit_cache_folder(mp_error *why) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_cache_folder);
    if (why && !*cache_folder) *why = no_cache;
    return cache_folder;
}

static void hash_text(XXH3_state_t *state, const char *text) {
    XXH3_128bits_update(state, text, strlen(text));
}

/* Of what the compiler is given: no other text can be in the code. */
static XXH128_hash_t cache_key(const mp_kernel *kernel, int architecture, const mp_nvrtc *nvrtc) {
    const struct mp_device_text *file[MP_MAX_INCLUDES];
    char target[64], version[64];
    XXH3_state_t state;
    architecture_option(architecture, target, sizeof target);
    snprintf(version, sizeof version, "NVRTC %d.%d", nvrtc->major, nvrtc->minor);
    XXH3_128bits_reset(&state);
    const char *const head[] = {kernel->source, "|", kernel->options, "|", target, "|", version};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) hash_text(&state, head[i]);
    for (size_t i = 0; i < sizeof common_options / sizeof *common_options; i++) {
        hash_text(&state, "|");
        hash_text(&state, common_options[i]);
    }
    XXH3_128bits_update(&state, "", 1);
    const int files = mp_device_includes(kernel->texts, kernel->source, file);
    for (int i = 0; i < files; i++) {
        XXH3_128bits_update(&state, file[i]->name, strlen(file[i]->name) + 1);
        XXH3_128bits_update(&state, file[i]->text, strlen(file[i]->text) + 1);
    }
    return XXH3_128bits_digest(&state);
}

typedef struct entry_header {
    char magic[8];
    uint64_t bytes, digest; /* of what is behind it */
} entry_header;
static const char entry_magic[8] = "mpcubin";

/* True when the file is there and whole; anything else is a miss. */
static bool read_entry(const char *path, void **content, size_t *content_bytes) {
    char *data = NULL;
    size_t size = 0;
    if (mp_file_read(path, &data, &size, NULL) != MP_OK) return false;
    entry_header header = {0};
    if (size >= sizeof header) memcpy(&header, data, sizeof header);
    const bool whole = memcmp(header.magic, entry_magic, sizeof entry_magic) == 0 &&
                       header.bytes == size - sizeof header &&
                       header.digest == XXH3_64bits(data + sizeof header, size - sizeof header);
    if (whole) {
        memmove(data, data + sizeof header, header.bytes);
        *content = data;
        *content_bytes = header.bytes;
    } else {
        free(data);
    }
    return whole;
}

static void write_entry(const char *path, const void *content, size_t content_bytes) {
    char *entry = malloc(sizeof(entry_header) + content_bytes);
    if (!entry) return;
    entry_header header = {.bytes = content_bytes, .digest = XXH3_64bits(content, content_bytes)};
    memcpy(header.magic, entry_magic, sizeof entry_magic);
    memcpy(entry, &header, sizeof header);
    memcpy(entry + sizeof header, content, content_bytes);
    mp_file_replace(path, entry, sizeof header + content_bytes, NULL);
    free(entry);
}

static void write_source(const char *path, const mp_kernel *kernel) {
    const struct mp_device_text *file[MP_MAX_INCLUDES];
    mp_text source = {0};
    if (mp_device_includes(kernel->texts, kernel->source, file) < 1) return;
    mp_text_add(&source, "// %s\n%s", kernel->options, file[0]->text);
    if (!source.lost) mp_file_replace(path, source.data, source.length, NULL);
    mp_text_free(&source);
}

/* Where the cache has something of a kernel, <key>.<ending>: "" where there is no cache. */
static void entry_path(const mp_kernel *kernel, int architecture, const mp_nvrtc *nvrtc, const char *ending,
                       mp_text *path) {
    const char *folder = mp_jit_cache_folder(NULL);
    if (!*folder) return;
    const XXH128_hash_t key = cache_key(kernel, architecture, nvrtc);
    mp_text_add(path, "%s/%016llx%016llx.%s", folder, (unsigned long long)key.high64,
                (unsigned long long)key.low64, ending);
    if (path->lost) mp_text_free(path);
}

mp_status mp_jit_cubin(const mp_kernel *kernel, int architecture, void **cubin, size_t *cubin_bytes,
                       mp_error *err) {
    const mp_nvrtc *nvrtc = NULL;
    mp_text path = {0}, source_path = {0};
    mp_status status = mp_nvrtc_load(&nvrtc, err);
    if (status != MP_OK) return status;
    entry_path(kernel, architecture, nvrtc, "cubin", &path);
    if (!path.data || !read_entry(path.data, cubin, cubin_bytes)) {
        status = mp_jit_compile(kernel, architecture, cubin, cubin_bytes, NULL, err);
        if (status == MP_OK) entry_path(kernel, architecture, nvrtc, "cu", &source_path);
        if (status == MP_OK && path.data) write_entry(path.data, *cubin, *cubin_bytes);
        if (source_path.data) write_source(source_path.data, kernel);
    }
    mp_text_free(&path);
    mp_text_free(&source_path);
    return status;
}

mp_status mp_jit_log(const mp_kernel *kernel, int architecture, char **log, mp_error *err) {
    const mp_nvrtc *nvrtc = NULL;
    mp_text path = {0};
    void *kept = NULL;
    size_t bytes = 0;
    *log = NULL;
    mp_status status = mp_nvrtc_load(&nvrtc, err);
    if (status != MP_OK) return status;
    entry_path(kernel, architecture, nvrtc, "log", &path);
    if (path.data && read_entry(path.data, &kept, &bytes)) {
        *log = kept; /* its end is kept with it */
    } else {
        status = mp_jit_compile(kernel, architecture, NULL, NULL, log, err);
        if (status == MP_OK && path.data) write_entry(path.data, *log, strlen(*log) + 1);
    }
    mp_text_free(&path);
    return status;
}
