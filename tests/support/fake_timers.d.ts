// SPDX-License-Identifier: Apache-2.0
/** What is used of @sinonjs/fake-timers, which brings no types. */
interface Clock {
  readonly timers?: ReadonlyMap<number, { readonly callAt: number }>;
  tick(ms: number): number;
  uninstall(): void;
}
declare const FakeTimers: { install(options: { toFake: readonly string[] }): Clock };
export default FakeTimers;
