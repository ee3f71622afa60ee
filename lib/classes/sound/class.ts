// SPDX-License-Identifier: Apache-2.0
/**
 * The sound device (virtio 1.2, §5.14), as data.
 *
 * @module
 */
import { asset } from "../../../ffi/assets.ts";
import type { DeviceRole } from "../../device/role.ts";
import type { CliRole } from "../../device/cli_role.ts";
import type { DriverRole } from "../../guest/role.ts";
import type { DeviceClass, ReplayRole, RoleUrl } from "../../virtio/device_class.ts";
import type { SoundDriverContract } from "./driver.ts";
import type { SoundDeviceContract, SoundSpec } from "./spec.ts";

/**
 * The modules with the class's code.
 *
 * @internal
 */
export interface SoundRoles {
  readonly device: RoleUrl<DeviceRole<SoundDeviceContract>>;
  readonly cli: RoleUrl<CliRole<SoundSpec>>;
  readonly driver: RoleUrl<DriverRole<SoundDriverContract>>;
  readonly replay: RoleUrl<ReplayRole>;
}

/** Sound: a card with playback and capture streams. */
export const sound: DeviceClass<SoundRoles> = {
  id: 25,
  name: "sound",
  summary: "a sound card",
  dropInNames: ["vhusnd"],
  queues: () => [
    { name: "control", kind: "request", size: 64 },
    { name: "event", kind: "event", size: 64 },
    { name: "tx", kind: "stream", size: 64 },
    { name: "rx", kind: "stream", size: 64 },
  ],
  // jacks, streams, chmaps; and controls, a field that devices without VIRTIO_SND_F_CTLS may omit.
  config: { min: 12, max: 16, access: "cached", required: true },
  featureNames: { 0: "VIRTIO_SND_F_CTLS" },
  masked: 0n,
  needsVersion1: true,
  roles: {
    device: asset("lib/classes/sound/device.ts"),
    cli: asset("lib/classes/sound/cli.ts"),
    driver: asset("lib/classes/sound/driver.ts"),
    replay: asset("lib/classes/sound/replay.ts"),
  },
};
