/* SPDX-License-Identifier: Apache-2.0 */
/* A recording that can be interrupted: each case that has passed is kept at once, as a golden of its own in
 * the folder PATH.part; in the end they are put together, in the order of the matrix. So a recording that was
 * resumed is byte for byte the one that was not interrupted, but for the date, which SOURCE_DATE_EPOCH sets.
 */
#ifndef MP_HARNESS_PARTS_H
#define MP_HARNESS_PARTS_H

#include "harness/run/record.h"

/* The file of a case, in the folder, which ends with its folder's part where case_text is NULL; freed by the
 * caller. NULL: no memory. */
char *mp_part_path(const char *path, const char *case_text);
/* Whether the case has been kept. */
bool mp_part_exists(const char *path, const char *case_text);
/* How many cases there are in the folder; 0 where there is none. */
size_t mp_parts_count(const char *path);
/* Makes the folder and holds it for this process, so that no other recording puts its cases into it or takes
 * them away: *held is what mp_parts_release wants, and is let go where the process ends, however. MP_EINPUT
 * where another process holds it, MP_EIO where something else is there. */
mp_status mp_parts_hold(const char *path, int *held, mp_error *err);
/* Lets others have it, and removes it where it keeps no case. Nothing for a negative number. */
void mp_parts_release(const char *path, int held);
/* Makes the folder, and a file in it that tells the settings by which its cases are judged. MP_EIO with its
 * path where something else is there; MP_EINPUT with both settings where parts are there that were judged by
 * others: a case that passed a weaker check is none of this recording. Where tiles come from and how long a
 * case may take are not among them: the tiles are compared by mp_parts_check. */
mp_status mp_parts_begin(const char *path, const mp_settings *settings, mp_error *err);
/* Removes the parts, what a killed process has left of one, and the folder, unless others have put
 * something there. */
void mp_parts_remove(const char *path);

/* Keeps a case. */
mp_status mp_part_write(const mp_record_options *options, const mp_provenance *who, const mp_case *c,
                        const mp_offer *offer, const mp_inputs *in, const mp_trace *trace, mp_error *err);
/* Every part of options->cases that is there: read as a whole, of this program's fill version, and, unless
 * options->mixed, made by who (at any time), under the contract and with the tiles that the subject has for
 * it now, or under that of `words` (mp_subject_describe_as); with or without inputs, and digests from the
 * same size on. MP_EINPUT names the part, what differs and both values. */
mp_status mp_parts_check(const mp_record_options *options, const mp_provenance *who, mp_subject *subject,
                         const char *words, mp_error *err);
/* Puts all of options->cases together, and removes the parts. */
mp_status mp_parts_assemble(const mp_record_options *options, mp_error *err);

#endif
