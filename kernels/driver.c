/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/driver.h"

#include "base/text.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A library is loaded once in a process; what came of it is remembered. */
static pthread_once_t driver_once = PTHREAD_ONCE_INIT, nvrtc_once = PTHREAD_ONCE_INIT;
static mp_driver driver_table;
static mp_nvrtc nvrtc_table;
static mp_error driver_error, nvrtc_error;

/* POSIX lets dlsym's result be called as a function; ISO C has no cast for it, so the bits are copied. */
static mp_status find_function(void *library, const char *name, void *pointer, const char *library_name,
                               mp_error *err) {
    void *symbol = dlsym(library, name);
    if (!symbol) return mp_fail(err, MP_EUNSUPPORTED, "%s has no function %s: too old", library_name, name);
    memcpy(pointer, &symbol, sizeof symbol);
    return MP_OK;
}

#define FIND_FUNCTION(name, parameters) MP_DO(find_function(library, #name, &table->name, library_name, err));

static void load_driver(void) {
    mp_error *err = &driver_error;
    mp_driver *table = &driver_table;
    const char *library_name = "libcuda.so.1";
    mp_status status = MP_OK;
    void *library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        status = mp_fail(err, MP_EUNSUPPORTED, "no CUDA driver: %s", dlerror());
        goto out;
    }
    MP_DRIVER_FUNCTIONS(FIND_FUNCTION)
out:
    err->status = status;
}

/* The first NVRTC found; newest ABI first, since the newest knows most architectures. */
static void *open_nvrtc(mp_text *library_name) {
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
    const char *home = getenv("CUDA_HOME");
    const bool has_home = home && *home;
    const struct {
        const char *folder, *below;
    } places[] = {{"", ""}, {has_home ? home : "", "/lib64/"}, {"/usr/local/cuda", "/lib64/"}};
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        if (p == 1 && !has_home) continue;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            mp_text_free(library_name);
            mp_text_add(library_name, "%s%s%s", places[p].folder, places[p].below, names[i]);
            void *library = library_name->lost ? NULL : dlopen(library_name->data, RTLD_NOW | RTLD_LOCAL);
            if (library) return library;
        }
    }
    return NULL;
}

static void load_nvrtc(void) {
    mp_error *err = &nvrtc_error;
    mp_nvrtc *table = &nvrtc_table;
    mp_text found = {0};
    mp_status status = MP_OK;
    void *library = open_nvrtc(&found);
    const char *library_name = mp_text_get(&found);
    if (!library) {
        const char *home = getenv("CUDA_HOME");
        status = mp_fail(err, MP_EUNSUPPORTED,
                         "no NVRTC: libnvrtc.so.13, libnvrtc.so.12 and libnvrtc.so are neither on the "
                         "loader's path (LD_LIBRARY_PATH, ldconfig) nor in "
                         "$CUDA_HOME/lib64 (CUDA_HOME is %s) or /usr/local/cuda/lib64",
                         home && *home ? home : "not set");
        goto out;
    }
    MP_NVRTC_FUNCTIONS(FIND_FUNCTION)
    MP_DO(find_function(library, "nvrtcGetErrorString", &table->nvrtcGetErrorString, library_name, err));
    if (table->nvrtcVersion(&table->major, &table->minor) != 0)
        status = mp_fail(err, MP_EUNSUPPORTED, "%s does not tell its version", library_name);
out:
    mp_text_free(&found);
    err->status = status;
}

mp_status mp_driver_load(const mp_driver **driver, mp_error *err) {
    pthread_once(&driver_once, load_driver);
    if (driver_error.status != MP_OK) return mp_fail(err, driver_error.status, "%s", driver_error.text);
    *driver = &driver_table;
    return MP_OK;
}

mp_status mp_nvrtc_load(const mp_nvrtc **nvrtc, mp_error *err) {
    pthread_once(&nvrtc_once, load_nvrtc);
    if (nvrtc_error.status != MP_OK) return mp_fail(err, nvrtc_error.status, "%s", nvrtc_error.text);
    *nvrtc = &nvrtc_table;
    return MP_OK;
}

mp_status mp_driver_check(const mp_driver *driver, CUresult result, const char *what, const char *file,
                          int line, mp_error *err) {
    if (result == CUDA_SUCCESS) return MP_OK;
    const char *name = NULL, *text = NULL;
    driver->cuGetErrorName(result, &name);
    driver->cuGetErrorString(result, &text);
    return mp_error_set(err, result == CUDA_ERROR_OUT_OF_MEMORY ? MP_EMEMORY : MP_EDEVICE, file, line,
                        "%s: %s (%s)", what, name ? name : "unknown CUDA error", text ? text : "");
}
