// SPDX-License-Identifier: Apache-2.0
/**
 * Fragments for other programs' folders: udev, modprobe, systemd's helpers, WirePlumber, QEMU.
 *
 * @module
 */
import type { DeviceClass } from "../../lib/virtio/device_class.ts";

/** The group that owns the nodes. */
export const GROUP = "viola";

const HEAD = "# Written by viola install.";

/** A udev rule: nodes get their group and mode, and start the services that have something to do there. */
export function udevRules(): string {
  const match = 'KERNEL=="loopback|loopback-[0-9]*", SUBSYSTEM!="block|net"';
  const rights = `GROUP="${GROUP}", MODE="0660"`;
  const units = 'TAG+="systemd", ENV{SYSTEMD_WANTS}+="viola.service viola@%k.service"';
  return `${HEAD}
# Nodes of AGL's virtio-loopback driver. Nothing here may open one: such a node can be opened once only.
ACTION!="remove", ${match}, ${rights}, ${units}
`;
}

/** Kernel modules that make the nodes, as AGL's releases name them. */
const NODE_MODULE = /(?:^|\/)((?:virtio[-_])?loopback[-_]driver\d*)\.ko[.\w]*:/gm;

/** The modules of AGL's driver that are installed. @param dep Text of modules.dep of a kernel (depmod(8)) */
export function nodeModules(dep: string): string[] {
  const names = dep.matchAll(NODE_MODULE).map(([, name]) => name!.replaceAll("-", "_"));
  return [...new Set(names)].sort();
}

/** modules-load.d: the nodes are there from the start. */
export function modulesLoad(modules: readonly string[]): string {
  return [HEAD, "# AGL's virtio-loopback driver: a node each.", ...modules, ""].join("\n");
}

/**
 * modprobe.d: by default virtio_snd gives a control request one second, which a restart of viola on a slow board may
 * exceed. Then the card would be lost; with more time it waits.
 */
export function modprobe(): string {
  return `${HEAD}
# Milliseconds that the driver waits for an answer: also while viola is being started again.
options virtio_snd msg_timeout_ms=10000
`;
}

/** sysusers.d: the group of the nodes. */
export function sysusers(): string {
  return `${HEAD}\ng ${GROUP} -\n`;
}

/** tmpfiles.d: the folder of viola's sockets, which only root may enter. */
export function tmpfiles(): string {
  return `${HEAD}\nd /run/viola 0700 root root -\n`;
}

/**
 * WirePlumber: the names and priorities of virtio's cards. A server that plays for one of viola's devices must not choose
 * the card that leads back to it, so their priorities are below those of the host's cards (744 and up).
 */
export function wirePlumber(): string {
  const rule = (node: string, props: string) =>
    `  {
    matches = [
      { api.alsa.card.driver = "virtio-snd", ${node} }
    ]
    actions = {
      update-props = {
        ${props}
      }
    }
  }`;
  const priority = (value: number) =>
    `priority.session = ${value}\n        priority.driver = ${value}`;
  return `${HEAD}
# Cards of virtio_snd, whichever process serves them. For a card to be the first choice, give it a priority above 1009
# in a file of your own in /etc/wireplumber/wireplumber.conf.d.
monitor.alsa.rules = [
${rule('device.name = "~alsa_card.*"', 'device.nick = "viola"')}
${rule('node.name = "~alsa_output.*"', priority(600))}
${rule('node.name = "~alsa_input.*"', priority(1600))}
]
`;
}

/** Where the program is that runs a device of a class as QEMU's conventions for back-ends have it. */
export function backEndPath(name: string): string {
  return `/usr/libexec/viola/vhost-user-${name}`;
}

/** The description of a back-end (docs/interop/vhost-user.json of QEMU). */
export function backEndDescription({ name, summary }: DeviceClass): string {
  const description = `viola's own ${name}: ${summary}`;
  const value = { description, type: name, binary: backEndPath(name), features: [] };
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** A program without a subcommand: descriptions name only a path. */
export function backEndProgram({ name }: DeviceClass, executable: string): string {
  return `#!/bin/sh\n${HEAD}\nexec ${executable} device ${name} "$@"\n`;
}
