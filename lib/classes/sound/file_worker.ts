// SPDX-License-Identifier: Apache-2.0
/**
 * The file thread of a card.
 *
 * @module
 */
import { signalEvent } from "../../../ffi/mod.ts";
import { FileLink } from "./file_link.ts";
import { FileSignals, type FileThreadStart } from "./file_thread.ts";
import { FileWork } from "./file_work.ts";
import { OpenFiles } from "./files.ts";

// The Worker global scope's own names, which the window's types lack.
const scope = globalThis as unknown as {
  onmessage: ((message: MessageEvent<FileThreadStart>) => void) | null;
  close(): void;
};

scope.onmessage = ({ data: { links, signals: shared, done } }) => {
  const signals = new FileSignals(shared);
  const files = new OpenFiles();
  const works = links.map((link) => new FileWork(new FileLink(link), files));
  signals.start();
  for (let goesOn = true; goesOn;) {
    const { signal } = signals;
    let worked = false;
    for (const work of works) if (work.step()) worked = true;
    if (worked) signalEvent(done);
    else goesOn = signals.wait(signal);
  }
  for (const work of works) work.close();
  signals.leave();
  scope.close();
};
