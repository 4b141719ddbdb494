# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT, a C file that holds the texts of FILES (paths relative to ROOT, separated by commas) as a
# table of names and contents.
#   cmake -DROOT=... -DFILES=a,b -DOUTPUT=... -P embed.cmake
string(REPLACE "," ";" FILES "${FILES}")
set(code "#include \"kernels/jit.h\"\n\nconst mp_embedded_file mp_embedded_files[] = {\n")
set(count 0)
foreach(file IN LISTS FILES)
  file(READ "${ROOT}/${file}" hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND code "    {\"${file}\", (const char[]){${bytes}0}},\n")
  math(EXPR count "${count} + 1")
endforeach()
string(APPEND code "};\nconst int mp_embedded_file_count = ${count};\n")
file(WRITE "${OUTPUT}" "${code}")
