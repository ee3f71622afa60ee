// SPDX-License-Identifier: Apache-2.0
/**
 * Listens at a path each time it is told to, at the same moment as others; in between it lets go without a trace of order,
 * as a killed process does.
 *
 * @module
 */
import { UnixListener } from "../../ffi/mod.ts";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<{ words: SharedArrayBuffer; path: string }>) => void;
  postMessage(message: boolean): void;
};

scope.onmessage = ({ data: { words, path } }) => {
  const rounds = new Int32Array(words);
  let listener: UnixListener | null = null;
  scope.postMessage(true);
  for (let round = 0;; round++) {
    Atomics.wait(rounds, 0, round);
    listener?.close();
    try {
      listener = UnixListener.listen(path);
    } catch {
      listener = null;
    }
    scope.postMessage(listener !== null);
  }
};
