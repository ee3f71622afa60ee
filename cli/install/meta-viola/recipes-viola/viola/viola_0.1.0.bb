# SPDX-License-Identifier: Apache-2.0
SUMMARY = "virtio devices in user space, for Linux's own drivers"
DESCRIPTION = "viola connects the kernel's virtio-loopback device to vhost-user devices. It takes the place of AGL's virtio-loopback-adapter."
SECTION = "multimedia"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

# The folder with the package that deno task release makes: it holds what viola install writes.
VIOLA_RELEASE ?= "${TOPDIR}/viola"
SRC_URI = "file://${VIOLA_RELEASE}/viola_${PV}_arm64.deb"

S = "${UNPACKDIR}"

inherit systemd useradd

COMPATIBLE_HOST = "aarch64.*-linux"
# There is no build of Deno for musl.
COMPATIBLE_HOST:libc-musl = "null"

SYSTEMD_SERVICE:${PN} = "viola.service"
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system viola"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${prefix}
    cp -R --no-dereference --preserve=mode,links ${UNPACKDIR}/usr/. ${D}${prefix}/
    rm -rf ${D}${datadir}/doc
    install -d ${D}${sysconfdir}/viola
    mv ${D}${datadir}/zsh/vendor-completions ${D}${datadir}/zsh/site-functions
}

# strip would cut off what deno compile put behind the program.
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
INSANE_SKIP:${PN} += "already-stripped"

PACKAGE_BEFORE_PN += "${PN}-bash-completion ${PN}-zsh-completion ${PN}-fish-completion"

FILES:${PN}-bash-completion = "${datadir}/bash-completion"
FILES:${PN}-zsh-completion = "${datadir}/zsh"
FILES:${PN}-fish-completion = "${datadir}/fish"
FILES:${PN} += "\
    ${datadir}/qemu \
    ${datadir}/wireplumber \
    ${nonarch_libdir}/modprobe.d \
    ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/tmpfiles.d \
    ${nonarch_libdir}/udev \
    ${sysconfdir}/viola \
    ${systemd_system_unitdir} \
"

RPROVIDES:${PN} += "virtio-loopback-adapter"
RCONFLICTS:${PN} += "virtio-loopback-adapter"
RREPLACES:${PN} += "virtio-loopback-adapter"
