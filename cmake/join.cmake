# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT: the texts of FILES (separated by commas), one behind the other.
#   cmake -DFILES=a,b -DOUTPUT=... -P join.cmake
string(REPLACE "," ";" FILES "${FILES}")
file(WRITE "${OUTPUT}" "")
foreach(file IN LISTS FILES)
  file(READ "${file}" text)
  file(APPEND "${OUTPUT}" "${text}")
endforeach()
