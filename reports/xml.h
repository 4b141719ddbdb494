/* SPDX-License-Identifier: Apache-2.0 */
/* Text in XML 1.0. */
#ifndef MP_REPORTS_XML_H
#define MP_REPORTS_XML_H

#include <stdio.h>

/* For attribute values and content alike. Line breaks become references, for attributes would turn them into
 * blanks; what XML has no character for becomes "?". */
void mp_xml_text(FILE *out, const char *text);
/* ` name="value"` */
void mp_xml_attribute(FILE *out, const char *name, const char *value);

#endif
