/* SPDX-License-Identifier: Apache-2.0 */
/* Status and error text: the one error pattern of the whole program.
 *
 * A function that can fail returns mp_status and takes an mp_error*. On failure it calls mp_fail once, at the
 * place where the offending value is known; callers pass the status on (and may prepend context with
 * mp_error_prefix).
 */
#ifndef MOEPARITY_STATUS_H
#define MOEPARITY_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mp_status {
    MP_OK = 0,
    MP_EINPUT,       /* the user gave something wrong: file, option, case. Exit code 2. */
    MP_EUNSUPPORTED, /* right, but it cannot be run here: no GPU, too little memory. A SKIP with this text as
                        reason. */
    MP_EMEMORY,      /* an allocation failed although the plan said it would fit */
    MP_EIO,          /* a file could not be read or written */
    MP_EDEVICE,      /* a CUDA driver, NVRTC or launch error */
    MP_EINTERNAL,    /* a promise of this program was broken */
} mp_status;

/* Room for two paths, the longest there are (PATH_MAX of Linux), and what is said about them: what is told
 * last, the reason, is not to fall off. */
#define MP_ERROR_TEXT_MAX (2 * 4096 + 1024)

typedef struct mp_error {
    mp_status status;
    char text[MP_ERROR_TEXT_MAX]; /* one printable line (mp_text_printable): value, expectation, place */
} mp_error;

/* Formats the message into err (err may be NULL) and returns `status`. The source place is appended for
 * MP_EINTERNAL and MP_EDEVICE. */
mp_status mp_error_set(mp_error *err, mp_status status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Puts "<context>: " in front of the text already in err. */
void mp_error_prefix(mp_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *mp_status_name(mp_status status);

#define mp_fail(err, status, ...) mp_error_set((err), (status), __FILE__, __LINE__, __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif
