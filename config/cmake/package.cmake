# `cpack -G DEB`: three packages for Debian 13. config/deploy/debian/build calls it as it has to be called, and lintian after it.
#
#   libweir0     the libraries. The connectors and the command line are in the same package: one source, one version, and hardly a
#                job that wants Weir without Kafka
#   libweir-dev  headers, archives, links, CMake package, pkg-config files
#   weir-tools   the weir command, the word count, manual pages, the unit for systemd. Programs carry the libraries inside, so it
#                needs none of the others
# Who builds them is who maintains them, and says so as for any other Debian package (dch(1)). The address of nobody is one that can
# never belong to somebody else.
set(weir_contact "Weir maintainers <maintainers@weir.example.com>")
if(NOT "$ENV{DEBEMAIL}" STREQUAL "" AND NOT "$ENV{DEBFULLNAME}" STREQUAL "")
  set(weir_contact "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
endif()
set(WEIR_PACKAGE_CONTACT "${weir_contact}" CACHE STRING "Maintainer of the Debian packages")
set(weir_package_runtime libweir${WEIR_SOVERSION})
set(weir_package_development libweir-dev)
set(weir_package_tools weir-tools)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(weir_package_version ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})
set(weir_package_work ${PROJECT_BINARY_DIR}/package/debian)
set(weir_debian ${PROJECT_SOURCE_DIR}/config/deploy/debian)

# ---- Files that only packages have ----

string(TIMESTAMP weir_package_date "%a, %d %b %Y %H:%M:%S +0000" UTC) # SOURCE_DATE_EPOCH's, if that is set
configure_file(${weir_debian}/changelog.in ${weir_package_work}/changelog.Debian @ONLY)
find_program(WEIR_GZIP gzip)
mark_as_advanced(WEIR_GZIP)
if(WEIR_GZIP)
  execute_process(COMMAND ${WEIR_GZIP} -9nfk ${weir_package_work}/changelog.Debian)
endif()
set(CPACK_COMPONENTS_ALL "")
foreach(part runtime development tools)
  set(package ${weir_package_${part}})
  set(rest DESTINATION share/doc/${package} COMPONENT ${part}-package EXCLUDE_FROM_ALL)
  install(FILES ${weir_debian}/copyright ${rest})
  install(FILES ${weir_package_work}/changelog.Debian.gz ${rest} OPTIONAL)
  install(FILES ${weir_debian}/${part}.lintian-overrides DESTINATION share/lintian/overrides RENAME ${package}
    COMPONENT ${part}-package EXCLUDE_FROM_ALL)
  list(APPEND CPACK_COMPONENTS_ALL ${part} ${part}-package)
endforeach()

# ---- What is in which ----

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME weir)
set(CPACK_PACKAGE_CONTACT "${WEIR_PACKAGE_CONTACT}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

set(about "Jobs read Kafka topics, transform them with stateless and keyed operators, and
write Kafka topics in transactions that commit together with state and
positions. A job is one small native process beside the Kafka cluster.")
foreach(part runtime development tools)
  string(TOUPPER "${part}" PART)
  set(CPACK_DEBIAN_${PART}_PACKAGE_NAME ${weir_package_${part}})
endforeach()
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "exactly-once stream processing on Apache Kafka (libraries)
${about}")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${weir_debian}/triggers)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}) # libweir-kafka.so.0 needs libweir.so.0

set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "exactly-once stream processing on Apache Kafka (development files)
${about}")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
# pkg-config asks for what the archives need even when nobody links them.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${weir_package_runtime} (= ${weir_package_version}), \
libgnutls28-dev, liblz4-dev, libmicrohttpd-dev, librdkafka-dev (>= ${WEIR_RDKAFKA_MIN}), librocksdb-dev (>= ${WEIR_ROCKSDB_MIN}), libyaml-dev")

set(CPACK_DEBIAN_TOOLS_DESCRIPTION "exactly-once stream processing on Apache Kafka (programs)
${about}")
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_TOOLS_PACKAGE_RECOMMENDS "systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_TOOLS_PACKAGE_CONTROL_EXTRA ${weir_debian}/postinst)

include(CPack)
foreach(part runtime development tools)
  cpack_add_component_group(${part})
  cpack_add_component(${part} GROUP ${part})
  cpack_add_component(${part}-package GROUP ${part})
endforeach()
