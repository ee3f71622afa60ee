// SPDX-License-Identifier: Apache-2.0
// Does one task; answers null, or what went wrong.
import { ROLES, type Task } from "./ring_parties.ts";

const scope = globalThis as unknown as {
  onmessage: (message: MessageEvent<Task>) => void;
  postMessage(message: string | null): void;
};
scope.onmessage = ({ data }) => {
  try {
    ROLES[data.role](data);
    scope.postMessage(null);
  } catch (error) {
    scope.postMessage((error as Error).message);
  }
};
