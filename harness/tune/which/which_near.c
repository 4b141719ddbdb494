/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are nearly the one that is asked for: of another name by one step that people miss, or of the
 * right name in a folder that nobody reads. */
#include "harness/tune/which/which.h"

#include "base/words.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SHARED_EXPERTS = 4, MOST_RANKS = 64, DEEPEST = 3, MOST_NAMES = 200000, SPELLING = 1, STEP = 10 };

/* How a name differs: words, and what they weigh; too far apart: `far`. */
typedef struct difference {
    mp_text words;
    int spellings, steps;
    bool far;
} difference;

static void differs(difference *d, bool spelling, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void differs(difference *d, bool spelling, const char *format, ...) {
    va_list args;
    if (d->words.length) mp_text_add(&d->words, "; ");
    va_start(args, format);
    mp_text_vadd(&d->words, format, args);
    va_end(args);
    *(spelling ? &d->spellings : &d->steps) += 1;
}

/* The power of two by which a is b times as much; 0: it is none, or more than that many ranks. */
static int64_t ratio(int64_t a, int64_t b) {
    if (b <= 0 || a <= b || a % b != 0) return 0;
    const int64_t r = a / b;
    return r <= MOST_RANKS && (r & (r - 1)) == 0 ? r : 0;
}

static void compare_sizes(const mp_tuned_key *asked, const mp_tuned_parts *has, difference *d) {
    const long long E = has->E, N = has->N, e = asked->E, n = asked->N;
    const long long e_less = ratio(e, E), e_more = ratio(E, e), n_less = ratio(n, N), n_more = ratio(N, n);
    if ((e_less && e_less == n_more) || (e_more && e_more == n_less)) {
        differs(d, false, "E=%lld,N=%lld: %lld experts' ranks instead of shards, E%cr and N%cr with r=%lld",
                E, N, e_less ? e_less : e_more, e_less ? '/' : '*', e_less ? '*' : '/',
                e_less ? e_less : e_more);
        return;
    }
    if (E != e && llabs(E - e) <= SHARED_EXPERTS)
        differs(d, false, "E=%lld: %lld %s, as with%s fused shared experts", E, llabs(E - e),
                E > e ? "more" : "fewer", E > e ? "" : "out");
    else if (E != e && (e_less || e_more))
        differs(d, false, "E=%lld: E %c %lld, another number of expert-parallel ranks", E, e_less ? '/' : '*',
                e_less ? e_less : e_more);
    else if (E != e)
        d->far = true;
    if (N != n && (n_less || n_more))
        differs(d, false, "N=%lld: N %c %lld, another number of shards%s", N, n_less ? '/' : '*',
                n_less ? n_less : n_more,
                (n_less == 2 && strcmp(asked->dtype, "int4_w4a16") == 0) ? ", or packed"
                : n_more == 2                                            ? ", or gate and up together"
                                                                         : "");
    else if (N != n)
        d->far = true;
}

/* Equal but for case, blanks and hyphens; the length of what is equal. */
static size_t common_name(const char *a, const char *b) {
    size_t i = 0;
    for (; a[i] && b[i]; i++) {
        const char x = strchr(" -/_", a[i]) ? '_' : (char)tolower((unsigned char)a[i]),
                   y = strchr(" -/_", b[i]) ? '_' : (char)tolower((unsigned char)b[i]);
        if (x != y) break;
    }
    return i;
}

static bool ends_word(char c) {
    return c == '\0' || strchr(" -/_", c);
}

static void compare_devices(const char *asked, const char *has, difference *d) {
    const size_t same = common_name(asked, has);
    if (strcmp(asked, has) == 0) return;
    if (!*has)
        differs(d, false, "the device name is empty");
    else if (!asked[same] && !has[same])
        differs(d, true, "device_name=%s is spelt otherwise", has);
    else if (!has[same] && ends_word(asked[same]))
        differs(d, false, "device_name=%s is short", has);
    else if (!asked[same] && ends_word(has[same]))
        differs(d, false, "device_name=%s is longer", has);
    else
        d->far = true;
}

/* The names that people give to what a loader calls otherwise. */
static void compare_dtypes(const char *asked, const char *has, difference *d) {
    static const char *const meant[][2] = {{"", "bf16 bfloat16 fp16 float16 half auto"},
                                           {"fp8_w8a8", "float8 fp8 fp8_e4m3 float8_e4m3fn w8a8"},
                                           {"int8_w8a8", "int8 w8a8"},
                                           {"int8_w8a16", "int8 w8a16"},
                                           {"int4_w4a16", "int4 w4a16"},
                                           {"float32", "fp32"}};
    if (strcmp(asked, has) == 0) return;
    for (size_t i = 0; i < sizeof meant / sizeof *meant; i++)
        if (strcmp(asked, meant[i][0]) == 0 && *has && mp_word_listed(meant[i][1], has)) {
            differs(d, true, "dtype=%s, which nobody asks for", has);
            return;
        }
    d->far = true;
}

static void compare_blocks(const mp_tuned_key *asked, const mp_tuned_parts *has, difference *d) {
    if (asked->block_n == has->block_n && asked->block_k == has->block_k) return;
    if (!has->block_n && !has->block_k)
        differs(d, false, "no block_shape");
    else
        differs(d, false, "block_shape [%lld, %lld]", (long long)has->block_n, (long long)has->block_k);
}

/* ---- the trees ---- */

typedef struct scan {
    const mp_which_query *query;
    mp_which *which;
    mp_tuned_key asked; /* as names have it */
    size_t names;
    bool lost;
} scan;

static int by_weight(const void *a, const void *b) {
    const mp_near *x = a, *y = b;
    return x->weight != y->weight ? x->weight - y->weight : strcmp(x->path, y->path);
}

/* Whether the loader looks for files in it: a place of its search lies there. */
static bool is_read(const mp_which_part *part, const char *path) {
    const size_t folder = (size_t)(strrchr(path, '/') - path);
    for (size_t i = 0; i < part->search.count; i++) {
        const char *place = part->search.place[i].path;
        if ((size_t)(strrchr(place, '/') - place) == folder && strncmp(place, path, folder) == 0) return true;
    }
    return false;
}

static void look_at(scan *s, const char *path, const char *name) {
    mp_which *w = s->which;
    mp_tuned_parts has;
    difference d = {0};
    char spelt[MP_TUNED_NAME_SIZE];
    if (!mp_tuned_parse(name, &has) || (has.down && !w->down.asked)) return;
    const mp_which_part *part = has.down ? &w->down : &w->up;
    const bool read = is_read(part, path);
    if (read && strcmp(name, part->name) == 0) return; /* a place of the search, and told there */
    compare_sizes(&s->asked, &has, &d);
    compare_devices(s->asked.device, has.device, &d);
    compare_dtypes(s->asked.dtype, has.dtype, &d);
    compare_blocks(&s->asked, &has, &d);
    if (has.per_channel != (s->asked.per_channel && w->loader->per_channel))
        differs(&d, false,
                has.per_channel ? "with per_channel_quant=True" : "without per_channel_quant=True");
    if (has.other) differs(&d, false, "other parts in its name");
    /* What is equal in all that, and another name, is spelt for another loader. */
    const mp_tuned_key key = mp_tuned_key_of(&has);
    mp_loader unpacked = *w->loader;
    unpacked.packed_int4 = 1;
    mp_tuned_name(&unpacked, &key, has.down, spelt);
    if (!has.other && !d.far && strcmp(spelt, name) != 0 && strcmp(has.device, s->asked.device) == 0)
        differs(&d, true, "spelt for another loader: %s writes %s", w->loader->name,
                has.block_n ? strstr(spelt, ",block_shape") ? strstr(spelt, ",block_shape") + 1 : spelt
                            : spelt);
    if (!read) differs(&d, true, "in a folder that nobody reads");
    if (!d.far && d.steps <= 1 && d.steps + d.spellings > 0) {
        const size_t n = w->near_count;
        mp_near *longer = w->near;
        if ((n & (n - 1)) == 0) longer = realloc(longer, (n ? 2 * n : 1) * sizeof *longer);
        if (longer) {
            w->near = longer;
            w->near[w->near_count++] = (mp_near){strdup(path), mp_text_steal(&d.words),
                                                 STEP * d.steps + SPELLING * d.spellings, has.down};
            s->lost = s->lost || !w->near[n].path || !w->near[n].differs;
        } else {
            s->lost = true;
        }
    }
    mp_text_free(&d.words);
}

static void scan_folder(scan *s, const char *folder, int depth) {
    DIR *dir = opendir(folder);
    if (!dir) return; /* told by the search where it matters */
    for (const struct dirent *entry; (entry = readdir(dir)) && s->names < MOST_NAMES;) {
        char *path = NULL;
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        s->names++;
        if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0) {
            s->lost = true;
            break;
        }
        if (strncmp(entry->d_name, "E=", 2) == 0)
            look_at(s, path, entry->d_name);
        else if (depth < DEEPEST && lstat(path, &info) == 0 && S_ISDIR(info.st_mode))
            scan_folder(s, path, depth + 1);
        free(path);
    }
    closedir(dir);
}

mp_status mp_which_near(const mp_which_query *query, mp_which *w, mp_error *err) {
    scan s = {.query = query, .which = w, .asked = query->key};
    char device[MP_DEVICE_NAME_MAX + 1];
    mp_tuned_device(w->loader, query->key.device, device);
    s.asked.device = device;
    if (strcmp(query->key.dtype, "int4_w4a16") == 0) s.asked.N /= w->loader->packed_int4;
    if (!w->loader->per_channel) s.asked.per_channel = false;
    for (size_t i = 0; i < w->root_count; i++) {
        /* Beside the folder of versions, too: that is where files are put by mistake. */
        char *above = w->loader->versioned ? strdup(w->root[i].folder) : NULL, *slash = NULL;
        if (above && (slash = strrchr(above, '/')) && slash > above && !w->root[i].own) *slash = '\0';
        scan_folder(&s, above ? above : w->root[i].folder, 0);
        free(above);
    }
    if (s.lost) return mp_fail(err, MP_EMEMORY, "no memory for near misses");
    if (w->near_count) qsort(w->near, w->near_count, sizeof *w->near, by_weight);
    return MP_OK;
}
