/* SPDX-License-Identifier: Apache-2.0 */
/* The audit of tuned files: reads them, and tells what is wrong with each, and with them together. Host only,
 * no GPU; nothing of the files is executed. */
#ifndef MP_HARNESS_TUNE_AUDIT_H
#define MP_HARNESS_TUNE_AUDIT_H

#include "harness/tune/audit/rules.h"
#include "harness/tune/table.h"

/* Which loaders may read a file, by its folder and its name: bits. */
enum { MP_READ_BY_SGLANG = 1 << MP_LOADER_SGLANG, MP_READ_BY_VLLM = 1 << MP_LOADER_VLLM };

/* Where a file lies. */
typedef enum mp_lies {
    MP_LIES_ANYWHERE,       /* it was named itself: nothing is said of its folder */
    MP_LIES_IN_VERSION,     /* in triton_X_Y_Z */
    MP_LIES_FLAT,           /* in a folder without such folders around it */
    MP_LIES_ABOVE_VERSIONS, /* beside them, or in another folder that lies beside them */
    MP_LIES_TOO_DEEP,       /* in a folder of one of them */
    MP_LIES_BELOW_FLAT,     /* in a folder of one that has files itself */
    MP_LIES_IN_ODD_FOLDER   /* in triton_... that is no version */
} mp_lies;

typedef struct mp_audit_file {
    mp_table table;
    char *folder;        /* the last part of its folder's name */
    char *place;         /* its folder; of a version folder the one above: files of one place answer for each
                          other */
    const char *version; /* "3_6_0", in `folder`; NULL */
    mp_lies lies;
    unsigned readers;  /* which loaders its contents are for */
    bool other_kernel; /* its name is one of mp_loader.flat_names: its entries are another kernel's */
    bool is_folder;    /* no file, but a folder that is wrong itself */
    size_t found[MP_RULE_COUNT];
} mp_audit_file;

/* Of one rule and file no more are kept: a file of half a million wrong keys is told by the first of them. */
enum { MP_AUDIT_MOST_FINDINGS = 1000 };

typedef struct mp_finding {
    mp_rule rule;
    size_t file;          /* in mp_audit.file */
    char *key, *name;     /* of the entry, and in it; NULL: of the file */
    int line, column;     /* 0: of no line */
    char *reason;         /* with the value, and what was expected */
    char fingerprint[17]; /* of rule, folder and file, key, name and what was found: not of lines or order */
    bool known;           /* the baseline has it */
} mp_finding;

typedef struct mp_audit {
    mp_audit_file *file;
    size_t file_count;
    mp_finding *finding; /* by file in the order of paths, then by line and rule */
    size_t finding_count;
    size_t table_count, entry_count;                                 /* files and keys that were looked at */
    size_t count[MP_SEVERITY_NOTE + 1], fresh[MP_SEVERITY_NOTE + 1]; /* all, and not in the baseline */
    bool lost;                                                       /* a finding found no memory */
} mp_audit;

typedef struct mp_audit_options {
    const char *triton; /* the running version; NULL: not known, and nothing is said of it */
} mp_audit_options;

/* Audits files, and of folders, down to all depths, what is named `E=....json`. A file that was named is
 * looked at whatever its name; where it lies says nothing then, unless it is a folder of versions. MP_EINPUT:
 * nothing there, a folder without such files, an option that is none; MP_EIO: what cannot be read. Free with
 * mp_audit_free, after an error too. */
mp_status mp_audit_paths(char *const *paths, size_t count, const mp_audit_options *options, mp_audit *audit,
                         mp_error *err);
void mp_audit_free(mp_audit *audit);

/* ---- for the rules ---- */

/* What the file owns, not the struct. */
void mp_audit_file_free(mp_audit_file *file);

/* Adds a finding; row may be NULL, and name. `what` goes into the fingerprint beside rule, file, key, name:
 * the value, or what else tells two findings of one place apart. */
void mp_audit_add(mp_audit *audit, mp_rule rule, size_t file, const mp_table_row *row, const char *name,
                  const char *what, const char *format, ...) __attribute__((format(printf, 7, 8)));
/* The same at a line of the file that no row has. */
void mp_audit_add_at(mp_audit *audit, mp_rule rule, size_t file, int line, int column, const char *key,
                     const char *what, const char *format, ...) __attribute__((format(printf, 8, 9)));

void mp_audit_contents(mp_audit *audit, size_t file); /* audit_contents.c: keys and values */
void mp_audit_tiles(mp_audit *audit, size_t file);    /* audit_tiles.c: blocks, groups, shared memory */
void mp_audit_ladder(mp_audit *audit, size_t file);   /* audit_ladder.c: the row of keys */
void mp_audit_place(mp_audit *audit, size_t file);    /* audit_place.c: name and folder */
/* audit_tree.c: files that answer for each other: shadowed, up and down, copies. */
void mp_audit_tree(mp_audit *audit, const mp_audit_options *options);

#endif
