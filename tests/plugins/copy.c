/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in on the GPU that needs no compiler for one: the combine of one slot a token, unscaled, is a copy,
 * which the driver makes. Its words name what shows in a graph alone: `plugin:./copy.so,waits`. */
#include "moeparity/plugin.h"

#include <dlfcn.h>

typedef int copy_function(unsigned long long to, unsigned long long from, size_t bytes, void *stream);
typedef int wait_function(void);

static copy_function *copy;
static wait_function *wait_for_all;
static char how[64];

static int is(const char *word) {
    return strcmp(how, word) == 0;
}

static int open_it(const char *words, void **self, mp_plugin_error *err) {
    (void)self;
    snprintf(how, sizeof how, "%s", words);
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver) return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, "no CUDA driver");
    *(void **)&copy = dlsym(driver, "cuMemcpyDtoDAsync_v2");
    *(void **)&wait_for_all = dlsym(driver, "cuCtxSynchronize");
    return copy && wait_for_all ? MP_PLUGIN_OK : mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, "too old");
}

static int describe(void *self, const mp_plugin_case *c, mp_plugin_offer *offer, mp_plugin_error *err) {
    (void)self;
    if (strcmp(c->scope, "combine") != 0 || c->topk != 1 || c->rsf != 1)
        return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, "scope=combine topk=1 rsf=1");
    offer->contract = "ieee-any-order";
    offer->graphs = !is("no-graphs");
    offer->overlaps = !is("no-overlap");
    return MP_PLUGIN_OK;
}

static int run(void *self, const mp_plugin_run *r, mp_plugin_error *err) {
    (void)self;
    const mp_plugin_tensor *from = mp_plugin_find(r, "cache3"), *to = mp_plugin_find(r, "out");
    void *stream = is("default-stream") ? NULL : r->stream;
    int result = copy((unsigned long long)(uintptr_t)to->data, (unsigned long long)(uintptr_t)from->data,
                      to->bytes, stream);
    if (is("waits")) result |= wait_for_all();
    if (is("waits-unseen")) wait_for_all();
    return result == 0 ? MP_PLUGIN_OK : mp_plugin_say(err, MP_PLUGIN_FAILED, "the driver refused it");
}

MP_PLUGIN_EXPORT const mp_plugin *moeparity_plugin(void) {
    static const mp_plugin plugin = {MP_PLUGIN_HEAD,   .name = "copy",  .version = "1.0",
                                     .device = "cuda", .open = open_it, .describe = describe,
                                     .run = run};
    return &plugin;
}
