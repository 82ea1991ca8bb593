# `cmake --install`: libraries in both forms, public headers, programs, a CMake package and pkg-config files. All of it finds
# itself from where it lies, so that --prefix, DESTDIR and a later move work.
#
#   find_package(weir CONFIG)          weir::weir weir::kafka weir::local weir::main, and each with -static; weir::test
#   pkg-config --cflags --libs weir-main weir-kafka
#
# Components are what goes into which Debian package (package.cmake): runtime, development, and tools, which is also that of
# everything that does not say.
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME tools)
set(weir_cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/weir)
set(weir_pc_folder ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
get_property(weir_libraries GLOBAL PROPERTY weir_libraries)
get_property(weir_programs GLOBAL PROPERTY weir_programs)

# ---- Files ----

# Two sets: who links the shared form need not have what only the static one asks for.
foreach(library IN LISTS weir_libraries)
  install(TARGETS ${library} EXPORT weir-shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    COMPONENT runtime NAMELINK_COMPONENT development)
  install(TARGETS ${library}-static EXPORT weir-static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
  get_target_property(folders ${library} weir_includes)
  foreach(folder IN LISTS folders)
    install(DIRECTORY ${folder}/weir DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
      FILES_MATCHING PATTERN "*.h")
  endforeach()
endforeach()
install(TARGETS weir-test EXPORT weir-test ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY tests/sim/include/weir DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.h")
if(weir_programs)
  install(TARGETS ${weir_programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
# libweir-kafka.so and the programs carry a private librdkafka inside; libweir-kafka.a needs it beside.
set(weir_rdkafka_folder "")
set(weir_rdkafka_needs_text rdkafka)
if(weir_rdkafka_archive)
  list(JOIN weir_rdkafka_needs " " weir_rdkafka_needs_text)
  set(weir_rdkafka_folder ${CMAKE_INSTALL_LIBDIR}/weir)
  install(FILES ${weir_rdkafka_archive} DESTINATION ${weir_rdkafka_folder} COMPONENT development)
endif()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT license OPTIONAL)
# lib, not the library folder: systemd looks below /usr/lib and /usr/local/lib.
install(FILES config/deploy/systemd/weir-job@.service DESTINATION lib/systemd/system)
install(FILES config/deploy/systemd/weir.sysusers DESTINATION lib/sysusers.d RENAME weir.conf)
install(DIRECTORY config/deploy/kafka config/deploy/kubernetes config/deploy/container DESTINATION share/weir/deploy
  USE_SOURCE_PERMISSIONS)
install(FILES config/deploy/README.md config/deploy/prometheus-alerts.yaml config/deploy/grafana-dashboard.json
  DESTINATION share/weir/deploy)
# Manual pages, as packages want them: compressed. That of the configuration, and the reference page of all keys, come out of the
# table of keys.
file(GLOB weir_man_pages CONFIGURE_DEPENDS config/man/*.[137])
set(weir_man_made "")
if(TARGET weir-command)
  set(weir_keys_man ${PROJECT_BINARY_DIR}/man/weir.yaml.5)
  set(weir_keys_page ${PROJECT_BINARY_DIR}/man/configuration.md)
  add_custom_command(OUTPUT ${weir_keys_man} ${weir_keys_page} DEPENDS weir-command VERBATIM
    COMMAND weir-command config list -o man > ${weir_keys_man}
    COMMAND weir-command config list -o markdown > ${weir_keys_page})
  list(APPEND weir_man_pages ${weir_keys_man})
  list(APPEND weir_man_made ${weir_keys_page})
  install(FILES ${weir_keys_page} DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
find_program(WEIR_GZIP gzip)
mark_as_advanced(WEIR_GZIP)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/man)
foreach(page IN LISTS weir_man_pages)
  string(REGEX MATCH "[1357]$" section ${page})
  set(component "")
  if(section EQUAL 3)
    set(component COMPONENT development)
  endif()
  if(WEIR_GZIP)
    get_filename_component(name ${page} NAME)
    set(compressed ${PROJECT_BINARY_DIR}/man/${name}.gz)
    add_custom_command(OUTPUT ${compressed} DEPENDS ${page} COMMAND ${WEIR_GZIP} -9nc ${page} > ${compressed} VERBATIM)
    set(page ${compressed})
  endif()
  list(APPEND weir_man_made ${page})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} ${component})
endforeach()
add_custom_target(manual ALL DEPENDS ${weir_man_made})

# ---- CMake package ----

install(EXPORT weir-shared NAMESPACE weir:: DESTINATION ${weir_cmake_folder} COMPONENT development)
install(EXPORT weir-static NAMESPACE weir:: DESTINATION ${weir_cmake_folder} COMPONENT development)
install(EXPORT weir-test NAMESPACE weir:: DESTINATION ${weir_cmake_folder} COMPONENT development)
configure_package_config_file(config/cmake/weir-config.cmake.in ${PROJECT_BINARY_DIR}/package/weir-config.cmake
  INSTALL_DESTINATION ${weir_cmake_folder} PATH_VARS weir_rdkafka_folder
  NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0 a minor version may change the interface.
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(weir_compatibility SameMinorVersion)
else()
  set(weir_compatibility SameMajorVersion)
endif()
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/weir-config-version.cmake
  COMPATIBILITY ${weir_compatibility})
install(FILES ${PROJECT_BINARY_DIR}/package/weir-config.cmake ${PROJECT_BINARY_DIR}/package/weir-config-version.cmake
  DESTINATION ${weir_cmake_folder} COMPONENT development)

# ---- pkg-config ----

file(RELATIVE_PATH weir_pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" weir_pc_prefix "${weir_pc_prefix}")
file(RELATIVE_PATH weir_pc_libdir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH weir_pc_includedir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})

# What libweir-kafka.a wants of librdkafka stands in Libs.private, library by library: Requires.private would draw in what
# libcurl's own static form would need, a dozen development packages that nobody has and nobody uses.
if(weir_rdkafka_archive)
  set(weir_kafka_libs_private "\${libdir}/weir/librdkafka.a ${RDKAFKA_NEEDS_LDFLAGS} -lm -ldl")
  string(REPLACE ";" " " weir_kafka_libs_private "${weir_kafka_libs_private}")
else()
  set(weir_kafka_libs_private "-lrdkafka")
endif()

foreach(library IN LISTS weir_libraries)
  get_target_property(pc_name ${library} OUTPUT_NAME)
  get_target_property(pc_description ${library} weir_description)
  get_target_property(pc_own ${library} weir_own)
  get_target_property(pc_packages ${library} weir_packages)
  set(pc_requires "")
  foreach(own IN LISTS pc_own)
    get_target_property(own_name ${own} OUTPUT_NAME)
    list(APPEND pc_requires "${own_name} = ${PROJECT_VERSION}")
  endforeach()
  list(JOIN pc_requires ", " pc_requires)
  list(JOIN pc_packages ", " pc_packages)
  set(pc_libs_private "-pthread")
  if(library STREQUAL "kafka")
    string(PREPEND pc_libs_private "${weir_kafka_libs_private} ")
  elseif(library STREQUAL "remote") # not Requires.private either: it would draw in what gnutls is made of
    string(PREPEND pc_libs_private "-lmicrohttpd -lgnutls ")
  endif()
  configure_file(config/cmake/pkg-config.pc.in ${PROJECT_BINARY_DIR}/package/${pc_name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/package/${pc_name}.pc DESTINATION ${weir_pc_folder} COMPONENT development)
endforeach()
# Static only: what it needs beside is needed by everybody.
set(pc_name weir-test)
set(pc_description "Weir: a job in the simulator, against an oracle")
set(pc_requires yaml-0.1)
set(pc_packages "")
set(pc_libs_private "")
configure_file(config/cmake/pkg-config.pc.in ${PROJECT_BINARY_DIR}/package/weir-test.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/weir-test.pc DESTINATION ${weir_pc_folder} COMPONENT development)
