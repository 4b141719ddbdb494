# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT, a C file that holds the bytes of FILES (paths relative to ROOT, separated by commas): for
# a file x.z mp_x_z, and mp_x_z_bytes, how many they are. HEADER declares them.
#   cmake -DROOT=... -DFILES=a,b -DHEADER=... -DOUTPUT=... -P embed_bytes.cmake
string(REPLACE "," ";" FILES "${FILES}")
set(code "#include \"${HEADER}\"\n")
foreach(file IN LISTS FILES)
  file(READ "${ROOT}/${file}" hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  cmake_path(GET file FILENAME name)
  string(MAKE_C_IDENTIFIER "mp_${name}" name)
  string(APPEND code "\nconst unsigned char ${name}[] = {${bytes}};\n"
                     "const size_t ${name}_bytes = sizeof ${name};\n")
endforeach()
file(WRITE "${OUTPUT}" "${code}")
