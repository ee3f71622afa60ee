// SPDX-License-Identifier: Apache-2.0
/**
 * The runs that are left, for emulated machines that work side by side and take one after another.
 *
 * @module
 */

/** Scenarios to be run, each as often as it is to be. */
export class RunQueue {
  readonly #left: string[];

  /** @param times How often each is run: all of them once, then all again */
  constructor(scenarios: readonly string[], times: number) {
    this.#left = Array.from({ length: times }, () => scenarios).flat();
  }

  /** Runs that nobody has taken. */
  get left(): readonly string[] {
    return this.#left;
  }

  /**
   * The next run for a machine, or null when there is none for it. No machine runs a scenario twice: what a scenario
   * leaves behind has its name.
   *
   * @param had What the machine has run since it was booted
   */
  take(had: ReadonlySet<string>): string | null {
    const at = this.#left.findIndex((scenario) => !had.has(scenario));
    return at < 0 ? null : this.#left.splice(at, 1)[0]!;
  }
}
