/* SPDX-License-Identifier: Apache-2.0 */
/* Texts in XML. */
#ifndef MP_REPORTS_XML_H
#define MP_REPORTS_XML_H

#include <stdio.h>

/* For attribute values and content alike. Line breaks become references, for attributes would turn them into
 * blanks; what XML does not allow becomes a question mark. */
void mp_xml_put(FILE *out, const char *text);

#endif
