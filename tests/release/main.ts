// SPDX-License-Identifier: Apache-2.0
/**
 * A release of viola:
 *
 *     deno task release [--once] [--output FOLDER]
 *
 * makes both executables twice and compares them byte for byte (--once: once), and in dist/release beside them a package
 * for Debian each, an SPDX document each, the changelog's section, and the checksums of all. The version is that of
 * deno.json; the time is $SOURCE_DATE_EPOCH, or that of the commit. Debian's maintainer is $DEBFULLNAME <$DEBEMAIL>.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import metadata from "../../deno.json" with { type: "json" };
import { tell } from "../support/progress.ts";
import { fileDigest } from "../target/cache.ts";
import { run } from "../target/command.ts";
import { commitOf, compile } from "../target/compile.ts";
import { type Architecture, findToolchain } from "../target/denort.ts";
import { changelogSection } from "./changelog.ts";
import { makePackage } from "./debian.ts";
import { packagesIn, runtimeIn, spdxDocument } from "./spdx.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Architectures by the names that Debian gives them. */
const ARCHITECTURES = { x86_64: "amd64", aarch64: "arm64" } as const;

/** $SOURCE_DATE_EPOCH, or the time of the commit, in seconds since 1970. @throws {Error} when neither is known */
async function epochOf(): Promise<number> {
  const text = Deno.env.get("SOURCE_DATE_EPOCH") ??
    await run(["git", "-C", ROOT, "log", "-1", "--format=%ct"]);
  if (/^\d+\s*$/.test(text)) return Number(text);
  throw new Error(`Cannot release: SOURCE_DATE_EPOCH is "${text}", expected a number of seconds`);
}

/** Makes an executable. @throws {Error} when another try gives other bytes */
async function make(architecture: Architecture, output: string, isOnce: boolean): Promise<string> {
  await compile(architecture, "minified", output);
  const digest = await fileDigest(output);
  if (isOnce) return digest;
  const again = `${output}.again`;
  try {
    await compile(architecture, "minified", again);
    if (await fileDigest(again) === digest) return digest;
    throw new Error(
      `Cannot release: two builds for ${architecture} differ (cmp ${output} ${again})`,
    );
  } finally {
    await Deno.remove(again).catch(() => {});
  }
}

/** Makes all of one architecture. */
async function release(architecture: Architecture, folder: string, isOnce: boolean): Promise<void> {
  const epoch = await epochOf();
  const version = metadata.version + await commitOf(ROOT);
  const file = `viola-${metadata.version}-${architecture}`;
  const executable = `${folder}/${file}`;
  const sha256 = await make(architecture, executable, isOnce);
  tell(`release: ${file}, ${isOnce ? "made once" : "twice the same bytes"}`);
  const { deno } = await findToolchain(architecture);
  const parts = [...runtimeIn(await run([deno, "--version"])), ...packagesIn(metadata.imports)];
  const document = spdxDocument({ file, version, sha256, epoch, parts });
  await Deno.writeTextFile(`${executable}.spdx.json`, `${JSON.stringify(document, null, 2)}\n`);
  const debian = ARCHITECTURES[architecture];
  const [name = "viola", address = "viola@localhost"] = ["DEBFULLNAME", "DEBEMAIL"].map((
    variable,
  ) => Deno.env.get(variable));
  const maintainer = `${name} <${address}>`;
  const made = { executable, architecture: debian, version, epoch, maintainer };
  await makePackage(made, `${folder}/viola_${metadata.version}_${debian}.deb`);
}

async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      once: { type: "boolean" },
      output: { type: "string", default: `${ROOT}dist/release` },
    },
  });
  const folder = values.output;
  Deno.env.set("SOURCE_DATE_EPOCH", `${await epochOf()}`);
  await Deno.mkdir(folder, { recursive: true });
  const changes = changelogSection(
    await Deno.readTextFile(`${ROOT}CHANGELOG.md`),
    metadata.version,
  );
  await Deno.writeTextFile(`${folder}/CHANGES.md`, changes);
  for (const architecture of Object.keys(ARCHITECTURES) as Architecture[]) {
    await release(architecture, folder, values.once === true);
  }
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
  const files = names.filter((name) => name !== "SHA256SUMS").sort();
  await Deno.writeTextFile(
    `${folder}/SHA256SUMS`,
    await run(["sha256sum", ...files], { cwd: folder }),
  );
  tell(`release: ${folder}`);
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    tell((error as Error).message);
    Deno.exit(1);
  }
}
