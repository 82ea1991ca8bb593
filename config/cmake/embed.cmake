# weir_embed(NAME FILE OUT): makes the C file OUT, in which `NAME` and `NAME_size` hold the bytes of FILE. It is made when CMake
# configures, which it does again when FILE has changed.
function(weir_embed name file out)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
  set(text "#include \"remote/embedded.h\"\n\nconst unsigned char ${name}[] = {\n${bytes}\n};\nconst size_t ${name}_size = sizeof ${name};\n")
  file(CONFIGURE OUTPUT ${out} CONTENT "${text}" @ONLY)
endfunction()
