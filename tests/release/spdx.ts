// SPDX-License-Identifier: Apache-2.0
/**
 * What is inside an executable, as a document of SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/).
 *
 * @module
 */

/** A part of the executable. */
export interface Part {
  readonly name: string;
  readonly version: string;
  /** A licence expression of SPDX. */
  readonly licence: string;
  /** Where it is to be had. */
  readonly location: string;
}

/** The licences of what is compiled in, as their packages declare them. */
const LICENCES: Readonly<Record<string, string>> = {
  "@cfworker/json-schema": "MIT",
  "commander": "MIT",
  "deno-std": "MIT",
  "smol-toml": "BSD-3-Clause",
};

/** Packages that only tests import. */
const TESTS_ONLY = ["@std/assert", "@sinonjs/fake-timers", "fast-check"];

/** The packages that are compiled in. @param imports `imports` of deno.json @throws {Error} for one without a licence */
export function packagesIn(imports: Readonly<Record<string, string>>): Part[] {
  const wanted = Object.entries(imports).filter(([name]) => !TESTS_ONLY.includes(name));
  const parts = wanted.map(([, specifier]): [string, Part] => {
    const [, name, version] = /^npm:((?:@[\w-]+\/)?[\w-]+)@([\w.-]+)/.exec(specifier) ?? [];
    const licence = LICENCES[name!];
    if (licence === undefined) throw new Error(`Cannot describe ${specifier}: no licence is noted`);
    const location = `https://registry.npmjs.org/${name}`;
    return [name!, { name: name!, version: version!, licence, location }];
  });
  return [...new Map(parts).values()];
}

/** The run-time. @param said What `deno --version` prints */
export function runtimeIn(said: string): Part[] {
  const version = (name: string) => new RegExp(`^${name} ([\\d.]+)`, "m").exec(said)?.[1];
  const [deno, v8] = [version("deno"), version("v8")];
  if (deno === undefined || v8 === undefined) throw new Error(`Cannot read versions in "${said}"`);
  return [
    { name: "deno", version: deno, licence: "MIT", location: "https://github.com/denoland/deno" },
    {
      name: "v8",
      version: v8,
      licence: "BSD-3-Clause",
      location: "https://chromium.googlesource.com/v8/v8",
    },
  ];
}

/** An executable. */
export interface Made {
  readonly file: string;
  readonly version: string;
  readonly sha256: string;
  /** Seconds since 1970. */
  readonly epoch: number;
  readonly parts: readonly Part[];
}

/** The document. */
export function spdxDocument({ file, version, sha256, epoch, parts }: Made): object {
  const id = (name: string) => `SPDXRef-${name.replaceAll(/[^A-Za-z0-9.-]+/g, "-")}`;
  const main = {
    SPDXID: "SPDXRef-viola",
    name: "viola",
    versionInfo: version,
    packageFileName: file,
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    licenseConcluded: "Apache-2.0",
    licenseDeclared: "Apache-2.0",
    copyrightText: "NOASSERTION",
    checksums: [{ algorithm: "SHA256", checksumValue: sha256 }],
  };
  const others = parts.map(({ name, version, licence, location }) => ({
    SPDXID: id(`part-${name}`),
    name,
    versionInfo: version,
    downloadLocation: location,
    filesAnalyzed: false,
    licenseConcluded: licence,
    licenseDeclared: licence,
    copyrightText: "NOASSERTION",
  }));
  return {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: file,
    documentNamespace: `https://spdx.org/spdxdocs/${file}-${sha256}`,
    creationInfo: {
      created: new Date(1000 * epoch).toISOString().replace(".000", ""),
      creators: [`Tool: viola-release-${version}`],
    },
    packages: [main, ...others],
    relationships: [
      relate("SPDXRef-DOCUMENT", "DESCRIBES", main.SPDXID),
      ...others.map(({ SPDXID }) => relate(main.SPDXID, "CONTAINS", SPDXID)),
    ],
  };
}

function relate(from: string, relationshipType: string, to: string): object {
  return { spdxElementId: from, relationshipType, relatedSpdxElement: to };
}
