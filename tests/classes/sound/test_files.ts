// SPDX-License-Identifier: Apache-2.0
/**
 * A file thread without a thread: its disk does everything at once, or only what a test lets it do.
 *
 * @module
 */
import type { FileThread, StartFileThread } from "../../../lib/classes/sound/file_thread.ts";
import { FileWork } from "../../../lib/classes/sound/file_work.ts";
import { OpenFiles } from "../../../lib/classes/sound/files.ts";

/** The files of a card. */
export class TestFiles {
  #works: FileWork[] = [];
  #onDone: () => void = () => {};
  #wake: () => void = () => {};

  /** @param isAsleep Whether the disk does nothing before {@linkcode work} */
  constructor(public isAsleep = false) {}

  readonly start: StartFileThread = (links, host, onDone): FileThread => {
    const files = new OpenFiles();
    this.#works = links.map((link) => new FileWork(link, files));
    this.#onDone = onDone;
    this.#wake = () => host.wake();
    return {
      wake: () => {
        if (!this.isAsleep) this.#run(Infinity);
      },
      close: () => {
        this.#run(Infinity);
        for (const work of this.#works) work.close();
        return true;
      },
    };
  };

  /** The disk does up to `steps` steps. @returns how many it did */
  work(steps = Infinity): number {
    let done = 0;
    for (let more = this.#run(steps); more > 0; more = this.#run(steps - done)) {
      done += more;
      this.#onDone();
    }
    this.#wake();
    return done;
  }

  #run(steps: number): number {
    let done = 0;
    for (let before = -1; before < done;) {
      before = done;
      for (const work of this.#works) if (done < steps && work.step()) done++;
    }
    return done;
  }
}
