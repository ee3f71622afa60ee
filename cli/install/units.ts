// SPDX-License-Identifier: Apache-2.0
/**
 * The units of systemd that run viola as a service.
 *
 * @module
 */

/** Descriptors that systemd keeps for a device: the node, its state, and what direct memory needs besides. */
export const DESCRIPTORS_OF_DEVICE = 4;
/** The most devices in one scene file. */
const DEVICES_OF_SERVICE = 64;
/** Devices that a service for one node may have: the one at the node, and soft ones that it is tried with. */
const DEVICES_OF_NODE = 4;

/** What a service shall run. */
interface Service {
  readonly description: string;
  /** The line that keeps the service from starting where there is nothing for it to do. */
  readonly condition: string;
  readonly arguments: string;
  readonly devices: number;
}

/** viola.service: all devices of /etc/viola. @param executable Its path on the system */
export function violaService(executable: string): string {
  return serviceText(executable, {
    description: "virtio devices in user space (viola)",
    condition: "ConditionPathExistsGlob=/etc/viola/*.toml",
    arguments: "up /etc/viola",
    devices: DEVICES_OF_SERVICE,
  });
}

/** viola@.service: the device of one node, in a process of its own. @param executable Its path on the system */
export function violaNodeService(executable: string): string {
  return serviceText(executable, {
    description: "virtio device in user space at /dev/%i (viola)",
    condition: "ConditionPathExists=/etc/viola/nodes/%i.toml",
    arguments: "up --control /run/viola/%i.control /etc/viola/nodes/%i.toml",
    devices: DEVICES_OF_NODE,
  });
}

function serviceText(executable: string, service: Service): string {
  return `# Written by viola install. To change it: systemctl edit, which makes a file of its own.
[Unit]
Description=${service.description}
Documentation=man:viola(1) man:viola.toml(5)
${service.condition}
After=systemd-modules-load.service systemd-tmpfiles-setup.service
# The sound server finds the cards when it starts.
Before=pipewire.service pipewire@audio.service wireplumber.service wireplumber@audio.service
# viola is started again however often it ends: the descriptor store is emptied when systemd gives up.
StartLimitIntervalSec=0

${serviceSection(executable, service)}
${HARDENING}
[Install]
WantedBy=multi-user.target
`;
}

/**
 * Exit status 1 is a mistake in the file: starting again would not help. At its end viola waits up to 30 s for the programs
 * of `exec:` sinks. Descriptors that are kept outlast a restart, also by the watchdog, and are closed by systemctl stop.
 */
function serviceSection(executable: string, { arguments: line, devices }: Service): string {
  return `[Service]
Type=notify
ExecStart=${executable} ${line}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=200ms
RestartPreventExitStatus=1
WatchdogSec=30
TimeoutStartSec=90
TimeoutStopSec=45
KillMode=mixed
FileDescriptorStoreMax=${devices * DESCRIPTORS_OF_DEVICE}
Environment=LANG=C.UTF-8
LimitNOFILE=65536
LimitRTPRIO=99
LimitMEMLOCK=infinity
OOMScoreAdjust=-500
`;
}

/**
 * What a service of viola may not do. It holds for the programs that a scene starts, too. Left out, with the reason:
 *
 * - MemoryDenyWriteExecute: V8 compiles.
 * - RestrictRealtime: lanes may have a real-time priority.
 * - PrivateDevices, DeviceAllow: devices stand for those of the host.
 * - PrivateNetwork: CAN and tap interfaces are the host's.
 * - ProtectKernelTunables: a driver whose probe failed is bound again by /sys/bus/virtio/drivers_probe.
 * - ProcSubset: /proc/iomem says where the driver's memory is, to who has CAP_SYS_ADMIN.
 * - ProtectSystem=strict: recordings and disks are where the file says.
 */
const HARDENING = `# Not MemoryDenyWriteExecute=: V8, which runs viola, compiles to machine code.
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_NICE CAP_IPC_LOCK CAP_NET_ADMIN CAP_NET_RAW CAP_DAC_OVERRIDE
KeyringMode=private
LockPersonality=yes
NoNewPrivileges=yes
PrivateMounts=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=read-only
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectSystem=full
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_CAN AF_PACKET
RestrictNamespaces=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service @pkey
UMask=0077
`;
