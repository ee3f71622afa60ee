// SPDX-License-Identifier: Apache-2.0
/**
 * Streams of PipeWire, by its own player and recorder: pw-cat, with the names by which WirePlumber's policies know a stream.
 *
 * @module
 */

/** A name of a node, or a role: no character is special to a shell, or in PipeWire's properties. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.:-]*$/;

/**
 * The shell command of a stream.
 *
 * @param direction Of the stream in PipeWire
 * @param text `[TARGET][,name=NAME][,role=ROLE]`: the node that it is linked to (by default PipeWire chooses), the stream's
 *   own node.name (by default `viola`), and its media.role, such as Music or Navigation
 * @returns null when the text is anything else
 */
export function pipewireCommand(direction: "playback" | "record", text: string): string | null {
  const [target, ...settings] = text.split(",") as [string, ...string[]];
  const given = new Map(settings.map((one) => one.split("=", 2) as [string, string | undefined]));
  const { name = "viola", role, ...others } = Object.fromEntries(given);
  const names = [...target === "" ? [] : [target], name, ...given.has("role") ? [role] : []];
  const isValid = names.every((one) => one !== undefined && NAME.test(one)) &&
    Object.keys(others).length === 0 && given.size === settings.length;
  if (!isValid) return null;
  const linked = target === "" ? [] : [`--target ${target}`];
  const known = role === undefined ? [] : [`--media-role ${role}`];
  const options = [
    `--${direction} $raw`,
    ...linked,
    ...known,
    `--properties '{ node.name = "${name}" }'`,
    "--format $PW_FORMAT --rate $RATE --channels $CHANNELS -",
  ];
  // After PipeWire 1.4, standard input is a file with a header unless it says --raw, which older ones do not know.
  return `case "$(pw-cat --help)" in *--raw*) raw=--raw;; esac; exec pw-cat ${options.join(" ")}`;
}
