// SPDX-License-Identifier: Apache-2.0
/**
 * A file thread whose disk does nothing until somebody has opened a FIFO for it: its path is in the URL.
 *
 * @module
 */
import { FileWork } from "../../../../lib/classes/sound/file_work.ts";
import "../../../../lib/classes/sound/file_worker.ts";

const gate = new URL(import.meta.url).searchParams.get("gate")!;
const { step } = FileWork.prototype;
let isOpen = false;

FileWork.prototype.step = function (): boolean {
  // Opening it waits for the other end, as a read or write may wait for a disk.
  if (!isOpen && this.link.ring.waiting > 0) {
    Deno.openSync(gate).close();
    isOpen = true;
  }
  return step.call(this);
};
